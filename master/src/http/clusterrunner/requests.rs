//! What a request asks for, as far as it decides who may ask: read off its method and path.

use crate::http::caller::Asked;
use crate::http::sessions::Session;
use crate::read::private::PrivateProjects;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use clusterrunner_common::auth::gate::Proof;
use clusterrunner_common::http::refusal;
use clusterrunner_core::access::{Access, Caller, SecretProof, Subject, UserCaller, access};

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// How the routes are asked about themselves.
    Options,
    Read,
    SubmitBuild,
    /// A working tree, for a build of it.
    SendWorkingTree,
    ChangeBuild,
    ConnectSlave,
    ReportState,
    Heartbeat,
    /// One result, as slaves of the original deliver them.
    DeliverResult,
    /// What only slaves of ours call: many results, the project of a build.
    OurSlaves,
    ShutDownSlaves,
    /// One slave; it may ask for that itself.
    ShutDownSlave,
    /// Users, their tokens, and secrets of builds. The handlers ask which of them the caller may see and change.
    Accounts,
    /// The audit log. The handlers ask whether the caller may see it.
    Audit,
    /// Templates and instances. The handlers ask which of them the caller may see and change.
    Launching,
    /// Anything else that changes something.
    Other,
}

impl Kind {
    /// The kind of a request; the path has no slash at its end.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        let unversioned = ["/v1", "/v2"].iter().find_map(|v| path.strip_prefix(v));
        let unversioned = unversioned.unwrap_or(path);
        match *method {
            Method::OPTIONS => return Self::Options,
            _ if is_of_accounts(unversioned) => return Self::Accounts,
            _ if unversioned.starts_with("/audit") => return Self::Audit,
            _ if is_of_launching(unversioned) => return Self::Launching,
            Method::GET | Method::HEAD => return Self::Read,
            _ => {}
        }
        let mut parts = unversioned.split('/').skip(1);
        let parts = [(); 6].map(|()| parts.next());
        let [Some(top), rest @ ..] = parts else {
            return Self::Other;
        };
        match (method.as_str(), top, rest) {
            ("POST", "build" | "builds", [None, ..]) => Self::SubmitBuild,
            ("POST", "working_trees", [None | Some("missing"), None, ..]) => Self::SendWorkingTree,
            ("PUT", "build" | "builds", [Some(_), None, ..]) => Self::ChangeBuild,
            (
                "POST",
                "build" | "builds",
                [Some(_), Some("results" | "source" | "steps"), None, ..],
            ) => Self::OurSlaves,
            (
                "POST",
                "build" | "builds",
                [
                    Some(_),
                    Some("subjob" | "subjobs"),
                    Some(_),
                    Some("result"),
                    None,
                ],
            ) => Self::DeliverResult,
            ("POST", "snapshot" | "kept_setup" | "kept_setups", [None, ..])
            | (
                "POST",
                "slave" | "slaves",
                [
                    Some(_),
                    Some("instances" | "instance_logs" | "calls"),
                    None,
                    ..,
                ]
                | [Some(_), Some("calls"), Some(_), None, ..],
            ) => Self::OurSlaves,
            ("POST", "slave" | "slaves", [None, ..]) => Self::ConnectSlave,
            ("PUT", "slave" | "slaves", [Some(_), None, ..]) => Self::ReportState,
            ("POST", "slave" | "slaves", [Some("shutdown"), None, ..]) => Self::ShutDownSlaves,
            ("POST", "slave" | "slaves", [Some(_), Some("shutdown"), None, ..]) => {
                Self::ShutDownSlave
            }
            ("POST", "slave" | "slaves", [Some(_), Some("heartbeat"), None, ..]) => Self::Heartbeat,
            _ => Self::Other,
        }
    }

    /// What it is about, and the least access that it needs.
    fn needs(self) -> (Subject<'static>, Access) {
        match self {
            Self::Options | Self::Accounts | Self::Audit | Self::Launching => {
                (Subject::Builds, Access::None)
            }
            Self::Read => (Subject::Builds, Access::Read),
            Self::SubmitBuild | Self::SendWorkingTree => (Subject::Builds, Access::Use),
            Self::ChangeBuild => (Subject::Builds, Access::Own),
            Self::ConnectSlave
            | Self::ReportState
            | Self::Heartbeat
            | Self::DeliverResult
            | Self::OurSlaves => (Subject::Slaves, Access::Use),
            Self::ShutDownSlaves | Self::ShutDownSlave => (Subject::Slaves, Access::Own),
            Self::Other => (Subject::Slaves, Access::Admin),
        }
    }

    /// What it needs of a user: the builds of users are judged by their projects, see `builds::change`.
    fn needs_of_users(self) -> (Subject<'static>, Access) {
        match self {
            Self::ChangeBuild => (Subject::Builds, Access::Use),
            _ => self.needs(),
        }
    }

    /// Who sends it, by the proof that the gate has found enough.
    fn caller(self, proof: Proof) -> Caller {
        match (proof, self) {
            (Proof::Bound, _) => Caller::Secret(SecretProof::BoundSignature),
            // It acts for itself and reads; the handlers ask whether it is itself.
            (
                Proof::Key(key),
                Self::ConnectSlave
                | Self::ReportState
                | Self::Heartbeat
                | Self::OurSlaves
                | Self::ShutDownSlave
                | Self::Read
                | Self::Options,
            ) => Caller::SlaveKey(key),
            (Proof::JoinToken(token), Self::ConnectSlave) => Caller::JoinToken(token),
            (Proof::Key(_) | Proof::JoinToken(_), _) => Caller::Nobody,
            (
                Proof::BodyDigest | Proof::Nothing,
                Self::ConnectSlave | Self::ReportState | Self::Heartbeat | Self::DeliverResult,
            ) => Caller::Slave,
            (Proof::BodyDigest, _) => Caller::Secret(SecretProof::BodyDigest),
            (Proof::ReadToken, _) => Caller::ReadToken,
            // The request names its user beside the proof.
            (Proof::UserToken | Proof::Session, _) => Caller::Nobody,
            (Proof::Nothing, _) => Caller::Nobody,
        }
    }
}

