//! The command line: every subcommand, every option, and the help that teaches them.

mod accounts;
mod apps;
mod artifacts;
mod audit;
mod bisect;
mod build;
mod builds;
mod farm;
mod here;
mod history;
mod instances;
mod pools;
mod repro;
mod secrets;
mod shown;
mod tested;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use accounts::{
    ChangeUserOptions, CreateTokenOptions, CreateUserOptions, PasswordOptions, TokenOptions,
    TokenTask, UserOptions, UserTask,
};
pub(crate) use apps::{AppLogOptions, AppOptions, AppTask, AppsOptions, ConfigOptions};
pub(crate) use artifacts::ArtifactsOptions;
pub(crate) use audit::AuditOptions;
pub(crate) use bisect::BisectOptions;
pub(crate) use build::{BuildOptions, DirectoryOptions, GitOptions, ProjectOptions, RetryOptions};
pub(crate) use builds::{
    AttachOptions, CancelOptions, ExplainOptions, ListedBuilds, ListedState, LogsOptions,
    OpenOptions, PlanOptions, ResultsOptions, StatusOptions, TraceOptions, WaitOptions, WaitUntil,
};
pub(crate) use farm::{
    DeployOptions, DrainOptions, JournalOptions, JournalTask, ShutdownOptions, SlavesOptions,
    SlavesTask, UndrainOptions,
};
pub(crate) use here::{
    CompletionsOptions, DoctorOptions, InitOptions, ListReceiversOptions, ManOptions,
    NotifyOptions, NotifyTask, SettingsOf, SettingsOptions, SettingsTask, Shell,
    ShowSettingsOptions, StopOptions, TestReceiverOptions, ValidateOptions, VersionOptions,
};
pub(crate) use history::{FlakyOptions, HistoryOptions, OfJobs};
pub(crate) use instances::{
    InstanceOptions, InstanceTask, InstancesOptions, LaunchOptions, TemplateOptions, TemplateTask,
    TemplatesOptions,
};
pub(crate) use pools::PoolsOptions;
pub(crate) use repro::ReproOptions;
pub(crate) use secrets::{SecretOptions, SecretTask, SetSecretOptions};
pub(crate) use shown::{FailureOutput, ShownOptions};
pub(crate) use tested::TestsOptions;
pub(crate) use tls::{TlsInitOptions, TlsOptions, TlsShowOptions, TlsTask};

use crate::daemons::{MasterOptions, SlaveOptions};
use clap::{Args, Parser, Subcommand};
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::auth::user_token::UserToken;
pub(crate) use clusterrunner_common::daemon::CommonOptions;
use clusterrunner_common::ids::BuildId;
use clusterrunner_slave::options::{InvalidMasterAddress, MasterAddress as ParsedAddress};
use std::fmt;
use std::time::Duration;

const ABOUT: &str = "Runs a build or a test suite as many small pieces on machines you own.";

const FIRST_STEPS: &str = "\
First steps, in a project:
  clusterrunner init                write its clusterrunner.yaml
  clusterrunner validate            check the file
  clusterrunner build               run it on this machine
  clusterrunner status              show the builds
  clusterrunner logs 1              list its atoms and how they ended
  clusterrunner stop                stop the master and slave that build started

A farm of several machines:
  clusterrunner master                                    on one of them
  clusterrunner slave --master-url MASTER:43000           on the others
  clusterrunner build --master-url MASTER:43000 git --url https://example.org/project.git";

/// `clusterrunner`
#[derive(Parser, Debug)]
#[command(
    name = "clusterrunner",
    display_name = "ClusterRunner",
    bin_name = "clusterrunner",
    version,
    about = ABOUT,
    after_help = format!("{FIRST_STEPS}\n\n{}", ExitCode::table()),
    arg_required_else_help = true
)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: CommonOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is to be done.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a build and wait for its end
    #[command(after_help = build::help())]
    Build(Box<BuildOptions>),
    /// Run a build again, or only what failed in it
    #[command(after_help = "\
Examples:
  clusterrunner retry 7             build 7 again: the same commit, job and variables
  clusterrunner retry 7 --failed    only its atoms that failed
  clusterrunner retry 7 --newest    the newest commit of its branch

The new build is told to be a retry of the other one. Its --env variables are those of the other one.")]
    Retry(Box<RetryOptions>),
    /// Find the atoms that make a later one fail
    #[command(after_help = bisect::HELP)]
    Bisect(BisectOptions),
    /// Show the master, its slaves and the last builds, or one build
    #[command(after_help = "\
Examples:
  clusterrunner status              the farm, the newest builds and all that are not over
  clusterrunner status --all --state failed,error --job Unit
                                    all builds of a job that failed
  clusterrunner status 7            one build, with its failed atoms
  clusterrunner status 7 -w         follow it until it ends, as `attach` does
  clusterrunner status 7 --json     the master's JSON answer")]
    Status(StatusOptions),
    /// Show a build's atoms, or the output of one; or the log of an app
    #[command(after_help = "\
