//! The original's messages in plain words: they name classes of Python, and its clients get them as they are.

/// What the original calls things, and what users call them; longer ones first.
const WORDS: [(&str, &str); 16] = [
    ("(<class 'list'>, <class 'str'>)", "a list of texts"),
    ("(<class 'list'>, <class 'dict'>)", "a list of mappings"),
    (
        "(<class 'list'>, <class 'int'>)",
        "a list with a number in it",
    ),
    (
        "(<class 'list'>, <class 'float'>)",
        "a list with a fraction in it",
    ),
    (
        "(<class 'list'>, <class 'bool'>)",
        "a list with a truth value in it",
    ),
    (
        "(<class 'list'>, <class 'list'>)",
        "a list with a list in it",
    ),
    (
        "(<class 'list'>, <class 'NoneType'>)",
        "a list with nothing in one place",
    ),
    ("<class 'str'>", "a text"),
    ("<class 'int'>", "a whole number"),
    ("<class 'float'>", "a fraction"),
    ("<class 'bool'>", "a truth value"),
    ("<class 'list'>", "a list"),
    ("<class 'dict'>", "a mapping"),
    ("<class 'NoneType'>", "nothing"),
    (
        "Passed in configuration is not a dictionary for job:",
        "These sections are no mapping of names to values:",
    ),
    (
        "could not be parsed to a dictionary",
        "has no mapping of job names to sections",
    ),
];

/// What stands before the kinds of values that are expected.
const EXPECTED: &str = "Parser expected one of [";

/// A wrong value is shown without the kinds that are expected, as it often is of one of them; the cure says what would be
/// right.
fn values_alone(message: &str) -> String {
    let mut told = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, after)) = rest.split_once(EXPECTED) {
        let value = after.split_once(']').and_then(|(_, after)| {
            let found = after.strip_prefix(" but found ")?;
            let is_kind = found.starts_with(['<', '(']);
            (!is_kind).then_some(found)
        });
        match (before.strip_suffix(". "), value) {
            (Some(before), Some(value)) => {
                told.push_str(before);
                told.push_str(": ");
                rest = value;
            }
            _ => {
                told.push_str(before);
                told.push_str(EXPECTED);
                rest = after;
            }
        }
    }
    told.push_str(rest);
    told
}

/// The same message without Python in it.
#[must_use]
pub fn in_plain_words(message: &str) -> String {
    let mut text = values_alone(message);
    for (theirs, ours) in WORDS {
        text = text.replace(theirs, ours);
    }
    while let Some((before, rest)) = text.split_once(EXPECTED) {
        let Some((kinds, after)) = rest.split_once(']') else {
            break;
        };
        let kinds = kinds.replace(", ", " or ");
        text = format!("{before}Expected {kinds}{after}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_python_have_other_names() {
        let said = "Invalid type for section \"timeout\". Parser expected one of [<class 'int'>, <class 'str'>] but \
                    found (<class 'list'>, <class 'bool'>). (clusterrunner.yaml:5:14: put it in quotes)";
        let expected = "Invalid type for section \"timeout\". Expected a whole number or a text but found a list with a \
                        truth value in it. (clusterrunner.yaml:5:14: put it in quotes)";
        assert_eq!(in_plain_words(said), expected);
        assert_eq!(
            in_plain_words("Parser expected one of [x"),
            "Parser expected one of [x"
        );
        assert_eq!(in_plain_words("fine"), "fine");
    }

    #[test]
    fn a_wrong_value_does_not_contradict_what_is_said_of_it() {
        for (said, expected) in [
            (
                "section \"isolation\". Parser expected one of [<class 'str'>] but found \"super\". (f:1:2: write none)",
                "section \"isolation\": \"super\". (f:1:2: write none)",
            ),
            (
                "section \"pids\". Parser expected one of [<class 'int'>, <class 'str'>] but found 1.",
                "section \"pids\": 1.",
            ),
            (
                "section \"pids\". Parser expected one of [<class 'int'>] but found <class 'str'>.",
                "section \"pids\". Expected a whole number but found a text.",
            ),
            (
                "Parser expected one of [<class 'str'>] as the command of \"T\" but found <class 'int'>.",
                "Expected a text as the command of \"T\" but found a whole number.",
            ),
        ] {
            assert_eq!(in_plain_words(said), expected);
        }
    }
}
