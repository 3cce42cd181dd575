//! How often one address may ask without proof. Requests whose proof holds never count, so any number of slaves may share
//! an address, and neither do those of this machine.

use super::signature::{BODY_DIGEST_HEADER, SIGNATURE_HEADER};
use crate::http::around::{Answering, Inside};
use crate::http::peer::{Peer, Whose};
use crate::http::refusal;
use crate::lock::lock;
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::future::{self, Either};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tower::Service;

/// For how many seconds an address may ask as often as it may, all at once: a page in a browser fetches dozens of files.
const BURST_SECS: u64 = 10;

/// How many addresses are remembered. One that is forgotten begins anew.
const MOST_ADDRESSES: usize = 1 << 16;

/// What addresses have asked without proof. Clones share it.
#[derive(Clone, Debug)]
pub struct Strangers(Option<Arc<Counted>>);

#[derive(Debug)]
struct Counted {
    each_second: u64,
    began: Instant,
    left: Mutex<HashMap<Whose, Left>>,
}

/// How many requests an address has left, in thousandths, and when that was so.
#[derive(Clone, Copy, Debug)]
struct Left {
    thousandths: u64,
    at: Duration,
}

impl Left {
    /// A full measure.
    fn all(each_second: u64, at: Duration) -> Self {
        let thousandths = each_second.saturating_mul(1000 * BURST_SECS);
        Self { thousandths, at }
    }

    /// What is left at a later time.
    fn later(self, each_second: u64, at: Duration) -> Self {
        let passed = at.saturating_sub(self.at).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let more = passed.saturating_mul(each_second);
        let full = Self::all(each_second, at);
        Self {
            thousandths: self.thousandths.saturating_add(more).min(full.thousandths),
            at,
        }
    }

    /// Takes one; false where there is none.
    fn take(&mut self) -> bool {
        let rest = self.thousandths.checked_sub(1000);
        self.thousandths = rest.unwrap_or(self.thousandths);
        rest.is_some()
    }
}

impl Counted {
    /// Counts a request of an address; false where it has none left.
    fn count(&self, whose: Whose, now: Duration) -> bool {
        let each_second = self.each_second;
        let mut left = lock(&self.left);
        if left.len() >= MOST_ADDRESSES && !left.contains_key(&whose) {
            let full = Left::all(each_second, now).thousandths;
            left.retain(|_, left| left.later(each_second, now).thousandths < full);
            if left.len() >= MOST_ADDRESSES {
                left.clear();
            }
        }
        let known = left
            .entry(whose)
            .or_insert_with(|| Left::all(each_second, now));
        *known = known.later(each_second, now);
        known.take()
    }
}

impl Strangers {
    /// So many requests of each address each second; any number where it is `None`.
    #[must_use]
    pub fn new(each_second: Option<u64>) -> Self {
        Self(each_second.map(|each_second| {
            Arc::new(Counted {
                each_second,
                began: Instant::now(),
                left: Mutex::default(),
            })
        }))
    }

    /// Puts the count before all of `inside`.
    pub fn before<S: Inside>(self, inside: S) -> Counting<S> {
        let strangers = self;
        Counting { strangers, inside }
    }

    /// Whom a request counts for, if it may count.
    fn of(&self, request: &Request) -> Option<(Arc<Counted>, Whose)> {
        let counted = self.0.as_ref()?;
        let Peer(address) = request.extensions().get().copied()?;
        let address = address.filter(|address| !address.to_canonical().is_loopback())?;
        Some((Arc::clone(counted), Whose::from(Peer(Some(address)))))
    }
}

/// Whether the proof of a request holds: an extension of those that show one.
#[derive(Clone, Debug, Default)]
struct Held(Arc<AtomicBool>);

/// Notes that what a request shows proves its sender. Whoever takes proofs notes it: what is not noted counts.
pub fn proof_holds(extensions: &Extensions) {
    if let Some(Held(held)) = extensions.get() {
        held.store(true, Ordering::Release);
    }
}

/// Whether it matters if the proof of a request holds.
pub(crate) fn is_proof_awaited(extensions: &Extensions) -> bool {
    extensions.get::<Held>().is_some()
}

/// Whether a request shows something that may prove its sender. Whether it does, whoever gets it says.
fn shows_proof(headers: &HeaderMap) -> bool {
    let names = [SIGNATURE_HEADER, BODY_DIGEST_HEADER];
    headers.contains_key(header::AUTHORIZATION)
        || headers.contains_key(header::COOKIE)
        || names.iter().any(|name| headers.contains_key(*name))
}

fn too_often() -> Response {
    let error = "Too many requests without a proof that holds come from this address: try again in a second. Signed requests are \
                 not counted.";
    let mut refused = refusal(StatusCode::TOO_MANY_REQUESTS, error);
    let headers = refused.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    refused
}

/// A router with the count before it.
#[derive(Clone, Debug)]
pub struct Counting<S> {
    strangers: Strangers,
    inside: S,
}

