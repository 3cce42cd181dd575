//! What a build is and where it stands.

use super::MAX_SETUPS;
use super::event::{AtomOutcome, Plan};
use super::slave::Slave;
use clusterrunner_common::build_request::BuildRequest;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
use std::collections::{BTreeMap, VecDeque};

/// A build.
#[derive(Clone, Debug, PartialEq)]
pub struct Build {
    /// Its id.
    pub id: BuildId,
    /// What was asked for.
    pub request: BuildRequest,
    /// Where it stands.
    pub state: BuildState,
    /// When it entered which state.
    pub timestamps: Timestamps,
    /// What is to be run, once that is known. Its `atoms` are empty: they are in the subjobs.
    pub plan: Option<Plan>,
    /// Its subjobs; the index is the id.
    pub subjobs: Vec<Subjob>,
    /// How many atoms its subjobs have.
    pub num_atoms: u64,
    /// How many subjobs have a result.
    pub num_finished: usize,
    /// How many atoms have a result.
    pub atoms_completed: u64,
    /// How many atoms have a result other than exit code 0.
    pub atoms_failed: u64,
    /// The next slave's `BUILD_EXECUTOR_INDEX`.
    pub next_executor_index: u32,
    /// Slaves that could not set it up, by their address.
    pub setup_failures: BTreeMap<String, SetupFailure>,
}

/// What is known of an address whose slaves could not set a build up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupFailure {
    /// The registration that failed last. It is not asked again; one after a restart is.
    pub slave: SlaveId,
    /// How often slaves at this address failed.
    pub times: u32,
    /// Why the last one did.
    pub reason: String,
}

/// Where a build stands.
#[derive(Clone, Debug, PartialEq)]
pub enum BuildState {
    /// It waits for its turn to be prepared.
    Queued,
    /// Its project is fetched and its atoms are found.
    Preparing,
    /// Its subjobs wait for a first slave.
    Prepared,
    /// Slaves were chosen and run its subjobs.
    Building(Progress),
    /// All results are in; the archives are made.
    Archiving,
    /// The archives are there.
    Finished,
    /// It could not be run.
    Error {
        /// Why, for the user.
        reason: String,
    },
    /// Somebody canceled it.
    Canceled,
}

/// Which subjobs still have no result.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Those that no slave has, in the order in which they are handed out.
    pub unstarted: VecDeque<SubjobId>,
    /// Those that a slave has: who, and the number of the hand-out.
    pub running: BTreeMap<SubjobId, (SlaveId, Attempt)>,
    /// Those whose result a slave has from an earlier life of it: who, and the number of the hand-out.
    pub kept: BTreeMap<SubjobId, (SlaveId, Attempt)>,
}

impl Progress {
    /// Whether a slave has the subjob or its result.
    #[must_use]
    pub fn is_in_progress(&self, subjob: SubjobId) -> bool {
        self.running.contains_key(&subjob) || self.kept.contains_key(&subjob)
    }
}

/// A batch of atoms that is handed out as one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjob {
    /// Its atoms, such as `export TEST="x";`; the index is the id.
    pub atoms: Vec<String>,
    /// How often it was handed out.
    pub attempts: u32,
    /// Who had it last.
    pub slave: Option<SlaveId>,
    /// Why its last hand-out brought no result.
    pub last_return: Option<String>,
    /// Its result: the hand-out that counted, and one outcome for each atom.
    pub result: Option<(Attempt, Vec<AtomOutcome>)>,
}

/// When a build entered which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamps {
    /// It was accepted.
    pub queued: Option<Timestamp>,
    /// Its preparation began.
    pub preparing: Option<Timestamp>,
    /// Its subjobs were known.
    pub prepared: Option<Timestamp>,
    /// Its first slave was chosen.
    pub building: Option<Timestamp>,
    /// Its archives were there.
    pub finished: Option<Timestamp>,
    /// It failed.
    pub error: Option<Timestamp>,
    /// It was canceled.
    pub canceled: Option<Timestamp>,
}

impl Build {
    pub(super) fn new(id: BuildId, request: BuildRequest, at: Timestamp) -> Self {
        Self {
            id,
            request,
            state: BuildState::Queued,
            timestamps: Timestamps {
                queued: Some(at),
                ..Timestamps::default()
            },
            plan: None,
            subjobs: Vec::new(),
            num_atoms: 0,
            num_finished: 0,
            atoms_completed: 0,
            atoms_failed: 0,
            next_executor_index: 0,
            setup_failures: BTreeMap::new(),
        }
    }