Examples:
  clusterrunner logs 7              the atoms of build 7: state, exit code, time
  clusterrunner logs 7 --failed     only those that failed
  clusterrunner logs 7 --failed --failure-output full
                                    those that failed, with all that they printed
  clusterrunner logs 7 -f           what all atoms print (of a matrix, of all its builds), until the build ends
  clusterrunner logs 7 3_0          the output of atom 0 of subjob 3
  clusterrunner logs 7 artifact_3_0 the same, by the name of its directory
  clusterrunner logs 7 3_0 -f       follow it until the atom ends
  clusterrunner logs 7 --setup -f   follow the set-up of the build on its slaves
  clusterrunner logs --app shop -f  follow the log of an app, as `app logs` does")]
    Logs(LogsOptions),
    /// Follow a build as `build` shows it, until it ends
    #[command(after_help = "\
Ctrl-C leaves the build alone. The exit code is that of the build.

Example:
  clusterrunner attach 7")]
    Attach(AttachOptions),
    /// Wait for the end of a build, and print how it ended
    #[command(after_help = "\
The exit code is that of the build. Ctrl-C leaves the build alone.

With --until failing the command ends as soon as an atom has failed for good, with exit code 1; the build goes on.

Examples:
  build=$(clusterrunner build --detach) && clusterrunner wait $build
  clusterrunner wait 7 --until failing || clusterrunner cancel 7")]
    Wait(WaitOptions),
    /// Fetch the results of a build that is over
    #[command(after_help = "\
Examples:
  clusterrunner results 7           into build_results/7 below the current directory
  clusterrunner results 7 -o out    just into the directory out")]
    Results(ResultsOptions),
    /// List or fetch single files that the atoms of a build left
    #[command(after_help = artifacts::HELP)]
    Artifacts(ArtifactsOptions),
    /// Make a script that runs an atom by hand
    #[command(after_help = repro::HELP)]
    Repro(ReproOptions),
    /// Show how the tests of a build ended, as the JUnit reports of its atoms say
    #[command(after_help = tested::HELP)]
    Tests(TestsOptions),
    /// Show how an atom or a test went in earlier builds, and whether it is flaky
    #[command(after_help = history::HISTORY_HELP)]
    History(HistoryOptions),
    /// List the atoms and tests that are flaky
    #[command(after_help = history::FLAKY_HELP)]
    Flaky(FlakyOptions),
    /// Cancel a build
    #[command(after_help = "\
Example:
  clusterrunner cancel 7")]
    Cancel(CancelOptions),
    /// Open the page of the farm, or of a build, in a browser
    #[command(after_help = "\
The browser is signed in with the rights of who asks: those of the settings' secret, or of --token.
The address has a link that signs in once, within a minute. Without a screen it is printed.

Examples:
  clusterrunner open                the builds
  clusterrunner open 7              one build
  clusterrunner open --print        the address, to be opened elsewhere")]
    Open(OpenOptions),
    /// Say why a build took so long: where its time went
    #[command(after_help = "\
Parts that add up to the whole: waiting for its turn and for slaves, fetch, atomizer, set-up, the
atoms had they been shared out evenly, batches whose atoms ran again, how much longer the longest
atom took than that, executors without work while others had some (imbalance), times in which
nothing ran at all (as when the master was away), retries, and the upload of the last results. Of
the parent of a matrix: its builds.

Example:
  clusterrunner explain 7")]
    Explain(ExplainOptions),
    /// Say how long a build takes with how many slaves, and what the next one brings
    #[command(after_help = "\
With a number it is about the rest of a build that is at work, or about a build that is over, run again. Without one it
is about a new build of the project in this directory, with the atoms of the last build of the same job. The interval
holds the end with a probability of 90 %.

Examples:
  clusterrunner plan                   the project in this directory
  clusterrunner plan 7 --slaves 12     what is left of build 7, with 12 slaves
  clusterrunner plan --under 5m        how many slaves it takes to end within 5 minutes")]
    Plan(PlanOptions),
    /// Write a build as a trace, which Perfetto and chrome://tracing show
    #[command(after_help = "\
Each executor is a line, each atom a bar on the line.

Example:
  clusterrunner trace 7 -o trace.json      to be opened in https://ui.perfetto.dev")]
    Trace(TraceOptions),
    /// List the slaves that the master knows
    #[command(after_help = "\
Example:
  clusterrunner slaves --master-url farm.example.org:43000
  clusterrunner slaves keys           the keys with which they have joined
  clusterrunner slaves revoke farm-3  shut the slave out")]
    Slaves(SlavesOptions),
    /// Write a clusterrunner.yaml for a project, after a look at how it is tested
    #[command(after_help = "\
