//! How lines look that a pusher sees. Pure.

use clusterrunner_common::text::printable::coloured_lines;

/// The most characters of a line; a build may print without ever ending one.
const LONGEST: usize = 4000;

/// A line that says what happens now.
pub(crate) fn step(text: &str) -> String {
    format!("-----> {}", coloured_lines(text))
}

/// A line below such a line.
pub(crate) fn detail(text: &str) -> String {
    let shown = match text.char_indices().nth(LONGEST) {
        Some((end, _)) => &text[..end],
        None => text,
    };
    // As a terminal would show it: what was overwritten is not seen.
    let shown = shown.trim_end_matches(['\r', '\n']);
    let shown = shown.rsplit('\r').next().unwrap_or(shown);
    format!("       {}", coloured_lines(shown))
        .trim_end()
        .to_owned()
}

/// A line that says why a push is refused.
pub(crate) fn refusal(text: &str) -> String {
    format!(" !     {}", coloured_lines(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_builds_can_not_reach_the_terminal_of_the_pusher() {
        assert_eq!(detail("a\tb"), "       a\tb");
        assert_eq!(detail("10 %\r20 %\r"), "       20 %");
        assert_eq!(
            detail("\u{1b}[32mgreen\u{1b}[0m"),
            "       \u{1b}[32mgreen\u{1b}[0m"
        );
        assert!(!detail("\u{1b}]0;title\u{7}").contains('\u{1b}'));
        assert_eq!(detail(""), "");
        assert_eq!(detail(&"ä".repeat(5000)).chars().count(), 7 + LONGEST);
        assert_eq!(step("Building"), "-----> Building");
        assert_eq!(refusal("no\u{7}"), " !     no\\u{7}");
    }
}
