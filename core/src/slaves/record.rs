//! What speaks for and against a slave in this life of it.

use clusterrunner_common::ids::{BuildId, SubjobId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The evidence against a slave, since the last evidence for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whether it has set a build up in this life.
    pub(super) has_set_up: bool,
    /// Builds that it could not set up.
    pub(super) failed_setups: BTreeSet<BuildId>,
    /// Its results that were of no use while another slave's was.
    pub(super) unusable: u32,
    /// How many results it passed since it was quarantined, if it was.
    pub(crate) passed_since: u32,
    /// Its results that failed in a row.
    pub(crate) streak: Streak,
}

impl Record {
    /// Of a slave that is tried after a quarantine: the first thing that speaks against it is enough.
    pub(crate) fn probe() -> Self {
        Self {
            streak: Streak::probe(),
            ..Self::default()
        }
    }
}

/// Failed results of a slave in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Streak {
    /// How many, without those of atoms that others failed at as well.
    pub(super) length: u32,
    /// How many atoms of them are recorded as failed, by build, also where they are run again.
    pub(super) recorded: BTreeMap<BuildId, u64>,
    /// Subjobs that are run elsewhere before they count.
    pub(super) asked: BTreeSet<(BuildId, SubjobId)>,
    /// How many of them passed elsewhere.
    pub(super) against: u32,
    /// How often others failed as well at what was doubted.
    pub(super) cleared: u32,
    /// Whether its failed results are run elsewhere first.
    pub(super) is_doubted: bool,
    /// Whether it was quarantined before, and nothing has passed or failed elsewhere since.
    pub(super) is_probe: bool,
}

impl Streak {
    /// Of a slave that comes out of quarantine: the first atom that it fails is run elsewhere.
    pub(crate) fn probe() -> Self {
        Self {
            is_doubted: true,
            is_probe: true,
            ..Self::default()
        }
    }

    pub(crate) fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// How many results failed in a row.
    #[cfg(test)]
    pub(crate) fn length(&self) -> u32 {
        self.length
    }

    /// The builds that it tells of.
    pub(super) fn builds(&self) -> BTreeSet<BuildId> {
        let asked = self.asked.iter().map(|(build, _)| *build);
        self.recorded.keys().copied().chain(asked).collect()
    }
}
