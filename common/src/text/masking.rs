//! Taking secrets out of what commands print, in whatever form they are printed and however the output is cut into pieces.
//!
//! Owns which bytes are covered. Which texts a secret may appear as is said in `forms`.

mod forms;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// What stands in the place of a secret.
pub const MASKED: &[u8] = b"***";

/// The fewest bytes of a secret: what is shorter is in many texts by chance, and its mask would tell what it is.
pub const SHORTEST: usize = 8;

/// Patterns are found by so many bytes at their beginning.
const KEY: usize = SHORTEST;

/// Longer forms are cut into pieces of this size, each of which is a pattern: so no more than that is ever held back.
const PIECE: usize = 256;

/// How many line breaks in a row may stand inside of base64, and after how many characters at the earliest: programs that
/// print it break their lines.
const BREAKS: usize = 2;
const BEFORE_BREAK: usize = 4;

/// The forms of the secrets of a build. Nothing of them is shown for debugging.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Mask {
    patterns: Vec<Pattern>,
    /// Which patterns begin with these bytes.
    by_key: HashMap<[u8; KEY], Vec<usize>>,
    /// The shorter beginnings of all patterns.
    beginnings: HashSet<Vec<u8>>,
    /// The first bytes of all patterns.
    firsts: Firsts,
}

/// A set of bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Firsts([u128; 2]);

impl Firsts {
    fn has(self, byte: u8) -> bool {
        self.0[usize::from(byte >> 7)] >> (byte & 0x7f) & 1 == 1
    }

    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 7)] |= 1 << (byte & 0x7f);
    }
}

/// A text that is not to be printed; at least [`KEY`] bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Pattern {
    text: Vec<u8>,
    /// Whether lines may break inside of it.
    has_breaks: bool,
}

/// How a pattern compares with what begins somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compared {
    Other,
    /// What is there so far is a beginning of it.
    Begun,
    /// It is there, and takes so many bytes.
    There(usize),
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({})", self.patterns.len())
    }
}

impl Mask {
    /// The mask of secrets. What of them is shorter than [`SHORTEST`] is not masked.
    #[must_use]
    pub fn of<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Self {
        let patterns: HashSet<Pattern> = secrets.into_iter().flat_map(forms::patterns).collect();
        let mut mask = Self {
            patterns: patterns.into_iter().collect(),
            ..Self::default()
        };
        mask.patterns.sort();
        for (index, pattern) in mask.patterns.iter().enumerate() {
            let Some(key) = pattern.text.first_chunk::<KEY>() else {
                continue;
            };
            mask.by_key.entry(*key).or_default().push(index);
            mask.firsts.add(key[0]);
            let beginnings = (1..KEY).map(|length| key[..length].to_vec());
            mask.beginnings.extend(beginnings);
        }
        mask
    }

    /// Whether nothing is masked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// A whole text without the secrets.
    #[must_use]
    pub fn mask(self: &Arc<Self>, text: &[u8]) -> Vec<u8> {
        let mut masked = Vec::with_capacity(text.len());
        let mut masking = Masking::new(Arc::clone(self));
        masking.push(text, &mut masked);
        masking.finish(&mut masked);
        masked
    }

    /// The same of a text that is UTF-8, and stays that.
    #[must_use]
    pub fn mask_text(self: &Arc<Self>, text: String) -> String {
        match self.is_empty() {
            true => text,
            false => String::from_utf8_lossy(&self.mask(text.as_bytes())).into_owned(),
        }
    }

    /// The longest pattern that `text` begins with, in bytes of the text; 0 for none. And whether a longer one may still
    /// come of it.
    fn at_beginning_of(&self, text: &[u8]) -> (usize, bool) {
        if !text.first().is_some_and(|first| self.firsts.has(*first)) {
            return (0, false);
        }
        let (mut longest, mut is_begun) = self.with_key(&text[..text.len().min(KEY)], text);
        if let Some(key) = without_breaks(text) {
            let (length, begun) = self.with_key(&key, text);
            longest = longest.max(length);
            is_begun |= begun;
        }
        (longest, is_begun)
    }

