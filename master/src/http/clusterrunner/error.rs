//! The one place that turns failures into HTTP.

mod refused;

use crate::coordinator::{CommandFailure, Gone};
use crate::http::accounts::AccountError;
use crate::journal::JournalError;
use crate::read::builds::ReadError;
use crate::store::sources::SourceError;
use crate::store::working_trees::WorkingTreeError;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use clusterrunner_common::api::ErrorCode;
use clusterrunner_common::api::build_request::InvalidRequest;
use clusterrunner_common::auth::signature::SignatureError;
use clusterrunner_common::caller::CallError;
use clusterrunner_common::disk::space::{ShortOfSpace, is_disk_full};
use clusterrunner_common::git::GitUrlError;
use clusterrunner_common::http::{coded_refusal, failure, refusal};
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SlaveId, SubjobId};
use clusterrunner_common::job::config::JobConfigError;
use clusterrunner_common::process::console::ConsoleError;
use clusterrunner_common::remote_files::RemoteFileError;
use clusterrunner_core::instances::instance::InstanceRefusal;
use clusterrunner_core::refusal::Refusal;
use clusterrunner_core::slaves::keys::KeyRefused;
use clusterrunner_core::templates::refusal::TemplateRefusal;
use refused::{refused_status, sentence};

/// Why a request brings no success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{}", sentence(.0))]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Gone(#[from] Gone),
    #[error(transparent)]
    Account(AccountError),
    /// No user may do this, or not this one.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Who asks has shown nothing.
    #[error(
        "This needs the farm's secret (header ClusterRunner-Signature) or the token of a user (header `Authorization: \
         Bearer`)."
    )]
    WhoAsks,
    #[error(
        "Build {0} is of a private project: reading it needs the farm's secret (header ClusterRunner-Signature) or the \
         token of a user of the project (header `Authorization: Bearer`)."
    )]
    PrivateBuild(BuildId),
    /// What should sign in does not.
    #[error("{0}")]
    SignIn(&'static str),
    #[error("There is no such route.")]
    NoRoute,
    #[error("There is no user named {0}.")]
    NoSuchUser(String),
    #[error(
        "There is no project {0} that you may see. Name it NAME, OWNER/NAME, by its number, or by the URL of its repository."
    )]
    NoSuchProject(String),
    #[error(transparent)]
    InvalidBuild(#[from] InvalidRequest),
    #[error("Field 'job_name': {0}")]
    InvalidJob(JobConfigError),
    #[error("Field '{field}': {source}")]
    InvalidUrl {
        field: &'static str,
        source: GitUrlError,
    },
    #[error("Field 'remote_files': {0}")]
    InvalidRemoteFile(RemoteFileError),
    #[error("{0}")]
    InvalidChange(String),
    #[error("{0}")]
    Invalid(String),
    /// Nothing of the slave is recorded.
    #[error(
        "This master has the key {own}, and the slave at {slave} has joined the one with the key {joined}, whose orders alone \
         it takes. If the master was set up anew, start the slave once with --forget-master, and with the secret or a join \
         token."
    )]
    OtherMaster {
        slave: String,
        own: String,
        joined: String,
    },
    /// Only with a full signature.
    #[error(transparent)]
    MustSign(SignatureError),
    #[error("Invalid atom id: {0}.")]
    UnknownAtom(AtomId),
    #[error(
        "Atom {0}_{1} has no attempt {attempt}. {2}",
        .atom.0, .atom.1, attempts_known(.known)
    )]
    UnknownAttempt {
        atom: (SubjobId, AtomId),
        attempt: Attempt,
        /// Those that it has.
        known: Vec<Attempt>,
    },
    #[error("Requested slave (slave_id={0}) does not exist.")]
    UnknownSlave(SlaveId),
    #[error("Console output does not exist on this host for build {0}, subjob {1}, atom {2}.")]
    NoConsole(BuildId, SubjobId, AtomId),
    #[error(
        "There are no such artifacts of build {0}, subjob {1}, atom {2}: an atom has them once it has ended and its result is \
         on the master."
    )]
    NoArtifacts(BuildId, SubjobId, AtomId),
    #[error(
        "There is no output of the set-up of build {0}: no slave that was asked for has the build set up or has begun \
         with its setup_build. It is kept while the slave has the build."
    )]
    NoSetup(BuildId),
    #[error(
        "Build {0} has no step {1}, or it has not printed anything yet; GET /v2/builds/{0}/steps lists its steps."
    )]
    NoStep(BuildId, u64),
    #[error(transparent)]
    Console(#[from] ConsoleError),
    #[error("The slave that runs this atom does not give its console output: {0}.")]
    SlaveConsole(#[source] CallError),
    #[error("Build {0} is not being built now, so nobody needs its project.")]
    NotBuilding(BuildId),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(
        "The working tree of this commit is not here, or was removed: send it first (POST /v2/working_trees), as \
         `clusterrunner build` does."
    )]
    NoWorkingTree,
    /// The text says of what there is too much.
    #[error("{0}")]
    Full(String),
    /// The text says what is allowed.
    #[error("{0}")]
    TooLarge(String),
    #[error("A working tree could not be looked at: {0}.")]
    WorkingTree(String),
    #[error("The artifacts are not ready yet.")]
    NotReady,
    #[error("Build {build} has no archive: {why}.")]
    NoArchive { build: BuildId, why: &'static str },
    #[error(
        "Build {build} was split into the builds of a matrix, each of which has an archive of its own: {}. Its \
         artifacts.tar.gz has all of them.",
        builds(.children)
    )]
    ArchivesOfMatrix {
        build: BuildId,
        children: Vec<(BuildId, String)>,
    },
    #[error(
        "Build {build} was split into the builds of a matrix, which have the atoms, and each of which has a plan of its \
         own: {}.",
        builds(.children)
    )]
    PlansOfMatrix {
        build: BuildId,
        children: Vec<(BuildId, String)>,
    },
    #[error(
        "The results of build {0} were removed: those of builds that were canceled or failed are kept for a while only \
         (setting keep_partial_results_days)."
    )]
    ResultsRemoved(BuildId),
    #[error("Too many archives are being downloaded: try again in a moment.")]
    TooMany,
    #[error("Too many readers follow events: try again in a moment.")]
    TooManyReaders,
    #[error("The upload broke off in the middle; send it again.")]
    BrokenOff,
    #[error("The result can not be used: {0}.")]
    UnusableResult(String),
    #[error("What that set-up has made is not here.")]
    NoKeptSetup,
    #[error("There is no such snapshot.")]
    NoSnapshot,
    #[error("There is no such app.")]
    NoApp,
    #[error("The snapshot of the template is damaged on the master: build the template again.")]
    DamagedSnapshot,
    #[error(transparent)]
    NoSpace(#[from] ShortOfSpace),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("The stored results of build {0} are damaged: {1}.")]
    DamagedResults(BuildId, #[source] std::io::Error),
    #[error("{what} failed on the master: {source}")]
    Disk {
        what: &'static str,
        source: std::io::Error,
    },
}

impl From<WorkingTreeError> for ApiError {
    fn from(error: WorkingTreeError) -> Self {
        match error {
            WorkingTreeError::Refused(reason) => Self::Invalid(reason),
            WorkingTreeError::TooLarge(reason) => Self::TooLarge(reason),
            WorkingTreeError::Full(_) => Self::Full(error.to_string()),
            WorkingTreeError::Disk(source) => Self::Disk {
                what: "Storing a working tree",
                source,
            },
            WorkingTreeError::Failed(_) | WorkingTreeError::Child(_) => {
                Self::WorkingTree(error.to_string())
            }
        }
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Refused(refusal) => Self::Refused(Refusal::Account(refusal)),
            AccountError::Gone(gone) => Self::Gone(gone),
            other => Self::Account(other),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Refused(refusal) => Self::Refused(refusal),
            ReadError::Gone(gone) => Self::Gone(gone),
            ReadError::Journal(error) => Self::Journal(error),
        }
    }
}

