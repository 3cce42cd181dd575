//! The read side: builds wherever they are, what readers get without asking the coordinator, events and metrics.

pub mod event_log;
pub mod metrics;
pub mod published;
pub mod views;
