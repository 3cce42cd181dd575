//! The one place that turns failures into answers for git, which shows a plain text to its user.

use crate::coordinator::Gone;
use crate::push::NotOpened;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clusterrunner_common::text::printable::plain;

/// Why a request of git brings no success.
#[derive(Debug, thiserror::Error)]
pub(super) enum GitHttpError {
    /// There is no token in it.
    #[error("Log in with any user name, and your token as the password.")]
    NoToken,
    /// The token is nobody's.
    #[error(
        "This token is not valid here. Log in with any user name, and your token as the password."
    )]
    InvalidToken,
    /// The path leads nowhere.
    #[error("There is nothing here.")]
    NoRoute,
    /// The route does not take the method.
    #[error("This address takes {0} only.")]
    Method(&'static str),
    /// The service is none of git's two.
    #[error("Only git-upload-pack and git-receive-pack can be used here.")]
    UnknownService,
    /// The client asks for files.
    #[error("This git is too old: version 1.6.6 or later is needed.")]
    OldClient,
    /// The body is of another type.
    #[error("The body must be {0}.")]
    ContentType(String),
    /// The body is packed in a way that nobody knows, or not at all.
    #[error("The body can not be unpacked.")]
    Unpacking,
    /// The body is larger than such a body can be.
    #[error("The body is too long: {0} bytes are the most.")]
    TooLarge(usize),
    /// The repository can not be used.
    #[error(transparent)]
    NotOpened(#[from] NotOpened),
    /// The master ends.
    #[error("The master is going down. Try again in a moment.")]
    Gone(#[from] Gone),
}

impl GitHttpError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::NoRoute | Self::NotOpened(NotOpened::NotFound(_)) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnknownService
            | Self::OldClient
            | Self::NotOpened(NotOpened::ReadOnly(_) | NotOpened::Elsewhere { .. }) => {
                StatusCode::FORBIDDEN
            }
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unpacking => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotOpened(NotOpened::Space(_)) => StatusCode::INSUFFICIENT_STORAGE,
            Self::NotOpened(NotOpened::Failed) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotOpened(NotOpened::Busy | NotOpened::NoGit | NotOpened::Gone(_))
            | Self::Gone(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for GitHttpError {
    fn into_response(self) -> Response {
        let status = self.status();
        let text = format!("{}\n", plain(&self.to_string()));
        let mut response = (status, text).into_response();
        let headers = response.headers_mut();
        match self {
            Self::NoToken | Self::InvalidToken => {
                let asked = "Basic realm=\"ClusterRunner: your token is the password\"";
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(asked));
            }
            Self::Method(method) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(method));
            }
            _ => {}
        }
        response
    }
}
