//! Elements of a command list that are several commands.
//!
//! ` && ` before such an element would count for its first command only: the others would run though an earlier element
//! failed, and hide that.

use super::shell_text::skeleton;

/// Words that open a command, each with the one that closes it.
const PAIRS: [(&str, &str); 9] = [
    ("if", "fi"),
    ("for", "done"),
    ("select", "done"),
    ("while", "done"),
    ("until", "done"),
    ("case", "esac"),
    ("{", "}"),
    ("(", ")"),
    ("[[", "]]"),
];

/// Words behind which a command begins.
const BEFORE_COMMANDS: [&str; 7] = ["then", "elif", "else", "do", "!", "time", "coproc"];

/// Words behind which a name may stand before a command.
const BEFORE_NAMES: [&str; 2] = ["function", "coproc"];

/// What a shell text consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// A part of a command, as `( cd x`, or something that is too odd to tell.
    Part,
    /// One command or none.
    One,
    /// Several commands, one after the other, in the background, or in place of another one.
    Several,
}

/// Whether a shell text is several commands. False where that is not certain.
pub(super) fn has_several_commands(text: &str) -> bool {
    made(text) == Made::Several
}

/// Whether a shell text is no part of a command. False where that is not certain.
pub(super) fn is_whole(text: &str) -> bool {
    made(text) != Made::Part
}

/// Whether a shell text asks the shell to end, or to do something, at the first failure: `set -e`, `trap ... ERR`. The shell
/// does so nowhere to the left of ` && `.
pub(super) fn asks_to_end_at_failures(text: &str) -> bool {
    let Some(skeleton) = skeleton(text) else {
        return false;
    };
    let words = words(&skeleton);
    let sets = (0..words.len()).any(|at| {
        // Behind `-o` comes a name.
        let is_of_set = |word: &&String| {
            let is_option = word.starts_with('-') && !word.starts_with("--");
            is_option || word.chars().all(|c| c.is_ascii_lowercase())
        };
        let mut options = words[at + 1..].iter().take_while(is_of_set);
        words[at] == "set" && options.any(|word| word.starts_with('-') && word.contains('e'))
    });
    sets || words
        .iter()
        .any(|word| matches!(word.as_str(), "errexit" | "ERR"))
}

fn made(text: &str) -> Made {
    let Some(skeleton) = skeleton(text) else {
        return Made::Part;
    };
    let words = words(&skeleton);
    let (mut open, mut is_several, mut begins) = (Vec::new(), false, true);
    for (index, word) in words.iter().enumerate() {
        let word = word.as_str();
        let is_last = words[index + 1..].iter().all(|word| word == "\n");
        let closes = PAIRS.iter().any(|(_, closing)| *closing == word);
        if closes && (begins || matches!(word, ")" | "]]")) {
            match open.last() {
                Some((_, closing)) if *closing == word => _ = open.pop(),
                // Behind a pattern of a `case` there is one that closes nothing.
                Some(("case", _)) => {
                    begins = true;
                    continue;
                }
                Some(_) | None => return Made::Part,
            }
            // The body of a function begins behind `()`.
            begins = word == ")" && index > 0 && words[index - 1] == "(";
            continue;
        }
        if begins && open.is_empty() && matches!(word, "then" | "elif" | "else" | "do") {
            return Made::Part;
        }
        let pair = PAIRS.iter().find(|(opening, _)| *opening == word);
        if let Some(pair) = pair.filter(|_| begins || word == "(") {
            open.push(*pair);
            begins = !matches!(word, "[[" | "case" | "for" | "select");
            continue;
        }
        match word {
            ";" | "||" | "&" | "\n" | ";;" if open.is_empty() => {
                let is_blank_line = word == "\n" && begins;
                is_several |= !(is_last || is_blank_line);
                begins = true;
            }
            ";" | "||" | "&" | "\n" | ";;" | "&&" | "|" => begins = true,
            _ => {
                let is_name = index > 0 && BEFORE_NAMES.contains(&words[index - 1].as_str());
                let goes_on = BEFORE_COMMANDS.contains(&word) || BEFORE_NAMES.contains(&word);
                begins = begins && (goes_on || is_name);
            }
        }
    }
    let last = words.iter().rev().find(|word| *word != "\n");
    let is_joined = last.is_some_and(|word| matches!(word.as_str(), "&&" | "||" | "|"));
    match (open.is_empty() && !is_joined, is_several) {
        (false, _) => Made::Part,
        (true, false) => Made::One,
        (true, true) => Made::Several,
    }
}

