//! What happens to apps. What happens to their instances is told of the instances.

use super::app::{AppBuild, AppConfig, Release};
use crate::accounts::owner::Owner;
use clusterrunner_common::ids::InstanceId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What happens to an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppFact {
    /// A project is deployed from now on.
    Created {
        /// The app's id.
        id: String,
        /// Whether the project was made with it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        owns_project: bool,
        /// Its first config, which is empty.
        config: Box<AppConfig>,
        /// Its first release: an app is never without one.
        release: Box<Release>,
    },
    /// It has another config. The release with it comes in the same turn.
    Configured {
        /// The config.
        config: Box<AppConfig>,
    },
    /// It has another app build. The release with it comes in the same turn.
    Built {
        /// The app build.
        build: Box<AppBuild>,
    },
    /// It has another newest release.
    Released {
        /// The release.
        release: Box<Release>,
    },
    /// Other numbers of some process types are wanted; those of the other types stay.
    Scaled {
        /// The numbers of the types that were named. The whole structure follows from all such facts.
        numbers: BTreeMap<String, u32>,
    },
    /// A domain leads to it.
    DomainAdded {
        /// The domain.
        domain: String,
        /// The owner.
        owner: Owner,
    },
    /// A domain does not lead to it any more.
    DomainRemoved {
        /// The domain.
        domain: String,
    },
    /// A command is to be run. Its instance is launched in the same turn.
    RunStarted {
        /// The number of the run.
        num: u32,
        /// Its instance.
        instance: InstanceId,
        /// The command.
        command: String,
    },
    /// It is gone. All that it ran was stopped before.
    Deleted,
}

impl fmt::Display for AppFact {
    /// What comes after the project's id. No variables: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { id, .. } => write!(f, " created: {id}"),
            Self::Configured { config } => write!(f, " has config {}", config.number),
            Self::Built { build } => write!(f, " has build {}: {}", build.number, build.image),
            Self::Released { release } => {
                write!(f, " has release v{}: {}", release.version, release.summary)
            }
            Self::Scaled { numbers } => write!(f, " scaled: {}", numbers_text(numbers)),
            Self::DomainAdded { domain, .. } => write!(f, " has domain {domain}"),
            Self::DomainRemoved { domain } => write!(f, " has domain {domain} no more"),
            Self::RunStarted { num, instance, .. } => {
                write!(f, " runs a command: run {num}, instance {instance}")
            }
            Self::Deleted => f.write_str(" deleted"),
        }
    }
}

/// Numbers of process types as people read them: `cmd=0 web=3`.
#[must_use]
pub fn numbers_text(numbers: &BTreeMap<String, u32>) -> String {
    let each = numbers.iter();
    let each: Vec<String> = each
        .map(|(process, number)| format!("{process}={number}"))
        .collect();
    each.join(" ")
}
