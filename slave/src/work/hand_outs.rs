//! The life of a hand-out: it waits, runs, is packed, is delivered.

use super::{
    Effect, HandOut, MAX_WAITING, Refusal, RunOrder, RunOutcome, Stage, Step, Waiting, Work,
    setup_failed,
};
use clusterrunner_common::ids::ExecutorIndex;

impl Work {
    pub(super) fn start_subjob(
        &mut self,
        new: Waiting,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let hand_out = new.hand_out;
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
        self.waiting.push_back(new);
        Ok(())
    }

    /// Gives free executors what may run, in the order in which it came.
    pub(super) fn start_waiting(&mut self, effects: &mut Vec<Effect>) {
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
            build.active.insert(hand_out, Step::Running { executor });
            self.executors[free] = Some(hand_out);
            effects.push(Effect::Run(RunOrder {
                hand_out,
                executor,
                build_executor_index: build.start_index.saturating_add(index),
                project_directory: project.directory.clone(),
                atomic_commands: waiting.atomic_commands,
                timeout: waiting.timeout,
            }));
        }
    }

    pub(super) fn may_run(&self, hand_out: HandOut) -> bool {
        self.builds.get(&hand_out.build).is_some_and(|build| {
            matches!(build.stage, Stage::Ready(_))
                && !build
                    .active
                    .iter()
                    .any(|(other, step)| other.subjob == hand_out.subjob && step.uses_artifacts())
        })
    }

    pub(super) fn run_ended(
        &mut self,
        hand_out: HandOut,
        outcome: RunOutcome,
        effects: &mut Vec<Effect>,
    ) {
        for executor in &mut self.executors {
            executor.take_if(|running| *running == hand_out);
        }
        let trouble = match outcome {
            RunOutcome::Completed(atoms) => {
                let Some(Step::Running { executor }) = self.step_that_counts(hand_out) else {
                    return self.step_ended(hand_out, None, effects);
                };
                self.advance(hand_out, Step::Packing { executor });
                return effects.push(Effect::Pack { hand_out, atoms });
            }
            RunOutcome::Canceled => None,
            RunOutcome::Trouble(reason) => Some(reason),
        };
        self.step_ended(hand_out, trouble, effects);
    }

    pub(super) fn pack_ended(
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
    pub(super) fn step_that_counts(&self, hand_out: HandOut) -> Option<Step> {
        let build = self.builds.get(&hand_out.build)?;
        let is_newest = build.newest.get(&hand_out.subjob) == Some(&hand_out.attempt);
        let is_wanted = is_newest && matches!(build.stage, Stage::Ready(_));
        build.active.get(&hand_out).copied().filter(|_| is_wanted)
    }

    pub(super) fn advance(&mut self, hand_out: HandOut, step: Step) {
        if let Some(build) = self.builds.get_mut(&hand_out.build) {
            build.active.insert(hand_out, step);
        }
    }

    /// A hand-out is over. Trouble of our own is told to the master as a failed set-up: it then
    /// gives all that this slave had of the build to others.
    pub(super) fn step_ended(
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
}