Knows test files of pytest and unittest, cargo packages and workspaces, the script `test` of a
package.json (vitest, jest, mocha and node --test by file), Go modules, and the targets `test` and
`check` of a Makefile.

Examples:
  clusterrunner init                the project in this directory
  clusterrunner init --print        only show what would be written")]
    Init(InitOptions),
    /// Look at this machine and its farm, and say how to mend what is wrong
    #[command(after_help = "\
Looks at the programs that are needed, the settings, the disk, this machine's name, the master, the
secret, the clocks, and at each slave from the master's side and from here. Changes nothing. Run on a
slave's machine with the slave's settings it shows whether that machine reaches the master. Ends with
1 where something is in the way of builds.

Examples:
  clusterrunner doctor
  clusterrunner doctor --master-url farm.example.org:43000")]
    Doctor(DoctorOptions),
    /// Show the settings, and where each of them comes from
    #[command(after_help = here::CONFIG_HELP)]
    Config(SettingsOptions),
    /// Try those who are told of builds, or show how it goes with them
    #[command(after_help = "\
Webhooks, and servers that show the status of commits. `test` reads the settings as a master on this
machine would. A webhook gets the event `ping`, signed as all others; of GitHub, GitLab and Gitea is
asked whose token it is, which changes nothing there. `list` asks a master that runs.

Examples:
  clusterrunner notify list         what each was told last, what failed, what waits
  clusterrunner notify test         all receivers of the settings
  clusterrunner notify test chat    the one of the section [notify chat]")]
    Notify(NotifyOptions),
    /// Check a clusterrunner.yaml without running anything
    #[command(after_help = "\
Says for each mistake the line, the column and what to write instead.

Examples:
  clusterrunner validate            the file in this directory
  clusterrunner validate ../web     the file in another one
  clusterrunner validate ci.yaml    a file by its name")]
    Validate(ValidateOptions),
    /// Run the master, which takes builds and hands out their atoms
    #[command(after_help = "\
Example:
  clusterrunner master --port 43000")]
    Master(MasterOptions),
    /// Run a slave, which runs atoms on this machine
    #[command(after_help = "\
Example:
  clusterrunner slave --master-url farm.example.org:43000 --num-executors 8")]
    Slave(SlaveOptions),
    /// End slaves on any machine, once they have finished their running atoms
    #[command(after_help = "\
The slave takes no new work, finishes its running atoms, tears its builds down and ends.
`clusterrunner slaves` shows it as shutting down until then. Atoms that it has not started go to
other slaves; a build without another slave waits for one.

Examples:
  clusterrunner shutdown --slave-id 3 --slave-id 4
  clusterrunner shutdown --master-url farm.example.org:43000 --all-slaves")]
    Shutdown(ShutdownOptions),
    /// Give slaves no new work; they finish their running atoms and stay connected
    #[command(after_help = farm::DRAIN_HELP)]
    Drain(DrainOptions),
    /// Give drained or quarantined slaves work again
    #[command(after_help = "\
Example:
  clusterrunner undrain farm-3")]
    Undrain(UndrainOptions),
    /// Start an instance of a repository or a template, and print its URL
    #[command(after_help = instances::LAUNCH_HELP)]
    Launch(Box<LaunchOptions>),
    /// List the templates that can be launched
    #[command(after_help = "\
Example:
  clusterrunner templates --json")]
    Templates(TemplatesOptions),
    /// Delete templates
    #[command(after_help = "Example:
  clusterrunner template delete owner-repository")]
    Template(TemplateOptions),
    /// List the instances that run
    #[command(after_help = "\
Examples:
  clusterrunner instances           those that are not over
  clusterrunner instances --all     all that the master knows")]
    Instances(InstancesOptions),
    /// Stop instances, or show what one printed
    #[command(after_help = instances::INSTANCE_HELP)]
    Instance(InstanceOptions),
    /// List the apps of the farm
    #[command(after_help = "\
Example:
  clusterrunner apps")]
    Apps(AppsOptions),
    /// Create, deploy, scale, configure, watch and destroy apps
    #[command(after_help = apps::APP_HELP)]
    App(AppOptions),
    /// Create, list, change and delete the users of a farm
    #[command(after_help = accounts::USER_HELP)]
    User(UserOptions),
    /// Create, list and revoke tokens, which stand for users in requests
    #[command(after_help = accounts::TOKEN_HELP)]
    Token(TokenOptions),
    /// Set, list and remove the secrets that builds are given
    #[command(after_help = secrets::HELP)]
    Secret(SecretOptions),
    /// Make certificates for a farm that speaks HTTPS, or show when they end
    Tls(TlsOptions),
    /// Copy this program and its settings to machines over ssh, and start a farm there
    #[command(after_help = farm::DEPLOY_HELP)]
    Deploy(Box<DeployOptions>),
    /// Stop the slaves and the master of this machine
    #[command(after_help = "\
