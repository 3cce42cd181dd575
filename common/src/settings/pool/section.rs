//! A section `[pool NAME]` as it stands in a file.

use super::super::error::{Origin, SettingsError};
use super::super::values::Found;
use super::KEYS;
use crate::text::nearest::nearest;

/// The first word of the sections' headers.
const WORD: &str = "pool";

/// How long a name may be: it is a part of the names of jobs, which have bounds of their own.
const LONGEST_NAME: usize = 40;

/// A section, each of whose values is right by itself.
#[derive(Clone)]
pub(in super::super) struct PoolSection {
    /// What stands behind the word.
    pub(in super::super) name: String,
    /// The line of the header.
    pub(in super::super) origin: Origin,
    pub(super) found: Vec<Found>,
}

impl PoolSection {
    /// The section that a header begins; nothing where the header is of something else.
    pub(in super::super) fn begun(
        header: &str,
        origin: &Origin,
    ) -> Option<Result<Self, SettingsError>> {
        let (word, name) = header
            .split_once(char::is_whitespace)
            .unwrap_or((header, ""));
        let name = name.trim().trim_matches(['"', '\'']);
        if word != WORD {
            let is_slip = nearest(word, [WORD]).is_some();
            return is_slip.then(|| {
                let name = if name.is_empty() { "NAME" } else { name };
                Err(SettingsError::UnknownSection {
                    origin: origin.clone(),
                    section: header.to_owned(),
                    nearest: Some(format!("[{WORD} {name}]")),
                })
            });
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
        let section = Self {
            name: name.to_owned(),
            origin: origin.clone(),
            found: Vec::new(),
        };
        if !(1..=LONGEST_NAME).contains(&name.len()) || !name.chars().all(is_plain) {
            return Some(Err(section.wrong(format!(
                "expected a name of letters, digits, \"_\" and \".\", at most {LONGEST_NAME} of them, as in [{WORD} big]"
            ))));
        }
        Some(Ok(section))
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

    pub(super) fn find(&self, key: &str) -> Option<&Found> {
        self.found.iter().find(|found| found.key == key)
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
        SettingsError::PoolSection {
            origin: self.origin.clone(),
            name: self.name.clone(),
            what: what.into(),
        }
    }
}
