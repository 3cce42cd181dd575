//! The words of a plain text, one command after the other, expanded as bash does it.

use super::names::is_of_the_shell;
use super::{NotPlain, OPERATOR, PATTERN, QUOTES, SPLIT, SUBSTITUTION, VARIABLE};
use crate::job::config::CHECK;
use crate::process::variables::is_name;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// A word, and how much of it is an assignment by its form.
pub(super) struct Word {
    pub(super) text: String,
    /// Where its first `=` stands that is not in quotes, with only a name before it.
    pub(super) assigns_at: Option<usize>,
    /// Whether any of it was in quotes or expanded.
    pub(super) is_quoted: bool,
    /// Whether it had a variable.
    pub(super) has_variable: bool,
}

/// What is left of a text, and what its variables are.
pub(super) struct Words<'a> {
    rest: Peekable<Chars<'a>>,
    environment: &'a dyn Fn(&str) -> Option<String>,
    /// What the text has exported so far.
    pub(super) exports: BTreeMap<String, String>,
    /// Whether the word that is read has a variable.
    has_variable: bool,
}

impl<'a> Words<'a> {
    pub(super) fn new(text: &'a str, environment: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            rest: text.chars().peekable(),
            environment,
            exports: BTreeMap::new(),
            has_variable: false,
        }
    }

    /// Whether nothing is left but blanks.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.rest.clone().all(char::is_whitespace)
    }

    /// The words of the next command, and what ends it: `;` (or the end of a line), `&` for `&&`, or nothing.
    pub(super) fn command(&mut self) -> Result<(Vec<Word>, Option<char>), NotPlain> {
        let mut words = Vec::new();
        loop {
            match self.rest.peek().copied() {
                None => return Ok((words, None)),
                Some(' ' | '\t') => {
                    self.rest.next();
                }
                Some('\n') if words.is_empty() => {
                    self.rest.next();
                }
                // Nothing before the last command fails.
                Some('c') if words.is_empty() && self.skip(CHECK) => {}
                Some('\n' | ';') => {
                    self.rest.next();
                    return match (words.is_empty(), self.rest.peek()) {
                        (true, _) | (_, Some(';' | '&')) => Err(OPERATOR),
                        _ => Ok((words, Some(';'))),
                    };
                }
                Some('&') => {
                    self.rest.next();
                    return match (self.rest.next(), words.is_empty()) {
                        (Some('&'), false) => Ok((words, Some('&'))),
                        _ => Err(OPERATOR),
                    };
                }
                Some(_) => {
                    let is_export = |word: &Word| !word.is_quoted && word.text == "export";
                    let may_assign = words.iter().all(|word: &Word| word.assigns_at.is_some())
                        || words.first().is_some_and(is_export);
                    words.extend(self.word(may_assign)?);
                }
            }
        }
    }

    /// A word; none where all of it expands to nothing and nothing is quoted. Where it may be an assignment, its value is
    /// not split.
    fn word(&mut self, may_assign: bool) -> Result<Option<Word>, NotPlain> {
        let mut word = Word {
            text: String::new(),
            assigns_at: None,
            is_quoted: false,
            has_variable: false,
        };
        self.has_variable = false;
        let mut is_first = true;
        let mut is_there = false;
        while let Some(c) = self.rest.peek().copied() {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' => break,
                '|' | '<' | '>' | '(' | ')' => return Err(OPERATOR),
                '`' => return Err(SUBSTITUTION),
                '*' | '?' | '[' | ']' | '{' | '}' | '~' | '^' => return Err(PATTERN),
                '#' | '!' if is_first => return Err(OPERATOR),
                '\'' => {
                    self.rest.next();
                    self.single_quoted(&mut word.text)?;
                    (word.is_quoted, is_there) = (true, true);
                }
                '"' => {
                    self.rest.next();
                    self.double_quoted(&mut word.text)?;
                    (word.is_quoted, is_there) = (true, true);
                }
                '\\' => {
                    self.rest.next();
                    match self.rest.next() {
                        None => return Err(QUOTES),
                        Some('\n') => continue,
                        Some(c) => word.text.push(c),
                    }
                    (word.is_quoted, is_there) = (true, true);
                }
                '$' => {
                    self.rest.next();
                    let value = self.variable()?;
                    let splits = |c: char| c.is_whitespace() || "*?[\\".contains(c);
                    if word.assigns_at.is_none() && value.contains(splits) {
                        return Err(SPLIT);
                    }
                    is_there |= !value.is_empty();
                    word.text.push_str(&value);
                    word.is_quoted = true;
                }
                '=' if may_assign
                    && !word.is_quoted
                    && word.assigns_at.is_none()
                    && is_name(&word.text) =>
                {
                    self.rest.next();
                    word.assigns_at = Some(word.text.len());
                    word.text.push('=');
                    is_there = true;
                }
                c if c.is_control() => return Err(OPERATOR),
                c => {
                    self.rest.next();
                    word.text.push(c);
                    is_there = true;
                }
            }
            is_first = false;
        }
        word.has_variable = self.has_variable;
        Ok(is_there.then_some(word))
    }

    fn single_quoted(&mut self, text: &mut String) -> Result<(), NotPlain> {
        loop {
            match self.rest.next() {
                None => return Err(QUOTES),
                Some('\'') => return Ok(()),
                Some(c) => text.push(c),
            }
        }
    }

    fn double_quoted(&mut self, text: &mut String) -> Result<(), NotPlain> {
        loop {
            match self.rest.next() {
                None => return Err(QUOTES),
                Some('"') => return Ok(()),
                Some('`') => return Err(SUBSTITUTION),
                Some('$') => text.push_str(&self.variable()?),
                Some('\\') => match self.rest.next() {
                    None => return Err(QUOTES),
                    Some('\n') => {}
                    Some(c @ ('$' | '`' | '"' | '\\')) => text.push(c),
                    Some(c) => text.extend(['\\', c]),
                },
                Some(c) => text.push(c),
            }
        }
    }

    /// What stands after a `$`.
    fn variable(&mut self) -> Result<String, NotPlain> {
        self.has_variable = true;
        let is_braced = self.rest.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(c) = self
            .rest
            .next_if(|c| c.is_ascii_alphanumeric() || *c == '_')
        {
            name.push(c);
        }
        if !is_name(&name) || (is_braced && self.rest.next() != Some('}')) {
            return Err(SUBSTITUTION);
        }
        if is_of_the_shell(&name) {
            return Err(VARIABLE);
        }
        if let Some(value) = self.exports.get(&name) {
            return Ok(value.clone());
        }
        Ok((self.environment)(&name).unwrap_or_default())
    }

    /// Goes behind a line, if that comes next.
    fn skip(&mut self, line: &str) -> bool {
        let mut rest = self.rest.clone();
        let is_there = line.chars().all(|c| rest.next() == Some(c)) && rest.next() == Some('\n');
        if is_there {
            self.rest = rest;
        }
        is_there
    }

    /// How many bytes of the text are left.
    pub(super) fn left(&self) -> usize {
        self.rest.clone().map(char::len_utf8).sum()
    }

    /// What a variable has before the text.
    pub(super) fn before(&self, name: &str) -> Option<String> {
        (self.environment)(name)
    }
}
