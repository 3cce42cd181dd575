//! The secrets of a build on their way from the master to a slave.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The value of a secret of builds. It is never shown; only [`SecretValue::expose`] gives it away.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretValue(String);

impl SecretValue {
    /// A value.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The text, for the commands of builds and for nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(***)")
    }
}

/// What a build is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GivenSecrets(pub Vec<GivenSecret>);

/// A secret that a build is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenSecret {
    /// The variable that has it.
    pub name: String,
    /// The value.
    pub value: SecretValue,
    /// Whether the variable has the path of a file with the value, and not the value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_file: bool,
}

impl GivenSecrets {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_shown() {
        let secret = GivenSecret {
            name: "TOKEN".to_owned(),
            value: SecretValue::new("a secret".to_owned()),
            as_file: false,
        };
        let shown = format!("{:?}", GivenSecrets(vec![secret]));
        assert!(
            shown.contains("TOKEN") && !shown.contains("a secret"),
            "{shown}"
        );
    }
}
