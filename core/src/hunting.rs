//! Hunting for flakes: executors that are idle at the end of a build run atoms of it again that are new or suspicious.
//!
//! A hunt is no hand-out, and the cluster does not know of hunts. So a hunt can not change what is recorded of a build,
//! keep an executor from the build, or outlive a master. The cluster learns only what a hunt found, with a fact
//! ([`crate::builds::hunted`]). All that a hunt shares with later atoms is the work tree.
//!
//! A slave that gets work ends its hunts by itself and then begins the work. What is decided here is when a hunt may
//! begin, which atom is next, and which hunts have no reason any more.

mod grounds;
mod hunts;
pub(crate) mod prey;

pub use hunts::{Hunt, HuntId, Hunts, Look};
