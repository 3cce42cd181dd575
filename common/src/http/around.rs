//! What stands around a router and sees every request before it chooses a route.
//!
//! Not axum's `middleware::from_fn`: that copies all that is inside, box by box, for each request, and a
//! router around it chooses once more. Here what is inside is a router, whose copies share it.

use axum::extract::Request;
use axum::response::Response;
use std::convert::Infallible;
use std::pin::Pin;
use tower::Service;

/// A router, or a router with something around it: always ready for the next request.
pub trait Inside:
    Service<Request, Response = Response, Error = Infallible, Future: Send + Unpin>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Inside for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + Unpin>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// An answer that is being made.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;
