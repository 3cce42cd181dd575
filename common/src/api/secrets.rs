//! The secrets of builds, as `/v2/secrets` shows and takes them: no answer has a value. Ours.

use crate::ids::ProjectId;
use crate::work::SecretValue;
use serde::{Deserialize, Serialize};

/// The most bytes of a value.
pub const LONGEST_SECRET: usize = 48 << 10;

/// Body of `POST /v2/secrets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSecret {
    /// `NAME` of a project of the caller, `OWNER/NAME`, its number, or the URL of its repository; a project is made for a
    /// repository that has none.
    pub project: String,
    /// The name, which is that of the variable.
    pub name: String,
    /// The value. Left out, a secret that is there stays as it is, and is for the repository that its project has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<SecretValue>,
    /// Whether builds get a file with it, and its path in the variable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_file: bool,
    /// Whether builds of forks get it, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_forks: bool,
}

/// Body of `DELETE /v2/secrets/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveSecret {
    /// As in [`SetSecret`].
    pub project: String,
}

/// Body of `POST /v2/resealed_secrets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResealSecrets {
    /// The secret that the farm had before.
    pub former_secret: SecretValue,
}

/// How many values were sealed anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResealedBody {
    /// Those that the former secret has opened.
    pub resealed: usize,
    /// Those that neither opens, as `OWNER/NAME NAME`.
    pub closed: Vec<String>,
}

/// `{"secrets": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecretsBody {
    /// Those that the caller may see, by project and name.
    pub secrets: Vec<SecretView>,
}

/// `{"secret": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecretBody {
    /// The secret as it is now.
    pub secret: SecretView,
}

/// A secret, without its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecretView {
    /// The project, as `OWNER/NAME`.
    pub project: String,
    /// Its number.
    pub project_id: ProjectId,
    /// The URL of its repository, without credentials; absent where its builds come from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The name.
    pub name: String,
    /// Whether builds get a file with it.
    pub as_file: bool,
    /// Whether builds of forks get it, too.
    pub allow_forks: bool,
    /// When it was set, in seconds since 1970.
    pub set_at: f64,
    /// Who has set it: a user, or `the secret`.
    pub set_by: String,
    /// Why builds can not be given it; `null` where they can.
    pub trouble: Option<String>,
}
