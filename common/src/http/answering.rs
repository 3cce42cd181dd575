//! Answers the requests of one connection: what holds before any route is looked for, and what a connection is
//! told about its requests.

use super::answers::{Budget, Full};
use super::connections::{Activity, UnderWay};
use super::peer::Peer;
use super::rest::Rest;
use super::{Inside, refusal};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::service::Service;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use tokio::sync::OwnedSemaphorePermit;

/// The service of one connection.
#[derive(Debug)]
pub(super) struct Answerer<R> {
    router: R,
    peer: Peer,
    activity: Arc<Activity>,
    budget: Budget,
}

impl<R> Answerer<R> {
    pub(super) fn new(router: R, peer: Peer, activity: &Arc<Activity>, budget: &Budget) -> Self {
        Self {
            router,
            peer,
            activity: Arc::clone(activity),
            budget: budget.clone(),
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
        // What slaves and clients send is answered in any case.
        let is_read = *request.method() == Method::GET;
        let budget = is_read.then(|| self.budget.clone());
        let making = match refused(&request) {
            Some(response) => Making::Refused(Some(response)),
            None => {
                let mut request = with_rest(request);
                request.extensions_mut().insert(self.peer);
                Making::Inside(self.router.clone().call(request))
            }
        };
        Answer {
            making,
            goes_on,
            under_way,
            budget,
        }
    }
}

/// Has what a handler leaves of a body read all the same, where that is little.
fn with_rest(request: hyper::Request<Incoming>) -> Request {
    // A client that waits for `100 Continue` does not send the body after a refusal.
    let waits = request.headers().contains_key(header::EXPECT);
    match request.body().is_end_stream() || waits {
        true => request.map(Body::new),
        false => request.map(|body| Body::new(Rest(Some(body)))),
    }
}

/// What no request may be, whatever it asks for.
fn refused(request: &Request<Incoming>) -> Option<Response> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    let error = if second.is_some() {
        "A request must have one Host header, not several."
    } else if is_for_another_host(request.uri(), first) {
        "The request line and the Host header of a request must name the same host."
    } else {
        return None;
    };
    Some(refusal(StatusCode::BAD_REQUEST, error))
}

/// Whether a request line names a host (as to a proxy) that is not the one of the header: who looks at one of them would
/// think that it is for somebody else than who looks at the other.
fn is_for_another_host(uri: &Uri, host: Option<&HeaderValue>) -> bool {
    match (uri.authority(), host) {
        (Some(named), Some(host)) => !named
            .as_str()
            .as_bytes()
            .eq_ignore_ascii_case(host.as_bytes()),
        (None, _) | (_, None) => false,
    }
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
    /// What the answer must have a part of, if it is a large one.
    budget: Option<Budget>,
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
        let under_way = self.under_way.take();
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            match &under_way {
                Some(under_way) if self.goes_on => under_way.take_over(),
                _ => {
                    let error = "Nothing may follow this request before its answer.";
                    response = refusal(StatusCode::BAD_REQUEST, error);
                }
            }
        }
        let mut part = None;
        if let Some(budget) = self.budget.take() {
            match budget.part(response.body(), response.extensions()) {
                Ok(given) => part = given,
                Err(Full) => response = too_many(&response),
            }
        }
        if !self.goes_on {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Poll::Ready(Ok(response.map(|body| AnswerBody {
            body,
            rest: Bytes::new(),
            _under_way: under_way,
            _part: part,
        })))
    }
}

/// In place of an answer that there is no room for. Headers that do not describe its body stay: an API has its own.
fn too_many(answer: &Response) -> Response {
    let error = "Too many large answers are being read: try again in a moment.";
    let mut refused = refusal(StatusCode::SERVICE_UNAVAILABLE, error);
    let headers = refused.headers_mut();
    for (name, value) in answer.headers() {
        let of_body = name.as_str().starts_with("content-") || OF_BODY.contains(name);
        if !of_body {
            headers.append(name, value.clone());
        }
    }
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    refused
}

/// Headers that describe a body, beside those whose names begin with `content-`.
const OF_BODY: [HeaderName; 3] = [header::ETAG, header::LAST_MODIFIED, header::ACCEPT_RANGES];

/// How much of an answer is handed on at a time: what is handed on is out of sight.
const PIECE: usize = 32 << 10;

/// The body of an answer; its request is under way, and its part of the budget is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct AnswerBody {
    body: Body,
    /// What is still to be handed on of the last piece of the body.
    rest: Bytes,
    _under_way: Option<UnderWay>,
    _part: Option<OwnedSemaphorePermit>,
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let mut hint = self.body.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}
