//! Words for a shell.

use std::borrow::Cow;

/// A word as each shell reads it back: in single quotes, where it would be another one without.
#[must_use]
pub fn shell_word(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+,%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => Cow::Borrowed(word),
        false => Cow::Owned(format!("'{}'", word.replace('\'', r"'\''"))),
    }
}

/// Words as one line that a shell takes apart again.
#[must_use]
pub fn shell_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<Cow<'_, str>> = words.into_iter().map(shell_word).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn a_plain_word_stays_as_it_is() {
        assert_eq!(shell_word("farm:43000"), "farm:43000");
        assert_eq!(shell_word("my conf's"), r"'my conf'\''s'");
        assert_eq!(shell_word(""), "''");
        assert_eq!(
            shell_word("A=b"),
            "'A=b'",
            "an assignment is no word of a command"
        );
        assert_eq!(shell_line(["a", "b c", "[d]"]), "a 'b c' '[d]'");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]
        #[test]
        fn a_shell_reads_the_words_back(words in prop::collection::vec("[^\0]{0,12}", 1..5)) {
            let line = shell_line(words.iter().map(String::as_str));
            let script = format!("printf '%s\\0' {line}");
            let printed = Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
            let expected: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(printed, expected);
        }
    }
}
