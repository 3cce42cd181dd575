//! The one place that turns failures into answers of this API.

use super::invalid::InvalidParameter;
use super::shapes::statuses::word;
use crate::coordinator::{CommandFailure, Gone};
use crate::http::accounts::AccountError;
use crate::http::sockets::{IN_ALL, OF_A_USER};
use crate::journal::JournalError;
use crate::read::builds::ReadError;
use crate::store::own_repositories::OwnCodeError;
use axum::Json;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clusterrunner_common::disk::space::{ShortOfSpace, is_disk_full};
use clusterrunner_common::http::web_socket::NoWebSocket;
use clusterrunner_core::accounts::refusal::AccountRefusal;
use clusterrunner_core::builds::details::{MAX_DESCRIPTION, MAX_NAME, MAX_TAG, MAX_TAGS, Unfit};
use clusterrunner_core::builds::status::StatusRefusal;
use clusterrunner_core::instances::instance::InstanceRefusal;
use clusterrunner_core::refusal::Refusal;
use clusterrunner_core::templates::refusal::TemplateRefusal;
use serde_json::{Map, Value, json};
use std::io;

/// Why a request brings no success.
#[derive(Debug, thiserror::Error)]
pub(super) enum PolyaxonError {
    /// There is no token.
    #[error("Authentication credentials were not provided.")]
    NotAuthenticated,
    /// The token stands for nobody.
    #[error("Invalid token.")]
    InvalidToken,
    /// The request for a web socket has no token that stands for a user.
    #[error("not_authorized")]
    NotAuthorized,
    /// The user may not do this.
    #[error("You do not have permission to perform this action.")]
    Forbidden,
    /// There is no such thing, or no such route.
    #[error("Not found.")]
    NotFound,
    /// Too many log-ins were tried.
    #[error("Request was throttled. Expected available in {0} seconds.")]
    Throttled(u64),
    /// Passwords could not be checked.
    #[error("{0}")]
    Unchecked(String),
    /// The route does not take the method.
    #[error("Method \"{0}\" not allowed.")]
    MethodNotAllowed(Method),
    /// The body can not be read.
    #[error("JSON parse error - {0}")]
    Unreadable(String),
    /// The parts of the body can not be read.
    #[error("Multipart form parse error - {0}")]
    UnreadableParts(String),
    /// The upload ended in the middle, or nothing came for a while.
    #[error("The upload broke off in the middle; send it again.")]
    BrokenOff,
    /// There is more of it than is taken.
    #[error("{0}")]
    TooLarge(String),
    /// The disk is nearly full.
    #[error(transparent)]
    NoSpace(#[from] ShortOfSpace),
    /// Code could not be stored or given.
    #[error(transparent)]
    Code(OwnCodeError),
    /// A field of the body is wrong.
    #[error("{field}: {sentence}")]
    Field {
        /// The field.
        field: String,
        /// What is wrong with it and what is right.
        sentence: String,
    },
    /// The route is a web socket, and the request is none for it.
    #[error(transparent)]
    NoWebSocket(#[from] NoWebSocket),
    /// The user, or all users together, have as many web sockets open as there may be.
    #[error(
        "{OF_A_USER} web sockets of a user may be open at a time, and {IN_ALL} in all: close one first."
    )]
    ManySockets,
    /// Too much of this kind is under way.
    #[error("Too many logs are being read: try again in a moment.")]
    Busy,
    /// The disk of the master refuses.
    #[error("a log could not be read: {0}")]
    Disk(#[source] io::Error),
    /// The master is going down.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The core refuses it.
    #[error(transparent)]
    Refused(Refusal),
    /// What is archived can not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl PolyaxonError {
    /// A field is wrong.
    pub(super) fn field(field: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self::Field {
            field: field.into(),
            sentence: sentence.into(),
        }
    }

    /// What a user says does not fit its field.
    fn unfit(unfit: &Unfit) -> Self {
        let (field, sentence) = match unfit {
            Unfit::NoName => (
                "name",
                "Enter a valid name consisting of letters, numbers, underscores or hyphens.".into(),
            ),
            Unfit::LongName => ("name", no_more_than(MAX_NAME)),
            Unfit::NameTaken => (
                "name",
                "The fields project, name must make a unique set.".into(),
            ),
            Unfit::LongDescription => ("description", no_more_than(MAX_DESCRIPTION)),
            Unfit::ManyTags => (
                "tags",
                format!("Ensure this field has no more than {MAX_TAGS} elements."),
            ),
            Unfit::LongTag => ("tags", no_more_than(MAX_TAG)),
            Unfit::EmptyTag => ("tags", "This field may not be blank.".into()),
        };
        Self::field(field, sentence)
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotAuthenticated | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::NotAuthorized | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unchecked(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unreadable(_)
            | Self::UnreadableParts(_)
            | Self::Field { .. }
            | Self::NoWebSocket(_) => StatusCode::BAD_REQUEST,
            Self::BrokenOff => StatusCode::REQUEST_TIMEOUT,
            Self::ManySockets => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoSpace(_) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Code(OwnCodeError::Disk(error)) if is_disk_full(error) => {
                StatusCode::INSUFFICIENT_STORAGE
            }
            Self::Disk(error) if is_disk_full(error) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Refused(_) => StatusCode::CONFLICT,
            Self::Gone(_) | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Disk(_) | Self::Journal(_) | Self::Code(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

fn no_more_than(characters: usize) -> String {
    format!("Ensure this field has no more than {characters} characters.")
}

impl From<Refusal> for PolyaxonError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownBuild(_)
            | Refusal::ForgottenBuild(_)
            | Refusal::UnknownSubjob(_)
            | Refusal::Template(TemplateRefusal::UnknownTemplate { .. })
            | Refusal::Instance(InstanceRefusal::Unknown(_))
            | Refusal::Account(
                AccountRefusal::UnknownUser(_)
                | AccountRefusal::UnknownProject(_)
                | AccountRefusal::UnknownSecret(_)
                | AccountRefusal::NothingToMark
                | AccountRefusal::NeverBookmarked,
            ) => Self::NotFound,
            Refusal::Account(AccountRefusal::UserNameTaken(_)) => {
                Self::field("username", "A user with that username already exists.")
            }
            Refusal::Account(AccountRefusal::ProjectNameTaken(_)) => {
                Self::field("name", "The fields user, name must make a unique set.")
            }
            Refusal::Unfit(unfit) | Refusal::Account(AccountRefusal::Unfit(unfit)) => {
                Self::unfit(&unfit)
            }
            Refusal::Account(
                full @ (AccountRefusal::TooManyProjects(_)
                | AccountRefusal::TooManyCollaborators(_)
                | AccountRefusal::TooManySecrets(_)
                | AccountRefusal::TooManyBookmarks(_)),
            ) => Self::field("non_field_errors", format!("Too many: {full}.")),
            Refusal::Account(refusal @ AccountRefusal::CodeElsewhere(_)) => Self::field(
                "repo",
                format!("{refusal}: upload none, or take its git_url away first."),
            ),
            Refusal::Status(refusal) => Self::field("status", status_sentence(refusal)),
            other => Self::Refused(other),
        }
    }
}

fn status_sentence(refusal: StatusRefusal) -> String {
    match refusal {
        StatusRefusal::NotAfter { before, status } => {
            let before = before.map_or("its final one", word);
            format!("The status can not become {} after {before}.", word(status))
        }
        StatusRefusal::TooMany => "The build has as many statuses as are kept.".to_owned(),
    }
}

impl From<AccountError> for PolyaxonError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::WrongCredentials => Self::field(
                "non_field_errors",
                "Unable to log in with provided credentials.",
            ),
            AccountError::TooManyTries(wait) => Self::Throttled(wait.seconds()),
            AccountError::Busy => Self::Throttled(1),
            AccountError::Password(wrong) => Self::field("password", wrong.to_string()),
            error @ AccountError::WrongPresent => Self::field("old_password", error.to_string()),
            AccountError::RegistrationClosed | AccountError::WebPage => Self::Forbidden,
            AccountError::Refused(refusal) => Refusal::Account(refusal).into(),
            AccountError::Gone(gone) => Self::Gone(gone),
            AccountError::Hashing(error) => Self::Unchecked(error),
        }
    }
}

