//! Shell texts that are so plain that what they run can be known without a shell: variables that are exported, a change of
//! the directory, and one command. They are expanded as bash does; all else is refused with the reason.

mod names;
#[cfg(test)]
mod tests;
mod words;

use crate::process::variables::is_name;
use names::{SHELL_WORDS, is_of_the_shell};
use std::collections::BTreeMap;
use words::{Word, Words};

/// What a plain text runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plain {
    /// What it exports, and what stands before the command, by name.
    pub exports: BTreeMap<String, String>,
    /// Where it changes to, as it is written; `None` for nowhere.
    pub directory: Option<String>,
    /// The command and its arguments; never empty.
    pub words: Vec<String>,
}

/// Why a text is not plain. The text of it fits "the command is not plain: …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotPlain(&'static str);

const OPERATOR: NotPlain = NotPlain("it has a redirection, a pipe or another operator");
const SUBSTITUTION: NotPlain =
    NotPlain("it has a substitution or an expansion other than of a variable");
const PATTERN: NotPlain = NotPlain("it has a pattern, braces or a ~ outside of quotes");
const SPLIT: NotPlain = NotPlain("a variable outside of quotes has blanks or is a pattern");
const QUOTES: NotPlain = NotPlain("a quote is not closed");
const FIRST: NotPlain = NotPlain("it has several commands other than export, cd and set");
const NOTHING: NotPlain = NotPlain("it has no command");
const CD: NotPlain = NotPlain("it changes the directory more than once, or not to a path");
const WORD: NotPlain = NotPlain("it begins with a word of the shell");
const ASSIGNMENTS: NotPlain =
    NotPlain("it sets several variables for one command, and a later one to a value of others");
const VARIABLE: NotPlain = NotPlain("it names a variable that the shell itself sets");

/// Reads a text. `environment` gives what a variable has before it.
///
/// # Errors
/// When it is not plain.
pub fn read(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Plain, NotPlain> {
    if text.contains('\0') {
        return Err(OPERATOR);
    }
    let mut reader = Reader::new(text, environment);
    loop {
        let (words, end) = reader.words.command()?;
        let is_last = end.is_none() || reader.words.is_at_end();
        if is_last && !words.is_empty() {
            return reader.last(words);
        }
        if is_last {
            return Err(NOTHING);
        }
        // `;` and `&&` mean the same after what can not fail. A `cd` that fails lets the worker fail.
        reader.first(words)?;
    }
}

/// The variables that a text exports at its beginning, by at most so many commands that are each followed by `;`, and the rest
/// of it. The first of these commands is the atom's own, the others are the job's. `environment` gives what a variable has
/// before it.
///
/// # Errors
/// When the beginning is not plain.
pub fn split_atom<'t>(
    text: &'t str,
    most: usize,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(BTreeMap<String, String>, &'t str), NotPlain> {
    let mut reader = Reader::new(text, environment);
    let mut rest = text;
    for _ in 0..most {
        if !rest.starts_with("export ") {
            break;
        }
        let (words, end) = reader.words.command()?;
        if end != Some(';') {
            break;
        }
        reader.first(words)?;
        rest = text[text.len() - reader.words.left()..].trim_start_matches(' ');
    }
    Ok((reader.words.exports, rest))
}

/// What `set` may be told: that matters only where a command before the last one can fail, or has a pipe.
const SETS: [&str; 4] = ["-e", "-o pipefail", "-eo pipefail", "-e -o pipefail"];

/// What a text was read to so far.
struct Reader<'a> {
    words: Words<'a>,
    directory: Option<String>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, environment: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            words: Words::new(text, environment),
            directory: None,
        }
    }

    /// A command before the last one: one that only prepares.
    fn first(&mut self, words: Vec<Word>) -> Result<(), NotPlain> {
        let mut words = words.into_iter();
        let Some(name) = words.next().filter(|word| !word.is_quoted) else {
            return Err(FIRST);
        };
        match name.text.as_str() {
            "export" if words.len() > 0 => words.try_for_each(|word| self.export(word)),
            "cd" => match (words.next(), words.next(), &self.directory) {
                (Some(to), None, None) if is_path(&to.text) && !self.has_cdpath() => {
                    self.directory = Some(to.text);
                    Ok(())
                }
                _ => Err(CD),
            },
            "set" => {
                let options: Vec<String> = words.map(|word| word.text).collect();
                let options = options.join(" ");
                SETS.contains(&&*options).then_some(()).ok_or(FIRST)
            }
            "true" | ":" if words.next().is_none() => Ok(()),
            _ => Err(FIRST),
        }
    }

    fn has_cdpath(&self) -> bool {
        self.words.before("CDPATH").is_some() || self.words.exports.contains_key("CDPATH")
    }

    fn export(&mut self, word: Word) -> Result<(), NotPlain> {
        let Some(place) = word.assigns_at else {
            // What is in the environment is exported already.
            return is_name(&word.text).then_some(()).ok_or(FIRST);
        };
        let (name, value) = word.text.split_at(place);
        let value = value.get(1..).unwrap_or_default();
        if is_of_the_shell(name) {
            return Err(VARIABLE);
        }
        self.words.exports.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    fn last(mut self, words: Vec<Word>) -> Result<Plain, NotPlain> {
        let mut words = words.into_iter().peekable();
        // All words are expanded already: what stands before a command does not count in them, but it does in what stands
        // there behind it.
        let mut is_first = true;
        while let Some(word) = words.next_if(|word| word.assigns_at.is_some()) {
            if word.has_variable && !is_first {
                return Err(ASSIGNMENTS);
            }
            is_first = false;
            self.export(word)?;
        }
        let Some(name) = words.peek() else {
            return Err(NOTHING);
        };
        if !name.is_quoted && SHELL_WORDS.contains(&name.text.as_str()) {
            return Err(WORD);
        }
        Ok(Plain {
            words: words.map(|word| word.text).collect(),
            exports: self.words.exports,
            directory: self.directory,
        })
    }
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-')
}
