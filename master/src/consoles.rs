//! The console output of an atom: from the master's disk once the atom has a result, else from the slave that runs it,
//! through the master, so that users need not reach slaves. What is wanted and how it is shown is for each API to say.

mod follower;
mod seen;
mod stored_lines;
mod waiting;

pub(crate) use follower::{Follower, Step};
pub(crate) use waiting::happens;

use crate::read::builds::{Builds, ReadError};
use crate::store::results::{Results, StoredConsole, is_damage};
use clusterrunner_common::api::ConsoleBody;
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SessionId, SlaveId, SubjobId};
use clusterrunner_common::process::console::{ConsoleError, segment};
use clusterrunner_common::turns::Turns;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::subjob::Subjob;
use clusterrunner_core::refusal::Refusal;
use clusterrunner_core::slaves::slave::{BuildOnSlave, Slave};
use std::io;

/// Names an atom.
pub(crate) type AtomPlace = (BuildId, SubjobId, AtomId);

/// Where consoles are read.
#[derive(Clone, Debug)]
pub(crate) struct Consoles {
    /// The builds they are of.
    pub(crate) builds: Builds,
    /// Where those lie that have a result.
    pub(crate) results: Results,
    /// The way to slaves.
    pub(crate) caller: Caller,
    /// How many are read at a time.
    pub(crate) turns: Turns,
}

/// Where the output of an atom is.
#[derive(Clone, Debug)]
pub(crate) enum ConsolePlace {
    /// On the master, under this hand-out.
    Here(Attempt),
    /// On the slave that runs it.
    OnSlave(SlaveAddress),
    /// The atom has no console.
    Nowhere,
}

/// How a slave is reached, as long as it lives.
#[derive(Clone, Debug)]
pub(crate) struct SlaveAddress {
    url: String,
    session: SessionId,
}

/// Which lines are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    /// How many at most.
    pub(crate) max_lines: usize,
    /// The first; without it the last ones are given.
    pub(crate) offset_line: Option<u64>,
}

