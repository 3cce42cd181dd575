//! Sends requests to receivers: no redirect is followed, certificates are checked, and of an answer only its beginning is
//! read.

use super::queue::Failure;
use super::request::Outgoing;
use clusterrunner_common::caller::with_cause;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::http::install_crypto;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the whole of a request may take. A receiver should answer first and work then.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How much of an answer is read: enough to tell what a server does not like.
const MOST_OF_AN_ANSWER: usize = 4096;

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// The HTTP client can not be made.
    #[error("could not start the HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}

/// Sends requests. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    client: Client,
}

/// What came of a request.
#[derive(Debug)]
pub(super) enum Sent {
    /// It was taken, with this status.
    Taken(u16),
    /// It was not.
    NotTaken {
        /// What follows from that.
        failure: Failure,
        /// The status, if there was an answer.
        status: Option<u16>,
        /// What is wrong, for the log; nothing secret.
        what: String,
        /// The beginning of the answer.
        answer: String,
    },
}

impl Sender {
    /// One that trusts the system's authorities, and these.
    pub(super) fn new(authorities: &[Certificate]) -> Result<Self, SenderError> {
        install_crypto();
        let mut builder = Client::builder()
            .user_agent(concat!("clusterrunner/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT);
        if !authorities.is_empty() {
            builder = builder.tls_certs_merge(authorities.iter().cloned());
        }
        let client = builder.build().map_err(SenderError::Client)?;
        Ok(Self { client })
    }

    /// Posts it.
    pub(super) async fn send(&self, outgoing: Outgoing) -> Sent {
        let request = self.client.post(outgoing.url.clone());
        let request = request.header(CONTENT_TYPE, "application/json");
        complete(request.body(outgoing.body.clone()), outgoing).await
    }

    /// Reads what is there.
    pub(super) async fn ask(&self, outgoing: Outgoing) -> Sent {
        complete(self.client.get(outgoing.url.clone()), outgoing).await
    }
}

/// Sends a request with its headers.
async fn complete(mut request: RequestBuilder, outgoing: Outgoing) -> Sent {
    for (name, value) in outgoing.headers {
        request = request.header(name, value);
    }
    if let Some((name, before, token)) = outgoing.token {
        let value = [before.as_bytes(), token.as_bytes()].concat();
        match HeaderValue::from_bytes(&value) {
            Ok(mut value) => {
                value.set_sensitive(true);
                request = request.header(name, value);
            }
            Err(_) => {
                return Sent::NotTaken {
                    failure: Failure::Refused,
                    status: None,
                    what: "the token has characters that no header can have".to_owned(),
                    answer: String::new(),
                };
            }
        }
    }
    match request.send().await {
        Ok(answer) => judged(answer).await,
        Err(error) => Sent::NotTaken {
            failure: Failure::Unreachable(None),
            status: None,
            what: with_cause(&error.without_url()),
            answer: String::new(),
        },
    }
}

/// What an answer means.
async fn judged(mut answer: Response) -> Sent {
    let status = answer.status();
    if status.is_success() {
        return Sent::Taken(status.as_u16());
    }
    let wish = wish_of(answer.headers(), Timestamp::now());
    let mut text = Vec::new();
    while text.len() < MOST_OF_AN_ANSWER
        && let Ok(Some(piece)) = answer.chunk().await
    {
        text.extend_from_slice(&piece);
    }
    text.truncate(MOST_OF_AN_ANSWER);
    let what = match status.is_redirection() {
        true => format!(
            "it answered {status}; redirects are not followed, so set the address that it names"
        ),
        false => format!("it answered {status}"),
    };
    Sent::NotTaken {
        failure: failure(status, wish),
        status: Some(status.as_u16()),
        what,
        answer: String::from_utf8_lossy(&text).into_owned(),
    }
}

/// For how long a receiver asks for a pause: by itself, or since it was asked too often, as GitHub says so.
fn wish_of(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let seconds = number(RETRY_AFTER.as_str());
    let reset = || {
        let is_used_up = number("x-ratelimit-remaining")? == 0;
        let left = number("x-ratelimit-reset")?.saturating_sub(now.0 / 1000);
        is_used_up.then_some(left)
    };
    seconds.or_else(reset).map(Duration::from_secs)
}

/// Whether a status tells of trouble of the receiver, or of a request that it does not want.
fn failure(status: StatusCode, wish: Option<Duration>) -> Failure {
    // A token that is not known opens nothing for any build.
    if status == StatusCode::UNAUTHORIZED {
        return Failure::Unknown;
    }
    let is_trouble = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    // Servers that are asked too often say so with 403, too.
    let is_too_often = status == StatusCode::FORBIDDEN && wish.is_some();
    match is_trouble || is_too_often {
        true => Failure::Unreachable(wish),
        false => Failure::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_from_a_refusal() {
        let trouble = [408, 425, 429, 500, 502, 503, 504];
        let refusals = [302, 400, 403, 404, 410, 413, 422];
        let wish = Some(Duration::from_secs(5));
        let failure = |status, wish| failure(StatusCode::from_u16(status).unwrap(), wish);
        for status in trouble {
            assert_eq!(
                failure(status, wish),
                Failure::Unreachable(wish),
                "{status}"
            );
        }
        for status in refusals {
            assert_eq!(failure(status, None), Failure::Refused, "{status}");
        }
        assert_eq!(failure(403, wish), Failure::Unreachable(wish));
        assert_eq!(failure(404, wish), Failure::Refused);
        assert_eq!(failure(401, wish), Failure::Unknown);
    }

    #[test]
    fn a_pause_is_asked_for_in_two_ways() {
        let wish = |headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter();
            let headers = headers.map(|(name, value)| {
                let value = HeaderValue::from_static(value);
                (reqwest::header::HeaderName::from_static(name), value)
            });
            let wish = wish_of(&headers.collect(), Timestamp(1_000_000));
            wish.map(|wish| wish.as_secs())
        };
        let used_up = ("x-ratelimit-remaining", "0");
        assert_eq!(wish(&[]), None);
        assert_eq!(wish(&[("retry-after", "7")]), Some(7));
        assert_eq!(wish(&[("retry-after", "soon")]), None);
        assert_eq!(wish(&[used_up, ("x-ratelimit-reset", "1090")]), Some(90));
        assert_eq!(wish(&[used_up, ("x-ratelimit-reset", "5")]), Some(0));
        let left = ("x-ratelimit-remaining", "9");
        assert_eq!(wish(&[left, ("x-ratelimit-reset", "1090")]), None);
    }
}
