//! Why a build took so long: its time in parts that add up to the whole. The arithmetic is pure.
//!
//! The time of a build is cut at moments that follow each other: it was queued, its preparation began and ended, a slave was
//! chosen, the first atom began, the last one ended, the build was over. Between the first and the last atom as much as even
//! shares of all work would have taken is for the atoms; the rest has a cause each.

use super::builds::{Builds, ReadError};
use super::lists::AtSubjob;
use super::running::{RunningInBuild, Runs};
use crate::core::Cluster;
use crate::core::builds::build::{Build, BuildState, Timestamps};
use crate::core::builds::subjob::Subjob;
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
    /// Its part of the time of batches that did not settle it, in milliseconds.
    pub in_vain_ms: u64,
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
    /// Its project was fetched.
    pub fetch: u64,
    /// Its atomizers ran.
    pub atomizer: u64,
    /// No slave was free.
    pub waiting_for_slaves: u64,
    /// The first slave set it up.
    pub set_up: u64,
    /// The builds ran into which it was split.
    pub matrix: u64,
    /// What its atoms would have taken, had they been shared out evenly.
    pub atoms: u64,
    /// What batches took that did not settle their atoms, had that been shared out evenly.
    pub batches_in_vain: u64,
    /// By how much the longest atom is longer than that.
    pub longest_atom: u64,
    /// Executors had nothing to run while others ran.
    pub imbalance: u64,
    /// Between the first and the last atom none ran at all.
    pub nothing_ran: u64,
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
    /// What its idle executors did; none where they did nothing.
    pub hunting: Option<Hunted>,
}

/// Runs of atoms that had passed, on idle executors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hunted {
    /// How many there were.
    pub runs: u64,
    /// How long they took together, in milliseconds.
    pub ms: u64,
    /// How many of them say something of flakiness, and how many of these were flakes.
    pub trials: (u64, u64),
}

/// What is known of a build beside the atoms that run or have run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// When it entered its states.
    pub times: Timestamps,
    /// When all was fetched: the begin of its preparation where there is nothing to fetch.
    pub fetched: Option<Timestamp>,
    /// When the first slave had set it up, if it says so.
    pub set_up: Option<Timestamp>,
    /// Whether atoms ran to its end that have no result, and of which nobody knows since when they ran.
    pub was_cut_off: bool,
    /// What its idle executors did.
    pub hunting: Option<Hunted>,
    /// Whether it was split into builds of a matrix, which have the atoms.
    pub is_parent: bool,
}

