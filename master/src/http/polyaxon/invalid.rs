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
