//! What this slave is doing and may do next: builds, their subjobs, the executors. Pure.
//!
//! Life of a build here: set-up, ready, ending. It ends when the master says so, when its set-up
//! or this slave fails it, when the master has forgotten us, or when the process stops; and it is
//! gone when nothing of it runs any more and what it left is cleaned up. A set-up that is asked for
//! meanwhile begins after that.
//!
//! Life of a hand-out: it waits, runs, is packed, is delivered. Two attempts of one subjob share a
//! directory for artifacts, so a newer one begins when the older one is out of it.

mod vocabulary;

#[cfg(test)]
mod tests;

pub(crate) use vocabulary::*;

use clusterrunner_common::api::{ExecutorView, SlaveState};
use clusterrunner_common::ids::{Attempt, BuildId, ExecutorIndex, SubjobId};
use std::collections::{BTreeMap, VecDeque};

/// How many subjobs may wait. Masters keep a slave's queue little longer than its executors; the
/// bound only keeps a broken one from filling our memory.
pub(crate) const MAX_WAITING: usize = 10_000;

/// All work of one slave.
#[derive(Debug)]
pub(crate) struct Work {
    executors: Vec<Option<HandOut>>,
    waiting: VecDeque<Waiting>,
    builds: BTreeMap<BuildId, Build>,
    stopping: bool,
}

#[derive(Debug)]
struct Waiting {
    hand_out: HandOut,
    atomic_commands: Vec<String>,
}

#[derive(Debug)]
struct Build {
    start_index: u32,
    stage: Stage,
    /// The newest attempt that was handed to us, of each subjob.
    newest: BTreeMap<SubjobId, Attempt>,
    /// What is under way.
    active: BTreeMap<HandOut, Step>,
}

#[derive(Debug)]
enum Stage {
    SettingUp,
    Ready(Project),
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
        num_atoms: u32,
    },
    Packing {
        executor: ExecutorIndex,
    },
    Delivering,
}

impl Step {
    /// Whether it still needs the subjob's artifact directories.
    fn uses_artifacts(self) -> bool {
        match self {
            Self::Running { .. } | Self::Packing { .. } => true,
            Self::Delivering => false,
        }
    }
}

