//! Effects: what the core asks of the world, carried out. Each reports back as a command.

pub mod archiver;
pub mod dispatcher;
pub mod history;
pub mod hunting;
pub mod launched;
pub mod learning;
pub mod preparer;
pub mod project_locks;
pub mod retention;
pub mod slave_calls;
mod test_report;
pub mod timing_files;