/// The requests for which the documented digest of the body alone is enough: submitting a build
/// and changing one, under each of their paths.
#[must_use]
pub(crate) fn takes_body_digest(method: &Method, path: &str) -> bool {
    matches!(
        Kind::of(method, path),
        Kind::SubmitBuild | Kind::ChangeBuild
    )
}

/// The requests for which the token of a user is enough: all about builds, templates, instances and users. What slaves and operators send
/// needs the secret.
#[must_use]
pub(crate) fn takes_token(method: &Method, path: &str) -> bool {
    matches!(
        Kind::of(method, path),
        Kind::SubmitBuild
            | Kind::SendWorkingTree
            | Kind::ChangeBuild
            | Kind::Accounts
            | Kind::Audit
            | Kind::Launching
    )
}

/// Whether a session of this caller may tell slaves something: it has the rights of the secret, or is a superuser's.
pub(super) fn is_operator(caller: Caller) -> bool {
    access(caller, Subject::Slaves, false) == Access::Admin
}

/// Whether a caller may see what is said of the farm to those who run it: it has the secret, or is a superuser.
pub(super) fn sees_farm(caller: Caller) -> bool {
    match caller {
        Caller::Secret(_) => true,
        Caller::User(user) => user.is_superuser,
        Caller::BinderKey
        | Caller::ReadToken
        | Caller::Slave
        | Caller::SlaveKey(_)
        | Caller::JoinToken(_)
        | Caller::Nobody => false,
    }
}

/// The requests for which the session of this caller is enough: what a token is enough for, and for a session of an
/// operator all but what slaves send.
#[must_use]
pub(crate) fn session_opens(caller: Caller, method: &Method, path: &str) -> bool {
    match Kind::of(method, path) {
        Kind::SubmitBuild | Kind::ChangeBuild | Kind::Accounts | Kind::Audit | Kind::Launching => {
            true
        }
        Kind::ShutDownSlaves | Kind::ShutDownSlave | Kind::Other => is_operator(caller),
        Kind::Options
        | Kind::Read
        | Kind::SendWorkingTree
        | Kind::ConnectSlave
        | Kind::ReportState
        | Kind::Heartbeat
        | Kind::DeliverResult
        | Kind::OurSlaves => false,
    }
}

/// The reads that show more to those who prove who they are: users, and where there are private projects builds.
pub(crate) fn shows_more(private: PrivateProjects) -> impl Fn(&Method, &str) -> bool + Send + Sync {
    move |method, path| match Kind::of(method, path) {
        Kind::Accounts | Kind::Audit | Kind::Launching => true,
        Kind::Read => private.exist() || tells_operators_more(path),
        _ => false,
    }
}

/// The requests that strangers may send: to register, if the settings say so, to sign in and out, and to ask whether they
/// are signed in, and whether the master is well.
#[must_use]
pub(crate) fn is_open(method: &Method, path: &str) -> bool {
    let unversioned = ["/v1", "/v2"].iter().find_map(|v| path.strip_prefix(v));
    match unversioned.unwrap_or(path) {
        "/users" => *method == Method::POST,
        "/session" => true,
        // Who watches the master has no secret of it.
        "/healthz" | "/readyz" => *method != Method::POST,
        _ => false,
    }
}

