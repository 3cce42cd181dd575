//! Projects, who works on them, and bookmarks.

use super::scenario::{Scenario, Turn, request};
use crate::Cluster;
use crate::accounts::bookmarks::Markable;
use crate::accounts::command::{AccountCommand, ProjectCommand};
use crate::accounts::owner::Owner;
use crate::accounts::projects::{NewProject, Project, ProjectChange};
use crate::accounts::refusal::AccountRefusal;
use crate::accounts::users::NewUser;
use crate::actor::Actor;
use crate::builds::build::Build;
use crate::builds::details::{Merge, NewDetails, Unfit};
use crate::command::Command;
use crate::refusal::Refusal;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, ProjectId, UserId};
use serde_json::json;
use std::collections::BTreeMap;

const ANN: UserId = UserId(1);
const BEN: UserId = UserId(2);
const BUILT_IN: Owner = Owner::ClusterRunner;

/// A user with a token of the same name.
pub(super) fn new_user(name: &str) -> NewUser {
    let api_token = json!({"seed": name, "digest": name});
    let user = json!({"name": name, "password": "none", "api_token": api_token});
    serde_json::from_value(user).unwrap()
}

pub(super) fn new_project(name: &str) -> Box<NewProject> {
    Box::new(NewProject {
        name: name.to_owned(),
        description: None,
        tags: None,
        is_public: true,
        git_url: None,
    })
}

impl Scenario {
    /// A farm with the users ann and ben.
    fn with_users() -> Self {
        let mut farm = Self::default();
        for name in ["ann", "ben"] {
            farm.tell(Command::Account {
                by: Actor::SecretHolder,
                command: AccountCommand::Create(Box::new(new_user(name))),
            });
        }
        farm
    }

    fn of_project(&mut self, command: ProjectCommand) -> Turn {
        self.tell(order(command))
    }

    fn make(&mut self, name: &str) -> Turn {
        self.of_project(ProjectCommand::Create(new_project(name)))
    }

    fn change(&mut self, project: u64, change: ProjectChange) -> Turn {
        self.tell(order(changing(project, change)))
    }

    fn refused(&mut self, command: ProjectCommand, refusal: AccountRefusal) {
        self.check_refused(order(command), &Refusal::Account(refusal));
    }

    fn names(&self, owner: Owner) -> Vec<&str> {
        self.cluster.projects_of(owner).map(Project::name).collect()
    }

    fn marked(&self) -> (Vec<u64>, Vec<u64>) {
        let builds = self.cluster.bookmarked_builds(BEN);
        let projects = self.cluster.bookmarked_projects(BEN);
        let builds = builds.iter().map(|id| id.0).collect();
        (builds, projects.iter().map(|id| id.0).collect())
    }

    fn mark(&mut self, what: Markable) -> Turn {
        let user = BEN;
        self.of_project(ProjectCommand::Bookmark { user, what })
    }
}

/// An order of ann.
fn order(command: ProjectCommand) -> Command {
    let by = Actor::User(ANN);
    Command::Project { by, command }
}

fn changing(project: u64, change: ProjectChange) -> ProjectCommand {
    ProjectCommand::Change {
        project: ProjectId(project),
        change: Box::new(change),
        merge: Merge::Replace,
    }
}

fn renamed(name: &str) -> ProjectChange {
    ProjectChange {
        name: Some(name.to_owned()),
        ..ProjectChange::default()
    }
}

