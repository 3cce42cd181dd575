//! Options of the commands for this machine and the project on it.

use super::MasterAddress;
use crate::daemons::{MasterOptions, SlaveOptions};
use clap::{Args, Subcommand, ValueEnum};
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

/// Options of `clusterrunner notify`.
#[derive(Args, Debug)]
pub(crate) struct NotifyOptions {
    #[command(subcommand)]
    pub(crate) task: NotifyTask,
}

/// What is to be done with receivers of notifications.
#[derive(Subcommand, Debug)]
pub(crate) enum NotifyTask {
    /// Say whether they take what the master sends
    Test(TestReceiverOptions),
    /// Show those of a master that runs: what they were told last, what fails, and what waits
    List(ListReceiversOptions),
}

/// Options of `clusterrunner notify list`.
#[derive(Args, Debug)]
pub(crate) struct ListReceiversOptions {
    /// Print the master's JSON answer
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner notify test`.
#[derive(Args, Debug)]
pub(crate) struct TestReceiverOptions {
    /// The name of a section [notify NAME] of the settings [default: all of them]
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
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

/// Options of `clusterrunner version`.
#[derive(Args, Debug)]
pub(crate) struct VersionOptions {
    /// Print a software bill of materials: CycloneDX 1.5, in JSON
    #[arg(long)]
    pub(crate) sbom: bool,
}

pub(super) const CONFIG_HELP: &str = "\
Settings come from options of the command line, else from clusterrunner-rust.conf and clusterrunner.conf, else from
environment variables such as CLUSTERRUNNER_PORT, else from the defaults. Secrets are never shown. What a daemon that runs
was started with may be something else: its options and environment were its own.

Examples:
  clusterrunner config show                          what this and other commands find
  clusterrunner config show --origin                 and where each value comes from
  clusterrunner config show --origin --changed master --port 43005
                                                     what a master would find that is not the default";

/// Options of `clusterrunner config`.
#[derive(Args, Debug)]
pub(crate) struct SettingsOptions {
    #[command(subcommand)]
    pub(crate) task: SettingsTask,
}

/// What is to be done with settings.
#[derive(Subcommand, Debug)]
pub(crate) enum SettingsTask {
    /// Show each setting with its value
    #[command(after_help = CONFIG_HELP)]
    Show(ShowSettingsOptions),
}

/// Options of `clusterrunner config show`.
#[derive(Args, Debug)]
pub(crate) struct ShowSettingsOptions {
    /// Show where each value comes from: the default, file and line, an environment variable or an option
    #[arg(long, global = true)]
    pub(crate) origin: bool,
    /// Only settings that are not the default
    #[arg(long, global = true)]
    pub(crate) changed: bool,
    /// Print them as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Whose settings are shown [default: those of commands]
    #[command(subcommand)]
    pub(crate) of: Option<SettingsOf>,
}

/// Whose settings are shown.
#[derive(Subcommand, Debug)]
pub(crate) enum SettingsOf {
    /// Those that a master would find, with these options
    Master(MasterOptions),
    /// Those that a slave would find, with these options
    Slave(SlaveOptions),
}