/// What a slave does of a build beside its atoms.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SlaveStep {
    /// `setup_build`.
    Setup,
    /// `teardown_build`.
    Teardown,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConsoleFailure {
    /// There is no such build or subjob, or it can not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The atom was not run in this attempt, but in these.
    #[error("there is no attempt {0}")]
    UnknownAttempt(Attempt, Vec<Attempt>),
    /// The subjob has fewer atoms.
    #[error("there is no atom {0}")]
    UnknownAtom(AtomId),
    /// Nothing is there yet, or not any more.
    #[error("there is no console output")]
    Missing,
    /// What is stored is not as it was.
    #[error("the stored results of build {0} are damaged: {1}")]
    Damaged(BuildId, #[source] io::Error),
    /// The master's disk refuses.
    #[error("a console output could not be read: {0}")]
    Disk(#[source] io::Error),
    /// The piece that was asked for is not there.
    #[error(transparent)]
    Piece(#[from] ConsoleError),
    /// The slave does not give it.
    #[error("the slave does not give the console output: {0}")]
    Slave(#[source] CallError),
}

impl From<Refusal> for ConsoleFailure {
    fn from(refusal: Refusal) -> Self {
        Self::Read(refusal.into())
    }
}

impl Lines {
    /// The same question to a slave.
    fn asked_of(self, url: String) -> String {
        let url = format!("{url}?max_lines={}", self.max_lines);
        match self.offset_line {
            Some(offset) => format!("{url}&offset_line={offset}"),
            None => url,
        }
    }
}

impl SlaveAddress {
    fn of(slave: &Slave) -> Self {
        Self {
            url: slave.url.clone(),
            session: slave.session.clone(),
        }
    }
}

impl Consoles {
    /// Where the output of an atom is: of this attempt, or of the last one that ran or runs.
    pub(crate) async fn place(
        &self,
        (build, subjob, atom): AtomPlace,
        wanted: Option<Attempt>,
    ) -> Result<ConsolePlace, ConsoleFailure> {
        let live = self.builds.live(build, move |cluster, known| {
            let state = known.subjob(subjob).ok_or(Refusal::UnknownSubjob(subjob))?;
            let counted = attempt_that_counted(state, atom)?.or(cut_off(known, subjob));
            let running = known
                .progress()
                .map_or(&known.held_at_end, |progress| &progress.running)
                .get(&subjob);
            let running = running.filter(|_| counted.is_none());
            if let Some(wanted) = wanted
                && running.is_none_or(|(_, attempt)| *attempt != wanted)
            {
                let runs = running.map(|(_, attempt)| *attempt);
                return stored_attempt(state, counted.or(runs), wanted);
            }
            let slave = running.and_then(|(slave, _)| cluster.slave(*slave));
            let on = |slave: &Slave| ConsolePlace::OnSlave(SlaveAddress::of(slave));
            let shown = known.shown_attempt(subjob, state);
            let here = || shown.map_or(ConsolePlace::Nowhere, ConsolePlace::Here);
            Ok::<_, ConsoleFailure>(slave.map_or_else(here, on))
        });
        if let Some(place) = live.await? {
            return Ok(place);
        }
        let (archived, state) = self.builds.archived_subjob(build, subjob).await?;
        let counted = attempt_that_counted(&state, atom)?.or(cut_off(&archived.build, subjob));
        if let Some(wanted) = wanted {
            return stored_attempt(&state, counted, wanted);
        }
        let shown = archived.build.shown_attempt(subjob, &state);
        Ok(shown.map_or(ConsolePlace::Nowhere, ConsolePlace::Here))
    }

    /// The whole output of an atom that has ended.
    pub(crate) async fn stored(
        &self,
        (build, subjob, atom): AtomPlace,
        attempt: Attempt,
    ) -> Result<StoredConsole, ConsoleFailure> {
        let (turn, results) = (self.turns.take().await, self.results.clone());
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let opened = results.console(build, subjob, attempt, atom);
            opened.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => ConsoleFailure::Missing,
                _ if is_damage(&error) => ConsoleFailure::Damaged(build, error),
                _ => ConsoleFailure::Disk(error),
            })
        });
        read.await.map_err(broken_off)?
    }

    /// Some lines of the output of an atom: of this attempt, or of the last one.
    pub(crate) async fn piece(
        &self,
        atom: AtomPlace,
        attempt: Option<Attempt>,
        lines: Lines,
    ) -> Result<ConsoleBody, ConsoleFailure> {
        match self.place(atom, attempt).await? {
            ConsolePlace::Here(attempt) => {
                let console = self.stored(atom, attempt).await?;
                let turn = self.turns.take().await;
                let read = tokio::task::spawn_blocking(move || {
                    let _turn = turn;
                    let Lines {
                        max_lines,
                        offset_line,
                    } = lines;
                    match console {
                        StoredConsole::Memory(text) => segment(text, max_lines, offset_line, true),
                        StoredConsole::File(text) => segment(text, max_lines, offset_line, true),
                    }
                });
                Ok(read.await.map_err(broken_off)??)
            }
            ConsolePlace::OnSlave(slave) => self.piece_on(&slave, atom, lines).await,
            ConsolePlace::Nowhere => Err(ConsoleFailure::Missing),
        }
    }

    /// Some lines of the output of an atom that this slave has.
    pub(crate) async fn piece_on(
        &self,
        slave: &SlaveAddress,
        (build, subjob, atom): AtomPlace,
        lines: Lines,
    ) -> Result<ConsoleBody, ConsoleFailure> {
        let url = format!(
            "{}/v1/build/{build}/subjob/{subjob}/atom/{atom}/console",
            slave.url
        );
        let answer = self
            .caller
            .get_from(&slave.session, &lines.asked_of(url))
            .await;
        answer.map_err(ConsoleFailure::Slave)
    }

    /// A slave that has something of a build: the one that is asked for, else one that sets it up, else
    /// one that has.
    pub(crate) async fn slave_of(
        &self,
        build: BuildId,
        asked: Option<SlaveId>,
    ) -> Result<Option<SlaveAddress>, ReadError> {
        let found = self.builds.live(build, move |cluster, _| {
            let is_asked = |slave: &&Slave| asked.is_none_or(|id| id == slave.id);
            let alive = cluster
                .slaves()
                .filter(|slave| slave.is_alive())
                .filter(is_asked);
            let having = alive.filter(|slave| slave.builds.contains_key(&build));
            let is_ready = |slave: &&Slave| slave.builds.get(&build) == Some(&BuildOnSlave::Ready);
            let first = having.min_by_key(|slave| (is_ready(slave), slave.id));
            Ok::<_, ReadError>(first.map(SlaveAddress::of))
        });
        Ok(found.await?.flatten())
    }

    /// Some lines of what a step of a build prints on this slave.
    pub(crate) async fn step_piece(
        &self,
        slave: &SlaveAddress,
        (build, step): (BuildId, SlaveStep),
        lines: Lines,
    ) -> Result<ConsoleBody, ConsoleFailure> {
        let step = match step {
            SlaveStep::Setup => "setup",
            SlaveStep::Teardown => "teardown",
        };
        let url = lines.asked_of(format!("{}/v1/build/{build}/{step}", slave.url));
        let answer = self.caller.get_from(&slave.session, &url).await;
        answer.map_err(ConsoleFailure::Slave)
    }
}

fn broken_off(error: tokio::task::JoinError) -> ConsoleFailure {
    ConsoleFailure::Disk(io::Error::other(error))
}

/// The hand-out under which lies what a subjob had printed when its build ended early.
fn cut_off(build: &Build, subjob: SubjobId) -> Option<Attempt> {
    build.cut_off.get(&subjob).copied()
}

/// The hand-out whose result an atom has, if it has one.
fn attempt_that_counted(subjob: &Subjob, atom: AtomId) -> Result<Option<Attempt>, ConsoleFailure> {
    if atom.0 as usize >= subjob.atoms.len() {
        return Err(ConsoleFailure::UnknownAtom(atom));
    }
    Ok(subjob.result.as_ref().map(|(attempt, _)| *attempt))
}

/// Where the output of an attempt is that does not run: under `counted`, or under one that failed before.
fn stored_attempt(
    subjob: &Subjob,
    counted: Option<Attempt>,
    wanted: Attempt,
) -> Result<ConsolePlace, ConsoleFailure> {
    let failed = subjob.failed_attempts().iter();
    let all: Vec<Attempt> = failed.map(|failed| failed.attempt).chain(counted).collect();
    match all.contains(&wanted) {
        true => Ok(ConsolePlace::Here(wanted)),
        false => Err(ConsoleFailure::UnknownAttempt(wanted, all)),
    }
}
