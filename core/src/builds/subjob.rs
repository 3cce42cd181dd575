//! What a subjob is and where it stands.

pub(super) mod stored;

use crate::builds::few::Few;
use crate::builds::mishaps::{FailedAttempt, ISOLATE_AFTER, Mishaps, NONE, POISON_AFTER};
use crate::builds::outcome::{AtomOutcome, AtomTrouble};
use crate::{MAX_ATTEMPTS, MAX_HAND_OUTS};
use clusterrunner_common::ids::{Attempt, ExecutorIndex, SlaveId};
use clusterrunner_common::work::InWorker;
use serde::Deserialize;
use stored::Stored;

/// The exit code of an atom that is poison. No process gave it: 125 is what other programs say too
/// where they could not run a command.
pub const POISON_EXIT_CODE: i32 = 125;

/// A batch of atoms that is handed out as one piece. There may be very many: what is rare is apart.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Stored")]
pub struct Subjob {
    /// Its atoms, such as `export TEST="x";`; the index is the id.
    pub atoms: Few<Box<str>>,
    /// How long each of them is expected to take; none where nothing is known of the build's atoms.
    pub atoms_expected_ms: Few<u64>,
    /// How often it was handed out.
    pub attempts: u32,
    /// Who had it last.
    pub slave: Option<SlaveId>,
    /// The executor that brought its result, where the slave has said so.
    pub executor: Option<ExecutorIndex>,
    pub(crate) mishaps: Option<Box<Mishaps>>,
    /// Its result: the hand-out that counted, and one outcome for each atom.
    pub result: Option<(Attempt, Few<AtomOutcome>)>,
}

impl Subjob {
    pub(crate) fn new(atoms: Few<Box<str>>, atoms_expected_ms: Few<u64>) -> Self {
        Self {
            atoms,
            atoms_expected_ms,
            attempts: 0,
            slave: None,
            executor: None,
            mishaps: None,
            result: None,
        }
    }

    /// How long it is expected to take; 0 where nothing is known.
    #[must_use]
    pub fn expected_ms(&self) -> u64 {
        let atoms = self.atoms_expected_ms.iter();
        atoms.fold(0, |sum, atom| sum.saturating_add(*atom))
    }

    /// Whether an atom of it failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let mut outcomes = self.result.iter().flat_map(|(_, outcomes)| outcomes);
        outcomes.any(|outcome| outcome.exit_code != 0)
    }

    /// Whether it may only run alone on a slave.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.mishaps().slaves_lost >= ISOLATE_AFTER
    }

    /// Its failed results after which it was run again, the oldest first.
    #[must_use]
    pub fn failed_attempts(&self) -> &[FailedAttempt] {
        &self.mishaps().failed
    }

    /// Whether it passed only when it was run again: by another attempt, or without the worker that it failed in.
    #[must_use]
    pub fn is_flaky(&self) -> bool {
        let mut outcomes = self.result.iter().flat_map(|(_, outcomes)| outcomes);
        let failed_before = !self.failed_attempts().is_empty()
            || outcomes.any(|outcome| outcome.worker() == Some(InWorker::Failed));
        failed_before && self.result.is_some() && !self.has_failed()
    }

    /// Whether a slave tried it in vain: it is for others, where there are any.
    pub(crate) fn is_shunned_by(&self, slave: SlaveId) -> bool {
        let mishaps = self.mishaps();
        let failed_on = |failed: &FailedAttempt| failed.slave == slave;
        mishaps.doubted_from == Some(slave)
            || mishaps.unusable_from.contains(&slave)
            || mishaps.failed.iter().any(failed_on)
    }

    /// Whether it was handed out so often without a result that its build fails. Prefetch alone does not get that
    /// far: after a few hand-outs only idle executors get the subjob.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.mishaps().wasted >= MAX_ATTEMPTS || self.attempts >= MAX_HAND_OUTS
    }

    /// Whether it is not to be run again.
    #[must_use]
    pub fn is_poison(&self) -> bool {
        self.mishaps().slaves_lost >= POISON_AFTER
    }

    /// The result of a subjob that is poison. Every subjob has one atom; where one had several, each
    /// would have to run by itself first, so that only the guilty one fails.
    pub(crate) fn poisoned(&self, slaves_lost: u32) -> Vec<AtomOutcome> {
        let outcome = |_| AtomOutcome {
            exit_code: POISON_EXIT_CODE,
            duration_ms: 0,
            trouble: Some(AtomTrouble::Poison { slaves_lost }),
            started_at: None,
            usage: None,
        };
        self.atoms.iter().map(outcome).collect()
    }
}

impl Subjob {
    /// What went wrong with it.
    #[must_use]
    pub fn mishaps(&self) -> &Mishaps {
        self.mishaps.as_deref().unwrap_or(&NONE)
    }

    /// Its mishaps, to record another one.
    pub(crate) fn mishaps_mut(&mut self) -> &mut Mishaps {
        self.mishaps.get_or_insert_default()
    }

    /// Lets `take` clear part of its mishaps; `None` if it has no mishaps.
    pub(crate) fn take_mishap<T>(&mut self, take: impl FnOnce(&mut Mishaps) -> T) -> Option<T> {
        let mut mishaps = self.mishaps.take()?;
        let taken = take(&mut mishaps);
        self.mishaps = Some(mishaps).filter(|left| **left != NONE);
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_leaves_nothing() {
        let mut subjob = Subjob::new(["a".into()].into_iter().collect(), Few::none());
        let never = subjob.clone();
        assert!(subjob.take_mishap(|mishaps| mishaps.wasted = 1).is_none());
        subjob.mishaps_mut().last_return = Some("r".to_owned());
        let taken = subjob.take_mishap(|mishaps| mishaps.last_return.take());
        assert_eq!(taken.flatten().as_deref(), Some("r"));
        assert_eq!(subjob, never);
    }
}
