//! Dockerfiles of repositories.

use clusterrunner_common::templates::dockerfile;

/// A Dockerfile is read, or refused with a sentence.
///
/// # Panics
/// Reading it panics, or says nothing.
pub fn dockerfiles(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match dockerfile::read(text) {
        Ok(instructions) => assert!(instructions.len() <= text.lines().count()),
        Err(error) => assert!(!error.sentence.is_empty()),
    }
}
