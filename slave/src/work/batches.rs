//! Batches: several hand-outs of a build that run in one process, on one executor. The master knows nothing of them: each
//! hand-out has its own result. What a batch does not settle waits again, in its old place, to run in a smaller batch or
//! alone.

mod learned;
mod naming;
mod plans;
mod sizes;
mod tap;
mod verdicts;

pub(crate) use verdicts::{Again, BatchEnding, Verdict, judge};

use super::{
    AtomEnd, BatchEnd, BatchMember, BatchOrder, BatchRun, Build, Effect, HandOut, RunOutcome,
    Waiting, Work,
};
use clusterrunner_common::ids::{BuildId, ExecutorIndex};
use clusterrunner_common::job::config::value_for_shell;
use clusterrunner_common::work::BatchInVain;
use learned::{Learned, Seen, expected};
use sizes::{Around, Candidate, limit, size};
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

/// How many hand-outs that wait are looked at for one batch.
const LOOKED_AT: usize = 10_000;

/// Of how many jobs a slave knows how their batches go.
const MOST_JOBS: usize = 256;

/// What batches have shown, by their command: the next build of the job begins with that.
#[derive(Debug, Default)]
pub(super) struct LearnedOfJobs(BTreeMap<Arc<str>, Learned>);

impl LearnedOfJobs {
    fn of(&self, command: &str) -> Learned {
        self.0.get(command).copied().unwrap_or_default()
    }

    fn observe(&mut self, command: &Arc<str>, seen: &Seen) {
        if self.0.len() >= MOST_JOBS && !self.0.contains_key(command) {
            self.0.pop_first();
        }
        self.0.entry(Arc::clone(command)).or_default().observe(seen);
    }
}

/// The batches of a build.
#[derive(Debug, Default)]
pub(super) struct Batches {
    /// Those that run, by the hand-out that stands for all of them.
    running: BTreeMap<HandOut, Running>,
    /// Of hand-outs that wait or run again: what batches took that did not settle them.
    in_vain: BTreeMap<HandOut, InVain>,
    /// How long the build has run batches, as far as it is known from those that have ended.
    now: Duration,
}

/// What batches took that did not settle a hand-out.
#[derive(Clone, Copy, Debug, Default)]
struct InVain {
    /// Its part of their time.
    part: Duration,
    latest: Option<BatchInVain>,
}

/// A batch that runs.
#[derive(Debug)]
struct Running {
    command: Arc<str>,
    members: Vec<Batched>,
    /// When it began and when it is expected to end, on the clock of [`Batches::now`].
    began: Duration,
    ends: Duration,
}

impl Running {
    /// What its end shows.
    fn seen(&self, took: Duration, tests: Option<Duration>) -> Seen {
        let known = self.members.iter().map(|one| one.waiting.expected());
        Seen {
            atoms: self.members.len(),
            unknown: known.clone().filter(Option::is_none).count(),
            expected: known
                .map(expected)
                .fold(Duration::ZERO, Duration::saturating_add),
            took,
            tests,
        }
    }
}

#[cfg(test)]
impl Batches {
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}

/// A hand-out that runs in a batch, as it waited.
#[derive(Debug)]
struct Batched {
    number: u64,
    waiting: Waiting,
}

/// Why a hand-out runs again that was in a batch.
#[derive(Clone, Debug)]
pub(super) struct TriedBefore {
    /// In how many hand-outs' company it may run.
    most: usize,
    /// What is printed before its output once it runs alone.
    head: Arc<str>,
}

impl Waiting {
    fn most(&self) -> Option<usize> {
        self.tried.as_ref().map(|tried| tried.most)
    }

    /// What is printed before its output.
    pub(super) fn head(&self) -> Option<Arc<str>> {
        self.tried.as_ref().map(|tried| Arc::clone(&tried.head))
    }

    fn expected(&self) -> Option<Duration> {
        let batch = self.subjob.batch.as_ref()?;
        batch.expected_ms.map(Duration::from_millis)
    }
}

