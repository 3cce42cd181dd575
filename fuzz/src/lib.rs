//! Fuzz targets: one function for each door through which bytes of strangers come in.
//!
//! A target takes any bytes. It panics if they break a promise: a crash, a value that is accepted and can not be read
//! back, a result that is not what was checked. `cargo fuzz` drives the targets with bytes that it learns
//! (docs/reliability.md, "Fuzzing"); the tests here drive them with the seeds and small changes of the seeds.

#![expect(clippy::expect_used, reason = "a broken promise is told by a panic")]

mod consoles;
mod dockerfiles;
mod git_trees;
mod jobs;
mod journals;
mod junit_reports;
mod path_claims;
mod procfiles;
mod requests;
mod result_blocks;
mod settings;
mod signatures;
mod ssh_commands;
#[cfg(test)]
mod tests;
mod uploads;

pub use consoles::consoles;
pub use dockerfiles::dockerfiles;
pub use git_trees::git_trees;
pub use jobs::jobs;
pub use journals::journals;
pub use junit_reports::junit_reports;
pub use path_claims::path_claims;
pub use procfiles::procfiles;
pub use requests::requests;
pub use result_blocks::result_blocks;
pub use settings::settings;
pub use signatures::signatures;
pub use ssh_commands::ssh_commands;
pub use uploads::uploads;
