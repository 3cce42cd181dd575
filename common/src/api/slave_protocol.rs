//! What master and slaves say to each other.

mod connecting;
mod kept_setups;
mod orders;
mod polls;
mod results;

pub use connecting::*;
pub use kept_setups::*;
pub use orders::*;
pub use polls::*;
pub use results::*;
