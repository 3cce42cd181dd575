//! Why a build took so long: its time in parts that add up to the whole. The arithmetic is pure.
//!
//! The time of a build is cut at moments that follow each other: it was queued, its preparation began and ended, a slave was
//! chosen, the first atom began, the last one ended, the build was over. Between the first and the last atom as much as even
//! shares of all work would have taken is for the atoms; the rest has a cause each.

mod reading;
#[cfg(test)]
mod tests;

pub(crate) use reading::Steps;

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{AtomId, ExecutorIndex, SlaveId, SubjobId};
use clusterrunner_core::builds::build::Timestamps;
use std::collections::BTreeSet;

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
