//! What this slave is doing and may do next: builds, their subjobs, the executors. Pure.
//!
//! Life of a build here: set-up, ready, ending. It ends when the master tears it down, the set-up or this slave
//! fails, the master gave this slave up, or the process stops. It is gone when none of its hand-outs is under way and
//! the slave has cleaned up after it. A set-up that is asked for
//! meanwhile begins after that.
//!
//! Life of a hand-out: it waits, runs, is packed, is delivered. Of two attempts of one subjob the
//! newer begins when the older one is packed: a request for an atom's console names no attempt. Several hand-outs may run
//! in one process, see [`batches`].
//!
//! Builds share the executors by weight, see [`sharing`]. What they leave idle may be used by [`hunts`].

mod batches;
mod ending;
mod hand_outs;
mod hunts;
mod renewal;
mod sharing;
mod vocabulary;
pub(crate) mod workers;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;

pub(crate) use batches::{Again, BatchEnding, Verdict, judge};
pub(crate) use vocabulary::*;

use batches::{Batches, LearnedOfJobs, TriedBefore};
use clusterrunner_common::ids::{Attempt, BuildId, ExecutorIndex, SubjobId};
use hunts::Hunts;
use sharing::{Part, Sharing};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

/// How many subjobs may wait. A master prefetches fewer; the bound keeps a broken master from filling our memory.
pub(crate) const MAX_WAITING: usize = 10_000;

/// How many bytes of output may wait in memory to be packed before nothing more is begun: a disk that
/// hangs must not fill our memory.
pub(crate) const MAX_UNPACKED: usize = 64 << 20;

/// How often a build is set up again while none of its atoms can run: the set-up itself may remove the project.
const MAX_RENEWALS: u32 = 3;

/// The most notes of a build; further ones say nothing new.
const MAX_NOTES: usize = 5;

/// All work of one slave.
#[derive(Debug)]
pub(crate) struct Work {
    executors: Vec<Option<HandOut>>,
    builds: BTreeMap<BuildId, Build>,
    /// Of all builds together.
    num_waiting: usize,
    /// How many hand-outs ever came to wait: what came earlier has a lower number.
    num_arrived: u64,
    sharing: Sharing,
    hunts: Hunts,
    learned: LearnedOfJobs,
    /// Bytes of output in memory that wait to be packed.
    unpacked: usize,
    stopping: bool,
}

#[derive(Debug)]
struct Waiting {
    subjob: OrderedSubjob,
    timeout: Option<Duration>,
    /// That it ran in a batch that did not settle it.
    tried: Option<TriedBefore>,
}

#[derive(Debug)]
struct Build {
    start_index: u32,
    /// How many executors it may use.
    max_executors: usize,
    stage: Stage,
    /// The newest attempt that was handed to us, of each subjob.
    newest: BTreeMap<SubjobId, Attempt>,
    /// What waits for an executor, by the number of its arrival.
    waiting: BTreeMap<u64, Waiting>,
    /// Where each subjob stands in `waiting`: only its newest attempt waits.
    places: BTreeMap<SubjobId, u64>,
    /// What is under way.
    active: BTreeMap<HandOut, Step>,
    /// How many executors it uses.
    num_running: usize,
    /// To set it up again with.
    order: Box<SetupOrder>,
    /// How often it was set up again since anything of it ran to its end.
    renewals: u32,
    /// What its users are to be told at its end.
    notes: Vec<String>,
    /// Its share of the executors: what it had, and what is due to it.
    part: Part,
    batches: Batches,
}

#[derive(Debug)]
enum Stage {
    SettingUp,
    Ready(Project),
    /// Its project's directory is gone: when nothing of it runs any more it is set up again.
    Renewing(Project),
    Ending {
        stage: EndingStage,
        /// Whether the master waits for our `IDLE`.
        report_idle: bool,
        /// What to do after it.
        next: Option<Box<SetupOrder>>,
    },
}

#[derive(Debug)]
enum EndingStage {
    /// The set-up was told to stop.
    SetupStops,
    /// Hand-outs were told to stop.
    HandOutsStop(Option<Project>),
    CleaningUp,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Running {
        executor: ExecutorIndex,
    },
    Packing {
        /// Bytes of output in memory.
        weight: usize,
    },
    Delivering,
}

impl Step {
    /// Whether it still needs what its atoms left on the disk.
    fn uses_files(self) -> bool {
        match self {
            Self::Running { .. } | Self::Packing { .. } => true,
            Self::Delivering => false,
        }
    }
}

