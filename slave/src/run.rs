//! Running atoms: the executors' threads, the commands that they start, and the files of those.

pub(crate) mod artifact_directory;
pub(crate) mod console_file;
pub(crate) mod consoles;
pub(crate) mod event_log;
pub(crate) mod executors;
pub(crate) mod file_error;
pub(crate) mod lease;
pub(crate) mod misdeeds;
pub(crate) mod pump;
pub(crate) mod subjob_executor;
pub(crate) mod workers;