#[test]
fn a_project_that_a_user_made_stays_without_builds() {
    let mut farm = Scenario::with_users();
    farm.make("hill").check(&["project 1 created: hill"], &[]);
    farm.refused(
        ProjectCommand::Create(new_project("hill")),
        AccountRefusal::ProjectNameTaken("hill".to_owned()),
    );
    farm.refused(
        ProjectCommand::Create(new_project("a hill")),
        Unfit::NoName.into(),
    );
    let build = Command::QueueBuildOf {
        by: Actor::User(BEN),
        project: ProjectId(1),
        request: Box::new(request("somewhere")),
        details: NewDetails {
            name: Some("first".to_owned()),
            ..NewDetails::default()
        },
    };
    farm.tell(build.clone())
        .check_facts(&["1 queued", "1 described", "1 preparing"]);
    farm.check_refused(build, &Unfit::NameTaken.into());
    let build = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!(build.owner, Owner::User(ANN));
    assert_eq!(build.started_by, Some(BEN));
    assert_eq!(build.starter_name.as_deref(), Some("ben"));
    assert_eq!(farm.cluster.num_builds_of(ProjectId(1)), 1);
    farm.cancel(1);
    farm.put_away(1);
    farm.tell(Command::DeleteBuild {
        by: Actor::User(ANN),
        build: BuildId(1),
    });
    assert_eq!(farm.names(Owner::User(ANN)), ["hill"]);
    assert_eq!(farm.cluster.num_builds_of(ProjectId(1)), 0);
    farm.check_snapshots();
}

#[test]
fn a_project_that_begins_with_a_build_is_called_like_its_repository() {
    let mut farm = Scenario::with_users();
    for url in [
        "https://a/tool.git",
        "https://b/tool.git",
        "https://a/tool.git",
    ] {
        farm.queue(url);
    }
    assert_eq!(farm.names(BUILT_IN), ["tool", "tool-2"]);
    farm.queue("https://c/tool");
    // What is described stays, and has its name.
    farm.change(2, renamed("other"))
        .check_facts(&["project 2 changed"]);
    assert_eq!(farm.names(BUILT_IN), ["other", "tool", "tool-3"]);
    for build in 1..=4 {
        farm.cancel(build);
        farm.put_away(build);
        farm.tell(Command::DeleteBuild {
            by: Actor::SecretHolder,
            build: BuildId(build),
        });
    }
    assert_eq!(farm.names(BUILT_IN), ["other"]);
    farm.queue("https://b/tool.git");
    farm.queue("https://a/tool.git");
    assert_eq!(farm.names(BUILT_IN), ["other", "tool"]);
    let of = farm.cluster.project_id_of(BuildId(5));
    assert_eq!(of, Some(ProjectId(2)));
    farm.check_snapshots();
}

#[test]
fn builds_of_a_user_go_to_the_project_with_their_repository() {
    let mut farm = Scenario::with_users();
    farm.make("hill");
    farm.change(
        1,
        ProjectChange {
            git_url: Some("https://a/tool.git".to_owned()),
            ..ProjectChange::default()
        },
    );
    for url in ["https://a/tool.git", "https://b/else.git"] {
        farm.tell(Command::QueueBuild {
            by: Actor::User(ANN),
            request: Box::new(request(url)),
        });
    }
    assert_eq!(farm.names(Owner::User(ANN)), ["else", "hill"]);
    assert_eq!(farm.cluster.num_builds_of(ProjectId(1)), 1);
    let project = farm.cluster.project(ProjectId(1)).unwrap();
    assert_eq!(project.git_url(), Some("https://a/tool.git"));
    farm.change(
        1,
        ProjectChange {
            git_url: Some(String::new()),
            ..ProjectChange::default()
        },
    );
    let project = farm.cluster.project(ProjectId(1)).unwrap();
    assert_eq!(project.git_url(), None);
    farm.check_snapshots();
}

#[test]
fn a_change_says_what_is_new() {
    let mut farm = Scenario::with_users();
    farm.make("hill");
    farm.make("dale");
    let change = ProjectChange {
        name: Some("hill".to_owned()),
        description: Some("high".to_owned()),
        tags: Some(vec!["a".to_owned(), "a".to_owned()]),
        is_public: Some(false),
        git_url: Some(String::new()),
    };
    farm.change(1, change.clone())
        .check_facts(&["project 1 changed"]);
    farm.change(1, change).check_nothing();
    farm.change(1, ProjectChange::default()).check_nothing();
    farm.of_project(ProjectCommand::Change {
        project: ProjectId(1),
        change: Box::new(ProjectChange {
            tags: Some(vec!["b".to_owned()]),
            ..ProjectChange::default()
        }),
        merge: Merge::Add,
    });
    let project = farm.cluster.project(ProjectId(1)).unwrap();
    assert_eq!(project.description.as_deref(), Some("high"));
    assert_eq!(project.tags.as_deref().unwrap(), ["a", "b"]);
    assert!(!project.is_public() && project.updated() > project.created);
    let taken = AccountRefusal::ProjectNameTaken("dale".to_owned());
    farm.refused(changing(1, renamed("dale")), taken);
    let unknown = AccountRefusal::UnknownProject(ProjectId(9));
    farm.refused(changing(9, renamed("x")), unknown);
    farm.check_snapshots();
}

