//! Every way in which a call is refused, and its status.

use crate::master::lineage::NotMet;
use crate::work::Refusal;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use clusterrunner_common::api::build_request::InvalidRequest;
use clusterrunner_common::auth::signature::SignatureError;
use clusterrunner_common::http::refusal;
use clusterrunner_common::ids::{AtomId, BuildId, ExecutorIndex, SubjobId};
use clusterrunner_common::process::console::ConsoleError;

/// Why a call is refused. The text goes to the caller.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("The slave has no such route, or nothing of that id. GET /v1 shows what it does.")]
    NotFound,
    #[error("This route does not take this method; the header Allow lists those it takes.")]
    MethodNotAllowed,
    #[error("Executor {0} does not exist on this slave.")]
    UnknownExecutor(ExecutorIndex),
    #[error(
        "Field '{missing}' is missing: this slave does not support the protocol of this master yet; use a master of the same version."
    )]
    OtherProtocol { missing: &'static str },
    /// The original's words.
    #[error("Tried to teardown build {asked}, but slave is running build {current}!")]
    OtherBuild { asked: BuildId, current: BuildId },
    /// Only with a full signature.
    #[error(transparent)]
    MustSign(SignatureError),
    #[error("An atom's command must not contain NUL characters.")]
    NulInCommand,
    #[error("Field 'atoms' of subjob {0} is empty: each subjob needs at least one atom.")]
    NoAtoms(SubjobId),
    #[error(transparent)]
    InvalidProject(#[from] InvalidRequest),
    #[error(transparent)]
    NotMet(#[from] NotMet),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("Invalid value of '{0}': it must be a whole number.")]
    NotANumber(&'static str),
    #[error("'offset_line' must be greater than or equal to zero.")]
    NegativeOffset,
    #[error(
        "Console output does not exist on this host for build {build}, subjob {subjob}, atom {atom}."
    )]
    NoConsole {
        build: BuildId,
        subjob: SubjobId,
        atom: AtomId,
    },
    #[error("This command of build {0} has not begun on this slave, or what it printed is gone.")]
    NoStep(BuildId),
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// Our own trouble; its cause is in the log.
    #[error("Internal error; the slave's log has the details.")]
    Internal,
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound
            | Self::UnknownExecutor(_)
            | Self::NoStep(_)
            | Self::NoConsole { .. } => StatusCode::NOT_FOUND,
            Self::MustSign(_) => StatusCode::UNAUTHORIZED,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::OtherProtocol { .. }
            | Self::OtherBuild { .. }
            | Self::NulInCommand
            | Self::NoAtoms(_)
            | Self::InvalidProject(_)
            | Self::NotANumber(_)
            | Self::NegativeOffset
            | Self::Console(ConsoleError::NoLines | ConsoleError::OffsetTooHigh { .. }) => {
                StatusCode::BAD_REQUEST
            }
            Self::Refused(
                Refusal::UnknownBuild { .. }
                | Refusal::BuildEnding { .. }
                | Refusal::OldAttempt { .. }
                | Refusal::NoRoomToHunt { .. },
            ) => StatusCode::CONFLICT,
            // The same call succeeds once the two have met.
            Self::NotMet(_) => StatusCode::TOO_EARLY,
            Self::Refused(Refusal::TooManyWaiting { .. } | Refusal::Ending) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Console(ConsoleError::Read(_)) | Self::Internal => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        refusal(self.status(), self.to_string())
    }
}
