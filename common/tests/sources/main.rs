//! Fetching sources from real servers on the loopback address: `git http-backend`, `git daemon`, `sshd`, and
//! repositories on the disk.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "clippy takes only functions marked as tests for tests, and these have functions beside them"
)]

mod daemon;
mod hostile;
mod http;
mod https;
mod local;
mod packs;
mod remote_files;
mod repository;
mod server;
mod ssh;
mod submodules;
mod work_trees;