impl<S: Inside> Service<Request> for Counting<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Answering>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let Some((counted, whose)) = self.strangers.of(&request) else {
            return Either::Left(self.inside.call(request));
        };
        if !shows_proof(request.headers()) {
            return match counted.count(whose, counted.began.elapsed()) {
                true => Either::Left(self.inside.call(request)),
                false => Either::Right(Box::pin(future::ready(Ok(too_often())))),
            };
        }
        let Held(held) = Held::default();
        request.extensions_mut().insert(Held(Arc::clone(&held)));
        let mut inside = self.inside.clone();
        Either::Right(Box::pin(async move {
            let answer = inside.call(request).await?;
            // What is shown for nothing is as good as nothing, whatever the answer: many reads are for everybody.
            let is_proved = held.load(Ordering::Acquire);
            match !is_proved && !counted.count(whose, counted.began.elapsed()) {
                true => Ok(too_often()),
                false => Ok(answer),
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::routing::any;
    use std::net::IpAddr;

    fn whose(address: &str) -> Whose {
        Whose::from(Peer(Some(address.parse::<IpAddr>().unwrap())))
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_address_asks_so_often_and_others_do_not_suffer() {
        let strangers = Strangers::new(Some(2));
        let counted = strangers.0.unwrap();
        let asks = |address: &str, ms| counted.count(whose(address), at(ms));
        for number in 0..20 {
            assert!(asks("10.0.0.1", 0), "{number}");
        }
        assert!(!asks("10.0.0.1", 0));
        assert!(asks("10.0.0.2", 0));
        assert!(!asks("10.0.0.1", 499));
        assert!(asks("10.0.0.1", 500));
        assert!(!asks("10.0.0.1", 501));
        // Never more than a full measure, however long it was quiet.
        let again = (0..100).filter(|_| asks("10.0.0.1", 3_600_000)).count();
        assert_eq!(again, 20);
        // A provider gives a customer so many addresses of version 6.
        let many = (0..100).filter(|host| asks(&format!("2001:db8::{host}"), 0));
        assert_eq!(many.count(), 20);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let counted = Strangers::new(Some(1)).0.unwrap();
        for number in 0..u32::try_from(MOST_ADDRESSES).unwrap() + 100 {
            let address = IpAddr::from(number.to_be_bytes());
            counted.count(Whose::from(Peer(Some(address))), at(0));
        }
        assert!(lock(&counted.left).len() <= MOST_ADDRESSES);
    }

    async fn ask(
        counting: &mut Counting<Router>,
        from: Option<&str>,
        (path, headers): (&str, &[&str]),
    ) -> Response {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        let from = from.map(|address| address.parse().unwrap());
        request.extensions_mut().insert(Peer(from));
        for name in headers {
            let name: header::HeaderName = name.parse().unwrap();
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static("x"));
        }
        counting.call(request).await.unwrap()
    }

    #[tokio::test]
    async fn proofs_that_hold_and_this_machine_do_not_count() {
        let router = Router::new()
            .route("/all", any(|| async { StatusCode::OK }))
            .route(
                "/good",
                any(|request: Request| async move {
                    proof_holds(request.extensions());
                    StatusCode::OK
                }),
            )
            .route("/bad", any(|| async { StatusCode::UNAUTHORIZED }));
        let mut counting = Strangers::new(Some(1)).before(router);
        let signed: &[&str] = &["clusterrunner-signature"];
        let far = Some("10.0.0.1");
        for _ in 0..50 {
            for (from, asked) in [
                (far, ("/good", signed)),
                (far, ("/good", &["authorization"][..])),
                (Some("127.0.0.1"), ("/good", &[][..])),
                (Some("127.0.0.1"), ("/bad", signed)),
                (Some("::ffff:127.0.0.1"), ("/good", &[][..])),
                (None, ("/good", &[][..])),
            ] {
                let answer = ask(&mut counting, from, asked).await;
                assert_ne!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
            }
        }
        for _ in 0..5 {
            assert_eq!(ask(&mut counting, far, ("/good", &[])).await.status(), 200);
            assert_eq!(
                ask(&mut counting, far, ("/bad", signed)).await.status(),
                401
            );
        }
        // A false proof is none, also where nobody asks for one.
        for asked in [
            ("/good", &[][..]),
            ("/bad", signed),
            ("/all", signed),
            ("/all", &["cookie"]),
        ] {
            let answer = ask(&mut counting, far, asked).await;
            assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
        }
        // The slaves behind the same address work on.
        assert_eq!(
            ask(&mut counting, far, ("/good", signed)).await.status(),
            200
        );
        let mut unbounded = Strangers::new(None).before(counting.inside.clone());
        for _ in 0..50 {
            assert_eq!(ask(&mut unbounded, far, ("/good", &[])).await.status(), 200);
        }
    }
}
