//! What a build is and where it stands.

mod state;

pub(crate) use state::Preparation;
pub use state::{BuildState, Preparations, Timestamps};

use crate::accounts::owner::Owner;
use crate::beside::Beside;
use crate::builds::children::{Child, ChildState};
use crate::builds::hunted::Hunted;
use crate::builds::mishaps::CutRun;
use crate::builds::outcome::AtomOutcome;
use crate::builds::plan::Plan;
use crate::builds::progress::Progress;
use crate::builds::status::StatusNote;
use crate::builds::subjob::Subjob;
use crate::scheduling::build_queue::Share;
use crate::scheduling::standing::Standing;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, ProjectId, SlaveId, SubjobId, UserId};
use clusterrunner_common::work::BuildRequest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A build. Stored in two parts, itself and its subjobs: there may be very many of them. A new field
/// needs `#[serde(default)]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// Its id.
    pub id: BuildId,
    /// The project that it is of.
    pub project: ProjectId,
    /// The owner of both.
    pub owner: Owner,
    /// The user that asked for it, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_by: Option<UserId>,
    /// The name of this user then: the build tells it when the user is not there any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starter_name: Option<String>,
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
    /// The builds of its matrix, if it was split into some. The counts below are theirs then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Child>,
    /// How many atoms its subjobs have.
    pub num_atoms: u64,
    /// How many subjobs have a result.
    pub num_finished: usize,
    /// How many atoms have a result.
    pub atoms_completed: u64,
    /// How many atoms have a result other than exit code 0, or are flaky where that counts as failed.
    pub atoms_failed: u64,
    /// How many of these did not end by themselves.
    pub atoms_in_trouble: u64,
    /// How many atoms passed only when they were run again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub atoms_flaky: u64,
    /// The next slave's `BUILD_EXECUTOR_INDEX`.
    pub next_executor_index: u32,
    /// The number of the event by which a subjob of it last went to a slave, or by which it was queued: since then it waits.
    #[serde(default)]
    pub turn: u64,
    /// Slaves that could not set it up, by their address.
    pub setup_failures: BTreeMap<String, SetupFailure>,
    /// The addresses of the slaves that were chosen for it: results name them when the slaves are
    /// long forgotten.
    pub slave_urls: BTreeMap<SlaveId, String>,
    /// Addresses of slaves that set it up and have not lost it since.
    pub set_up_at: BTreeSet<String>,
    /// What slaves had of it when it was canceled or failed: who, and the number of the hand-out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held_at_end: BTreeMap<SubjobId, (SlaveId, Attempt)>,
    /// Those of them that ran, and the hand-out under which lies what they had printed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cut_off: BTreeMap<SubjobId, Attempt>,
    /// Which atoms of these ran, and since when; not there where the slave had not said so yet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cut_runs: BTreeMap<SubjobId, CutRun>,
    /// Attempts of its subjobs begin after this number: a lost part of the journal may have used the numbers up to
    /// it.
    pub attempts_from: u32,
    /// What went wrong without changing its result, for the user.
    pub warnings: Vec<String>,
    /// How it went when it was prepared.
    pub preparations: Preparations,
    /// The total duration of its completed set-ups in milliseconds, and their number.
    pub(crate) setups: (u64, u64),
    /// What its state and its times do not say of its statuses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) status_notes: Vec<StatusNote>,
    /// What was found of its atoms that ran again though they had passed.
    #[serde(default, skip_serializing_if = "Hunted::is_nothing")]
    pub hunted: Hunted,
    /// What is derived from all this and from the slaves.
    #[serde(skip)]
    pub(crate) standing: Standing,
    /// A copy of the command in its plan, made when it is first asked for.
    #[serde(skip)]
    pub(crate) command: Beside<OnceLock<Arc<str>>>,
}

/// What is known of an address whose slaves could not set a build up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupFailure {
    /// The registration that failed last. The master asks it no more, but asks the next registration after the slave
    /// restarts.
    pub slave: SlaveId,
    /// How often slaves at this address failed.
    pub times: u32,
    /// Why the last one did.
    pub reason: String,
}

