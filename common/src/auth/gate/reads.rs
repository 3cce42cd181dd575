//! Reads, where they need a proof: the bound signature of any request, or the read token.

use super::tokens::{Known, UnknownToken};
use super::{Closed, Gate, Proof, header_text};
use crate::auth::secret::Secret;
use crate::auth::signature::{ClaimedSignature, SIGNATURE_HEADER, content_digest};
use crate::auth::strangers::{is_proof_awaited, proof_holds};
use axum::extract::Request;
use axum::http::{Method, header};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha512;
use std::sync::Arc;

/// Who may read.
#[derive(Debug)]
pub(super) enum Reads {
    /// Every caller that reaches the port.
    Open,
    /// Holders of the secret, and of this token.
    Proved { token: Option<Secret> },
}

/// Why a read does not pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnprovedRead {
    #[error(
        "Reading needs a proof here (require_signed_reads): sign the request with the header \
         ClusterRunner-Signature, as `clusterrunner` does where the settings have the secret, or send the header \
         `Authorization: Bearer` with the read_token of the settings."
    )]
    Missing,
    #[error(
        "The token in the header Authorization is not the read_token of the settings, nor that of an active user."
    )]
    WrongToken,
}

impl Gate {
    /// The same gate, closed to reads without a signature or `token`. For a gate that guards nothing yet.
    ///
    /// # Panics
    /// When the gate is in use already.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "whoever sets a gate up is its only owner so far"
    )]
    pub fn with_proved_reads(mut self: Arc<Self>, token: Option<Secret>) -> Arc<Self> {
        let gate = Arc::get_mut(&mut self).expect("a gate is set up before it is used");
        gate.reads = Reads::Proved { token };
        self
    }

    /// Checks a read, and notes its proof where reads need one.
    pub(super) fn check_read(&self, request: &mut Request) -> Result<(), Closed> {
        let Reads::Proved { token } = &self.reads else {
            return self.note_signature(request);
        };
        // What a web page's browser asks for by itself, and tells nothing.
        if request.method() == Method::OPTIONS {
            return Ok(());
        }
        if (self.is_open)(request.method(), request.uri().path()) {
            return Ok(());
        }
        let proof = self.proof_of_read(request, token.as_ref())?;
        proof_holds(request.extensions());
        request.extensions_mut().insert(proof);
        Ok(())
    }

    /// Where reads are open, some of them show more to those who prove who they are.
    fn note_signature(&self, request: &mut Request) -> Result<(), Closed> {
        let path = request.uri().path();
        let shows_more = self.shows_more(request.method(), path);
        if !shows_more && !is_proof_awaited(request.extensions()) {
            return Ok(());
        }
        let Some(signature) = header_text(request, SIGNATURE_HEADER) else {
            return Ok(());
        };
        let claimed = ClaimedSignature::parse(&signature);
        let verified = claimed.and_then(|claimed| {
            let nothing = content_digest(b"");
            self.verify(request, &claimed, &nothing)?;
            Ok(Proof::from(claimed.by()))
        });
        match verified {
            Ok(proof) => {
                proof_holds(request.extensions());
                if shows_more {
                    request.extensions_mut().insert(proof);
                }
                Ok(())
            }
            // Who holds another secret reads as everybody does.
            Err(_) if !self.is_about_users(request.method(), path) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Checks a read that shows a token: that of a user, or the read token. Where reads are open, an unknown one is as
    /// good as none: a proxy may have its own.
    pub(super) async fn check_read_by_user(
        &self,
        known: &Known,
        token: &str,
        mut request: Request,
    ) -> Result<Request, Closed> {
        match known.note(token, &mut request).await {
            Ok(()) => {
                proof_holds(request.extensions());
                request.extensions_mut().insert(Proof::UserToken);
            }
            Err(UnknownToken::Nobodys) => self.check_read(&mut request)?,
            Err(error @ UnknownToken::Unavailable(_)) => return Err(error.into()),
        }
        Ok(request)
    }

    fn proof_of_read(&self, request: &Request, token: Option<&Secret>) -> Result<Proof, Closed> {
        if let Some(signature) = header_text(request, SIGNATURE_HEADER) {
            let claimed = ClaimedSignature::parse(&signature)?;
            self.verify(request, &claimed, &content_digest(b""))?;
            return Ok(claimed.by().into());
        }
        let authorization = request.headers().get(header::AUTHORIZATION);
        let given = authorization.map(reqwest::header::HeaderValue::as_bytes);
        match (
            given.and_then(|given| given.strip_prefix(b"Bearer ")),
            token,
        ) {
            (Some(given), Some(token)) if is_same(given, token) => Ok(Proof::ReadToken),
            (Some(_), _) => Err(Closed::UnprovedRead(UnprovedRead::WrongToken)),
            (None, _) => Err(Closed::UnprovedRead(UnprovedRead::Missing)),
        }
    }
}

/// Compares in constant time: both as keys of the same message.
fn is_same(given: &[u8], token: &Secret) -> bool {
    let digest = |key: &[u8]| {
        let mac = <Hmac<Sha512>>::new_from_slice(key).ok()?;
        Some(mac.chain_update(b"read token"))
    };
    let (Some(given), Some(wanted)) = (digest(given), digest(token.as_bytes())) else {
        return false;
    };
    wanted.verify(&given.finalize().into_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::signature::Signed;
    use crate::clock::{Timestamp, random_bytes};
    use crate::http::clusterrunner::routes::{RouteTable, parent};
    use crate::http::clusterrunner::rules::Rules;
    use crate::http::cors::AllowedOrigins;
    use crate::ids::SessionId;
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use std::time::Duration;
    use tower::ServiceExt as _;

    const SECRET: &str = "a secret for tests";
    const TOKEN: &str = "a token for reads";

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned()).unwrap()
    }

    struct Guarded(Router);

    impl Guarded {
        fn with(token: Option<&str>) -> Self {
            let session = SessionId("this-life".to_owned());
            let gate = Gate::new(
                secret(SECRET),
                &session,
                Duration::from_secs(300),
                |_, _| false,
            )
            .with_proved_reads(token.map(secret));
            let methods = get(async || "read").put(async || "changed");
            let (router, routes) = RouteTable::new(parent())
                .route("x", "/x", "/x", methods)
                .build();
            let rules = Rules {
                session,
                routes,
                origins: AllowedOrigins::new(None).unwrap(),
                observer: None,
            };
            Self(Router::new().fallback_service(rules.around(gate.before(router))))
        }

        async fn call(&self, method: &str, headers: &[(&str, &str)]) -> (u16, String) {
            let mut request = Request::builder().method(method).uri("/x");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Body::empty()).unwrap();
            let response = self.0.clone().oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), 1 << 16).await;
            (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
        }
    }

    fn signature(method: &str, key: &str) -> String {
        signature_for("this-life", method, key)
    }

    fn signature_for(receiver: &str, method: &str, key: &str) -> String {
        let signed = Signed {
            method,
            path_and_query: "/x",
            receiver,
            content_digest: &content_digest(b""),
        };
        signed.sign(&secret(key), Timestamp::now(), random_bytes())
    }

    #[tokio::test]
    async fn a_read_needs_a_signature_or_the_token() {
        let guarded = Guarded::with(Some(TOKEN));
        let (status, body) = guarded.call("GET", &[]).await;
        assert_eq!(status, 401);
        assert!(
            body.contains("ClusterRunner-Signature") && body.contains("Bearer"),
            "{body}"
        );
        let token = format!("Bearer {TOKEN}");
        for method in ["GET", "HEAD"] {
            let (status, _) = guarded.call(method, &[("authorization", &token)]).await;
            assert_eq!(status, 200, "{method}");
        }
        let (status, _) = guarded.call("OPTIONS", &[]).await;
        assert_ne!(status, 401);
        for wrong in [
            "Bearer a token for read",
            "Bearer ",
            "Bearer a secret for tests",
        ] {
            let (status, body) = guarded.call("GET", &[("authorization", wrong)]).await;
            assert_eq!(status, 401);
            assert!(body.contains("not the read_token"), "{body}");
        }
        let (status, _) = guarded.call("PUT", &[("authorization", &token)]).await;
        assert_eq!(status, 401, "the token changes nothing");
    }

    #[tokio::test]
    async fn a_signature_is_good_for_one_read() {
        let guarded = Guarded::with(None);
        let signed = signature("GET", SECRET);
        let headers = [(SIGNATURE_HEADER, signed.as_str())];
        assert_eq!(
            guarded.call("GET", &headers).await,
            (200, "read".to_owned())
        );
        assert_eq!(guarded.call("GET", &headers).await.0, 401);
        let signed = signature("HEAD", SECRET);
        let head = guarded.call("HEAD", &[(SIGNATURE_HEADER, &signed)]).await;
        assert_eq!(head.0, 200, "what is signed is what was sent");
        for (method, key) in [("PUT", SECRET), ("GET", "another secret of a farm")] {
            let signed = signature(method, key);
            let (status, _) = guarded.call("GET", &[(SIGNATURE_HEADER, &signed)]).await;
            assert_eq!(status, 401, "{method} {key}");
        }
        let signed = signature_for("another-life", "GET", SECRET);
        let (status, body) = guarded.call("GET", &[(SIGNATURE_HEADER, &signed)]).await;
        assert_eq!((status, body.contains("another session")), (401, true));
        let (status, body) = guarded.call("GET", &[("authorization", "Bearer x")]).await;
        assert_eq!((status, body.contains("not the read_token")), (401, true));
    }
}
