//! The door: every request that changes something passes the [`Gate`], and every handler of one
//! takes its body through [`Signed`], which only the gate can make.

mod bodies;
mod closed;
mod extractors;
mod keyed;
mod legacy;
mod reads;
mod sessions;
#[cfg(test)]
mod tests;
mod tokens;

pub use extractors::{Signed, SignedUpload, UploadVerdict};
pub use legacy::Proof;
pub use sessions::{CSRF_HEADER, SESSION_COOKIE, Sessions, UnknownSession, is_of_this_origin};
pub use tokens::{Tokens, UnknownToken, token_of};

use crate::auth::keys::Keys;
use crate::auth::secret::Secret;
use crate::auth::signature::{
    BODY_DIGEST_HEADER, CONTENT_DIGEST_HEADER, ClaimedSignature, SIGNATURE_HEADER, SeenSignatures,
    SignatureError, Signed as SignedParts, body_digest_matches, content_digest, is_body_digest,
};
use crate::auth::strangers::proof_holds;
use crate::clock::Timestamp;
use crate::http::around::{Answering, Inside};
use crate::http::clusterrunner::rules::SESSION_ID;
use crate::http::{MAX_BUFFERED_BODY, RequestLine, SentMethod};
use crate::ids::SessionId;
use crate::lock::lock;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use bodies::{Budget, Pace, Paced};
use closed::Closed;
use futures_util::StreamExt as _;
use futures_util::future::{self, Either};
use reads::Reads;
use sha2::{Digest as _, Sha512};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;
use tokens::Known;
use tower::Service;

/// Checks every request that is not a plain read.
pub struct Gate {
    secret: Secret,
    /// The life of this process: what is signed for another one does not pass.
    session: String,
    seen: Mutex<SeenSignatures>,
    takes_body_digest: fn(&Method, &str) -> bool,
    /// What peers of the original send, where they are let in.
    legacy: Option<fn(&Method, &str) -> Proof>,
    reads: Reads,
    /// The tokens of users, where there are users.
    tokens: Option<Known>,
    /// The sessions of browsers, where there are any.
    sessions: Option<Arc<dyn Sessions>>,
    /// The keys of daemons that may sign, where there are any.
    keys: Option<Arc<dyn Keys>>,
    /// Routes that need no proof.
    is_open: fn(&Method, &str) -> bool,
    unproved: Budget,
}

/// Whether the body of a request was the one that was signed.
#[derive(Clone, Debug)]
struct BodyVerdict(Arc<AtomicU8>);

const PENDING: u8 = 0;
const GENUINE: u8 = 1;
const FORGED: u8 = 2;

impl BodyVerdict {
    fn new(verdict: u8) -> Self {
        Self(Arc::new(AtomicU8::new(verdict)))
    }

    fn is(&self, verdict: u8) -> bool {
        self.0.load(Ordering::Acquire) == verdict
    }
}

impl Gate {
    /// A gate for the holders of `secret` who mean the daemon with this session. `takes_body_digest`
    /// names the few routes (method and path without a slash at its end) for which the documented
    /// digest of the body alone is enough; `max_age` is how old or new a bound signature may be.
    #[must_use]
    pub fn new(
        secret: Secret,
        session: &SessionId,
        max_age: Duration,
        takes_body_digest: fn(&Method, &str) -> bool,
    ) -> Arc<Self> {
        Self::with_legacy_peers(secret, session, max_age, takes_body_digest, None)
    }

    /// As [`Gate::new`]; where `legacy` is given, requests without a bound signature may also come
    /// with the [`Proof`] that it names for their route. Handlers must ask which proof there was.
    #[must_use]
    pub fn with_legacy_peers(
        secret: Secret,
        session: &SessionId,
        max_age: Duration,
        takes_body_digest: fn(&Method, &str) -> bool,
        legacy: Option<fn(&Method, &str) -> Proof>,
    ) -> Arc<Self> {
        Arc::new(Self {
            secret,
            session: session.0.clone(),
            seen: Mutex::new(SeenSignatures::new(max_age)),
            takes_body_digest,
            legacy,
            reads: Reads::Open,
            tokens: None,
            sessions: None,
            keys: None,
            is_open: |_, _| false,
            unproved: Budget::default(),
        })
    }

