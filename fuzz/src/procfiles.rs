//! Procfiles of repositories.

use clusterrunner_slave::trial::process_types;

/// A Procfile is read, or refused with a sentence.
///
/// # Panics
/// Reading it panics, or says nothing.
pub fn procfiles(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match process_types(text) {
        Ok(number) => assert!(number <= text.lines().count()),
        Err(sentence) => assert!(!sentence.is_empty()),
    }
}
