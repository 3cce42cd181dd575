//! The address of who asks.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::net::IpAddr;

/// The address at the other end of the connection that a request came by; a handler takes it as an extractor. Behind a
/// proxy it is that of the proxy: what a proxy says of its callers is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // What came by no connection has none.
        let peer = parts.extensions.get().copied();
        Ok(peer.unwrap_or(Self(None)))
    }
}
