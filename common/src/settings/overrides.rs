//! What the command line sets.

use std::fmt;

/// Settings that the command line gives, by their keys; stronger than any other.
#[derive(Clone, Default)]
pub struct Overrides {
    pub(super) values: Vec<(&'static str, String)>,
}

impl Overrides {
    /// No flags.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key, such as `set("port", "43000")`; the text is taken as it is.
    #[must_use]
    pub fn set(mut self, key: &'static str, value: impl ToString) -> Self {
        self.values.retain(|(other, _)| *other != key);
        self.values.push((key, value.to_string()));
        self
    }

    /// As [`Overrides::set`] when the flag was given, else nothing.
    #[must_use]
    pub fn set_if_given(self, key: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.set(key, value),
            None => self,
        }
    }
}

/// Shows only the keys: one of the values may be the secret.
impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.values.iter().map(|(key, _)| key))
            .finish()
    }
}
