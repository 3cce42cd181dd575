//! What a build is and where it stands.

use super::event::{AtomOutcome, AtomTrouble, Plan};
use super::few::Few;
use super::health::{ISOLATE_AFTER, POISON_AFTER};
use super::line::Share;
use super::load::Rank;
use super::mishaps::{Mishaps, Stored};
use super::slave::Slave;
use super::unstarted::{Place, Unstarted};
use super::{MAX_ATTEMPTS, MAX_HAND_OUTS, MAX_SETUPS};
use clusterrunner_common::build_request::BuildRequest;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

/// The exit code of an atom that is poison. No process gave it: 125 is what other programs say too
/// where they could not run a command.
pub const POISON_EXIT_CODE: i32 = 125;

/// A build. Stored in two parts, itself and its subjobs: there may be very many of them. A new field
/// needs `#[serde(default)]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Its subjobs; the index is the id. Shared with copies of the build until they change, so that a
    /// copy of a big one costs next to nothing.
    #[serde(skip)]
    pub subjobs: Vec<Arc<Subjob>>,
    /// How many atoms its subjobs have.
    pub num_atoms: u64,
    /// How many subjobs have a result.
    pub num_finished: usize,
    /// How many atoms have a result.
    pub atoms_completed: u64,
    /// How many atoms have a result other than exit code 0.
    pub atoms_failed: u64,
    /// How many of these did not end by themselves.
    #[serde(default)]
    pub atoms_in_trouble: u64,
    /// The next slave's `BUILD_EXECUTOR_INDEX`.
    pub next_executor_index: u32,
    /// Slaves that could not set it up, by their address.
    pub setup_failures: BTreeMap<String, SetupFailure>,
    /// The addresses of the slaves that were chosen for it: results name them when the slaves are
    /// long forgotten.
    #[serde(default)]
    pub slave_urls: BTreeMap<SlaveId, String>,
    /// Addresses of slaves that set it up and have not lost it since.
    #[serde(default)]
    pub set_up_at: BTreeSet<String>,
    /// What went wrong without changing its result, for the user.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// How long its set-ups took that are done, in milliseconds, and how many these are.
    #[serde(default)]
    pub(crate) setups: (u64, u64),
    /// What is derived from all this and from the slaves.
    #[serde(skip)]
    pub(crate) standing: Standing,
    #[serde(skip)]
    pub(crate) command: SharedCommand,
}

/// What is derived of a build for scheduling, kept for speed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// How many executors are taken to work on it.
    pub(super) executors: usize,
    /// How many executors it will have when the set-ups under way are done.
    pub(super) coming: usize,
    /// How many executors the slaves have that are ready for it.
    pub(super) ready_executors: usize,
    /// How long its atoms took that ended by themselves, and how many these are.
    pub(super) ended_ms: u64,
    pub(super) ended: u64,
    /// Where it stands in line, if it does.
    pub(super) in_line: Option<Share>,
}

/// Derived: [`super::Cluster::check`] compares it with what it is derived from.
impl PartialEq for Standing {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Standing {
    /// Whether a slave is ready for it.
    pub(super) fn is_ready(&self) -> bool {
        self.ready_executors > 0
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        let all = |s: &Self| {
            let executors = (s.executors, s.coming, s.ready_executors);
            (executors, s.ended_ms, s.ended, s.in_line)
        };
        all(self) == all(other)
    }

    /// Learns from a result.
    pub(super) fn observe(&mut self, outcomes: &[AtomOutcome]) {
        for outcome in outcomes.iter().filter(|outcome| outcome.trouble.is_none()) {
            self.ended_ms = self
                .ended_ms
                .saturating_add(outcome.duration_ms.min(u64::from(u32::MAX)));
            self.ended += 1;
        }
    }
}

/// A copy of the command in its plan, made when it is first asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedCommand(OnceLock<Arc<str>>);

impl PartialEq for SharedCommand {
    /// The plan says it all.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What is known of an address whose slaves could not set a build up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupFailure {
    /// The registration that failed last. It is not asked again; one after a restart is.
    pub slave: SlaveId,
    /// How often slaves at this address failed.
    pub times: u32,
    /// Why the last one did.
    pub reason: String,
}

/// Where a build stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Those that no slave has, in the order in which they are handed out.
    pub unstarted: Unstarted,
    /// Those that no slave has and not every slave may have: suspects, those with a result that
    /// could not be used, and those that went out too often. They go before the others.
    #[serde(default)]
    pub set_aside: BTreeSet<SubjobId>,
    /// Those that a slave has: who, and the number of the hand-out.
    pub running: BTreeMap<SubjobId, (SlaveId, Attempt)>,
    /// Those whose result a slave has from an earlier life of it: who, and the number of the hand-out.
    #[serde(default)]
    pub kept: BTreeMap<SubjobId, (SlaveId, Attempt)>,
}

