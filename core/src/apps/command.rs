//! What can be asked for about apps, and why it may mean nothing.

use clusterrunner_common::ids::ProjectId;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// An order about apps.
#[derive(Clone, Debug, PartialEq)]
pub enum AppCommand {
    /// Create an app. A project of the actor with that name is deployed, or one is made.
    Create {
        /// The app's id.
        id: String,
    },
    /// Merge a change into the config of the newest release, and make a config and a release of it.
    Configure {
        /// The project of the app.
        project: ProjectId,
        /// What is to be another.
        change: Box<ConfigChange>,
    },
    /// Make an app build, and a release with the config of the newest one.
    Build {
        /// The project of the app.
        project: ProjectId,
        /// What to run.
        build: Box<NewAppBuild>,
    },
    /// Make a release with the app build and the config of an earlier one.
    Rollback {
        /// The project of the app.
        project: ProjectId,
        /// The version of the earlier one; none for the one before the newest.
        version: Option<u64>,
    },
    /// Have other numbers of some process types.
    Scale {
        /// The project of the app.
        project: ProjectId,
        /// The number of each type that is named.
        numbers: BTreeMap<String, u32>,
    },
    /// Lead a domain to an app. The family looks that it is no name under the farm's own domain of apps.
    AddDomain {
        /// The project of the app.
        project: ProjectId,
        /// The domain.
        domain: String,
    },
    /// Lead a domain to an app no more.
    RemoveDomain {
        /// The project of the app.
        project: ProjectId,
        /// The domain.
        domain: String,
    },
    /// Run a command in an instance of its own, once. Where it was asked for with this key already, nothing happens.
    Run {
        /// The project of the app.
        project: ProjectId,
        /// The public id of the instance: 32 lower-case hexadecimal digits, made at random.
        key: String,
        /// A text for a shell.
        command: String,
    },
    /// Delete an app with all that it has; and its project, if that was made with it.
    Destroy {
        /// The project of the app.
        project: ProjectId,
    },
}

/// What is to be another in a config than before. A key with nothing is removed; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigChange {
    /// Variables.
    pub values: BTreeMap<String, Option<Value>>,
    /// Memory limits of process types.
    pub memory: BTreeMap<String, Option<Value>>,
    /// Weights of process types.
    pub cpu: BTreeMap<String, Option<Value>>,
    /// Tags of slaves.
    pub tags: BTreeMap<String, Option<Value>>,
}

/// What is asked for in an app build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewAppBuild {
    /// What to run: a template, an app's release, or an image.
    pub image: String,
    /// The commit; empty for that of the template.
    pub sha: String,
    /// The process types and the shell text of each; empty for those of the template.
    pub procfile: BTreeMap<String, String>,
    /// The Dockerfile; empty for that of the template.
    pub dockerfile: String,
}

/// One of the maps of a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigMap {
    /// The variables.
    Values,
    /// The memory limits.
    Memory,
    /// The weights.
    Cpu,
    /// The tags of slaves.
    Tags,
}

impl ConfigMap {
    /// Its name in requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Tags => "tags",
        }
    }
}

impl fmt::Display for ConfigMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with an entry of a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigFault {
    /// No variable can have the name.
    #[error("a variable has a name on one line without '=', at most 256 bytes long")]
    VariableName,
    /// The value is a list or a map, or has a NUL.
    #[error("a variable is a text, a number or a truth value, without NUL")]
    VariableValue,
    /// The key begins as no process type begins.
    #[error("process types begin with letters (a-z)")]
    ProcessType,
    /// The memory is no number with a unit.
    #[error("memory is a number and a unit: B, K, M or G")]
    Memory,
    /// The weight is no integer.
    #[error("a weight is an integer")]
    CpuNumber,
    /// The weight is out of bounds.
    #[error("a weight is from 0 to 1024")]
    CpuRange,
    /// The tag has no such key.
    #[error("the key of a tag has letters (a-z) only")]
    TagKey,
    /// The tag has no such value.
    #[error("the value of a tag has letters, digits and _ only")]
    TagValue,
    /// There is too much of it.
    #[error("a config has at most 1000 entries in each map and 65536 bytes in all")]
    TooLarge,
}

/// Why no app can have an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdFault {
    /// It has other characters, or none.
    #[error("an app's id has letters (a-z), digits and '-' only")]
    Characters,
    /// It is too long.
    #[error("an app's id has at most 64 characters")]
    Length,
    /// The farm uses it itself.
    #[error("an app can not be called 'deis'")]
    Reserved,
}

/// Why no app can have a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DomainFault {
    /// It is no host name.
    #[error("a domain has at least two labels of letters (a-z), digits and '-'")]
    NoHostName,
    /// It stands for many host names.
    #[error("a domain is one host name, without '*'")]
    Wildcard,
}

/// Why an order about apps means nothing now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppRefusal {
    /// The project is no app.
    #[error("project {0} is no app")]
    UnknownApp(ProjectId),
    /// Another app has the id, whoever owns it.
    #[error("an app named {0} exists")]
    IdTaken(String),
    /// The owner's project of that name is an app with another id.
    #[error("the project {0} is deployed as another app")]
    ProjectDeployed(String),
    /// No app can have the id.
    #[error(transparent)]
    InvalidId(#[from] IdFault),
    /// The newest release has nothing to run.
    #[error("the newest release has no build")]
    NoBuild,
    /// What the newest release is to run can not be run.
    #[error("{0}")]
    NothingToRun(String),
    /// The newest release has no process of the type.
    #[error("the app has no process type {0}")]
    UnknownProcess(String),
    /// No such release.
    #[error("the app has no release v{0}")]
    UnknownRelease(u64),
    /// There is no release before the first one, and none below version 1.
    #[error("there is no release before v1")]
    NoEarlierRelease,
    /// The domain leads to an app already, maybe to this one.
    #[error("the domain {0} leads to an app already")]
    DomainTaken(String),
    /// No app can have the domain.
    #[error("domain {domain:?}: {why}")]
    InvalidDomain {
        /// The domain.
        domain: String,
        /// What is wrong with it.
        why: DomainFault,
    },
    /// The domain does not lead to this app.
    #[error("the app has no domain {0}")]
    UnknownDomain(String),
    /// An entry of a config can not be.
    #[error("{map}, {key:?}: {why}")]
    InvalidConfig {
        /// The map.
        map: ConfigMap,
        /// The key of the entry.
        key: String,
        /// What is wrong with it.
        why: ConfigFault,
    },
    /// Something else that is asked for can not be.
    #[error("field '{field}' must be {expected}")]
    InvalidField {
        /// The field.
        field: &'static str,
        /// What is right.
        expected: &'static str,
    },
    /// No slave is there at all that could run what the app is to run.
    #[error("no slave is there")]
    NoSlave,
    /// The farm has as many apps as it may have.
    #[error("the farm has {0} apps, which is the most")]
    TooManyApps(usize),
    /// The app has as many releases as an app may have, or they have become too large.
    #[error("the app has as many releases as an app may have ({0}); create another one")]
    TooManyReleases(usize),
    /// An app may not have so many instances.
    #[error("an app may have {0} instances")]
    TooManyInstances(u64),
    /// The apps of the farm may not have so many instances together.
    #[error("the apps of the farm may have {0} instances together")]
    FarmFull(u64),
    /// The app has as many domains as an app may have.
    #[error("the app has {0} domains, which is the most")]
    TooManyDomains(usize),
}
