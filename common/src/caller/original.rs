//! Calls to peers of the original, which prove less than our own or nothing at all.

use super::{CallError, Caller, json, on_top, written};
use crate::auth::signature::{BODY_DIGEST_HEADER, body_digest};
use reqwest::{Method, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

impl Caller {
    /// Sends bytes to a peer of the original, with the digest of the body alone, and reads JSON.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn send_to_original<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: Vec<u8>,
        headers: &[(&'static str, String)],
    ) -> Result<T, CallError> {
        let secret = self.secret.as_ref().ok_or(CallError::NoSecret)?;
        let digest = (BODY_DIGEST_HEADER, body_digest(secret, &body));
        self.send_unsigned(method, url, body, &[headers, &[digest]].concat())
            .await
    }

    /// As [`Self::send_to_original`]; all that counts of the answer is that it is no refusal.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn order_original<B: Serialize + Sync + ?Sized>(
        &self,
        method: Method,
        url: &str,
        body: &B,
    ) -> Result<(), CallError> {
        let secret = self.secret.as_ref().ok_or(CallError::NoSecret)?;
        let body = written(body)?;
        let digest = (BODY_DIGEST_HEADER, body_digest(secret, &body));
        let url = self.parse(url)?;
        let request = self
            .http
            .request(method, url.clone())
            .timeout(self.timeout)
            .header(header::CONTENT_LENGTH, body.len())
            .body(body);
        let answer = self.accepted(&url, on_top(request, &[digest]));
        answer.await.map(|_| ())
    }

    /// Sends bytes to a peer of the original that asks for no proof, and reads JSON.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn send_unsigned<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: Vec<u8>,
        headers: &[(&'static str, String)],
    ) -> Result<T, CallError> {
        let url = self.parse(url)?;
        let request = self
            .http
            .request(method, url.clone())
            .timeout(self.timeout)
            .header(header::CONTENT_LENGTH, body.len())
            .body(body);
        json(&url, self.accepted(&url, on_top(request, headers)).await?).await
    }

    /// Streams a body of known length to a master of the original, which asks for no signature
    /// there, and reads JSON.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn upload_to_original<T: DeserializeOwned>(
        &self,
        url: &str,
        content_type: &str,
        length: u64,
        body: reqwest::Body,
    ) -> Result<T, CallError> {
        let url = self.parse(url)?;
        let request = self
            .http
            .post(url.clone())
            .header(header::CONTENT_TYPE, content_type)
            .header(header::CONTENT_LENGTH, length)
            .body(body);
        json(&url, self.accepted(&url, request).await?).await
    }
}
