//! Hunts: atoms that have their results already and run once more while executors are idle, to see whether they are flaky.
//! A hunt leaves nothing: no result, no console, no artifacts, and it is nowhere shown. It takes an executor that nothing
//! waits for, and whatever comes to this slave ends all hunts: a set-up, a subjob, a tear-down. The work waits for none of
//! them: an executor with a hunt counts as idle, and its thread begins the work as soon as what hunts there is killed.

use super::{Effect, HandOut, HuntEnd, HuntOrder, Refusal, RunOrder, RunOutcome, Stage, Work};
use clusterrunner_common::ids::{Attempt, BuildId, ExecutorIndex};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Hunts have numbers from here on, which no master gives a hand-out: so the files and processes of the two are never
/// taken for each other.
const FIRST: u32 = 1 << 31;

/// The hunts of a slave.
#[derive(Debug, Default)]
pub(super) struct Hunts {
    begun: u32,
    running: BTreeMap<HandOut, Hunt>,
}

#[derive(Debug)]
struct Hunt {
    executor: ExecutorIndex,
    is_to_end: bool,
}

impl Hunts {
    /// Whether an executor is not idle at once.
    pub(super) fn are_on(&self, executor: usize) -> bool {
        let mut running = self.running.values();
        running.any(|hunt| hunt.executor.0 as usize == executor)
    }

    /// Whether any is left of a build.
    pub(super) fn are_of(&self, build: BuildId) -> bool {
        self.running.keys().any(|hunt| hunt.build == build)
    }

    fn num_of(&self, build: BuildId) -> usize {
        let running = self.running.keys();
        running.filter(|hunt| hunt.build == build).count()
    }
}

impl Work {
    /// Whether all that there is to do here runs already.
    pub(super) fn is_quiet(&self) -> bool {
        let mut builds = self.builds.values();
        let are_ready = builds.all(|build| matches!(build.stage, Stage::Ready(_)));
        are_ready && self.num_waiting == 0 && !self.stopping
    }

    /// Begins a hunt, if nothing here could use its executor or would be disturbed.
    pub(super) fn hunt(
        &mut self,
        order: HuntOrder,
        effects: &mut Vec<Effect>,
    ) -> Result<HandOut, Refusal> {
        let build = order.build;
        let known = self.builds.get(&build).filter(|known| {
            self.is_quiet() && known.num_running + self.hunts.num_of(build) < known.max_executors
        });
        let is_idle =
            |index: &usize| self.executors[*index].is_none() && !self.hunts.are_on(*index);
        // What its master has given up may be about to end yet.
        let runs_already = |hunt: &HandOut| hunt.build == build && hunt.subjob == order.subjob;
        let mut running = self.hunts.running.keys();
        let is_new = !running.any(runs_already);
        let idle = (0..self.executors.len()).find(is_idle).filter(|_| is_new);
        let index = idle.and_then(|index| u32::try_from(index).ok());
        let (Some(known), Some(index)) = (known, index) else {
            return Err(Refusal::NoRoomToHunt { build });
        };
        let Stage::Ready(project) = &known.stage else {
            return Err(Refusal::NoRoomToHunt { build });
        };
        // A container takes long to end.
        if project.image.is_some() {
            return Err(Refusal::NoRoomToHunt { build });
        }
        self.hunts.begun = (self.hunts.begun + 1) % FIRST;
        let hand_out = HandOut {
            build,
            subjob: order.subjob,
            attempt: Attempt(FIRST + self.hunts.begun),
        };
        let executor = ExecutorIndex(index);
        effects.push(Effect::Run(RunOrder {
            hand_out,
            hunt: Some(order.attempt),
            executor,
            build_executor_index: known.start_index.saturating_add(index),
            project_directory: project.directory.clone(),
            variables: Arc::clone(&project.variables),
            atomic_commands: vec![order.command],
            batch: None,
            head: None,
            timeout: order.timeout,
            image: None,
            junit: project.junit.clone(),
            // What is hunted for is no matter of workers.
            worker: None,
            isolation: project.isolation,
        }));
        let hunt = Hunt {
            executor,
            is_to_end: false,
        };
        self.hunts.running.insert(hand_out, hunt);
        Ok(hand_out)
    }

    /// Ends these hunts.
    pub(super) fn end_hunts(&mut self, those: impl Fn(HandOut) -> bool, effects: &mut Vec<Effect>) {
        for (hand_out, hunt) in &mut self.hunts.running {
            if those(*hand_out) && !hunt.is_to_end {
                hunt.is_to_end = true;
                effects.push(Effect::Cancel(*hand_out));
            }
        }
    }

    /// Takes the end of a hunt; says whether it was one.
    pub(super) fn hunt_ended(
        &mut self,
        hand_out: HandOut,
        outcome: &mut RunOutcome,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(hunt) = self.hunts.running.remove(&hand_out) else {
            return false;
        };
        let atoms = match outcome {
            RunOutcome::Completed(atoms) => std::mem::take(atoms),
            RunOutcome::Canceled
            | RunOutcome::Batch(_)
            | RunOutcome::Trouble(_)
            | RunOutcome::NoProject { .. } => Vec::new(),
        };
        let end = match atoms.first() {
            Some(atom) if atom.exit_code == 0 => HuntEnd::Passed,
            // Perhaps it failed since it was to end.
            Some(_) if !hunt.is_to_end => HuntEnd::Failed,
            Some(_) | None => HuntEnd::Dropped,
        };
        effects.push(Effect::HuntEnded {
            hand_out,
            end,
            atoms,
        });
        self.renew_if_settled(hand_out.build, effects);
        self.clean_up_if_settled(hand_out.build, effects);
        true
    }
}

#[cfg(test)]
impl Work {
    /// What must hold of hunts after each command.
    pub(super) fn check_hunts(&self) {
        let going_on = self.hunts.running.values().filter(|hunt| !hunt.is_to_end);
        let executors: Vec<usize> = going_on.map(|hunt| hunt.executor.0 as usize).collect();
        assert!(executors.is_empty() || self.is_quiet());
        for (number, executor) in executors.iter().enumerate() {
            assert!(self.executors[*executor].is_none(), "it runs a subjob");
            assert!(!executors[..number].contains(executor), "it hunts twice");
        }
        for hunt in self.hunts.running.keys() {
            assert!(self.builds.contains_key(&hunt.build));
        }
    }
}
