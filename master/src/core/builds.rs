//! Builds: what one is, its subjobs and their attempts, what went wrong with them, how long they take.

mod apply;
pub mod atom_grouper;
pub(in crate::core) mod bounded_text;
pub mod build;
pub mod details;
pub mod durations;
pub(crate) mod environment;
pub mod facts;
pub mod few;
pub(in crate::core) mod isolation;
pub mod mishaps;
pub mod outcome;
pub mod plan;
pub(in crate::core) mod progress;
pub mod statuses;
pub(in crate::core) mod subjob;
pub mod unstarted;
pub(in crate::core) mod warnings;
