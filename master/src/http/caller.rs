//! Who asks. Between the gate of an API and its handlers stands an [`Admission`]; a handler takes the [`Caller`] as
//! an extension, which only an admission gives.

use axum::extract::Request;
use axum::response::Response;
use clusterrunner_common::http::around::Inside;
use clusterrunner_core::access::{Access, Caller, Subject, access};
use clusterrunner_core::actor::Actor;
use futures_util::future::{Either, Ready, ready};
use std::convert::Infallible;
use std::task::{Context, Poll};
use tower::Service;

/// What the rules of access must know of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Who asks, by the proof that the gate has found.
    pub caller: Caller,
    /// What it is about.
    pub subject: Subject<'static>,
    /// The least access that it needs.
    pub needs: Access,
}

/// Lets through what its caller may ask for.
#[derive(Clone)]
pub(crate) struct Admission<S> {
    /// How the API reads a request that has passed its gate.
    pub asked: fn(&Request) -> Asked,
    /// How the API says no.
    pub refused: fn() -> Response,
    /// Whether everyone may read.
    pub reads_are_open: bool,
    /// The routes of the API.
    pub inside: S,
}

impl<S: Inside> Service<Request> for Admission<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let Asked {
            caller,
            subject,
            needs,
        } = (self.asked)(&request);
        if access(caller, subject, self.reads_are_open) < needs {
            return Either::Right(ready(Ok((self.refused)())));
        }
        request.extensions_mut().insert(caller);
        Either::Left(self.inside.call(request))
    }
}

/// The actor that a caller is.
#[must_use]
pub(crate) fn actor(caller: Caller) -> Actor {
    match caller {
        Caller::Secret(_) => Actor::SecretHolder,
        Caller::User(user) => Actor::User(user.id),
        Caller::BinderKey => Actor::Binder,
        Caller::SlaveKey(_) => Actor::SlaveKey,
        Caller::JoinToken(token) => Actor::JoinToken(token),
        Caller::ReadToken | Caller::Slave | Caller::Nobody => Actor::Nobody,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    use axum::routing::any;
    use axum::{Extension, Router};
    use clusterrunner_core::access::SecretProof;

    async fn check(caller: Caller, needs: Access, reads_are_open: bool, expected: StatusCode) {
        let said = any(|Extension(caller): Extension<Caller>| async move { format!("{caller:?}") });
        let asked = Asked {
            caller,
            subject: Subject::Builds,
            needs,
        };
        let mut admission = Admission {
            asked: |request| *request.extensions().get().unwrap(),
            refused: || StatusCode::FORBIDDEN.into_response(),
            reads_are_open,
            inside: Router::new().route("/", said),
        };
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(asked);
        let response = admission.call(request).await.unwrap();
        assert_eq!(response.status(), expected, "{asked:?}");
        let body = axum::body::to_bytes(response.into_body(), 100)
            .await
            .unwrap();
        let told = match expected {
            StatusCode::OK => format!("{caller:?}"),
            _ => String::new(),
        };
        assert_eq!(body, told);
    }

    #[tokio::test]
    async fn a_handler_is_reached_by_those_who_may_and_told_who_asks() {
        let (yes, no) = (StatusCode::OK, StatusCode::FORBIDDEN);
        let digest = Caller::Secret(SecretProof::BodyDigest);
        check(digest, Access::Own, false, yes).await;
        check(digest, Access::Admin, false, no).await;
        check(Caller::ReadToken, Access::Read, false, yes).await;
        check(Caller::ReadToken, Access::Use, true, no).await;
        check(Caller::Nobody, Access::Read, true, yes).await;
        check(Caller::Nobody, Access::Read, false, no).await;
        check(Caller::Slave, Access::Use, true, no).await;
    }
}
