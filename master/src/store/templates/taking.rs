//! Taking a template out of the stored results of the build that left it.

use super::description::{self, DescriptionError};
use super::{INCOMING, Snapshots};
use crate::store::results::{Results, is_damage};
use clusterrunner_common::disk::space::{DiskSpace, ShortOfSpace};
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SubjobId};
use clusterrunner_common::lock::lock;
use clusterrunner_common::results::artifact::directory_name;
use clusterrunner_common::templates::{DESCRIPTION, SNAPSHOT, TemplateDescription};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::Path;
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

/// How much of a snapshot is read at a time.
const CHUNK: usize = 128 << 10;

/// What every gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why a build leaves no template. The text goes to its user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// A file is not there.
    #[error("the build left no file {0} in $ARTIFACT_DIR")]
    Missing(&'static str),
    /// The description can not be used.
    #[error("{DESCRIPTION}: {0}")]
    Description(#[from] DescriptionError),
    /// The snapshot is too large.
    #[error(
        "the snapshot has {bytes} bytes, and at most {most} are kept (max_snapshot_bytes in the master's settings)"
    )]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// What the settings allow.
        most: u64,
    },
    /// The snapshot is no gzip file.
    #[error("{SNAPSHOT} is not compressed with gzip")]
    NotGzip,
    /// The stored results are not as they were.
    #[error("the stored results are damaged: {0}")]
    Damaged(#[source] io::Error),
    /// The disk refuses.
    #[error("the snapshot could not be stored: {0}")]
    Disk(#[source] io::Error),
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}

/// A snapshot that lies in the store, and what is said of it. As long as this value is there, it is not removed.
#[derive(Debug)]
pub(crate) struct Kept {
    snapshots: Snapshots,
    /// The SHA-256 of its bytes, in 64 hexadecimal digits.
    pub digest: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// What it is of.
    pub description: TemplateDescription,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut claims = lock(&self.snapshots.claims);
        if let Some(held) = claims.held.get_mut(&self.digest) {
            *held -= 1;
            if *held == 0 {
                claims.held.remove(&self.digest);
            }
        }
    }
}

/// What was found so far.
struct Found<'a> {
    most: u64,
    space: &'a DiskSpace,
    directory: &'a Path,
    stop: &'a CancellationToken,
    description: Option<Result<TemplateDescription, DescriptionError>>,
    snapshot: Option<(NamedTempFile, String, u64)>,
    /// What ended the reading.
    failure: Option<TakeError>,
}

impl Snapshots {
    /// Takes the template that the only atom of a result left, brings its snapshot to disk under its digest, and says
    /// what it is. Blocks.
    ///
    /// # Errors
    /// See [`TakeError`].
    pub(crate) fn take(
        &self,
        results: &Results,
        build: BuildId,
        (subjob, attempt): (SubjobId, Attempt),
        (most, space): (u64, &DiskSpace),
        stop: &CancellationToken,
    ) -> Result<Kept, TakeError> {
        let mut found = Found {
            most,
            space,
            directory: self.directory(),
            stop,
            description: None,
            snapshot: None,
            failure: None,
        };
        let (description, snapshot) = (path_of(subjob, DESCRIPTION), path_of(subjob, SNAPSHOT));
        let read = results.left_files(build, subjob, attempt, |path, length, content| {
            let took = match path {
                path if path == Path::new(&description) => found.take_description(content),
                path if path == Path::new(&snapshot) => found.take_snapshot(length, content),
                _ => Ok(()),
            };
            took.map_err(|failure| {
                found.failure = Some(failure);
                io::Error::other("not taken")
            })
        });
        if let Some(failure) = found.failure {
            return Err(failure);
        }
        read.map_err(of_results)?;
        let description = found.description.ok_or(TakeError::Missing(DESCRIPTION))??;
        let (file, digest, bytes) = found.snapshot.ok_or(TakeError::Missing(SNAPSHOT))?;
        self.put(file, &digest).map_err(TakeError::Disk)?;
        Ok(Kept {
            snapshots: self.clone(),
            digest,
            bytes,
            description,
        })
    }

    /// Puts a file here that has this digest, and holds it.
    fn put(&self, file: NamedTempFile, digest: &str) -> io::Result<()> {
        file.as_file().sync_all()?;
        let path = self.path(digest).ok_or(io::ErrorKind::InvalidInput)?;
        let mut claims = lock(&self.claims);
        // One that was there before is replaced: it may have been damaged since.
        file.persist(path)?;
        File::open(self.directory())?.sync_all()?;
        claims.going.remove(digest);
        *claims.held.entry(digest.to_owned()).or_default() += 1;
        Ok(())
    }
}

impl Found<'_> {
    fn take_description(&mut self, content: &mut dyn Read) -> Result<(), TakeError> {
        self.description = Some(description::read(content).map_err(of_results)?);
        Ok(())
    }

    fn take_snapshot(&mut self, length: u64, content: &mut dyn Read) -> Result<(), TakeError> {
        if length > self.most {
            return Err(TakeError::TooLarge {
                bytes: length,
                most: self.most,
            });
        }
        let has_space = self.space.check(length);
        has_space.map_err(|short| TakeError::Disk(full(short)))?;
        let made = tempfile::Builder::new()
            .prefix(INCOMING)
            .tempfile_in(self.directory);
        let mut file = made.map_err(TakeError::Disk)?;
        let (mut digest, mut bytes) = (Sha256::new(), 0);
        let mut chunk = vec![0; CHUNK];
        loop {
            if self.stop.is_cancelled() {
                return Err(TakeError::Stopped);
            }
            let read = content.read(&mut chunk).map_err(of_results)?;
            let piece = chunk.get(..read).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            if bytes == 0 && !piece.starts_with(&GZIP) {
                return Err(TakeError::NotGzip);
            }
            digest.update(piece);
            file.write_all(piece).map_err(TakeError::Disk)?;
            bytes += piece.len() as u64;
        }
        if bytes == 0 {
            return Err(TakeError::NotGzip);
        }
        self.snapshot = Some((file, hex::encode(digest.finalize()), bytes));
        Ok(())
    }
}

/// A file of the only atom of a subjob, as results name it.
fn path_of(subjob: SubjobId, file: &str) -> String {
    format!("{}/{file}", directory_name(subjob, AtomId(0)))
}

fn full(short: ShortOfSpace) -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, short)
}

fn of_results(error: io::Error) -> TakeError {
    match error.kind() {
        io::ErrorKind::NotFound => TakeError::Damaged(error),
        _ if is_damage(&error) => TakeError::Damaged(error),
        _ => TakeError::Disk(error),
    }
}
