//! The one place that turns failures into answers of this API.

use super::VERSION;
use crate::coordinator::{CommandFailure, Gone};
use crate::http::accounts::AccountError;
use axum::Json;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clusterrunner_common::disk::space::is_disk_full;
use clusterrunner_core::accounts::refusal::AccountRefusal;
use clusterrunner_core::apps::command::{AppRefusal, ConfigFault, DomainFault, IdFault};
use clusterrunner_core::instances::instance::InstanceRefusal;
use clusterrunner_core::refusal::Refusal;
use serde_json::{Map, Value, json};
use std::io;

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadToken {
    /// The request has no token.
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
    /// The same where the API says it without a body.
    #[error("forbidden")]
    SilentlyForbidden,
    /// Strangers can not register here, or not in this way.
    #[error("{0}")]
    Closed(String),
    /// There is no such thing, or no such route.
    #[error("Not found")]
    NotFound,
    /// The same where the API says it without a body.
    #[error("not found")]
    SilentlyNotFound,
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
    /// The farm can not do what is asked for.
    #[error("{0}")]
    Unavailable(String),
    /// The core refuses what is asked of an app.
    #[error("{}", of_app(.0).1)]
    App(AppRefusal),
    /// The disk of the master refuses.
    #[error("a log could not be read: {0}")]
    Disk(#[source] io::Error),
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
            Self::Forbidden | Self::SilentlyForbidden | Self::Closed(_) => StatusCode::FORBIDDEN,
            Self::NotFound | Self::SilentlyNotFound => StatusCode::NOT_FOUND,
            Self::Unreadable(_)
            | Self::UnreadableParts(_)
            | Self::Fields(_)
            | Self::Operation(_)
            | Self::Refused(_) => StatusCode::BAD_REQUEST,
            Self::App(refusal) => of_app(refusal).0,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Disk(error) if is_disk_full(error) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
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
            Self::App(refusal) => match (of_app(refusal), field_of(refusal)) {
                ((_, sentence), Some(field)) => json!({field: [sentence]}),
                ((StatusCode::NOT_FOUND, sentence), None) => json!({"detail": sentence}),
                ((_, sentence), None) => json!(sentence),
            },
            Self::Operation(_) | Self::Refused(_) | Self::Unavailable(_) | Self::Gone(_) => {
                json!(self.to_string())
            }
            Self::Unchecked(_) | Self::Disk(_) => {
                json!({"detail": "The master could not do this; its log says why."})
            }
            _ => json!({"detail": self.to_string()}),
        }
    }
}

/// The field that is wrong, where what is asked of an app is refused because of one.
fn field_of(refusal: &AppRefusal) -> Option<&'static str> {
    match refusal {
        AppRefusal::IdTaken(_) | AppRefusal::ProjectDeployed(_) | AppRefusal::InvalidId(_) => {
            Some("id")
        }
        AppRefusal::DomainTaken(_) | AppRefusal::InvalidDomain { .. } => Some("domain"),
        AppRefusal::InvalidConfig { map, .. } => Some(map.name()),
        AppRefusal::InvalidField { field, .. } => Some(field),
        AppRefusal::UnknownApp(_)
        | AppRefusal::NoBuild
        | AppRefusal::NothingToRun(_)
        | AppRefusal::UnknownProcess(_)
        | AppRefusal::UnknownRelease(_)
        | AppRefusal::NoEarlierRelease
        | AppRefusal::UnknownDomain(_)
        | AppRefusal::NoSlave
        | AppRefusal::TooManyApps(_)
        | AppRefusal::TooManyReleases(_)
        | AppRefusal::TooManyInstances(_)
        | AppRefusal::FarmFull(_)
        | AppRefusal::TooManyDomains(_) => None,
    }
}

