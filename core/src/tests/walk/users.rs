//! What users do beside queueing builds, and what they were promised: what was acknowledged is there, whatever
//! dies, and what was deleted is gone.

use super::world::World;
use crate::Cluster;
use crate::accounts::bookmarks::Markable;
use crate::accounts::command::{AccountCommand, ProjectCommand};
use crate::accounts::owner::Owner;
use crate::accounts::projects::ProjectChange;
use crate::accounts::users::{NewToken, Role, TokenDigest};
use crate::actor::Actor;
use crate::builds::details::{Merge, NewDetails};
use crate::command::Command;
use crate::tests::projects::{new_project, new_user};
use crate::tests::scenario::request;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, ProjectId, UserId};

/// What users do. Builds, projects and users are named by small numbers, and may not be there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wish {
    CreateUser(u64),
    /// A user is to go, with all that is the user's.
    DeleteUser(u64),
    /// A user gets one more token.
    CreateToken(u64),
    /// The newest token of a user ends.
    RevokeToken(u64),
    /// A user makes a project.
    MakeProject(u64, u64),
    /// Something is said of a project.
    ChangeProject(u64),
    /// Code of a project was uploaded.
    CommitCode(u64),
    DeleteProject(u64),
    /// A project is shared with a user.
    Share(u64, u64),
    /// A build of a project is wanted.
    QueueBuildOf(u64),
    /// Something is said of a build.
    DescribeBuild(u64),
    DeleteBuild(u64),
    /// A user marks a build or a project.
    Mark(u64, u64),
    /// A user takes the latest mark back, or one that may never have been set.
    TakeBack(u64, u64),
}

/// What a user was told.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Promise {
    /// There is a user with this name, and a token of the same name opens the door.
    User(String),
    /// This opens the door for the user.
    Token(UserId, TokenDigest),
    /// This does not any more.
    Revoked(TokenDigest),
    /// There is a project with this name.
    Project(Owner, String),
    /// This was said of a project, or something later.
    Said(ProjectId, u64),
    /// This is the newest commit of a project, or something later is.
    Code(ProjectId, u64),
    /// The user works on the project.
    Shared(ProjectId, UserId),
    /// This was said of a build, or something later, too.
    Described(BuildId, u64),
    Deleted(BuildId),
    /// Whether the user has marked it.
    Marked(UserId, Markable, bool),
}

impl Promise {
    /// What is gone with its build or project is no promise any more.
    fn holds(&self, cluster: &Cluster) -> bool {
        let is_gone = |build| cluster.is_deleted(build) || cluster.is_forgotten(build);
        match self {
            Self::User(name) => {
                let user = cluster.accounts().named(name).map(|user| user.id);
                let digest = TokenDigest(name.clone());
                let holder = cluster.accounts().holder(&digest, Timestamp(0));
                user.is_some() && holder.map(|(user, _)| user.id) == user
            }
            Self::Token(user, digest) => {
                let holder = cluster.accounts().holder(digest, Timestamp(0));
                holder.is_some_and(|(holder, role)| (holder.id, role) == (*user, Role::Submit))
            }
            Self::Revoked(digest) => {
                let holder = cluster.accounts().holder(digest, Timestamp(0));
                holder.is_none()
            }
            Self::Project(owner, name) => cluster.project_named(*owner, name).is_some(),
            Self::Said(id, said) => {
                let project = cluster.project(*id);
                let is = project.and_then(|project| project.description.as_deref());
                is.is_some_and(|is| is.parse::<u64>().unwrap() >= *said)
            }
            Self::Code(id, said) => {
                let project = cluster.project(*id);
                let is = project.and_then(|project| project.code.as_deref());
                is.is_some_and(|is| is.parse::<u64>().unwrap() >= *said)
            }
            Self::Shared(id, user) => {
                let project = cluster.project(*id);
                project.is_some_and(|project| project.has_collaborator(*user))
            }
            Self::Described(build, said) => {
                let details = cluster.details(*build);
                let is = details.and_then(|details| details.description.as_deref());
                let tags = details.and_then(|details| details.tags.as_ref());
                let is_right = is.is_some_and(|is| is.parse::<u64>().unwrap() >= *said)
                    && tags.is_some_and(|tags| tags.contains(&said.to_string()));
                is_gone(*build) || is_right
            }
            Self::Deleted(build) => is_gone(*build),
            Self::Marked(user, what, is_set) => match what {
                Markable::Build(build) if is_gone(*build) => true,
                Markable::Project(id) if cluster.project(*id).is_none() => true,
                _ => cluster.is_bookmarked(*user, *what) == *is_set,
            },
        }
    }