/// A batch of atoms that is handed out as one piece. There may be very many: what is rare is apart.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Stored")]
pub struct Subjob {
    /// Its atoms, such as `export TEST="x";`; the index is the id.
    pub atoms: Few<Box<str>>,
    /// How long each of them is expected to take; none where nothing is known of the build's atoms.
    pub atoms_expected_ms: Few<u64>,
    /// How often it was handed out.
    pub attempts: u32,
    /// Who had it last.
    pub slave: Option<SlaveId>,
    pub(super) mishaps: Option<Box<Mishaps>>,
    /// Its result: the hand-out that counted, and one outcome for each atom.
    pub result: Option<(Attempt, Few<AtomOutcome>)>,
}

/// When a build entered which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
            atoms_in_trouble: 0,
            next_executor_index: 0,
            setup_failures: BTreeMap::new(),
            slave_urls: BTreeMap::new(),
            set_up_at: BTreeSet::new(),
            warnings: Vec::new(),
            setups: (0, 0),
            standing: Standing::default(),
            command: SharedCommand::default(),
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
            BuildState::Building(progress) => progress.unstarted.len() + progress.set_aside.len(),
            _ => 0,
        }
    }

    /// Its waiting subjobs that not every slave may have.
    pub fn set_aside(&self) -> impl Iterator<Item = (SubjobId, &Subjob)> {
        let ids = self.progress().into_iter();
        let ids = ids.flat_map(|progress| &progress.set_aside);
        ids.filter_map(|id| Some((*id, self.subjob(*id)?)))
    }

    /// The waiting subjob that is to run alone next.
    #[must_use]
    pub fn waiting_suspect(&self) -> Option<SubjobId> {
        let mut aside = self.set_aside();
        aside
            .find(|(_, subjob)| subjob.is_suspect())
            .map(|(id, _)| id)
    }

    /// Whether a suspect of it waits or runs.
    #[must_use]
    pub(super) fn has_suspects(&self) -> bool {
        let running = self.progress().into_iter().flat_map(|p| p.running.keys());
        let mut running = running.filter_map(|id| self.subjob(*id));
        self.waiting_suspect().is_some() || running.any(Subjob::is_suspect)
    }

    /// How many executors work on it; other hand-outs of it wait on their slaves.
    #[must_use]
    pub fn num_executors(&self) -> usize {
        self.standing.executors
    }

    /// How many subjobs slaves have.
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
        self.subjobs.get(id.0 as usize).map(Arc::as_ref)
    }

    /// The commands of a subjob's atoms, as slaves run them.
    /// The job's command, for all that is handed out of the build.
    pub(super) fn shared_command(&self) -> Option<Arc<str>> {
        let command = &self.plan.as_ref()?.command;
        let shared = self.command.0.get_or_init(|| Arc::from(&**command));
        Some(Arc::clone(shared))
    }

    pub(super) fn commands_of(&self, id: SubjobId) -> Option<Vec<String>> {
        let command = &self.plan.as_ref()?.command;
        let atoms = self.subjob(id)?.atoms.iter();
        Some(atoms.map(|atom| format!("{atom} {command}")).collect())
    }

    pub(super) fn subjob_mut(&mut self, id: SubjobId) -> &mut Subjob {
        let subjob = self.subjobs.get_mut(id.0 as usize);
        Arc::make_mut(subjob.expect("events name subjobs that exist"))
    }

    /// Ids and subjobs, in order.
    pub fn numbered_subjobs(&self) -> impl Iterator<Item = (SubjobId, &Subjob)> {
        let subjobs = self.subjobs.iter().map(Arc::as_ref);
        (0..).map(SubjobId).zip(subjobs)
    }

    /// What it asks for in a slave.
    #[must_use]
    pub fn labels(&self) -> Option<&BTreeSet<String>> {
        let labels = &self.plan.as_ref()?.labels;
        (!labels.is_empty()).then_some(labels)
    }

    /// Builds with a higher one go first.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.plan.as_ref().map_or(0, |plan| plan.priority)
    }

    /// How large its share of the executors is beside other builds of its priority.
    #[must_use]
    pub fn weight(&self) -> u32 {
        let weight = self.plan.as_ref().and_then(|plan| plan.weight);
        weight.map_or(1, NonZeroU32::get)
    }

    pub(super) fn rank(&self) -> Rank {
        Rank {
            priority: self.priority(),
            weight: self.weight(),
        }
    }

    pub(super) fn share(&self) -> Share {
        Share::of(self.standing.executors, self.weight())
    }

    /// How long its set-up takes on a slave, as far as that is known.
    pub(super) fn setup_ms(&self) -> Option<u64> {
        self.setups.0.checked_div(self.setups.1)
    }

    /// Whether a slave has all that it asks for.
    #[must_use]
    pub fn suits(&self, slave: &Slave) -> bool {
        self.labels()
            .is_none_or(|labels| labels.is_subset(&slave.labels))
    }

    /// Whether it is worth while to ask a slave to set it up: this registration has not failed at
    /// it, and its address not too often.
    #[must_use]
    pub fn may_be_set_up_by(&self, slave: &Slave) -> bool {
        let failure = self.setup_failures.get(&slave.url);
        self.suits(slave)
            && failure.is_none_or(|failure| failure.slave != slave.id && failure.times < MAX_SETUPS)
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
                unstarted: self
                    .numbered_subjobs()
                    .map(|(id, subjob)| Place::of(id, subjob))
                    .collect(),
                set_aside: BTreeSet::new(),
                running: BTreeMap::new(),
                kept: BTreeMap::new(),
            });
        }
    }

    /// Brings those of its subjobs that wait in order, after it was read.
    pub(super) fn order_unstarted(&mut self) {
        let ordered = self.ordered_unstarted();
        if let BuildState::Building(progress) = &mut self.state {
            progress.unstarted = ordered;
        }
    }

    /// Those of its subjobs that wait, each where it belongs.
    pub(super) fn ordered_unstarted(&self) -> Unstarted {
        let ids = self.progress().into_iter().flat_map(|p| p.unstarted.iter());
        ids.filter_map(|id| Some(Place::of(id, self.subjob(id)?)))
            .collect()
    }

    /// What a slave has of it.
    pub(super) fn held_by(&self, slave: SlaveId) -> Vec<SubjobId> {
        let running = self.progress().into_iter().flat_map(|p| &p.running);
        let held = running.filter(|(_, (holder, _))| *holder == slave);
        held.map(|(subjob, _)| *subjob).collect()
    }

    /// Takes all that `slave` runs back into the queue, to its front: it has waited longest.
    pub(super) fn take_back(&mut self, slave: SlaveId, reason: &str) {
        for subjob in self.held_by(slave).into_iter().rev() {
            self.return_subjob(subjob, reason);
        }
    }

    /// Counts a slave that was lost with a subjob, which waits again by now.
    pub(super) fn suspect(&mut self, id: SubjobId) {
        let subjob = self.subjob_mut(id);
        subjob.mishaps_mut().slaves_lost += 1;
        let (is_suspect, place) = (subjob.is_suspect(), Place::of(id, subjob));
        if is_suspect
            && let BuildState::Building(progress) = &mut self.state
            && progress.unstarted.remove(place)
        {
            progress.set_aside.insert(id);
        }
    }

    /// Notes that the hand-outs a slave has bring nothing although the slave is there.
    pub(super) fn waste(&mut self, slave: SlaveId) {
        for subjob in self.held_by(slave) {
            self.subjob_mut(subjob).mishaps_mut().wasted += 1;
        }
    }

    /// Notes that a slave has a subjob now.
    pub(super) fn hand_out(&mut self, subjob: SubjobId, slave: SlaveId, attempt: Attempt) {
        let handed_out = self.subjob_mut(subjob);
        // Where it stands changes with its attempts.
        let place = Place::of(subjob, handed_out);
        handed_out.attempts = attempt.0;
        handed_out.slave = Some(slave);
        handed_out.take_mishap(|mishaps| mishaps.outlived_master = false);
        if let BuildState::Building(progress) = &mut self.state {
            if !progress.unstarted.remove(place) {
                progress.set_aside.remove(&subjob);
            }
            progress.running.insert(subjob, (slave, attempt));
        }
    }

    /// Notes that a slave still has the result of a subjob that waits for another.
    pub(super) fn keep(&mut self, subjob: SubjobId, slave: SlaveId, attempt: Attempt) {
        let place = Place::of(subjob, self.subjob_mut(subjob));
        if let BuildState::Building(progress) = &mut self.state {
            progress.unstarted.remove(place);
            progress.set_aside.remove(&subjob);
            progress.kept.insert(subjob, (slave, attempt));
        }
        let kept = self.subjob_mut(subjob);
        kept.slave = Some(slave);
        kept.take_mishap(|mishaps| mishaps.last_return = None);
    }

    /// Records the result of a subjob.
    pub(super) fn finish_subjob(
        &mut self,
        subjob: SubjobId,
        attempt: Attempt,
        outcomes: &[AtomOutcome],
    ) {
        if let BuildState::Building(progress) = &mut self.state {
            progress.running.remove(&subjob);
            progress.set_aside.remove(&subjob);
            progress.kept.remove(&subjob);
        }
        let failed = outcomes
            .iter()
            .filter(|outcome| outcome.exit_code != 0)
            .count();
        let in_trouble = outcomes.iter().filter(|outcome| outcome.trouble.is_some());
        self.atoms_in_trouble += in_trouble.count() as u64;
        self.standing.observe(outcomes);
        self.num_finished += 1;
        self.atoms_completed += outcomes.len() as u64;
        self.atoms_failed += failed as u64;
        let finished = self.subjob_mut(subjob);
        let is_poison = finished.is_poison();
        finished.take_mishap(|mishaps| {
            mishaps.last_loss = mishaps.last_return.take().filter(|_| is_poison);
        });
        finished.result = Some((attempt, outcomes.iter().copied().collect()));
    }

    pub(super) fn return_subjob(&mut self, subjob: SubjobId, reason: &str) {
        let returned = self.subjob_mut(subjob);
        returned.mishaps_mut().last_return = Some(reason.to_owned());
        // What went out too often ends its build, wherever it would stand among those that wait.
        let is_for_all = !returned.is_suspect()
            && !returned.is_exhausted()
            && returned.mishaps().unusable_from.is_empty();
        let place = Place::of(subjob, returned);
        if let BuildState::Building(progress) = &mut self.state {
            progress.running.remove(&subjob);
            progress.kept.remove(&subjob);
            if is_for_all {
                progress.unstarted.insert(place);
            } else {
                progress.set_aside.insert(subjob);
            }
        }
    }
}