impl Build {
    /// A build that is being set up.
    fn new(order: &SetupOrder) -> Self {
        Self {
            start_index: order.start_index,
            max_executors: match order.job.max_executors() {
                Some(max) => usize::try_from(max.get()).unwrap_or(usize::MAX),
                None => usize::MAX,
            },
            stage: Stage::SettingUp,
            newest: BTreeMap::new(),
            waiting: BTreeMap::new(),
            places: BTreeMap::new(),
            active: BTreeMap::new(),
            num_running: 0,
            part: Part::new(order.job.rank()),
            order: Box::new(order.clone()),
            renewals: 0,
            notes: Vec::new(),
            batches: Batches::default(),
        }
    }

    /// The project, where atoms may begin.
    fn ready_project(&self) -> Option<&Project> {
        match &self.stage {
            Stage::Ready(project) => Some(project),
            Stage::SettingUp | Stage::Renewing(_) | Stage::Ending { .. } => None,
        }
    }
}

impl Work {
    /// A slave with nothing to do.
    pub(crate) fn new(num_executors: u32) -> Self {
        Self {
            executors: (0..num_executors).map(|_| None).collect(),
            builds: BTreeMap::new(),
            num_waiting: 0,
            num_arrived: 0,
            sharing: Sharing::default(),
            hunts: Hunts::default(),
            learned: LearnedOfJobs::default(),
            unpacked: 0,
            stopping: false,
        }
    }

    /// Follows a command, or refuses it and changes nothing.
    ///
    /// # Errors
    /// See [`Refusal`]; reports of effects are never refused.
    pub(crate) fn handle(&mut self, command: Command) -> Result<(Answer, Vec<Effect>), Refusal> {
        let mut effects = Vec::new();
        let mut asked_for = None;
        match command {
            Command::Hunt(order) => {
                let hunt = self.hunt(order, &mut effects)?;
                return Ok((Answer::Hunting(hunt), effects));
            }
            Command::EndHunt(hunt) => self.end_hunts(|one| one == hunt, &mut effects),
            Command::EndHunts => self.end_hunts(|_| true, &mut effects),
            Command::SetUp(order) => self.set_up(order, &mut effects)?,
            Command::StartSubjobs {
                build,
                subjobs,
                timeout,
            } => {
                asked_for = subjobs.first().map(|first| first.of(build));
                self.start_subjobs(build, subjobs, timeout, &mut effects)?;
            }
            Command::TearDown(build) => self.tear_down(build, &mut effects),
            Command::Connected { resumed } => {
                // Whoever waited for them is gone.
                self.end_hunts(|_| true, &mut effects);
                self.connected(resumed, &mut effects);
            }
            Command::Stop => self.stop(&mut effects),
            Command::Note { build, text } => self.note(build, text),
            Command::SetupEnded { build, outcome } => {
                self.setup_ended(build, outcome, &mut effects);
            }
            Command::RunEnded {
                hand_out,
                mut outcome,
                took,
            } => {
                if !self.hunt_ended(hand_out, &mut outcome, &mut effects) {
                    self.run_ended(hand_out, outcome, took, &mut effects);
                }
            }
            Command::Packed(hand_outs) => {
                for hand_out in hand_outs {
                    self.packed(hand_out);
                }
            }
            Command::DeliveriesEnded(ends) => {
                for (hand_out, outcome) in ends {
                    let trouble = match outcome {
                        DeliveryOutcome::Over => None,
                        DeliveryOutcome::Rejected(reason) => Some(reason),
                    };
                    self.step_ended(hand_out, trouble, &mut effects);
                }
            }
            Command::CleanUpEnded { build, trouble } => {
                self.clean_up_ended(build, trouble, &mut effects);
            }
        }
        if !self.is_quiet() {
            self.end_hunts(|_| true, &mut effects);
        }
        self.start_waiting(&mut effects);
        let answer = match asked_for {
            Some(hand_out) => Answer::Subjobs(self.executor_of(hand_out)),
            None => Answer::Done,
        };
        Ok((answer, effects))
    }

    /// Whether the process may end.
    pub(crate) fn is_over(&self) -> bool {
        self.stopping && self.builds.is_empty()
    }

    /// Whether the process is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether an executor has nothing to do.
    pub(crate) fn has_free_executor(&self) -> bool {
        self.executors.iter().any(Option::is_none)
    }

    /// The oldest build here.
    pub(crate) fn current_build(&self) -> Option<BuildId> {
        self.builds.keys().next().copied()
    }

