//! Where a build's project comes from: the master, a repository, or a directory of this machine.

mod error;
mod fetching;
mod master_source;
mod mirrors;
pub(crate) mod retention;
mod sources;

pub(crate) use error::SourceError;
pub(crate) use fetching::Fetching;
pub(crate) use fetching::fetch_project;
pub(crate) use sources::Sources;
