//! What earlier builds say of an atom or a test: how it ended, how long it took, and whether it is flaky. Derived from
//! builds that are over, so no fact tells of it and the cluster does not hold it.

mod beta;
mod memory;
mod trials;

pub use beta::{Beta, FLAKY_ABOVE, PRIOR, Verdict};
pub use memory::{Ended, Failure, KEPT_RUNS, Memory, Run, Tag};
pub use trials::{OLDER_TRIALS, Trials};
