//! A build's results on the local disk: fetched, unpacked safely, and put in place without losing
//! those of an earlier build.

mod place;
mod unpack;

use place::Place;
pub use place::{KEPT, put_in_place};
pub use unpack::{Unpacked, unpack};

use crate::client::{Archive, Client};
use crate::error::ClientError;
use clusterrunner_common::ids::BuildId;
use std::path::{Path, PathBuf};

/// Lies in every directory of results and holds the build's id, so that a later build knows what to
/// call them when it moves them out of the way.
pub const BUILD_FILE: &str = ".clusterrunner_build";

/// Why a build's results are not there.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// They could not be fetched.
    #[error(transparent)]
    Fetch(#[from] ClientError),
    /// A file or directory could not be read, written or moved.
    #[error("could not {step} {}: {source}", .path.display())]
    Disk {
        /// What was tried.
        step: &'static str,
        /// With what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// What came is no zip archive.
    #[error("the results are not a readable zip archive: {0}")]
    Archive(#[source] zip::result::ZipError),
    /// The archive names a place outside the directory of results, or one place twice.
    #[error("the results were refused: member {name:?} of the archive {why}")]
    UnsafeMember {
        /// The member's name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Something else is where the results should go.
    #[error(
        "{} is not a place for results: {why}. Name a new or empty directory, or one with earlier results",
        .path.display()
    )]
    Taken {
        /// What was given.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The name of the directory of results is no name.
    #[error(
        "'{}' can not be a directory for results: its name is needed. Name a new or empty directory",
        .path.display()
    )]
    NoName {
        /// What was given.
        path: PathBuf,
    },
    /// Unpacking was cut off by a fault of ours.
    #[error("unpacking the results ended early")]
    Interrupted,
}

impl ResultsError {
    fn disk(step: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { step, path, source }
    }
}

/// Results that are in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// How much was unpacked.
    pub unpacked: Unpacked,
    /// Where the results that were there before are now.
    pub moved_to: Option<PathBuf>,
}

/// Whether results can be put into `directory`: to be asked before a build is begun for them.
///
/// # Errors
/// It holds something else, or nothing can be written there.
pub fn check(directory: &Path) -> Result<(), ResultsError> {
    // Made to see whether it can be, and removed at once.
    Place::find(directory)?.workshop("check.").map(drop)
}

/// Fetches the results of a finished build into `directory`. Everything happens in a directory
/// beside it first, so `directory` holds one build's complete results or another's, never a mixture.
///
/// # Errors
/// See [`ResultsError`]; what was in `directory` before is still there then.
pub async fn fetch(
    client: &Client,
    build: BuildId,
    directory: &Path,
) -> Result<Fetched, ResultsError> {
    let place = Place::find(directory)?;
    let workshop = place.workshop(&format!("{build}."))?;
    let archive = workshop.path().join("artifacts.zip");
    client.download(build, Archive::Zip, &archive).await?;
    let target = place.target;
    let unpacking = tokio::task::spawn_blocking(move || {
        let results = workshop.path().join("results");
        let unpacked = unpack(&archive, &results)?;
        let moved_to = put_in_place(&results, &target, build)?;
        Ok(Fetched { unpacked, moved_to })
    });
    unpacking.await.unwrap_or(Err(ResultsError::Interrupted))
}
