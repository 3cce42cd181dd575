//! What has happened: the facts that are stored, and that the state is the fold of. Each family of facts is in the
//! folder of its subject.
//!
//! Stored events are never edited. A new need is a new variant, or a new field with a default.

pub use crate::accounts::facts::{AccountFact, ProjectFact};
pub use crate::accounts::sign_ins::SignInFact;
pub use crate::apps::facts::AppFact;
pub use crate::builds::facts::{Bound, BuildFact};
pub use crate::instances::facts::InstanceFact;
pub use crate::lifetime::facts::{FarmFact, IncarnationCause};
pub use crate::slaves::facts::{KeptHandOut, Loss, SlaveFact};
pub use crate::slaves::key_facts::KeyFact;
pub use crate::templates::facts::TemplateFact;

use super::actor::Actor;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, InstanceId, ProjectId, SlaveId, TemplateId, UserId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A fact, with its moment and the actor that caused it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened.
    pub at: Timestamp,
    /// The actor that caused it.
    pub by: Actor,
    /// What happened.
    pub fact: Fact,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// To a build.
    Build(BuildId, BuildFact),
    /// To a slave.
    Slave(SlaveId, SlaveFact),
    /// To the master and its journal.
    Farm(FarmFact),
    /// To a user.
    Account(UserId, AccountFact),
    /// To a project.
    Project(ProjectId, ProjectFact),
    /// To a template.
    Template(TemplateId, TemplateFact),
    /// To an instance.
    Instance(InstanceId, InstanceFact),
    /// To the app of a project.
    App(ProjectId, AppFact),
    /// To a key of a slave, or a token with which slaves join.
    SlaveKey(KeyFact),
    /// To whoever signs in to the page.
    SignIn(SignInFact),
}

/// The build and the slave that a fact is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The build, if it is about one.
    pub build: Option<BuildId>,
    /// The slave, if it is about one.
    pub slave: Option<SlaveId>,
}

impl Fact {
    /// What it is about. Neither build nor slave: the whole farm.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::Build(build, fact) => Subject {
                build: Some(*build),
                slave: fact.slave(),
            },
            Self::Slave(slave, _) => Subject {
                build: None,
                slave: Some(*slave),
            },
            Self::Instance(_, fact) => Subject {
                build: None,
                slave: fact.slave(),
            },
            Self::Farm(_)
            | Self::Account(..)
            | Self::Project(..)
            | Self::Template(..)
            | Self::App(..)
            | Self::SlaveKey(_)
            | Self::SignIn(_) => Subject::default(),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(build, fact) => write!(f, "build {build}{fact}"),
            Self::Slave(slave, fact) => write!(f, "slave {slave}{fact}"),
            Self::Farm(fact) => fact.fmt(f),
            Self::Account(user, fact) => write!(f, "user {user}{fact}"),
            Self::Project(project, fact) => write!(f, "project {project}{fact}"),
            Self::Template(template, fact) => write!(f, "template {template}{fact}"),
            Self::Instance(instance, fact) => write!(f, "instance {instance}{fact}"),
            Self::App(project, fact) => write!(f, "app of project {project}{fact}"),
            Self::SlaveKey(fact) => fact.fmt(f),
            Self::SignIn(fact) => fact.fmt(f),
        }
    }
}
