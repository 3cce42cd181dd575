//! Templates and instances, as `/v2/templates` and `/v2/instances` show and take them. All of it is ours.

use super::BuildStatus;
use crate::ids::{BuildId, Generation, InstanceId, SlaveId, TemplateId};
use crate::templates::Form;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A name of templates, and what it points at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateView {
    /// The name.
    pub name: String,
    /// The repository that it is made of, without credentials.
    pub repository: Option<String>,
    /// The newest build of the name.
    pub build_id: BuildId,
    /// Where that build stands; null if it is not known any more.
    pub build_status: Option<BuildStatus>,
    /// When the name was first built, in seconds since 1970.
    pub created: f64,
    /// When it was built again, in seconds since 1970.
    pub modified: Option<f64>,
    /// The newest template; null until a build has left one.
    pub template: Option<TemplateDetails>,
}

/// A template: what is started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateDetails {
    /// The template's number.
    pub id: TemplateId,
    /// The build that left it.
    pub build_id: BuildId,
    /// The commit that it was made of; null where the source has no commits.
    pub commit: Option<String>,
    /// The file that said how to build it, such as `requirements.txt`; null for the repository as it is.
    pub recipe: Option<String>,
    /// What its snapshot is.
    pub form: Form,
    /// The SHA-256 of its snapshot.
    pub digest: String,
    /// How many bytes the snapshot has.
    pub bytes: u64,
    /// Whether the snapshot is damaged on the master's disk: only slaves that have it can run it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_damaged: bool,
    /// The port that its process is expected to want; null if nothing says.
    pub port: Option<u16>,
    /// The start that its Dockerfile says; empty where there is none.
    pub command: Vec<String>,
    /// The process types of its Procfile, and the shell text of each.
    pub processes: BTreeMap<String, String>,
    /// When it was registered, in seconds since 1970.
    pub created: f64,
}

/// `{"templates": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplatesBody {
    /// By name.
    pub templates: Vec<TemplateView>,
}

/// `{"template": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateBody {
    /// The template of that name as it is now.
    pub template: TemplateView,
}

/// `POST /v2/templates`: make a template of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildTemplate {
    /// The URL of the repository, which may end in `/tree/<branch>`.
    pub repository: String,
    /// Branch, tag or full ref name; without it the branch of the URL, or the repository's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// A commit, full or abbreviated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether a build of the same name that is under way is canceled, and no earlier template used again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// Answer to `POST /v2/templates`: status 202.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateAccepted {
    /// The build that makes the template.
    pub build_id: BuildId,
    /// The name under which the template can be launched.
    pub name: String,
}

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceStatus {
    /// Accepted; it waits for a slave.
    Waiting,
    /// A slave has it: it fetches the template or starts the process.
    Starting,
    /// Its port answers.
    Up,
    /// Its process ended and is started again after a pause.
    Crashed,
    /// It was stopped, or ended because nobody used it.
    Stopped,
    /// It could not be started, or crashed too often.
    Failed,
}

impl InstanceStatus {
    /// Whether nothing will change any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed)
    }
}

impl fmt::Display for InstanceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Crashed => "crashed",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        })
    }
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceView {
    /// The instance's number.
    pub id: InstanceId,
    /// Its public id: 32 hexadecimal digits.
    pub key: String,
    /// The name of the template that it runs; of an app's what the app build names.
    pub template: String,
    /// The template's number; none where it runs an image that its slave pulls, or nothing.
    pub template_id: Option<TemplateId>,
    /// Where it stands.
    pub status: InstanceStatus,
    /// Why it does not run, or waits.
    pub reason: Option<String>,
    /// Below which path of the master it is reached; empty for an app's, which is reached by the app's hosts.
    pub path: String,
    /// The slave that has it.
    pub slave_id: Option<SlaveId>,
    /// The number of its placement; 0 before the first.
    pub generation: Generation,
    /// How often its process was started again.
    pub restarts: u32,
    /// The command that was asked for; empty for the default start.
    pub command: Vec<String>,
    /// The most memory that it may have, in bytes.
    pub max_memory_bytes: Option<u64>,
    /// After how many seconds without a request it ends; null for never.
    pub cull_after: Option<f64>,
    /// When it was asked for, in seconds since 1970.
    pub created: f64,
    /// When it changed last, in seconds since 1970.
    pub changed: f64,
}

/// `{"instances": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstancesBody {
    /// By number.
    pub instances: Vec<InstanceView>,
}

/// `{"instance": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceBody {
    /// The instance as it is now.
    pub instance: InstanceView,
}

/// `POST /v2/instances`: start an instance of a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchInstance {
    /// The name of the template.
    pub template: String,
    /// The command; empty for the default start of the template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Variables beside those of the template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The most memory that it may have, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_bytes: Option<u64>,
    /// After how many seconds without a request it ends; 0 for never. Without it, after an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cull_after: Option<u64>,
}

/// A part of what an instance printed: `GET /v2/instances/<id>/logs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceLogBody {
    /// The place in the text, in bytes, at which the part begins: the one that was asked for, or a later one if what was
    /// there is not kept any more.
    pub offset: u64,
    /// The text.
    pub content: String,
    /// Where the next part begins.
    pub next_offset: u64,
    /// Whether nothing comes after this part.
    pub is_complete: bool,
}
