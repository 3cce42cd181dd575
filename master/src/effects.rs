//! Effects: what the core asks of the world, carried out. Each reports back as a command.

pub(crate) mod archiver;
pub(crate) mod dispatcher;
pub(crate) mod history;
pub(crate) mod hunting;
pub(crate) mod launched;
pub(crate) mod learning;
pub mod preparer;
pub(crate) mod project_locks;
pub(crate) mod retention;
pub(crate) mod slave_calls;
mod test_report;
pub(crate) mod timing_files;