impl Subjob {
    pub(super) fn new(atoms: Few<Box<str>>, atoms_expected_ms: Few<u64>) -> Self {
        Self {
            atoms,
            atoms_expected_ms,
            attempts: 0,
            slave: None,
            mishaps: None,
            result: None,
        }
    }

    /// How long it is expected to take; 0 where nothing is known.
    #[must_use]
    pub fn expected_ms(&self) -> u64 {
        let atoms = self.atoms_expected_ms.iter();
        atoms.fold(0, |sum, atom| sum.saturating_add(*atom))
    }

    /// Whether it may only run alone on a slave.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.mishaps().slaves_lost >= ISOLATE_AFTER
    }

    /// Whether it went out so often without a result that its build is given up. Waiting on slaves
    /// that go away brings nothing near that: after a few times it is given to free executors only.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.mishaps().wasted >= MAX_ATTEMPTS || self.attempts >= MAX_HAND_OUTS
    }

    /// Whether it is not to be run again.
    #[must_use]
    pub fn is_poison(&self) -> bool {
        self.mishaps().slaves_lost >= POISON_AFTER
    }

    /// The result of a subjob that is poison. Every subjob has one atom; where one had several, each
    /// would have to run by itself first, so that only the guilty one fails.
    pub(super) fn poisoned(&self, slaves_lost: u32) -> Vec<AtomOutcome> {
        let outcome = |_| AtomOutcome {
            exit_code: POISON_EXIT_CODE,
            duration_ms: 0,
            trouble: Some(AtomTrouble::Poison { slaves_lost }),
        };
        self.atoms.iter().map(outcome).collect()
    }

    /// The number of the next hand-out.
    #[must_use]
    pub fn next_attempt(&self) -> Attempt {
        Attempt(self.attempts).next()
    }
}
