//! What stands around a router and sees every request before it chooses a route.
//!
//! As axum's `middleware::from_fn`, which copies all that is inside, box by box, for each request; here
//! what is inside is a router, whose copies share it.

use axum::extract::Request;
use axum::response::Response;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower::{Service, ServiceExt as _};

/// A router, or a router with something around it.
pub trait Inside:
    Service<Request, Response = Response, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Inside for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// See [`around`].
#[derive(Clone, Debug)]
pub struct Around<F, S> {
    answer: F,
    inside: S,
}

/// Has requests answered by `answer`, which may ask what is inside with [`answered`].
pub fn around<F, A, S>(inside: S, answer: F) -> Around<F, S>
where
    F: Fn(Request, S) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
    S: Inside,
{
    Around { answer, inside }
}

/// What is inside answers.
pub async fn answered(inside: impl Inside, request: Request) -> Response {
    match inside.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

impl<F, A, S> Service<Request> for Around<F, S>
where
    F: Fn(Request, S) -> A,
    A: Future<Output = Response> + Send + 'static,
    S: Inside,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // What is inside is waited for with each request.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answer = (self.answer)(request, self.inside.clone());
        Box::pin(async { Ok(answer.await) })
    }
}