impl Build {
    pub(crate) fn new(
        id: BuildId,
        project: ProjectId,
        owner: Owner,
        request: BuildRequest,
        at: Timestamp,
    ) -> Self {
        Self {
            id,
            project,
            owner,
            started_by: None,
            starter_name: None,
            request,
            state: BuildState::Queued,
            timestamps: Timestamps {
                queued: Some(at),
                ..Timestamps::default()
            },
            plan: None,
            subjobs: Vec::new(),
            children: Vec::new(),
            num_atoms: 0,
            num_finished: 0,
            atoms_completed: 0,
            atoms_failed: 0,
            atoms_in_trouble: 0,
            atoms_flaky: 0,
            next_executor_index: 0,
            setup_failures: BTreeMap::new(),
            slave_urls: BTreeMap::new(),
            set_up_at: BTreeSet::new(),
            held_at_end: BTreeMap::new(),
            cut_off: BTreeMap::new(),
            cut_runs: BTreeMap::new(),
            attempts_from: 0,
            warnings: Vec::new(),
            preparations: Preparations::default(),
            setups: (0, 0),
            turn: 0,
            status_notes: Vec::new(),
            hunted: Hunted::default(),
            standing: Standing::default(),
            command: Beside::default(),
        }
    }

    /// What no other build may be prepared for meanwhile.
    pub(crate) fn preparation(&self) -> Preparation {
        match self.request.preparing_changes_project() {
            true => Preparation::Project(self.project),
            false => Preparation::Build(self.id),
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
            | BuildState::Split
            | BuildState::Archiving => false,
        }
    }

    /// Whether slaves set it up now.
    #[must_use]
    pub fn is_coming(&self) -> bool {
        self.standing.coming > 0
    }