/// Explains a build by what is known of it and by the atoms that have run or run. What is not over ends `now`.
#[must_use]
pub(crate) fn explain(known: &Known, ran: &[Ran], now: Timestamp) -> Explained {
    let times = &known.times;
    let over = times.finished.or(times.error).or(times.canceled);
    let begin = times.queued.unwrap_or(now).0;
    let end = over.unwrap_or(now).0.max(begin);
    let first = ran.iter().map(|ran| ran.began.0).min();
    // Nobody knows when atoms began that were cut off, nor when batches began whose atoms all ran again: at the earliest when
    // a slave was ready.
    let has_run_in_vain = ran.iter().any(|ran| ran.in_vain_ms > 0);
    let first = match known.was_cut_off || has_run_in_vain {
        true => {
            let ready = known.set_up.or(times.building).map(|time| time.0);
            match has_run_in_vain {
                true => first.map(|first| ready.map_or(first, |ready| first.min(ready))),
                false => first.or(ready),
            }
        }
        false => first,
    };
    let last = match known.was_cut_off {
        true => Some(end),
        false => ran.iter().map(Ran::ended).max(),
    };
    // Clocks of slaves may differ, so each moment is at least the one before it.
    let mut at = begin;
    let mut until = |moment: Option<u64>| {
        let from = at;
        at = moment.unwrap_or(end).clamp(from, end);
        at - from
    };
    let moment = |time: Option<Timestamp>| time.map(|time| time.0);
    let queue = until(moment(times.preparing));
    let fetch = until(moment(known.fetched.or(times.prepared)));
    let atomizer = until(moment(times.prepared));
    let matrix = match known.is_parent && times.prepared.is_some() {
        true => until(None),
        false => 0,
    };
    let waiting_for_slaves = until(moment(times.building));
    let set_up = until(first);
    let running = until(last);
    let upload = end - at;
    let running = match known.was_cut_off {
        // How long they ran is not known, only that they did.
        true => Parts {
            atoms: running,
            ..Parts::default()
        },
        false => shared(ran, running),
    };
    Explained {
        is_over: over.is_some(),
        whole: end - begin,
        parts: Parts {
            queue,
            fetch,
            atomizer,
            waiting_for_slaves,
            set_up,
            matrix,
            upload,
            ..running
        },
        num_executors: num_executors(ran),
        longest: ran.iter().copied().max_by_key(|ran| ran.took_ms),
        hunting: known.hunting,
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
    let in_vain: u64 = ran
        .iter()
        .fold(0, |sum, ran| sum.saturating_add(ran.in_vain_ms));
    let atoms = take(even);
    let batches_in_vain = take(in_vain.checked_div(num_executors(ran)).unwrap_or(0));
    // No atom that has a result ran while batches ran whose atoms all ran again.
    let nothing_ran = take(without_any(ran, 0).saturating_sub(batches_in_vain));
    let of_retries = (last - last_at_once).saturating_sub(without_any(ran, last_at_once));
    let retries = take(of_retries);
    let longest_atom = take(longest.saturating_sub(even));
    Parts {
        atoms,
        batches_in_vain,
        retries,
        longest_atom,
        nothing_ran,
        imbalance: left,
        ..Parts::default()
    }
}

/// How long no atom ran between the first one and the last one, in milliseconds; what was before a moment left out.
fn without_any(ran: &[Ran], from: u64) -> u64 {
    let mut spans: Vec<(u64, u64)> = ran.iter().map(|ran| (ran.began.0, ran.ended())).collect();
    spans.sort_unstable();
    let mut spans = spans.into_iter();
    let Some((_, first)) = spans.next() else {
        return 0;
    };
    let (_, without) = spans.fold((first, 0_u64), |(busy_until, without), (began, ended)| {
        let gap = began.saturating_sub(busy_until.max(from));
        (busy_until.max(ended), without.saturating_add(gap))
    });
    without
}

fn num_executors(ran: &[Ran]) -> u64 {
    let executors: BTreeSet<_> = ran.iter().map(|ran| ran.executor).collect();
    executors.len() as u64
}

impl Builds {
    /// Explains a build, wherever it is; `running` are the atoms of it that run.
    ///
    /// # Errors
    /// There is no such build, or its record can not be read.
    pub async fn explained(
        &self,
        id: BuildId,
        running: RunningInBuild,
        steps: Steps,
        now: Timestamp,
    ) -> Result<Explained, ReadError> {
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
        let of_live = move |cluster: &Cluster, build: &Build| {
            (known(build, steps), still(cluster, build, &running, now))
        };
        let seen = self.seen(id, of_live, |ended| {
            (known(&ended.build, steps), Vec::new())
        });
        let (known, still) = seen.await?;
        ran.extend(still);
        Ok(explain(&known, &ran, now))
    }
}

/// The ends of steps of a build that its own times do not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steps {
    /// When the fetch ended, or the atomizers began.
    pub fetched: Option<Timestamp>,
    /// When the first `setup_build` ended.
    pub set_up: Option<Timestamp>,
}

fn known(build: &Build, steps: Steps) -> Known {
    let fetched = match build.request.fetches() {
        true => steps.fetched,
        false => build.timestamps.preparing,
    };
    Known {
        times: times(build),
        fetched,
        set_up: steps.set_up,
        was_cut_off: build.cut_off.len() > build.cut_runs.len(),
        hunting: (!build.hunted.is_empty()).then(|| Hunted {
            runs: build.hunted.runs,
            ms: build.hunted.ms,
            trials: build.hunted.trials(),
        }),
        is_parent: build.is_parent(),
    }
}