    /// Whether it is about something that an order may change.
    fn is_about(&self, cluster: &Cluster, order: &Order) -> bool {
        match (self, order) {
            (Self::Marked(user, what, _), Order::Mark(marks, marked)) => {
                (user, what) == (marks, marked)
            }
            (Self::Token(_, token), Order::Revoke(revoked)) => token == revoked,
            (Self::Project(owner, name), Order::DeleteProject(id)) => {
                let named = cluster.project_named(*owner, name);
                named.is_some_and(|project| project.id == *id)
            }
            (
                Self::Said(of, _) | Self::Code(of, _) | Self::Shared(of, _),
                Order::DeleteProject(id),
            ) => of == id,
            (promise, Order::DeleteUser(user)) => promise.is_of(cluster, *user),
            _ => false,
        }
    }

    /// Whether it ends with a user.
    fn is_of(&self, cluster: &Cluster, user: UserId) -> bool {
        let owns = |project: &ProjectId| {
            let project = cluster.project(*project);
            project.is_some_and(|project| project.owner == Owner::User(user))
        };
        match self {
            Self::User(name) => cluster.accounts().named(name).map(|known| known.id) == Some(user),
            Self::Token(of, _) | Self::Marked(of, _, _) => *of == user,
            Self::Project(owner, _) => *owner == Owner::User(user),
            Self::Shared(project, with) => *with == user || owns(project),
            Self::Said(project, _) | Self::Code(project, _) => owns(project),
            Self::Revoked(_) | Self::Described(..) | Self::Deleted(_) => false,
        }
    }
}

/// An order after which something that was promised before may not be so any more.
enum Order {
    DeleteProject(ProjectId),
    DeleteUser(UserId),
    Mark(UserId, Markable),
    Revoke(TokenDigest),
    Other,
}

impl World {
    pub(super) fn user_wishes(&mut self, wish: Wish) {
        if !self.master.is_up {
            return;
        }
        self.num_said += 1;
        let cluster = &self.master.farm.cluster;
        let Some((command, order, new)) = wished(cluster, wish, self.num_said) else {
            return;
        };
        let next = cluster.next_build_id();
        let before = std::mem::take(&mut self.promises).into_iter();
        let (outdated, promises): (Vec<_>, Vec<_>) =
            before.partition(|promise| promise.is_about(cluster, &order));
        self.promises = promises;
        let is_build = matches!(command, Command::QueueBuildOf { .. });
        match self.tell(command) {
            Some(Ok(())) => {
                self.promises.extend(new);
                self.accepted.extend(is_build.then(|| (next, request(OWN))));
            }
            Some(Err(_)) => self.promises.extend(outdated),
            // Nobody knows what became of it.
            None => {}
        }
    }

    /// A project goes with its app, and what was promised of it.
    pub(super) fn forget_promises_of(&mut self, project: ProjectId) {
        let cluster = &self.master.farm.cluster;
        let order = Order::DeleteProject(project);
        self.promises
            .retain(|promise| !promise.is_about(cluster, &order));
    }

    /// With the end of the journal some were lost.
    pub(super) fn lose_promises(&mut self) {
        let cluster = &self.master.farm.cluster;
        // A later project may get the number of one that is lost with its marks.
        let is_there = |promise: &Promise| match promise {
            Promise::Marked(_, Markable::Project(id), _) => cluster.project(*id).is_some(),
            _ => true,
        };
        self.promises
            .retain(|promise| promise.holds(cluster) && is_there(promise));
    }

    pub(super) fn check_users(&self) {
        let cluster = &self.master.farm.cluster;
        for promise in &self.promises {
            assert!(promise.holds(cluster), "{promise:?} was promised");
            if let Promise::Deleted(build) = promise {
                assert!(cluster.is_forgotten(*build), "{promise:?}");
            }
        }
    }
}

/// Where builds of chosen projects come from.
const OWN: &str = "own";

