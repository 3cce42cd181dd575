//! Why a build took so long: its time in parts that add up to the whole. The arithmetic is pure.
//!
//! The time of a build is cut at moments that follow each other: it was queued, its preparation began and ended, a slave was
//! chosen, the first atom began, the last one ended, the build was over. Between the first and the last atom as much as even
//! shares of all work would have taken is for the atoms; the rest has a cause each.

use super::builds::{Builds, ReadError};
use super::lists::AtSubjob;
use crate::core::Cluster;
use crate::core::builds::build::{Build, BuildState, Subjob, Timestamps};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{AtomId, BuildId, ExecutorIndex, SlaveId, SubjobId};
use std::collections::BTreeSet;
use std::ops::Range;

/// An atom that has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its subjob.
    pub subjob: SubjobId,
    /// Its id in the subjob.
    pub atom: AtomId,
    /// When it began.
    pub began: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Where it ran, if that is known.
    pub executor: (Option<SlaveId>, Option<ExecutorIndex>),
    /// Whether it was handed out more than once.
    pub is_retry: bool,
}

impl Ran {
    fn ended(&self) -> u64 {
        self.began.0.saturating_add(self.took_ms)
    }
}

/// The time of a build in milliseconds, by what it was for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// It waited for its turn to be prepared.
    pub queue: u64,
    /// Its project was fetched and its atomizers ran.
    pub preparation: u64,
    /// No slave was free.
    pub waiting_for_slaves: u64,
    /// The first slave set it up.
    pub set_up: u64,
    /// What its atoms would have taken, had they been shared out evenly.
    pub atoms: u64,
    /// By how much the longest atom is longer than that.
    pub longest_atom: u64,
    /// Executors had nothing to run while others ran.
    pub imbalance: u64,
    /// Only atoms ran that were handed out again.
    pub retries: u64,
    /// The last results came, and the archive was made.
    pub upload: u64,
}

/// A build and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Whether it is over.
    pub is_over: bool,
    /// The whole in milliseconds; the parts add up to it.
    pub whole: u64,
    /// The parts.
    pub parts: Parts,
    /// How many executors ran its atoms.
    pub num_executors: u64,
    /// The atom that took longest.
    pub longest: Option<Ran>,
}

/// Explains a build by its times and by the atoms that have run. What is not over ends `now`.
#[must_use]
pub fn explain(times: &Timestamps, ran: &[Ran], now: Timestamp) -> Explained {
    let over = times.finished.or(times.error).or(times.canceled);
    let begin = times.queued.unwrap_or(now).0;
    let end = over.unwrap_or(now).0.max(begin);
    let first = ran.iter().map(|ran| ran.began.0).min();
    let last = ran.iter().map(Ran::ended).max();
    // Clocks of slaves may differ, so each moment is at least the one before it.
    let mut at = begin;
    let mut until = |moment: Option<u64>| {
        let from = at;
        at = moment.unwrap_or(end).clamp(from, end);
        at - from
    };
    let moment = |time: Option<Timestamp>| time.map(|time| time.0);
    let queue = until(moment(times.preparing));
    let preparation = until(moment(times.prepared));
    let waiting_for_slaves = until(moment(times.building));
    let set_up = until(first);
    let running = until(last);
    let upload = end - at;
    let running = shared(ran, running);
    Explained {
        is_over: over.is_some(),
        whole: end - begin,
        parts: Parts {
            queue,
            preparation,
            waiting_for_slaves,
            set_up,
            upload,
            ..running
        },
        num_executors: num_executors(ran),
        longest: ran.iter().copied().max_by_key(|ran| ran.took_ms),
    }
}

/// What the time between the first and the last atom was for.
fn shared(ran: &[Ran], running: u64) -> Parts {
    let mut left = running;
    // No part may take more than there is.
    let mut take = |wanted: u64| {
        let taken = wanted.min(left);
        left -= taken;
        taken
    };
    let last = ran.iter().map(Ran::ended).max().unwrap_or(0);
    let at_once = ran.iter().filter(|ran| !ran.is_retry);
    let last_at_once = at_once.map(Ran::ended).max().unwrap_or(0);
    let work: u64 = ran
        .iter()
        .fold(0, |sum, ran| sum.saturating_add(ran.took_ms));
    let even = work.checked_div(num_executors(ran)).unwrap_or(0);
    let longest = ran.iter().map(|ran| ran.took_ms).max().unwrap_or(0);
    let atoms = take(even);
    let retries = take(last - last_at_once);
    let longest_atom = take(longest.saturating_sub(even));
    Parts {
        atoms,
        retries,
        longest_atom,
        imbalance: left,
        ..Parts::default()
    }
}

fn num_executors(ran: &[Ran]) -> u64 {
    let executors: BTreeSet<_> = ran.iter().map(|ran| ran.executor).collect();
    executors.len() as u64
}

impl Builds {
    /// Explains a build, wherever it is.
    ///
    /// # Errors
    /// There is no such build, or its record can not be read.
    pub async fn explained(&self, id: BuildId, now: Timestamp) -> Result<Explained, ReadError> {
        let (mut ran, mut next) = (Vec::new(), Some(AtSubjob::page(|length| 0..length)));
        while let Some(at) = next {
            let of_live = |_: &Cluster, build: &Build, numbers: Range<usize>| {
                let ids = numbers.filter_map(|number| u32::try_from(number).ok().map(SubjobId));
                let subjobs = ids.filter_map(|id| Some(ran_of(build, id, build.subjob(id)?)));
                subjobs.collect::<Vec<_>>()
            };
            let part = self.some_subjobs(id, at, of_live, ran_of).await?;
            ran.extend(part.entries.into_iter().flatten());
            next = part.next;
        }
        let times = self.seen(id, |_, build| times(build), |ended| times(&ended.build));
        Ok(explain(&times.await?, &ran, now))
    }
}

