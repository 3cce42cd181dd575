//! One numbered hand-out of a subjob.

use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};

/// One numbered hand-out of a subjob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandOut {
    /// To whom.
    pub slave: SlaveId,
    /// Of which build.
    pub build: BuildId,
    /// Which subjob.
    pub subjob: SubjobId,
    /// Its number.
    pub attempt: Attempt,
}
