//! Options of `clusterrunner repro`.

use super::{BuildChoice, MasterAddress};
use clap::Args;
use std::path::PathBuf;

pub(super) const HELP: &str = "\
The script clones the project at the commit of the build, runs the set-up of the job and then the atom, with
the variables that they have on the farm, and ends as the atom does: with its exit code, with 128 and the number
of its signal, or with 124 after its time limit. At its top stands what the script can not do as the farm does.

Examples:
  clusterrunner repro 7 3_0                    print the script
  clusterrunner repro 7 3_0 -o again.sh        write it; then `bash again.sh` runs the atom
  clusterrunner repro 7 3_0 | bash             run the atom at once, in a new directory";

/// Options of `clusterrunner repro`.
#[derive(Args, Debug)]
pub(crate) struct ReproOptions {
    /// The build, by its number, or `latest`
    #[arg(value_parser = BuildChoice::read)]
    pub(crate) build: BuildChoice,
    /// The atom: S_K, S.K or artifact_S_K for atom K of subjob S
    pub(crate) atom: String,
    /// Write the script into this new file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}
