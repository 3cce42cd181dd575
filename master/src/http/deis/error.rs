//! The one place that turns failures into answers of this API.

use super::gate::VERSION;
use crate::coordinator::{CommandFailure, Gone};
use crate::core::accounts::command::AccountRefusal;
use crate::core::command::Refusal;
use crate::http::accounts::AccountError;
use axum::Json;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadToken {
    /// There is none.
    #[error("Authentication credentials were not provided.")]
    Missing,
    /// It stands for nobody.
    #[error("Invalid token")]
    Unknown,
    /// Only the word before it is there.
    #[error("Invalid token header. No credentials provided.")]
    Empty,
    /// It is more than one word.
    #[error("Invalid token header. Token string should not contain spaces.")]
    Spaces,
}

/// Why a request brings no success. The texts are the API's own.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeisError {
    /// Nobody is known to ask.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// The client speaks another version.
    #[error(
        "Client and server versions do not match. Client version: {0} Server version: {VERSION}"
    )]
    Version(String),
    /// The caller may not do this.
    #[error("You do not have permission to perform this action.")]
    Forbidden,
    /// Strangers can not register here, or not in this way.
    #[error("{0}")]
    Closed(String),
    /// There is no such thing, or no such route.
    #[error("Not found")]
    NotFound,
    /// The route does not take the method.
    #[error("Method '{0}' not allowed.")]
    Method(Method),
    /// The body can not be read.
    #[error("JSON parse error - {0}")]
    Unreadable(String),
    /// The parts of the body can not be read.
    #[error("Multipart form parse error - {0}")]
    UnreadableParts(String),
    /// The body has more bytes than this.
    #[error("The body is longer than {0} bytes.")]
    TooLarge(usize),
    /// The body ended in the middle, or came too slowly.
    #[error("The body broke off in the middle; send it again.")]
    BrokenOff,
    /// Fields of the body are wrong: each with a sentence.
    #[error("{}", names(.0))]
    Fields(Vec<(String, String)>),
    /// What is asked for can not be done.
    #[error("{0}")]
    Operation(String),
    /// Too many log-ins were tried.
    #[error("Request was throttled. Expected available in {0} seconds.")]
    Throttled(u64),
    /// The core refuses it, and clients know no sentence for that.
    #[error("This can not be done: {0}.")]
    Refused(Refusal),
    /// The master is going down.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// Passwords could not be checked.
    #[error("{0}")]
    Unchecked(String),
}

fn names(fields: &[(String, String)]) -> String {
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    names.join(", ")
}

impl DeisError {
    /// A field is wrong.
    pub(super) fn field(field: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self::Fields(vec![(field.into(), sentence.into())])
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Token(_) => StatusCode::UNAUTHORIZED,
            Self::Version(_) | Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Forbidden | Self::Closed(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Unreadable(_)
            | Self::UnreadableParts(_)
            | Self::Fields(_)
            | Self::Operation(_)
            | Self::Refused(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BrokenOff => StatusCode::REQUEST_TIMEOUT,
            Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Gone(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unchecked(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn body(&self) -> Value {
        match self {
            Self::Version(_) => json!({"error": self.to_string()}),
            Self::Fields(fields) => {
                let fields = fields.iter();
                let fields = fields.map(|(name, sentence)| (name.clone(), json!([sentence])));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Self::Operation(_) | Self::Refused(_) | Self::Gone(_) => json!(self.to_string()),
            Self::Unchecked(_) => {
                json!({"detail": "The master could not do this; its log says why."})
            }
            _ => json!({"detail": self.to_string()}),
        }
    }
}

impl From<AccountRefusal> for DeisError {
    fn from(refusal: AccountRefusal) -> Self {
        match refusal {
            AccountRefusal::UnknownUser(_) | AccountRefusal::UnknownKey(_) => Self::NotFound,
            // What the farm keeps for itself is taken, too.
            AccountRefusal::UserNameTaken(_) | AccountRefusal::ReservedUserName(_) => {
                Self::field("username", "User with this Username already exists.")
            }
            AccountRefusal::InvalidField { field: "name", .. } => {
                Self::field("username", "Enter a valid username.")
            }
            AccountRefusal::InvalidField { field: "email", .. } => {
                Self::field("email", "Enter a valid email address.")
            }
            AccountRefusal::InvalidField { field, expected } => {
                Self::field(field, format!("This must be {expected}."))
            }
            AccountRefusal::KeyTaken => {
                Self::field("public", "SSH Key with this Public already exists.")
            }
            AccountRefusal::KeyIdTaken(_) => {
                Self::field("id", "SSH Key with this Id already exists.")
            }
            refusal => Self::Refused(Refusal::Account(refusal)),
        }
    }
}

impl From<Refusal> for DeisError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Account(refusal) => refusal.into(),
            other => Self::Refused(other),
        }
    }
}

impl From<AccountError> for DeisError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::WrongCredentials => Self::field(
                "non_field_errors",
                "Unable to log in with provided credentials.",
            ),
            AccountError::WrongPresent => {
                Self::Operation("Current password did not match".to_owned())
            }
            AccountError::Password(wrong) => Self::field("password", wrong.to_string()),
            AccountError::TooManyTries(wait) => Self::Throttled(wait.seconds()),
            AccountError::Busy => Self::Throttled(1),
            error @ (AccountError::RegistrationClosed | AccountError::WebPage) => {
                Self::Closed(error.to_string())
            }
            AccountError::Refused(refusal) => refusal.into(),
            AccountError::Gone(gone) => gone.into(),
            AccountError::Hashing(error) => Self::Unchecked(error),
        }
    }
}

impl From<CommandFailure> for DeisError {
    fn from(failure: CommandFailure) -> Self {
        match failure {
            CommandFailure::Refused(refusal) => refusal.into(),
            CommandFailure::Gone(gone) => gone.into(),
        }
    }
}

impl IntoResponse for DeisError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = %self, "a request failed");
        }
        let answer = (status, Json(self.body()));
        let head = match self {
            Self::Token(_) => (header::WWW_AUTHENTICATE, "Token".to_owned()),
            Self::Throttled(seconds) => (header::RETRY_AFTER, seconds.to_string()),
            Self::Gone(_) => (header::RETRY_AFTER, "1".to_owned()),
            _ => return answer.into_response(),
        };
        ([head], answer).into_response()
    }
}
