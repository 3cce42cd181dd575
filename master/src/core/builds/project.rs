//! Projects. A project begins with its first build and ends when its last build is forgotten.

use crate::core::Cluster;
use crate::core::builds::build::Build;
use crate::core::event::Actor;
use clusterrunner_common::ids::ProjectId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The owner of projects and of their builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The built-in owner of what is asked for with the farm's secret. It can not log in.
    ClusterRunner,
}

impl Owner {
    /// The owner of what an actor asks for.
    #[must_use]
    pub(in crate::core) fn of(actor: Actor) -> Self {
        match actor {
            Actor::SecretHolder | Actor::Master | Actor::Slave(_) | Actor::Nobody => {
                Self::ClusterRunner
            }
        }
    }
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The project's id.
    pub id: ProjectId,
    /// The owner of it and of its builds.
    pub owner: Owner,
    /// Where it comes from, such as `git https://host/repository.git`.
    pub source: String,
}

impl Project {
    /// A short name for people: the last part of its source.
    #[must_use]
    pub fn name(&self) -> &str {
        let source = self.source.trim_end_matches('/');
        let last = source.rsplit(['/', ':']).next().unwrap_or(source);
        last.strip_suffix(".git").unwrap_or(last)
    }

    pub(crate) fn of(build: &Build) -> Self {
        Self {
            id: build.project,
            owner: build.owner,
            source: build.request.project_key(),
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
            if let Some(project) = self.by_id.remove(&id) {
                self.by_source.remove(&(project.owner, project.source));
            }
        }
    }
}

impl Cluster {
    /// All projects of which there is a build, in the order of their ids.
    pub fn projects(&self) -> impl Iterator<Item = &Project> {
        self.projects.by_id.values()
    }

    /// A project of which there is a build.
    #[must_use]
    pub fn project(&self, id: ProjectId) -> Option<&Project> {
        self.projects.by_id.get(&id)
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
        for build in self.builds.values() {
            derived.add_build(Project::of(build));
        }
        let found: BTreeMap<ProjectId, &Project> = put_away
            .into_iter()
            .map(|project| (project.id, project))
            .collect();
        for ended in self.ended.values() {
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
            };
            assert_eq!(project.name(), name, "{source}");
        }
    }
}
