//! Why a request does not pass, and the answer to it.

use super::reads::UnprovedRead;
use super::sessions::{SessionRefusal, UnknownSession};
use super::tokens::UnknownToken;
use crate::api::ErrorCode;
use crate::auth::keys::KeyRefusal;
use crate::auth::signature::SignatureError;
use crate::auth::strangers::too_often;
use crate::http::{coded_refusal, refusal};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Why a request does not pass.
pub(super) enum Closed {
    Unproved(SignatureError),
    UnprovedRead(UnprovedRead),
    UnknownToken(UnknownToken),
    TokenNotEnough,
    UnknownSession(UnknownSession),
    Session(SessionRefusal),
    TooLarge(usize),
    Unreadable(String),
    LengthRequired,
    Busy,
    TooOften,
}

impl From<SignatureError> for Closed {
    fn from(error: SignatureError) -> Self {
        Self::Unproved(error)
    }
}

impl From<UnknownToken> for Closed {
    fn from(error: UnknownToken) -> Self {
        Self::UnknownToken(error)
    }
}

impl From<UnknownSession> for Closed {
    fn from(error: UnknownSession) -> Self {
        Self::UnknownSession(error)
    }
}

impl From<SessionRefusal> for Closed {
    fn from(error: SessionRefusal) -> Self {
        Self::Session(error)
    }
}

impl IntoResponse for Closed {
    fn into_response(self) -> Response {
        match self {
            Self::Unproved(SignatureError::Key(error)) => {
                let status = match error {
                    // The same call succeeds once the two have met.
                    KeyRefusal::NotMet => StatusCode::TOO_EARLY,
                    _ => StatusCode::UNAUTHORIZED,
                };
                coded_refusal(status, error.code(), error.to_string())
            }
            Self::Unproved(error) => refusal(StatusCode::UNAUTHORIZED, error.to_string()),
            Self::UnprovedRead(error) => {
                let code = match error {
                    UnprovedRead::Missing => None,
                    UnprovedRead::WrongToken => Some(ErrorCode::InvalidToken),
                };
                coded_refusal(StatusCode::UNAUTHORIZED, code, error.to_string())
            }
            Self::UnknownToken(error) => {
                let (status, code) = match error {
                    UnknownToken::Nobodys => {
                        (StatusCode::UNAUTHORIZED, Some(ErrorCode::InvalidToken))
                    }
                    UnknownToken::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, None),
                };
                coded_refusal(status, code, error.to_string())
            }
            Self::UnknownSession(error) => {
                let status = match error {
                    UnknownSession::Ended => StatusCode::UNAUTHORIZED,
                    UnknownSession::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
                };
                refusal(status, error.to_string())
            }
            Self::Session(error) => refusal(StatusCode::FORBIDDEN, error.to_string()),
            Self::TokenNotEnough => refusal(
                StatusCode::FORBIDDEN,
                "The token of a user does not open this route: it needs the farm's secret (header \
                 ClusterRunner-Signature).",
            ),
            Self::TooLarge(limit) => refusal(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("The request body must not be larger than {limit} bytes."),
            ),
            // The sender may have done nothing wrong: it tries again.
            Self::Unreadable(error) => refusal(
                StatusCode::REQUEST_TIMEOUT,
                format!("The request body could not be read: {error}."),
            ),
            Self::Busy => {
                let error = "Too many large requests of senders who are not known yet are on their way: try again \
                             in a moment.";
                let retry = [(header::RETRY_AFTER, "1")];
                (retry, refusal(StatusCode::SERVICE_UNAVAILABLE, error)).into_response()
            }
            Self::TooOften => too_often(),
            Self::LengthRequired => refusal(
                StatusCode::LENGTH_REQUIRED,
                "An upload must state its length in the header Content-Length.",
            ),
        }
    }
}
