//! What stands before the APIs at each port: an address may ask only so much without proof, and the address goes along with what
//! a request changes, for the audit log.

use crate::coordinator::asked_from;
use axum::extract::Request;
use axum::response::Response;
use clusterrunner_common::auth::strangers::{Counting, Strangers};
use clusterrunner_common::http::around::{Answering, Inside};
use clusterrunner_common::http::peer::Peer;
use futures_util::future::Either;
use std::convert::Infallible;
use std::task::{Context, Poll};
use tower::Service;

/// APIs behind a door of their own.
pub(crate) type Door<S> = WithAddress<Counting<S>>;

/// Puts a door before APIs. What an address has asked without proof counts at all doors of `strangers` together.
pub(crate) fn door<S: Inside>(strangers: &Strangers, inside: S) -> Door<S> {
    WithAddress(strangers.clone().before(inside))
}

/// Has the address of who asks go along with a request that changes something.
#[derive(Clone, Debug)]
pub(crate) struct WithAddress<S>(pub(crate) S);

impl<S: Inside> Service<Request> for WithAddress<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Answering>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if request.method().is_safe() {
            return Either::Left(self.0.call(request));
        }
        let peer = request.extensions().get().copied();
        let address = peer.and_then(|Peer(address)| address);
        let mut inside = self.0.clone();
        Either::Right(Box::pin(asked_from(address, async move {
            inside.call(request).await
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::asking_address;
    use axum::Router;
    use axum::body::Body;
    use axum::http::{Method, StatusCode};
    use axum::routing::any;

    async fn ask(door: &mut Door<Router>, method: Method) -> (StatusCode, String) {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        let far = Some("10.0.0.1".parse().unwrap());
        request.extensions_mut().insert(Peer(far));
        let answer = door.call(request).await.unwrap();
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), 1000).await;
        let body = String::from_utf8(body.unwrap().to_vec()).unwrap();
        (status, body)
    }

    fn of_two_ports() -> [Door<Router>; 2] {
        let said = any(|| async { format!("{:?}", asking_address()) });
        let api = Router::new().route("/", said);
        let strangers = Strangers::new(Some(1));
        [door(&strangers, api.clone()), door(&strangers, api)]
    }

    #[tokio::test]
    async fn who_has_asked_enough_at_one_port_has_at_the_other() {
        let [mut one, mut other] = of_two_ports();
        for _ in 0..5 {
            assert_eq!(ask(&mut one, Method::GET).await.0, 200);
            assert_eq!(ask(&mut other, Method::POST).await.0, 200);
        }
        for door in [&mut one, &mut other] {
            assert_eq!(ask(door, Method::POST).await.0, 429);
        }
    }

    #[tokio::test]
    async fn the_address_goes_along_with_changes() {
        for mut door in of_two_ports() {
            let (_, changed) = ask(&mut door, Method::POST).await;
            assert_eq!(changed, "Some(10.0.0.1)");
            assert_eq!(ask(&mut door, Method::GET).await.1, "None");
        }
    }
}
