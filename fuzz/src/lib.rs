//! Fuzz targets: one function for each door through which bytes of strangers come in.
//!
//! A target takes any bytes. It panics if they break a promise: a crash, a value that is accepted and can not be read
//! back, a result that is not what was checked. The tests here drive them with the seeds and changes of the seeds for
//! seconds, the program `clusterrunner-fuzz` for as long as is asked for, and `cargo fuzz` with bytes that it learns
//! (docs/reliability.md, "Fuzzing").

#![expect(clippy::expect_used, reason = "a broken promise is told by a panic")]

pub mod changes;
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
pub mod seeds;
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

/// A target: it panics if the bytes break a promise.
pub type Target = fn(&[u8]);

/// All targets by their names, which are those of their folders of seeds.
pub const TARGETS: [(&str, Target); 14] = [
    ("consoles", consoles),
    ("dockerfiles", dockerfiles),
    ("git_trees", git_trees),
    ("jobs", jobs),
    ("journals", journals),
    ("junit_reports", junit_reports),
    ("path_claims", path_claims),
    ("procfiles", procfiles),
    ("requests", requests),
    ("result_blocks", result_blocks),
    ("settings", settings),
    ("signatures", signatures),
    ("ssh_commands", ssh_commands),
    ("uploads", uploads),
];
