//! Calling a daemon over HTTP, each try signed anew and for the life of the daemon that answers.

mod error;
mod original;
mod sessions;
#[cfg(test)]
mod tests;

pub use error::CallError;

use crate::api::ErrorBody;
use crate::auth::secret::Secret;
use crate::auth::signature::{CONTENT_DIGEST_HEADER, SIGNATURE_HEADER, Signed, content_digest};
use crate::clock::{Timestamp, random_bytes};
use crate::http::tls::{self, HttpsSettings};
use crate::http::{HEAD_TIMEOUT, SMALL_BODY, install_crypto};
use crate::ids::SessionId;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sessions::{Receiver, Sessions, in_answer};
use std::time::Duration;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept for the next call: shorter than daemons keep it, so that no call goes
/// into one that is being closed.
const IDLE_TIMEOUT: Duration = HEAD_TIMEOUT.saturating_sub(Duration::from_secs(10));

/// Characters of an answer that is not of this API, such as a proxy's page: enough to tell who spoke.
const SHOWN_OF_STRANGERS: usize = 500;

/// A client that signs. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Caller {
    http: reqwest::Client,
    secret: Option<Secret>,
    read_token: Option<Secret>,
    scheme: &'static str,
    timeout: Duration,
    sessions: Sessions,
}

/// A call that is to be signed.
struct Unsigned<'a> {
    method: Method,
    url: Url,
    /// [`content_digest`] of its body.
    digest: &'a str,
    receiver: Receiver<'a>,
    request: RequestBuilder,
}

impl Caller {
    /// A caller that means HTTP by an address without a scheme; without a secret it can only read.
    /// `timeout` bounds each call but the streaming ones, where it bounds each wait for more bytes.
    ///
    /// # Errors
    /// When the HTTP client can not be made.
    pub fn new(secret: Option<Secret>, timeout: Duration) -> Result<Self, CallError> {
        Self::with_https(secret, timeout, &HttpsSettings::default())
    }

    /// A caller that means by an address what the settings do, and believes whom they name.
    ///
    /// # Errors
    /// When the HTTP client can not be made, or the authorities' file is of no use.
    pub fn with_https(
        secret: Option<Secret>,
        timeout: Duration,
        https: &HttpsSettings,
    ) -> Result<Self, CallError> {
        install_crypto();
        let mut builder = reqwest::Client::builder();
        if let Some(authorities) = &https.authorities
            && let Some(certificates) = authorities.certificates()?
        {
            builder = builder.tls_certs_only(certificates);
        }
        let http = builder
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .read_timeout(timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            // Daemons are called by address; a proxy set for the web is not meant for them.
            .no_proxy()
            .build()
            .map_err(CallError::Client)?;
        Ok(Self {
            http,
            secret,
            read_token: None,
            scheme: https.scheme(),
            timeout,
            sessions: Sessions::default(),
        })
    }

    /// The same caller; it and `other` know the sessions of the peers that either has called.
    #[must_use]
    pub fn knowing_whom(self, other: &Self) -> Self {
        Self {
            sessions: other.sessions.clone(),
            ..self
        }
    }

    /// The same caller; while it has no secret it shows this token with its reads.
    #[must_use]
    pub fn with_read_token(self, read_token: Option<Secret>) -> Self {
        Self { read_token, ..self }
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, CallError> {
        let url = self.parse(url)?;
        let request = || self.http.get(url.clone()).timeout(self.timeout);
        json(&url, self.read(&url, Receiver::Address, request).await?).await
    }

    /// As [`Self::get`], from the daemon with this session.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn get_from<T: DeserializeOwned>(
        &self,
        session: &SessionId,
        url: &str,
    ) -> Result<T, CallError> {
        let url = self.parse(url)?;
        let request = || self.http.get(url.clone()).timeout(self.timeout);
        let answer = self.read(&url, Receiver::Life(&session.0), request);
        json(&url, answer.await?).await
    }

    /// Starts to read something large; a 3xx is followed.
    ///
    /// # Errors
    /// See [`CallError`]; a status below 400 is the caller's to judge.
    pub async fn get_stream(&self, url: &str) -> Result<Response, CallError> {
        let url = self.parse(url)?;
        let request = || self.http.get(url.clone());
        self.read(&url, Receiver::Address, request).await
    }

    /// Sends JSON, signed, and reads JSON.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn send<B: Serialize + Sync + ?Sized, T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: &B,
    ) -> Result<T, CallError> {
        let url = self.parse(url)?;
        let answer = self.send_bytes(method, &url, Receiver::Address, written(body)?);
        json(&url, answer.await?).await
    }

