//! Options of the commands for this machine and the project on it.

use super::MasterAddress;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Options of `clusterrunner doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorOptions {
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner stop`.
#[derive(Args, Debug)]
pub(crate) struct StopOptions {
    /// Wait until the slaves have finished and delivered their running atoms
    #[arg(long)]
    pub(crate) drain: bool,
}

/// Options of `clusterrunner init`.
#[derive(Args, Debug)]
pub(crate) struct InitOptions {
    /// The directory of the project
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) path: PathBuf,
    /// Print the file and write nothing
    #[arg(long)]
    pub(crate) print: bool,
    /// Write over a clusterrunner.yaml that is there
    #[arg(long, conflicts_with = "print")]
    pub(crate) force: bool,
}

/// Options of `clusterrunner validate`.
#[derive(Args, Debug)]
pub(crate) struct ValidateOptions {
    /// A clusterrunner.yaml or the directory it is in
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) path: PathBuf,
}

/// Options of `clusterrunner completions`.
#[derive(Args, Debug)]
pub(crate) struct CompletionsOptions {
    /// The shell
    pub(crate) shell: Shell,
}

/// A shell that completions are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// GNU bash, with the bash-completion package
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

/// Options of `clusterrunner man`.
#[derive(Args, Debug)]
pub(crate) struct ManOptions {
    /// Write clusterrunner.1 and a page for each subcommand into this directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}
