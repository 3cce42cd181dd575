//! From the lists of a job to shell text: joining commands, and atoms out of an atomizer's output.
//!
//! The results are part of the API: atoms are shown to users and key the learned timings, so every
//! oddity of the original is kept that hides no command (specification 5.2 and 5.3).

use super::product;
use super::quoting::{PROJECT, SPECIAL, continues_a_name, quoted};
use super::several::{asks_to_end_at_failures, has_several_commands, is_whole};
use super::shell_text::{End, end_of, ends_with_unescaped, has_only_comments};
use crate::process::variables::is_name;
use std::borrow::Cow;

/// Ends the shell as the command before it ended, if that failed.
pub(crate) const CHECK: &str = "case $? in 0) ;; *) exit ;; esac";

/// How long elements may be, in bytes, that are one command only together: each more of them has all of them read again.
const LONGEST_PART: usize = 64 << 10;

/// Joins the elements of a command list into one shell command, with the original's meaning.
///
/// Each element is trimmed and loses its trailing `;`; ` && ` stands between elements, or only a blank behind one that ends in
/// `&`. An element of several commands stands on lines of its own with a [`CHECK`] before and behind it, since ` && ` would
/// count for one of them only; where an element asks for `set -e`, all do, since it counts nowhere to the left of ` && `. Among
/// parts of commands, which a check would cut, braces take the place of checks. An element that would take what follows for a
/// part of itself, such as one that ends in a comment, stands in braces on lines of its own; one that is nothing but comments
/// is left out. `None` stands for an empty list element, which is left out, too. Oddities that are kept: an empty element at
/// the start gives a leading `&&`, and `a ;` leaves two blanks.
#[must_use]
pub(crate) fn join_commands<'a>(elements: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let mut elements: Vec<&str> = elements.into_iter().flatten().map(without_end).collect();
    if !elements.iter().all(|element| has_only_comments(element)) {
        elements.retain(|element| !has_only_comments(element));
    }
    let checks = checked(&elements);
    let (mut joined, mut joint) = (String::new(), "");
    for (index, element) in elements.iter().enumerate() {
        let end = end_of(element);
        // Behind a backslash the end of the line would not count.
        let more = if end == End::Backslash { "\n" } else { "" };
        match checks[index] {
            true => joined.push_str(&format!("\n{CHECK}\n")),
            false => joined.push_str(joint),
        }
        let is_last = index + 1 == elements.len();
        let is_followed = !is_last && !checks[index + 1];
        let is_split = index > 0 && !checks[index] && has_several_commands(element);
        if is_split || (end.needs_a_line() && is_followed) {
            joined.push_str(&format!("{{\n{element}\n{more}}}"));
            joint = " &&\n";
        } else {
            joined.push_str(&format!("{element}{}", if is_last { "" } else { more }));
            joint = match ends_with_unescaped(element.trim_end(), '&') {
                true => " ",
                false => " && ",
            };
        }
    }
    joined.push_str(joint);
    let joined = joined.trim();
    if joined.ends_with("&&") {
        joined.trim_end_matches('&').trim().to_owned()
    } else {
        joined.to_owned()
    }
}

/// Before which elements a [`CHECK`] stands, by their indices.
fn checked(elements: &[&str]) -> Vec<bool> {
    let is_strict = elements
        .iter()
        .any(|element| asks_to_end_at_failures(element));
    let mut was_several = false;
    let mut checks = vec![false; elements.len()];
    // The elements before, from the last one on behind which all was whole.
    let mut open = String::new();
    for (index, element) in elements.iter().enumerate() {
        let is_several = index > 0 && has_several_commands(element);
        checks[index] = index > 0 && open.is_empty() && (is_strict || is_several || was_several);
        was_several = is_several;
        if open.len() <= LONGEST_PART {
            open.push_str(element);
            open.push('\n');
            if is_whole(&open) {
                open.clear();
            }
        }
    }
    checks
}

/// An element without the white space around it and the `;` at its end, as far as they mean nothing.
fn without_end(element: &str) -> &str {
    let mut element = element.trim();
    while ends_with_unescaped(element, ';') {
        element = &element[..element.len() - 1];
    }
    element
}

/// The atom for one value as it is shown: `export NAME="value";`, with nothing escaped. It is what the original's slaves
/// run; ours get [`quoted_atom`] of it.
#[must_use]
pub(crate) fn atom_command(name: &str, value: &str) -> String {
    format!("export {name}=\"{value}\";")
}