/// The words of a shell text without quotes, and what stands between commands.
fn words(skeleton: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut rest = skeleton;
    while let Some(c) = rest.chars().next() {
        let is_next = |sign: &&&str| rest.starts_with(**sign);
        // `&` in `2>&1` and `&>file` is no command's end.
        let signs = [
            "&&", "||", ";;", ">&", "<&", "&>", ">", "<", "(", ")", ";", "&", "|", "\n",
        ];
        if let Some(sign) = signs.iter().find(is_next) {
            words.push((*sign).to_owned());
            rest = &rest[sign.len()..];
        } else if c.is_whitespace() {
            rest = &rest[c.len_utf8()..];
        } else {
            let is_end = |c: char| c.is_whitespace() || ";&|()<>".contains(c);
            let length = rest.find(is_end).unwrap_or(rest.len());
            let (word, after) = rest.split_at(length);
            words.push(word.to_owned());
            rest = after;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_commands_are_told_from_one() {
        for text in [
            "echo four; echo five",
            "a\nb",
            "a || b",
            "a && b || c",
            "a & b",
            "a 2>&1; b",
            "if a; then b; fi; c",
            "{ a; }; b",
            "cat <<END\na; b\nEND\ntrue",
            "f() { a; b; }\nf",
            "for i in 1 2; do a; done\nb",
            "case $x in a) b;; c) d;; esac; e",
            "a; b # c",
            "a\ncat <<END\nb\nEND",
            "a; b \\&",
            "a=$(b $(c)); d",
            "function f { a; }; f",
        ] {
            assert!(has_several_commands(text), "{text}");
        }
        for text in [
            "",
            "a",
            "a && b",
            "a | b 2>&1 &> c <&3 >f",
            "a &",
            "a;",
            "\n a \n",
            "echo 'a; b' \"c\nd\" e\\;f `g; h`",
            "find . -exec rm {} \\;",
            "a # b; c",
            "cat <<END\na; b\nEND",
            "# b; c\na",
            "if a; then b; else c; fi",
            "for i in 1 2; do a; b; done",
            "while a || b; do c\nd\ndone",
            "{ a; b; }",
            "( a; b )",
            "x=$(a; b) c",
            "[[ a || b ]] && c",
            "(( a || b ))",
            "case $x in a) b;; c) d;; esac",
            "echo if; ",
            "x=$(dirname $(pwd))",
            "(cd a && (cd b && make))",
            "x=$((2 * (1 + 2)))",
            "function f { a; b; }",
            "f() { a; b; }",
            "time { a; b; }",
            "coproc { a; b; }",
            "coproc NAME { a; b; }",
            "x=${y%%)*} z",
            "x=${y:-(a; b}",
            "case $x in a) case $y in b) c;; esac;; d) e;; esac",
            "case $x in (a) b;; esac",
            "for ((i = 0; i < 3; i++)); do a; b; done",
        ] {
            assert!(!has_several_commands(text), "{text}");
        }
    }

    #[test]
    fn who_asks_for_an_end_at_failures_is_known() {
        for text in [
            "set -e",
            "set -euo pipefail; a",
            "set -o errexit",
            "trap 'exit 9' ERR",
            "a\nset -xe",
            "set -u -e",
            "set -o pipefail -e",
            "set -x -u -e; a",
        ] {
            assert!(asks_to_end_at_failures(text), "{text}");
        }
        for text in [
            "set -x",
            "set --e",
            "set -u; x -e",
            "set -u FILE -e",
            "echo 'set -e'",
            "a # set -e",
        ] {
            assert!(!asks_to_end_at_failures(text), "{text}");
        }
    }

    #[test]
    fn parts_of_commands_are_left_alone() {
        for text in [
            "( cd x; a",
            "make; foo )",
            "then b; c",
            "do echo; false; done",
            "a; fi",
            "for i in 1 2; do a; b",
            "}; a",
            "a; \"b",
            "if a",
            "make &&",
            "make |\n",
            "a; b ||",
        ] {
            assert!(!is_whole(text), "{text}");
        }
    }
}