/// The order of a user, and what is promised if it is acknowledged; nothing where a user is meant who is not there.
#[expect(clippy::too_many_lines, reason = "an arm for each wish")]
fn wished(cluster: &Cluster, wish: Wish, said: u64) -> Option<(Command, Order, Vec<Promise>)> {
    let user = |number: u64| cluster.accounts().named(&user_name(number)).map(|u| u.id);
    let text = said.to_string();
    let of_project = |command| Command::Project {
        by: Actor::SecretHolder,
        command,
    };
    let by = Actor::SecretHolder;
    Some(match wish {
        Wish::CreateUser(number) => {
            let name = user_name(number);
            let command = AccountCommand::Create(Box::new(new_user(&name)));
            let command = Command::Account { by, command };
            (command, Order::Other, vec![Promise::User(name)])
        }
        Wish::DeleteUser(number) => {
            let user = user(number)?;
            let builds = cluster.all_builds().map(|(id, _)| id);
            let own = builds.filter(|id| {
                let project = cluster.project_of(*id);
                project.is_some_and(|project| project.owner == Owner::User(user))
            });
            let promises = own.map(Promise::Deleted).collect();
            let command = AccountCommand::Delete { user };
            let command = Command::Account { by, command };
            (command, Order::DeleteUser(user), promises)
        }
        Wish::CreateToken(number) => {
            let (user, digest) = (user(number)?, TokenDigest(format!("token {said}")));
            let token = NewToken {
                name: text,
                role: Role::Submit,
                digest: digest.clone(),
                expires: None,
            };
            let token = Box::new(token);
            let command = AccountCommand::CreateToken { user, token };
            let command = Command::Account { by, command };
            (command, Order::Other, vec![Promise::Token(user, digest)])
        }
        Wish::RevokeToken(number) => {
            let user = user(number)?;
            let newest = cluster.accounts().user(user)?.tokens.last_key_value();
            let (token, known) = newest?;
            let (token, digest) = (*token, known.said.digest.clone());
            let command = AccountCommand::RevokeToken { user, token };
            let command = Command::Account { by, command };
            let order = Order::Revoke(digest.clone());
            (command, order, vec![Promise::Revoked(digest)])
        }
        Wish::MakeProject(number, name) => {
            let (user, name) = (user(number)?, format!("project-{name}"));
            let by = Actor::User(user);
            let command = ProjectCommand::Create(new_project(&name));
            let promise = Promise::Project(Owner::User(user), name);
            (
                Command::Project { by, command },
                Order::Other,
                vec![promise],
            )
        }
        Wish::ChangeProject(project) => {
            let project = ProjectId(project);
            let change = Box::new(ProjectChange {
                description: Some(text),
                ..ProjectChange::default()
            });
            let merge = Merge::Replace;
            let command = ProjectCommand::Change {
                project,
                change,
                merge,
            };
            let promise = Promise::Said(project, said);
            (of_project(command), Order::Other, vec![promise])
        }
        Wish::CommitCode(project) => {
            let project = ProjectId(project);
            let command = ProjectCommand::CommitCode {
                project,
                commit: text,
            };
            let promise = Promise::Code(project, said);
            (of_project(command), Order::Other, vec![promise])
        }
        Wish::DeleteProject(project) => {
            let project = ProjectId(project);
            let builds = cluster.all_builds().map(|(id, _)| id);
            let own = builds.filter(|id| cluster.project_id_of(*id) == Some(project));
            let promises = own.map(Promise::Deleted).collect();
            let command = ProjectCommand::Delete(project);
            (of_project(command), Order::DeleteProject(project), promises)
        }
        Wish::Share(project, number) => {
            let (project, user) = (ProjectId(project), user(number)?);
            // The owner needs no share.
            let shared = cluster.project(project)?.owner != Owner::User(user);
            let promise = shared.then_some(Promise::Shared(project, user));
            let command = ProjectCommand::AddCollaborator { project, user };
            (
                of_project(command),
                Order::Other,
                promise.into_iter().collect(),
            )
        }
        Wish::QueueBuildOf(project) => {
            let command = Command::QueueBuildOf {
                by,
                project: ProjectId(project),
                request: Box::new(request(OWN)),
                details: NewDetails::default(),
            };
            (command, Order::Other, Vec::new())
        }
        Wish::DescribeBuild(build) => {
            let build = BuildId(build);
            let command = Command::DescribeBuild {
                by,
                build,
                details: NewDetails {
                    description: Some(text.clone()),
                    tags: Some(vec![text]),
                    ..NewDetails::default()
                },
                merge: Merge::Add,
            };
            let promise = Promise::Described(build, said);
            (command, Order::Other, vec![promise])
        }
        Wish::DeleteBuild(build) => {
            let build = BuildId(build);
            let promise = Promise::Deleted(build);
            (
                Command::DeleteBuild { by, build },
                Order::Other,
                vec![promise],
            )
        }
        Wish::Mark(number, build) => {
            let (user, what) = (user(number)?, marked(cluster, build));
            let promise = Promise::Marked(user, what, true);
            let command = ProjectCommand::Bookmark { user, what };
            (of_project(command), Order::Mark(user, what), vec![promise])
        }
        Wish::TakeBack(number, build) => {
            let set = cluster.accounts().users().find_map(|user| {
                let build = cluster.bookmarked_builds(user.id).first().copied();
                let project = cluster.bookmarked_projects(user.id).first().copied();
                let mark = build.map(Markable::Build);
                Some((user.id, mark.or(project.map(Markable::Project))?))
            });
            let (user, what) = match set {
                Some(set) => set,
                None => (user(number)?, marked(cluster, build)),
            };
            let promise = Promise::Marked(user, what, false);
            let command = ProjectCommand::TakeBookmarkBack { user, what };
            (of_project(command), Order::Mark(user, what), vec![promise])
        }
    })
}

fn user_name(number: u64) -> String {
    format!("user-{number}")
}

/// One of the builds that are there, or of the projects.
fn marked(cluster: &Cluster, number: u64) -> Markable {
    let builds = cluster.all_builds().map(|(id, _)| Markable::Build(id));
    let projects = cluster
        .projects()
        .map(|project| Markable::Project(project.id));
    let all: Vec<Markable> = builds.chain(projects).collect();
    let number = usize::try_from(number).unwrap();
    all.get(number % all.len().max(1))
        .copied()
        .unwrap_or(Markable::Build(BuildId(1)))
}
