//! Bringing results and reports to the master, however often that takes.

pub(crate) mod delivery;
pub(crate) mod held_results;
pub(crate) mod lanes;
pub(crate) mod outbox;
mod pacing;
pub(crate) mod packed_console;
pub(crate) mod parcel;
pub(crate) mod reports;
pub(crate) mod result_archive;
pub(crate) mod result_note;
pub(crate) mod steps;
