//! All projects. One that nobody made begins with its first build and ends with its last one, unless a user has said
//! something of it; one that a user made stays until a user deletes it.

use super::project_names::{free_name, repository_name};
use super::projects::{NewProject, Project, ProjectChange};
use super::secrets::{NamedSecret, NewSecret};
use crate::Cluster;
use crate::accounts::owner::{BINDER, BUILT_IN, Owner};
use crate::builds::build::Build;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, ProjectId, UserId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// All projects, and what is derived from them and from the builds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Projects {
    /// Ids go on from here, whatever ended since.
    last: u64,
    by_id: BTreeMap<ProjectId, Project>,
    /// Derived from `by_id`.
    #[serde(skip)]
    by_name: BTreeMap<(Owner, String), ProjectId>,
    /// Derived from `by_id`: those of a source, the oldest first.
    #[serde(skip)]
    by_source: BTreeMap<(Owner, String), BTreeSet<ProjectId>>,
    /// How many builds of each are kept and not deleted. Derived from the builds.
    #[serde(skip)]
    num_builds: BTreeMap<ProjectId, u64>,
}

impl Projects {
    /// The project that an owner's builds of a source are of: the known one, or the next that begins.
    pub(crate) fn of(&self, owner: Owner, source: String) -> ProjectId {
        let known = self.by_source.get(&(owner, source));
        let oldest = known.and_then(|known| known.first().copied());
        oldest.unwrap_or_else(|| self.next_id())
    }

    pub(crate) fn next_id(&self) -> ProjectId {
        ProjectId(self.last + 1)
    }

    fn named(&self, owner: Owner, name: &str) -> Option<&Project> {
        let id = self.by_name.get(&(owner, name.to_owned()))?;
        self.by_id.get(id)
    }

    fn of_owner(&self, owner: Owner) -> impl Iterator<Item = &Project> {
        let all = self.by_name.range((owner, String::new())..);
        let own = all.take_while(move |((of, _), _)| *of == owner);
        own.filter_map(|(_, id)| self.by_id.get(id))
    }

    /// Takes a project in. Its name is free, or gets a number.
    fn insert(&mut self, mut project: Project) {
        self.last = self.last.max(project.id.0);
        // Names were not always stored.
        if project.name.is_empty() {
            project.name = repository_name(&project.source);
        }
        let is_taken = |name: &str| self.named(project.owner, name).is_some();
        let name = free_name(&project.name, is_taken);
        project.name.clone_from(&name);
        self.by_name.insert((project.owner, name), project.id);
        if !project.source.is_empty() {
            let source = (project.owner, project.source.clone());
            self.by_source.entry(source).or_default().insert(project.id);
        }
        self.by_id.insert(project.id, project);
    }

    fn remove(&mut self, id: ProjectId) -> Option<Project> {
        let project = self.by_id.remove(&id)?;
        self.by_name.remove(&(project.owner, project.name.clone()));
        let source = (project.owner, project.source.clone());
        if let Some(those) = self.by_source.get_mut(&source) {
            those.remove(&id);
            if those.is_empty() {
                self.by_source.remove(&source);
            }
        }
        Some(project)
    }

    fn are_indexed(&self) -> bool {
        let Self {
            last,
            by_id,
            by_name,
            by_source,
            num_builds,
        } = self;
        let mut num_sources = 0;
        let is_right = |(id, project): (&ProjectId, &Project)| {
            let name = (project.owner, project.name.clone());
            let source = (project.owner, project.source.clone());
            let has_source = !source.1.is_empty();
            num_sources += usize::from(has_source);
            let is_found = |those: &BTreeSet<ProjectId>| those.contains(id);
            *id == project.id
                && *id <= ProjectId(*last)
                && !project.name.is_empty()
                && by_name.get(&name) == Some(id)
                && by_source.get(&source).is_some_and(is_found) == has_source
                && (project.is_kept || num_builds.contains_key(id))
        };
        by_id.iter().all(is_right)
            && by_name.len() == by_id.len()
            && by_source.values().all(|those| !those.is_empty())
            && by_source.values().map(BTreeSet::len).sum::<usize>() == num_sources
            && num_builds.keys().all(|id| by_id.contains_key(id))
    }

