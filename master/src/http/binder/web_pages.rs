//! Whether a browser sends a request on behalf of a web page of another site. Such pages reach what only this machine's
//! users can reach, without their knowing it.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use std::convert::Infallible;

/// Whether it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OfOtherSite(pub(super) bool);

impl<S: Sync> FromRequestParts<S> for OfOtherSite {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let text = |name| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let (origin, host) = (text(header::ORIGIN), text(header::HOST));
        // Programs send none.
        let is_own = origin.is_none_or(|origin| {
            let named = origin.split_once("://").map(|(_, named)| named);
            named.is_some() && named == host
        });
        Ok(Self(!is_own))
    }
}