impl Build {
    /// The hand-outs that run together with the one that is next, if there are such: they are taken from those that wait.
    pub(super) fn take_batch(
        &mut self,
        id: BuildId,
        next: u64,
        num_executors: usize,
        learned: &LearnedOfJobs,
    ) -> Option<(HandOut, BatchOrder, Option<Duration>)> {
        let candidates = self.candidates(id, next);
        if candidates.len() < 2 {
            return None;
        }
        let command = Arc::clone(self.ready_project()?.batch_command.as_ref()?);
        let learned = learned.of(&command);
        let running = self.batches.running.values();
        let left = running.map(|one| one.ends.saturating_sub(self.batches.now).as_secs_f64());
        let around = Around {
            executors: num_executors.min(self.max_executors),
            busy: &left.collect::<Vec<f64>>(),
        };
        let of_candidates: Vec<Candidate> = candidates.iter().map(|(_, one, _)| *one).collect();
        let size = size(&learned, &of_candidates, around);
        if size < 2 {
            return None;
        }
        let mut taken = Vec::with_capacity(size);
        let mut members = Vec::with_capacity(size);
        let mut longest = None;
        for (number, _, value) in candidates.into_iter().take(size) {
            let waiting = self.waiting.remove(&number)?;
            self.places.remove(&waiting.subjob.subjob);
            longest = longest.max(waiting.timeout);
            members.push(BatchMember {
                hand_out: waiting.subjob.of(id),
                command: waiting.subjob.atomic_commands.first()?.clone(),
                value,
            });
            taken.push(Batched { number, waiting });
        }
        let leader = members.first()?.hand_out;
        let began = self.batches.now;
        let mut running = Running {
            command: Arc::clone(&command),
            members: taken,
            began,
            ends: began,
        };
        let seen = running.seen(Duration::ZERO, None);
        let takes = learned.model(seen.unknown > 0).batch(seen.expected);
        let timeout = longest.map(|longest| limit(longest, takes));
        running.ends = began.saturating_add(Duration::try_from_secs_f64(takes).unwrap_or_default());
        self.batches.running.insert(leader, running);
        let order = BatchOrder { command, members };
        Some((leader, order, timeout))
    }

    /// What may run in one process, the hand-out that is next before all others; each with the value of its atom.
    fn candidates(&self, id: BuildId, next: u64) -> Vec<(u64, Candidate, String)> {
        let mut candidates = Vec::new();
        let project = self.ready_project();
        let project = project.filter(|project| project.batch_command.is_some());
        let Some(directory) = project.and_then(|project| project.directory.to_str()) else {
            return candidates;
        };
        for (number, waiting) in self.waiting.range(next..).take(LOOKED_AT) {
            let atom = waiting.subjob.batch.as_ref().map(|batch| &batch.atom);
            let value = atom.and_then(|atom| value_for_shell(atom, directory));
            let mut older = self.attempts_of(id, waiting.subjob.subjob);
            let is_free = !older.any(|(_, step)| step.uses_files());
            let fits = waiting.most() != Some(1) && is_free;
            match value.filter(|value| fits && !value.contains('\n')) {
                Some(value) => candidates.push((
                    *number,
                    Candidate {
                        expected: waiting.expected(),
                        bytes: value.len(),
                        most: waiting.most(),
                    },
                    value,
                )),
                // It is next, and runs alone.
                None if *number == next => return candidates,
                None => {}
            }
        }
        candidates
    }
}

/// The part of each that runs again of what a batch took for nothing.
fn in_vain(ends: &[BatchEnd], took: Duration, members: usize) -> Duration {
    let passed = ends.iter().filter_map(|end| match end {
        BatchEnd::Ended(atom) => Some(atom.took),
        BatchEnd::Again { .. } => None,
    });
    let again = members.saturating_sub(passed.clone().count()).max(1);
    let settled = passed.fold(Duration::ZERO, Duration::saturating_add);
    took.saturating_sub(settled) / u32::try_from(again).unwrap_or(u32::MAX)
}

