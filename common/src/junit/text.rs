//! The texts in a report: what their references mean, and how much of them is kept. Pure.

use super::bounds::{MAX_MESSAGE, MAX_NAME};
use quick_xml::escape::resolve_xml_entity;

/// The longest reference that is looked at: `&#x10ffff;` has eight characters between its ends.
const LONGEST_REFERENCE: usize = 12;

/// The value of an attribute with its references replaced: numbers and the five names that XML itself has. Others stay
/// as they are: there is nothing that could say what they mean.
pub(super) fn unescaped(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len().min(MAX_MESSAGE));
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('&') {
        text.push_str(before);
        let end = after
            .bytes()
            .take(LONGEST_REFERENCE)
            .position(|byte| byte == b';');
        let reference = end.and_then(|end| Some((after.get(..end)?, after.get(end + 1..)?)));
        match reference.and_then(|(name, rest)| Some((meaning(name)?, rest))) {
            Some((meant, after)) => {
                text.push(meant);
                rest = after;
            }
            None => {
                text.push('&');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

/// The character for which `&name;` stands.
pub(super) fn meaning(name: &str) -> Option<char> {
    let Some(number) = name.strip_prefix('#') else {
        return resolve_xml_entity(name)?.chars().next();
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
        None => number.parse(),
    };
    char::from_u32(code.ok()?)
}

/// A name, a class or a file on one line; nothing where there is nothing in it.
pub(super) fn named(raw: &str) -> Option<String> {
    // Enough for the characters that are kept, also where each is a reference.
    let some = cut_at(raw, MAX_NAME * LONGEST_REFERENCE);
    let text = unescaped(some);
    let text = text.trim();
    match text.char_indices().nth(MAX_NAME) {
        None => (!text.is_empty()).then(|| text.to_owned()),
        Some((end, _)) => Some(format!("{}…", text.get(..end).unwrap_or_default())),
    }
}

/// A text that is being collected, of which the beginning and the end are kept.
#[derive(Debug, Default)]
pub(super) struct Collected {
    head: String,
    tail: String,
    left_out: usize,
}

const HALF: usize = MAX_MESSAGE / 2;

impl Collected {
    pub(super) fn push(&mut self, text: &str) {
        let room = HALF - self.head.len().min(HALF);
        let (head, rest) = match self.tail.is_empty() && self.left_out == 0 {
            true => text.split_at(text.floor_char_boundary(room)),
            false => ("", text),
        };
        self.head.push_str(head);
        // The head is closed once something did not fit.
        self.tail
            .push_str(&rest[rest.ceil_char_boundary(rest.len().saturating_sub(HALF))..]);
        self.left_out += rest.len().saturating_sub(HALF);
        // Seldom, so that each byte is moved once.
        if self.tail.len() > 2 * HALF {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        let start = self
            .tail
            .ceil_char_boundary(self.tail.len().saturating_sub(HALF));
        self.left_out += start;
        self.tail.drain(..start);
    }

    /// What was collected, without the space around it; nothing where there is nothing else.
    pub(super) fn finish(mut self) -> Option<String> {
        self.shorten();
        let text = match self.left_out {
            0 => self.head + &self.tail,
            _ => format!("{}\n[…]\n{}", self.head, self.tail),
        };
        let text = text.trim_matches(['\n', '\r', ' ', '\t']);
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// The beginning of a text, of at most so many bytes.
pub(super) fn cut_at(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Seconds as reports write them: `0.25`, `1,234.5`, and where the locale of a runner has its way `0,25`.
pub(super) fn seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    if text.len() > 40 {
        return None;
    }
    let text = match text.contains('.') {
        true => text.replace(',', ""),
        false => text.replacen(',', ".", 1),
    };
    let seconds: f64 = text.parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_where_it_is_known_what_they_mean() {
        for (raw, meant) in [
            ("a &lt;b&gt; &amp;&quot;&apos;", "a <b> &\"'"),
            ("&#65;&#x42;&#X43;", "ABC"),
            ("&amp;lt;", "&lt;"),
            (
                "&nbsp; & &; &#; &#x110000; &#xd800; &unknown",
                "&nbsp; & &; &#; &#x110000; &#xd800; &unknown",
            ),
            ("&&amp;", "&&"),
            ("&ü;", "&ü;"),
            ("&aaaaaaaaaaaaü;", "&aaaaaaaaaaaaü;"),
        ] {
            assert_eq!(unescaped(raw), meant);
        }
    }

    #[test]
    fn names_are_short() {
        assert_eq!(named(" a "), Some("a".to_owned()));
        assert_eq!(named("  "), None);
        let long = named(&"ü".repeat(5_000)).unwrap();
        assert_eq!(long.chars().count(), MAX_NAME + 1);
        assert_eq!(named(&"&#252;".repeat(5_000)), Some(long));
    }

    #[test]
    fn of_a_long_text_the_beginning_and_the_end_are_kept() {
        let mut whole = Collected::default();
        for piece in ["\n first ", "line\n", " second  \n"] {
            whole.push(piece);
        }
        assert_eq!(whole.finish().unwrap(), "first line\n second");
        assert_eq!(Collected::default().finish(), None);
        let text: String = (0..100_000).map(|n| format!("ü{n}\n")).collect();
        for size in [1, 7, 1_000, text.len()] {
            let mut long = Collected::default();
            let mut rest = &*text;
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.ceil_char_boundary(size.min(rest.len())));
                long.push(piece);
                rest = after;
            }
            let kept = long.finish().unwrap();
            assert!(kept.len() < MAX_MESSAGE + 20, "{}", kept.len());
            assert!(kept.starts_with("ü0\nü1\n") && kept.ends_with("ü99998\nü99999"));
            assert!(kept.contains("\n[…]\n"));
        }
    }

    #[test]
    fn seconds_are_read_as_people_and_locales_write_them() {
        for (text, expected) in [
            ("0.25", Some(0.25)),
            (" 3 ", Some(3.0)),
            ("0,25", Some(0.25)),
            ("1,234.5", Some(1234.5)),
            ("1,234,567.5", Some(1_234_567.5)),
            ("1e-3", Some(0.001)),
            ("", None),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("1,2,3", None),
            ("quick", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
