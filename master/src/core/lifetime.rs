//! The lifetime of what the core remembers: recovery, archived and forgotten builds, kept results, and journals that
//! lost events.

pub(in crate::core) mod archive;
pub(in crate::core) mod delete;
pub mod facts;
pub(in crate::core) mod forget;
pub mod incarnation;
pub(in crate::core) mod kept_results;
pub(in crate::core) mod restore;