fn in_ms(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

impl Batches {
    /// Has the result of a hand-out say how long it was in batches that did not settle it.
    pub(super) fn note_in_vain(&mut self, hand_out: HandOut, atoms: &mut [AtomEnd]) {
        if let Some(in_vain) = self.in_vain.remove(&hand_out)
            && let Some(atom) = atoms.first_mut()
        {
            atom.usage.in_vain_ms = in_ms(in_vain.part);
            atom.usage.last_in_vain = in_vain.latest;
        }
    }

    pub(super) fn drop_in_vain(&mut self, hand_out: HandOut) {
        self.in_vain.remove(&hand_out);
    }
}

impl Work {
    /// The end of what an executor ran, if that was a batch; else the outcome is given back.
    pub(super) fn take_batch_end(
        &mut self,
        leader: HandOut,
        executor: ExecutorIndex,
        (outcome, took): (RunOutcome, Duration),
        effects: &mut Vec<Effect>,
    ) -> Option<RunOutcome> {
        let build = self.builds.get_mut(&leader.build);
        let running = build.and_then(|build| {
            let running = build.batches.running.remove(&leader)?;
            build.batches.now = build.batches.now.max(running.began.saturating_add(took));
            Some(running)
        });
        let Some(running) = running else {
            return Some(outcome);
        };
        match outcome {
            RunOutcome::Batch(BatchRun {
                ends,
                tests,
                started_at,
            }) => {
                if let Some(build) = self.builds.get_mut(&leader.build) {
                    build.renewals = 0;
                }
                // One that died in the middle of its atoms shows nothing.
                let has_passed = ends.iter().any(|end| matches!(end, BatchEnd::Ended(_)));
                if has_passed || tests.is_some() {
                    let seen = running.seen(took, tests);
                    self.learned.observe(&running.command, &seen);
                }
                let in_vain = InVain {
                    part: in_vain(&ends, took, running.members.len()),
                    latest: NonZeroU64::new(started_at.0).map(|began_ms| BatchInVain {
                        began_ms,
                        took_ms: in_ms(took),
                        executor: u16::try_from(executor.0).unwrap_or(u16::MAX),
                        atoms: u16::try_from(running.members.len()).unwrap_or(u16::MAX),
                    }),
                };
                let members = running.members;
                // It has one end for each, in their order; what had none would run again alone.
                let ends = ends
                    .into_iter()
                    .map(Some)
                    .chain(std::iter::repeat_with(|| None));
                for (member, end) in members.into_iter().zip(ends) {
                    let hand_out = member.waiting.subjob.of(leader.build);
                    match end {
                        Some(BatchEnd::Ended(atom)) => {
                            self.completed(hand_out, executor, vec![*atom], effects);
                        }
                        Some(BatchEnd::Again { most, head }) => {
                            let tried = Some(TriedBefore { most, head });
                            self.wait_again(hand_out, member, (tried, in_vain), effects);
                        }
                        None => {
                            let tried = Some(TriedBefore {
                                most: 1,
                                head: "".into(),
                            });
                            self.wait_again(hand_out, member, (tried, in_vain), effects);
                        }
                    }
                }
            }
            RunOutcome::NoProject { .. } => {
                for Batched { waiting, .. } in running.members {
                    self.project_is_gone(leader.build, waiting, effects);
                }
            }
            // The stop may have been for one of them alone, of which there is a newer attempt.
            RunOutcome::Canceled | RunOutcome::Completed(_) => {
                for member in running.members {
                    let hand_out = member.waiting.subjob.of(leader.build);
                    self.wait_again(hand_out, member, (None, InVain::default()), effects);
                }
            }
            RunOutcome::Trouble(reason) => {
                for member in running.members {
                    let hand_out = member.waiting.subjob.of(leader.build);
                    self.step_ended(hand_out, Some(reason.clone()), effects);
                }
            }
        }
        None
    }

    /// Has a hand-out wait where it waited before, if its result is still wanted: with what a batch has shown of it, if it has
    /// shown something, and what that took for nothing.
    fn wait_again(
        &mut self,
        hand_out: HandOut,
        member: Batched,
        (tried, in_vain): (Option<TriedBefore>, InVain),
        effects: &mut Vec<Effect>,
    ) {
        let is_wanted = self.step_that_counts(hand_out).is_some();
        let Some(build) = self.builds.get_mut(&hand_out.build).filter(|_| is_wanted) else {
            return self.step_ended(hand_out, None, effects);
        };
        let Batched {
            number,
            mut waiting,
        } = member;
        waiting.tried = tried.or(waiting.tried);
        let before = build.batches.in_vain.entry(hand_out).or_default();
        before.part = before.part.saturating_add(in_vain.part);
        before.latest = in_vain.latest.or(before.latest);
        build.active.remove(&hand_out);
        build.places.insert(hand_out.subjob, number);
        build.waiting.insert(number, waiting);
        self.num_waiting += 1;
    }
}
