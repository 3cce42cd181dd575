//! What hunts found of a build's atoms ([`crate::hunting`]). It is in no verdict, count or result of the build.

use clusterrunner_common::ids::SubjobId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A run of an atom that had passed already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HuntedRun {
    /// The atom's subjob, which has no other.
    pub subjob: SubjobId,
    /// How it ended; none where it was ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<HuntTrial>,
    /// How long it kept an executor, in milliseconds.
    pub ms: u64,
}

/// What a run says of flakiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HuntTrial {
    /// It passed.
    Passed,
    /// It passed, and the run before it on the same slave had failed.
    Flaked,
    /// It failed, and nothing tells yet whether that was a flake.
    Failed,
}

/// What hunts found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hunted {
    /// Whether more is to be found: slaves keep what they have set up of the build for a while after its end, as long as
    /// nothing waits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes_on: bool,
    /// How many runs there were, with those that say nothing.
    pub runs: u64,
    /// How long they kept executors, all together, in milliseconds.
    pub ms: u64,
    /// The atoms of which a run says something.
    pub atoms: BTreeMap<SubjobId, HuntTrials>,
    /// Those whose last failure is not known to be a flake: that they passed says nothing, either.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unresolved: BTreeSet<SubjobId>,
}

/// What hunts say of one atom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HuntTrials {
    /// In so many runs it passed.
    #[serde(default)]
    pub passes: u8,
    /// In so many it failed though nothing was wrong.
    #[serde(default)]
    pub flakes: u8,
}

impl Hunted {
    /// Whether there was no run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs == 0
    }

    /// Whether nothing is to be stored.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.is_empty() && !self.goes_on
    }

    /// How many trials there are of all atoms, and how many of them are flakes.
    #[must_use]
    pub fn trials(&self) -> (u64, u64) {
        let atoms = self.atoms.iter();
        let atoms = atoms.filter(|(id, _)| !self.unresolved.contains(id));
        atoms.fold((0, 0), |(trials, flakes), (_, atom)| {
            let flaked = u64::from(atom.flakes);
            (trials + u64::from(atom.passes) + flaked, flakes + flaked)
        })
    }

    /// What hunts say of an atom in the end.
    #[must_use]
    pub fn of(&self, atom: SubjobId) -> HuntTrials {
        match self.unresolved.contains(&atom) {
            true => HuntTrials::default(),
            false => self.atoms.get(&atom).copied().unwrap_or_default(),
        }
    }

    pub(crate) fn add(&mut self, run: &HuntedRun) {
        self.runs += 1;
        self.ms = self.ms.saturating_add(run.ms);
        let Some(trial) = run.trial else { return };
        let atoms = &mut self.atoms;
        let number = match trial {
            HuntTrial::Failed => {
                self.unresolved.insert(run.subjob);
                return;
            }
            HuntTrial::Passed => &mut atoms.entry(run.subjob).or_default().passes,
            HuntTrial::Flaked => {
                self.unresolved.remove(&run.subjob);
                &mut atoms.entry(run.subjob).or_default().flakes
            }
        };
        *number = number.saturating_add(1);
    }
}
