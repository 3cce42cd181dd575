//! Sections whose headers have a word and a name, such as `[notify chat]` and `[pool big]`: a file has any number of them.

use super::error::{Origin, SettingsError};
use super::keys::Key;
use super::values::Found;
use crate::text::nearest::nearest;

/// A kind of such sections.
pub(super) struct SectionKind {
    /// The first word of their headers.
    pub(super) word: &'static str,
    /// What may stand in them.
    pub(super) keys: &'static [Key],
    /// How long a name may be.
    pub(super) longest_name: usize,
    /// What names may have beside letters and digits.
    pub(super) marks: &'static [char],
    /// A name, for messages.
    pub(super) example: &'static str,
    /// A name that means something else, and what is said of it.
    pub(super) reserved: Option<(&'static str, &'static str)>,
}

/// A section, each of whose values is right by itself.
#[derive(Clone)]
pub(super) struct NamedSection {
    kind: &'static SectionKind,
    /// What stands behind the word.
    pub(super) name: String,
    /// The line of the header.
    pub(super) origin: Origin,
    pub(super) found: Vec<Found>,
}

impl SectionKind {
    /// The section that a header begins; nothing where the header is of something else.
    pub(super) fn begun(
        &'static self,
        header: &str,
        origin: &Origin,
    ) -> Option<Result<NamedSection, SettingsError>> {
        let (word, name) = header
            .split_once(char::is_whitespace)
            .unwrap_or((header, ""));
        let name = name.trim().trim_matches(['"', '\'']);
        if word != self.word {
            let is_slip = nearest(word, [self.word]).is_some();
            return is_slip.then(|| {
                let name = if name.is_empty() { "NAME" } else { name };
                Err(SettingsError::UnknownSection {
                    origin: origin.clone(),
                    section: header.to_owned(),
                    nearest: Some(format!("[{} {name}]", self.word)),
                })
            });
        }
        let section = NamedSection {
            kind: self,
            name: name.to_owned(),
            origin: origin.clone(),
            found: Vec::new(),
        };
        Some(match self.mistake_in(name) {
            Some(what) => Err(section.wrong(what)),
            None => Ok(section),
        })
    }

    fn mistake_in(&self, name: &str) -> Option<String> {
        if let Some((reserved, what)) = self.reserved
            && reserved == name
        {
            return Some(what.to_owned());
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || self.marks.contains(&c);
        if (1..=self.longest_name).contains(&name.len()) && name.chars().all(is_plain) {
            return None;
        }
        let mut marks = vec!["letters".to_owned(), "digits".to_owned()];
        marks.extend(self.marks.iter().map(|mark| format!("\"{mark}\"")));
        let last = marks.pop().unwrap_or_default();
        Some(format!(
            "expected a name of {} and {last}, at most {} of them, as in [{} {}]",
            marks.join(", "),
            self.longest_name,
            self.word,
            self.example
        ))
    }

    /// A section of several files: what a stronger one sets wins.
    pub(super) fn merged(strongest_first: &[&[NamedSection]]) -> Vec<NamedSection> {
        let mut all: Vec<NamedSection> = Vec::new();
        for section in strongest_first.iter().rev().copied().flatten() {
            match all.iter_mut().find(|known| known.name == section.name) {
                Some(known) => known.overrule(section),
                None => all.push(section.clone()),
            }
        }
        all
    }
}

impl NamedSection {
    /// Adds it to those of its kind that the file has already.
    pub(super) fn begin_among(self, known: &mut Vec<Self>) -> Result<(), SettingsError> {
        let first = known.iter().find(|known| known.name == self.name);
        if let Some(first) = first
            && let Origin::File { line: first, .. } = first.origin
        {
            return Err(SettingsError::SectionTwice {
                origin: self.origin,
                section: format!("{} {}", self.kind.word, self.name),
                first,
            });
        }
        known.push(self);
        Ok(())
    }

    /// Takes a line in.
    pub(super) fn add(
        &mut self,
        name: &str,
        values: Vec<String>,
        origin: Origin,
    ) -> Result<(), SettingsError> {
        let keys = self.kind.keys;
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            return Err(SettingsError::UnknownKey {
                origin,
                key: name.to_owned(),
                nearest: nearest(name, keys.iter().map(|key| key.name)).map(str::to_owned),
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
    fn overrule(&mut self, stronger: &Self) {
        for found in &stronger.found {
            self.found.retain(|known| known.key != found.key);
            self.found.push(found.clone());
        }
    }

    /// What is wrong with the section as a whole.
    pub(super) fn wrong(&self, what: impl Into<String>) -> SettingsError {
        SettingsError::NamedSection {
            origin: self.origin.clone(),
            word: self.kind.word,
            name: self.name.clone(),
            what: what.into(),
        }
    }
}
