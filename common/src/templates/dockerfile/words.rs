//! The words of an instruction: quotes go, and variables are put in, as where images are built.

/// Finds the value of a variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How deep variables may stand in what replaces others.
const MOST_LEVELS: usize = 16;

/// The most bytes of all words: each variable may be put in often.
const LONGEST: usize = 1 << 20;

/// Why the words of an instruction can not be read; each says so as a sentence behind "line 3: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongWords {
    /// Variables put in too much.
    #[error("its words are too long.")]
    TooLong,
    /// A `'` without another one.
    #[error("a single quote is not closed.")]
    OpenSingleQuote,
    /// A `"` without another one.
    #[error("a double quote is not closed.")]
    OpenDoubleQuote,
    /// A `${` without a `}`.
    #[error("a `${{` is not closed.")]
    OpenBrace,
    /// What stands between the braces begins with no name.
    #[error("`${{{0}}}` names no variable.")]
    Nameless(String),
    /// A variable that must be set, as in `${NAME?}`, is not.
    #[error("the variable {0} is not set.")]
    NotSet(String),
    /// What stands between the braces behind the name is not known.
    #[error("`${{{0}}}` is no way to use a variable.")]
    UnknownUse(String),
    /// Variables stand in what replaces others, again and again.
    #[error("variables stand too deep in others.")]
    TooDeep,
}

impl From<WrongWords> for String {
    fn from(wrong: WrongWords) -> Self {
        wrong.to_string()
    }
}

/// Splits a text at its blanks, or takes all of it as one word.
///
/// # Errors
/// What is wrong with them.
pub fn words(
    text: &str,
    escape: char,
    splits: bool,
    lookup: Lookup<'_>,
) -> Result<Vec<String>, WrongWords> {
    let mut reader = Reader {
        rest: text,
        escape,
        lookup,
        level: 0,
        left: LONGEST,
    };
    let mut words = Vec::new();
    loop {
        reader.rest = reader.rest.trim_start();
        if reader.rest.is_empty() {
            return Ok(words);
        }
        words.push(reader.word(splits)?);
    }
}

/// Puts variables into a text and leaves all else as it is.
///
/// # Errors
/// What is wrong with them.
pub fn variables(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, WrongWords> {
    let mut reader = Reader {
        rest: text,
        escape,
        lookup,
        level: 0,
        left: LONGEST,
    };
    let mut out = String::new();
    while let Some(character) = reader.next() {
        if character == '$' {
            let value = reader.variable()?;
            reader.push(&mut out, &value)?;
            continue;
        }
        let character = match (character == escape, reader.rest.starts_with('$')) {
            (true, true) => reader.next().unwrap_or(character),
            _ => character,
        };
        reader.push(&mut out, character.encode_utf8(&mut [0; 4]))?;
    }
    Ok(out)
}

struct Reader<'a> {
    rest: &'a str,
    escape: char,
    lookup: Lookup<'a>,
    level: usize,
    left: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    fn push(&mut self, out: &mut String, text: &str) -> Result<(), WrongWords> {
        let left = self.left.checked_sub(text.len());
        self.left = left.ok_or(WrongWords::TooLong)?;
        out.push_str(text);
        Ok(())
    }

    /// One word, up to a blank where it `splits`.
    fn word(&mut self, splits: bool) -> Result<String, WrongWords> {
        let mut out = String::new();
        let mut is_double_quoted = false;
        while let Some(character) = self.rest.chars().next() {
            if splits && !is_double_quoted && character.is_whitespace() {
                break;
            }
            self.next();
            match character {
                '"' => is_double_quoted = !is_double_quoted,
                '\'' if !is_double_quoted => {
                    let (quoted, rest) = self
                        .rest
                        .split_once('\'')
                        .ok_or(WrongWords::OpenSingleQuote)?;
                    self.push(&mut out, quoted)?;
                    self.rest = rest;
                }
                '$' => {
                    let value = self.variable()?;
                    self.push(&mut out, &value)?;
                }
                character if character == self.escape => match self.next() {
                    Some(next) => {
                        if is_double_quoted && !matches!(next, '"' | '$') && next != self.escape {
                            self.push(&mut out, character.encode_utf8(&mut [0; 4]))?;
                        }
                        self.push(&mut out, next.encode_utf8(&mut [0; 4]))?;
                    }
                    None => self.push(&mut out, character.encode_utf8(&mut [0; 4]))?,
                },
                other => self.push(&mut out, other.encode_utf8(&mut [0; 4]))?,
            }
        }
        match is_double_quoted {
            true => Err(WrongWords::OpenDoubleQuote),
            false => Ok(out),
        }
    }

    /// What stands for a variable, behind its `$`.
    fn variable(&mut self) -> Result<String, WrongWords> {
        if let Some(inner) = self.rest.strip_prefix('{') {
            let end = closing(inner, self.escape).ok_or(WrongWords::OpenBrace)?;
            self.rest = &inner[end + 1..];
            return self.braced(&inner[..end]);
        }
        let name = name(self.rest);
        self.rest = &self.rest[name.len()..];
        match name {
            "" => Ok("$".to_owned()),
            name => Ok((self.lookup)(name).unwrap_or_default()),
        }
    }

    fn braced(&mut self, inner: &str) -> Result<String, WrongWords> {
        let name = name(inner);
        let modifier = &inner[name.len()..];
        if name.is_empty() {
            return Err(WrongWords::Nameless(inner.to_owned()));
        }
        let value = (self.lookup)(name);
        let (modifier, is_empty_unset) = match modifier.strip_prefix(':') {
            Some(modifier) => (modifier, true),
            None => (modifier, false),
        };
        let value = value.filter(|value| !is_empty_unset || !value.is_empty());
        match (modifier.chars().next(), value) {
            (None, value) if !is_empty_unset => Ok(value.unwrap_or_default()),
            (Some('-'), Some(value)) => Ok(value),
            (Some('-'), None) | (Some('+'), Some(_)) => self.inner(&modifier[1..]),
            (Some('+'), None) => Ok(String::new()),
            (Some('?'), Some(value)) => Ok(value),
            (Some('?'), None) => Err(WrongWords::NotSet(name.to_owned())),
            _ => Err(WrongWords::UnknownUse(inner.to_owned())),
        }
    }

    /// A word in the place of a variable.
    fn inner(&mut self, text: &str) -> Result<String, WrongWords> {
        if self.level == MOST_LEVELS {
            return Err(WrongWords::TooDeep);
        }
        let mut reader = Reader {
            rest: text,
            level: self.level + 1,
            ..*self
        };
        let word = reader.word(false)?;
        self.left = reader.left;
        Ok(word)
    }
}

/// Where the brace is that closes.
fn closing(text: &str, escape: char) -> Option<usize> {
    let mut open = 0_usize;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '$' if characters.peek().is_some_and(|(_, next)| *next == '{') => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            character if character == escape => {
                characters.next();
            }
            _ => {}
        }
    }
    None
}

/// The name of a variable at the beginning of a text.
fn name(text: &str) -> &str {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return &text[..1];
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}
