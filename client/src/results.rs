//! A build's results on the local disk: fetched, unpacked safely, and put in place without losing
//! those of an earlier build.

mod left_out;
mod mark;
mod place;
pub mod single;
mod unpack;

pub use left_out::LeftOut;
use place::ResultsPlace;
pub use place::{Destination, KEPT};
pub use unpack::{Unpacked, unpack};

use crate::client::{Archive, Client};
use crate::error::ClientError;
use clusterrunner_common::ids::BuildId;
use std::path::{Path, PathBuf};

/// Lies in every directory of results and holds the build's id, so that a later build knows what to
/// call them when it moves them out of the way.
pub const BUILD_FILE: &str = ".clusterrunner_build";

/// The name of the directory of a project's results. The original puts its results directly into a directory of this name.
pub const USUAL_NAME: &str = "build_results";

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
    /// What came is no archive, or breaks off.
    #[error("the results are not a readable tar.gz archive: {0}")]
    Archive(#[source] std::io::Error),
    /// The archive names a place outside the directory of results.
    #[error("the results were refused: member {name:?} of the archive {why}")]
    UnsafeMember {
        /// The member's name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The master names a file whose place would be outside the directory of its atom.
    #[error("the artifact {path:?} was refused: its path {why}")]
    UnsafeFile {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Something else is where the results should go.
    #[error(
        "{} is not a place for results: {why}. Name a new or empty directory, or one with earlier results",
        .path.display()
    )]
    Taken {
        /// The path as it was given.
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
        /// The path as it was given.
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
    /// Where they are.
    pub directory: PathBuf,
    /// How much was unpacked.
    pub unpacked: Unpacked,
    /// Where the results that were there before are now.
    pub moved_to: Option<PathBuf>,
    /// Directories of older results that were deleted: the [`KEPT`] newest are kept.
    pub removed: Vec<PathBuf>,
    /// Why the link to the newest results does not lead to these, where it should.
    pub no_link: Option<String>,
}

/// Whether results can be put there: to be asked before a build is begun for them.
///
/// # Errors
/// It holds something else, or nothing can be written there.
pub fn check(destination: &Destination) -> Result<(), ResultsError> {
    // Made to see whether it can be, and removed at once.
    ResultsPlace::find(destination)?
        .workshop("check.")
        .map(drop)
}

/// Fetches the results of a finished build. Everything happens in a directory of its own first, so a directory holds
/// one build's complete results or another's, never a mixture.
///
/// # Errors
/// See [`ResultsError`]; what was there before is still there then.
pub async fn fetch(
    client: &Client,
    build: BuildId,
    destination: &Destination,
) -> Result<Fetched, ResultsError> {
    let place = ResultsPlace::find(destination)?;
    place.prepare(build)?;
    let workshop = place.workshop(&format!("{build}."))?;
    let archive = workshop.path().join("artifacts.tar.gz");
    client.download(build, Archive::TarGz, &archive).await?;
    let unpacking = tokio::task::spawn_blocking(move || {
        let results = workshop.path().join("results");
        let unpacked = unpack(&archive, &results)?;
        let in_place = place.put(&results, build)?;
        Ok(Fetched {
            directory: in_place.directory,
            unpacked,
            moved_to: in_place.moved_to,
            removed: in_place.removed,
            no_link: in_place.no_link,
        })
    });
    unpacking.await.unwrap_or(Err(ResultsError::Interrupted))
}
