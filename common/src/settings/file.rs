//! One settings file: sections, keys, values and the lines they stand in.
//!
//! What the original takes and means nothing here is told in a warning, and is no error: files are shared.

use super::error::{Origin, SettingsError};
use super::keys::{self, Key, SECRET_KEYS, SECTIONS, nearest_key};
use super::lines::{Content, Line, lines};
use super::notify::{self, NOTIFY};
use super::pool::POOL;
use super::section::NamedSection;
use super::values::Found;
use crate::text::nearest::nearest;
use std::path::Path;

/// A checked file: every key known, allowed in its section and there only once.
pub(super) struct SettingsFile {
    entries: Vec<(&'static str, Found)>,
    /// Whom the master tells of builds.
    pub(super) notify: Vec<NamedSection>,
    /// Slaves on demand.
    pub(super) pools: Vec<NamedSection>,
    /// What is in it without effect, with its place.
    pub(super) warnings: Vec<String>,
}

/// Which section a line belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    /// No section yet.
    Outside,
    Known(&'static str),
    /// The latest one of those that say whom the master tells of builds.
    Notify,
    /// The latest one of those that say how slaves are started.
    Pool,
    /// One that neither the original nor we read.
    Unknown,
}

impl SettingsFile {
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        let origin = |line| Origin::File {
            path: path.to_owned(),
            line,
        };
        let lines = lines(text).map_err(|mistake| SettingsError::Syntax {
            origin: origin(mistake.number),
            what: mistake.what,
        })?;
        let mut file = Self {
            entries: Vec::new(),
            notify: Vec::new(),
            pools: Vec::new(),
            warnings: Vec::new(),
        };
        let present = sections(&lines);
        let mut section = Section::Outside;
        let mut mistakes = Vec::new();
        for Line { number, content } in lines {
            let origin = origin(number);
            let read = match content {
                Content::Section { name, depth } => file
                    .section(&name, depth, section, &present, origin)
                    .map(|begun| section = begun),
                Content::Setting { key, values } => {
                    file.setting_in(section, (&key, values), &present, origin)
                }
            };
            if let Err(mistake) = read {
                // A wrong section is told once, not again for each of its settings.
                if mistake.is_about_section() {
                    section = Section::Unknown;
                }
                mistakes.push(mistake);
            }
        }
        SettingsError::all(mistakes).map_or(Ok(file), Err)
    }

    /// A section begins. A name that looks like a slip is an error; the original would not find the section that
    /// it needs.
    fn section(
        &mut self,
        name: &str,
        depth: usize,
        current: Section,
        present: &[&str],
        origin: Origin,
    ) -> Result<Section, SettingsError> {
        if depth == 1
            && let Some(known) = SECTIONS.into_iter().find(|section| *section == name)
        {
            return Ok(Section::Known(known));
        }
        if depth > 1 && current == Section::Unknown {
            return Ok(Section::Unknown);
        }
        if depth == 1
            && let Some(begun) = NOTIFY.begun(name, &origin)
        {
            begun?.begin_among(&mut self.notify)?;
            return Ok(Section::Notify);
        }
        if depth == 1
            && let Some(begun) = POOL.begun(name, &origin)
        {
            begun?.begin_among(&mut self.pools)?;
            return Ok(Section::Pool);
        }
        let meant = nearest(name, SECTIONS).filter(|meant| !present.contains(meant));
        if meant.is_some() || depth > 1 {
            return Err(SettingsError::UnknownSection {
                origin,
                section: name.to_owned(),
                nearest: meant.map(|meant| format!("[{meant}]")),
            });
        }
        self.warnings.push(format!(
            "{origin}: no program reads section [{name}]; its settings have no effect"
        ));
        Ok(Section::Unknown)
    }

