//! How a build that makes a template says why it failed: in the last line that it prints.

use crate::text::printable::plain;

/// How that line begins.
const BEGINNING: &str = "build-template: ";

/// The most characters of a sentence.
const LONGEST: usize = 1000;

/// The line for a sentence, without its line feed.
#[must_use]
pub fn failure_line(sentence: &str) -> String {
    let words = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = words.chars().take(LONGEST).collect();
    if shown.len() < words.len() {
        shown.push('…');
    }
    format!("{BEGINNING}{}", plain(&shown))
}

/// The sentence, from what a build printed at its end; none where it does not say why.
#[must_use]
pub fn failure_in(printed: &str) -> Option<String> {
    let last = printed.lines().next_back()?.trim_end();
    let sentence = last.strip_prefix(BEGINNING)?;
    Some(sentence.chars().take(LONGEST + 1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_tells_why() {
        let line = failure_line("It\nfailed \u{1b}[2J.");
        assert_eq!(line, "build-template: It failed \\u{1b}[2J.");
        let printed = format!("one\n{line}\n");
        assert_eq!(
            failure_in(&printed).as_deref(),
            Some("It failed \\u{1b}[2J.")
        );
        assert_eq!(failure_in(&format!("{line}\ntwo\n")), None);
        assert_eq!(failure_in(""), None);
        assert!(failure_line(&"x".repeat(5000)).ends_with("x…"));
    }
}
