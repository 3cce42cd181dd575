//! Projects. A project that nobody made begins with its first build and ends when its last build is forgotten; one that a
//! user made stays.

use crate::core::Cluster;
use crate::core::builds::build::Build;
use crate::core::event::Actor;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, ProjectId, UserId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the built-in owner.
pub const BUILT_IN: &str = "clusterrunner";

/// The owner of projects and of their builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The built-in owner of what is asked for with the farm's secret. It can not log in.
    ClusterRunner,
    /// A user.
    User(UserId),
}

impl Owner {
    /// The owner of what an actor asks for.
    #[must_use]
    pub(in crate::core) fn of(actor: Actor) -> Self {
        match actor {
            Actor::User(user) => Self::User(user),
            Actor::SecretHolder | Actor::Master | Actor::Slave(_) | Actor::Nobody => {
                Self::ClusterRunner
            }
        }
    }
}

/// What is said of a project that is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewProject {
    /// The name, unique among the owner's projects.
    pub name: String,
    /// For people; may be empty.
    #[serde(default)]
    pub description: Option<String>,
    /// For people, without duplicates.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether everyone may read it.
    pub is_public: bool,
}

/// What a project has that a user made, or has described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// What is said of it.
    pub said: NewProject,
    /// When it was made.
    pub at: Timestamp,
    /// Users that may do all with it but delete it.
    #[serde(default)]
    pub collaborators: BTreeSet<UserId>,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The project's id.
    pub id: ProjectId,
    /// The owner of it and of its builds.
    pub owner: Owner,
    /// Where it comes from, such as `git https://host/repository.git`. Empty where a user made it.
    pub source: String,
    /// What a user said of it; absent where it began with its first build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
}

impl Project {
    /// Whether everyone may read it, as far as reads are open to them.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.made.as_ref().is_none_or(|made| made.said.is_public)
    }

    /// Whether the user may do all with it but delete it, beside its owner.
    #[must_use]
    pub fn has_collaborator(&self, user: UserId) -> bool {
        let made = self.made.as_ref();
        made.is_some_and(|made| made.collaborators.contains(&user))
    }

    /// A short name for people: the given one, or the last part of its source.
    #[must_use]
    pub fn name(&self) -> &str {
        if let Some(made) = &self.made {
            return &made.said.name;
        }
        let source = self.source.trim_end_matches('/');
        let last = source.rsplit(['/', ':']).next().unwrap_or(source);
        last.strip_suffix(".git").unwrap_or(last)
    }

    pub(crate) fn of(build: &Build) -> Self {
        Self {
            id: build.project,
            owner: build.owner,
            source: build.request.project_key(),
            made: None,
        }
    }
}

/// All projects of which there is a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::core) struct Projects {
    /// Ids go on from here, whatever ended since.
    last: u64,
    by_id: BTreeMap<ProjectId, Project>,
    /// Derived from `by_id`.
    #[serde(skip)]
    by_source: BTreeMap<(Owner, String), ProjectId>,
    /// How many builds of each are kept. Derived from the builds.
    #[serde(skip)]
    num_builds: BTreeMap<ProjectId, u64>,
}

impl Projects {
    /// The project that an owner's builds of a source are of: the known one, or the next that begins.
    pub(in crate::core) fn of(&self, owner: Owner, source: String) -> ProjectId {
        let known = self.by_source.get(&(owner, source));
        known.copied().unwrap_or(ProjectId(self.last + 1))
    }

    pub(super) fn next_id(&self) -> ProjectId {
        ProjectId(self.last + 1)
    }

    pub(super) fn make(&mut self, id: ProjectId, owner: Owner, said: NewProject, at: Timestamp) {
        self.last = self.last.max(id.0);
        let made = Made {
            said,
            at,
            collaborators: BTreeSet::new(),
        };
        let project = Project {
            id,
            owner,
            source: String::new(),
            made: Some(made),
        };
        self.by_id.insert(id, project);
    }