    /// A setting, wherever it stands.
    fn setting_in(
        &mut self,
        section: Section,
        (key, values): (&str, Vec<String>),
        present: &[&str],
        origin: Origin,
    ) -> Result<(), SettingsError> {
        match section {
            Section::Known(section) => self.setting(key, values, section, origin),
            Section::Notify => match self.notify.last_mut() {
                Some(section) => section.add(key, values, origin),
                None => Ok(()),
            },
            Section::Pool => match self.pools.last_mut() {
                Some(section) => section.add(key, values, origin),
                None => Ok(()),
            },
            Section::Unknown => Ok(()),
            Section::Outside
                if present.is_empty() && self.notify.is_empty() && self.pools.is_empty() =>
            {
                Err(SettingsError::NoSection { origin })
            }
            Section::Outside => {
                self.warnings.push(format!(
                    "{origin}: setting \"{key}\" is before the first section and has no effect; move it below \
                     [general]"
                ));
                Ok(())
            }
        }
    }

    fn setting(
        &mut self,
        name: &str,
        values: Vec<String>,
        section: &'static str,
        origin: Origin,
    ) -> Result<(), SettingsError> {
        let key = keys::key(name).ok_or_else(|| SettingsError::UnknownKey {
            origin: origin.clone(),
            key: name.to_owned(),
            nearest: nearest_key(name),
        })?;
        if !key.allowed_in(section) {
            if key.is_original() {
                self.warnings.push(format!(
                    "{origin}: setting \"{name}\" has no effect in [{section}]; it belongs to {}",
                    key.sections()
                ));
                return Ok(());
            }
            return Err(SettingsError::WrongSection {
                origin,
                key: name.to_owned(),
                section: section.to_owned(),
                allowed: key.sections(),
            });
        }
        // A secret is no matter for guesses; the original refuses it as too short.
        let says_nothing = match values.as_slice() {
            [value] if value.is_empty() => key.is_text,
            [value] => value == "None" && !SECRET_KEYS.contains(&key.name),
            _ => false,
        };
        if says_nothing {
            self.warnings.push(format!(
                "{origin}: setting \"{name}\" has no value and counts as left out"
            ));
            return Ok(());
        }
        let interpolation = values.iter().find_map(|value| interpolation(value));
        if let Some(what) = interpolation.filter(|_| !SECRET_KEYS.contains(&key.name)) {
            return Err(SettingsError::Syntax {
                origin,
                what: format!(
                    "setting \"{name}\": {what} would be replaced by the original, and is not here; write the value out"
                ),
            });
        }
        let found = Found {
            key: key.name,
            origin,
            values,
        };
        self.add(key, section, found)
    }

    fn add(&mut self, key: &Key, section: &'static str, found: Found) -> Result<(), SettingsError> {
        let is_same = |(other, first): &&(&str, Found)| *other == section && first.key == key.name;
        if let Some((_, first)) = self.entries.iter().find(is_same)
            && let Origin::File { line: first, .. } = first.origin
        {
            return Err(SettingsError::Twice {
                origin: found.origin,
                key: key.name.to_owned(),
                first,
            });
        }
        // A secret without a value is a place for one, not a wrong one.
        if !found.is_empty_secret() {
            (key.check)(&found)?;
        }
        self.entries.push((section, found));
        Ok(())
    }

    /// The key in the program's own section, or else in `[general]`.
    pub(super) fn find(&self, key: &str, own_section: &str) -> Option<&Found> {
        [own_section, "general"].into_iter().find_map(|section| {
            let mut entries = self.entries.iter();
            let (_, found) =
                entries.find(|(other, found)| *other == section && found.key == key)?;
            (!found.is_empty_secret()).then_some(found)
        })
    }

    /// Whether the file is one that others must not read.
    pub(super) fn holds_secret(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|(_, found)| SECRET_KEYS.contains(&found.key) && !found.is_empty_secret())
            || self.notify.iter().any(notify::holds_secret)
    }
}

/// Those of our sections that a file has.
fn sections(lines: &[Line]) -> Vec<&'static str> {
    let has = |wanted: &&str| {
        lines.iter().any(
            |line| matches!(&line.content, Content::Section { name, depth: 1 } if name == wanted),
        )
    };
    SECTIONS.into_iter().filter(has).collect()
}

/// `%(name)s`, which ConfigObj replaces by another setting.
fn interpolation(value: &str) -> Option<&str> {
    let start = value.find("%(")?;
    let end = value[start..].find(")s")? + start + 2;
    value.get(start..end)
}
