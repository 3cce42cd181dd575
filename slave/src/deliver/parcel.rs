//! Results on their way to the master.
//!
//! A parcel is in memory, and becomes a file once it has to wait, or at once if it is large. The file
//! outlives this process.

use crate::data_directory::{DataDirectory, make_private};
use crate::deliver::result_archive::{Taker, pack, remove_files};
use crate::deliver::result_note::{ResultNote, entry};
use crate::master::clock::MasterClock;
use crate::work::{AtomConsole, AtomEnd, HandOut};
use bytes::Bytes;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::ids::{BuildId, ExecutorIndex, Incarnation, SessionId};
use clusterrunner_common::lock::lock;
use clusterrunner_common::results::block::PackError;
use clusterrunner_common::work::MasterMark;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

/// Results with more output go by themselves.
const LARGE: usize = 64 << 10;

/// Results with more atoms that ran too long go by themselves: these stand in the file's header.
const MANY_REPORTS: usize = 16;

/// A hand-out that ran to its end.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) hand_out: HandOut,
    pub(crate) executor: ExecutorIndex,
    pub(crate) atoms: Vec<AtomEnd>,
    /// The incarnation of the master that handed it out; none where that is one of the original.
    pub(crate) incarnation: Option<Incarnation>,
    /// Cancelled when its result is not wanted any more.
    pub(crate) stop: CancellationToken,
}

impl Finished {
    /// Bytes of memory that it takes, more or less.
    pub(super) fn size(&self) -> usize {
        let of = |atom: &AtomEnd| atom.console.size() + atom.command.len() + size_of::<AtomEnd>();
        self.atoms.iter().map(of).sum()
    }

    pub(super) fn num_reports(&self) -> usize {
        let timed_out = |atom: &&AtomEnd| atom.timed_out.is_some();
        self.atoms.iter().filter(timed_out).count()
    }

    /// Whether packing or sending it could hold others up.
    pub(super) fn goes_alone(&self) -> bool {
        let on_disk = |atom: &AtomEnd| {
            atom.artifacts.is_some() || matches!(atom.console, AtomConsole::File(_))
        };
        self.atoms.iter().any(on_disk)
            || self.size() > LARGE
            || self.num_reports() > MANY_REPORTS
            // Nothing in a file names a result without atoms: it would be taken for one of the others.
            || self.atoms.is_empty()
    }
}

/// Why a parcel can not be packed.
#[derive(Debug)]
pub(super) enum PackFailure {
    /// It is not wanted any more.
    Unwanted,
    /// It can not be written.
    Trouble(String),
}

/// Results that travel together: many small ones, or one that is large.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) build: BuildId,
    /// All of them, also those that were not wanted any more when the parcel was made.
    pub(crate) hand_outs: Vec<HandOut>,
    /// Those that are packed.
    pub(crate) note: ResultNote,
    /// The executor that ran the first of them, if it is known.
    pub(crate) executor: Option<ExecutorIndex>,
    /// Whether it may hold many small ones; others do not wait for its like.
    pub(crate) is_small: bool,
    pub(crate) file: PathBuf,
    /// Tells all of the build's deliveries to stop.
    pub(crate) stop: CancellationToken,
    content: Mutex<Content>,
}

/// Where the results of a parcel are.
#[derive(Debug)]
enum Content {
    Memory {
        /// As their atoms left them.
        finished: Arc<[Finished]>,
        packed: Option<Bytes>,
    },
    /// In their file only.
    File,
    /// They are not needed any more.
    Gone,
}

