//! Why facts could not be read or stored.

use std::path::{Path, PathBuf};

/// Why facts could not be read or stored. None of these is retried: the master stops.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory can not be used.
    #[error("could not open the journal in {}: {source}", .directory.display())]
    Open {
        /// Which.
        directory: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The engine refuses.
    #[error(
        "could not use the journal in {}: {source}. If it is damaged, `clusterrunner journal repair` saves \
         what can be saved",
        .directory.display()
    )]
    Engine {
        /// Which.
        directory: PathBuf,
        /// Why.
        #[source]
        source: sled::Error,
    },
    /// The engine panicked on what it found.
    #[error(
        "the journal in {} is damaged so much that it can not be opened; nothing was changed. `clusterrunner \
         journal repair --from FILE` starts anew from an export, or move the directory away to start with \
         nothing",
        .directory.display()
    )]
    Damaged {
        /// Which.
        directory: PathBuf,
    },
    /// A record is not what was written.
    #[error(
        "{place} of the journal is damaged ({what}); nothing was changed. `clusterrunner journal verify` lists \
         all that is wrong, `clusterrunner journal repair` goes on without it"
    )]
    Record {
        /// Which one.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// A later version wrote it.
    #[error(
        "the journal has format {found}, and this version knows formats up to {known}: start the version that \
         wrote it, or a later one"
    )]
    Format {
        /// Its format.
        found: u32,
        /// The latest known one.
        known: u32,
    },
    /// Something could not be written as JSON.
    #[error("could not write a record: {0}")]
    Encode(#[source] serde_json::Error),
    /// The disk refuses; what was not acknowledged may or may not be stored.
    #[error("could not bring the journal to disk: {0}")]
    Sync(#[source] std::io::Error),
    /// The engine refuses to store.
    #[error("could not append to the journal: {0}")]
    Append(#[source] sled::Error),
    /// The engine refuses to read.
    #[error("could not read the journal: {0}")]
    Read(#[source] sled::Error),
}

impl JournalError {
    pub(super) fn open(directory: &Path) -> impl Fn(std::io::Error) -> Self {
        let directory = directory.to_owned();
        move |source| Self::Open {
            directory: directory.clone(),
            source,
        }
    }

    pub(super) fn record(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Record {
            place: place.into(),
            what: what.into(),
        }
    }
}
