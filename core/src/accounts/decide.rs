//! What an order about projects and bookmarks means now.

use super::bookmarks::{MAX_BOOKMARKS, Markable};
use super::command::ProjectCommand;
use super::facts::{AccountFact, ProjectFact};
use super::project_names;
use super::projects::{NewProject, ProjectChange};
use super::pushed_refs::PushedRefs;
use crate::Cluster;
use crate::accounts::owner::Owner;
use crate::accounts::refusal::AccountRefusal;
use crate::actor::Actor;
use crate::builds::details::{Merge, check_description, tags};
use crate::event::{BuildFact, Fact};
use clusterrunner_common::ids::{BuildId, ProjectId, UserId};

/// How many projects an owner may make; those that begin with a build are not counted.
pub(super) const MAX_PROJECTS: usize = 10_000;

/// How many users may work on a project beside its owner.
pub(super) const MAX_COLLABORATORS: usize = 1_000;

impl Cluster {
    pub(crate) fn project_facts(
        &self,
        by: Actor,
        command: ProjectCommand,
    ) -> Result<Vec<Fact>, AccountRefusal> {
        match command {
            ProjectCommand::Create(project) => self.created_project(Owner::of(by), *project),
            ProjectCommand::Change {
                project,
                change,
                merge,
            } => self.changed_project(project, *change, merge),
            ProjectCommand::Delete(project) => self.deleted_project(project),
            ProjectCommand::AddCollaborator { project, user } => self.shared(project, user),
            ProjectCommand::RemoveCollaborator { project, user } => self.unshared(project, user),
            ProjectCommand::CommitCode { project, commit } => self.committed(project, commit),
            ProjectCommand::PushRefs { project, refs } => self.refs_pushed(project, refs),
            ProjectCommand::SetSecret {
                project,
                name,
                secret,
            } => self.secret_set(project, name, *secret),
            ProjectCommand::RemoveSecret { project, name } => self.secret_removed(project, name),
            ProjectCommand::Bookmark { user, what } => self.bookmarked(user, what),
            ProjectCommand::TakeBookmarkBack { user, what } => self.bookmark_back(user, what),
        }
    }

    pub(crate) fn created_project(
        &self,
        owner: Owner,
        mut new: NewProject,
    ) -> Result<Vec<Fact>, AccountRefusal> {
        self.check_project_name(owner, &new.name)?;
        check_description(new.description.as_deref())?;
        new.tags = match new.tags {
            Some(given) => Some(tags(given, None, Merge::Replace)?),
            None => None,
        };
        let made = self.projects_of(owner).filter(|project| project.is_kept);
        if made.count() >= MAX_PROJECTS {
            return Err(AccountRefusal::TooManyProjects(MAX_PROJECTS));
        }
        let id = self.projects.next_id();
        let project = Box::new(new);
        let created = ProjectFact::Created { owner, project };
        Ok(vec![Fact::Project(id, created)])
    }

    fn changed_project(
        &self,
        id: ProjectId,
        mut change: ProjectChange,
        merge: Merge,
    ) -> Result<Vec<Fact>, AccountRefusal> {
        let project = self.project(id);
        let project = project.ok_or(AccountRefusal::UnknownProject(id))?;
        if let Some(name) = &change.name
            && *name != project.name
        {
            self.check_project_name(project.owner, name)?;
        }
        check_description(change.description.as_deref())?;
        if let Some(given) = change.tags.take() {
            change.tags = Some(tags(given, project.tags.as_deref(), merge)?);
        }
        let change = project.news_of(change);
        Ok(match change.is_empty() {
            true => Vec::new(),
            false => vec![Fact::Project(id, ProjectFact::Changed(Box::new(change)))],
        })
    }

    fn check_project_name(&self, owner: Owner, name: &str) -> Result<(), AccountRefusal> {
        project_names::check(name)?;
        match self.project_named(owner, name) {
            Some(_) => Err(AccountRefusal::ProjectNameTaken(name.to_owned())),
            None => Ok(()),
        }
    }