impl Parcel {
    /// A parcel to be packed; `None` when there is nothing in it. `master` is the latest moment that was
    /// seen of the master that handed them out.
    pub(super) fn of(
        finished: Vec<Finished>,
        is_small: bool,
        data: &DataDirectory,
        (session, master): (&SessionId, Option<MasterMark>),
        clock: &MasterClock,
        stop: &CancellationToken,
    ) -> Option<Self> {
        let first = finished.first()?.hand_out;
        // A newer attempt may have been handed out. At the build's end all are told to stop, and some are
        // spooled for the next life. What is large has files, which packing removes.
        let is_wanted =
            |one: &Finished| !is_small || !one.stop.is_cancelled() || stop.is_cancelled();
        let hand_outs = finished.iter().map(|one| one.hand_out).collect();
        let wanted: Vec<_> = finished.into_iter().filter(is_wanted).collect();
        let results = wanted.iter();
        let results = results.map(|one| entry(one.hand_out, one.executor, &one.atoms, clock));
        Some(Self {
            build: first.build,
            hand_outs,
            note: ResultNote {
                build: first.build,
                session: session.clone(),
                master,
                results: results.collect(),
            },
            executor: wanted.first().map(|one| one.executor),
            is_small,
            file: data.result_file(wanted.first().map_or(first, |one| one.hand_out)),
            stop: stop.clone(),
            content: Mutex::new(Content::Memory {
                finished: wanted.into(),
                packed: None,
            }),
        })
    }

    /// A file that an earlier life of this slave left.
    pub(super) fn found(file: PathBuf, note: ResultNote) -> Self {
        Self {
            build: note.build,
            hand_outs: note.hand_outs().collect(),
            note,
            executor: None,
            is_small: false,
            file,
            stop: CancellationToken::new(),
            content: Mutex::new(Content::File),
        }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        lock(&self.content)
    }

    /// Its results as their atoms left them, while they are in memory.
    pub(super) fn finished(&self) -> Option<Arc<[Finished]>> {
        match &*self.content() {
            Content::Memory { finished, .. } => Some(Arc::clone(finished)),
            Content::File | Content::Gone => None,
        }
    }

    /// What is sent, where it is in memory.
    pub(super) fn packed(&self) -> Option<Bytes> {
        match &*self.content() {
            Content::Memory { packed, .. } => packed.clone(),
            Content::File | Content::Gone => None,
        }
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(*self.content(), Content::File)
    }

    /// Bytes of memory that it takes, more or less, where none of it is on disk.
    pub(super) fn size(&self) -> usize {
        let finished = self.finished().filter(|_| self.is_small);
        let size = |finished: Arc<[Finished]>| finished.iter().map(Finished::size).sum();
        finished.map_or(usize::MAX, size)
    }

    /// Packs it: what is large into its file. What its atoms left on the disk is removed. Says what of the artifacts was
    /// left out. Blocks.
    pub(super) fn pack(
        &self,
        taker: Taker,
        ending: &CancellationToken,
    ) -> Result<Option<String>, PackFailure> {
        let finished = self.finished().ok_or(PackFailure::Unwanted)?;
        let packed = match self.is_wanted(&finished, ending) {
            false => Err(PackFailure::Unwanted),
            true => self.write(&finished, taker).map_err(|error| match error {
                PackError::Canceled => PackFailure::Unwanted,
                PackError::Write(_) => PackFailure::Trouble(error.to_string()),
            }),
        };
        // Before others may work in the same directories.
        for one in finished.iter() {
            remove_files(&one.atoms);
        }
        let (packed, left_out) = packed?;
        *self.content() = match packed {
            Some(packed) => Content::Memory {
                finished,
                packed: Some(packed.into()),
            },
            None => Content::File,
        };
        Ok(left_out)
    }

    fn is_wanted(&self, finished: &[Finished], ending: &CancellationToken) -> bool {
        let Some(first) = finished.first() else {
            return false;
        };
        // The incarnation of the master that would want it is gone.
        if first.incarnation.is_some() && self.note.master.is_none() {
            return false;
        }
        // What is small is worth packing even at the end; what is large would hold it up.
        match self.is_small {
            true => !self.stop.is_cancelled() || ending.is_cancelled(),
            false => !first.stop.is_cancelled(),
        }
    }

