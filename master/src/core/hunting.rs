//! Hunting for flakes: executors that are idle at the end of a build run atoms of it again that are new or suspicious.
//!
//! A hunt is no hand-out: the cluster does not know of it, so that it can not change what is recorded of a build, keep an
//! executor from it, or outlive a master. Only the work tree it shares with atoms that come later. The cluster learns only what it found ([`crate::core::builds::hunted`]), with a fact. Where a slave has
//! work, it ends its hunts by itself, before it begins the work; what is decided here is when a hunt may begin, which atom
//! is next, and which hunts have no reason any more.

mod grounds;
mod hunts;
pub(in crate::core) mod prey;

pub use hunts::{Hunt, HuntId, Hunts, Look};
