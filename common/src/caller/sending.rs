//! Making one call: signed for the life that answers there, and once more if that turns out to be another.

use super::sessions::{Receiver, in_answer};
use super::{CallError, Caller, SHOWN_OF_STRANGERS, shown};
use crate::api::{ErrorBody, ErrorCode};
use crate::auth::signature::{CONTENT_DIGEST_HEADER, SIGNATURE_HEADER, Signed, content_digest};
use crate::clock::{Timestamp, random_bytes};
use crate::http::{SMALL_BODY, tls};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};

/// A call that is to be signed.
pub(super) struct Unsigned<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    /// [`content_digest`] of its body.
    pub(super) digest: &'a str,
    pub(super) receiver: Receiver<'a>,
    pub(super) request: RequestBuilder,
}

impl Caller {
    /// A read, with what proves who reads, which some farms ask for. Who does not know the session yet learns it
    /// from the answer, and asks again only where that is a refusal.
    pub(super) async fn read(
        &self,
        url: &Url,
        receiver: Receiver<'_>,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, CallError> {
        if let Some(token) = &self.user_token {
            return self
                .accepted(url, request().bearer_auth(token.as_str()))
                .await;
        }
        let digest = &content_digest(b"");
        let signed = || Unsigned {
            method: Method::GET,
            url: url.clone(),
            digest,
            receiver,
            request: request(),
        };
        let is_stranger = receiver == Receiver::Address && self.sessions.of(url).is_none();
        match (self.can_sign(), &self.read_token) {
            (true, _) if is_stranger => match self.accepted(url, request()).await {
                Err(error) if error.status() == Some(StatusCode::UNAUTHORIZED) => {
                    self.signed(signed()).await
                }
                answer => answer,
            },
            (true, _) => self.signed(signed()).await,
            (false, Some(token)) => {
                let request = request().bearer_auth(token.expose());
                self.accepted(url, request).await
            }
            (false, None) => self.accepted(url, request()).await,
        }
    }

    fn can_sign(&self) -> bool {
        self.secret.is_some() || self.signer.is_some()
    }

    /// Signs a call and makes it, or shows the token of a user with it. Where it turns out that another life answers there, and any may, it is signed
    /// once more; not where its body streams, which can be sent but once.
    pub(super) async fn signed(&self, call: Unsigned<'_>) -> Result<Response, CallError> {
        let Unsigned {
            method,
            url,
            digest,
            receiver,
            request,
        } = call;
        if let Some(token) = &self.user_token {
            return self
                .accepted(&url, request.bearer_auth(token.as_str()))
                .await;
        }
        let session = match receiver {
            Receiver::Life(session) => session.to_owned(),
            Receiver::Address => self.session_of(&url).await?,
        };
        let again = match receiver {
            Receiver::Life(_) => None,
            Receiver::Address => request.try_clone(),
        };
        let sign = |session: &str, request: RequestBuilder| {
            let signature = self.signature(&method, &url, session, digest)?;
            Ok::<_, CallError>(request.header(SIGNATURE_HEADER, signature))
        };
        let answer = self.accepted(&url, sign(&session, request)?).await;
        let Err(error) = answer else {
            return answer;
        };
        let other = self.sessions.of(&url).filter(|now| *now != session);
        match (error.status(), other, again) {
            (Some(StatusCode::UNAUTHORIZED), Some(session), Some(request)) => {
                self.accepted(&url, sign(&session, request)?).await
            }
            _ => Err(error),
        }
    }

    /// The session of the daemon that answers there: asked for where it is not known.
    async fn session_of(&self, url: &Url) -> Result<String, CallError> {
        if let Some(known) = self.sessions.of(url) {
            return Ok(known);
        }
        let mut version = url.clone();
        version.set_path("/v1/version");
        version.set_query(None);
        let request = self.http.get(version).timeout(self.timeout);
        let answer = self.sent(url, request).await?;
        self.sessions.learn(url, &answer);
        // Also a refusal names it.
        let session = in_answer(&answer).map(str::to_owned);
        session.ok_or_else(|| CallError::NoSession { url: shown(url) })
    }

    fn signature(
        &self,
        method: &Method,
        url: &Url,
        session: &str,
        digest: &str,
    ) -> Result<String, CallError> {
        let path_and_query = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let signed = Signed {
            method: method.as_str(),
            path_and_query: &path_and_query,
            receiver: session,
            content_digest: digest,
        };
        let (now, nonce) = (Timestamp::now(), random_bytes());
        let by_signer = self.signer.as_ref();
        let by_signer = by_signer.and_then(|signer| signer.sign(&signed, now, nonce));
        match (by_signer, &self.secret) {
            (Some(signature), _) => Ok(signature),
            (None, Some(secret)) => Ok(signed.sign(secret, now, nonce)),
            (None, None) => Err(CallError::NoSecret),
        }
    }

    /// Makes a call, and learns who answers.
    pub(super) async fn accepted(
        &self,
        url: &Url,
        request: RequestBuilder,
    ) -> Result<Response, CallError> {
        let response = self.sent(url, request).await;
        let response = response.inspect_err(|_| self.sessions.forget(url))?;
        self.sessions.learn(url, &response);
        let status = response.status();
        if status.as_u16() < 400 {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        let (error, code, is_explained) = match serde_json::from_str::<ErrorBody>(&text) {
            Ok(ErrorBody { error, code, .. }) => {
                let code = code.or_else(|| ErrorCode::of_original(&error));
                (error, code, true)
            }
            Err(_) => (text.chars().take(SHOWN_OF_STRANGERS).collect(), None, false),
        };
        Err(CallError::Refused {
            url: shown(url),
            status,
            error,
            code,
            is_explained,
        })
    }
}

/// A request with a body in memory. A daemon wants to know the sender of a large one before it comes.
pub(super) fn with_body(request: RequestBuilder, body: Vec<u8>, digest: &str) -> RequestBuilder {
    let request = request.header(header::CONTENT_LENGTH, body.len());
    let request = match body.len() > SMALL_BODY {
        true => request.header(CONTENT_DIGEST_HEADER, digest),
        false => request,
    };
    request.body(body)
}

/// A call to a certain life says so: another one refuses it before it looks at anything else.
pub(super) fn meant_for(receiver: Receiver<'_>, request: RequestBuilder) -> RequestBuilder {
    match receiver {
        Receiver::Life(session) => request.header("expected-session-id", session),
        Receiver::Address => request,
    }
}

pub(super) fn unreachable(url: &Url, source: reqwest::Error) -> CallError {
    if let Some(reason) = tls::failure(&source) {
        let url = shown(url);
        return CallError::Insecure { url, reason };
    }
    CallError::Unreachable {
        url: shown(url),
        source: source.without_url(),
    }
}
