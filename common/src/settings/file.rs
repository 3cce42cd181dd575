//! One settings file: sections, keys, values and the lines they stand in.
//!
//! configparser splits the text; it knows no lines and lets the last of two equal keys win, so a scan
//! by the same rules adds both. Values (quotes, lists, comments) are read here in the original's way.

use super::error::{Origin, SettingsError};
use super::keys::{self, Found, SECTIONS};
use crate::nearest::nearest;
use configparser::ini::{Ini, IniDefault};
use std::path::Path;

/// A checked file: every key known, allowed in its section and there only once.
pub(super) struct SettingsFile {
    entries: Vec<(&'static str, Found)>,
}

/// A line that sets a key.
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: usize,
    pub(super) section: &'a str,
    pub(super) key: &'a str,
}

impl SettingsFile {
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        let origin = |line| Origin::File {
            path: path.to_owned(),
            line,
        };
        let syntax = |line, what: &str| SettingsError::Syntax {
            origin: origin(line),
            what: what.to_owned(),
        };
        let mut entries: Vec<(&'static str, Found)> = Vec::new();
        let mut lines: Vec<usize> = Vec::new();
        check_sections(text, &origin)?;
        let mut ini = Ini::new_from_defaults(ini_defaults());
        ini.read(text.to_owned()).map_err(|message| {
            let (line, what) = line_and_text(&message);
            syntax(line, what)
        })?;
        for line in scan(text) {
            let key = keys::key(line.key).ok_or_else(|| SettingsError::UnknownKey {
                origin: origin(line.number),
                key: line.key.to_owned(),
                nearest: nearest_key(line.key),
            })?;
            let Some(section) = SECTIONS
                .into_iter()
                .find(|section| *section == line.section)
            else {
                return Err(syntax(
                    line.number,
                    "a setting before the first section; write [general] above it",
                ));
            };
            if !key.allowed_in(section) {
                return Err(SettingsError::WrongSection {
                    origin: origin(line.number),
                    key: key.name.to_owned(),
                    section: section.to_owned(),
                    allowed: key.sections(),
                });
            }
            if let Some(first) = entries
                .iter()
                .position(|(other, found)| *other == section && found.key == key.name)
            {
                return Err(SettingsError::Twice {
                    origin: origin(line.number),
                    key: key.name.to_owned(),
                    first: lines[first],
                });
            }
            let raw = ini.get(section, line.key).ok_or_else(|| {
                syntax(
                    line.number,
                    &format!("setting \"{}\" has no \"=\" and no value", line.key),
                )
            })?;
            let values = values(&raw).map_err(|what| {
                syntax(line.number, &format!("setting \"{}\": {what}", line.key))
            })?;
            entries.push((
                section,
                Found {
                    key: key.name,
                    origin: origin(line.number),
                    values,
                },
            ));
            lines.push(line.number);
        }
        let file = Self { entries };
        // A secret without a value is a place for one, not a wrong one.
        for (_, found) in file
            .entries
            .iter()
            .filter(|(_, found)| !found.is_empty_secret())
        {
            found.read()?;
        }
        Ok(file)
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
        self.entries.iter().any(|(_, found)| {
            matches!(found.key, "secret" | "read_token") && !found.is_empty_secret()
        })
    }
}

impl Found {
    fn is_empty_secret(&self) -> bool {
        self.key == "secret" && self.values.iter().all(String::is_empty)
    }
}

fn ini_defaults() -> IniDefault {
    let mut defaults = IniDefault::default();
    defaults.case_sensitive = true;
    defaults.multiline = false;
    defaults.delimiters = vec!['='];
    defaults.comment_symbols = vec!['#'];
    // Whether a `#` begins a comment depends on quotes, which only `values` understands.
    defaults.inline_comment_symbols = Some(Vec::new());
    defaults
}

