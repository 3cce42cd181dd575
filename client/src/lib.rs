//! The client's side of ClusterRunner: typed calls to a master, a build's results on the local disk,
//! and what the exit codes of the `clusterrunner` command mean. The command itself is `main.rs`.

mod error;

pub mod exit_code;

pub mod client;

pub mod results;

pub use client::Client;
pub use error::ClientError;