    /// Its app and its builds go with it, and go first: so none is ever of a project that is not there.
    pub(crate) fn deleted_project(&self, id: ProjectId) -> Result<Vec<Fact>, AccountRefusal> {
        if self.project(id).is_none() {
            return Err(AccountRefusal::UnknownProject(id));
        }
        let live = self.builds().filter(|build| build.project == id);
        let live = live.map(|build| build.id);
        let archived = self.ended.iter().filter(|(_, ended)| ended.project == id);
        let archived = archived.map(|(build, _)| *build);
        let builds = live.chain(archived);
        let builds = builds.filter(|build| !self.is_deleted(*build));
        let deleted = |build: BuildId| Fact::Build(build, BuildFact::Deleted);
        let project = Fact::Project(id, ProjectFact::Deleted);
        let app = self.deleted_app(id).into_iter();
        Ok(app.chain(builds.map(deleted)).chain([project]).collect())
    }

    /// What goes before a user does.
    pub(super) fn deleted_projects_of(&self, user: UserId) -> Vec<Fact> {
        let projects = self.projects_of(Owner::User(user));
        let facts = projects.filter_map(|project| self.deleted_project(project.id).ok());
        facts.flatten().collect()
    }

    fn shared(&self, id: ProjectId, user: UserId) -> Result<Vec<Fact>, AccountRefusal> {
        let project = self.project(id);
        let project = project.ok_or(AccountRefusal::UnknownProject(id))?;
        if self.accounts().user(user).is_none() {
            return Err(AccountRefusal::UnknownUser(user));
        }
        // The owner may do more already.
        if project.has_collaborator(user) || project.owner == Owner::User(user) {
            return Ok(Vec::new());
        }
        if project.collaborators.len() >= MAX_COLLABORATORS {
            return Err(AccountRefusal::TooManyCollaborators(MAX_COLLABORATORS));
        }
        let added = ProjectFact::CollaboratorAdded { user };
        Ok(vec![Fact::Project(id, added)])
    }

    fn unshared(&self, id: ProjectId, user: UserId) -> Result<Vec<Fact>, AccountRefusal> {
        let project = self.project(id);
        let project = project.ok_or(AccountRefusal::UnknownProject(id))?;
        let removed = ProjectFact::CollaboratorRemoved { user };
        Ok(match project.has_collaborator(user) {
            true => vec![Fact::Project(id, removed)],
            false => Vec::new(),
        })
    }

    fn committed(&self, id: ProjectId, commit: String) -> Result<Vec<Fact>, AccountRefusal> {
        let project = self.project(id);
        let project = project.ok_or(AccountRefusal::UnknownProject(id))?;
        if !project.has_own_repository() {
            return Err(AccountRefusal::CodeElsewhere(id));
        }
        let is_news = project.code.as_ref() != Some(&commit);
        let committed = ProjectFact::CodeCommitted { commit };
        Ok(match is_news {
            true => vec![Fact::Project(id, committed)],
            false => Vec::new(),
        })
    }

    fn refs_pushed(&self, id: ProjectId, refs: PushedRefs) -> Result<Vec<Fact>, AccountRefusal> {
        match self.project(id) {
            None => Err(AccountRefusal::UnknownProject(id)),
            Some(_) if refs.is_empty() => Ok(Vec::new()),
            Some(_) => Ok(vec![Fact::Project(id, ProjectFact::RefsPushed(refs))]),
        }
    }

    fn bookmarked(&self, user: UserId, what: Markable) -> Result<Vec<Fact>, AccountRefusal> {
        if self.accounts().user(user).is_none() {
            return Err(AccountRefusal::UnknownUser(user));
        }
        if !self.is_markable(what) {
            return Err(AccountRefusal::NothingToMark);
        }
        let known = self.bookmark(user, what);
        if known.is_some_and(|mark| mark.is_set) {
            return Ok(Vec::new());
        }
        if known.is_none() && self.bookmarks.number(user, what) >= MAX_BOOKMARKS {
            return Err(AccountRefusal::TooManyBookmarks(MAX_BOOKMARKS));
        }
        Ok(vec![Fact::Account(user, AccountFact::Bookmarked(what))])
    }

    fn bookmark_back(&self, user: UserId, what: Markable) -> Result<Vec<Fact>, AccountRefusal> {
        let known = self.bookmark(user, what);
        let known = known.ok_or(AccountRefusal::NeverBookmarked)?;
        let taken_back = Fact::Account(user, AccountFact::BookmarkTakenBack(what));
        Ok(match known.is_set {
            true => vec![taken_back],
            false => Vec::new(),
        })
    }
}