/// The status and the sentence.
fn of_app(refusal: &AppRefusal) -> (StatusCode, String) {
    let status = match refusal {
        AppRefusal::UnknownApp(_)
        | AppRefusal::UnknownRelease(_)
        | AppRefusal::UnknownDomain(_) => StatusCode::NOT_FOUND,
        AppRefusal::NoSlave | AppRefusal::NothingToRun(_) | AppRefusal::FarmFull(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::BAD_REQUEST,
    };
    let sentence = match refusal {
        _ if status == StatusCode::NOT_FOUND => "Not found".to_owned(),
        AppRefusal::IdTaken(_) => "App with this Id already exists.".to_owned(),
        AppRefusal::InvalidId(IdFault::Characters) => {
            "App IDs can only contain [a-z0-9-]".to_owned()
        }
        AppRefusal::InvalidId(IdFault::Reserved) => "App IDs cannot be 'deis'".to_owned(),
        AppRefusal::InvalidId(IdFault::Length) => "App IDs have at most 64 characters".to_owned(),
        AppRefusal::NoBuild => "No build associated with this release".to_owned(),
        AppRefusal::UnknownProcess(process) => {
            format!("Container type {process} does not exist in application")
        }
        AppRefusal::NoEarlierRelease => "version cannot be below 0".to_owned(),
        AppRefusal::DomainTaken(domain) => {
            format!("The domain {domain} is already in use by another app")
        }
        AppRefusal::InvalidDomain { why, .. } => match why {
            DomainFault::NoHostName => "Hostname does not look like a valid hostname. Only \
                                        lowercase characters are allowed."
                .to_owned(),
            DomainFault::Wildcard => {
                "Adding a wildcard subdomain is currently not supported".to_owned()
            }
        },
        AppRefusal::InvalidConfig { why, .. } => of_config(*why),
        AppRefusal::InvalidField { expected, .. } => format!("This must be {expected}."),
        AppRefusal::NoSlave => "No slave is there: try again when one has connected.".to_owned(),
        AppRefusal::NothingToRun(why) => why.clone(),
        AppRefusal::FarmFull(_) => format!("Try again later: {refusal}."),
        other => format!("This can not be done: {other}."),
    };
    (status, sentence)
}

fn of_config(why: ConfigFault) -> String {
    match why {
        ConfigFault::ProcessType => "Process types can only contain [a-z]",
        ConfigFault::Memory => "Limit format: <number><unit>, where unit = B, K, M or G",
        ConfigFault::CpuNumber => "CPU shares must be an integer",
        ConfigFault::CpuRange => "CPU shares must be between 0 and 1024",
        ConfigFault::TagKey => "Tag keys can only contain [a-z]",
        ConfigFault::TagValue => "Invalid tag value",
        ConfigFault::VariableName | ConfigFault::VariableValue | ConfigFault::TooLarge => {
            return format!("This can not be: {why}.");
        }
    }
    .to_owned()
}

impl From<AccountRefusal> for DeisError {
    fn from(refusal: AccountRefusal) -> Self {
        match refusal {
            AccountRefusal::UnknownUser(_)
            | AccountRefusal::UnknownProject(_)
            | AccountRefusal::UnknownKey(_) => Self::NotFound,
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
            Refusal::App(refusal) => Self::App(refusal),
            Refusal::Instance(refusal @ InstanceRefusal::TooMany(_)) => {
                Self::Unavailable(format!("Try again later: {refusal}."))
            }
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
        if matches!(self, Self::SilentlyForbidden | Self::SilentlyNotFound) {
            return status.into_response();
        }
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = %self, "a request failed");
        }
        let answer = (status, Json(self.body()));
        let head = match self {
            Self::Token(_) => (header::WWW_AUTHENTICATE, "Token".to_owned()),
            Self::Throttled(seconds) => (header::RETRY_AFTER, seconds.to_string()),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => (header::RETRY_AFTER, "1".to_owned()),
            _ => return answer.into_response(),
        };
        ([head], answer).into_response()
    }
}
