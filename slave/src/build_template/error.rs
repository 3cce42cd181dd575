//! Why no template can be made, in sentences for the user who asked for it.

use clusterrunner_common::templates::WrongRecipe;
use clusterrunner_common::templates::dockerfile::WrongDockerfile;
use clusterrunner_common::text::printable::plain;
use std::io;
use std::path::{Path, PathBuf};

/// The reason.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("The variable {0} is not set: build-template is started by a slave.")]
    Variable(&'static str),
    #[error("The recipe can not be read: {0}.")]
    Input(#[source] io::Error),
    #[error("The recipe can not be read: {0}.")]
    Recipe(#[from] WrongRecipe),
    #[error("Could not {what} {}: {source}.", plain(&.path.display().to_string()))]
    Disk {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("The description of the template could not be written: {0}.")]
    Description(#[source] serde_json::Error),
    /// A whole sentence.
    #[error("{0}")]
    Said(String),
    #[error("{file} line {line}: {sentence}")]
    Line {
        file: String,
        line: usize,
        sentence: String,
    },
    #[error("Build step {number} failed with exit code {code}: {step}")]
    Step {
        number: usize,
        code: i32,
        step: String,
    },
    #[error("{0} could not be started: {1}.")]
    Start(String, #[source] io::Error),
}

impl BuildError {
    pub(super) fn said(sentence: impl Into<String>) -> Self {
        Self::Said(sentence.into())
    }

    /// The same, where it is about a line, with the name of the file.
    pub(super) fn in_file(self, name: &str) -> Self {
        match self {
            Self::Line { line, sentence, .. } => Self::Line {
                file: plain(name).into_owned(),
                line,
                sentence,
            },
            other => other,
        }
    }
}

impl From<WrongDockerfile> for BuildError {
    fn from(WrongDockerfile { line, sentence }: WrongDockerfile) -> Self {
        Self::Line {
            file: String::new(),
            line,
            sentence,
        }
    }
}

/// What is wrong with a Dockerfile of this name.
pub(super) fn wrong_in(name: &str) -> impl FnOnce(WrongDockerfile) -> BuildError {
    move |wrong| BuildError::from(wrong).in_file(name)
}

/// What could not be done, and where.
pub(super) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::Disk { what, path, source }
}
