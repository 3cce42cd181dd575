//! A section `[notify NAME]` as it stands in a file.

use super::super::error::{Origin, SettingsError};
use super::super::values::Found;
use super::{KEYS, is_secret};
use crate::text::nearest::nearest;

/// The first word of the sections' headers.
const WORD: &str = "notify";

/// How long a name may be.
const LONGEST_NAME: usize = 64;

/// Names that mean something else.
const RESERVED: [&str; 1] = ["on_finish"];

/// A section, each of whose values is right by itself.
#[derive(Clone)]
pub(in super::super) struct NotifySection {
    /// What stands behind the word.
    pub(in super::super) name: String,
    /// The line of the header.
    pub(in super::super) origin: Origin,
    pub(in super::super) found: Vec<Found>,
}

impl NotifySection {
    /// The section that a header begins; nothing where the header is of something else.
    pub(in super::super) fn begun(
        header: &str,
        origin: &Origin,
    ) -> Option<Result<Self, SettingsError>> {
        let (word, name) = header
            .split_once(char::is_whitespace)
            .unwrap_or((header, ""));
        if word != WORD {
            let is_slip = nearest(word, [WORD]).is_some();
            return is_slip.then(|| {
                Err(SettingsError::UnknownSection {
                    origin: origin.clone(),
                    section: header.to_owned(),
                    nearest: Some(format!("[{WORD} {}]", named(name))),
                })
            });
        }
        let name = name.trim().trim_matches(['"', '\'']);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let is_name = (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(is_plain);
        if !is_name || RESERVED.contains(&name) {
            return Some(Err(SettingsError::NotifySection {
                origin: origin.clone(),
                name: name.to_owned(),
                what: match is_name {
                    true => {
                        "this name means the command of the setting on_finish; take another one"
                            .to_owned()
                    }
                    false => format!(
                        "expected a name of letters, digits, \"_\", \".\" and \"-\", at most {LONGEST_NAME} of them, \
                         as in [{WORD} chat]"
                    ),
                },
            }));
        }
        Some(Ok(Self {
            name: name.to_owned(),
            origin: origin.clone(),
            found: Vec::new(),
        }))
    }

    /// Takes a line in.
    pub(in super::super) fn add(
        &mut self,
        name: &str,
        values: Vec<String>,
        origin: Origin,
    ) -> Result<(), SettingsError> {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            return Err(SettingsError::UnknownKey {
                origin,
                key: name.to_owned(),
                nearest: nearest(name, KEYS.iter().map(|key| key.name)).map(str::to_owned),
            });
        };
        let found = Found {
            key: key.name,
            origin,
            values,
        };
        if let Some(first) = self.find(key.name)
            && let Origin::File { line: first, .. } = first.origin
        {
            return Err(SettingsError::Twice {
                origin: found.origin,
                key: name.to_owned(),
                first,
            });
        }
        (key.check)(&found)?;
        self.found.push(found);
        Ok(())
    }

    pub(in super::super) fn find(&self, key: &str) -> Option<&Found> {
        self.found.iter().find(|found| found.key == key)
    }

    /// Whether others must not read the file.
    pub(in super::super) fn holds_secret(&self) -> bool {
        self.found.iter().any(|found| is_secret(found.key))
    }

    /// Takes over what a stronger file sets.
    pub(super) fn overrule(&mut self, stronger: &Self) {
        for found in &stronger.found {
            self.found.retain(|known| known.key != found.key);
            self.found.push(found.clone());
        }
    }

    /// What is wrong with the section as a whole.
    pub(super) fn wrong(&self, what: impl Into<String>) -> SettingsError {
        SettingsError::NotifySection {
            origin: self.origin.clone(),
            name: self.name.clone(),
            what: what.into(),
        }
    }
}

fn named(name: &str) -> &str {
    match name.trim() {
        "" => "NAME",
        name => name,
    }
}