/// The atoms that run.
fn still(cluster: &Cluster, build: &Build, running: &RunningInBuild, now: Timestamp) -> Vec<Ran> {
    let ran = running.subjobs().filter_map(|id| {
        let Runs::Atom(atom) = running.runs(cluster, build, id) else {
            return None;
        };
        let progress = build.progress()?;
        let (slave, attempt) = progress.running.get(&id)?;
        Some(Ran {
            subjob: id,
            atom: atom.atom_id,
            began: atom.started_at_ms,
            took_ms: now.0.saturating_sub(atom.started_at_ms.0),
            executor: (Some(*slave), Some(atom.executor_id)),
            is_retry: attempt.0 > build.attempts_from + 1,
            in_vain_ms: 0,
        })
    });
    ran.collect()
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
                    in_vain_ms: outcome.usage.map_or(0, |usage| usage.in_vain_ms.into()),
                })
            })
        });
    let cut_off = build.cut_run(id).zip(build.cut_off.get(&id));
    let cut_off = cut_off.map(|((run, lasted), attempt)| Ran {
        subjob: id,
        atom: run.atom,
        began: run.started_at,
        took_ms: u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX),
        executor: (subjob.slave, Some(run.executor)),
        is_retry: attempt.0 > build.attempts_from + 1,
        in_vain_ms: 0,
    });
    atoms.chain(cut_off).collect()
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
            in_vain_ms: 0,
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

    fn known(times: Timestamps) -> Known {
        Known {
            times,
            fetched: at(18),
            ..Known::default()
        }
    }

    fn sum(parts: &Parts) -> u64 {
        let Parts {
            queue,
            fetch,
            atomizer,
            waiting_for_slaves,
            set_up,
            matrix,
            atoms,
            batches_in_vain,
            longest_atom,
            imbalance,
            nothing_ran,
            retries,
            upload,
        } = parts;
        [
            queue,
            fetch,
            atomizer,
            waiting_for_slaves,
            set_up,
            matrix,
            atoms,
            batches_in_vain,
            longest_atom,
            imbalance,
            nothing_ran,
            retries,
            upload,
        ]
        .into_iter()
        .sum()
    }

    #[test]
    fn batches_that_settled_nothing_are_no_imbalance_and_no_set_up() {
        // A slave was ready at 70; both atoms of a batch ran again alone at 170, side by side.
        let alone = |executor| Ran {
            in_vain_ms: 50,
            ..ran(executor, 170, 50, false)
        };
        let known = Known {
            set_up: at(70),
            ..known(times())
        };
        let parts = explain(&known, &[alone(0), alone(1)], NOW).parts;
        assert_eq!((parts.set_up, parts.atoms), (10, 50));
        assert_eq!((parts.batches_in_vain, parts.imbalance), (50, 50));
        assert_eq!(sum(&parts), 400);
    }

    #[test]
    fn a_batch_in_vain_between_two_atoms_is_no_time_in_which_nothing_ran() {
        let alone = Ran {
            in_vain_ms: 100,
            ..ran(0, 250, 50, false)
        };
        let parts = explain(&known(times()), &[ran(0, 100, 50, false), alone], NOW).parts;
        assert_eq!((parts.batches_in_vain, parts.nothing_ran), (100, 0));
        assert_eq!(sum(&parts), 400);
    }

    #[test]
    fn each_part_has_its_cause() {
        // Two executors: even shares of 300 ms of work are 150, the longest atom takes 200, and the second executor waits.
        let atoms = [
            ran(0, 100, 50, false),
            ran(1, 100, 200, false),
            ran(0, 320, 50, true),
        ];
        let explained = explain(&known(times()), &atoms, NOW);
        let expected = Parts {
            queue: 10,
            fetch: 8,
            atomizer: 12,
            waiting_for_slaves: 30,
            set_up: 40,
            atoms: 150,
            batches_in_vain: 0,
            retries: 50,
            longest_atom: 50,
            nothing_ran: 20,
            upload: 30,
            ..Parts::default()
        };
        assert_eq!(explained.parts, expected);
        assert_eq!((explained.whole, sum(&explained.parts)), (400, 400));
        assert_eq!((explained.is_over, explained.num_executors), (true, 2));
        assert_eq!(explained.longest, Some(atoms[1]));
    }

    #[test]
    fn what_has_no_other_cause_is_imbalance() {
        let atoms = [ran(0, 60, 100, false), ran(1, 260, 100, false)];
        let parts = explain(&known(times()), &atoms, NOW).parts;
        assert_eq!((parts.set_up, parts.upload), (0, 40));
        assert_eq!(
            (parts.atoms, parts.longest_atom, parts.imbalance),
            (100, 0, 100)
        );
        assert_eq!(parts.nothing_ran, 100);
    }

    #[test]
    fn an_executor_without_work_while_none_has_any_is_no_imbalance() {
        // The master was away from 110 to 360.
        let atoms = [ran(0, 60, 50, false), ran(0, 360, 40, false)];
        let parts = explain(&known(times()), &atoms, NOW).parts;
        assert_eq!((parts.atoms, parts.nothing_ran), (90, 250));
        assert_eq!((parts.imbalance, parts.upload), (0, 0));
        // And before an atom is run again.
        let atoms = [
            ran(0, 60, 100, false),
            ran(1, 60, 20, false),
            ran(0, 360, 20, true),
        ];
        let parts = explain(&known(times()), &atoms, NOW).parts;
        assert_eq!((parts.atoms, parts.nothing_ran), (70, 200));
        assert_eq!((parts.retries, parts.longest_atom), (20, 30));
        assert_eq!((parts.imbalance, parts.upload), (0, 20));
    }

    #[test]
    fn the_time_of_a_parent_is_that_of_the_builds_of_its_matrix() {
        let parent = Known {
            times: Timestamps {
                building: None,
                ..times()
            },
            is_parent: true,
            ..known(times())
        };
        let explained = explain(&parent, &[], NOW);
        let expected = Parts {
            queue: 10,
            fetch: 8,
            atomizer: 12,
            matrix: 370,
            ..Parts::default()
        };
        assert_eq!((explained.parts, explained.whole), (expected, 400));
    }

    #[test]
    fn a_build_that_did_not_come_so_far_is_explained_to_its_end() {
        let waits = Timestamps {
            queued: at(0),
            preparing: at(10),
            ..Timestamps::default()
        };
        let waits = Known {
            times: waits,
            ..Known::default()
        };
        let explained = explain(&waits, &[], NOW);
        let expected = Parts {
            queue: 10,
            fetch: 490,
            ..Parts::default()
        };
        assert_eq!((explained.is_over, explained.whole), (false, 500));
        assert_eq!(explained.parts, expected);
        // The atomizers run.
        let parts = explain(&known(waits.times), &[], NOW).parts;
        assert_eq!((parts.fetch, parts.atomizer), (8, 482));
        let failed = Known {
            times: Timestamps {
                error: at(20),
                ..waits.times
            },
            ..waits
        };
        assert_eq!(explain(&failed, &[], NOW).parts.fetch, 10);
    }

    #[test]
    fn atoms_that_were_cut_off_are_no_upload() {
        let canceled = Known {
            times: Timestamps {
                finished: None,
                canceled: at(400),
                ..times()
            },
            set_up: at(90),
            was_cut_off: true,
            ..known(times())
        };
        let parts = explain(&canceled, &[], NOW).parts;
        assert_eq!((parts.set_up, parts.atoms, parts.upload), (30, 310, 0));
        // One has ended before.
        let parts = explain(&canceled, &[ran(0, 100, 50, false)], NOW).parts;
        assert_eq!((parts.set_up, parts.atoms, parts.upload), (40, 300, 0));
    }

    #[test]
    fn an_atom_that_runs_is_no_upload() {
        let runs = Known {
            times: Timestamps {
                finished: None,
                ..times()
            },
            ..known(times())
        };
        let parts = explain(&runs, &[ran(0, 100, 400, false)], NOW).parts;
        assert_eq!((parts.atoms, parts.upload), (400, 0));
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
            let known = Known {
                times,
                fetched: at(some()),
                set_up: at(some()),
                was_cut_off: some() % 3 == 0,
                hunting: None,
                is_parent: some() % 5 == 0,
            };
            let explained = explain(&known, &atoms, NOW);
            assert_eq!(
                sum(&explained.parts),
                explained.whole,
                "{times:?} {atoms:?}"
            );
        }
    }
}