/// The shell text of an atom whose variable is to hold the value just as it was printed. A value that the shell takes as
/// it is, as most are, stays as it is. The text `$PROJECT_DIR` stays the variable.
#[must_use]
pub fn quoted_atom(atom: &str) -> Cow<'_, str> {
    let quoted = name_and_value(atom).map(|(name, value)| (name, value, quoted(value)));
    match quoted {
        Some((name, value, quoted)) if quoted != value => Cow::Owned(atom_command(name, &quoted)),
        Some(_) | None => Cow::Borrowed(atom),
    }
}

/// The variable's name and the value of an atom that sets one; of an atom that is shell text only where the shell takes
/// the value as it is. Of an atom that sets several, their names, and `NAME=value` of each, with blanks between them.
#[must_use]
pub fn variable_of(atom: &str, is_shell_text: bool) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    if let Some(variables) = product::variables_of(atom) {
        let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
        let pairs = variables.iter();
        let pairs: Vec<String> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        return Some((Cow::Owned(names.join(" ")), Cow::Owned(pairs.join(" "))));
    }
    let (name, value) = name_and_value(atom)?;
    let is_certain = !is_shell_text || quoted(value) == value;
    is_certain.then_some((Cow::Borrowed(name), Cow::Borrowed(value)))
}

/// The value that the shell gives to the variable of an atom that slaves get ([`quoted_atom`]); none of an atom whose value
/// only a shell can find out, as that of a command in it.
#[must_use]
pub fn value_for_shell(atom: &str, project_directory: &str) -> Option<String> {
    let (_, quoted) = name_and_value(atom)?;
    let mut value = String::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some(next) = rest.find(SPECIAL) {
        let (plain, special) = rest.split_at(next);
        value.push_str(plain);
        if let Some(escaped) = special.strip_prefix('\\') {
            let character = escaped.chars().next().filter(|one| SPECIAL.contains(one))?;
            value.push(character);
            rest = &escaped[1..];
            continue;
        }
        let after = special.strip_prefix("${PROJECT_DIR}").or_else(|| {
            special
                .strip_prefix(PROJECT)
                .filter(|after| !continues_a_name(after))
        })?;
        value.push_str(project_directory);
        rest = after;
    }
    value.push_str(rest);
    Some(value)
}

/// The variable's name and the value of an atom that sets one, both as they stand there.
pub(super) fn name_and_value(atom: &str) -> Option<(&str, &str)> {
    let (name, value) = atom.strip_prefix("export ")?.split_once("=\"")?;
    let value = value.strip_suffix("\";")?;
    is_name(name).then_some((name, value))
}

/// What an atomizer's output is made of.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// The values, in the order of the output.
    pub values: Vec<String>,
    /// How many blank lines there are between them, of which the original makes atoms.
    pub blank: usize,
}

impl Lines {
    /// The atoms of an atomizer of its own: each sets the variable `name` to a value.
    #[must_use]
    pub fn atoms(self, name: &str) -> Vec<String> {
        let values = self.values.iter();
        values.map(|value| atom_command(name, value)).collect()
    }
}

/// The values of one atomizer.
///
/// Each line that is not blank is one value, in which the path `project_directory` becomes `$PROJECT_DIR`, but not where it
/// is the beginning of a longer name.
#[must_use]
pub fn values_from_output(output: &str, project_directory: &str) -> Lines {
    let mut found = Lines::default();
    let mut blank = 0;
    for line in lines(output) {
        if line.chars().all(is_python_space) {
            blank += 1;
            continue;
        }
        if !found.values.is_empty() {
            found.blank += blank;
        }
        blank = 0;
        // Replacing the empty text would put the variable between all letters.
        found.values.push(match project_directory {
            "" => line.to_owned(),
            directory => with_project(line, directory),
        });
    }
    found
}

/// A line in which the project's directory is a variable.
fn with_project(line: &str, directory: &str) -> String {
    let mut value = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(directory) {
        value.push_str(before);
        value.push_str(match continues_a_name(after) {
            true => directory,
            false => PROJECT,
        });
        rest = after;
    }
    value + rest
}

/// White space of Python's `strip`: Unicode's and the four ASCII separators.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The lines of Python's `splitlines`, which also ends a line at a lone carriage return, a form feed and
/// their like. The atoms have to be the same, or learned timings would not be found again.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let ends_line = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'
                ..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(ends_line) else {
            return rest.take();
        };
        let (line, after) = text.split_at(end);
        let mut end_and_more = after.chars();
        if end_and_more.next() == Some('\r') && after.starts_with("\r\n") {
            end_and_more.next();
        }
        rest = Some(end_and_more.as_str());
        Some(line)
    })
}

#[cfg(test)]
mod tests;