/// The times of a build; its end is there only if that is its state, since one that is canceled may have been nearly done.
fn times(build: &Build) -> Timestamps {
    match build.state {
        BuildState::Finished | BuildState::Error { .. } | BuildState::Canceled => build.timestamps,
        _ => Timestamps {
            finished: None,
            error: None,
            canceled: None,
            ..build.timestamps
        },
    }
}

/// The atoms of a subjob that have run.
fn ran_of(build: &Build, id: SubjobId, subjob: &Subjob) -> Vec<Ran> {
    let result = subjob.result.iter();
    let counted =
        result.map(|(attempt, outcomes)| (*attempt, outcomes, (subjob.slave, subjob.executor)));
    let failed = subjob.failed_attempts().iter();
    let failed = failed.map(|of| (of.attempt, &of.outcomes, (Some(of.slave), of.executor)));
    let atoms = failed
        .chain(counted)
        .flat_map(|(attempt, outcomes, executor)| {
            let numbered = (0..).map(AtomId).zip(outcomes);
            numbered.filter_map(move |(atom, outcome)| {
                Some(Ran {
                    subjob: id,
                    atom,
                    began: outcome.started_at?,
                    took_ms: outcome.duration_ms,
                    executor,
                    is_retry: attempt.0 > build.attempts_from + 1,
                })
            })
        });
    atoms.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Option<Timestamp> {
        Some(Timestamp(1_000 + ms))
    }

    fn ran(executor: u32, began: u64, took_ms: u64, is_retry: bool) -> Ran {
        Ran {
            subjob: SubjobId(0),
            atom: AtomId(0),
            began: Timestamp(1_000 + began),
            took_ms,
            executor: (Some(SlaveId(1)), Some(ExecutorIndex(executor))),
            is_retry,
        }
    }

    const NOW: Timestamp = Timestamp(1_000 + 500);

    fn times() -> Timestamps {
        Timestamps {
            queued: at(0),
            preparing: at(10),
            prepared: at(30),
            building: at(60),
            finished: at(400),
            error: None,
            canceled: None,
        }
    }

    fn sum(parts: &Parts) -> u64 {
        let Parts {
            queue,
            preparation,
            waiting_for_slaves,
            set_up,
            atoms,
            longest_atom,
            imbalance,
            retries,
            upload,
        } = parts;
        [
            queue,
            preparation,
            waiting_for_slaves,
            set_up,
            atoms,
            longest_atom,
            imbalance,
            retries,
            upload,
        ]
        .into_iter()
        .sum()
    }

    #[test]
    fn each_part_has_its_cause() {
        // Two executors: even shares of 300 ms of work are 150, the longest atom takes 200, and the second executor waits.
        let atoms = [
            ran(0, 100, 50, false),
            ran(1, 100, 200, false),
            ran(0, 320, 50, true),
        ];
        let explained = explain(&times(), &atoms, NOW);
        let expected = Parts {
            queue: 10,
            preparation: 20,
            waiting_for_slaves: 30,
            set_up: 40,
            atoms: 150,
            retries: 70,
            longest_atom: 50,
            imbalance: 0,
            upload: 30,
        };
        assert_eq!(explained.parts, expected);
        assert_eq!((explained.whole, sum(&explained.parts)), (400, 400));
        assert_eq!((explained.is_over, explained.num_executors), (true, 2));
        assert_eq!(explained.longest, Some(atoms[1]));
    }

    #[test]
    fn what_has_no_other_cause_is_imbalance() {
        let atoms = [ran(0, 60, 100, false), ran(1, 260, 100, false)];
        let parts = explain(&times(), &atoms, NOW).parts;
        assert_eq!((parts.set_up, parts.upload), (0, 40));
        assert_eq!(
            (parts.atoms, parts.longest_atom, parts.imbalance),
            (100, 0, 200)
        );
    }

    #[test]
    fn a_build_that_did_not_come_so_far_is_explained_to_its_end() {
        let waits = Timestamps {
            queued: at(0),
            preparing: at(10),
            ..Timestamps::default()
        };
        let explained = explain(&waits, &[], NOW);
        let expected = Parts {
            queue: 10,
            preparation: 490,
            ..Parts::default()
        };
        assert_eq!((explained.is_over, explained.whole), (false, 500));
        assert_eq!(explained.parts, expected);
        let failed = Timestamps {
            error: at(20),
            ..waits
        };
        assert_eq!(explain(&failed, &[], NOW).parts.preparation, 10);
    }

    /// Clocks may be wrong: whatever they say, the parts add up.
    #[test]
    fn the_parts_always_add_up() {
        let mut seed = 7_u64;
        let mut some = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 40) % 600
        };
        for _ in 0..2_000 {
            let times = Timestamps {
                queued: at(some()),
                preparing: at(some()),
                prepared: at(some()),
                building: at(some()),
                finished: at(some()),
                ..Timestamps::default()
            };
            let number = usize::try_from(some() % 5).unwrap();
            let numbers = (0_u32..).take(number);
            let atoms = numbers.map(|n| ran(n % 2, some(), some(), n % 3 == 0));
            let atoms: Vec<Ran> = atoms.collect();
            let explained = explain(&times, &atoms, NOW);
            assert_eq!(
                sum(&explained.parts),
                explained.whole,
                "{times:?} {atoms:?}"
            );
        }
    }
}
