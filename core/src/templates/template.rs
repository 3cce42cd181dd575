//! What a template is, and what a name is that points at templates.

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, ProjectId, TemplateId};
use clusterrunner_common::templates::{Form, TemplateContent};
use serde::{Deserialize, Serialize};

/// A template. It is stored: a new field needs `#[serde(default)]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Its id.
    pub id: TemplateId,
    /// The name that it was built for. Other names may point at it, too.
    pub name: String,
    /// The project of the build that left it.
    pub project: ProjectId,
    /// What it was built from, as the key of the request's project.
    pub source: String,
    /// The commit that it was built from; none where the source has no commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The way in which it was made, as the request names it.
    pub recipe: String,
    /// What it consists of.
    pub content: TemplateContent,
    /// The build that left it.
    pub build: BuildId,
    /// When it was registered.
    pub created: Timestamp,
    /// When it was last registered, named, preloaded or launched: the bounds take the one first that was not used for
    /// longest.
    pub used: Timestamp,
    /// Whether its snapshot is damaged on the master's disk: no build uses it again. Slaves that have it still run it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_damaged: bool,
}

impl Template {
    /// The digest of its snapshot.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.content.digest
    }

    /// Whether only a slave with a container runtime can run it.
    #[must_use]
    pub fn is_image(&self) -> bool {
        matches!(self.content.description.form, Form::Image)
    }
}

/// What a name points at. It is stored: a new field needs `#[serde(default)]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// The only source whose builds may have the name.
    pub source: String,
    /// The newest build of the name.
    pub build: BuildId,
    /// The newest template; none before the first build has left one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateId>,
    /// The build that made the name point at that template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named_by: Option<BuildId>,
    /// When the name first pointed at a template; before that, when it was first claimed.
    pub created: Timestamp,
    /// When a later build made it point at a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// When all slaves were last told to fetch the template that it points at; none if they never were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preload: Option<Timestamp>,
}
