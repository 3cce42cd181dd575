//! What earlier builds say of an atom or a test: how it ended, how long it took, and whether it is flaky. Derived from
//! builds that are over, so no fact tells of it and the cluster does not hold it.

mod beta;
mod memory;
mod trials;

pub use beta::{Beta, Verdict};
pub use memory::{Ended, Failure, Memory, Run, Tag};
pub use trials::Trials;