Stops only the daemons of this base directory: slaves first, then the master. Acknowledged results
are on disk; interrupted atoms run again after the next start. With --drain slaves first finish
their running atoms; Ctrl-C ends the waiting, not the draining.

Examples:
  clusterrunner stop                at once
  clusterrunner stop --drain        when the running atoms are finished")]
    Stop(StopOptions),
    /// Inspect, export or repair the journal of a stopped master
    #[command(after_help = farm::JOURNAL_HELP)]
    Journal(JournalOptions),
    /// Print a script that completes this command's words in a shell
    #[command(after_help = "\
Examples:
  clusterrunner completions bash > ~/.local/share/bash-completion/completions/clusterrunner
  clusterrunner completions zsh > ~/.zfunc/_clusterrunner        with ~/.zfunc in $fpath
  clusterrunner completions fish > ~/.config/fish/completions/clusterrunner.fish")]
    Completions(CompletionsOptions),
    /// Print the manual page, or write the pages of all subcommands
    #[command(after_help = "\
Examples:
  clusterrunner man | man -l -
  clusterrunner man --output ~/.local/share/man/man1")]
    Man(ManOptions),
    /// Show who asked the farm for what, when and from where
    #[command(after_help = audit::HELP)]
    Audit(AuditOptions),
    /// Show the pools: slaves that are started when work waits
    #[command(after_help = pools::HELP)]
    Pools(PoolsOptions),
    /// Print the version of this program, and what it consists of
    #[command(after_help = "\
Examples:
  clusterrunner version             the version alone
  clusterrunner version -v          the crates that are linked into the program, with their licences
  clusterrunner version --sbom      the same as a software bill of materials (CycloneDX)")]
    Version(VersionOptions),
}

/// Where the master is.
#[derive(Args, Debug)]
pub(crate) struct MasterAddress {
    /// The master's address, with https:// before it if the settings here are not for HTTPS
    /// [default: `hostname`:`port` of the settings]
    #[arg(
        short,
        long,
        global = true,
        value_name = "HOST:PORT",
        value_parser = master_address,
        display_order = 800
    )]
    pub(crate) master_url: Option<String>,
    /// Keep retrying for this long if the master does not answer, for example during its restart
    /// [default: 60; 0 where a command only looks]
    #[arg(long, global = true, value_name = "SECONDS", display_order = 801)]
    patience: Option<u64>,
    /// Ask as the user of this token, without the farm's secret; better in the variable CLUSTERRUNNER_TOKEN, since
    /// other users of this machine can see command lines
    #[arg(long, global = true, value_name = "TOKEN", display_order = 803)]
    pub(crate) token: Option<UserToken>,
}

/// How long a command that waits for something keeps retrying where nothing else is said.
const USUAL_PATIENCE: Duration = Duration::from_secs(60);

/// Refuses what is no address before anything is called.
fn master_address(text: &str) -> Result<String, InvalidMasterAddress> {
    text.parse::<ParsedAddress>()?;
    Ok(text.trim_end_matches('/').to_owned())
}

impl MasterAddress {
    /// How long a command that waits for something keeps retrying.
    pub(crate) fn patience(&self) -> Duration {
        self.patience_or(USUAL_PATIENCE)
    }

    /// The patience that was given, or else this one.
    pub(crate) fn patience_or(&self, usual: Duration) -> Duration {
        self.patience.map_or(usual, Duration::from_secs)
    }

    /// The address that was given, with the usual port where it names none.
    pub(crate) fn with_port(&self, usual: u16) -> Option<String> {
        let given = self.master_url.as_ref()?;
        let host = given
            .split_once("://")
            .map_or(given.as_str(), |(_, host)| host);
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']'));
        Some(match has_port {
            true => given.clone(),
            false => format!("{given}:{usual}"),
        })
    }
}

/// The build that a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuildChoice {
    /// The one with this number.
    Number(BuildId),
    /// The newest one of the project in the present directory; where that has none, of the farm.
    Latest,
}

impl BuildChoice {
    fn read(text: &str) -> Result<Self, &'static str> {
        match text {
            "latest" => Ok(Self::Latest),
            number => number.parse().map(Self::Number).map_err(
                |_| "expected a whole number, as `clusterrunner status` shows it, or `latest`",
            ),
        }
    }
}

impl fmt::Display for BuildChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(build) => build.fmt(f),
            Self::Latest => f.write_str("latest"),
        }
    }
}

/// The number of a slave or of an attempt.
fn number<T: std::str::FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse()
        .map_err(|_| "expected a whole number, as `clusterrunner status` and `slaves` show it")
}