    fn add_build(&mut self, project: Project) {
        self.last = self.last.max(project.id.0);
        *self.num_builds.entry(project.id).or_default() += 1;
        if !self.by_id.contains_key(&project.id) {
            let source = (project.owner, project.source.clone());
            self.by_source.insert(source, project.id);
            self.by_id.insert(project.id, project);
        }
    }

    fn remove_build(&mut self, id: ProjectId) {
        let Some(num_builds) = self.num_builds.get_mut(&id) else {
            return;
        };
        *num_builds -= 1;
        if *num_builds == 0 {
            self.num_builds.remove(&id);
            if self
                .by_id
                .get(&id)
                .is_some_and(|project| project.made.is_some())
            {
                return;
            }
            if let Some(project) = self.by_id.remove(&id) {
                self.by_source.remove(&(project.owner, project.source));
            }
        }
    }
}

impl Cluster {
    /// All projects, in the order of their ids.
    pub fn projects(&self) -> impl Iterator<Item = &Project> {
        self.projects.by_id.values()
    }

    /// A project.
    #[must_use]
    pub fn project(&self, id: ProjectId) -> Option<&Project> {
        self.projects.by_id.get(&id)
    }

    /// The owner with a name.
    #[must_use]
    pub fn owner_named(&self, name: &str) -> Option<Owner> {
        match name {
            BUILT_IN => Some(Owner::ClusterRunner),
            name => Some(Owner::User(self.accounts().named(name)?.id)),
        }
    }

    /// The name of an owner; none where the user is gone.
    #[must_use]
    pub fn owner_name(&self, owner: Owner) -> Option<&str> {
        match owner {
            Owner::ClusterRunner => Some(BUILT_IN),
            Owner::User(user) => Some(&self.accounts().user(user)?.name),
        }
    }

    /// The project of a build that is kept and not deleted, archived or not.
    #[must_use]
    pub fn project_of(&self, build: BuildId) -> Option<&Project> {
        match self.is_deleted(build) {
            true => None,
            false => self.project(self.project_id_of(build)?),
        }
    }

    /// The project of an owner with a name.
    #[must_use]
    pub fn project_named(&self, owner: Owner, name: &str) -> Option<&Project> {
        let mut projects = self.projects();
        projects.find(|project| project.owner == owner && project.name() == name)
    }

    pub(in crate::core) fn join_project(&mut self, build: &Build) {
        self.projects.add_build(Project::of(build));
    }

    pub(in crate::core) fn leave_project(&mut self, id: ProjectId) {
        self.projects.remove_build(id);
    }

    /// The projects of all kept builds, derived anew; `put_away` names projects of archived builds that the cluster
    /// may not know.
    pub(in crate::core) fn derived_projects<'a>(
        &self,
        put_away: impl IntoIterator<Item = &'a Project>,
    ) -> Projects {
        let mut derived = Projects {
            last: self.projects.last,
            ..Projects::default()
        };
        let made = self.projects().filter(|project| project.made.is_some());
        for project in made {
            derived.by_id.insert(project.id, project.clone());
        }
        let builds = self.builds.values();
        for build in builds.filter(|build| !self.is_deleted(build.id)) {
            derived.add_build(Project::of(build));
        }
        let found: BTreeMap<ProjectId, &Project> = put_away
            .into_iter()
            .map(|project| (project.id, project))
            .collect();
        let archived = self.ended.iter();
        let archived = archived.filter(|(id, _)| !self.is_deleted(**id));
        for (_, ended) in archived {
            let known = found.get(&ended.project).copied();
            if let Some(project) = known.or_else(|| self.project(ended.project)) {
                derived.add_build(project.clone());
            }
        }
        derived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_the_name_of_its_repository() {
        for (source, name) in [
            ("git https://host/group/repository.git", "repository"),
            ("git git@host:repository", "repository"),
            ("git ssh://host/repository/", "repository"),
            ("directory /home/user/work", "work"),
            ("directory /", "directory "),
        ] {
            let project = Project {
                id: ProjectId(1),
                owner: Owner::ClusterRunner,
                source: source.to_owned(),
                made: None,
            };
            assert_eq!(project.name(), name, "{source}");
        }
    }
}