    fn with_key(&self, key: &[u8], text: &[u8]) -> (usize, bool) {
        let Some(key) = key.first_chunk::<KEY>() else {
            return (0, self.beginnings.contains(key));
        };
        let (mut longest, mut is_begun) = (0, false);
        for index in self.by_key.get(key).into_iter().flatten() {
            match self.patterns[*index].compared(text) {
                Compared::Other => {}
                Compared::Begun => is_begun = true,
                Compared::There(length) => longest = longest.max(length),
            }
        }
        (longest, is_begun)
    }
}

/// The first bytes of a text without the line breaks that may be among them; none where there are no such breaks.
fn without_breaks(text: &[u8]) -> Option<Vec<u8>> {
    let near = &text[..text.len().min(KEY)];
    let first_break = near.iter().position(|byte| is_break(*byte))?;
    if first_break < BEFORE_BREAK {
        return None;
    }
    let (mut key, mut breaks) = (Vec::with_capacity(KEY), 0);
    for byte in text {
        if key.len() == KEY {
            break;
        }
        if !is_break(*byte) {
            key.push(*byte);
            breaks = 0;
            continue;
        }
        breaks += 1;
        if breaks > BREAKS {
            return None;
        }
    }
    Some(key)
}

fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

impl Pattern {
    fn compared(&self, text: &[u8]) -> Compared {
        if !self.has_breaks {
            return match (text.starts_with(&self.text), self.text.starts_with(text)) {
                (true, _) => Compared::There(self.text.len()),
                (false, true) => Compared::Begun,
                (false, false) => Compared::Other,
            };
        }
        let (mut compared, mut breaks) = (0, 0);
        for (position, byte) in text.iter().enumerate() {
            if *byte == self.text[compared] {
                (compared, breaks) = (compared + 1, 0);
            } else if is_break(*byte) && compared >= BEFORE_BREAK && breaks < BREAKS {
                breaks += 1;
            } else {
                return Compared::Other;
            }
            if compared == self.text.len() {
                return Compared::There(position + 1);
            }
        }
        Compared::Begun
    }
}

/// The masking of one output that comes in pieces.
///
/// What may be the beginning of a secret is held back until more comes, however long that takes: a secret that is printed
/// slowly is masked, too. That is mostly nothing, and never more than some hundred bytes.
#[derive(Debug)]
pub struct Masking {
    mask: Arc<Mask>,
    held: Held,
}

/// What is not decided yet, and what of its beginning is known to be covered.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    covered: usize,
    /// Whether the last that was let through is a mask: what follows at once and is covered too is the same one.
    is_after_mask: bool,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({})", self.bytes.len())
    }
}

impl Masking {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(mask: Arc<Mask>) -> Self {
        Self {
            mask,
            held: Held::default(),
        }
    }

    /// Takes a piece, and adds to `output` what is decided by now.
    pub fn push(&mut self, piece: &[u8], output: &mut Vec<u8>) {
        if self.mask.is_empty() {
            output.extend_from_slice(piece);
            return;
        }
        self.held.bytes.extend_from_slice(piece);
        self.decide(output, false);
    }

    /// Adds what was held back: nothing more comes.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        self.decide(output, true);
    }

    fn decide(&mut self, output: &mut Vec<u8>, is_end: bool) {
        let Held {
            bytes,
            covered,
            is_after_mask,
        } = &mut self.held;
        let mut decided = 0;
        while decided < bytes.len() {
            let (length, is_begun) = self.mask.at_beginning_of(&bytes[decided..]);
            if is_begun && !is_end {
                break;
            }
            *covered = (*covered).max(decided + length);
            if decided >= *covered {
                output.push(bytes[decided]);
                *is_after_mask = false;
            } else if !*is_after_mask {
                output.extend_from_slice(MASKED);
                *is_after_mask = true;
            }
            decided += 1;
        }
        bytes.drain(..decided);
        *covered = covered.saturating_sub(decided);
    }
}
