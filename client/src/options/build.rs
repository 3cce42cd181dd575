//! Options of `clusterrunner build` and `retry`, and the help that goes with them.

use super::{BuildChoice, MasterAddress, ShownOptions};
use clap::{Args, Subcommand};
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::job::config::MOST_RETRIES;
use std::num::NonZeroU32;
use std::path::PathBuf;

pub(super) fn help() -> String {
    format!(
        "\
Examples:
  clusterrunner build                              the project in this directory, on this machine
  clusterrunner build ../web -j Unit               another directory, one of its several jobs
  clusterrunner build --retries 2 --fail-fast      run failed atoms again; stop at the first that fails for good
  clusterrunner build --failed                     only what failed the last time
  clusterrunner build --detach                     print the id and end; the build goes on
  clusterrunner build --master-url farm:43000      the files as they are here, committed or not, on a farm elsewhere
  clusterrunner build --junit junit.xml            write a JUnit report of all tests, as CI systems read it
  clusterrunner build --master-url farm:43000 git --url https://example.org/a.git --branch main
  clusterrunner build git --url URL --config @job.json
                                                   a job of yours instead of clusterrunner.yaml
  clusterrunner build git --url URL --atoms-override '[\"export TEST=\\\"a\\\";\"]'
                                                   exactly these atoms

Without --master-url the master is `hostname`:`port` of the settings. If that is this machine and no master of \
yours runs, `build` starts one with a slave, both reachable from this machine only; they keep running for later builds \
until `clusterrunner stop`. Where another program or another user has the port, your master takes a free one, and all \
commands find it there.

On such a farm the commands of a build have the environment of this command. On other farms they have that of the \
daemons. --env and `env:` of the job add to it. Values are never shown.

A farm on other machines is sent what the working tree has and the repository's remote lacks: changed files, those that \
git neither tracks nor ignores, commits that were not pushed. Nothing in the repository changes. --send does so for a \
master on this machine, too; --whole sends all files to a farm that can not fetch the repository.

The results of build N are unpacked into build_results/N below the project, or below the current directory for a \
project from elsewhere; build_results/latest leads to the newest. The results of the five builds before are kept, and \
git ignores build_results. --results-dir DIR unpacks just into DIR, as the original does into ./build_results, and \
keeps earlier results as DIR.N.

The first Ctrl-C cancels the build, a second one quits at once. A build whose terminal is closed goes on, and its \
warnings say so; `attach`, `wait` and `results` come back to it.

{}",
        ExitCode::table()
    )
}

/// Options of `clusterrunner build`. They may stand before and after the project type.
#[derive(Args, Debug)]
pub(crate) struct BuildOptions {
    /// Directory with a clusterrunner.yaml; a farm on other machines is sent what its working tree has
    /// [default: the current directory, or the nearest one above it that has a clusterrunner.yaml]
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
    /// Run the build on this machine, with a master that listens on this port [default: `port` of the settings,
    /// 43000, or if that is taken any free one]
    #[arg(long, global = true, value_name = "PORT", conflicts_with = "master_url", value_parser = clap::value_parser!(u16).range(1..), display_order = 802)]
    pub(crate) port: Option<u16>,
    /// The job of clusterrunner.yaml to run, if it has several
    #[arg(short, long, global = true, value_name = "JOB")]
    pub(crate) job_name: Option<String>,
    /// Download URL into the project directory as NAME before the build; may be repeated
    #[arg(short = 'f', long = "remote-file", global = true, num_args = 2, value_names = ["NAME", "URL"], action = clap::ArgAction::Append)]
    pub(crate) remote_files: Vec<String>,
    /// A variable for all commands of the build, with this value or the one it has here; may be repeated
    #[arg(long = "env", global = true, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// One job as a JSON object, or @FILE with it, instead of clusterrunner.yaml
    #[arg(long, global = true, value_name = "JSON")]
    pub(crate) config: Option<String>,
    /// Complete atoms as a JSON list of strings, or @FILE, instead of running the atomizers: shell text that is run before
    /// the commands
    #[arg(long, global = true, value_name = "JSON")]
    pub(crate) atoms_override: Option<String>,
    /// Run an atom that fails again up to N times [default: `retries` of the job, else 0]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MOST_RETRIES)))]
    pub(crate) retries: Option<u32>,
    /// After N failed atoms (1 where no number is given) do not run the rest [default: `max_fail` of the job, else no
    /// limit]
    #[arg(long, global = true, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = at_least_one)]
    pub(crate) fail_fast: Option<NonZeroU32>,
    /// Of the job's matrix build only combinations with this value of a variable; several values of a variable are
    /// alternatives
    #[arg(long, global = true, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) matrix: Vec<(String, String)>,
    /// Run only the atoms that failed in the last build of this job
    #[arg(long, global = true, conflicts_with = "atoms_override")]
    pub(crate) failed: bool,
    /// Use the original's exit codes: 0 if all atoms passed or after Ctrl-C, else 1
    #[arg(long, global = true, conflicts_with = "json")]
    pub(crate) compat_exit_codes: bool,
    /// Unpack the results just into this directory [default: build_results/N of the project, N being the build]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) results_dir: Option<PathBuf>,
    /// Leave the results on the master
    #[arg(long, global = true, conflicts_with = "results_dir")]
    pub(crate) no_results: bool,
    /// Print the build's id and end: `attach`, `wait` and `results` come back to it
    #[arg(long, global = true, conflicts_with_all = ["results_dir", "no_results"])]
    pub(crate) detach: bool,
    /// Write all tests of the build into this file as one JUnit report, however the build ends; an older file is removed at
    /// the start
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "detach")]
    pub(crate) junit: Option<PathBuf>,
    /// Send the working tree also to a master on this machine, whose slaves may be elsewhere
    #[arg(long)]
    pub(crate) send: bool,
    /// Send all files of the working tree, for a farm that can not fetch the repository
    #[arg(long)]
    pub(crate) whole: bool,
    #[command(flatten)]
    pub(crate) shown: ShownOptions,
    #[command(subcommand)]
    pub(crate) project: Option<ProjectOptions>,
}