/// Whether a path is that of the events of the farm, which tell of instances and apps to their users, or of the pools, which
/// tell operators what a provider complains of.
fn tells_operators_more(path: &str) -> bool {
    let unversioned = ["/v1", "/v2"].iter().find_map(|v| path.strip_prefix(v));
    matches!(unversioned.unwrap_or(path), "/events" | "/pools")
}

/// Whether a path without its version is about users, or about keys of slaves.
fn is_of_accounts(path: &str) -> bool {
    let top = path.split('/').nth(1);
    matches!(
        top,
        Some("users" | "tokens" | "session" | "secrets" | "slave_keys" | "join_tokens")
    )
}

/// Whether a path without its version is about templates, instances and apps.
fn is_of_launching(path: &str) -> bool {
    let top = path.split('/').nth(1);
    matches!(
        top,
        Some("templates" | "instances" | "app" | "apps" | "app_logs")
    )
}

/// What the rules of access must know of a request that has passed the gate.
pub(super) fn asked(request: &Request) -> Asked {
    let kind = Kind::of(request.method(), request.uri().path());
    let proof = request.extensions().get().copied();
    let proof = proof.unwrap_or(Proof::Nothing);
    let extensions = request.extensions();
    let user = extensions.get().filter(|_| proof == Proof::UserToken);
    let user = user.map(|user: &UserCaller| Caller::User(*user));
    let session = extensions.get().filter(|_| proof == Proof::Session);
    let named = session.map(|session: &Session| session.caller).or(user);
    let (caller, (subject, needs)) = match named {
        Some(caller @ Caller::User(_)) => (caller, kind.needs_of_users()),
        Some(caller) => (caller, kind.needs()),
        None => (kind.caller(proof), kind.needs()),
    };
    let needs = match (caller, kind) {
        (Caller::SlaveKey(_), Kind::ShutDownSlave) => Access::Use,
        _ => needs,
    };
    Asked {
        caller,
        subject,
        needs,
    }
}

/// The answer to a caller who may not ask for this.
pub(super) fn refused() -> Response {
    let error = "The proof that this request brings is not enough for what it asks for. The key of a slave acts for that \
                 slave alone.";
    refusal(StatusCode::FORBIDDEN, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the caller that each proof makes of a sender may send the request.
    fn check(method: Method, path: &str, expected: [bool; 4]) {
        let proofs = [
            Proof::Bound,
            Proof::BodyDigest,
            Proof::ReadToken,
            Proof::Nothing,
        ];
        let kind = Kind::of(&method, path);
        let (subject, needs) = kind.needs();
        let may = proofs.map(|proof| access(kind.caller(proof), subject, false) >= needs);
        assert_eq!(may, expected, "{method} {path}");
    }

    #[test]
    fn each_request_needs_its_access() {
        for (v, s) in [("/v1", ""), ("", "s"), ("/v2", "s")] {
            let build = format!("{v}/build{s}");
            check(Method::GET, &build, [true, true, true, false]);
            check(Method::POST, &build, [true, true, false, false]);
            check(
                Method::PUT,
                &format!("{build}/1"),
                [true, true, false, false],
            );
            for upload in ["results", "steps"] {
                let path = format!("{build}/1/{upload}");
                check(Method::POST, &path, [true, true, false, false]);
            }
            let slave = format!("{v}/slave{s}");
            check(Method::POST, &slave, [true, true, false, true]);
            check(
                Method::PUT,
                &format!("{slave}/1"),
                [true, true, false, true],
            );
            for order in ["/shutdown", "/1/shutdown"] {
                let path = format!("{slave}{order}");
                check(Method::POST, &path, [true, true, false, false]);
            }
            for order in ["/1/drain", "/1/undrain", "/1/anything"] {
                let path = format!("{slave}{order}");
                check(Method::POST, &path, [true, false, false, false]);
            }
            for report in ["/1/instances", "/1/instance_logs", "/1/calls", "/1/calls/7"] {
                let path = format!("{slave}{report}");
                check(Method::POST, &path, [true, true, false, false]);
            }
            let snapshot = format!("{v}/snapshot");
            check(Method::POST, &snapshot, [true, true, false, false]);
            check(Method::DELETE, &build, [true, false, false, false]);
        }
        check(Method::OPTIONS, "/v1", [true, true, true, true]);
        check(Method::POST, "", [true, false, false, false]);
    }
}
