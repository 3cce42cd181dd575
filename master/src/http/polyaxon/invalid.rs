//! What is wrong with a parameter of a list.

/// A parameter that says nothing that is understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub(super) struct InvalidParameter {
    /// Its name.
    pub(super) name: &'static str,
    /// What is wrong, and how to do better.
    pub(super) sentence: String,
}

impl InvalidParameter {
    pub(super) fn new(name: &'static str, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { name, sentence }
    }
}

/// How many characters of what a caller has sent are said back.
const SAID: usize = 80;

/// What a caller has sent, in quotes.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(SAID) {
        Some((end, _)) => format!("\"{}…\"", &text[..end]),
        None => format!("\"{text}\""),
    }
}
