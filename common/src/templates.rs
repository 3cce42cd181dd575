//! Templates: results of builds that can be started. What the slave that builds a template says of it, and what a
//! request asks for.

pub mod dockerfile;
mod failure;
mod recipe;
mod source_name;

pub use failure::{failure_in, failure_line, image_not_used};
pub use recipe::{DOCKERFILE, Recipe, WrongRecipe};
pub use source_name::{SourceName, usable_name};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The file in `$ARTIFACT_DIR` with the [`TemplateDescription`] that a build leaves.
pub const DESCRIPTION: &str = "template.json";

/// The file in `$ARTIFACT_DIR` with the snapshot that a build leaves.
pub const SNAPSHOT: &str = "snapshot.tar.gz";

/// That a build is to leave a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// The name that is to point at the template. If another source has it, the core adds to it.
    pub name: String,
    /// What names the way in which the template is made, such as a digest of the steps. A template of the same source,
    /// commit and recipe is used again.
    pub recipe: String,
    /// The image in which given steps are carried out, if they are in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The path of the Dockerfile that says how it is made, if the code has one there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// Whether a build of the same name that is under way is canceled, and no earlier template used again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_forced: bool,
}

/// What a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A tar archive, compressed with gzip, of the template's directory: the workspace in `source`, what was installed
    /// for it in `environment`.
    Workspace,
    /// An image archive, compressed with gzip, as `podman save` and `docker save` write it.
    Image,
}

/// What a template consists of. Nothing in it ever changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateContent {
    /// The SHA-256 of the snapshot's file, in 64 hexadecimal digits.
    pub digest: String,
    /// How many bytes the snapshot has.
    pub bytes: u64,
    /// How it is started.
    pub description: TemplateDescription,
}

/// A template that a build takes, and the word that stands for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedTemplate {
    /// As the job or a Dockerfile names it, such as `name:latest`.
    pub reference: String,
    /// What it consists of.
    pub snapshot: TemplateContent,
}

/// What a build says of the template that it leaves. It comes from a slave's commands: nothing in it is believed before
/// it was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateDescription {
    /// What the snapshot is.
    pub form: Form,
    /// The directory at which the template was built and at which it must be found wherever it runs, since virtual
    /// environments hold absolute paths. None for an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The name of the image in its archive. None for a workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The file that said how to build it, such as `requirements.txt`; none for a repository as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// The port that its process is expected to want, as EXPOSE says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The start that a Dockerfile's ENTRYPOINT and CMD say; empty where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The process types of a Procfile, and the shell text of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub processes: BTreeMap<String, String>,
    /// Variables that its processes have, such as those of ENV.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Where its processes start, relative to the workspace; empty for the workspace itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub directory: String,
}
