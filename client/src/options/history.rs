//! Options of `clusterrunner history` and `clusterrunner flaky`.

use super::MasterAddress;
use clap::Args;

pub(super) const HISTORY_HELP: &str = "\
Atoms are known by their values, tests by the names in their JUnit reports. The last 50 builds of each are
shown, the oldest first: . passed, f flaky (passed when it ran again), F failed, s skipped. A build counts
once it is over and no slave has anything of it left.

Examples:
  clusterrunner history test_sums.py              an atom, or a test of this name
  clusterrunner history test_sums.py --job Unit   of one job";

pub(super) const FLAKY_HELP: &str = "\
A failure is a flake if the same build or a later one passed on the same commit: run atoms again with
`retries` in clusterrunner.yaml, or `build --retries 1`. FLAKY is what fails so in more than one of 500
runs, as sure as 19 of 20; SUSPICIOUS is what did so, perhaps by chance.

Examples:
  clusterrunner flaky               the atoms and tests that are flaky most surely
  clusterrunner flaky --job Unit    of one job";

/// Which jobs are looked at.
#[derive(Args, Debug)]
pub(crate) struct OfJobs {
    /// Only of this job
    #[arg(short, long, value_name = "JOB")]
    pub(crate) job: Option<String>,
    /// Only of this project, by its name or its number
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project: Option<String>,
}

/// Options of `clusterrunner history`.
#[derive(Args, Debug)]
pub(crate) struct HistoryOptions {
    /// The value of an atom, or the name of a test
    #[arg(value_name = "ATOM")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) of: OfJobs,
    /// Print the master's JSON answer
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner flaky`.
#[derive(Args, Debug)]
pub(crate) struct FlakyOptions {
    #[command(flatten)]
    pub(crate) of: OfJobs,
    /// List at most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: u64,
    /// Print the master's JSON answer
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}
