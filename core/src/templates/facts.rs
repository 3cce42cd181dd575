//! What happens to templates.

use clusterrunner_common::ids::{BuildId, ProjectId};
use clusterrunner_common::templates::TemplateContent;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What happens to a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateFact {
    /// A build left it, and its snapshot is stored: it has a new id, and the name points at it.
    Registered {
        /// The name.
        name: String,
        /// The project of the build.
        project: ProjectId,
        /// What it was built from.
        source: String,
        /// The commit that it was built from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<String>,
        /// The way in which it was made.
        recipe: String,
        /// The build.
        build: BuildId,
        /// What it consists of.
        content: Box<TemplateContent>,
    },
    /// A build would have left an equal one: the name of that build points at this one.
    Named {
        /// The name.
        name: String,
        /// The build.
        build: BuildId,
    },
    /// All slaves are to fetch it now.
    Preloaded {
        /// The name that was asked for.
        name: String,
    },
    /// Its snapshot is not what its digest says: slaves can not have it, and the next build of its source makes it anew.
    Damaged,
    /// A user deleted a name that points at it.
    NameDeleted {
        /// The name.
        name: String,
    },
    /// It is beyond a bound, and nothing uses it: it leaves memory and disk.
    Removed {
        /// The digest of its snapshot.
        digest: String,
        /// The bound that it was beyond.
        bound: TemplateBound,
    },
}

/// Why a template is not kept any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateBound {
    /// There were too many.
    Number,
    /// The snapshots of all were too large.
    Bytes,
    /// A user deleted its name.
    Deleted,
}

impl fmt::Display for TemplateBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "there are too many (keep_templates)",
            Self::Bytes => "the snapshots of all are too large (keep_templates_bytes)",
            Self::Deleted => "its name was deleted",
        })
    }
}

impl fmt::Display for TemplateFact {
    /// What comes after the template's id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered {
                name,
                build,
                content,
                ..
            } => write!(
                f,
                " registered as {name} by build {build}: {} bytes",
                content.bytes
            ),
            Self::Named { name, build } => write!(f, " used again as {name} by build {build}"),
            Self::Preloaded { name } => write!(f, " preloaded as {name}"),
            Self::Damaged => f.write_str(" is damaged on the master's disk"),
            Self::NameDeleted { name } => write!(f, " has the name {name} no more: it was deleted"),
            Self::Removed { bound, .. } => write!(f, " removed: {bound}"),
        }
    }
}
