//! The lines of a Dockerfile: comments go, what is continued is joined, here-documents are taken along.

use super::{Document, WrongDockerfile};
use crate::text::printable::plain;

/// A line with all that continues it.
#[derive(Debug)]
pub(super) struct LogicalLine {
    /// The number of its first line.
    pub(super) line: usize,
    /// The number of the last one.
    pub(super) last_line: usize,
    pub(super) text: String,
    pub(super) documents: Vec<Document>,
    pub(super) escape: char,
}

/// All that are no comments.
pub(super) fn logical_lines(text: &str) -> Result<Vec<LogicalLine>, WrongDockerfile> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let escape = escape(text);
    let mut found = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((line, first)) = lines.next() {
        if is_ignored(first) {
            continue;
        }
        let mut joined = String::new();
        let (mut last, mut last_line) = (Some((line, first)), line);
        while let Some((number, piece)) = last {
            last_line = number;
            let Some(continued) = piece.trim_end().strip_suffix(escape) else {
                joined.push_str(piece);
                break;
            };
            joined.push_str(continued);
            // Comments and empty lines in between belong to nothing.
            last = lines.by_ref().find(|(_, next)| !is_ignored(next));
        }
        let joined = joined.trim().to_owned();
        if joined.contains('\0') {
            let sentence = "it has a NUL character.".to_owned();
            return Err(WrongDockerfile { line, sentence });
        }
        let mut documents = Vec::new();
        for name in document_names(&joined) {
            let content = document(&mut lines, &name).ok_or_else(|| WrongDockerfile {
                line,
                sentence: format!("the here-document `{}` has no end.", plain(&name.word)),
            })?;
            documents.push(Document {
                name: name.word,
                content,
                is_quoted: name.is_quoted,
            });
        }
        found.push(LogicalLine {
            line,
            last_line,
            text: joined,
            documents,
            escape,
        });
    }
    Ok(found)
}

fn is_ignored(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// What the directives at the top say that a line is continued with.
fn escape(text: &str) -> char {
    for line in text.lines() {
        let Some(directive) = line.trim().strip_prefix('#') else {
            break;
        };
        let Some((name, value)) = directive.split_once('=') else {
            break;
        };
        if name.trim().eq_ignore_ascii_case("escape") {
            return match value.trim() {
                "`" => '`',
                _ => '\\',
            };
        }
    }
    '\\'
}

#[derive(Debug)]
struct DocumentName {
    word: String,
    is_quoted: bool,
    /// Whether tabs at the beginning of lines go.
    strips_tabs: bool,
}

/// The here-documents that an instruction asks for. Only some have any.
fn document_names(text: &str) -> Vec<DocumentName> {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let may_have = ["RUN", "COPY", "ADD"]
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known));
    let mut names = Vec::new();
    let mut quote = None;
    let mut at = 0;
    while let Some(character) = rest[at..].chars().next().filter(|_| may_have) {
        let here = &rest[at..];
        at += character.len_utf8();
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '<') if here.starts_with("<<<") => at += 2,
            (None, '<') if here.starts_with("<<") => {
                if let Some((name, length)) = document_name(&here[2..]) {
                    names.push(name);
                    at += 1 + length;
                }
            }
            (None, _) => {}
        }
    }
    names
}

/// The name behind `<<`, and how long that is.
fn document_name(text: &str) -> Option<(DocumentName, usize)> {
    let strips_tabs = text.starts_with('-');
    let named = text.strip_prefix('-').unwrap_or(text);
    let quote = named.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let inner = quote.map_or(named, |_| &named[1..]);
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = inner.find(|c| !fits(c)).unwrap_or(inner.len());
    let (word, rest) = inner.split_at(end);
    let is_closed = quote.is_none_or(|quote| rest.starts_with(quote));
    let is_name = !word.is_empty() && !word.starts_with(|c: char| c.is_ascii_digit());
    let length = text.len() - rest.len() + usize::from(quote.is_some());
    let name = DocumentName {
        word: word.to_owned(),
        is_quoted: quote.is_some(),
        strips_tabs,
    };
    (is_name && is_closed).then_some((name, length))
}

fn document<'a>(
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
    name: &DocumentName,
) -> Option<String> {
    let mut content = String::new();
    for (_, line) in lines {
        let line = match name.strips_tabs {
            true => line.trim_start_matches('\t'),
            false => line,
        };
        if line == name.word {
            return Some(content);
        }
        content.push_str(line);
        content.push('\n');
    }
    None
}
