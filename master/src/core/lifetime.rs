//! The lifetime of what the core remembers: recovery, archived builds, builds that are forgotten, and
//! journals that are older than the world.

pub(in crate::core) mod archive;
pub mod facts;
pub(in crate::core) mod forget;
pub mod incarnation;
pub(in crate::core) mod kept_results;
pub(in crate::core) mod restore;