    /// The same gate; the routes that `is_open` names (by method and path without a slash at its end) are also for
    /// requests without any proof, reads included, whose handlers must ask which proof there was. For a gate that guards
    /// nothing yet.
    ///
    /// # Panics
    /// When the gate is in use already.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "whoever sets a gate up is its only owner so far"
    )]
    pub fn with_open_routes(mut self: Arc<Self>, is_open: fn(&Method, &str) -> bool) -> Arc<Self> {
        let gate = Arc::get_mut(&mut self).expect("a gate is set up before it is used");
        gate.is_open = is_open;
        self
    }

    /// Puts the gate before all of `router`, unknown routes included. Answers name the session, as they do where
    /// the rules stand around the gate.
    pub fn guard(self: &Arc<Self>, router: Router) -> Router {
        let session = HeaderValue::from_str(&self.session).ok();
        let name_session = move |mut response: Response| {
            if let Some(session) = session.clone() {
                response.headers_mut().insert(SESSION_ID, session);
            }
            async { response }
        };
        let guarded = Router::new().fallback_service(self.before(router));
        guarded.layer(axum::middleware::map_response(name_session))
    }

    /// As [`Gate::guard`], to have something else around it. What stands behind the gate finds the [`Proof`] of a
    /// request among its extensions; a read that needs none has none.
    pub fn before<S: Inside>(self: &Arc<Self>, inside: S) -> Guarded<S> {
        let gate = Arc::clone(self);
        Guarded { gate, inside }
    }

    /// Whether everyone may read.
    #[must_use]
    pub fn has_open_reads(&self) -> bool {
        matches!(self.reads, Reads::Open)
    }

    async fn check(&self, request: Request, mut inside: impl Inside) -> Response {
        let request = match self.open(request).await {
            Ok(request) => request,
            Err(closed) => return closed.into_response(),
        };
        if !matches!(request.extensions().get(), Some(Proof::Nothing)) {
            proof_holds(request.extensions());
        }
        let verdict = request.extensions().get::<BodyVerdict>().cloned();
        let Ok(response) = inside.call(request).await;
        if verdict.is_some_and(|verdict| verdict.is(FORGED)) {
            return Closed::from(SignatureError::WrongBody).into_response();
        }
        response
    }

    async fn open(&self, request: Request) -> Result<Request, Closed> {
        if let Some(signature) = header_text(&request, SIGNATURE_HEADER) {
            let mut request = request;
            let claimed = ClaimedSignature::parse(&signature)?;
            let proof = Proof::from(claimed.by());
            request.extensions_mut().insert(proof);
            // What can not pass is not waited for.
            self.check_head(&claimed)?;
            self.wait_for_key(&claimed).await;
            return match header_text(&request, CONTENT_DIGEST_HEADER) {
                Some(digest) => self.open_to_upload(request, &claimed, digest),
                None => self.open_to_signature(request, &claimed).await,
            };
        }
        if let Some((known, token)) = self.shown_token(&request) {
            let mut request = request;
            known.open(&token, &mut request).await?;
            request.extensions_mut().insert(Proof::UserToken);
            request.extensions_mut().insert(BodyVerdict::new(GENUINE));
            return Ok(request);
        }
        let mut request = request;
        if let Some(shown) = self.shown_session(&request)
            && self.open_to_session(&shown, &mut request).await?
        {
            request.extensions_mut().insert(Proof::Session);
            request.extensions_mut().insert(BodyVerdict::new(GENUINE));
            return Ok(request);
        }
        let proof = self.least_proof(request.method(), request.uri().path());
        request.extensions_mut().insert(proof);
        match proof {
            Proof::Bound
            | Proof::Key(_)
            | Proof::JoinToken(_)
            | Proof::ReadToken
            | Proof::UserToken
            | Proof::Session => return Err(SignatureError::Missing.into()),
            Proof::Nothing => {
                request.extensions_mut().insert(BodyVerdict::new(GENUINE));
                request.extensions_mut().insert(self.unproved.clone());
                return Ok(request.map(|body| Body::new(Paced::new(body, Pace::UNPROVED))));
            }
            Proof::BodyDigest => {}
        }
        let digest = header_text(&request, BODY_DIGEST_HEADER).unwrap_or_default();
        if !is_body_digest(&digest) {
            return Err(SignatureError::WrongBodyDigest.into());
        }
        let (mut request, body, _part) = self.unproved.buffered(request, MAX_BUFFERED_BODY).await?;
        if !body_digest_matches(&self.secret, &body, &digest) {
            return Err(SignatureError::WrongBodyDigest.into());
        }
        request.extensions_mut().insert(BodyVerdict::new(GENUINE));
        Ok(request)
    }

    fn least_proof(&self, method: &Method, path: &str) -> Proof {
        if (self.takes_body_digest)(method, path) {
            return Proof::BodyDigest;
        }
        if (self.is_open)(method, path) {
            return Proof::Nothing;
        }
        self.legacy
            .map_or(Proof::Bound, |legacy| legacy(method, path))
    }

    async fn open_to_signature(
        &self,
        request: Request,
        claimed: &ClaimedSignature,
    ) -> Result<Request, Closed> {
        let (mut request, body, _part) = self.unproved.buffered(request, MAX_BUFFERED_BODY).await?;
        self.verify(&request, claimed, &content_digest(&body))?;
        request.extensions_mut().insert(BodyVerdict::new(GENUINE));
        Ok(request)
    }

    /// The head of an upload proves who sends it; its body is checked while it streams by.
    fn open_to_upload(
        &self,
        request: Request,
        claimed: &ClaimedSignature,
        digest: String,
    ) -> Result<Request, Closed> {
        let length = content_length(request.headers()).ok_or(Closed::LengthRequired)?;
        self.verify(&request, claimed, &digest)?;
        let verdict = BodyVerdict::new(PENDING);
        let mut request = request.map(|body| checked_body(body, length, digest, verdict.clone()));
        request.extensions_mut().insert(verdict);
        Ok(request)
    }

    /// What the head of a request says of its signature, true or not.
    fn check_head(&self, claimed: &ClaimedSignature) -> Result<(), SignatureError> {
        claimed.check_receiver(&self.session)?;
        self.seen().check(claimed, Timestamp::now())
    }

    fn seen(&self) -> MutexGuard<'_, SeenSignatures> {
        lock(&self.seen)
    }

    fn verify(
        &self,
        request: &Request,
        claimed: &ClaimedSignature,
        content_digest: &str,
    ) -> Result<(), SignatureError> {
        let line = request.extensions().get::<RequestLine>();
        let sent = request.extensions().get::<SentMethod>();
        let now = Timestamp::now();
        claimed.verify_with(
            &self.secret,
            self.keys.as_deref(),
            SignedParts {
                method: sent.map_or(request.method(), |sent| &sent.0).as_str(),
                path_and_query: line.map_or_else(
                    || {
                        request
                            .uri()
                            .path_and_query()
                            .map_or("/", |line| line.as_str())
                    },
                    |line| &line.0,
                ),
                receiver: &self.session,
                content_digest,
            },
            now,
        )?;
        self.seen().use_up(claimed, now)
    }
}

