//! The lifetime of what the core remembers: recovery, archived and forgotten builds, kept results, and journals that
//! lost events.

pub(crate) mod archive;
pub(crate) mod delete;
pub mod facts;
pub(crate) mod forget;
pub mod incarnation;
pub(crate) mod kept_results;
pub(crate) mod restore;
pub mod testimony;
