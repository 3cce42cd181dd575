//! Options of `clusterrunner bisect`, and the help that goes with them.

use super::{BuildChoice, MasterAddress};
use clap::Args;
use std::num::NonZeroUsize;

pub(super) const HELP: &str = "\
Some tests fail only after another one has left something behind: a file, a changed fixture, a running process. This
command tries which atoms it takes. Each trial is a build of the same commit: some of the atoms that ran before on the
same executor and then the atom itself, one after the other, in a clean work tree. The trials of a round run side by side;
one of 500 atoms is found in eight rounds. Ctrl-C cancels the trials.

Examples:
  clusterrunner bisect 7 3_0            what ran on its executor before atom 0 of subjob 3
  clusterrunner bisect 7 3_0 --slave    what ran on all executors of its slave, which share a work tree

It exits with 0 if it has found the atoms; with 1 if the atom fails alone, passes after all of them, or fails by chance.";

/// Options of `clusterrunner bisect`.
#[derive(Args, Debug)]
pub(crate) struct BisectOptions {
    /// The build, by its number, or `latest`
    #[arg(value_parser = BuildChoice::read)]
    pub(crate) build: BuildChoice,
    /// The atom that failed: S_K for atom K of subjob S
    pub(crate) atom: String,
    /// Look at the atoms of all executors of its slave, not only of its own
    #[arg(long)]
    pub(crate) slave: bool,
    /// How many trials run at once at most [default: the executors of the farm, 4 to 16]
    #[arg(long, value_name = "N")]
    pub(crate) trials: Option<NonZeroUsize>,
    /// Print what was found as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}