impl From<CommandFailure> for ApiError {
    fn from(failure: CommandFailure) -> Self {
        match failure {
            CommandFailure::Refused(refusal) => Self::Refused(refusal),
            CommandFailure::Gone(gone) => Self::Gone(gone),
        }
    }
}

/// Which attempts an atom has, in a sentence.
fn attempts_known(known: &[Attempt]) -> String {
    let known: Vec<String> = known.iter().map(Attempt::to_string).collect();
    match known.as_slice() {
        [] => "It has none yet.".to_owned(),
        [only] => format!("It has only attempt {only}."),
        several => format!("It has the attempts {}.", several.join(", ")),
    }
}

/// `7 (PY=3.12), 8 (PY=3.13)`.
fn builds(named: &[(BuildId, String)]) -> String {
    let named = named.iter().map(|(id, name)| format!("{id} ({name})"));
    named.collect::<Vec<_>>().join(", ")
}

impl ApiError {
    /// The request is not as it should be.
    pub(super) fn invalid(error: impl Into<String>) -> Self {
        Self::Invalid(error.into())
    }

    /// A result could not be stored.
    pub(super) fn storing(source: std::io::Error) -> Self {
        Self::Disk {
            what: "Storing a result",
            source,
        }
    }

    /// Which refusal it is, where programs tell it apart.
    fn code(&self) -> Option<ErrorCode> {
        Some(match self {
            Self::NoRoute => ErrorCode::NoRoute,
            Self::WhoAsks => ErrorCode::NoProof,
            Self::NoSuchUser(_) => ErrorCode::UnknownUser,
            Self::OtherMaster { .. } => ErrorCode::OtherMaster,
            Self::Refused(Refusal::Key(KeyRefused::UnknownKey)) => ErrorCode::UnknownSlaveKey,
            Self::Refused(Refusal::Key(KeyRefused::RevokedKey)) => ErrorCode::RevokedSlaveKey,
            Self::Refused(Refusal::Key(KeyRefused::AddressOfOther { .. })) => {
                ErrorCode::AddressOfOtherKey
            }
            Self::Refused(Refusal::Key(
                KeyRefused::TokenUsedUp(..) | KeyRefused::OtherAddress { .. },
            )) => ErrorCode::InvalidJoinToken,
            Self::NoArchive { .. } | Self::ArchivesOfMatrix { .. } => ErrorCode::NoArchive,
            Self::UnknownSlave(_) | Self::Refused(Refusal::NoSuchSlave(_)) => {
                ErrorCode::UnknownSlave
            }
            Self::Refused(Refusal::UnknownBuild(_) | Refusal::ForgottenBuild(_)) => {
                ErrorCode::UnknownBuild
            }
            Self::Refused(Refusal::Template(TemplateRefusal::UnknownTemplate { .. })) => {
                ErrorCode::UnknownTemplate
            }
            Self::Refused(Refusal::Instance(InstanceRefusal::Unknown(_))) => {
                ErrorCode::UnknownInstance
            }
            _ => return None,
        })
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Refused(refusal) => refused_status(refusal),
            Self::NoSuchUser(_)
            | Self::NoSuchProject(_)
            | Self::NoRoute
            | Self::NoSnapshot
            | Self::NoKeptSetup
            | Self::NoApp
            | Self::UnknownAtom(_)
            | Self::UnknownAttempt { .. }
            | Self::UnknownSlave(_)
            | Self::NoArchive { .. }
            | Self::ArchivesOfMatrix { .. }
            | Self::NoSetup(_)
            | Self::NoStep(..)
            | Self::NoArtifacts(..)
            | Self::NoConsole(..) => StatusCode::NOT_FOUND,
            Self::WhoAsks | Self::SignIn(_) | Self::PrivateBuild(_) | Self::MustSign(_) => {
                StatusCode::UNAUTHORIZED
            }
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Account(error) => account_status(error),
            Self::ResultsRemoved(_) => StatusCode::GONE,
            Self::NotBuilding(_)
            | Self::OtherMaster { .. }
            | Self::DamagedSnapshot
            | Self::Source(_)
            | Self::NoWorkingTree => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Gone(_) | Self::TooMany | Self::TooManyReaders => StatusCode::SERVICE_UNAVAILABLE,
            Self::InvalidBuild(_)
            | Self::InvalidJob(_)
            | Self::InvalidUrl { .. }
            | Self::InvalidRemoteFile(_)
            | Self::InvalidChange(_)
            | Self::Invalid(_)
            | Self::PlansOfMatrix { .. }
            | Self::UnusableResult(_)
            | Self::Console(ConsoleError::NoLines | ConsoleError::OffsetTooHigh { .. }) => {
                StatusCode::BAD_REQUEST
            }
            Self::SlaveConsole(_) => StatusCode::BAD_GATEWAY,
            Self::NotReady => StatusCode::ACCEPTED,
            Self::BrokenOff => StatusCode::REQUEST_TIMEOUT,
            Self::NoSpace(_) | Self::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Disk { source, .. } if is_disk_full(source) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Console(ConsoleError::Read(_))
            | Self::Journal(_)
            | Self::DamagedResults(..)
            | Self::WorkingTree(_)
            | Self::Disk { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

fn account_status(error: &AccountError) -> StatusCode {
    match error {
        AccountError::WrongCredentials => StatusCode::UNAUTHORIZED,
        AccountError::RegistrationClosed | AccountError::WebPage | AccountError::WrongPresent => {
            StatusCode::FORBIDDEN
        }
        AccountError::Password(_) => StatusCode::BAD_REQUEST,
        AccountError::TooManyTries(_) => StatusCode::TOO_MANY_REQUESTS,
        AccountError::Busy | AccountError::Gone(_) => StatusCode::SERVICE_UNAVAILABLE,
        AccountError::Refused(_) => StatusCode::CONFLICT,
        AccountError::Hashing(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        match self {
            // The original's answers while archives are not there have no body.
            Self::NotReady => status.into_response(),
            Self::TooMany | Self::TooManyReaders | Self::Account(AccountError::Busy) => {
                let retry = [(header::RETRY_AFTER, "1")];
                (retry, refusal(status, self.to_string())).into_response()
            }
            Self::Account(AccountError::TooManyTries(wait)) => {
                let retry = [(header::RETRY_AFTER, wait.seconds().to_string())];
                (retry, refusal(status, self.to_string())).into_response()
            }
            Self::InvalidBuild(_)
            | Self::InvalidJob(_)
            | Self::InvalidUrl { .. }
            | Self::InvalidRemoteFile(_)
            | Self::InvalidChange(_)
            | Self::NoSpace(_) => failure(status, self.to_string()),
            // Only the user of the build can do something about it. The log has it already.
            Self::DamagedResults(..) => refusal(status, self.to_string()),
            _ if status == StatusCode::INTERNAL_SERVER_ERROR => {
                tracing::error!(error = %self, "a request failed");
                refusal(status, "The master could not do this; its log says why.")
            }
            _ => coded_refusal(status, self.code(), self.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        for (kind, status, text) in [
            (ErrorKind::StorageFull, 507, "no storage space"),
            (ErrorKind::QuotaExceeded, 507, "quota exceeded"),
            (ErrorKind::ReadOnlyFilesystem, 500, "log says why"),
        ] {
            let (what, source) = ("Storing a result", Error::from(kind));
            let error = ApiError::Disk { what, source };
            let said = error.to_string();
            let response = error.into_response();
            assert_eq!(response.status().as_u16(), status, "{said}");
            assert!(status == 500 || said.contains(text), "{said}");
        }
    }

    #[tokio::test]
    async fn programs_tell_refusals_apart_by_codes() {
        let no_archive = ApiError::NoArchive {
            build: BuildId(7),
            why: "it was canceled",
        };
        let other_master = ApiError::OtherMaster {
            slave: "h:1".to_owned(),
            own: "0a".to_owned(),
            joined: "0b".to_owned(),
        };
        for (error, code) in [
            (ApiError::NoRoute, Some("no_route")),
            (ApiError::WhoAsks, Some("no_proof")),
            (
                Refusal::UnknownBuild(BuildId(7)).into(),
                Some("unknown_build"),
            ),
            (
                Refusal::ForgottenBuild(BuildId(7)).into(),
                Some("unknown_build"),
            ),
            (
                Refusal::NoSuchSlave(SlaveId(7)).into(),
                Some("unknown_slave"),
            ),
            (no_archive, Some("no_archive")),
            (other_master, Some("other_master")),
            (Refusal::UnknownSubjob(SubjobId(7)).into(), None),
        ] {
            let said = error.to_string();
            let body = error.into_response().into_body();
            let body = axum::body::to_bytes(body, 1 << 16).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let sent = body.get("code").and_then(serde_json::Value::as_str);
            assert_eq!(sent, code, "{said}");
        }
    }
}
