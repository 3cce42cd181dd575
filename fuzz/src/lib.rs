//! Fuzz targets: one function for each door through which bytes of strangers come in.
//!
//! A target takes any bytes. It panics if they break a promise: a crash, a value that is accepted and can not be read
//! back, a result that is not what was checked. `cargo fuzz` drives the targets with bytes that it learns
//! (docs/reliability.md, "Fuzzing"); the tests here drive them with the seeds and small changes of the seeds.

#![expect(clippy::expect_used, reason = "a broken promise is told by a panic")]

mod git_trees;
mod jobs;
mod junit_reports;
mod requests;
mod result_blocks;
mod settings;
#[cfg(test)]
mod tests;

pub use git_trees::git_trees;
pub use jobs::jobs;
pub use junit_reports::junit_reports;
pub use requests::requests;
pub use result_blocks::result_blocks;
pub use settings::settings;
