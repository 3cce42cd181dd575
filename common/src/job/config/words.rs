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

/// The same message without Python in it.
#[must_use]
pub fn in_plain_words(message: &str) -> String {
    const EXPECTED: &str = "Parser expected one of [";
    let mut text = message.to_owned();
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
}