    /// Whether nothing will change any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self.state {
            BuildState::Finished | BuildState::Error { .. } | BuildState::Canceled => true,
            BuildState::Queued
            | BuildState::Preparing
            | BuildState::Prepared
            | BuildState::Building(_)
            | BuildState::Archiving => false,
        }
    }

    /// Whether slaves may work on it.
    #[must_use]
    pub fn wants_slaves(&self) -> bool {
        matches!(self.state, BuildState::Prepared | BuildState::Building(_))
    }

    /// The subjobs without a result, while slaves may work on it.
    #[must_use]
    pub fn progress(&self) -> Option<&Progress> {
        match &self.state {
            BuildState::Building(progress) => Some(progress),
            _ => None,
        }
    }

    /// How many subjobs wait for a slave.
    #[must_use]
    pub fn num_unstarted(&self) -> usize {
        match &self.state {
            BuildState::Prepared => self.subjobs.len(),
            BuildState::Building(progress) => progress.unstarted.len(),
            _ => 0,
        }
    }

    /// How many executors work on it.
    #[must_use]
    pub fn num_running(&self) -> usize {
        self.progress().map_or(0, |progress| progress.running.len())
    }

    /// How many results are only to be delivered.
    #[must_use]
    pub fn num_kept(&self) -> usize {
        self.progress().map_or(0, |progress| progress.kept.len())
    }

    /// How many executors may work on it at a time.
    #[must_use]
    pub fn max_executors(&self) -> usize {
        let limit = self.plan.as_ref().and_then(|plan| plan.max_executors);
        limit.map_or(usize::MAX, |limit| limit.get() as usize)
    }

    /// How many executors of one slave may work on it at a time.
    #[must_use]
    pub fn max_executors_per_slave(&self) -> usize {
        let limit = self
            .plan
            .as_ref()
            .and_then(|plan| plan.max_executors_per_slave);
        limit.map_or(usize::MAX, |limit| limit.get() as usize)
    }

    /// A subjob.
    #[must_use]
    pub fn subjob(&self, id: SubjobId) -> Option<&Subjob> {
        self.subjobs.get(id.0 as usize)
    }

    pub(super) fn subjob_mut(&mut self, id: SubjobId) -> &mut Subjob {
        self.subjobs
            .get_mut(id.0 as usize)
            .expect("events name subjobs that exist")
    }

    /// Ids and subjobs, in order.
    pub fn numbered_subjobs(&self) -> impl Iterator<Item = (SubjobId, &Subjob)> {
        (0..).map(SubjobId).zip(&self.subjobs)
    }

    /// Whether it is worth while to ask a slave to set it up: this registration has not failed at
    /// it, and its address not too often.
    #[must_use]
    pub fn may_be_set_up_by(&self, slave: &Slave) -> bool {
        self.setup_failures
            .get(&slave.url)
            .is_none_or(|failure| failure.slave != slave.id && failure.times < MAX_SETUPS)
    }

    pub(super) fn note_setup_failure(&mut self, slave: SlaveId, url: String, reason: &str) {
        let failure = self.setup_failures.entry(url).or_insert(SetupFailure {
            slave,
            times: 0,
            reason: String::new(),
        });
        failure.slave = slave;
        failure.times += 1;
        reason.clone_into(&mut failure.reason);
    }

    /// Enters the state in which slaves run it, if it is not there yet.
    pub(super) fn start_building(&mut self, at: Timestamp) {
        if self.state == BuildState::Prepared {
            self.timestamps.building = Some(at);
            self.state = BuildState::Building(Progress {
                unstarted: self.numbered_subjobs().map(|(id, _)| id).collect(),
                running: BTreeMap::new(),
                kept: BTreeMap::new(),
            });
        }
    }

    /// Takes all that `slave` runs back into the queue, to its front: it has waited longest.
    pub(super) fn take_back(&mut self, slave: SlaveId, reason: &str) {
        let BuildState::Building(progress) = &self.state else {
            return;
        };
        let held: Vec<SubjobId> = progress
            .running
            .iter()
            .filter(|(_, (holder, _))| *holder == slave)
            .map(|(subjob, _)| *subjob)
            .collect();
        for subjob in held.into_iter().rev() {
            self.return_subjob(subjob, reason);
        }
    }

    /// Notes that a slave has a subjob now.
    pub(super) fn hand_out(&mut self, subjob: SubjobId, slave: SlaveId, attempt: Attempt) {
        let handed_out = self.subjob_mut(subjob);
        handed_out.attempts = attempt.0;
        handed_out.slave = Some(slave);
        if let BuildState::Building(progress) = &mut self.state {
            // It is the first in all but hand-made cases, and the queue may be very long.
            if progress.unstarted.front() == Some(&subjob) {
                progress.unstarted.pop_front();
            } else {
                progress.unstarted.retain(|waiting| *waiting != subjob);
            }
            progress.running.insert(subjob, (slave, attempt));
        }
    }

    /// Notes that a slave still has the result of a subjob that waits for another.
    pub(super) fn keep(&mut self, subjob: SubjobId, slave: SlaveId, attempt: Attempt) {
        if let BuildState::Building(progress) = &mut self.state {
            progress.unstarted.retain(|waiting| *waiting != subjob);
            progress.kept.insert(subjob, (slave, attempt));
        }
        let kept = self.subjob_mut(subjob);
        kept.slave = Some(slave);
        kept.last_return = None;
    }

    /// Records the result of a subjob.
    pub(super) fn finish_subjob(
        &mut self,
        subjob: SubjobId,
        attempt: Attempt,
        outcomes: Vec<AtomOutcome>,
    ) {
        if let BuildState::Building(progress) = &mut self.state {
            progress.running.remove(&subjob);
            progress.kept.remove(&subjob);
        }
        let failed = outcomes
            .iter()
            .filter(|outcome| outcome.exit_code != 0)
            .count();
        self.num_finished += 1;
        self.atoms_completed += outcomes.len() as u64;
        self.atoms_failed += failed as u64;
        let finished = self.subjob_mut(subjob);
        finished.last_return = None;
        finished.result = Some((attempt, outcomes));
    }

    pub(super) fn return_subjob(&mut self, subjob: SubjobId, reason: &str) {
        if let BuildState::Building(progress) = &mut self.state {
            progress.running.remove(&subjob);
            progress.kept.remove(&subjob);
            progress.unstarted.push_front(subjob);
        }
        self.subjob_mut(subjob).last_return = Some(reason.to_owned());
    }
}

impl Subjob {
    pub(super) fn new(atoms: Vec<String>) -> Self {
        Self {
            atoms,
            attempts: 0,
            slave: None,
            last_return: None,
            result: None,
        }
    }

    /// The number of the next hand-out.
    #[must_use]
    pub fn next_attempt(&self) -> Attempt {
        Attempt(self.attempts).next()
    }
}
