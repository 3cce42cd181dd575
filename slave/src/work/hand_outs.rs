//! The life of a hand-out: it waits, runs, is packed, is delivered.

use super::{
    AtomEnd, Build, Effect, HandOut, LearnedOfJobs, MAX_UNPACKED, MAX_WAITING, OrderedSubjob,
    Refusal, RunOrder, RunOutcome, Stage, Step, Waiting, Work, setup_failed,
};
use clusterrunner_common::ids::{Attempt, BuildId, ExecutorIndex, SubjobId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl Work {
    pub(super) fn start_subjobs(
        &mut self,
        build: BuildId,
        subjobs: Vec<OrderedSubjob>,
        timeout: Option<Duration>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if self.stopping {
            return Err(Refusal::Ending);
        }
        let Some(first) = subjobs.first().map(|first| first.subjob) else {
            return Ok(());
        };
        let subjob = first;
        let Some(known) = self.builds.get_mut(&build) else {
            return Err(Refusal::UnknownBuild { build, subjob });
        };
        if let Stage::Ending { next, .. } = &mut known.stage {
            let Some(order) = next else {
                return Err(Refusal::BuildEnding { build, subjob });
            };
            // They belong to the set-up that begins when the build is gone.
            let waiting = self.num_waiting + order.subjobs.len();
            if waiting + subjobs.len() > MAX_WAITING {
                return Err(Refusal::TooManyWaiting { waiting });
            }
            order.subjobs.extend(subjobs);
            order.timeout = timeout;
            return Ok(());
        }
        let new = known.new_ones(build, subjobs)?;
        // One that takes the place of an older attempt is counted as well: it does not matter.
        let waiting = self.num_waiting;
        if waiting + new.len() > MAX_WAITING {
            return Err(Refusal::TooManyWaiting { waiting });
        }
        for subjob in new {
            known.newest.insert(subjob.subjob, subjob.attempt);
            let older = known.attempts_of(build, subjob.subjob);
            effects.extend(older.map(|(older, _)| Effect::Cancel(*older)));
            let number = self.num_arrived;
            self.num_arrived += 1;
            self.num_waiting += 1;
            if let Some(older) = known.places.insert(subjob.subjob, number)
                && known.waiting.remove(&older).is_some()
            {
                self.num_waiting -= 1;
            }
            let waiting = Waiting {
                subjob,
                timeout,
                tried: None,
            };
            known.waiting.insert(number, waiting);
        }
        Ok(())
    }

    /// Starts hand-outs on idle executors: of the build whose turn it is, the hand-out that has waited longest.
    pub(super) fn start_waiting(&mut self, effects: &mut Vec<Effect>) {
        let num_executors = self.executors.len();
        while self.num_waiting > 0 && self.unpacked <= MAX_UNPACKED {
            let Some(free) = self.free_executor() else {
                return;
            };
            let Ok(index) = u32::try_from(free) else {
                return;
            };
            let Some((id, number)) = self.next_in_turn() else {
                return;
            };
            let Some(build) = self.builds.get_mut(&id) else {
                return;
            };
            let executor = ExecutorIndex(index);
            let order = build.next_order((id, number), executor, num_executors, &self.learned);
            let Some(order) = order else {
                return;
            };
            let hand_outs = order.hand_outs();
            self.num_waiting -= hand_outs.len();
            for hand_out in hand_outs {
                build.active.insert(hand_out, Step::Running { executor });
            }
            build.num_running += 1;
            self.executors[free] = Some(order.hand_out);
            effects.push(Effect::Run(order));
        }
    }

    /// An executor that runs no subjob; one that hunts, and is told to stop, only if there is no other.
    fn free_executor(&self) -> Option<usize> {
        let free = (0..self.executors.len()).filter(|index| self.executors[*index].is_none());
        free.min_by_key(|index| self.hunts.are_on(*index))
    }

    pub(super) fn run_ended(
        &mut self,
        hand_out: HandOut,
        outcome: RunOutcome,
        took: Duration,
        effects: &mut Vec<Effect>,
    ) {
        self.take_end(hand_out, outcome, took, effects);
        self.renew_if_settled(hand_out.build, effects);
    }

    fn take_end(
        &mut self,
        hand_out: HandOut,
        outcome: RunOutcome,
        took: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let step = self.step_of(hand_out);
        let Some(Step::Running { executor }) = step else {
            return;
        };
        if let Some(running) = self.executors.get_mut(executor.0 as usize) {
            *running = None;
        }
        self.charge(hand_out.build, took);
        if let Some(build) = self.builds.get_mut(&hand_out.build) {
            build.num_running -= 1;
        }
        let ended = (outcome, took);
        let Some(outcome) = self.take_batch_end(hand_out, executor, ended, effects) else {
            return;
        };
        let trouble = match outcome {
            RunOutcome::Completed(atoms) => {
                return self.completed(hand_out, executor, atoms, effects);
            }
            // A batch has ended above.
            RunOutcome::Canceled | RunOutcome::Batch(_) => None,
            RunOutcome::Trouble(reason) => Some(reason),
            RunOutcome::NoProject {
                atomic_commands,
                timeout,
            } => {
                let waiting = Waiting {
                    subjob: OrderedSubjob {
                        subjob: hand_out.subjob,
                        attempt: hand_out.attempt,
                        atomic_commands,
                        batch: None,
                    },
                    timeout,
                    tried: None,
                };
                return self.project_is_gone(hand_out.build, waiting, effects);
            }
        };
        self.step_ended(hand_out, trouble, effects);
    }

    /// A hand-out has a result, which is delivered if it is still wanted.
    pub(super) fn completed(
        &mut self,
        hand_out: HandOut,
        executor: ExecutorIndex,
        mut atoms: Vec<AtomEnd>,
        effects: &mut Vec<Effect>,
    ) {
        if self.step_that_counts(hand_out).is_none() {
            return self.step_ended(hand_out, None, effects);
        }
        if let Some(build) = self.builds.get_mut(&hand_out.build) {
            build.renewals = 0;
            build.batches.note_in_vain(hand_out, &mut atoms);
        }
        let weight = atoms.iter().map(weight).sum();
        self.unpacked += weight;
        self.advance(hand_out, Step::Packing { weight });
        effects.push(Effect::Deliver {
            hand_out,
            executor,
            atoms,
        });
    }

    pub(super) fn packed(&mut self, hand_out: HandOut) {
        if let Some(Step::Packing { weight }) = self.step_of(hand_out) {
            self.unpacked -= weight;
            self.advance(hand_out, Step::Delivering);
        }
    }

    fn step_of(&self, hand_out: HandOut) -> Option<Step> {
        let build = self.builds.get(&hand_out.build)?;
        build.active.get(&hand_out).copied()
    }

    /// Where a hand-out stands, if its result is still wanted.
    pub(super) fn step_that_counts(&self, hand_out: HandOut) -> Option<Step> {
        let build = self.builds.get(&hand_out.build)?;
        let is_newest = build.newest.get(&hand_out.subjob) == Some(&hand_out.attempt);
        let is_wanted = is_newest && !matches!(build.stage, Stage::Ending { .. });
        build.active.get(&hand_out).copied().filter(|_| is_wanted)
    }

    fn advance(&mut self, hand_out: HandOut, step: Step) {
        if let Some(build) = self.builds.get_mut(&hand_out.build) {
            build.active.insert(hand_out, step);
        }
    }

    /// Ends a hand-out. The slave reports its own trouble as a failed set-up, so the master hands the build's subjobs
    /// to other slaves.
    pub(super) fn step_ended(
        &mut self,
        hand_out: HandOut,
        trouble: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        self.packed(hand_out);
        let counted = self.step_that_counts(hand_out).is_some();
        if let Some(build) = self.builds.get_mut(&hand_out.build) {
            build.active.remove(&hand_out);
            build.batches.drop_in_vain(hand_out);
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

impl Build {
    /// Those of the subjobs that are not here yet, as if they came one after the other.
    fn new_ones(
        &self,
        build: BuildId,
        subjobs: Vec<OrderedSubjob>,
    ) -> Result<Vec<OrderedSubjob>, Refusal> {
        let mut newest_of_these: BTreeMap<SubjobId, Attempt> = BTreeMap::new();
        let mut new = Vec::with_capacity(subjobs.len());
        for subjob in subjobs {
            let known = newest_of_these.get(&subjob.subjob);
            match known.or_else(|| self.newest.get(&subjob.subjob)) {
                Some(newest) if subjob.attempt == *newest => continue,
                Some(newest) if subjob.attempt < *newest => {
                    return Err(Refusal::OldAttempt {
                        hand_out: subjob.of(build),
                        newest: *newest,
                    });
                }
                Some(_) | None => {}
            }
            newest_of_these.insert(subjob.subjob, subjob.attempt);
            new.push(subjob);
        }
        Ok(new)
    }

    /// What an executor runs next: the hand-out that waits under this number, alone or with others.
    fn next_order(
        &mut self,
        (id, number): (BuildId, u64),
        executor: ExecutorIndex,
        num_executors: usize,
        learned: &LearnedOfJobs,
    ) -> Option<RunOrder> {
        let batch = self.take_batch(id, number, num_executors, learned);
        let (hand_out, atomic_commands, batch, timeout, head) = match batch {
            Some((leader, batch, timeout)) => (leader, Vec::new(), Some(batch), timeout, None),
            None => {
                let waiting = self.waiting.remove(&number)?;
                self.places.remove(&waiting.subjob.subjob);
                let (hand_out, head) = (waiting.subjob.of(id), waiting.head());
                let commands = waiting.subjob.atomic_commands;
                (hand_out, commands, None, waiting.timeout, head)
            }
        };
        let project = self.ready_project()?;
        Some(RunOrder {
            hand_out,
            hunt: None,
            executor,
            build_executor_index: self.start_index.saturating_add(executor.0),
            project_directory: project.directory.clone(),
            variables: Arc::clone(&project.variables),
            atomic_commands,
            batch,
            head,
            timeout,
            image: project.image.clone(),
            junit: project.junit.clone(),
            worker: project.worker.clone(),
            isolation: project.isolation,
        })
    }

    /// What is under way of a subjob.
    pub(super) fn attempts_of(
        &self,
        build: BuildId,
        subjob: SubjobId,
    ) -> impl Iterator<Item = (&HandOut, &Step)> {
        let attempt = |attempt| HandOut {
            build,
            subjob,
            attempt: Attempt(attempt),
        };
        self.active.range(attempt(0)..=attempt(u32::MAX))
    }

    /// The arrival number of the hand-out to run next. An attempt waits until older attempts of its subjob are
    /// packed; such attempts are few.
    pub(super) fn next_number(&self, id: BuildId) -> Option<u64> {
        if !matches!(self.stage, Stage::Ready(_)) || self.num_running >= self.max_executors {
            return None;
        }
        let mut waiting = self.waiting.iter();
        let next = waiting.find(|(_, waiting)| {
            let mut older = self.attempts_of(id, waiting.subjob.subjob);
            !older.any(|(_, step)| step.uses_files())
        });
        next.map(|(number, _)| *number)
    }
}

/// How much memory an atom's result takes until it is packed.
fn weight(atom: &AtomEnd) -> usize {
    atom.console.size() + atom.command.len()
}