impl Work {
    /// A slave with nothing to do.
    pub(crate) fn new(num_executors: u32) -> Self {
        Self {
            executors: (0..num_executors).map(|_| None).collect(),
            waiting: VecDeque::new(),
            builds: BTreeMap::new(),
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
            Command::SetUp(order) => self.set_up(order, &mut effects)?,
            Command::StartSubjob {
                hand_out,
                atomic_commands,
            } => {
                asked_for = Some(hand_out);
                self.start_subjob(hand_out, atomic_commands, &mut effects)?;
            }
            Command::TearDown(build) => self.tear_down(build, &mut effects),
            Command::Connected { resumed } => self.connected(resumed, &mut effects),
            Command::Stop => self.stop(&mut effects),
            Command::SetupEnded { build, outcome } => {
                self.setup_ended(build, outcome, &mut effects);
            }
            Command::RunEnded { hand_out, outcome } => {
                self.run_ended(hand_out, outcome, &mut effects);
            }
            Command::PackEnded { hand_out, trouble } => {
                self.pack_ended(hand_out, trouble, &mut effects);
            }
            Command::DeliveryEnded { hand_out, outcome } => {
                let trouble = match outcome {
                    DeliveryOutcome::Over => None,
                    DeliveryOutcome::Rejected(reason) => Some(reason),
                };
                self.step_ended(hand_out, trouble, &mut effects);
            }
            Command::CleanUpEnded { build } => self.clean_up_ended(build, &mut effects),
        }
        self.start_waiting(&mut effects);
        let answer = match asked_for {
            Some(hand_out) => Answer::Subjob(self.executor_of(hand_out)),
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

    /// The oldest build here.
    pub(crate) fn current_build(&self) -> Option<BuildId> {
        self.builds.keys().next().copied()
    }

    /// What each executor does.
    pub(crate) fn executors(&self) -> Vec<ExecutorView> {
        let view = |(id, running): (u32, &Option<HandOut>)| ExecutorView {
            id: ExecutorIndex(id),
            current_build: running.map(|hand_out| hand_out.build),
            current_subjob: running.map(|hand_out| hand_out.subjob),
        };
        (0..).zip(&self.executors).map(view).collect()
    }

    fn executor_of(&self, hand_out: HandOut) -> Option<ExecutorIndex> {
        let mut executors = (0..).zip(&self.executors);
        let (index, _) = executors.find(|(_, running)| **running == Some(hand_out))?;
        Some(ExecutorIndex(index))
    }

    fn set_up(&mut self, order: Box<SetupOrder>, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        if self.stopping {
            return Err(Refusal::Ending);
        }
        let build = order.build;
        match self.builds.get_mut(&build).map(|build| &mut build.stage) {
            None => {
                self.builds.insert(
                    build,
                    Build {
                        start_index: order.start_index,
                        stage: Stage::SettingUp,
                        newest: BTreeMap::new(),
                        active: BTreeMap::new(),
                    },
                );
                effects.push(Effect::SetUp(order));
            }
            Some(Stage::SettingUp) => {}
            Some(Stage::Ready(_)) => effects.push(setup_complete(build)),
            Some(Stage::Ending { next, .. }) => *next = Some(order),
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
            (Stage::Ready(_), _) => {}
        }
    }

    fn start_subjob(
        &mut self,
        hand_out: HandOut,
        atomic_commands: Vec<String>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let HandOut {
            build,
            subjob,
            attempt,
        } = hand_out;
        if self.stopping {
            return Err(Refusal::Ending);
        }
        let Some(known) = self.builds.get_mut(&build) else {
            return Err(Refusal::UnknownBuild { build, subjob });
        };
        if matches!(known.stage, Stage::Ending { .. }) {
            return Err(Refusal::BuildEnding { build, subjob });
        }
        match known.newest.get(&subjob) {
            Some(newest) if attempt == *newest => return Ok(()),
            Some(newest) if attempt < *newest => {
                return Err(Refusal::OldAttempt {
                    hand_out,
                    newest: *newest,
                });
            }
            Some(_) | None => {}
        }
        let waiting = self.waiting.len();
        if waiting >= MAX_WAITING {
            return Err(Refusal::TooManyWaiting { waiting });
        }
        known.newest.insert(subjob, attempt);
        let older = known.active.keys().filter(|other| other.subjob == subjob);
        effects.extend(older.map(|older| Effect::Cancel(*older)));
        self.waiting
            .retain(|other| (other.hand_out.build, other.hand_out.subjob) != (build, subjob));
        self.waiting.push_back(Waiting {
            hand_out,
            atomic_commands,
        });
        Ok(())
    }

    /// Gives free executors what may run, in the order in which it came.
    fn start_waiting(&mut self, effects: &mut Vec<Effect>) {
        while let Some(free) = self.executors.iter().position(Option::is_none) {
            let may_run = |waiting: &Waiting| self.may_run(waiting.hand_out);
            let Some(next) = self.waiting.iter().position(may_run) else {
                return;
            };
            let (Some(waiting), Ok(index)) = (self.waiting.remove(next), u32::try_from(free))
            else {
                return;
            };
            let hand_out = waiting.hand_out;
            let Some(build) = self.builds.get_mut(&hand_out.build) else {
                return;
            };
            let Stage::Ready(project) = &build.stage else {
                return;
            };
            let executor = ExecutorIndex(index);
            let num_atoms = u32::try_from(waiting.atomic_commands.len()).unwrap_or(u32::MAX);
            let step = Step::Running {
                executor,
                num_atoms,
            };
            build.active.insert(hand_out, step);
            self.executors[free] = Some(hand_out);
            effects.push(Effect::Run(RunOrder {
                hand_out,
                executor,
                build_executor_index: build.start_index.saturating_add(index),
                project_directory: project.directory.clone(),
                atomic_commands: waiting.atomic_commands,
            }));
        }
    }

    fn may_run(&self, hand_out: HandOut) -> bool {
        self.builds.get(&hand_out.build).is_some_and(|build| {
            matches!(build.stage, Stage::Ready(_))
                && !build
                    .active
                    .iter()
                    .any(|(other, step)| other.subjob == hand_out.subjob && step.uses_artifacts())
        })
    }

    fn run_ended(&mut self, hand_out: HandOut, outcome: RunOutcome, effects: &mut Vec<Effect>) {
        for executor in &mut self.executors {
            executor.take_if(|running| *running == hand_out);
        }
        let trouble = match outcome {
            RunOutcome::Completed => {
                let Some(Step::Running {
                    executor,
                    num_atoms,
                }) = self.step_that_counts(hand_out)
                else {
                    return self.step_ended(hand_out, None, effects);
                };
                self.advance(hand_out, Step::Packing { executor });
                return effects.push(Effect::Pack {
                    hand_out,
                    num_atoms,
                });
            }
            RunOutcome::Canceled => None,
            RunOutcome::Trouble(reason) => Some(reason),
        };
        self.step_ended(hand_out, trouble, effects);
    }

    fn pack_ended(
        &mut self,
        hand_out: HandOut,
        trouble: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        match self.step_that_counts(hand_out) {
            Some(Step::Packing { executor }) if trouble.is_none() => {
                self.advance(hand_out, Step::Delivering);
                effects.push(Effect::Deliver { hand_out, executor });
            }
            _ => self.step_ended(hand_out, trouble, effects),
        }
    }

    /// Where a hand-out stands, if its result is still wanted.
    fn step_that_counts(&self, hand_out: HandOut) -> Option<Step> {
        let build = self.builds.get(&hand_out.build)?;
        let is_newest = build.newest.get(&hand_out.subjob) == Some(&hand_out.attempt);
        let is_wanted = is_newest && matches!(build.stage, Stage::Ready(_));
        build.active.get(&hand_out).copied().filter(|_| is_wanted)
    }

    fn advance(&mut self, hand_out: HandOut, step: Step) {
        if let Some(build) = self.builds.get_mut(&hand_out.build) {
            build.active.insert(hand_out, step);
        }
    }

    /// A hand-out is over. Trouble of our own is told to the master as a failed set-up: it then
    /// gives all that this slave had of the build to others.
    fn step_ended(
        &mut self,
        hand_out: HandOut,
        trouble: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        let counted = self.step_that_counts(hand_out).is_some();
        if let Some(build) = self.builds.get_mut(&hand_out.build) {
            build.active.remove(&hand_out);
        }
        match trouble {
            Some(reason) if counted => {
                effects.push(setup_failed(hand_out.build, reason));
                self.end_build(hand_out.build, false, effects);
            }
            _ => self.clean_up_if_settled(hand_out.build, effects),
        }
    }

    fn tear_down(&mut self, id: BuildId, effects: &mut Vec<Effect>) {
        match self.builds.get_mut(&id).map(|build| &mut build.stage) {
            // The answer or the report was lost: saying it again lets the master go on.
            None => effects.push(idle(id)),
            Some(Stage::Ending {
                report_idle, next, ..
            }) => {
                *report_idle = true;
                *next = None;
            }
            Some(Stage::SettingUp | Stage::Ready(_)) => self.end_build(id, true, effects),
        }
    }

    /// Cancels what runs, drops what waits. Undelivered results are dropped too: a master tears a
    /// build down only when it has every result of this slave, or wants no more of them.
    fn end_build(&mut self, id: BuildId, report_idle: bool, effects: &mut Vec<Effect>) {
        let dropped = self.drop_waiting(id);
        let Some(build) = self.builds.get_mut(&id) else {
            return;
        };
        let is_running = build.active.values().any(|step| step.uses_artifacts());
        let (stage, unfinished) = match std::mem::replace(&mut build.stage, Stage::SettingUp) {
            Stage::SettingUp => (EndingStage::SetupStops, true),
            Stage::Ready(project) => (
                EndingStage::HandOutsStop(Some(project)),
                dropped || is_running,
            ),
            already @ Stage::Ending { .. } => {
                build.stage = already;
                return;
            }
        };
        build.stage = Stage::Ending {
            stage,
            report_idle,
            next: None,
        };
        effects.push(Effect::CancelBuild(id));
        if unfinished || self.stopping {
            effects.push(Effect::Hurry(id));
        }
        self.clean_up_if_settled(id, effects);
    }

    /// Says whether there was any.
    fn drop_waiting(&mut self, id: BuildId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting.hand_out.build != id);
        self.waiting.len() != before
    }

    fn clean_up_if_settled(&mut self, id: BuildId, effects: &mut Vec<Effect>) {
        let Some(build) = self.builds.get_mut(&id) else {
            return;
        };
        if !build.active.is_empty() {
            return;
        }
        if let Stage::Ending { stage, .. } = &mut build.stage
            && let EndingStage::HandOutsStop(project) = stage
        {
            let project = project.take();
            *stage = EndingStage::CleaningUp;
            effects.push(Effect::CleanUp { build: id, project });
        }
    }

    fn clean_up_ended(&mut self, id: BuildId, effects: &mut Vec<Effect>) {
        let Some(Build {
            stage: Stage::Ending {
                report_idle, next, ..
            },
            ..
        }) = self.builds.remove(&id)
        else {
            return;
        };
        match next {
            // Refused only while we stop, and then nobody waits for it.
            Some(order) => drop(self.set_up(order, effects)),
            None if report_idle && !self.stopping => effects.push(idle(id)),
            None => {}
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

    fn stop(&mut self, effects: &mut Vec<Effect>) {
        self.stopping = true;
        self.end_all(effects);
    }

    fn end_all(&mut self, effects: &mut Vec<Effect>) {
        for id in self.builds.keys().copied().collect::<Vec<_>>() {
            match self.builds.get_mut(&id).map(|build| &mut build.stage) {
                Some(Stage::Ending {
                    report_idle, next, ..
                }) => {
                    *report_idle = false;
                    *next = None;
                    effects.push(Effect::Hurry(id));
                }
                _ => self.end_build(id, false, effects),
            }
        }
    }
}

fn report(build: BuildId, state: SlaveState, reason: Option<String>) -> Effect {
    Effect::Report {
        build,
        state,
        reason,
    }
}

fn setup_complete(build: BuildId) -> Effect {
    report(build, SlaveState::SetupComplete, None)
}

fn setup_failed(build: BuildId, reason: String) -> Effect {
    report(build, SlaveState::SetupFailed, Some(reason))
}

fn idle(build: BuildId) -> Effect {
    report(build, SlaveState::Idle, None)
}
