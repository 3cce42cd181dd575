//! What a Dockerfile is based on: the images that FROM names, but for its own stages.

use super::words::words;
use super::{Instruction, Kind, WrongDockerfile};
use std::collections::BTreeMap;

/// The image that has nothing in it.
pub const NOTHING: &str = "scratch";

/// What FROM says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// The image, or an earlier stage.
    pub base: String,
    /// The name of the stage that it begins, in lower case.
    pub name: Option<String>,
}

/// What a FROM says. `args` are those before the first FROM.
///
/// # Errors
/// When it says something else.
pub fn from(
    instruction: &Instruction,
    args: &BTreeMap<String, String>,
) -> Result<From, WrongDockerfile> {
    let lookup = |name: &str| args.get(name).cloned();
    let read = words(&instruction.text, instruction.escape, true, &lookup);
    let read = read.map_err(|sentence| instruction.wrong(sentence))?;
    match read.as_slice() {
        [base] => Ok(From {
            base: base.clone(),
            name: None,
        }),
        [base, word, name] if word.eq_ignore_ascii_case("as") => Ok(From {
            base: base.clone(),
            name: Some(name.to_lowercase()),
        }),
        _ => Err(instruction.wrong("FROM takes an image, and AS with a name behind it.")),
    }
}

/// The images that it is based on, each once, in their order.
#[must_use]
pub fn bases(instructions: &[Instruction]) -> Vec<String> {
    let mut found = Vec::new();
    for (_, from) in based(instructions) {
        if !found.contains(&from.base) {
            found.push(from.base);
        }
    }
    found
}

/// The same Dockerfile on other images: `image` says which one takes the place of a base. No other line changes, and each
/// keeps its number.
pub fn with_bases<'i>(
    text: &str,
    instructions: &[Instruction],
    image: impl Fn(&str) -> Option<&'i str>,
) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for (instruction, from) in based(instructions) {
        let Some(image) = image(&from.base) else {
            continue;
        };
        let flags = instruction.flags.iter().map(|flag| format!("--{flag}"));
        let mut words: Vec<String> = std::iter::once("FROM".to_owned()).chain(flags).collect();
        words.push(image.to_owned());
        if let Some(name) = from.name {
            words.extend(["AS".to_owned(), name]);
        }
        let mut new = words.join(" ");
        for line in instruction.line..=instruction.last_line {
            if let Some(line) = lines.get_mut(line - 1) {
                *line = std::mem::take(&mut new);
            }
        }
    }
    lines.join("\n")
}

/// The instructions that begin on an image, and what they say. What is wrong is left out.
fn based(instructions: &[Instruction]) -> Vec<(&Instruction, From)> {
    let mut args = BTreeMap::new();
    let mut stages: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for instruction in instructions {
        match instruction.kind {
            Kind::Arg if stages.is_empty() => {
                let lookup = |name: &str| args.get(name).cloned();
                let read = words(&instruction.text, instruction.escape, true, &lookup);
                let set: Vec<(String, String)> = read
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|word| word.split_once('='))
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
                args.extend(set);
            }
            Kind::From => {
                let Ok(from) = from(instruction, &args) else {
                    continue;
                };
                let is_stage = stages.contains(&from.base.to_lowercase());
                stages.push(from.name.clone().unwrap_or_default());
                if !is_stage && from.base != NOTHING && !from.base.is_empty() {
                    found.push((instruction, from));
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::dockerfile::read;

    const TEXT: &str = "# syntax=docker/dockerfile:1\nARG BASE=app\nARG TAG\nFROM ${BASE}:latest AS Build\nRUN true\n\
        from --platform=linux/amd64 \\\n  # why\n  debian:12\nFROM build\nCOPY --from=0 a b\nFROM scratch\nFROM debian:12 AS x\n";

    #[test]
    fn bases_are_what_is_no_stage() {
        let instructions = read(TEXT).unwrap();
        assert_eq!(bases(&instructions), ["app:latest", "debian:12"]);
        assert_eq!(bases(&read("FROM a b").unwrap()), [""; 0]);
        assert_eq!(bases(&read("FROM $A").unwrap()), [""; 0]);
    }

    #[test]
    fn other_bases_leave_the_other_lines_where_they_are() {
        let instructions = read(TEXT).unwrap();
        let image = |base: &str| (base == "debian:12").then_some("localhost/x:1");
        let changed = with_bases(TEXT, &instructions, image);
        let expected = TEXT
            .replace(
                "from --platform=linux/amd64 \\\n  # why\n  debian:12",
                "FROM --platform=linux/amd64 localhost/x:1\n\n",
            )
            .replace("FROM debian:12 AS x", "FROM localhost/x:1 AS x");
        assert_eq!(changed, expected);
        assert_eq!(with_bases(TEXT, &instructions, |_| None), TEXT);
    }
}
