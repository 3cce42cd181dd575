//! The files of atoms while they run: where they print, and where they leave their artifacts. Both
//! are made beforehand and used again, since making a file costs more than starting a short atom.

mod artifact_directory;
mod console_file;
mod lease;

pub(crate) use artifact_directory::ArtifactDirectories;
pub(crate) use console_file::{AtomEnding, ConsoleFiles};

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

fn files<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> AtomFileError + 'a {
    move |source| AtomFileError {
        step,
        path: path.to_owned(),
        source,
    }
}
