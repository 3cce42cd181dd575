//! Reading a Procfile: which process types a workspace has, and the command of each.

use super::error::BuildError;
use super::finding::{own_file, text};
use clusterrunner_common::text::printable::plain;
use std::collections::BTreeMap;
use std::path::Path;

const PROCFILE: &str = "Procfile";

/// The most process types.
const MOST_TYPES: usize = 100;

/// The longest name of one.
const LONGEST_NAME: usize = 64;

/// The longest command, in bytes: it becomes an argument of a shell.
const LONGEST_COMMAND: usize = 8 << 10;

/// The process types of a workspace; none without a Procfile.
pub(super) fn read(workspace: &Path) -> Result<BTreeMap<String, String>, BuildError> {
    match own_file(workspace, PROCFILE)? {
        Some(path) => parse(&text(&path)?),
        None => Ok(BTreeMap::new()),
    }
}

/// How many process types are in the text of one. For fuzzers.
pub(crate) fn number_of_types(text: &str) -> Result<usize, BuildError> {
    parse(text).map(|types| types.len())
}

fn parse(text: &str) -> Result<BTreeMap<String, String>, BuildError> {
    let mut types = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let wrong = |sentence: String| BuildError::Line {
            file: PROCFILE.to_owned(),
            line: number,
            sentence,
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, command)) = split(line) else {
            let shown: String = line.chars().take(80).collect();
            return Err(wrong(format!(
                "`{}` is not of the form `type: command`.",
                plain(&shown)
            )));
        };
        if command.len() > LONGEST_COMMAND {
            return Err(wrong(format!(
                "the command has {} bytes, and {LONGEST_COMMAND} are taken.",
                command.len()
            )));
        }
        if types.insert(name.to_owned(), command.to_owned()).is_some() {
            return Err(wrong(format!("the type `{name}` is there twice.")));
        }
        if types.len() > MOST_TYPES {
            return Err(wrong(format!(
                "more than {MOST_TYPES} types are not taken."
            )));
        }
    }
    Ok(types)
}

fn split(line: &str) -> Option<(&str, &str)> {
    let (name, command) = line.split_once(':')?;
    let command = command.trim();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_name = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fits);
    (is_name && !command.is_empty() && !command.contains('\0')).then_some((name, command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_and_commands() {
        let text = "# all of them\nweb: python -m http.server $PORT\r\n\nworker_1:  a: b \n";
        let found = parse(text).unwrap();
        let found: Vec<_> = found.iter().map(|(n, c)| (&**n, &**c)).collect();
        assert_eq!(
            found,
            [("web", "python -m http.server $PORT"), ("worker_1", "a: b")]
        );
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_procfile_is_refused_with_its_line() {
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        for (text, expected) in [
            (
                "web: x\nhello",
                "Procfile line 2: `hello` is not of the form",
            ),
            ("web:", "line 1: `web:` is not of the form"),
            ("we b: x", "`we b: x` is not of the form"),
            ("web: \u{1b}[2J\0", "\\u{1b}[2J\\u{0}`"),
            ("web: a\nweb: b", "line 2: the type `web` is there twice"),
        ] {
            assert!(refused(text).contains(expected), "{}", refused(text));
        }
        let many: String = (0..200).map(|n| format!("t{n}: x\n")).collect();
        assert!(refused(&many).contains("line 101: more than 100"));
        assert!(refused(&format!("web: {}", "x".repeat(40_000))).contains("8192 are taken"));
    }
}
