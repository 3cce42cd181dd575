//! Why remote files do not come.

use super::NotPublic;
use reqwest::StatusCode;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a remote file could not be put into the project directory. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum RemoteFileError {
    /// The name is not one of a file inside the project directory.
    #[error("remote file {name:?}: {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The URL can not be used.
    #[error("remote file {name:?}: {url} {reason}")]
    Url {
        /// The name.
        name: String,
        /// The URL, without credentials.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The server answered, but not with the file.
    #[error("remote file {name:?}: {url} answered {status}")]
    Status {
        /// The name.
        name: String,
        /// The URL, without credentials.
        url: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// The address is not one that remote files may come from.
    #[error("remote file {name:?}: {url} can not be used: {source}")]
    NotPublic {
        /// The name.
        name: String,
        /// The URL, without credentials.
        url: String,
        /// The cause.
        #[source]
        source: NotPublic,
    },
    /// The file is larger than allowed.
    #[error(
        "remote file {name:?}: {url} has more than {max_size} bytes (setting remote_files_max_size)"
    )]
    TooLarge {
        /// The name.
        name: String,
        /// The URL, without credentials.
        url: String,
        /// The most bytes.
        max_size: u64,
    },
    /// It took too long.
    #[error(
        "remote file {name:?}: {url} did not arrive within {} s (setting remote_files_timeout)", .timeout.as_secs()
    )]
    TooSlow {
        /// The name.
        name: String,
        /// The URL, without credentials.
        url: String,
        /// How long it may take.
        timeout: Duration,
    },
    /// The URL could not be read.
    #[error("remote file {name:?}: could not fetch {url}: {reason}")]
    Fetch {
        /// The name.
        name: String,
        /// The URL, without credentials.
        url: String,
        /// The reason.
        reason: String,
    },
    /// The file could not be written.
    #[error("remote file {name:?}: could not write {path}: {source}")]
    Write {
        /// The name.
        name: String,
        /// Where it was to be.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}
