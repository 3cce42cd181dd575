//! The one place that turns failures into answers of this API.

use crate::coordinator::{CommandFailure, Gone};
use crate::journal::JournalError;
use crate::read::builds::ReadError;
use axum::Json;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clusterrunner_common::disk::space::ShortOfSpace;
use clusterrunner_core::instances::instance::InstanceRefusal;
use clusterrunner_core::refusal::Refusal;
use clusterrunner_core::templates::refusal::TemplateRefusal;
use serde_json::json;

/// The most characters of a name.
const LONGEST_NAME: usize = 128;

/// Why a request brings no success. The texts are the API's own.
#[derive(Debug, thiserror::Error)]
pub(super) enum BinderError {
    /// The key is missing, or none of this farm, or the token lets its user only read.
    #[error("Forbidden")]
    Unauthorized,
    /// Launches need the key, too.
    #[error(
        "Forbidden: launching needs the API key on this farm. launch_without_key = True in its settings lets everyone \
         launch."
    )]
    KeylessLaunch,
    /// A browser asks on behalf of some web page.
    #[error("Forbidden: web pages of other sites can not launch without the API key.")]
    WebPage,
    /// A parameter is not there.
    #[error("Request does not contain the required parameters for this endpoint: {0}")]
    Missing(&'static str),
    /// The body, or a field of it, can not be used.
    #[error("{0}")]
    Malformed(String),
    /// The body has more bytes than this.
    #[error("The body is longer than {0} bytes.")]
    TooLarge(usize),
    /// The body ended in the middle, or came too slowly.
    #[error("The body broke off.")]
    BrokenOff,
    /// The route does not take the method.
    #[error("This route does not take {0}.")]
    Method(Method),
    /// A build of the name is under way.
    #[error("Already building the image")]
    AlreadyBuilding,
    /// The repository can not be cloned, for this reason.
    #[error("Unsupported repo source")]
    BadRepoSource(String),
    /// No build has the name.
    #[error("Could not get build information for requested image")]
    NoBuildInfo,
    /// There is no such template, or no such route.
    #[error("The requested resource does not exist")]
    DoesNotExist,
    /// There is no template with this name to launch.
    #[error("Could not fetch template with name {0} from registry")]
    Registry(String),
    /// No application of the template has the id.
    #[error("There is no record for that template/ID combination")]
    NoRecord,
    /// The farm has as many as it may have.
    #[error("Too many: {0}.")]
    TooMany(String),
    /// The core refuses it.
    #[error("This can not be done: {0}.")]
    Refused(Refusal),
    /// The disk is nearly full.
    #[error(transparent)]
    NoSpace(#[from] ShortOfSpace),
    /// The master is going down.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// What is archived can not be read.
    #[error("The master could not read this; its log says why.")]
    Journal(#[source] JournalError),
}

impl BinderError {
    /// There is no template with a name, which is shown as far as a name can be long.
    pub(super) fn unknown_template(name: &str) -> Self {
        Self::Registry(name.chars().take(LONGEST_NAME).collect())
    }

    /// The status and the name.
    fn kind(&self) -> (StatusCode, &'static str) {
        const MALFORMED: &str = "malformedRequest";
        let store_failed = StatusCode::INTERNAL_SERVER_ERROR;
        match self {
            Self::Unauthorized | Self::KeylessLaunch | Self::WebPage => {
                (StatusCode::FORBIDDEN, "unauthorized")
            }
            Self::Missing(_) => (StatusCode::UNPROCESSABLE_ENTITY, MALFORMED),
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, MALFORMED),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, MALFORMED),
            Self::BrokenOff => (StatusCode::REQUEST_TIMEOUT, MALFORMED),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, MALFORMED),
            Self::AlreadyBuilding => (store_failed, "alreadyBuilding"),
            Self::BadRepoSource(_) => (store_failed, "badRepoSource"),
            Self::NoBuildInfo => (store_failed, "noBuildInfo"),
            Self::DoesNotExist => (StatusCode::NOT_FOUND, "doesNotExist"),
            Self::Registry(_) => (store_failed, "registryError"),
            Self::NoRecord => (store_failed, "noRecord"),
            Self::TooMany(_) => (StatusCode::SERVICE_UNAVAILABLE, "tooMany"),
            Self::Refused(_) => (StatusCode::CONFLICT, "refused"),
            Self::NoSpace(_) => (StatusCode::INSUFFICIENT_STORAGE, "badDatabase"),
            Self::Gone(_) => (StatusCode::SERVICE_UNAVAILABLE, "noDatabase"),
            Self::Journal(_) => (store_failed, "badQuery"),
        }
    }
}

impl From<Refusal> for BinderError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Template(TemplateRefusal::AlreadyBuilding { .. }) => Self::AlreadyBuilding,
            Refusal::Template(TemplateRefusal::UnknownTemplate { name }) => Self::Registry(name),
            Refusal::Template(
                refusal @ (TemplateRefusal::InvalidName | TemplateRefusal::TooManyNames(_)),
            ) => Self::BadRepoSource(format!("{refusal}.")),
            Refusal::Instance(InstanceRefusal::Unknown(_)) => Self::NoRecord,
            Refusal::Instance(refusal @ InstanceRefusal::TooMany(_)) => {
                Self::TooMany(refusal.to_string())
            }
            other => Self::Refused(other),
        }
    }
}

impl From<CommandFailure> for BinderError {
    fn from(failure: CommandFailure) -> Self {
        match failure {
            CommandFailure::Refused(refusal) => refusal.into(),
            CommandFailure::Gone(gone) => gone.into(),
        }
    }
}

impl From<ReadError> for BinderError {
    fn from(error: ReadError) -> Self {
        match error {
            // A build that is not kept any more.
            ReadError::Refused(_) => Self::NoBuildInfo,
            ReadError::Gone(gone) => gone.into(),
            ReadError::Journal(error) => Self::Journal(error),
        }
    }
}

impl IntoResponse for BinderError {
    fn into_response(self) -> Response {
        let (status, name) = self.kind();
        if let Self::Journal(error) = &self {
            tracing::error!(%error, "a build could not be read");
        }
        let sentence = self.to_string();
        if status == StatusCode::FORBIDDEN {
            // As plain text: so clients know it.
            return (status, sentence).into_response();
        }
        let body = match &self {
            Self::BadRepoSource(reason) => {
                json!({"type": name, "error": sentence, "reason": reason})
            }
            _ => json!({"type": name, "error": sentence}),
        };
        let answer = (status, Json(body));
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                ([(header::RETRY_AFTER, "1")], answer).into_response()
            }
            _ => answer.into_response(),
        }
    }
}
