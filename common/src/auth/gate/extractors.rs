//! How handlers get bodies that the gate has proved.

use super::bodies::{Budget, Pace, buffered};
use super::closed::Closed;
use super::{BodyVerdict, GENUINE, legacy};
use crate::auth::signature::SignatureError;
use crate::http::{MAX_BUFFERED_BODY, refusal};
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

/// The body of a request whose sender the gate has proved, as JSON. An empty body counts as `{}`.
///
/// No body may be larger than [`MAX_BUFFERED_BODY`] before its sender is known. That of a
/// sender who was proved by the head of the request may have up to `LIMIT` bytes.
#[derive(Debug)]
pub struct Signed<T, const LIMIT: usize = MAX_BUFFERED_BODY>(pub T);

impl<T, S, const LIMIT: usize> FromRequest<S> for Signed<T, LIMIT>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let Some(verdict) = request.extensions().get::<BodyVerdict>().cloned() else {
            return Err(Closed::from(SignatureError::Missing).into_response());
        };
        let form = legacy::may_be_form(&request);
        let unproved = request.extensions().get::<Budget>().cloned();
        let read = match unproved {
            Some(budget) => {
                let read = budget.buffered(request, LIMIT.min(MAX_BUFFERED_BODY)).await;
                read.map(|(_, body, part)| (body, part))
            }
            // It is here already, or its sender was proved by the head.
            None => {
                let read = buffered(request, LIMIT, Pace::PROVED).await;
                read.map(|(_, body)| (body, None))
            }
        };
        let (body, _part) = read.map_err(IntoResponse::into_response)?;
        if !verdict.is(GENUINE) {
            return Err(Closed::from(SignatureError::WrongBody).into_response());
        }
        let wrapped = form.then(|| legacy::unwrapped(&body)).flatten();
        let body = wrapped.map_or(body, Bytes::from);
        let text = if body.is_empty() { b"{}" } else { &*body };
        crate::text::json::from_slice(text)
            .map(Self)
            .map_err(|error| {
                let message = match error.classify() {
                    serde_json::error::Category::Data => format!("Invalid request body: {error}."),
                    _ => "Invalid JSON in request body.".to_owned(),
                };
                refusal(StatusCode::BAD_REQUEST, message)
            })
    }
}

/// A request whose body is streamed, from a sender whom the gate has proved.
#[derive(Debug)]
pub struct SignedUpload {
    /// The request; reading its body gives an error where the bytes are not those that were signed.
    pub request: Request,
    /// Tells when the whole body was read and found good.
    pub verdict: UploadVerdict,
}

/// See [`UploadVerdict::is_genuine`].
#[derive(Clone, Debug)]
pub struct UploadVerdict(BodyVerdict);

impl UploadVerdict {
    /// Whether the whole body was read and is the one that was signed. Nothing may be
    /// acknowledged, or kept, before this is true.
    #[must_use]
    pub fn is_genuine(&self) -> bool {
        self.0.is(GENUINE)
    }
}

impl<S: Send + Sync> FromRequest<S> for SignedUpload {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let Some(verdict) = request.extensions().get::<BodyVerdict>().cloned() else {
            return Err(Closed::from(SignatureError::Missing).into_response());
        };
        let verdict = UploadVerdict(verdict);
        Ok(Self { request, verdict })
    }
}
