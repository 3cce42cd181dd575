//! Answers the requests of one connection: what holds before any route is looked for, and what a connection is
//! told about its requests.

use super::connections::{Activity, UnderWay};
use super::rest::Rest;
use super::{Inside, refusal, tidy_path};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::service::Service;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

/// The service of one connection.
#[derive(Debug)]
pub(super) struct Answerer<R> {
    router: R,
    activity: Arc<Activity>,
}

impl<R> Answerer<R> {
    pub(super) fn new(router: R, activity: &Arc<Activity>) -> Self {
        Self {
            router,
            activity: Arc::clone(activity),
        }
    }

    /// Tells the stream where the request ends. Whether the connection can go on after it: not where nobody
    /// knows that, or where the next request, unanswered, has been read along with it.
    fn ends(&self, body: &Incoming) -> bool {
        let after_head = self.activity.after_head.load(Ordering::Relaxed);
        let length = body.size_hint().exact();
        let left = length.and_then(|length| length.checked_sub(after_head));
        let body_left = left.unwrap_or(u64::MAX);
        self.activity.body_left.store(body_left, Ordering::Relaxed);
        left.is_some()
    }
}

impl<R: Inside> Service<hyper::Request<Incoming>> for Answerer<R> {
    type Response = hyper::Response<AnswerBody>;
    type Error = Infallible;
    type Future = Answer<R::Future>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let goes_on = self.ends(request.body());
        let under_way = Some(self.activity.begin());
        let making = match refused(&request) {
            Some(response) => Making::Refused(Some(response)),
            None => Making::Inside(self.router.clone().call(tidy_path(with_rest(request)))),
        };
        Answer {
            making,
            goes_on,
            under_way,
        }
    }
}

/// Has what a handler leaves of a body read all the same, where that is little.
fn with_rest(request: hyper::Request<Incoming>) -> Request {
    // Whoever waits for a word before the body does not send it after a refusal.
    let waits = request.headers().contains_key(header::EXPECT);
    match request.body().is_end_stream() || waits {
        true => request.map(Body::new),
        false => request.map(|body| Body::new(Rest(Some(body)))),
    }
}

/// What no request may be, whatever it asks for.
fn refused(request: &Request<Incoming>) -> Option<Response> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    (hosts > 1).then(|| {
        let error = "A request must have one Host header, not several.";
        refusal(StatusCode::BAD_REQUEST, error)
    })
}

enum Making<F> {
    Refused(Option<Response>),
    Inside(F),
}

/// An answer on its way.
pub(super) struct Answer<F> {
    making: Making<F>,
    goes_on: bool,
    under_way: Option<UnderWay>,
}

impl<F: Future<Output = Result<Response, Infallible>> + Unpin> Future for Answer<F> {
    type Output = Result<hyper::Response<AnswerBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = match &mut self.making {
            Making::Refused(response) => response.take().unwrap_or_default(),
            Making::Inside(future) => {
                let Ok(response) = ready!(Pin::new(future).poll(cx));
                response
            }
        };
        if !self.goes_on {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        let under_way = self.under_way.take();
        Poll::Ready(Ok(response.map(|body| AnswerBody {
            body,
            _under_way: under_way,
        })))
    }
}

/// The body of an answer; its request is under way until it is dropped.
#[derive(Debug)]
pub(super) struct AnswerBody {
    body: Body,
    _under_way: Option<UnderWay>,
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