    fn make(&mut self, id: ProjectId, owner: Owner, new: NewProject, at: Timestamp) {
        self.insert(Project::made(id, owner, new, at));
    }

    fn change(&mut self, id: ProjectId, change: impl FnOnce(&mut Project)) {
        if let Some(mut project) = self.remove(id) {
            change(&mut project);
            self.insert(project);
        }
    }

    /// Its builds were deleted, too.
    fn delete(&mut self, id: ProjectId) {
        self.remove(id);
        self.num_builds.remove(&id);
    }

    /// A user that is gone works on no project of others any more.
    pub(super) fn leave_out(&mut self, user: UserId) {
        for project in self.by_id.values_mut() {
            project.collaborators.remove(&user);
        }
    }

    /// Counts a build of a project, which begins with it if need be.
    fn add_build(&mut self, id: ProjectId, project: impl FnOnce() -> Option<Project>) {
        if !self.by_id.contains_key(&id) {
            let Some(project) = project() else {
                return;
            };
            self.insert(project);
        }
        *self.num_builds.entry(id).or_default() += 1;
    }

    /// Whether the project ends with it.
    fn remove_build(&mut self, id: ProjectId) -> bool {
        let Some(num_builds) = self.num_builds.get_mut(&id) else {
            return false;
        };
        *num_builds -= 1;
        if *num_builds > 0 {
            return false;
        }
        self.num_builds.remove(&id);
        let ends = self.by_id.get(&id).is_some_and(|known| !known.is_kept);
        if ends {
            self.remove(id);
        }
        ends
    }