/// Where the project comes from.
#[derive(Subcommand, Debug)]
pub(crate) enum ProjectOptions {
    /// Build a git repository
    Git(GitOptions),
    /// Build a directory that every machine of the farm has at the same path
    Directory(DirectoryOptions),
}

/// Options of `clusterrunner build git`.
#[derive(Args, Debug)]
pub(crate) struct GitOptions {
    /// Where to fetch the repository from: a URL, or a path such as . and /srv/project
    #[arg(long)]
    pub(crate) url: String,
    /// Branch, tag or full ref [default: the repository's own]
    #[arg(long)]
    pub(crate) branch: Option<String>,
    /// Commit, full or abbreviated
    #[arg(long, value_name = "COMMIT")]
    pub(crate) hash: Option<String>,
    /// The URL of a fork that has the branch or the commit [default: origin, the repository itself]
    #[arg(long, value_name = "URL")]
    pub(crate) remote: Option<String>,
    /// Directory of the project inside the repository
    #[arg(long, value_name = "DIR")]
    pub(crate) project_directory: Option<String>,
}

/// Options of `clusterrunner build directory`.
#[derive(Args, Debug)]
pub(crate) struct DirectoryOptions {
    /// The directory, as all machines see it
    #[arg(long, value_name = "DIR")]
    pub(crate) project_directory: PathBuf,
}

/// Options of `clusterrunner retry`.
#[derive(Args, Debug)]
pub(crate) struct RetryOptions {
    /// The build that is run again, by its number, or `latest`
    #[arg(value_parser = BuildChoice::read)]
    pub(crate) build: BuildChoice,
    /// Run only the atoms that failed in it
    #[arg(long)]
    pub(crate) failed: bool,
    /// Build the newest commit of the branch [default: the commit that was built]
    #[arg(long)]
    pub(crate) newest: bool,
    /// Run an atom that fails again up to N times [default: as in the other build]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MOST_RETRIES)))]
    pub(crate) retries: Option<u32>,
    /// After N failed atoms (1 where no number is given) do not run the rest [default: as in the other build]
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = at_least_one)]
    pub(crate) fail_fast: Option<NonZeroU32>,
    /// Unpack the results just into this directory [default: build_results/N, N being the new build]
    #[arg(long, value_name = "DIR")]
    pub(crate) results_dir: Option<PathBuf>,
    /// Leave the results on the master
    #[arg(long, conflicts_with = "results_dir")]
    pub(crate) no_results: bool,
    /// Print the build's id and end: `attach`, `wait` and `results` come back to it
    #[arg(long, conflicts_with_all = ["results_dir", "no_results"])]
    pub(crate) detach: bool,
    /// Write all tests of the build into this file as one JUnit report, however the build ends; an older file is removed at
    /// the start
    #[arg(long, value_name = "FILE", conflicts_with = "detach")]
    pub(crate) junit: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) shown: ShownOptions,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Reads `NAME=VALUE`.
fn variable(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write a variable and a value, such as PYTHON=3.12"),
    }
}

fn at_least_one(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse()
        .map_err(|_| "expected a whole number, 1 or more")
}