#[test]
fn a_project_is_shared_with_users() {
    let mut farm = Scenario::with_users();
    farm.make("hill");
    let project = ProjectId(1);
    let add = |user| ProjectCommand::AddCollaborator { project, user };
    let remove = |user| ProjectCommand::RemoveCollaborator { project, user };
    farm.of_project(add(BEN))
        .check_facts(&["project 1 shared with user 2"]);
    farm.of_project(add(BEN)).check_nothing();
    farm.of_project(add(ANN)).check_nothing();
    farm.refused(add(UserId(9)), AccountRefusal::UnknownUser(UserId(9)));
    let shared = farm.cluster.project(project).unwrap();
    assert!(shared.has_collaborator(BEN));
    farm.check_snapshots();
    farm.of_project(remove(BEN))
        .check_facts(&["project 1 not shared with user 2 any more"]);
    farm.of_project(remove(BEN)).check_nothing();
}

#[test]
fn a_project_is_deleted_with_its_builds() {
    let mut farm = Scenario::with_users();
    for url in ["https://a/tool", "https://a/tool", "https://b/else"] {
        farm.queue(url);
    }
    farm.cancel(1);
    farm.put_away(1);
    for build in 1..=3 {
        farm.mark(Markable::Build(BuildId(build)));
    }
    farm.mark(Markable::Project(ProjectId(1)));
    farm.of_project(ProjectCommand::Delete(ProjectId(1)))
        .check_facts(&[
            "2 deleted",
            "1 deleted",
            "project 1 deleted",
            "2 canceled",
            "1 forgotten: Deleted",
        ]);
    assert_eq!(farm.names(BUILT_IN), ["else"]);
    assert_eq!(farm.marked(), (vec![3], vec![]));
    farm.refused(
        ProjectCommand::Delete(ProjectId(1)),
        AccountRefusal::UnknownProject(ProjectId(1)),
    );
    // The next build of its repository begins a new one.
    farm.queue("https://a/tool");
    assert_eq!(farm.cluster.project_id_of(BuildId(4)), Some(ProjectId(3)));
    farm.restart();
    farm.put_away(2);
    assert!(farm.cluster.is_forgotten(BuildId(2)));
    farm.check_snapshots();
}

#[test]
fn bookmarks_are_set_and_taken_back_and_go_with_what_they_are_of() {
    let mut farm = Scenario::with_users();
    farm.queue("one");
    farm.queue("one");
    let (build, project) = (Markable::Build(BuildId(1)), Markable::Project(ProjectId(1)));
    let user = BEN;
    let back = |what| ProjectCommand::TakeBookmarkBack { user, what };
    farm.refused(back(build), AccountRefusal::NeverBookmarked);
    farm.mark(build).check(&["user 2 marks build 1"], &[]);
    farm.mark(build).check_nothing();
    farm.mark(project);
    assert_eq!(farm.marked(), (vec![1], vec![1]));
    assert!(!farm.cluster.is_bookmarked(ANN, build));
    farm.of_project(back(build))
        .check_facts(&["user 2 does not mark build 1 any more"]);
    farm.of_project(back(build)).check_nothing();
    assert_eq!(farm.marked(), (vec![], vec![1]));
    farm.mark(build);
    let nothing = Markable::Build(BuildId(9));
    farm.refused(
        ProjectCommand::Bookmark {
            user,
            what: nothing,
        },
        AccountRefusal::NothingToMark,
    );
    let user = UserId(9);
    let stranger = ProjectCommand::Bookmark { user, what: build };
    farm.refused(stranger, AccountRefusal::UnknownUser(user));
    farm.restart();
    farm.check_snapshots();
    for build in 1..=2 {
        farm.tell(Command::DeleteBuild {
            by: Actor::SecretHolder,
            build: BuildId(build),
        });
    }
    assert_eq!(farm.marked(), (vec![], vec![]));
    farm.refused(back(build), AccountRefusal::NeverBookmarked);
    farm.check_snapshots();
}