    /// Whether it ended before all its subjobs had a result.
    #[must_use]
    pub fn ended_early(&self) -> bool {
        self.is_over() && self.state != BuildState::Finished
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
            BuildState::Building(progress) => {
                progress.unstarted.len() + progress.set_aside.len() + progress.again.len()
            }
            _ => 0,
        }
    }

    /// Its waiting subjobs that not every slave may have.
    pub fn set_aside(&self) -> impl Iterator<Item = (SubjobId, &Subjob)> {
        let ids = self.progress().into_iter();
        let ids = ids.flat_map(|progress| &progress.set_aside);
        ids.filter_map(|id| Some((*id, self.subjob(*id)?)))
    }

    /// Whether so many of its atoms have failed that the rest is not run. A child that could not be run counts as one.
    #[must_use]
    pub fn has_failed_enough(&self) -> bool {
        let most = self.max_fail();
        most.is_some_and(|most| {
            self.atoms_failed + self.num_children_in_error() >= u64::from(most.get())
        })
    }

    /// How many of its atoms have no result and get none any more.
    #[must_use]
    pub fn num_not_run(&self) -> u64 {
        match self.state {
            BuildState::Archiving
            | BuildState::Finished
            | BuildState::Error { .. }
            | BuildState::Canceled => self.num_atoms.saturating_sub(self.atoms_completed),
            BuildState::Queued
            | BuildState::Preparing
            | BuildState::Prepared
            | BuildState::Building(_)
            | BuildState::Split => 0,
        }
    }

    /// Whether it ended, or is about to, without some of its atoms, since so many others had failed.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        let is_whole = matches!(self.state, BuildState::Archiving | BuildState::Finished);
        is_whole && self.num_not_run() > 0
    }

    /// Whether an atom of a subjob of it counts as failed.
    #[must_use]
    pub fn has_failed(&self, subjob: &Subjob) -> bool {
        subjob.has_failed() || self.fails_as_flaky(subjob)
    }

    /// Whether a subjob of it counts as failed though it passed when it was run again.
    #[must_use]
    pub fn fails_as_flaky(&self, subjob: &Subjob) -> bool {
        self.flaky_fails() && subjob.is_flaky()
    }

    /// The hand-out under which lies what is shown of a subjob that no slave runs: the one that counts or was cut off,
    /// else the last one that failed.
    #[must_use]
    pub fn shown_attempt(&self, id: SubjobId, subjob: &Subjob) -> Option<Attempt> {
        let counted = subjob.result.as_ref().map(|(attempt, _)| *attempt);
        let last_failed = || Some(subjob.failed_attempts().last()?.attempt);
        let cut_off = self.cut_off.get(&id).copied();
        counted.or(cut_off).or_else(last_failed)
    }

    /// Whether a result of a subjob with these outcomes does not count, since the subjob is run again: an atom failed,
    /// and not too often yet. Subjobs with several atoms, which nothing makes today, are not run again: the others
    /// would run once more.
    #[must_use]
    pub(crate) fn runs_again(&self, subjob: &Subjob, outcomes: &[AtomOutcome]) -> bool {
        let failed = subjob.failed_attempts().len();
        outcomes.iter().any(|outcome| outcome.exit_code != 0)
            && subjob.atoms.len() == 1
            && failed < self.retries() as usize
            && !subjob.is_exhausted()
    }

    /// How often atoms of it were run to an end that was recorded, and how many of these runs failed: also the runs
    /// that do not count, since their atoms were run again.
    pub(crate) fn runs(&self) -> (u64, u64) {
        let again = self.standing.run_again;
        let passed_as_flaky = if self.flaky_fails() {
            self.atoms_flaky
        } else {
            0
        };
        let failed = self.atoms_failed.saturating_sub(passed_as_flaky);
        (self.atoms_completed + again, failed + again)
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
    pub(crate) fn has_suspects(&self) -> bool {
        let running = self.progress().into_iter().flat_map(|p| p.running.keys());
        let mut running = running.filter_map(|id| self.subjob(*id));
        self.waiting_suspect().is_some() || running.any(Subjob::is_suspect)
    }

    /// How many executors are expected to work on it; its other hand-outs are prefetch.
    #[must_use]
    pub fn num_executors(&self) -> usize {
        self.standing.executors
    }

    /// How many subjobs slaves hold, running or prefetched.
    #[must_use]
    pub fn num_running(&self) -> usize {
        self.progress().map_or(0, |progress| progress.running.len())
    }

    /// How many subjobs wait only for a result that a slave kept from an earlier life.
    #[must_use]
    pub fn num_kept(&self) -> usize {
        self.progress().map_or(0, |progress| progress.kept.len())
    }

    /// A subjob.
    #[must_use]
    pub fn subjob(&self, id: SubjobId) -> Option<&Subjob> {
        self.subjobs.get(id.0 as usize).map(Arc::as_ref)
    }

    /// Whether it ended without atoms and its job does not allow that.
    #[must_use]
    pub fn lacks_atoms(&self) -> bool {
        let lacks = ChildState::Finished { lacks_atoms: true };
        if self.children.iter().any(|child| child.state == lacks) {
            return self.state == BuildState::Finished;
        }
        let is_allowed = self.plan.as_ref().is_some_and(|plan| plan.allow_no_atoms);
        self.state == BuildState::Finished && self.num_atoms == 0 && !is_allowed
    }

    #[expect(
        clippy::expect_used,
        reason = "events name what exists; a journal that does not is damaged"
    )]
    pub(crate) fn subjob_mut(&mut self, id: SubjobId) -> &mut Subjob {
        let subjob = self.subjobs.get_mut(id.0 as usize);
        Arc::make_mut(subjob.expect("events name subjobs that exist"))
    }

    /// Ids and subjobs, in order.
    pub fn numbered_subjobs(&self) -> impl Iterator<Item = (SubjobId, &Subjob)> {
        let subjobs = self.subjobs.iter().map(Arc::as_ref);
        (0..).map(SubjobId).zip(subjobs)
    }

    pub(crate) fn share(&self) -> Share {
        Share::of(self.standing.executors, self.weight(), self.turn)
    }

    /// How long its set-up takes on a slave, in milliseconds, as far as that is known.
    #[must_use]
    pub fn setup_ms(&self) -> Option<u64> {
        self.setups.0.checked_div(self.setups.1)
    }

    /// How long the atom ran of a subjob that was cut off: until the build ended. None where it is not known since when.
    #[must_use]
    pub fn cut_run(&self, id: SubjobId) -> Option<(CutRun, Duration)> {
        let run = *self.cut_runs.get(&id)?;
        let ended = self.timestamps.canceled.or(self.timestamps.error)?;
        Some((run, run.started_at.until(ended)))
    }

    pub(crate) fn note_cut_off(
        &mut self,
        subjobs: &[(SubjobId, Attempt)],
        runs: &[(SubjobId, CutRun)],
    ) {
        self.cut_off.extend(subjobs.iter().copied());
        self.cut_runs.extend(runs.iter().copied());
    }

    pub(crate) fn note_setup_failure(&mut self, slave: SlaveId, url: String, reason: &str) {
        let failure = self.setup_failures.entry(url).or_insert(SetupFailure {
            slave,
            times: 0,
            reason: String::new(),
        });
        failure.slave = slave;
        failure.times += 1;
        reason.clone_into(&mut failure.reason);
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde asks for"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
