//! Sessions of browsers: a cookie in place of a token, on the routes of version 2. A change also needs the session's token in
//! a header, which no other site can know, and must come from a page of this very origin as far as the browser says so.

use super::{BODY_DIGEST_HEADER, Closed, Gate, Proof, SIGNATURE_HEADER};
use crate::auth::strangers::proof_holds;
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, Method, header};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

/// The cookie of a session.
pub const SESSION_COOKIE: &str = "clusterrunner_session";

/// The header with the token of the session in requests that change something.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// What knows the sessions.
pub trait Sessions: fmt::Debug + Send + Sync {
    /// Notes the holder of a session among the extensions of the request that shows its cookie. The token for changes.
    fn note_holder<'a>(
        &'a self,
        cookie: &'a str,
        extensions: &'a mut Extensions,
    ) -> Pin<Box<dyn Future<Output = Result<String, UnknownSession>> + Send + 'a>>;

    /// Whether the holder that is noted there may send a request that changes something, by its method and its path
    /// without a slash at its end.
    fn opens(&self, extensions: &Extensions, method: &Method, path: &str) -> bool;
}

/// Why a cookie opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownSession {
    /// The session has ended, or never was.
    #[error("The session has ended: sign in again.")]
    Ended,
    /// The daemon is going down.
    #[error("{0}")]
    Unavailable(String),
}

/// Why a session does not open a request that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SessionRefusal {
    #[error(
        "A change by a session needs its token in the header X-CSRF-Token: GET /v2/session tells it."
    )]
    WrongToken,
    #[error("A web page of another origin can not use the session of this one.")]
    OtherOrigin,
    #[error(
        "A session does not open this route: it needs the farm's secret (header ClusterRunner-Signature)."
    )]
    NotEnough,
}

/// The cookie of a request, and what knows it.
pub(super) struct Shown {
    sessions: Arc<dyn Sessions>,
    cookie: String,
}

impl Gate {
    /// The same gate; a session is enough where a token is, and wherever else `sessions` says. For a gate that guards
    /// nothing yet.
    ///
    /// # Panics
    /// When the gate is in use already.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "whoever sets a gate up is its only owner so far"
    )]
    pub fn with_sessions(mut self: Arc<Self>, sessions: Arc<dyn Sessions>) -> Arc<Self> {
        let gate = Arc::get_mut(&mut self).expect("a gate is set up before it is used");
        gate.sessions = Some(sessions);
        self
    }

    /// The session of a request that brings no other proof.
    pub(super) fn shown_session(&self, request: &Request) -> Option<Shown> {
        let sessions = self.sessions.as_ref()?;
        let headers = request.headers();
        // Programs send none, and nothing else is looked for.
        let cookie = cookie_in(headers)?;
        let others = [
            header::AUTHORIZATION.as_str(),
            SIGNATURE_HEADER,
            BODY_DIGEST_HEADER,
        ];
        let has_other = others.iter().any(|proof| headers.contains_key(*proof));
        let is_there = request.uri().path().starts_with("/v2/") && !has_other;
        is_there.then(|| Shown {
            sessions: Arc::clone(sessions),
            cookie: cookie.to_owned(),
        })
    }

    /// Checks a read that shows a session. One that has ended is as good as none.
    pub(super) async fn check_read_by_session(
        &self,
        shown: &Shown,
        mut request: Request,
    ) -> Result<Request, Closed> {
        match shown.note(&mut request).await {
            Ok(_) => {
                proof_holds(request.extensions());
                request.extensions_mut().insert(Proof::Session);
            }
            Err(UnknownSession::Ended) => self.check_read(&mut request)?,
            Err(error @ UnknownSession::Unavailable(_)) => return Err(error.into()),
        }
        Ok(request)
    }

    /// Opens a request that changes something. False: the session is none, and the route needs no proof.
    pub(super) async fn open_to_session(
        &self,
        shown: &Shown,
        request: &mut Request,
    ) -> Result<bool, Closed> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let is_open = (self.is_open)(&method, &path);
        let token = match shown.note(request).await {
            Ok(token) => token,
            Err(UnknownSession::Ended) if is_open => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let checked = check_origin(request.headers()).and_then(|()| {
            let given = request.headers().get(CSRF_HEADER);
            let is_right = given.is_some_and(|given| is_same(given.as_bytes(), token.as_bytes()));
            is_right.then_some(()).ok_or(SessionRefusal::WrongToken)
        });
        match checked {
            Err(_) if is_open => return Ok(false),
            Err(refusal) => return Err(refusal.into()),
            Ok(()) => {}
        }
        match is_open || shown.sessions.opens(request.extensions(), &method, &path) {
            true => Ok(true),
            false => Err(SessionRefusal::NotEnough.into()),
        }
    }
}

impl Shown {
    async fn note(&self, request: &mut Request) -> Result<String, UnknownSession> {
        let extensions = request.extensions_mut();
        self.sessions.note_holder(&self.cookie, extensions).await
    }
}

/// The value of the session's cookie.
fn cookie_in(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let mut pairs = cookies.flat_map(|cookies| cookies.to_str().unwrap_or_default().split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (name.trim() == SESSION_COOKIE).then(|| value.trim())
    })
}

/// Whether a request comes from a page of this origin, or from no page, as far as its browser says so.
#[must_use]
pub fn is_of_this_origin(headers: &HeaderMap) -> bool {
    check_origin(headers).is_ok()
}

fn check_origin(headers: &HeaderMap) -> Result<(), SessionRefusal> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let is_same_site = text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    let host = text("host").unwrap_or_default();
    let is_same_host = text("origin").is_none_or(|origin| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    });
    (is_same_site && is_same_host)
        .then_some(())
        .ok_or(SessionRefusal::OtherOrigin)
}

/// Compares in a time that does not depend on where they differ.
fn is_same(given: &[u8], wanted: &[u8]) -> bool {
    let differences = given
        .iter()
        .zip(wanted)
        .map(|(given, wanted)| given ^ wanted);
    given.len() == wanted.len() && differences.fold(0, |all, one| all | one) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn headers(given: &[(&'static str, &'static str)]) -> HeaderMap {
        let given = given.iter();
        let given = given.map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        given.collect()
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        for (given, expected) in [
            ("clusterrunner_session=abc", Some("abc")),
            ("a=b; clusterrunner_session=abc; c=d", Some("abc")),
            ("xclusterrunner_session=abc", None),
            ("clusterrunner_session", None),
        ] {
            assert_eq!(
                cookie_in(&headers(&[("cookie", given)])),
                expected,
                "{given}"
            );
        }
    }

    #[test]
    fn a_page_is_of_this_origin_or_not() {
        let host = ("host", "farm:43000");
        for (given, expected) in [
            (&[host][..], true),
            (&[host, ("origin", "http://farm:43000")], true),
            (&[host, ("origin", "https://FARM:43000")], true),
            (&[host, ("origin", "http://farm")], false),
            (&[host, ("origin", "null")], false),
            (&[("origin", "http://farm:43000")], false),
            (&[host, ("sec-fetch-site", "same-origin")], true),
            (&[host, ("sec-fetch-site", "same-site")], false),
            (&[host, ("sec-fetch-site", "cross-site")], false),
        ] {
            assert_eq!(is_of_this_origin(&headers(given)), expected, "{given:?}");
        }
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(is_same(b"abc", b"abc") && is_same(b"", b""));
        for other in [&b"abd"[..], b"ab", b"abcd", b""] {
            assert!(!is_same(other, b"abc"));
        }
    }
}
