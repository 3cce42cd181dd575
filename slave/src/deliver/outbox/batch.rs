//! Results that go together.

use crate::data_directory::{DataDirectory, make_private};
use crate::deliver::delivery::Packed;
use crate::deliver::result_archive::{Taker, pack};
use crate::deliver::result_note::{ResultNote, entry};
use crate::work::{AtomConsole, AtomEnd, DeliveryOutcome, HandOut};
use bytes::Bytes;
use clusterrunner_common::api::MasterMark;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::ids::{BuildId, ExecutorIndex, Incarnation, SessionId};
use clusterrunner_common::lock::lock;
use clusterrunner_common::results::block::PackError;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
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
    pub(super) fn weight(&self) -> usize {
        let of = |atom: &AtomEnd| atom.console.weight() + atom.command.len() + size_of::<AtomEnd>();
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
            || self.weight() > LARGE
            || self.num_reports() > MANY_REPORTS
            // Of no atoms there is nothing in a file, so the others would be taken for it.
            || self.atoms.is_empty()
    }
}

/// Why there is no file of a batch.
#[derive(Debug)]
pub(super) enum PackFailure {
    /// Nobody wants it any more.
    Unwanted,
    /// It can not be written.
    Trouble(String),
}

/// Results that go together: many small ones, or one that is large.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) build: BuildId,
    pub(super) lane: u64,
    pub(super) hand_outs: Vec<HandOut>,
    is_small: bool,
    /// Tells all of the build's deliveries to stop.
    pub(super) stop: CancellationToken,
    has_turn: AtomicBool,
    place: Mutex<Place>,
}

/// Where its results are.
#[derive(Debug)]
enum Place {
    /// Not in a file yet.
    Memory(Arc<[Finished]>),
    File(PathBuf),
    Gone,
}

impl Batch {
    /// A large one; its lane is where it came from.
    pub(super) fn alone(finished: Finished, lane: u64, stop: &CancellationToken) -> Self {
        let build = finished.hand_out.build;
        Self::new(build, lane, vec![finished], stop, false, false)
    }

    /// `None` when there is nothing in it.
    pub(super) fn shared(
        finished: Vec<Finished>,
        lane: u64,
        stop: &CancellationToken,
        has_turn: bool,
    ) -> Option<Self> {
        let build = finished.first()?.hand_out.build;
        Some(Self::new(build, lane, finished, stop, true, has_turn))
    }

    fn new(
        build: BuildId,
        lane: u64,
        finished: Vec<Finished>,
        stop: &CancellationToken,
        is_small: bool,
        has_turn: bool,
    ) -> Self {
        Self {
            build,
            hand_outs: finished.iter().map(|finished| finished.hand_out).collect(),
            lane,
            is_small,
            stop: stop.clone(),
            has_turn: AtomicBool::new(has_turn),
            place: Mutex::new(Place::Memory(finished.into())),
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        lock(&self.place)
    }

    /// The same end for all of it.
    pub(super) fn all(&self, outcome: &DeliveryOutcome) -> Vec<(HandOut, DeliveryOutcome)> {
        let hand_outs = self.hand_outs.iter();
        hand_outs
            .map(|hand_out| (*hand_out, outcome.clone()))
            .collect()
    }

    /// Whether others wait for it.
    pub(super) fn has_turn(&self) -> bool {
        self.has_turn.load(Ordering::Relaxed)
    }

    /// Says whether others waited for it until now.
    pub(super) fn end_turn(&self) -> bool {
        self.has_turn.swap(false, Ordering::Relaxed)
    }

    /// Its results, if they are not in a file yet.
    pub(super) fn finished(&self) -> Option<Arc<[Finished]>> {
        match &*self.place() {
            Place::Memory(finished) => Some(Arc::clone(finished)),
            Place::File(_) | Place::Gone => None,
        }
    }

    /// Its file, if there is one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        match &*self.place() {
            Place::File(file) => Some(file.clone()),
            Place::Memory(_) | Place::Gone => None,
        }
    }

    /// Bytes of memory that it takes, more or less, where none of it is on disk.
    pub(super) fn weight(&self) -> usize {
        let finished = self.finished();
        let finished = finished.filter(|_| self.is_small);
        let weight = |finished: Arc<[Finished]>| finished.iter().map(Finished::weight).sum();
        finished.map_or(usize::MAX, weight)
    }

    /// From now on its results are in this file only, or nowhere.
    pub(super) fn lies_in(&self, file: Option<PathBuf>) {
        *self.place() = file.map_or(Place::Gone, Place::File);
    }

    /// Packs those of its results that are wanted: what is large into a file. Blocks.
    pub(super) fn pack(
        &self,
        finished: &[Finished],
        data: &DataDirectory,
        (session, master): (&SessionId, Option<MasterMark>),
        is_original: bool,
        ending: &CancellationToken,
    ) -> Result<Packed, PackFailure> {
        // What is small is worth keeping even at the end; what is large would hold it up.
        if self.stop.is_cancelled() && !(ending.is_cancelled() && self.is_small) {
            return Err(PackFailure::Unwanted);
        }
        let wanted: Vec<&Finished> = finished.iter().filter(|one| self.is_wanted(one)).collect();
        let Some(first) = wanted.first() else {
            return Err(PackFailure::Unwanted);
        };
        let note = ResultNote {
            build: self.build,
            session: session.clone(),
            master,
            results: wanted
                .iter()
                .map(|f| entry(f.hand_out, f.executor, &f.atoms))
                .collect(),
        };
        let taker = match is_original {
            true => Taker::Original,
            false => Taker::Ours,
        };
        let file = data.result_file(first.hand_out);
        let results = wanted.iter().map(|f| (f.hand_out, &f.atoms[..]));
        let write = || -> Result<Option<Vec<u8>>, PackError> {
            if self.is_small {
                let all = CancellationToken::new();
                return pack(Vec::new(), &note, results, taker, &all).map(Some);
            }
            make_private(&data.results(self.build))?;
            let out = BufWriter::new(regular_file::create(&file)?);
            pack(out, &note, results, taker, &first.stop)?.flush()?;
            Ok(None)
        };
        match write() {
            Ok(content) => {
                let (executor, content) = (Some(first.executor), content.map(Bytes::from));
                Ok(Packed::new(file, note, executor, self.is_small, content))
            }
            Err(error) => {
                // The build's clean-up removes it in any case.
                std::fs::remove_file(&file).ok();
                Err(match error {
                    PackError::Canceled => PackFailure::Unwanted,
                    PackError::Write(_) => PackFailure::Trouble(error.to_string()),
                })
            }
        }
    }

    /// A newer attempt may have been handed out; at the build's end all are told to stop, and some
    /// are kept.
    fn is_wanted(&self, finished: &Finished) -> bool {
        !finished.stop.is_cancelled() || self.stop.is_cancelled()
    }
}