    fn write(
        &self,
        finished: &[Finished],
        taker: Taker,
    ) -> Result<(Option<Vec<u8>>, Option<String>), PackError> {
        let results = finished.iter().map(|one| (one.hand_out, &one.atoms[..]));
        if self.is_small {
            let all = CancellationToken::new();
            let packed = pack(Vec::new(), &self.note, results, taker, &all);
            return packed.map(|(packed, left_out)| (Some(packed), left_out));
        }
        let stop = finished.first().map_or(&self.stop, |first| &first.stop);
        let write = || {
            self.make_directory()?;
            let out = BufWriter::new(regular_file::create(&self.file)?);
            let (mut out, left_out) = pack(out, &self.note, results, taker, stop)?;
            out.flush()?;
            Ok((None, left_out))
        };
        // The build's clean-up removes it in any case.
        write().inspect_err(|_| drop(std::fs::remove_file(&self.file)))
    }

    fn make_directory(&self) -> io::Result<()> {
        self.file.parent().map_or(Ok(()), make_private)
    }

    /// Makes the file, if it is not there yet and still needed. What can not be written stays in memory.
    /// Blocks.
    pub(super) fn spool(&self) -> io::Result<()> {
        let mut content = self.content();
        if let Content::Memory {
            packed: Some(packed),
            ..
        } = &*content
        {
            self.make_directory()?;
            let written = regular_file::create(&self.file);
            let written = written.and_then(|mut file| file.write_all(packed));
            if let Err(error) = written {
                std::fs::remove_file(&self.file).ok();
                return Err(error);
            }
            *content = Content::File;
        }
        Ok(())
    }

    /// The same, and brings the file to the disk for good. Blocks.
    pub(super) fn spool_for_good(&self) -> io::Result<()> {
        self.spool()?;
        regular_file::open_itself(&self.file)?.sync_all()?;
        match self.file.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }

    /// Drops it, which also ends the making of a file. Says whether there is one.
    pub(super) fn let_go(&self) -> bool {
        let was = std::mem::replace(&mut *self.content(), Content::Gone);
        matches!(was, Content::File)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::{Attempt, SubjobId};

    #[test]
    fn what_has_to_wait_becomes_a_file_unless_nobody_needs_it() {
        let base = tempfile::tempdir().unwrap();
        let session = SessionId("s".to_owned());
        let data = DataDirectory::open(base.path(), 1, session.clone()).unwrap();
        let stop = CancellationToken::new();
        let parcel = || {
            let hand_out = HandOut {
                build: BuildId(1),
                subjob: SubjobId(0),
                attempt: Attempt(1),
            };
            let finished = Finished {
                hand_out,
                executor: ExecutorIndex(0),
                atoms: Vec::new(),
                incarnation: None,
                stop: stop.clone(),
            };
            let parcel = Parcel::of(
                vec![finished],
                true,
                &data,
                (&session, None),
                &MasterClock::default(),
                &stop,
            )
            .unwrap();
            parcel.pack(Taker::Ours, &stop).unwrap();
            parcel
        };
        let spooled = parcel();
        let content = spooled.packed().unwrap();
        assert!(!spooled.is_file());
        spooled.spool().unwrap();
        spooled.spool_for_good().unwrap();
        assert_eq!(std::fs::read(&spooled.file).unwrap(), content);
        assert!(spooled.is_file() && spooled.packed().is_none());
        assert!(spooled.let_go());
        std::fs::remove_file(&spooled.file).unwrap();

        let over = parcel();
        assert!(!over.let_go());
        over.spool().unwrap();
        assert!(!over.is_file() && !over.file.exists());

        // The name is taken by a directory.
        let not_written = parcel();
        std::fs::create_dir_all(&not_written.file).unwrap();
        not_written.spool().unwrap_err();
        assert!(!not_written.is_file() && not_written.packed().is_some());
    }
}
