//! What of a foreign text reaches a terminal or a log: text, line feeds, tabs and colours, nothing that
//! a terminal obeys.
//!
//! Whoever names a job, prints in an atom or answers as a git server chooses text that a user's terminal
//! shows. Escape sequences in it set titles and clipboards, move the cursor over lines that were
//! shown, or make the terminal type; direction marks reorder what is read. All that is printed or
//! logged goes through here. Owns no output.

mod console;
#[cfg(test)]
mod tests;

pub use console::ConsoleFilter;

use std::borrow::Cow;
use std::fmt::Write as _;

/// How every escape sequence begins.
const ESCAPE: char = '\u{1b}';

/// The longest parameters of a colour sequence, in bytes.
const LONGEST_COLOUR: usize = 64;

/// Whether a terminal, or the order in which text is read, would change by a character: control
/// characters of all kinds, marks of direction, and those that are never seen.
#[must_use]
pub fn is_obeyed(character: char) -> bool {
    matches!(character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text on one line: everything that a terminal obeys is written out (`\n`, `\u{1b}`), colours too.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    written_out(text, |_, _| 0)
}

/// As [`plain`], but line feeds and tabs stay.
#[must_use]
pub fn plain_lines(text: &str) -> Cow<'_, str> {
    written_out(text, |_, character| usize::from(is_layout(character)))
}

/// As [`plain_lines`], but colours stay, too: for what is made of our colours and of texts.
#[must_use]
pub fn coloured_lines(text: &str) -> Cow<'_, str> {
    written_out(text, |rest, character| match character {
        ESCAPE => colour_length(rest),
        character => usize::from(is_layout(character)),
    })
}

/// JSON that means the same and has nothing in it that a terminal obeys, but line feeds between
/// values.
#[must_use]
#[expect(clippy::expect_used, reason = "a text takes all that is written to it")]
pub fn json(text: &str) -> Cow<'_, str> {
    // Nearly all of it is plain: an event log writes two lines for each atom.
    let is_plain = |byte| matches!(byte, b' '..=b'~' | b'\n');
    let is_fine = |character| character == '\n' || !is_obeyed(character);
    if text.bytes().all(is_plain) || text.chars().all(is_fine) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_fine(character) {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}").expect("a text takes all that is written to it");
        }
    }
    Cow::Owned(out)
}

fn is_layout(character: char) -> bool {
    matches!(character, '\n' | '\t')
}

/// Writes out what a terminal obeys, but for as many bytes as `stays` says of a place: it gets the
/// rest of the text and its first character.
fn written_out(text: &str, stays: impl Fn(&str, char) -> usize) -> Cow<'_, str> {
    let Some(first) = text.find(is_obeyed) else {
        return Cow::Borrowed(text);
    };
    let (fine, mut rest) = text.split_at(first);
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(fine);
    while let Some(character) = rest.chars().next() {
        let staying = match is_obeyed(character) {
            true => stays(rest, character),
            false => character.len_utf8(),
        };
        let (head, tail) = rest.split_at(staying.max(character.len_utf8()));
        match staying {
            0 => out.extend(character.escape_default()),
            _ => out.push_str(head),
        }
        rest = tail;
    }
    Cow::Owned(out)
}

/// How long the colour sequence is with which `text` begins; 0 if it begins with none.
fn colour_length(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\u{1b}[") else {
        return 0;
    };
    let end = parameters.find(|character| !is_colour_parameter(character));
    match end {
        Some(end) if end <= LONGEST_COLOUR && parameters[end..].starts_with('m') => end + 3,
        _ => 0,
    }
}

/// Sequences with other parameters and the same end set up keys.
fn is_colour_parameter(character: char) -> bool {
    matches!(character, '0'..='9' | ';' | ':')
}
