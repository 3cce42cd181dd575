//! Fetching sources from real servers on the loopback address: `git http-backend`, `git daemon`, `sshd`, and
//! repositories on the disk.

mod daemon;
mod http;
mod local;
mod remote_files;
mod repository;
mod server;
mod ssh;
mod submodules;
mod work_trees;