    /// As [`Self::send`]; with the session that the peer says it has, if it does.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn send_and_meet<B: Serialize + Sync + ?Sized, T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: &B,
    ) -> Result<(T, Option<String>), CallError> {
        let url = self.parse(url)?;
        let answer = self.send_bytes(method, &url, Receiver::Address, written(body)?);
        let answer = answer.await?;
        let session = in_answer(&answer).map(str::to_owned);
        Ok((json(&url, answer).await?, session))
    }

    /// Sends JSON, signed; all that counts of the answer is that it is no refusal.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn order<B: Serialize + Sync + ?Sized>(
        &self,
        method: Method,
        url: &str,
        body: &B,
    ) -> Result<(), CallError> {
        let url = self.parse(url)?;
        let answer = self.send_bytes(method, &url, Receiver::Address, written(body)?);
        answer.await.map(|_| ())
    }

    /// Sends JSON, signed, and starts to read something large; to the life with this session, if one is
    /// named.
    ///
    /// # Errors
    /// See [`CallError`]; a status below 400 is the caller's to judge.
    pub async fn send_for_stream<B: Serialize + Sync + ?Sized>(
        &self,
        method: Method,
        url: &str,
        body: &B,
        session: Option<&SessionId>,
    ) -> Result<Response, CallError> {
        let (url, body) = (self.parse(url)?, written(body)?);
        let digest = &content_digest(&body);
        let receiver = Receiver::from(session);
        let request = meant_for(receiver, self.http.request(method.clone(), url.clone()));
        self.signed(Unsigned {
            digest,
            request: with_body(request, body, digest),
            receiver,
            method,
            url,
        })
        .await
    }

    /// Sends JSON that is written already to the daemon with this session, signed, and reads JSON.
    ///
    /// # Errors
    /// See [`CallError`]; where another life of it answers, the status is 412.
    pub async fn send_to<T: DeserializeOwned>(
        &self,
        session: &SessionId,
        method: Method,
        url: &str,
        body: Vec<u8>,
    ) -> Result<T, CallError> {
        let url = self.parse(url)?;
        let answer = self.send_bytes(method, &url, Receiver::Life(&session.0), body);
        json(&url, answer.await?).await
    }

    async fn send_bytes(
        &self,
        method: Method,
        url: &Url,
        receiver: Receiver<'_>,
        body: Vec<u8>,
    ) -> Result<Response, CallError> {
        let request = meant_for(receiver, self.http.request(method.clone(), url.clone()));
        let digest = &content_digest(&body);
        self.signed(Unsigned {
            digest,
            request: with_body(request, body, digest).timeout(self.timeout),
            url: url.clone(),
            receiver,
            method,
        })
        .await
    }

    /// Streams a body of known length and digest, signed, and reads JSON; to the life with this session,
    /// if one is named.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn upload<T: DeserializeOwned>(
        &self,
        url: &str,
        content_type: &str,
        length: u64,
        content_digest: &str,
        body: reqwest::Body,
        session: Option<&SessionId>,
    ) -> Result<T, CallError> {
        let (url, receiver) = (self.parse(url)?, Receiver::from(session));
        let request = self
            .http
            .post(url.clone())
            .header(CONTENT_DIGEST_HEADER, content_digest)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::CONTENT_LENGTH, length)
            .body(body);
        let answer = self.signed(Unsigned {
            method: Method::POST,
            url: url.clone(),
            digest: content_digest,
            receiver,
            request: meant_for(receiver, request),
        });
        json(&url, answer.await?).await
    }

    /// A read, with what proves who reads, which some farms ask for. Who does not know the session yet learns it
    /// from the answer, and asks again only where that is a refusal.
    async fn read(
        &self,
        url: &Url,
        receiver: Receiver<'_>,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, CallError> {
        let digest = &content_digest(b"");
        let signed = || Unsigned {
            method: Method::GET,
            url: url.clone(),
            digest,
            receiver,
            request: request(),
        };
        let is_stranger = receiver == Receiver::Address && self.sessions.of(url).is_none();
        match (&self.secret, &self.read_token) {
            (Some(_), _) if is_stranger => match self.accepted(url, request()).await {
                Err(error) if error.status() == Some(StatusCode::UNAUTHORIZED) => {
                    self.signed(signed()).await
                }
                answer => answer,
            },
            (Some(_), _) => self.signed(signed()).await,
            (None, Some(token)) => {
                let request = request().bearer_auth(token.expose());
                self.accepted(url, request).await
            }
            (None, None) => self.accepted(url, request()).await,
        }
    }

    /// Signs a call and makes it. Where it turns out that another life answers there, and any may, it is signed
    /// once more; not where its body streams, which can be sent but once.
    async fn signed(&self, call: Unsigned<'_>) -> Result<Response, CallError> {
        let Unsigned {
            method,
            url,
            digest,
            receiver,
            request,
        } = call;
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

    /// The session of whoever answers there: asked for where it is not known.
    async fn session_of(&self, url: &Url) -> Result<String, CallError> {
        if let Some(known) = self.sessions.of(url) {
            return Ok(known);
        }
        let mut version = url.clone();
        version.set_path("/v1/version");
        version.set_query(None);
        let asked = self.http.get(version).timeout(self.timeout).send().await;
        let answer = asked.map_err(|source| unreachable(url, source))?;
        self.sessions.learn(url, &answer);
        // Also a refusal names it.
        let session = in_answer(&answer).map(str::to_owned);
        session.ok_or_else(|| CallError::NoSession { url: shown(url) })
    }

    fn parse(&self, url: &str) -> Result<Url, CallError> {
        // URLs have neither, but their parser takes the one for a slash and drops the others: the call would go
        // elsewhere than it says.
        if url.contains(|c: char| c == '\\' || c.is_control() || c.is_whitespace()) {
            return Err(CallError::Address {
                url: url.to_owned(),
            });
        }
        let with_scheme = if url.contains("://") {
            url.to_owned()
        } else {
            format!("{}://{url}", self.scheme)
        };
        match Url::parse(&with_scheme) {
            Ok(parsed) if parsed.has_host() => Ok(parsed),
            _ => Err(CallError::Address {
                url: url.to_owned(),
            }),
        }
    }

    fn signature(
        &self,
        method: &Method,
        url: &Url,
        session: &str,
        digest: &str,
    ) -> Result<String, CallError> {
        let secret = self.secret.as_ref().ok_or(CallError::NoSecret)?;
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
        Ok(signed.sign(secret, Timestamp::now(), random_bytes()))
    }

    /// Makes a call, and learns who answers.
    async fn accepted(&self, url: &Url, request: RequestBuilder) -> Result<Response, CallError> {
        let response = match request.send().await {
            Ok(response) => response,
            Err(source) => {
                self.sessions.forget(url);
                return Err(unreachable(url, source));
            }
        };
        self.sessions.learn(url, &response);
        let status = response.status();
        if status.as_u16() < 400 {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        let error = match serde_json::from_str::<ErrorBody>(&text) {
            Ok(body) => body.error,
            Err(_) => text.chars().take(SHOWN_OF_STRANGERS).collect(),
        };
        Err(CallError::Refused {
            url: shown(url),
            status,
            error,
        })
    }
}

/// A request with a body in memory. Whoever takes a large one wants to know from whom before it comes.
fn with_body(request: RequestBuilder, body: Vec<u8>, digest: &str) -> RequestBuilder {
    let request = request.header(header::CONTENT_LENGTH, body.len());
    let request = match body.len() > SMALL_BODY {
        true => request.header(CONTENT_DIGEST_HEADER, digest),
        false => request,
    };
    request.body(body)
}

/// A call to a certain life says so: another one refuses it before it looks at anything else.
fn meant_for(receiver: Receiver<'_>, request: RequestBuilder) -> RequestBuilder {
    match receiver {
        Receiver::Life(session) => request.header("expected-session-id", session),
        Receiver::Address => request,
    }
}

fn written<B: Serialize + ?Sized>(body: &B) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(body).map_err(CallError::Body)
}

fn on_top(request: RequestBuilder, headers: &[(&'static str, String)]) -> RequestBuilder {
    let add = |request: RequestBuilder, (name, value): &(&'static str, String)| {
        request.header(*name, value)
    };
    headers.iter().fold(request, add)
}

async fn json<T: DeserializeOwned>(url: &Url, response: Response) -> Result<T, CallError> {
    let body = response
        .bytes()
        .await
        .map_err(|source| unreachable(url, source))?;
    serde_json::from_slice(&body).map_err(|source| CallError::Malformed {
        url: shown(url),
        source,
    })
}

fn unreachable(url: &Url, source: reqwest::Error) -> CallError {
    if let Some(reason) = tls::failure(&source) {
        let url = shown(url);
        return CallError::Insecure { url, reason };
    }
    CallError::Unreachable {
        url: shown(url),
        source: source.without_url(),
    }
}

fn shown(url: &Url) -> String {
    match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        _ => url.to_string(),
    }
}
