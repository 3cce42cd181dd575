//! What a project is: its owner, its name, what is said of it. All projects together: `all_projects`.

use crate::accounts::owner::Owner;
use crate::accounts::project_names::repository_name;
use crate::accounts::secrets::NamedSecret;
use crate::builds::build::Build;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{ProjectId, UserId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is said of a project that is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewProject {
    /// The name, unique among the owner's projects.
    pub name: String,
    /// For people; may be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// For people, without duplicates; none where none were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Whether everyone may read it.
    pub is_public: bool,
    /// The URL of its repository; none where it is to have one of its own on the master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_url: Option<String>,
}

/// What is to be said of a project from now on; what is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProjectChange {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// For people, without duplicates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Whether everyone may read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_public: Option<bool>,
    /// The URL of its repository; empty for one of its own on the master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_url: Option<String>,
}

impl ProjectChange {
    /// Whether nothing is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The project's id.
    pub id: ProjectId,
    /// The owner of it and of its builds.
    pub owner: Owner,
    /// The name, unique among the owner's projects.
    #[serde(default)]
    pub name: String,
    /// Where it comes from, such as `git https://host/repository.git`; empty where its builds come from its own
    /// repository on the master.
    pub source: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// For people, each once; none where nobody ever gave any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Whether only its owner and its collaborators may read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_private: bool,
    /// Users that may do all with it but delete it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub collaborators: BTreeSet<UserId>,
    /// When it was made, or began with its first build.
    #[serde(default = "unknown_time")]
    pub created: Timestamp,
    /// When something else was last said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Timestamp>,
    /// The newest commit of its own repository on the master, once code was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The secrets of its builds, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, NamedSecret>,
    /// Whether it stays without builds: a user made it, or has said something of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_kept: bool,
}

fn unknown_time() -> Timestamp {
    Timestamp(0)
}

/// How a source begins that is a repository.
const GIT: &str = "git ";

impl Project {
    /// A project that a user makes.
    #[must_use]
    pub fn made(id: ProjectId, owner: Owner, new: NewProject, at: Timestamp) -> Self {
        Self {
            id,
            owner,
            name: new.name,
            source: source_of(new.git_url),
            description: new.description,
            tags: new.tags,
            is_private: !new.is_public,
            collaborators: BTreeSet::new(),
            created: at,
            changed: None,
            code: None,
            secrets: BTreeMap::new(),
            is_kept: true,
        }
    }

    /// The project that begins with a build. Its name may be taken.
    #[must_use]
    pub fn of(build: &Build) -> Self {
        let source = build.request.project_key();
        Self {
            id: build.project,
            owner: build.owner,
            name: repository_name(&source),
            source,
            description: None,
            tags: None,
            is_private: false,
            collaborators: BTreeSet::new(),
            created: build.timestamps.queued.unwrap_or_else(unknown_time),
            changed: None,
            code: None,
            secrets: BTreeMap::new(),
            is_kept: false,
        }
    }

    pub(super) fn change(&mut self, change: ProjectChange, at: Timestamp) {
        let ProjectChange {
            name,
            description,
            tags,
            is_public,
            git_url,
        } = change;
        if let Some(name) = name {
            self.name = name;
        }
        if description.is_some() {
            self.description = description;
        }
        if tags.is_some() {
            self.tags = tags;
        }
        if let Some(is_public) = is_public {
            self.is_private = !is_public;
        }
        if git_url.is_some() {
            let before = std::mem::replace(&mut self.source, source_of(git_url));
            for secret in self.secrets.values_mut() {
                secret.source.get_or_insert_with(|| before.clone());
            }
        }
        self.changed = Some(at);
        self.is_kept = true;
    }

    /// What of a change is not so already.
    pub(super) fn news_of(&self, change: ProjectChange) -> ProjectChange {
        let git_url = |url: &String| source_of(Some(url.clone())) != self.source;
        ProjectChange {
            name: change.name.filter(|name| *name != self.name),
            description: change
                .description
                .filter(|text| self.description.as_ref() != Some(text)),
            tags: change.tags.filter(|tags| self.tags.as_ref() != Some(tags)),
            is_public: change.is_public.filter(|is| *is == self.is_private),
            git_url: change.git_url.filter(git_url),
        }
    }

    /// Whether everyone may read it, as far as reads are open to them.
    #[must_use]
    pub fn is_public(&self) -> bool {
        !self.is_private
    }

    /// Whether the user may do all with it but delete it, beside its owner.
    #[must_use]
    pub fn has_collaborator(&self, user: UserId) -> bool {
        self.collaborators.contains(&user)
    }

    /// The name, unique among the owner's projects.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of its repository; none where its builds come from elsewhere.
    #[must_use]
    pub fn git_url(&self) -> Option<&str> {
        self.source.strip_prefix(GIT)
    }

    /// Whether its builds come from its own repository on the master.
    #[must_use]
    pub fn has_own_repository(&self) -> bool {
        self.source.is_empty()
    }

    /// When it was made, or something else was last said of it.
    #[must_use]
    pub fn updated(&self) -> Timestamp {
        self.changed.unwrap_or(self.created)
    }
}

fn source_of(git_url: Option<String>) -> String {
    match git_url {
        Some(url) if !url.is_empty() => format!("{GIT}{url}"),
        _ => String::new(),
    }
}
