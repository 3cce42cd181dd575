//! Builds: what one is, its subjobs and their attempts, what went wrong with them, how long they take.

mod apply;
pub mod atom_grouper;
pub(crate) mod bounded_text;
pub mod build;
pub mod children;
pub(crate) mod describing;
pub mod details;
pub mod durations;
pub mod environment;
pub mod facts;
pub mod few;
pub mod hand_out;
pub mod hunted;
pub(crate) mod isolation;
pub mod matrix;
pub mod mishaps;
mod moving;
pub mod outcome;
mod outlook;
pub mod plan;
pub mod progress;
pub mod status;
pub mod statuses;
pub mod subjob;
mod terms;
pub mod unstarted;
pub(crate) mod warnings;
