//! Reading a Dockerfile, instruction by instruction, each with its line. Pure: nothing is carried out here.

mod arguments;
mod bases;
mod lines;
mod words;

pub use arguments::{Copying, copying, form, number_of_port};
pub use bases::{From, NOTHING, bases, from, with_bases};
pub use words::{Lookup, WrongWords, variables, words};

use crate::text::nearest::nearest;
use crate::text::printable::plain;

/// The most instructions.
const MOST_INSTRUCTIONS: usize = 10_000;

/// Something that can not be carried out, and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct WrongDockerfile {
    /// The number of the line; the first has the number 1.
    pub line: usize,
    /// What is wrong, for the user.
    pub sentence: String,
}

/// What an instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ADD`.
    Add,
    /// `ARG`.
    Arg,
    /// `CMD`.
    Cmd,
    /// `COPY`.
    Copy,
    /// `ENTRYPOINT`.
    Entrypoint,
    /// `ENV`.
    Env,
    /// `EXPOSE`.
    Expose,
    /// `FROM`.
    From,
    /// `HEALTHCHECK`.
    Healthcheck,
    /// `LABEL`.
    Label,
    /// `MAINTAINER`.
    Maintainer,
    /// `ONBUILD`.
    Onbuild,
    /// `RUN`.
    Run,
    /// `SHELL`.
    Shell,
    /// `STOPSIGNAL`.
    Stopsignal,
    /// `USER`.
    User,
    /// `VOLUME`.
    Volume,
    /// `WORKDIR`.
    Workdir,
}

const KINDS: [(&str, Kind); 18] = [
    ("ADD", Kind::Add),
    ("ARG", Kind::Arg),
    ("CMD", Kind::Cmd),
    ("COPY", Kind::Copy),
    ("ENTRYPOINT", Kind::Entrypoint),
    ("ENV", Kind::Env),
    ("EXPOSE", Kind::Expose),
    ("FROM", Kind::From),
    ("HEALTHCHECK", Kind::Healthcheck),
    ("LABEL", Kind::Label),
    ("MAINTAINER", Kind::Maintainer),
    ("ONBUILD", Kind::Onbuild),
    ("RUN", Kind::Run),
    ("SHELL", Kind::Shell),
    ("STOPSIGNAL", Kind::Stopsignal),
    ("USER", Kind::User),
    ("VOLUME", Kind::Volume),
    ("WORKDIR", Kind::Workdir),
];

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The line where it begins; the first has the number 1.
    pub line: usize,
    /// The last line of its own text, before any here-document.
    pub last_line: usize,
    /// What it does.
    pub kind: Kind,
    /// What stands behind `--`, such as `from=build`.
    pub flags: Vec<String>,
    /// All the rest of it, its lines joined.
    pub text: String,
    /// What stands in here-documents behind it.
    pub documents: Vec<Document>,
    /// What takes the meaning of the next character away.
    pub escape: char,
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What ends it.
    pub name: String,
    /// Its lines.
    pub content: String,
    /// Whether variables in it stay as they are.
    pub is_quoted: bool,
}

impl Instruction {
    /// A sentence about it.
    #[must_use]
    pub fn wrong(&self, sentence: impl Into<String>) -> WrongDockerfile {
        WrongDockerfile {
            line: self.line,
            sentence: sentence.into(),
        }
    }

    /// The name of what it does.
    #[must_use]
    pub fn word(&self) -> &'static str {
        let known = KINDS.iter().find(|(_, kind)| *kind == self.kind);
        known.map_or("", |(word, _)| word)
    }

    /// The value of a flag.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<&str> {
        let values = self.flags.iter().filter_map(|flag| flag.split_once('='));
        let mut values = values.filter(|(flag, _)| *flag == name);
        values.next().map(|(_, value)| value)
    }
}

/// The instructions of a Dockerfile; the first is FROM but for ARG before it.
///
/// # Errors
/// The first thing that is wrong.
pub fn read(text: &str) -> Result<Vec<Instruction>, WrongDockerfile> {
    let mut instructions = Vec::new();
    let mut has_base = false;
    for logical in lines::logical_lines(text)? {
        let lines::LogicalLine {
            line,
            last_line,
            text,
            documents,
            escape,
        } = logical;
        let wrong = |sentence: String| WrongDockerfile { line, sentence };
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
        let kind = kind(word).map_err(wrong)?;
        let (flags, rest) = flags(rest.trim());
        if rest.is_empty() && documents.is_empty() {
            return Err(wrong(format!("{} needs arguments.", word.to_uppercase())));
        }
        has_base |= kind == Kind::From;
        if !has_base && kind != Kind::Arg {
            return Err(wrong("the first instruction must be FROM.".to_owned()));
        }
        if instructions.len() == MOST_INSTRUCTIONS {
            let sentence = format!("more than {MOST_INSTRUCTIONS} instructions are not taken.");
            return Err(wrong(sentence));
        }
        instructions.push(Instruction {
            line,
            last_line,
            kind,
            flags,
            text: rest.to_owned(),
            documents,
            escape,
        });
    }
    match has_base {
        true => Ok(instructions),
        false => Err(WrongDockerfile {
            line: text.lines().count().max(1),
            sentence: "there is no FROM.".to_owned(),
        }),
    }
}

fn kind(word: &str) -> Result<Kind, String> {
    let upper = word.to_uppercase();
    if let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == upper) {
        return Ok(*kind);
    }
    let shown: String = word.chars().take(40).collect();
    let meant = nearest(&upper, KINDS.iter().map(|(known, _)| *known));
    let meant = meant.map_or_else(String::new, |meant| format!(" Did you mean {meant}?"));
    Err(format!("unknown instruction `{}`.{meant}", plain(&shown)))
}

/// What begins with `--`, and the rest.
fn flags(mut rest: &str) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    while let Some(flag) = rest.strip_prefix("--") {
        let end = flag.find(char::is_whitespace).unwrap_or(flag.len());
        let (flag, others) = flag.split_at(end);
        flags.push(flag.to_owned());
        rest = others.trim_start();
    }
    (flags, rest)
}

#[cfg(test)]
mod tests;
