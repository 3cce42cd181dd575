//! The `clusterrunner` command as its users run it: the real process against a master that plays a
//! script. Nothing leaves this machine, and each test has its own base directory.

#![expect(
    clippy::unwrap_used,
    reason = "a test that can not go on is to fail where it stands"
)]

mod build;
mod cut;
mod deploy;
mod fake_master;
mod hostile;
mod left;
mod local;
mod look;
mod run;
mod snapshots;
mod ssh_server;
