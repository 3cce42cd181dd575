//! What daemons tell: the log for people, and the event log for programs.

pub mod event_log;
pub mod logging;
