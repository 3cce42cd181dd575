//! What earlier builds say of atoms and tests. Ours.

use crate::ids::{BuildId, ProjectId};
use crate::junit::TestOutcome;
use serde::{Deserialize, Serialize};

/// Answer to `GET /v2/history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryBody {
    /// What has the name that was asked for.
    pub history: Vec<HistoryView>,
}

/// Answer to `GET /v2/flaky`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlakyBody {
    /// Those of the page: the flaky ones and then the suspicious ones, first what is flaky most surely.
    pub flaky: Vec<HistoryView>,
    /// How many there are.
    pub total: u64,
}

/// An atom or a test, and how it went in the builds that are over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryView {
    /// Whether it is an atom, or a test that an atom reported.
    pub kind: HistoryKind,
    /// Its name; of an atom its value.
    pub name: String,
    /// The class of a test, where its report names one.
    pub class: Option<String>,
    /// The value of the atom that ran a test; `None` of an atom.
    pub atom: Option<String>,
    /// The project.
    pub project_id: ProjectId,
    /// Its name.
    pub project: String,
    /// The job.
    pub job: String,
    /// How it went in the latest builds, the oldest first.
    pub runs: Vec<RunView>,
    /// How long it takes in seconds, by the runs that passed, or that failed if none did.
    pub durations: Option<DurationsView>,
    /// What all that is remembered says of flakiness.
    pub flakiness: FlakinessView,
    /// The first build in which it failed, as far as that is remembered.
    pub first_failed: Option<FailedView>,
    /// The last one.
    pub last_failed: Option<FailedView>,
}

/// What something is that runs in builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryKind {
    /// An atom.
    Atom,
    /// A test.
    Test,
}

/// How an atom or a test went in a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    /// The build.
    pub build_id: BuildId,
    /// The beginning of the commit, eight digits, where one was built.
    pub commit: Option<String>,
    /// How it ended; `flaky` where it passed when it was run again.
    pub outcome: TestOutcome,
    /// How often it had failed before that, in this build.
    pub failed_attempts: u32,
    /// How long it took in seconds when it ended so.
    pub time: f64,
}

/// Quantiles, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DurationsView {
    /// One of ten runs is shorter.
    pub p10: f64,
    /// Half of them are.
    pub median: f64,
    /// Nine of ten are.
    pub p90: f64,
    /// None is longer.
    pub max: f64,
}

/// What is to be said of flakiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlakyVerdict {
    /// No failure was a flake.
    Stable,
    /// Some were, but that may have been chance or a machine.
    Suspicious,
    /// It is flaky.
    Flaky,
}

/// How probable it is that a run fails though nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlakinessView {
    /// What is to be said of it.
    pub verdict: FlakyVerdict,
    /// The expected probability.
    pub rate: f64,
    /// The probability is higher than this in 19 of 20 cases,
    pub low: f64,
    /// and lower than this.
    pub high: f64,
    /// How many runs say something of it: one for each build at most, and those of hunts.
    pub trials: u32,
    /// How many of them were flakes.
    pub flakes: u32,
    /// How many of the trials of the builds in `runs` were hunts; 0 where hunts are left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hunted: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde asks for"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A build in which something failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedView {
    /// The build.
    pub build_id: BuildId,
    /// The commit that was built, if it was one.
    pub commit: Option<String>,
    /// When the build was over, in seconds since 1970.
    pub at: f64,
}
