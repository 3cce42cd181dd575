//! Why a call failed, and what follows from that for the caller.

use super::NotCarried;
use crate::api::ErrorCode;
use crate::auth::signature::SignatureError;
use crate::http::tls::TlsError;
use reqwest::StatusCode;
use std::error::Error as _;

/// Why a call brought no answer that counts.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The HTTP client could not be made.
    #[error("could not start the HTTP client: {0}")]
    Client(#[source] reqwest::Error),
    /// The address is not one.
    #[error("'{url}' is not an address of the form host:port")]
    Address {
        /// The URL as it was given.
        url: String,
    },
    /// No answer came; the call may or may not have arrived.
    #[error("{url} does not answer: {}", root_cause(.source))]
    Unreachable {
        /// The address that was called.
        url: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The peer is a slave that polls for its calls, and no answer came.
    #[error("{url} does not answer: {reason}")]
    NotCarried {
        /// The address that was called.
        url: String,
        /// The cause.
        #[source]
        reason: NotCarried,
    },
    /// The peer is there, but there is no secure connection to it.
    #[error("there is no secure connection to {url}: {reason}")]
    Insecure {
        /// The address that was called.
        url: String,
        /// What is wrong, and perhaps what helps.
        reason: String,
    },
    /// What is set about HTTPS is of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The peer answered with a status of 400 or above.
    #[error("{url} refused with status {}: {error}", .status.as_u16())]
    Refused {
        /// The address that was called.
        url: String,
        /// The status.
        status: StatusCode,
        /// The peer's own words.
        error: String,
        /// Which refusal it is, where the peer says so.
        code: Option<ErrorCode>,
        /// Whether the words came as ClusterRunner sends them: `{"error": "..."}`.
        is_explained: bool,
    },
    /// Nothing can be signed for the peer, since it does not name its session.
    #[error(
        "{url} sends no session (header Session-Id): it is not a ClusterRunner daemon, or a proxy removes the \
         header"
    )]
    NoSession {
        /// The address that was called.
        url: String,
    },
    /// The answer is not what the API promises.
    #[error("{url} gave an answer that is not of this API: {source}")]
    Malformed {
        /// The address that was called.
        url: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// What was to be sent can not be said in JSON: a mistake of ours.
    #[error("could not write the request: {0}")]
    Body(#[source] serde_json::Error),
    /// This caller has no secret and so can not sign.
    #[error("this call must be signed, and no secret is known: set `secret` in clusterrunner.conf")]
    NoSecret,
}

/// What an error says, with the last of its causes, which its own words leave out.
#[must_use]
pub fn with_cause(error: &reqwest::Error) -> String {
    match error.source() {
        Some(_) => format!("{error}: {}", root_cause(error)),
        None => error.to_string(),
    }
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// What the original says to a request without its digest of the body. Ours says other things to what is signed as
/// ours is.
const ORIGINALS_REFUSAL: &str = "Message digest does not match header, message not authenticated.";

impl CallError {
    /// Whether the peer, which was sent a bound signature, is one of the original.
    #[must_use]
    pub fn is_from_original(&self) -> bool {
        matches!(
            self,
            Self::Refused { status, error, .. }
                if *status == StatusCode::UNAUTHORIZED && error == ORIGINALS_REFUSAL
        )
    }

    /// Whether the call was signed for another life of the peer than the one that answers: it was started again.
    #[must_use]
    pub fn is_for_another_life(&self) -> bool {
        let refusal = SignatureError::OtherSession.to_string();
        matches!(self, Self::Refused { error, .. } if *error == refusal)
    }

    /// The status with which the peer refused, if it did.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Which refusal it is, where the peer says so.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => *code,
            _ => None,
        }
    }

    /// Whether the call can not have arrived: there was no connection.
    #[must_use]
    pub fn never_arrived(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => source.is_connect(),
            Self::NotCarried { reason, .. } => reason.never_arrived(),
            Self::Client(_)
            | Self::Address { .. }
            | Self::Insecure { .. }
            | Self::Tls(_)
            | Self::Body(_)
            | Self::NoSession { .. }
            | Self::NoSecret => true,
            Self::Refused { .. } | Self::Malformed { .. } => false,
        }
    }

    /// Whether the same call may succeed later: no answer came, or one of a program that does not speak
    /// this API (a proxy in trouble), or the peer is in trouble itself.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::NotCarried { .. }
            | Self::NoSession { .. }
            | Self::Malformed { .. } => true,
            Self::Refused { status, .. } => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT
                            | StatusCode::TOO_EARLY
                            | StatusCode::TOO_MANY_REQUESTS
                    )
            }
            Self::Client(_)
            | Self::Address { .. }
            | Self::Insecure { .. }
            | Self::Tls(_)
            | Self::Body(_)
            | Self::NoSecret => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::caller::Caller;
    use reqwest::Method;
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[tokio::test]
    async fn what_we_can_not_write_is_not_the_peers_fault() {
        let caller = Caller::new(None, Duration::from_secs(1)).unwrap();
        let not_json = BTreeMap::from([((1, 2), 3)]);
        let sent = caller.order(Method::POST, "nobody:1", &not_json).await;
        let error = sent.unwrap_err();
        assert!(error.never_arrived() && !error.is_passing());
        let text = error.to_string();
        assert!(text.starts_with("could not write the request: "), "{text}");
    }
}