impl From<InvalidParameter> for PolyaxonError {
    fn from(InvalidParameter { name, sentence }: InvalidParameter) -> Self {
        Self::field(name, sentence)
    }
}

impl From<ReadError> for PolyaxonError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Refused(refusal) => refusal.into(),
            ReadError::Gone(gone) => gone.into(),
            ReadError::Journal(error) => error.into(),
        }
    }
}

impl From<OwnCodeError> for PolyaxonError {
    fn from(error: OwnCodeError) -> Self {
        match error {
            OwnCodeError::Refused(reason) => Self::field("repo", reason),
            OwnCodeError::TooLarge(reason) => Self::TooLarge(reason),
            error @ (OwnCodeError::Failed(_) | OwnCodeError::Child(_) | OwnCodeError::Disk(_)) => {
                Self::Code(error)
            }
        }
    }
}

impl From<CommandFailure> for PolyaxonError {
    fn from(failure: CommandFailure) -> Self {
        match failure {
            CommandFailure::Refused(refusal) => refusal.into(),
            CommandFailure::Gone(gone) => gone.into(),
        }
    }
}

impl IntoResponse for PolyaxonError {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = match &self {
            Self::Field { field, sentence } => {
                Value::Object(Map::from_iter([(field.clone(), json!([sentence]))]))
            }
            Self::NotAuthorized => json!({"status": self.to_string()}),
            _ if status == StatusCode::INTERNAL_SERVER_ERROR => {
                tracing::error!(error = %self, "a request failed");
                json!({"detail": "The master could not do this; its log says why."})
            }
            _ => json!({"detail": self.to_string()}),
        };
        let answer = (status, Json(body));
        match status {
            StatusCode::UNAUTHORIZED => {
                ([(header::WWW_AUTHENTICATE, "Token")], answer).into_response()
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let seconds = match self {
                    Self::Throttled(seconds) => seconds,
                    _ => 1,
                };
                ([(header::RETRY_AFTER, seconds.to_string())], answer).into_response()
            }
            _ => answer.into_response(),
        }
    }
}