/// Line and text of configparser's messages, which look like "line 5: Found …" or "line 5:0: Key …".
fn line_and_text(message: &str) -> (usize, &str) {
    let (place, text) = message.split_once(": ").unwrap_or(("", message));
    let line = place
        .strip_prefix("line ")
        .and_then(|place| place.split(':').next()?.parse().ok());
    (line.unwrap_or(1), text)
}

pub(super) fn section_of(line: &str) -> Option<&str> {
    let inside = line.strip_prefix('[')?;
    Some(inside[..inside.rfind(']')?].trim())
}

fn check_sections(text: &str, origin: &dyn Fn(usize) -> Origin) -> Result<(), SettingsError> {
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        let Some(section) = section_of(line) else {
            continue;
        };
        if !SECTIONS.contains(&section) {
            return Err(SettingsError::UnknownSection {
                origin: origin(number),
                section: section.to_owned(),
                nearest: nearest(section, SECTIONS).map(|section| format!("[{section}]")),
            });
        }
    }
    Ok(())
}

/// The lines that set keys, by configparser's rules.
pub(super) fn scan(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut section = "";
    (1..)
        .zip(text.lines().map(str::trim))
        .filter_map(move |(number, line)| {
            if let Some(name) = section_of(line) {
                section = name;
                return None;
            }
            if line.is_empty() || line.starts_with(['#', '[']) {
                return None;
            }
            let key = match line.split_once('=') {
                Some((key, _)) => key.trim(),
                // The key will be told to the user, but what follows may be a secret, as in `secret: x`.
                None => line
                    .split(|c: char| c == ':' || c.is_whitespace())
                    .next()
                    .unwrap_or(line),
            };
            Some(Line {
                number,
                section,
                key,
            })
        })
}

pub(super) fn nearest_key(key: &str) -> Option<String> {
    nearest(key, keys::KEYS.iter().map(|key| key.name)).map(str::to_owned)
}

/// The value or values behind `=`: quotes, comma lists, and a comment after a blank.
fn values(raw: &str) -> Result<Vec<String>, &'static str> {
    let (mut values, mut current) = (Vec::new(), String::new());
    let (mut quote, mut quoted, mut list) = (None, false, false);
    let mut finish = |current: &mut String, quoted: bool| {
        let text = std::mem::take(current);
        values.push(if quoted { text } else { text.trim().to_owned() });
    };
    for c in raw.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => (quote, quoted) = (None, true),
            (Some(_), c) => current.push(c),
            (None, '"' | '\'') if !quoted && current.trim().is_empty() => {
                current.clear();
                quote = Some(c);
            }
            (None, ',') => {
                finish(&mut current, quoted);
                (quoted, list) = (false, true);
            }
            (None, '#')
                if quoted || current.is_empty() || current.ends_with(char::is_whitespace) =>
            {
                break;
            }
            (None, c) if !quoted => current.push(c),
            (None, c) if c.is_whitespace() => {}
            (None, _) => return Err("text after the closing quote"),
        }
    }
    if quote.is_some() {
        return Err("the quote is not closed");
    }
    // "a," is a list of one; "" is one empty value.
    if quoted || !list || !current.trim().is_empty() {
        finish(&mut current, quoted);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_in_the_original() {
        for (raw, expected) in [
            ("a", vec!["a"]),
            ("", vec![""]),
            ("a b  # comment", vec!["a b"]),
            ("a#b", vec!["a#b"]),
            ("'a # b', \"c,d\", e   # comment", vec!["a # b", "c,d", "e"]),
            ("a,", vec!["a"]),
            ("'' ", vec![""]),
            ("# only a comment", vec![""]),
            (r"C:\temp", vec![r"C:\temp"]),
            ("it's", vec!["it's"]),
            ("a=b", vec!["a=b"]),
        ] {
            assert_eq!(values(raw).unwrap(), expected, "{raw}");
        }
        assert_eq!(values("'a").unwrap_err(), "the quote is not closed");
        assert_eq!(values("'a' b").unwrap_err(), "text after the closing quote");
    }
}