    /// Whether a build is being set up.
    pub(crate) fn is_setting_up(&self, build: BuildId) -> bool {
        let build = self.builds.get(&build);
        build.is_some_and(|build| matches!(build.stage, Stage::SettingUp))
    }

    /// What each executor does.
    pub(crate) fn executors(&self) -> Vec<ExecutorNow> {
        let now = |(index, running): (u32, &Option<HandOut>)| ExecutorNow {
            executor: ExecutorIndex(index),
            running: *running,
        };
        (0..).zip(&self.executors).map(now).collect()
    }

    fn executor_of(&self, hand_out: HandOut) -> Option<ExecutorIndex> {
        match self.builds.get(&hand_out.build)?.active.get(&hand_out)? {
            Step::Running { executor } => Some(*executor),
            Step::Packing { .. } | Step::Delivering => None,
        }
    }

    fn set_up(
        &mut self,
        mut order: Box<SetupOrder>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if self.stopping {
            return Err(Refusal::Ending);
        }
        let build = order.build;
        if let Some(Build {
            stage: Stage::Ending { next, .. },
            ..
        }) = self.builds.get_mut(&build)
        {
            *next = Some(order);
            return Ok(());
        }
        let (subjobs, timeout) = (std::mem::take(&mut order.subjobs), order.timeout);
        let is_ready = match self.builds.entry(build) {
            Entry::Occupied(known) => matches!(known.get().stage, Stage::Ready(_)),
            Entry::Vacant(place) => {
                place.insert(Build::new(&order));
                if let Err(refusal) = self.start_subjobs(build, subjobs, timeout, effects) {
                    self.builds.remove(&build);
                    return Err(refusal);
                }
                effects.push(Effect::SetUp(order));
                return Ok(());
            }
        };
        self.start_subjobs(build, subjobs, timeout, effects)?;
        if is_ready {
            effects.push(setup_complete(build));
        }
        Ok(())
    }

    fn setup_ended(&mut self, id: BuildId, outcome: SetupOutcome, effects: &mut Vec<Effect>) {
        let Some(build) = self.builds.get_mut(&id) else {
            return;
        };
        match (&mut build.stage, outcome) {
            (Stage::SettingUp, SetupOutcome::Complete(project)) => {
                build.stage = Stage::Ready(project);
                effects.push(setup_complete(id));
            }
            (Stage::SettingUp, SetupOutcome::Failed { reason, left }) => {
                effects.push(setup_failed(id, reason));
                // Nothing runs, and the set-up is over: only what it left is to be cleaned up.
                build.stage = Stage::Ending {
                    stage: EndingStage::HandOutsStop(left),
                    report_idle: false,
                    next: None,
                };
                self.drop_waiting(id);
                effects.push(Effect::Hurry(id));
                self.clean_up_if_settled(id, effects);
            }
            (Stage::Ending { stage, .. }, outcome) => {
                let left = match outcome {
                    SetupOutcome::Complete(project) => Some(project),
                    SetupOutcome::Failed { left, .. } => left,
                };
                *stage = EndingStage::HandOutsStop(left);
                self.clean_up_if_settled(id, effects);
            }
            (Stage::Ready(_) | Stage::Renewing(_), _) => {}
        }
    }

    fn connected(&mut self, resumed: bool, effects: &mut Vec<Effect>) {
        if resumed {
            // A master that was away may have missed it; saying it again does no harm.
            let ready = self.builds.iter();
            let ready = ready.filter(|(_, build)| matches!(build.stage, Stage::Ready(_)));
            effects.extend(ready.map(|(id, _)| setup_complete(*id)));
        } else {
            effects.push(Effect::ForgetReports);
            self.end_all(effects);
        }
    }

    /// Adds a note that users of a build get at its end.
    fn note(&mut self, build: Option<BuildId>, text: String) {
        if let Some(build) = build.or_else(|| self.current_build())
            && let Some(build) = self.builds.get_mut(&build)
            && build.notes.len() < MAX_NOTES
            && !build.notes.contains(&text)
        {
            build.notes.push(text);
        }
    }

    fn stop(&mut self, effects: &mut Vec<Effect>) {
        self.stopping = true;
        self.end_all(effects);
    }
}

fn setup_complete(build: BuildId) -> Effect {
    Effect::Report(build, BuildReport::SetUp)
}

fn setup_failed(build: BuildId, reason: String) -> Effect {
    Effect::Report(build, BuildReport::SetupFailed { reason })
}

fn torn_down(build: BuildId, trouble: Option<String>) -> Effect {
    Effect::Report(build, BuildReport::TornDown { trouble })
}
