//! A file of an atom that could not be handled.

use std::io;
use std::path::{Path, PathBuf};

/// A file that the slave could not handle.
#[derive(Debug, thiserror::Error)]
#[error("could not {step} {}: {source}", .path.display())]
pub(crate) struct AtomFileError {
    step: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

pub(crate) fn files<'a>(
    step: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> AtomFileError + 'a {
    move |source| AtomFileError {
        step,
        path: path.to_owned(),
        source,
    }
}
