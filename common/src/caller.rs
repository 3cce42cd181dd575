//! Calling a daemon over HTTP, each try signed anew and for the life of the daemon that answers.

mod carrying;
mod error;
mod original;
mod sending;
mod sessions;
#[cfg(test)]
mod tests;

pub use carrying::{Carried, Carrier, NotCarried};
pub use error::{CallError, with_cause};

use crate::auth::secret::Secret;
use crate::auth::signature::{CONTENT_DIGEST_HEADER, Signer, content_digest};
use crate::auth::user_token::UserToken;
use crate::http::tls::HttpsSettings;
use crate::http::{HEAD_TIMEOUT, install_crypto};
use crate::ids::SessionId;
use reqwest::{Method, RequestBuilder, Response, Url, header};
use sending::{Unsigned, meant_for, unreachable, with_body};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sessions::{Receiver, Sessions, in_answer};
use std::sync::Arc;
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
    /// Signs in place of the secret, where it has something to sign with.
    signer: Option<Arc<dyn Signer>>,
    read_token: Option<Secret>,
    user_token: Option<UserToken>,
    scheme: &'static str,
    timeout: Duration,
    sessions: Sessions,
    /// Carries calls to those who can not be called.
    carrier: Option<Arc<dyn Carrier>>,
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
        let http = https
            .client_builder()?
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
            signer: None,
            read_token: None,
            user_token: None,
            scheme: https.scheme(),
            timeout,
            sessions: Sessions::default(),
            carrier: None,
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

    /// The same caller; where this signer has something to sign with, it signs and not the secret.
    #[must_use]
    pub fn with_signer(self, signer: Arc<dyn Signer>) -> Self {
        Self {
            signer: Some(signer),
            ..self
        }
    }

    /// The same caller; calls to slaves that poll for them are carried there.
    #[must_use]
    pub fn with_carrier(self, carrier: Arc<dyn Carrier>) -> Self {
        Self {
            carrier: Some(carrier),
            ..self
        }
    }

    /// The same caller; while it has no secret it shows this token with its reads.
    #[must_use]
    pub fn with_read_token(self, read_token: Option<Secret>) -> Self {
        Self { read_token, ..self }
    }

    /// The same caller; with a token it asks as the user of the token, and signs nothing.
    #[must_use]
    pub fn with_user_token(self, user_token: Option<UserToken>) -> Self {
        Self { user_token, ..self }
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

    /// An address with the scheme that this caller means by one without.
    #[must_use]
    pub fn with_scheme(&self, address: &str) -> String {
        match address.contains("://") {
            true => address.to_owned(),
            false => format!("{}://{address}", self.scheme),
        }
    }

    fn parse(&self, url: &str) -> Result<Url, CallError> {
        // URLs have neither, but their parser takes the one for a slash and drops the others: the call would go
        // elsewhere than it says.
        if url.contains(|c: char| c == '\\' || c.is_control() || c.is_whitespace()) {
            return Err(CallError::Address {
                url: url.to_owned(),
            });
        }
        match Url::parse(&self.with_scheme(url)) {
            Ok(parsed) if parsed.has_host() => Ok(parsed),
            _ => Err(CallError::Address {
                url: url.to_owned(),
            }),
        }
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

fn shown(url: &Url) -> String {
    match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        _ => url.to_string(),
    }
}
