//! The atoms that run, as their slaves tell it. No facts: after a restart the slaves say it anew.

use clusterrunner_common::api::RunningAtom;
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
use clusterrunner_common::lock::lock;
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

/// What each slave said last.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunningAtoms(Arc<Mutex<HashMap<SlaveId, Vec<RunningAtom>>>>);

impl RunningAtoms {
    fn lock(&self) -> MutexGuard<'_, HashMap<SlaveId, Vec<RunningAtom>>> {
        lock(&self.0)
    }

    /// A slave runs these, and no others. The start of an atom stays as it was first reported: a slave corrects its
    /// clock, so that later reports of the same start differ by milliseconds.
    pub(crate) fn set(&self, slave: SlaveId, mut atoms: Vec<RunningAtom>) {
        let mut all = self.lock();
        let known = all.entry(slave).or_default();
        for atom in &mut atoms {
            let started_at_ms = atom.started_at_ms;
            let mut first = known.iter().copied();
            let first = first.find(|first| {
                let first = RunningAtom {
                    started_at_ms,
                    ..*first
                };
                first == *atom
            });
            if let Some(first) = first {
                *atom = first;
            }
        }
        *known = atoms;
    }

    /// Drops what other slaves than these said.
    pub(crate) fn drop_others(&self, alive: &BTreeSet<SlaveId>) {
        self.lock().retain(|slave, _| alive.contains(slave));
    }

    /// What runs of a build.
    #[must_use]
    pub(crate) fn of(&self, build: BuildId) -> RunningInBuild {
        let all = self.lock();
        let running = all.values().flatten().filter(|atom| atom.build_id == build);
        let by_hand_out = running.map(|atom| ((atom.subjob_id, atom.attempt), *atom));
        RunningInBuild(by_hand_out.collect())
    }
}

/// The running atoms of one build, by the hand-outs that they are of.
#[derive(Debug, Default, PartialEq)]
pub struct RunningInBuild(HashMap<(SubjobId, Attempt), RunningAtom>);

/// What is known of a subjob that has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// Nothing of it runs, as far as is known.
    No,
    /// This atom runs; those before it have ended.
    Atom(RunningAtom),
    /// It ran when its build ended early.
    CutOff,
    /// A slave has it that does not say what runs, or has its result from an earlier life.
    Unsaid,
}

impl Runs {
    /// What is known of a subjob of a build that is over.
    #[must_use]
    pub fn at_end(build: &Build, subjob: SubjobId) -> Self {
        match build.cut_off.contains_key(&subjob) {
            true => Self::CutOff,
            false => Self::No,
        }
    }
}

impl RunningInBuild {
    /// The subjobs of which an atom runs, as slaves say; some may be over already.
    pub fn subjobs(&self) -> impl Iterator<Item = SubjobId> {
        self.0.keys().map(|(subjob, _)| *subjob)
    }

    /// The atom that runs of a hand-out, as its slave says.
    #[must_use]
    pub fn atom(&self, subjob: SubjobId, attempt: Attempt) -> Option<&RunningAtom> {
        self.0.get(&(subjob, attempt))
    }

    /// What is known of a subjob of this build.
    #[must_use]
    pub fn runs(&self, cluster: &Cluster, build: &Build, subjob: SubjobId) -> Runs {
        let Some(progress) = build.progress() else {
            return Runs::at_end(build, subjob);
        };
        if progress.kept.contains_key(&subjob) {
            return Runs::Unsaid;
        }
        let Some((slave, attempt)) = progress.running.get(&subjob) else {
            return Runs::No;
        };
        if cluster.slave(*slave).is_some_and(|slave| slave.is_legacy) {
            return Runs::Unsaid;
        }
        let running = self.0.get(&(subjob, *attempt));
        running.map_or(Runs::No, |atom| Runs::Atom(*atom))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::clock::Timestamp;
    use clusterrunner_common::ids::{AtomId, ExecutorIndex};

    #[test]
    fn a_start_stays_as_it_was_first_reported() {
        let atom = |attempt, started_at_ms| RunningAtom {
            build_id: BuildId(1),
            subjob_id: SubjobId(0),
            attempt: Attempt(attempt),
            atom_id: AtomId(0),
            executor_id: ExecutorIndex(0),
            started_at_ms: Timestamp(started_at_ms),
        };
        let running = RunningAtoms::default();
        running.set(SlaveId(1), vec![atom(1, 100)]);
        running.set(SlaveId(1), vec![atom(1, 103), atom(2, 104)]);
        let RunningInBuild(found) = running.of(BuildId(1));
        assert_eq!(found[&(SubjobId(0), Attempt(1))], atom(1, 100));
        assert_eq!(found[&(SubjobId(0), Attempt(2))], atom(2, 104));
    }
}
