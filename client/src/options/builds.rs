//! Options of the commands that look at builds, wait for them, or end them.

use super::{BuildChoice, FailureOutput, MasterAddress, ShownOptions, apps, number};
use clap::{Args, ValueEnum};
use clusterrunner_common::ids::{Attempt, SlaveId};
use std::path::PathBuf;
use std::time::Duration;

/// Options of `clusterrunner status`.
#[derive(Args, Debug)]
#[command(
    mut_arg("failure_output", |option| option.requires("watch")),
    mut_arg("slow_after", |option| option.requires("watch"))
)]
pub(crate) struct StatusOptions {
    /// One build, by its number, or `latest`
    #[arg(value_parser = BuildChoice::read)]
    pub(crate) build: Option<BuildChoice>,
    #[command(flatten)]
    pub(crate) listed: ListedBuilds,
    /// Follow the build until it ends, as `attach` does; the exit code is that of the build
    #[arg(short, long, requires = "build")]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) shown: ShownOptions,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Which builds `clusterrunner status` lists.
#[derive(Args, Debug)]
pub(crate) struct ListedBuilds {
    /// List all builds that the master knows, not only the newest 10 and those that are not over
    #[arg(long, conflicts_with = "build")]
    pub(crate) all: bool,
    /// List at most so many builds, the newest first
    #[arg(long, value_name = "N", conflicts_with_all = ["all", "build"])]
    pub(crate) limit: Option<usize>,
    /// List only builds in these states
    #[arg(
        long,
        value_name = "STATE",
        value_delimiter = ',',
        conflicts_with = "build"
    )]
    pub(crate) state: Vec<ListedState>,
    /// List only builds of this job
    #[arg(short, long, value_name = "JOB", conflicts_with = "build")]
    pub(crate) job: Option<String>,
}

/// A state that builds can be listed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListedState {
    /// Accepted, prepared or waiting for a slave
    Queued,
    /// At work
    Building,
    /// All atoms passed
    Passed,
    /// An atom failed
    Failed,
    /// Could not be prepared or run
    Error,
    /// Canceled
    Canceled,
}

