//! Options of `clusterrunner pools`.

use super::MasterAddress;
use clap::Args;

pub(super) const HELP: &str = "\
A section [pool NAME] of the master's settings says how slaves are started when work waits and ended when they are
idle: by Slurm, as pods of Kubernetes, or by commands of yours. docs/pools.md has a first pool in five minutes.

Examples:
  clusterrunner pools               what each pool wants, has and waits for, and why
  clusterrunner pools --slaves      what was started, too
  clusterrunner pools --json        the master's answer";

/// Options of `clusterrunner pools`.
#[derive(Args, Debug)]
pub(crate) struct PoolsOptions {
    /// List what was started for each pool, too
    #[arg(long)]
    pub(crate) slaves: bool,
    /// Print the master's JSON answer
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}
