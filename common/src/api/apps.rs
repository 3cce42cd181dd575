//! Apps and their logs, as `/v2/apps` and `/v2/app_logs/<id>` show them, and what comes of a command while it runs. All of
//! it is ours.

use super::launching::InstanceStatus;
use crate::ids::{InstanceId, SlaveId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppView {
    /// Its name, unique on the farm.
    pub id: String,
    /// The name of its owner; null where the user is gone.
    pub owner: Option<String>,
    /// The host name below the domain of apps by which it is reached; null where the settings name no domain.
    pub host: Option<String>,
    /// Further host names that lead to it, in order.
    pub domains: Vec<String>,
    /// Whether its newest release has something to run.
    pub is_deployed: bool,
    /// The newest release.
    pub release: AppReleaseView,
    /// How many of each process type are wanted.
    pub structure: BTreeMap<String, u32>,
    /// Its processes, those of single commands left out: by type, number and age. While a release takes the place of another,
    /// a type and number is there twice.
    pub processes: Vec<AppProcessView>,
    /// The names of the variables of the newest release, without what they are.
    pub config_keys: Vec<String>,
    /// When it was created, in seconds since 1970.
    pub created: f64,
    /// When it changed last, in seconds since 1970.
    pub updated: f64,
}

/// A release of an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppReleaseView {
    /// Its version, from 1 without gaps.
    pub version: u64,
    /// What is another than in the release before, for people.
    pub summary: String,
    /// The name of who made it; null where the user is gone.
    pub by: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created: f64,
}

/// A process of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppProcessView {
    /// Its type and number, such as `web.1`.
    pub name: String,
    /// Where it stands.
    pub status: InstanceStatus,
    /// Why it does not run, or waits.
    pub reason: Option<String>,
    /// The version of its release.
    pub release: u64,
    /// The slave that has it.
    pub slave_id: Option<SlaveId>,
    /// The instance that it is.
    pub instance_id: InstanceId,
    /// How often it was started again.
    pub restarts: u32,
}

/// `{"apps": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppsBody {
    /// By id.
    pub apps: Vec<AppView>,
}

/// `{"app": ..., "releases": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppBody {
    /// The app as it is now.
    pub app: AppView,
    /// Its latest releases, the newest first.
    pub releases: Vec<AppReleaseView>,
}

/// A part of the log of an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppLogBody {
    /// The number of the first line: the one that was asked for, or a later one if that is not kept any more.
    pub first: u64,
    /// The lines, the oldest first.
    pub lines: Vec<AppLogLine>,
    /// The number of the line after them.
    pub next: u64,
}

/// A line of the log of an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppLogLine {
    /// When the master got it, in seconds since 1970.
    pub at: f64,
    /// The process that printed it, such as `web.1`; null where the master says it of the app.
    pub process: Option<String>,
    /// The line, without its end.
    pub text: String,
}

/// What comes of a command that runs in an app: a line of JSON each, `{"output": "..."}` again and again, and one of the
/// others last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunLine {
    /// The next of what it prints.
    Output(String),
    /// It has ended, with this exit code: 128 + n by signal n.
    Rc(i32),
    /// It could not be run to its end: why, for the user.
    Error(String),
}
