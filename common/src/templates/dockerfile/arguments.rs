//! What the arguments of some instructions mean.

use super::words::{Lookup, WrongWords, words};
use super::{Instruction, WrongDockerfile};

/// A list of words in JSON.
///
/// # Errors
/// Its text for a shell, where it is no list.
pub fn form(instruction: &Instruction) -> Result<Vec<String>, String> {
    let text = instruction.text.trim();
    let list = text.starts_with('[').then(|| serde_json::from_str(text));
    match list {
        Some(Ok(words)) => Ok(words),
        Some(Err(_)) | None => Err(instruction.text.clone()),
    }
}

/// The port that EXPOSE names first.
#[must_use]
pub fn number_of_port(word: &str) -> Option<u16> {
    let number = word.split(['/', '-']).next()?;
    number.parse().ok().filter(|port| *port > 0)
}

/// What COPY and ADD take, and where it goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Copying {
    /// Paths or patterns of what is copied.
    pub sources: Vec<String>,
    /// Where it goes.
    pub target: String,
}

/// The paths of COPY and ADD. Here-documents are no paths.
///
/// # Errors
/// When one is missing, or its words can not be read.
pub fn copying(instruction: &Instruction, lookup: Lookup<'_>) -> Result<Copying, WrongDockerfile> {
    let wrong = |words: WrongWords| instruction.wrong(words);
    let mut paths = match form(instruction) {
        Ok(list) => {
            let mut paths = Vec::new();
            for word in list {
                let word = words(&word, instruction.escape, false, lookup).map_err(wrong)?;
                paths.push(word.concat());
            }
            paths
        }
        Err(text) => words(&text, instruction.escape, true, lookup).map_err(wrong)?,
    };
    let target = paths.pop().unwrap_or_default();
    paths.retain(|path| !path.starts_with("<<"));
    let is_short = paths.is_empty() && instruction.documents.is_empty();
    if target.is_empty() || is_short {
        let word = instruction.word();
        let sentence = format!("{word} needs a source and a destination.");
        return Err(instruction.wrong(sentence));
    }
    Ok(Copying {
        sources: paths,
        target,
    })
}
