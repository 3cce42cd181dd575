//! Calling a daemon over HTTP, each try signed anew.

mod error;
mod original;

pub use error::CallError;

use crate::api::ErrorBody;
use crate::auth::{CONTENT_DIGEST_HEADER, SIGNATURE_HEADER, Signed, content_digest};
use crate::clock::{Timestamp, random_bytes};
use crate::http::{HEAD_TIMEOUT, MAX_BUFFERED_BODY, install_crypto};
use crate::secret::Secret;
use crate::tls::{self, HttpsSettings};
use reqwest::{Method, RequestBuilder, Response, Url, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
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
        })
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
        let request = self.read_request(&url)?.timeout(self.timeout);
        json(&url, accepted(&url, request).await?).await
    }

    /// Starts to read something large; a 3xx is followed.
    ///
    /// # Errors
    /// See [`CallError`]; a status below 400 is the caller's to judge.
    pub async fn get_stream(&self, url: &str) -> Result<Response, CallError> {
        let url = self.parse(url)?;
        accepted(&url, self.read_request(&url)?).await
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
        self.send_bytes(method, url, written(body)?, &[]).await
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
        let (url, request) = self.signed_request(method, url, written(body)?)?;
        let answer = accepted(&url, request).await?;
        let session = answer.headers().get("session-id");
        let session = session.and_then(|text| Some(text.to_str().ok()?.to_owned()));
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
        let (url, request) = self.signed_request(method, url, written(body)?)?;
        accepted(&url, request).await.map(|_| ())
    }

    /// Sends JSON, signed, and starts to read something large.
    ///
    /// # Errors
    /// See [`CallError`]; a status below 400 is the caller's to judge.
    pub async fn send_for_stream<B: Serialize + Sync + ?Sized>(
        &self,
        method: Method,
        url: &str,
        body: &B,
    ) -> Result<Response, CallError> {
        let (url, request) = self.signed_bytes(method, url, written(body)?)?;
        accepted(&url, request).await
    }

    /// A read, with what proves who reads, which some farms ask for.
    fn read_request(&self, url: &Url) -> Result<RequestBuilder, CallError> {
        let request = self.http.get(url.clone());
        Ok(match (&self.secret, &self.read_token) {
            (Some(_), _) => request.header(
                SIGNATURE_HEADER,
                self.signature(&Method::GET, url, &content_digest(b""))?,
            ),
            (None, Some(token)) => request.bearer_auth(token.expose()),
            (None, None) => request,
        })
    }

    fn signed_request(
        &self,
        method: Method,
        url: &str,
        body: Vec<u8>,
    ) -> Result<(Url, RequestBuilder), CallError> {
        let (url, request) = self.signed_bytes(method, url, body)?;
        Ok((url, request.timeout(self.timeout)))
    }

    /// As [`Self::signed_request`], without a limit for the whole call.
    fn signed_bytes(
        &self,
        method: Method,
        url: &str,
        body: Vec<u8>,
    ) -> Result<(Url, RequestBuilder), CallError> {
        let url = self.parse(url)?;
        let digest = content_digest(&body);
        let signature = self.signature(&method, &url, &digest)?;
        let mut request = self
            .http
            .request(method, url.clone())
            .header(SIGNATURE_HEADER, signature)
            .header(header::CONTENT_LENGTH, body.len());
        if body.len() > MAX_BUFFERED_BODY {
            // Whoever takes so much wants to know from whom before it comes.
            request = request.header(CONTENT_DIGEST_HEADER, digest);
        }
        Ok((url, request.body(body)))
    }

    /// Sends bytes, signed, and reads JSON. `headers` come on top.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn send_bytes<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: Vec<u8>,
        headers: &[(&'static str, String)],
    ) -> Result<T, CallError> {
        let (url, request) = self.signed_request(method, url, body)?;
        json(&url, accepted(&url, on_top(request, headers)).await?).await
    }

    /// Streams a body of known length and digest, signed, and reads JSON.
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
    ) -> Result<T, CallError> {
        let url = self.parse(url)?;
        let signature = self.signature(&Method::POST, &url, content_digest)?;
        let request = self
            .http
            .post(url.clone())
            .header(SIGNATURE_HEADER, signature)
            .header(CONTENT_DIGEST_HEADER, content_digest)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::CONTENT_LENGTH, length)
            .body(body);
        json(&url, accepted(&url, request).await?).await
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

    fn signature(&self, method: &Method, url: &Url, digest: &str) -> Result<String, CallError> {
        let secret = self.secret.as_ref().ok_or(CallError::NoSecret)?;
        let path_and_query = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let signed = Signed {
            method: method.as_str(),
            path_and_query: &path_and_query,
            content_digest: digest,
        };
        Ok(signed.sign(secret, Timestamp::now(), random_bytes()))
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

async fn accepted(url: &Url, request: RequestBuilder) -> Result<Response, CallError> {
    let response = request
        .send()
        .await
        .map_err(|source| unreachable(url, source))?;
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
