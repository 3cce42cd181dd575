//! What a caller may do, for all APIs. Pure.

use crate::accounts::owner::Owner;
use crate::accounts::projects::Project;
use crate::accounts::users::Role;
use crate::instances::instance::Instance;
use clusterrunner_common::ids::{PublicKey, TokenId, UserId};

/// Who asks, as the API has proved it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A holder of the farm's secret: a user, an operator, or a slave of ours.
    Secret(SecretProof),
    /// A user, by a token.
    User(UserCaller),
    /// A holder of the Binder key.
    BinderKey,
    /// A holder of the token for reads.
    ReadToken,
    /// A slave with a key of its own, which it has proved.
    SlaveKey(PublicKey),
    /// A slave that joins, under a join token.
    JoinToken(TokenId),
    /// A slave of the original, on one of the routes where its weaker proof is accepted.
    Slave,
    /// Anyone who reaches the port.
    Nobody,
}

/// A user that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserCaller {
    /// The user.
    pub id: UserId,
    /// Whether the user may do everything.
    pub is_superuser: bool,
    /// What the token lets the user do.
    pub role: Role,
}

/// How a caller has shown that it holds the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretProof {
    /// A signature of this very request, good once.
    BoundSignature,
    /// A digest of the body alone: a stranger that sees the request can send it again.
    BodyDigest,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'p> {
    /// Builds and what belongs to them.
    Builds,
    /// Slaves: what they report, and what they are told to do.
    Slaves,
    /// A project and its builds.
    Project(&'p Project),
    /// The users, all of them.
    Accounts,
    /// One user: what is known of it, and its tokens.
    User(UserId),
    /// The templates, all of them: to list them, and to have one built or preloaded.
    Templates,
    /// The launch of an instance. `is_open`: everyone who reaches the port may launch one.
    Launch {
        /// Whether that needs no proof.
        is_open: bool,
    },
    /// One instance.
    Instance(&'p Instance),
    /// The app of a project. Whoever may read the project because it is public sees nothing of the app.
    App(&'p Project),
}

/// What a caller may do; each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing.
    None,
    /// See it.
    Read,
    /// Submit a build, or report as a slave.
    Use,
    /// Change or end it.
    Own,
    /// Everything.
    Admin,
}

/// What a caller may do to a subject. `reads_are_open`: everyone who reaches the port may read.
#[must_use]
pub fn access(caller: Caller, subject: Subject<'_>, reads_are_open: bool) -> Access {
    let of_strangers = if reads_are_open {
        Access::Read
    } else {
        Access::None
    };
    match (caller, subject) {
        (Caller::Secret(SecretProof::BoundSignature), _) => Access::Admin,
        (Caller::Secret(SecretProof::BodyDigest), _) => Access::Own,
        (Caller::User(user), _) => of_user(user, subject, of_strangers),
        (Caller::BinderKey, _) => of_binder(subject, of_strangers),
        (_, Subject::Launch { is_open: true }) => Access::Use,
        (Caller::SlaveKey(_), subject) => of_slave(subject, of_strangers),
        (_, Subject::Accounts | Subject::User(_)) => Access::None,
        (Caller::Slave | Caller::JoinToken(_) | Caller::Nobody, Subject::Instance(_)) => {
            Access::None
        }
        (
            Caller::ReadToken | Caller::Slave | Caller::JoinToken(_) | Caller::Nobody,
            Subject::App(_),
        ) => Access::None,
        (Caller::Slave | Caller::JoinToken(_), Subject::Slaves) => Access::Use,
        (_, Subject::Project(project)) if !project.is_public() => Access::None,
        (Caller::ReadToken, _) => Access::Read,
        (Caller::Slave | Caller::JoinToken(_) | Caller::Nobody, _) => of_strangers,
    }
}

/// What a slave with a key may do: report for itself, which the handlers check, and read what is public.
fn of_slave(subject: Subject<'_>, of_strangers: Access) -> Access {
    match subject {
        Subject::Slaves => Access::Use,
        Subject::Builds => Access::Read,
        Subject::Project(project) if project.is_public() => Access::Read,
        Subject::Templates | Subject::Launch { .. } => of_strangers,
        Subject::Project(_)
        | Subject::App(_)
        | Subject::Accounts
        | Subject::User(_)
        | Subject::Instance(_) => Access::None,
    }
}

/// What a user may do; a token may let the user do less.
fn of_user(user: UserCaller, subject: Subject<'_>, of_strangers: Access) -> Access {
    let own = match subject {
        _ if user.is_superuser => Access::Admin,
        // The build and the project that begins with it are the user's own.
        Subject::Builds => Access::Use,
        Subject::Slaves => Access::Read.max(of_strangers),
        Subject::Accounts => Access::None,
        Subject::User(one) if one == user.id => Access::Own,
        Subject::User(_) => Access::None,
        Subject::Project(project) | Subject::App(project)
            if project.owner == Owner::User(user.id) =>
        {
            Access::Own
        }
        Subject::Project(project) | Subject::App(project) if project.has_collaborator(user.id) => {
            Access::Use
        }
        Subject::Project(project) if project.is_public() => Access::Read,
        Subject::Project(_) | Subject::App(_) => Access::None,
        Subject::Templates | Subject::Launch { .. } => Access::Use,
        Subject::Instance(instance) if instance.owner == Owner::User(user.id) => Access::Own,
        // Whoever knows the key of an instance can use it, so users see none of others.
        Subject::Instance(_) => Access::None,
    };
    match user.role {
        Role::Read => own.min(Access::Read),
        Role::Submit => own.min(Access::Use),
        Role::Admin => own,
    }
}

/// What the holder of the Binder key may do: all with templates and instances, whoever asked for them, and with what the
/// key itself began.
fn of_binder(subject: Subject<'_>, of_strangers: Access) -> Access {
    match subject {
        Subject::Builds => Access::Use,
        Subject::Slaves => Access::Read.max(of_strangers),
        Subject::Templates | Subject::Launch { .. } | Subject::Instance(_) => Access::Own,
        Subject::Project(project) if project.owner == Owner::Binder => Access::Own,
        Subject::Project(project) if project.is_public() => Access::Read,
        Subject::Project(_) | Subject::App(_) | Subject::Accounts | Subject::User(_) => {
            Access::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::projects::NewProject;
    use crate::instances::instance::{InstanceState, Purpose};
    use clusterrunner_common::clock::Timestamp;
    use clusterrunner_common::ids::{Generation, InstanceId, ProjectId, TemplateId};
    use std::collections::{BTreeMap, BTreeSet};

    fn project(is_public: bool) -> Project {
        let new = NewProject {
            name: "hill".to_owned(),
            description: None,
            tags: None,
            is_public,
            git_url: None,
        };
        let owner = Owner::User(UserId(1));
        Project {
            collaborators: BTreeSet::from([UserId(2)]),
            ..Project::made(ProjectId(1), owner, new, Timestamp(0))
        }
    }

    fn instance_of(user: UserId) -> Instance {
        Instance {
            id: InstanceId(1),
            key: "0".repeat(32),
            template: Some(TemplateId(1)),
            image: None,
            template_name: "hill".to_owned(),
            owner: Owner::User(user),
            command: Vec::new(),
            environment: BTreeMap::new(),
            max_memory_bytes: None,
            cpu_shares: None,
            cull_after_ms: None,
            tags: BTreeMap::new(),
            purpose: Purpose::Launch,
            retired: false,
            exit: None,
            state: InstanceState::Up,
            slave: None,
            generation: Generation(1),
            place: None,
            restarts: 0,
            left: None,
            reason: None,
            created: Timestamp(0),
            changed: Timestamp(0),
            answered: None,
        }
    }

    fn check_user(id: u64, is_superuser: bool, role: Role, expected: [Access; 2]) {
        let caller = Caller::User(UserCaller {
            id: UserId(id),
            is_superuser,
            role,
        });
        let of = |is_public| {
            let project = project(is_public);
            let subject = Subject::Project(&project);
            let closed = access(caller, subject, false);
            assert_eq!(
                access(caller, subject, true),
                closed,
                "a user has proved enough"
            );
            closed
        };
        assert_eq!([of(true), of(false)], expected, "user {id}, {role:?}");
    }

    #[test]
    fn a_project_is_for_its_users() {
        use Access::{Admin, None, Own, Read, Use};
        for (id, is_superuser, own) in [
            (1, false, [Own, Own]),
            (2, false, [Use, Use]),
            (3, false, [Read, None]),
            (4, true, [Admin, Admin]),
        ] {
            check_user(id, is_superuser, Role::Admin, own);
            check_user(id, is_superuser, Role::Submit, own.map(|own| own.min(Use)));
            check_user(id, is_superuser, Role::Read, own.map(|own| own.min(Read)));
        }
        for caller in [Caller::Nobody, Caller::ReadToken, Caller::Slave] {
            let private = project(false);
            assert_eq!(access(caller, Subject::Project(&private), true), None);
            assert_eq!(access(caller, Subject::App(&project(true)), true), None);
            assert_eq!(access(caller, Subject::Accounts, true), None);
        }
        let public = project(true);
        assert_eq!(
            access(Caller::Nobody, Subject::Project(&public), true),
            Read
        );
        assert_eq!(
            access(Caller::Nobody, Subject::Project(&public), false),
            None
        );
    }

    #[test]
    fn the_binder_key_opens_templates_and_instances_and_nobodys_projects() {
        use Access::{None, Own, Read, Use};
        let user = |id| {
            Caller::User(UserCaller {
                id: UserId(id),
                is_superuser: false,
                role: Role::Admin,
            })
        };
        let closed = Subject::Launch { is_open: false };
        let open = Subject::Launch { is_open: true };
        for (caller, templates, launches) in [
            (Caller::BinderKey, Own, [Own, Own]),
            (user(1), Use, [Use, Use]),
            (Caller::ReadToken, Read, [Read, Use]),
            (Caller::Nobody, None, [None, Use]),
        ] {
            let of = |subject| access(caller, subject, false);
            assert_eq!(of(Subject::Templates), templates, "{caller:?}");
            assert_eq!([of(closed), of(open)], launches, "{caller:?}");
        }
        let instance = instance_of(UserId(1));
        for (caller, seen) in [
            (Caller::BinderKey, Own),
            (user(1), Own),
            (user(2), None),
            (Caller::ReadToken, Read),
            (Caller::Nobody, None),
        ] {
            let subject = Subject::Instance(&instance);
            assert_eq!(access(caller, subject, true), seen, "{caller:?}");
        }
        let (public, private) = (project(true), project(false));
        let own = Project {
            owner: Owner::Binder,
            ..project(false)
        };
        let key = |subject| access(Caller::BinderKey, subject, true);
        assert_eq!(key(Subject::Builds), Use);
        assert_eq!(key(Subject::Slaves), Read);
        assert_eq!(key(Subject::Accounts), None);
        assert_eq!(key(Subject::Project(&public)), Read);
        assert_eq!(key(Subject::Project(&private)), None);
        assert_eq!(key(Subject::Project(&own)), Own);
    }

    #[test]
    fn each_caller_has_its_access() {
        use SecretProof::{BodyDigest, BoundSignature};
        for (caller, builds, slaves) in [
            (Caller::Secret(BoundSignature), Access::Admin, Access::Admin),
            (Caller::Secret(BodyDigest), Access::Own, Access::Own),
            (Caller::ReadToken, Access::Read, Access::Read),
            (Caller::Slave, Access::None, Access::Use),
            (Caller::JoinToken(TokenId(1)), Access::None, Access::Use),
            (
                Caller::SlaveKey(PublicKey([1; 32])),
                Access::Read,
                Access::Use,
            ),
            (Caller::Nobody, Access::None, Access::None),
        ] {
            for (subject, closed) in [(Subject::Builds, builds), (Subject::Slaves, slaves)] {
                assert_eq!(access(caller, subject, false), closed, "{caller:?}");
                let open = closed.max(Access::Read);
                assert_eq!(access(caller, subject, true), open, "{caller:?}");
            }
        }
    }
}
