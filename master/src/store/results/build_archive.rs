//! The archive of an ended build: made once, read as a stream, and made again in memory where it is damaged.

use super::archive::Archive;
use super::archive_files::ArchiveFiles;
use super::build_store::BuildStore;
use super::damage::{Damages, damaged};
use super::incoming::Incoming;
use super::{INDEX_DAMAGED, Results, tar_stream, zip_stream};
use bytes::Bytes;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, SubjobId};
use clusterrunner_common::turns::Turns;
use futures_util::{Stream, TryStreamExt as _};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;

impl Results {
    /// Makes the archive of a build out of these results, so that [`Self::archive`] finds it; told
    /// to stop, it may be left unmade. Blocks.
    ///
    /// # Errors
    /// The disk refuses, or one of the results is not there.
    pub fn make_archive(
        &self,
        build: BuildId,
        results: &[(SubjobId, Attempt)],
        failures: &[String],
        stop: &CancellationToken,
    ) -> io::Result<()> {
        self.make_archive_with(build, results, failures, None, stop)
    }

    /// As [`Self::make_archive`], with a report of all tests of the build: a gzip member as
    /// [`whole_report`](clusterrunner_common::results::block::whole_report) writes it. Blocks.
    ///
    /// # Errors
    /// As [`Self::make_archive`].
    pub fn make_archive_with(
        &self,
        build: BuildId,
        results: &[(SubjobId, Attempt)],
        failures: &[String],
        report: Option<Incoming>,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let store = self.stores.open(build, true)?;
        Archive::make(&store, results, failures, report, stop)
    }

    /// The archive of an ended build, whatever is in it. Blocks.
    ///
    /// # Errors
    /// As [`Self::archive_of`].
    pub fn archive(&self, build: BuildId) -> io::Result<BuildArchive> {
        self.read_archive(build, None)
    }

    /// The archive of an ended build, of which `num_results` subjobs have a result. Blocks.
    ///
    /// # Errors
    /// The disk refuses, it was not made (`NotFound`), or it is damaged: see [`super::is_damage`].
    pub fn archive_of(&self, build: BuildId, num_results: u64) -> io::Result<BuildArchive> {
        self.read_archive(build, Some(num_results))
    }

    /// The store of a build, if there is one.
    pub(super) fn stored(&self, build: BuildId) -> io::Result<Arc<BuildStore>> {
        match self.stores.open(build, false) {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && Archive::is_in(&self.stores.of_build(build)) =>
            {
                Err(damaged("the file of the blocks is missing"))
            }
            opened => opened,
        }
    }

    fn read_archive(&self, build: BuildId, num_results: Option<u64>) -> io::Result<BuildArchive> {
        let store = self.stored(build);
        let store = store.inspect_err(|error| self.damages.note_error(build, error))?;
        let read = Archive::read(store.directory()).and_then(|(archive, made_at)| {
            match archive.num_results().zip(num_results) {
                Some((has, must_have)) if has != must_have => Err(damaged(format!(
                    "the archive has {has} results, and the build has {must_have}"
                ))),
                _ => Ok((archive, made_at)),
            }
        });
        let (archive, made_at) = match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound && store.num_results() > 0 => {
                Err(damaged("the list of the archive's pieces is missing"))
            }
            read => read,
        }
        .inspect_err(|error| self.damages.note_error(build, error))?;
        // It tells what was there; the archive needs only the blocks.
        if !archive.fits(&store)? {
            self.damages.note(build, INDEX_DAMAGED);
        }
        self.opened(build, &store, archive, made_at)
    }

    /// The same archive again where what was written of it is damaged: out of the blocks, in memory. Blocks.
    ///
    /// # Errors
    /// The disk refuses, or the blocks are damaged too: see [`super::is_damage`].
    pub fn archive_again(
        &self,
        build: BuildId,
        results: &[(SubjobId, Attempt)],
        failures: &[String],
    ) -> io::Result<BuildArchive> {
        self.in_memory(build, |store, made_at| {
            let archive = Archive::again(store, results, failures, made_at);
            let archive = archive.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => damaged(format!("there is {error}")),
                _ => error,
            });
            archive.inspect_err(|error| self.damages.note_error(build, error))
        })
    }

    /// The archive of a build that ended early, of the results that it has. Blocks.
    ///
    /// # Errors
    /// The disk refuses, the results were removed (`NotFound`), or they are damaged: see [`super::is_damage`].
    pub fn partial_archive(
        &self,
        build: BuildId,
        results: &[(SubjobId, Attempt)],
        failures: &[String],
    ) -> io::Result<BuildArchive> {
        self.in_memory(build, |store, made_at| {
            Archive::partial(store, results, failures, made_at)
        })
    }

    /// An archive that is made of the blocks, with the time of the first of them.
    fn in_memory(
        &self,
        build: BuildId,
        make: impl FnOnce(&BuildStore, Timestamp) -> io::Result<Archive>,
    ) -> io::Result<BuildArchive> {
        let store = self.stored(build)?;
        let made_at = std::fs::metadata(store.file(0))?.modified()?;
        let archive = make(&store, timestamp(made_at))?;
        self.opened(build, &store, archive, made_at)
    }

    fn opened(
        &self,
        build: BuildId,
        store: &Arc<BuildStore>,
        archive: Archive,
        made_at: SystemTime,
    ) -> io::Result<BuildArchive> {
        let files = ArchiveFiles::open(store, &archive);
        Ok(BuildArchive {
            files: files.inspect_err(|error| self.damages.note_error(build, error))?,
            archive,
            made_at,
            build,
            damages: self.damages.clone(),
        })
    }
}

/// The archive of an ended build.
#[derive(Debug)]
pub struct BuildArchive {
    files: ArchiveFiles,
    archive: Archive,
    made_at: SystemTime,
    build: BuildId,
    damages: Damages,
}

impl BuildArchive {
    /// The length of `artifacts.tar.gz` in bytes.
    #[must_use]
    pub fn tar_length(&self) -> u64 {
        self.archive.length()
    }

    pub(super) fn into_parts(self) -> (ArchiveFiles, Archive) {
        (self.files, self.archive)
    }

    /// When it was made; it never changes after that.
    #[must_use]
    pub fn made_at(&self) -> SystemTime {
        self.made_at
    }

    /// The bytes of `artifacts.tar.gz` in `range`, to the end also if the build is removed meanwhile.
    pub fn tar(self, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send {
        tar_stream::stream(self.files, &self.archive, range)
    }

    /// `artifacts.zip`, made while it is read, to the end also if the build is removed meanwhile; each piece takes
    /// its turn. It ends in an error if something goes wrong.
    pub fn zip(self, turns: Turns) -> impl Stream<Item = io::Result<Bytes>> + Send {
        let (build, damages) = (self.build, self.damages);
        let stream = zip_stream::stream(self.files, self.archive, turns);
        stream.inspect_err(move |error| damages.note_error(build, error))
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default().as_millis();
    Timestamp(u64::try_from(since).unwrap_or(u64::MAX))
}
