//! How a build that makes a template says why it failed: in the last line that it prints.

use crate::text::printable::plain;

/// How that line begins, unless it is of a form that tells by itself what it is.
const BEGINNING: &str = "build-template: ";

/// Such forms, by how they begin and what stands in them.
const TELLING: [(&str, &str); 2] = [
    ("Build step ", " failed with exit code "),
    ("The image ", NOT_USED),
];

/// How a sentence ends about an image that was not used.
const NOT_USED: &str = " was not used: there is no container runtime here.";

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
    let beginning = if tells_by_itself(&shown) {
        ""
    } else {
        BEGINNING
    };
    format!("{beginning}{}", plain(&shown))
}

/// The sentence, from what a build printed at its end; none where it does not say why.
#[must_use]
pub fn failure_in(printed: &str) -> Option<String> {
    let last = printed.lines().next_back()?.trim_end();
    let sentence = match tells_by_itself(last) {
        true => last,
        false => last.strip_prefix(BEGINNING)?,
    };
    Some(sentence.chars().take(LONGEST + 1).collect())
}

fn tells_by_itself(line: &str) -> bool {
    let mut forms = TELLING.iter();
    forms.any(|(beginning, inside)| line.starts_with(beginning) && line.contains(inside))
}

/// What a build says of an image that it was to use.
#[must_use]
pub fn image_not_used(image: &str) -> String {
    format!("The image {}{NOT_USED}", plain(image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_tells_why() {
        let line = failure_line("It\nfailed \u{1b}[2J.");
        assert_eq!(line, "build-template: It failed \\u{1b}[2J.");
        let printed = format!("one\n{line}\n");
        let sentence = "It failed \\u{1b}[2J.";
        assert_eq!(failure_in(&printed).as_deref(), Some(sentence));
        assert_eq!(failure_in(&format!("{line}\ntwo\n")), None);
        assert_eq!(failure_in(""), None);
        assert!(failure_line(&"x".repeat(5000)).ends_with("x…"));
    }

    #[test]
    fn some_lines_tell_it_by_themselves() {
        let step = "Build step 2 failed with exit code 3: make";
        for sentence in [step, &image_not_used("busybox:1")] {
            assert_eq!(failure_line(sentence), sentence);
            assert_eq!(failure_in(sentence).as_deref(), Some(sentence));
        }
        assert_eq!(failure_in("Build steps"), None);
    }
}
