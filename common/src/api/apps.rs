//! Apps and their logs, as `/v2/apps` and `/v2/app_logs/<id>` show them, and what comes of a command while it runs. All of
//! it is ours.

use super::launching::InstanceStatus;
use crate::ids::{InstanceId, ProjectId, SlaveId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// An app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppView {
    /// The number of the project that it is the app of.
    pub project_id: ProjectId,
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
    /// The process types that the newest release can run, whether any is wanted or not, in order.
    pub process_types: Vec<String>,
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
    /// What the caller may do with it.
    pub access: AppAccess,
}

/// What a caller may do with an app; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppAccess {
    /// See it, its log and its config.
    Read,
    /// Scale it, configure it, roll it back.
    Use,
    /// Delete it.
    Own,
}

/// `PUT /v2/apps/APP`: one change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeApp {
    /// How many of each process type that is named are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structure: Option<BTreeMap<String, u32>>,
    /// What is to be another in the config; it makes a release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ChangeAppConfig>,
    /// Make a release of what this earlier one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roll_back_to: Option<u64>,
}

/// What is to be another in a config. A key with null is removed, what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeAppConfig {
    /// Variables.
    #[serde(default)]
    pub values: BTreeMap<String, Option<Value>>,
    /// Memory limits of process types.
    #[serde(default)]
    pub memory: BTreeMap<String, Option<Value>>,
    /// Weights of process types.
    #[serde(default)]
    pub cpu: BTreeMap<String, Option<Value>>,
    /// Tags that slaves must have.
    #[serde(default)]
    pub tags: BTreeMap<String, Option<Value>>,
}

/// `{"config": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppConfigBody {
    /// The config of the newest release.
    pub config: AppConfigView,
}

/// A config, with what its variables are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppConfigView {
    /// Variables.
    pub values: BTreeMap<String, Value>,
    /// Memory limits of process types.
    pub memory: BTreeMap<String, Value>,
    /// Weights of process types.
    pub cpu: BTreeMap<String, Value>,
    /// Tags that slaves must have.
    pub tags: BTreeMap<String, Value>,
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