#[test]
fn code_belongs_to_projects_with_a_repository_of_their_own() {
    let mut farm = Scenario::with_users();
    farm.make("hill");
    let project = ProjectId(1);
    let code = |commit: &str| ProjectCommand::CommitCode {
        project,
        commit: commit.to_owned(),
    };
    farm.of_project(code("c1"))
        .check(&["project 1 has code of commit c1"], &[]);
    farm.of_project(code("c1")).check(&[], &[]);
    farm.of_project(code("c2"));
    let newest = farm.cluster.project(project).unwrap().code.clone();
    assert_eq!(newest.as_deref(), Some("c2"));
    let elsewhere = ProjectChange {
        git_url: Some("https://host/x".to_owned()),
        ..ProjectChange::default()
    };
    farm.change(1, elsewhere);
    farm.refused(code("c3"), AccountRefusal::CodeElsewhere(project));
    farm.of_project(ProjectCommand::Delete(project));
    farm.refused(code("c3"), AccountRefusal::UnknownProject(project));
}

/// A farm with a project of ann's, a build of it in memory, an archived one, and marks of ben's.
fn with_marked_builds() -> Scenario {
    let mut farm = Scenario::with_users();
    farm.make("hill");
    for _ in 0..2 {
        farm.tell(Command::QueueBuildOf {
            by: Actor::User(ANN),
            project: ProjectId(1),
            request: Box::new(request("https://a/tool.git")),
            details: NewDetails::default(),
        });
    }
    farm.cancel(1);
    farm.put_away(1);
    for build in 1..=2 {
        farm.mark(Markable::Build(BuildId(build)));
        let details = NewDetails {
            description: Some("marked".to_owned()),
            ..NewDetails::default()
        };
        farm.tell(Command::DescribeBuild {
            by: Actor::User(ANN),
            build: BuildId(build),
            details,
            merge: Merge::Replace,
        });
    }
    farm.mark(Markable::Project(ProjectId(1)));
    farm
}

#[test]
fn a_build_that_a_damaged_journal_lost_takes_its_marks_along() {
    let farm = with_marked_builds();
    let stored = serde_json::to_string(&farm.cluster).unwrap();
    let found: Cluster = serde_json::from_str(&stored).unwrap();
    let mut found = found.restore_damaged([]);
    found.have_ended(&BTreeMap::new());
    found.check().unwrap();
    let project = found.project(ProjectId(1)).unwrap();
    assert_eq!((project.name(), project.owner), ("hill", Owner::User(ANN)));
    assert_eq!(found.bookmarked_projects(BEN), [ProjectId(1)]);
    assert_eq!(found.bookmarked_builds(BEN), []);
    assert_eq!(found.details(BuildId(2)), None);
}

#[test]
fn builds_whose_owner_a_damaged_journal_lost_are_for_superusers() {
    let farm = with_marked_builds();
    let builds: Vec<Build> = farm.cluster.builds().cloned().collect();
    let archived = Project::of(&builds[0]);
    let whole = BTreeMap::from([(BuildId(1), (Timestamp(1), archived))]);
    let mut found = Cluster::default().restore_damaged(builds);
    found.have_ended(&whole);
    found.check().unwrap();
    let projects: Vec<&Project> = found.projects_of(BUILT_IN).collect();
    let [project] = projects[..] else {
        panic!("{projects:?}");
    };
    assert_eq!((project.name(), project.is_public()), ("tool", false));
    assert_eq!(found.num_builds_of(project.id), 2);
}