    /// Removes those that nobody made and that have no builds.
    fn drop_empty(&mut self) {
        let has_builds = |id: &ProjectId| self.num_builds.contains_key(id);
        let empty = self.by_id.values();
        let empty = empty.filter(|project| !project.is_kept && !has_builds(&project.id));
        let empty: Vec<ProjectId> = empty.map(|project| project.id).collect();
        for id in empty {
            self.remove(id);
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

    /// The projects of an owner, in the order of their names.
    pub fn projects_of(&self, owner: Owner) -> impl Iterator<Item = &Project> {
        self.projects.of_owner(owner)
    }

    /// How many builds of a project are kept.
    #[must_use]
    pub fn num_builds_of(&self, id: ProjectId) -> u64 {
        let number = self.projects.num_builds.get(&id);
        number.copied().unwrap_or_default()
    }

    /// The owner with a name.
    #[must_use]
    pub fn owner_named(&self, name: &str) -> Option<Owner> {
        match name {
            BUILT_IN => Some(Owner::ClusterRunner),
            BINDER => Some(Owner::Binder),
            name => Some(Owner::User(self.accounts().named(name)?.id)),
        }
    }

    /// The name of an owner; none where the user is gone.
    #[must_use]
    pub fn owner_name(&self, owner: Owner) -> Option<&str> {
        match owner {
            Owner::ClusterRunner => Some(BUILT_IN),
            Owner::Binder => Some(BINDER),
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
        self.projects.named(owner, name)
    }

    pub(super) fn make_project(
        &mut self,
        id: ProjectId,
        owner: Owner,
        new: NewProject,
        at: Timestamp,
    ) {
        self.projects.make(id, owner, new, at);
    }

    pub(super) fn change_project(&mut self, id: ProjectId, change: ProjectChange, at: Timestamp) {
        self.projects
            .change(id, |project| project.change(change, at));
    }

    pub(super) fn share_project(&mut self, id: ProjectId, user: UserId, is_shared: bool) {
        self.projects.change(id, |project| {
            match is_shared {
                true => project.collaborators.insert(user),
                false => project.collaborators.remove(&user),
            };
            project.is_kept = true;
        });
    }

    pub(super) fn note_code(&mut self, id: ProjectId, commit: &str) {
        self.projects.change(id, |project| {
            project.code = Some(commit.to_owned());
        });
    }

    pub(super) fn set_secret(
        &mut self,
        id: ProjectId,
        name: String,
        set: NewSecret,
        at: Timestamp,
    ) {
        self.projects.change(id, |project| {
            let source = Some(project.source.clone());
            project
                .secrets
                .insert(name, NamedSecret { set, at, source });
            project.is_kept = true;
        });
    }

    pub(super) fn remove_secret(&mut self, id: ProjectId, name: &str) {
        self.projects.change(id, |project| {
            project.secrets.remove(name);
        });
    }

    /// It stays without builds.
    pub(crate) fn keep_project(&mut self, id: ProjectId) {
        self.projects.change(id, |project| project.is_kept = true);
    }

    pub(super) fn delete_project(&mut self, id: ProjectId) {
        self.projects.delete(id);
        self.bookmarks.leave_project_out(id);
    }

    pub(crate) fn join_project(&mut self, build: &Build) {
        let project = || Some(Project::of(build));
        self.projects.add_build(build.project, project);
    }

    pub(crate) fn leave_project(&mut self, id: ProjectId) {
        if self.projects.remove_build(id) {
            self.bookmarks.leave_project_out(id);
        }
    }

    /// Whether what is derived of projects fits them and the builds, and each has a name, and a reason to be there.
    pub(crate) fn are_projects_right(&self) -> bool {
        let mut num_builds: BTreeMap<ProjectId, u64> = BTreeMap::new();
        let builds = self.builds.values().map(|build| (build.id, build.project));
        // With the end of the journal the project of an archived build may be lost.
        let is_known = |project| self.projects.by_id.contains_key(&project);
        let ended = self.ended.iter().map(|(id, ended)| (*id, ended.project));
        let ended = ended.filter(|(_, project)| is_known(*project));
        for (build, project) in builds.chain(ended) {
            if !self.is_deleted(build) {
                *num_builds.entry(project).or_default() += 1;
            }
        }
        num_builds == self.projects.num_builds && self.projects.are_indexed()
    }

    /// The projects as they follow from those that are known and from the builds that are kept. `put_away` names projects
    /// of archived builds that the cluster may not know.
    pub(crate) fn derived_projects<'a>(
        &self,
        put_away: impl IntoIterator<Item = &'a Project>,
    ) -> Projects {
        let mut derived = Projects {
            last: self.projects.last,
            ..Projects::default()
        };
        for project in self.projects() {
            derived.insert(project.clone());
        }
        let builds = self.builds.values();
        for build in builds.filter(|build| !self.is_deleted(build.id)) {
            derived.add_build(build.project, || Some(Project::of(build)));
        }
        let found: BTreeMap<ProjectId, &Project> = put_away
            .into_iter()
            .map(|project| (project.id, project))
            .collect();
        let archived = self.ended.iter();
        let archived = archived.filter(|(id, _)| !self.is_deleted(**id));
        for (_, ended) in archived {
            let project = || found.get(&ended.project).map(|found| (*found).clone());
            derived.add_build(ended.project, project);
        }
        derived.drop_empty();
        derived
    }

    /// Gives the built-in owner the projects whose owner was lost with a part of the journal. Nobody knows who might read
    /// them: only superusers do.
    pub(crate) fn adopt_projects(&mut self) {
        let is_lost = |project: &&Project| self.owner_name(project.owner).is_none();
        let lost: Vec<ProjectId> = self.projects().filter(is_lost).map(|p| p.id).collect();
        for id in lost {
            self.projects.change(id, |project| {
                project.owner = Owner::ClusterRunner;
                project.is_private = true;
                project.is_kept = true;
            });
        }
    }
}
