//! Pools: slaves that are started when work waits, and ended when it is over. Pure: [`plan`] looks at what waits
//! ([`scene`]), at what a pool's provider has started ([`requests`]) and at what it remembers ([`memory`]), and says what is to
//! be started, ended and given up, and why in words.
//!
//! Nothing of it is stored. What was started is found again by the provider's list, whose names carry farm and pool, and
//! by the join tokens of the journal, one for each start, which have the same names.

pub mod memory;
pub mod planning;
pub mod reason;
pub mod requests;
pub mod scene;
pub mod sharing;
mod standing;
mod terms;
#[cfg(test)]
mod tests;

pub use clusterrunner_common::work::PoolTerms;
pub use memory::Memory;
pub use planning::{Pool, PoolPlan, plan};
pub use reason::{EndReason, Standing};
pub use requests::{Listed, ListedState, Place, Request};
pub use scene::Scene;