/// A router, or what stands around one, with a gate before it.
#[derive(Clone)]
pub struct Guarded<S = Router> {
    gate: Arc<Gate>,
    inside: S,
}

impl<S: Inside> Service<Request> for Guarded<S> {
    type Response = Response;
    type Error = Infallible;
    /// Reads pass without a future of the gate's own: there are most of them.
    type Future = Either<S::Future, Answering>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        if matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        ) {
            if let Some((known, token)) = self.gate.shown_token(&request) {
                let (gate, mut inside) = (Arc::clone(&self.gate), self.inside.clone());
                return Either::Right(Box::pin(async move {
                    match gate.check_read_by_user(&known, &token, request).await {
                        Ok(request) => inside.call(request).await,
                        Err(closed) => Ok(closed.into_response()),
                    }
                }));
            }
            if let Some(shown) = self.gate.shown_session(&request) {
                let (gate, mut inside) = (Arc::clone(&self.gate), self.inside.clone());
                return Either::Right(Box::pin(async move {
                    match gate.check_read_by_session(&shown, request).await {
                        Ok(request) => inside.call(request).await,
                        Err(closed) => Ok(closed.into_response()),
                    }
                }));
            }
            return match self.gate.check_read(&mut request) {
                Ok(()) => Either::Left(self.inside.call(request)),
                Err(closed) => {
                    let refused = future::ready(Ok(closed.into_response()));
                    Either::Right(Box::pin(refused))
                }
            };
        }
        let (gate, inside) = (Arc::clone(&self.gate), self.inside.clone());
        Either::Right(Box::pin(
            async move { Ok(gate.check(request, inside).await) },
        ))
    }
}

fn header_text(request: &Request, name: &str) -> Option<String> {
    let value = request.headers().get(name)?;
    Some(value.to_str().unwrap_or_default().to_owned())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Passes a body on and checks its digest when the last byte is there, *before* that byte is
/// passed on: a handler that has read all of it knows that it is genuine.
fn checked_body(body: Body, length: u64, digest: String, verdict: BodyVerdict) -> Body {
    let mut hasher = Sha512::new();
    let mut seen = 0_u64;
    let judge = {
        let verdict = verdict.clone();
        move |hasher: Sha512| {
            let genuine = hex::encode(hasher.finalize()) == digest;
            verdict
                .0
                .store(if genuine { GENUINE } else { FORGED }, Ordering::Release);
            genuine
        }
    };
    if length == 0 {
        judge(hasher);
        return Body::empty();
    }
    let body = Body::new(Paced::new(body, Pace::PROVED));
    let stream = body.into_data_stream().map(move |chunk| {
        let chunk = chunk.map_err(std::io::Error::other)?;
        hasher.update(&chunk);
        seen += chunk.len() as u64;
        if seen == length && !judge(std::mem::take(&mut hasher)) {
            return Err(std::io::Error::other(SignatureError::WrongBody));
        }
        Ok(chunk)
    });
    Body::from_stream(stream)
}
