//! What master and slaves say to each other.

mod connecting;
mod orders;
mod results;

pub use connecting::*;
pub use orders::*;
pub use results::*;