/// Options of `clusterrunner logs`.
#[derive(Args, Debug)]
#[command(
    group(clap::ArgGroup::new("printed").multiple(true).args(["atom", "setup", "teardown", "atomizer", "app"])),
    group(clap::ArgGroup::new("on_slave").args(["setup", "teardown"])),
)]
pub(crate) struct LogsOptions {
    /// The build, by its number, or `latest`
    #[arg(required_unless_present = "app", value_parser = BuildChoice::read)]
    pub(crate) build: Option<BuildChoice>,
    /// The atom: S_K, S.K or artifact_S_K for atom K of subjob S; with --setup or --teardown the slave, by its number
    pub(crate) atom: Option<String>,
    /// Print what the atom printed in this attempt [default: the last one]
    #[arg(long, value_name = "N", requires = "atom", conflicts_with_all = ["setup", "teardown", "atomizer", "follow"], value_parser = attempt_number)]
    pub(crate) attempt: Option<Attempt>,
    /// List only the atoms that failed
    #[arg(long, conflicts_with_all = ["atom", "setup", "teardown", "atomizer"])]
    pub(crate) failed: bool,
    /// With --failed: print this much of what each of them printed
    #[arg(long, value_enum, default_value = "none", requires = "failed")]
    pub(crate) failure_output: FailureOutput,
    /// Print what the job's setup_build printed on a slave
    #[arg(long, conflicts_with_all = ["teardown", "atomizer"])]
    pub(crate) setup: bool,
    /// Print what the job's teardown_build printed on a slave
    #[arg(long, conflicts_with = "atomizer")]
    pub(crate) teardown: bool,
    /// Print what the job's atomizers printed on the master
    #[arg(long, conflicts_with = "atom")]
    pub(crate) atomizer: bool,
    /// With --setup or --teardown: the slave, by its number
    #[arg(long, value_name = "SLAVE", conflicts_with = "atom", requires = "on_slave", value_parser = number::<SlaveId>)]
    pub(crate) slave: Option<SlaveId>,
    /// Print the last lines of the log of this app
    #[arg(long, value_name = "APP", conflicts_with_all = ["build", "raw", "setup", "teardown", "atomizer"], value_parser = apps::app_id)]
    pub(crate) app: Option<String>,
    /// Follow the output until the atom or the command ends; without either that of all atoms, each line after the name
    /// of its atom, until the build ends
    #[arg(short, long, conflicts_with = "failed")]
    pub(crate) follow: bool,
    /// Print the output unfiltered, for pipes and files; by default escape sequences other than
    /// colours are removed
    #[arg(long, requires = "printed")]
    pub(crate) raw: bool,
    /// Print lines of JSON: one for each atom, or for each line that is printed
    #[arg(long, conflicts_with_all = ["raw", "setup", "teardown", "atomizer", "app", "failure_output"])]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner attach`.
#[derive(Args, Debug)]
pub(crate) struct AttachOptions {
    /// The build, by its number, or `latest`
    #[arg(value_parser = BuildChoice::read)]
    pub(crate) build: BuildChoice,
    #[command(flatten)]
    pub(crate) shown: ShownOptions,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// What `clusterrunner wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitUntil {
    /// The end of the build
    Over,
    /// The first atom that fails for good, or the end of the build
    Failing,
}

/// Options of `clusterrunner wait`.
#[derive(Args, Debug)]
pub(crate) struct WaitOptions {
    /// The build, by its number, or `latest`
    #[arg(value_parser = BuildChoice::read)]
    pub(crate) build: BuildChoice,
    /// What to wait for
    #[arg(long, value_enum, default_value = "over")]
    pub(crate) until: WaitUntil,
    /// How much of the output of atoms that failed is shown at the end; `none` lists them, and without this option only
    /// the verdict is printed
    #[arg(long, value_enum)]
    pub(crate) failure_output: Option<FailureOutput>,
    /// Print the end as a line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner results`.
#[derive(Args, Debug)]
pub(crate) struct ResultsOptions {
    /// The build, by its number, or `latest`
    #[arg(value_parser = BuildChoice::read)]
    pub(crate) build: BuildChoice,
    /// Unpack just into this directory [default: build_results/N, N being the build]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner cancel`.
#[derive(Args, Debug)]
pub(crate) struct CancelOptions {
    /// The build, by its number, or `latest`
    #[arg(value_parser = BuildChoice::read)]
    pub(crate) build: BuildChoice,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner explain`.
#[derive(Args, Debug)]
pub(crate) struct ExplainOptions {
    /// The build, by its number, or `latest`
    #[arg(value_parser = BuildChoice::read)]
    pub(crate) build: BuildChoice,
    /// Print the master's JSON answer
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner plan`.
#[derive(Args, Debug)]
pub(crate) struct PlanOptions {
    /// The build, by its number, or `latest` [default: a new build of the project in this directory]
    #[arg(value_parser = BuildChoice::read)]
    pub(crate) build: Option<BuildChoice>,
    /// The job of clusterrunner.yaml, if it has several
    #[arg(short, long, value_name = "JOB", conflicts_with = "build")]
    pub(crate) job_name: Option<String>,
    /// Say how many slaves it takes to end within this time, such as 90s, 5m or 1h30m
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) under: Option<Duration>,
    /// Say how long it takes with so many slaves
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) slaves: Option<u16>,
    /// Print the master's JSON answer
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// A time: a number of seconds, or numbers with units.
fn time(text: &str) -> Result<Duration, &'static str> {
    let wrong = "expected a time such as 90s, 5m or 1h30m";
    let mut seconds = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let number: u64 = number.parse().map_err(|_| wrong)?;
        let factor = match after.chars().next() {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some(_) => return Err(wrong),
        };
        let part = number.checked_mul(factor).ok_or(wrong)?;
        seconds = seconds.checked_add(part).ok_or(wrong)?;
        rest = after.get(1..).unwrap_or_default();
    }
    match seconds {
        1..=31_622_400 => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong),
    }
}

/// Options of `clusterrunner trace`.
#[derive(Args, Debug)]
pub(crate) struct TraceOptions {
    /// The build, by its number, or `latest`
    #[arg(value_parser = BuildChoice::read)]
    pub(crate) build: BuildChoice,
    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// Options of `clusterrunner open`.
#[derive(Args, Debug)]
pub(crate) struct OpenOptions {
    /// The build, by its number, or `latest`
    #[arg(value_parser = BuildChoice::read)]
    pub(crate) build: Option<BuildChoice>,
    /// Print the address instead of opening it
    #[arg(long)]
    pub(crate) print: bool,
    #[command(flatten)]
    pub(crate) master: MasterAddress,
}

/// The number of an attempt at an atom.
fn attempt_number(text: &str) -> Result<Attempt, &'static str> {
    let number = text.parse().ok().filter(|number| *number > 0);
    let number = number.map(Attempt);
    number.ok_or("expected a whole number from 1, as `clusterrunner status` and `logs` show it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_have_units() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("5m", 300),
            ("1h30m", 5400),
            ("2m5", 125),
        ] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "0",
            "m",
            "5 m",
            "-5",
            "1.5h",
            "5min",
            "9999999h",
            "99999999999999999999",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
