//! Why facts could not be read or stored.

use super::FORMAT;
use std::path::{Path, PathBuf};

/// Why facts could not be read or stored. None of these is retried: the master stops.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory can not be used.
    #[error("could not open the journal in {}: {source}", .directory.display())]
    Open {
        /// The directory.
        directory: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("the journal in {} is in use by another process", .directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// The engine refuses.
    #[error("could not use the journal in {}: {source}", .directory.display())]
    Engine {
        /// The directory.
        directory: PathBuf,
        /// The cause.
        #[source]
        source: sled::Error,
    },
    /// The engine can not read what it found.
    #[error(
        "the journal in {} is damaged ({what}); nothing was changed. `clusterrunner journal repair` says what can be \
         saved of it",
        .directory.display()
    )]
    Damaged {
        /// The directory.
        directory: PathBuf,
        /// What the engine says.
        what: String,
    },
    /// The engine can make nothing at all of what it found.
    #[error(
        "the journal in {} is damaged so much that nothing of it can be saved ({what}); nothing was changed. \
         `clusterrunner journal repair --from FILE` starts anew from an export. Or move the directory away: the \
         master then starts with no builds",
        .directory.display()
    )]
    Lost {
        /// The directory.
        directory: PathBuf,
        /// What the engine says.
        what: String,
    },
    /// There is no room to look at it.
    #[error(
        "the journal in {} is examined as a copy before it is opened, but there is no room for its {bytes} bytes, \
         neither there nor in the temporary directory; nothing was changed. Make room, or set TMPDIR to a \
         directory with room",
        .directory.display()
    )]
    NoRoom {
        /// The directory.
        directory: PathBuf,
        /// How long it is.
        bytes: u64,
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
    /// Another version wrote it.
    #[error(
        "the journal has format {found}, and this version reads format {FORMAT} only; nothing was changed. Start the \
         version that wrote it. Or move the directory away: the master then starts with no builds"
    )]
    Format {
        /// Its format; 0 for those before there were numbers that count.
        found: u32,
    },
    /// Something could not be written as JSON.
    #[error("could not write a record: {0}")]
    Encode(#[source] serde_json::Error),
    /// What was written could not be read back; it is not stored.
    #[error("a record could not be read back before it was stored: {0}")]
    Unreadable(#[source] serde_json::Error),
    /// What was written reads back as something else; it is not stored.
    #[error("a record reads back differently from what was to be stored")]
    Changed,
    /// The disk refuses; what was not acknowledged may or may not be stored.
    #[error("could not flush the journal: {0}")]
    Sync(#[source] std::io::Error),
    /// A text has more pieces than its head can count.
    #[error("could not write a record: it has more than 768 MiB")]
    TooLarge,
    /// A thread that read or wrote the journal panicked, or the program ends.
    #[error("the work at the journal was broken off: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
    /// The engine refuses to store.
    #[error("could not append to the journal: {0}")]
    Append(#[source] sled::Error),
    /// The engine refuses to read.
    #[error("could not read the journal: {0}")]
    Read(#[source] sled::Error),
}

impl JournalError {
    pub(super) fn open(directory: &Path) -> impl Fn(std::io::Error) -> Self + use<> {
        let directory = directory.to_owned();
        move |source| Self::Open {
            directory: directory.clone(),
            source,
        }
    }

    /// What the engine says; trouble with the disk is told from damage.
    pub(super) fn engine(directory: &Path, source: sled::Error) -> Self {
        let directory = directory.to_owned();
        match source {
            sled::Error::Io(_) => Self::Engine { directory, source },
            source => Self::Damaged {
                directory,
                what: source.to_string(),
            },
        }
    }

    /// The engine panicked.
    pub(super) fn damaged(directory: &Path) -> Self {
        Self::Damaged {
            directory: directory.to_owned(),
            what: "the storage engine stopped at it".to_owned(),
        }
    }

    pub(super) fn record(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Record {
            place: place.into(),
            what: what.into(),
        }
    }
}
