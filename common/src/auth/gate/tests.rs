//! The gate before a few routes, called without a socket.

use super::*;
use crate::auth::signature::{Signed as Parts, body_digest};
use crate::auth::strangers::Strangers;
use crate::http::peer::Peer;
use axum::Extension;
use axum::body::Bytes;
use axum::http::Extensions;
use axum::routing::{get, post, put};
use http_body_util::BodyExt as _;
use std::pin::Pin;
use tower::ServiceExt as _;

const PATH: &str = "/v1/slave/1";
const LARGE: usize = 3 * MAX_BUFFERED_BODY;

fn session() -> SessionId {
    SessionId("this-life".to_owned())
}

fn secret() -> Secret {
    Secret::new("a secret for tests".to_owned()).unwrap()
}

fn app() -> Router {
    let echo = |Signed(body): Signed<serde_json::Value>| async move { body.to_string() };
    let order = |Signed(body): Signed<serde_json::Value, LARGE>| async move { body.to_string() };
    let upload = |upload: SignedUpload| async move {
        let read = upload.request.into_body().collect().await;
        match read {
            Ok(read) if upload.verdict.is_genuine() => read.to_bytes().len().to_string(),
            _ => "not genuine".to_owned(),
        }
    };
    let router = Router::new()
        .route(PATH, put(echo))
        .route("/v1/build", post(echo))
        .route("/upload", post(upload))
        .route("/order", post(order));
    let age = Duration::from_secs(300);
    Gate::new(secret(), &session(), age, |method, path| {
        method == Method::POST && path == "/v1/build"
    })
    .guard(router)
}

fn signature(method: &str, path: &str, body: &str) -> String {
    signature_for(&session().0, method, path, body)
}

fn signature_for(receiver: &str, method: &str, path: &str, body: &str) -> String {
    let parts = Parts {
        method,
        path_and_query: path,
        receiver,
        content_digest: &content_digest(body.as_bytes()),
    };
    parts.sign(&secret(), Timestamp::now(), crate::clock::random_bytes())
}

async fn answer(
    app: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_LENGTH, body.len());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_bound_signature_opens_its_own_route_once() {
    let app = app();
    let signed = signature("PUT", PATH, "{}");
    let headers = [(SIGNATURE_HEADER, signed.as_str())];
    assert_eq!(
        answer(&app, "PUT", PATH, &headers, "{}").await,
        (200, "{}".to_owned())
    );
    let (status, error) = answer(&app, "PUT", PATH, &headers, "{}").await;
    assert_eq!(status, 401);
    assert!(error.contains("used before"), "{error}");
    let other = signature("PUT", "/v1/slave/2", "{}");
    let (status, _) = answer(&app, "PUT", PATH, &[(SIGNATURE_HEADER, &other)], "{}").await;
    assert_eq!(status, 401);
    let other = signature("PUT", PATH, "{\"a\":1}");
    let (status, _) = answer(&app, "PUT", PATH, &[(SIGNATURE_HEADER, &other)], "{}").await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn what_is_signed_for_another_life_is_refused_and_the_answer_names_this_one() {
    let app = app();
    for (receiver, status) in [("another-life", 401), (&*session().0, 200)] {
        let signed = signature_for(receiver, "PUT", PATH, "{}");
        let request = Request::builder()
            .method("PUT")
            .uri(PATH)
            .header(SIGNATURE_HEADER, signed)
            .body(Body::from("{}"))
            .unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{receiver}");
        assert_eq!(response.headers()[SESSION_ID], session().0);
    }
}

#[tokio::test]
async fn a_body_digest_opens_the_documented_routes_only() {
    let app = app();
    let digest = body_digest(&secret(), b"{}");
    let headers = [(BODY_DIGEST_HEADER, digest.as_str())];
    assert_eq!(
        answer(&app, "POST", "/v1/build", &headers, "{}").await.0,
        200
    );
    assert_eq!(answer(&app, "PUT", PATH, &headers, "{}").await.0, 401);
    assert_eq!(answer(&app, "POST", "/v1/build", &[], "{}").await.0, 401);
    assert_eq!(
        answer(&app, "POST", "/nowhere", &headers, "{}").await.0,
        401
    );
}

#[tokio::test]
async fn what_the_head_tells_already_is_refused_before_the_body() {
    let app = app();
    let signed = |receiver: &str, time: Timestamp| {
        let parts = Parts {
            method: "PUT",
            path_and_query: PATH,
            receiver,
            content_digest: &content_digest(b"{}"),
        };
        parts.sign(&secret(), time, crate::clock::random_bytes())
    };
    let now = Timestamp::now();
    let good = signed(&session().0, now);
    let used = [(SIGNATURE_HEADER, good.as_str())];
    assert_eq!(answer(&app, "PUT", PATH, &used, "{}").await.0, 200);
    let digest = body_digest(&secret(), b"{}");
    for (path, name, text) in [
        (PATH, "x-nothing", String::new()),
        (PATH, SIGNATURE_HEADER, good[..good.len() - 1].to_owned()),
        (PATH, SIGNATURE_HEADER, good.replace("v3", "v2")),
        (PATH, SIGNATURE_HEADER, signed("another-life", now)),
        (PATH, SIGNATURE_HEADER, signed(&session().0, Timestamp(0))),
        (PATH, SIGNATURE_HEADER, good.clone()),
        ("/v1/build", "x-nothing", String::new()),
        ("/v1/build", BODY_DIGEST_HEADER, digest[1..].to_owned()),
        ("/v1/build", BODY_DIGEST_HEADER, digest.to_uppercase()),
        ("/v1/build", BODY_DIGEST_HEADER, digest.replace('d', "g")),
    ] {
        let method = match path {
            PATH => "PUT",
            _ => "POST",
        };
        // It never comes.
        let body = Body::from_stream(futures_util::stream::pending::<std::io::Result<Bytes>>());
        let request = Request::builder().method(method).uri(path);
        let request = request.header(name, &text).body(body).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), 401, "{name}: {text}");
    }
}

#[tokio::test]
async fn bad_bodies_are_refused_after_the_signature() {
    let app = app();
    for (body, expected) in [("{", 400), ("", 200), ("[1]", 200)] {
        let signed = signature("PUT", PATH, body);
        let headers = [(SIGNATURE_HEADER, signed.as_str())];
        assert_eq!(
            answer(&app, "PUT", PATH, &headers, body).await.0,
            expected,
            "{body}"
        );
    }
    let large = " ".repeat(MAX_BUFFERED_BODY + 1);
    let signed = signature("PUT", PATH, &large);
    let headers = [(SIGNATURE_HEADER, signed.as_str())];
    assert_eq!(answer(&app, "PUT", PATH, &headers, &large).await.0, 413);
}

#[tokio::test]
async fn a_large_body_is_read_where_the_head_says_whose_it_is() {
    let app = app();
    let body = format!("\"{}\"", "x".repeat(2 * MAX_BUFFERED_BODY));
    let send = async |path: &str, digested: &str, sent: &str| {
        let signed = signature("POST", path, digested);
        let digest = content_digest(digested.as_bytes());
        let headers = [
            (SIGNATURE_HEADER, signed.as_str()),
            (CONTENT_DIGEST_HEADER, digest.as_str()),
        ];
        answer(&app, "POST", path, &headers, sent).await
    };
    assert_eq!(send("/order", &body, &body).await, (200, body.clone()));
    let forged = body.replace('x', "y");
    assert_eq!(send("/order", &body, &forged).await.0, 401);
    assert_eq!(send("/v1/build", &body, &body).await.0, 413);
    let larger = " ".repeat(LARGE + 1);
    assert_eq!(send("/order", &larger, &larger).await.0, 413);

    let signed = signature("POST", "/order", &body);
    let headers = [(SIGNATURE_HEADER, signed.as_str())];
    assert_eq!(answer(&app, "POST", "/order", &headers, &body).await.0, 413);
}

#[tokio::test]
async fn an_upload_is_proved_by_its_head_and_checked_while_it_streams() {
    let app = app();
    let body = "x".repeat(3 * MAX_BUFFERED_BODY);
    let digest = content_digest(body.as_bytes());
    let signed = signature("POST", "/upload", &body);
    let headers = [
        (SIGNATURE_HEADER, signed.as_str()),
        (CONTENT_DIGEST_HEADER, digest.as_str()),
    ];
    assert_eq!(
        answer(&app, "POST", "/upload", &headers, &body).await,
        (200, body.len().to_string())
    );
    let signed = signature("POST", "/upload", &body);
    let headers = [
        (SIGNATURE_HEADER, signed.as_str()),
        (CONTENT_DIGEST_HEADER, digest.as_str()),
    ];
    let forged = "y".repeat(body.len());
    assert_eq!(
        answer(&app, "POST", "/upload", &headers, &forged).await.0,
        401
    );
}

/// The same routes where peers of the original are let in: `/v1/slave/1` with a digest of the body,
/// `/v1/slave` with nothing.
fn app_with_legacy_peers() -> Router {
    let tell = |proof: Proof, Signed(body): Signed<serde_json::Value>| async move {
        format!("{proof:?} {body}")
    };
    let router = Router::new()
        .route(PATH, put(tell))
        .route("/v1/slave", post(tell))
        .route("/v1/kill", post(tell));
    let legacy = |method: &Method, path: &str| match (method.as_str(), path) {
        ("PUT", PATH) => Proof::BodyDigest,
        ("POST", "/v1/slave") => Proof::Nothing,
        _ => Proof::Bound,
    };
    let age = Duration::from_secs(300);
    Gate::with_legacy_peers(secret(), &session(), age, |_, _| false, Some(legacy)).guard(router)
}

#[tokio::test]
async fn peers_of_the_original_are_let_in_where_that_is_allowed_and_told_apart() {
    let app = app_with_legacy_peers();
    let digest = body_digest(&secret(), b"{}");
    let digest = [(BODY_DIGEST_HEADER, digest.as_str())];
    let good = |proof: &str| (200, format!("{proof} {{}}"));
    assert_eq!(
        answer(&app, "PUT", PATH, &digest, "{}").await,
        good("BodyDigest")
    );
    assert_eq!(answer(&app, "PUT", PATH, &[], "{}").await.0, 401);
    assert_eq!(
        answer(&app, "POST", "/v1/slave", &[], "{}").await,
        good("Nothing")
    );
    assert_eq!(answer(&app, "POST", "/v1/kill", &digest, "{}").await.0, 401);
    let signed = signature("PUT", PATH, "{}");
    let headers = [(SIGNATURE_HEADER, signed.as_str())];
    assert_eq!(
        answer(&app, "PUT", PATH, &headers, "{}").await,
        good("Bound")
    );
    // A signature that is there must be right, also where none is needed.
    let headers = [(SIGNATURE_HEADER, signed.as_str())];
    assert_eq!(
        answer(&app, "POST", "/v1/slave", &headers, "{}").await.0,
        401
    );
}

#[tokio::test]
async fn an_unsigned_body_may_stand_in_a_form() {
    let app = app_with_legacy_peers();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = "__encoded_body__=%7B%22slave%22%3A+%22a%3A1%22%7D";
    assert_eq!(
        answer(&app, "POST", "/v1/slave", &form, body).await,
        (200, "Nothing {\"slave\":\"a:1\"}".to_owned())
    );
    assert_eq!(answer(&app, "POST", "/v1/slave", &form, "x=1").await.0, 400);
    let digest = body_digest(&secret(), body.as_bytes());
    let headers = [form[0], (BODY_DIGEST_HEADER, digest.as_str())];
    assert_eq!(answer(&app, "PUT", PATH, &headers, body).await.0, 400);
}

/// One user: the token `0123` is Ann's.
#[derive(Debug)]
struct OfAnn;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder(&'static str);

impl Tokens for OfAnn {
    fn note_holder<'a>(
        &'a self,
        token: &'a str,
        extensions: &'a mut Extensions,
    ) -> Pin<Box<dyn Future<Output = Result<(), UnknownToken>> + Send + 'a>> {
        Box::pin(async move {
            match token {
                "0123" => drop(extensions.insert(Holder("ann"))),
                "down" => return Err(UnknownToken::Unavailable("going down".to_owned())),
                _ => return Err(UnknownToken::Nobodys),
            }
            Ok(())
        })
    }
}

fn app_with_tokens(read_token: Option<&str>) -> Router {
    let said = |proof: Proof, holder: Option<Extension<Holder>>| async move {
        format!("{proof:?} {:?}", holder.map(|holder| holder.0.0))
    };
    let echo = |Signed(body): Signed<serde_json::Value>| async move { body.to_string() };
    let router = Router::new()
        .route(PATH, put(echo))
        .route("/v1/build", post(echo).get(said))
        .route("/open", post(said))
        .route("/users", get(said))
        .route("/private", get(said));
    let age = Duration::from_secs(300);
    let gate = Gate::new(secret(), &session(), age, |method, path| {
        method == Method::POST && path == "/v1/build"
    })
    .with_open_routes(|_, path| path == "/open")
    .with_tokens(
        Arc::new(OfAnn),
        |method, path| path == "/users" || (method == Method::POST && path == "/v1/build"),
        |_, path| path == "/users" || path == "/private",
    );
    let read_token = read_token.map(|text| Secret::new(text.to_owned()).unwrap());
    match read_token {
        Some(token) => gate.with_proved_reads(Some(token)).guard(router),
        None => gate.guard(router),
    }
}

#[tokio::test]
async fn the_token_of_a_user_opens_what_it_may() {
    let app = app_with_tokens(None);
    let check = async |method, path, token: &str, body, expected: (u16, &str)| {
        let (status, said) = answer(&app, method, path, &[("authorization", token)], body).await;
        assert_eq!(status, expected.0, "{method} {path} {token}: {said}");
        assert!(said.contains(expected.1), "{said}");
    };
    check(
        "POST",
        "/v1/build",
        "Bearer 0123",
        "{\"a\":1}",
        (200, "{\"a\":1}"),
    )
    .await;
    check(
        "POST",
        "/v1/build",
        "token 0123",
        "{",
        (400, "Invalid JSON"),
    )
    .await;
    check("POST", "/v1/build", "Bearer 0124", "{}", (401, "not valid")).await;
    check(
        "POST",
        "/v1/build",
        "Bearer down",
        "{}",
        (503, "going down"),
    )
    .await;
    check("PUT", PATH, "Bearer 0123", "{}", (403, "farm's secret")).await;
    check(
        "PUT",
        PATH,
        "Basic 0123",
        "{}",
        (401, "ClusterRunner-Signature"),
    )
    .await;
    check(
        "GET",
        "/v1/build",
        "Bearer 0123",
        "",
        (200, "UserToken Some(\"ann\")"),
    )
    .await;
    // A proxy may have put its own there.
    check(
        "GET",
        "/v1/build",
        "Bearer other",
        "",
        (200, "Nothing None"),
    )
    .await;
    check("POST", "/open", "Bearer 0123", "", (403, "farm's secret")).await;
    let (status, said) = answer(&app, "POST", "/open", &[], "").await;
    assert_eq!((status, said.as_str()), (200, "Nothing None"));
    // What proves more counts.
    let digest = body_digest(&secret(), b"{}");
    let both = [
        (BODY_DIGEST_HEADER, digest.as_str()),
        ("authorization", "Bearer other"),
    ];
    assert_eq!(answer(&app, "POST", "/v1/build", &both, "{}").await.0, 200);
}

#[tokio::test]
async fn a_signature_is_looked_at_where_it_shows_more() {
    let app = app_with_tokens(None);
    let signed = |path: &str| signature("GET", path, "");
    for (path, signature, expected) in [
        ("/users", signed("/users"), (200, "Bound None")),
        ("/users", signed("/v1/build"), (401, "")),
        ("/private", signed("/private"), (200, "Bound None")),
        // Who holds another secret reads as everybody does.
        ("/private", signed("/users"), (200, "Nothing None")),
        // All may read, so nothing is gained by looking.
        ("/v1/build", signed("/v1/build"), (200, "Nothing None")),
    ] {
        let headers = [(SIGNATURE_HEADER, signature.as_str())];
        let (status, said) = answer(&app, "GET", path, &headers, "").await;
        assert_eq!(status, expected.0, "{path}: {said}");
        assert!(said.contains(expected.1), "{said}");
    }
}

#[tokio::test]
async fn closed_reads_take_the_read_token_and_those_of_users() {
    let app = app_with_tokens(Some("a token for reads"));
    for (token, expected) in [
        ("Bearer 0123", (200, "UserToken Some(\"ann\")")),
        ("Bearer a token for reads", (200, "ReadToken None")),
        ("Bearer 0124", (401, "read_token")),
        ("Bearer down", (503, "going down")),
    ] {
        let headers = [("authorization", token)];
        let (status, said) = answer(&app, "GET", "/v1/build", &headers, "").await;
        assert_eq!(status, expected.0, "{token}: {said}");
        assert!(said.contains(expected.1), "{said}");
    }
}

#[tokio::test]
async fn what_proves_nothing_counts_whatever_it_shows() {
    const SHOWN: [(&str, &str); 4] = [
        ("cookie", "x"),
        ("cookie", "clusterrunner_session=x"),
        ("authorization", "Bearer x"),
        (SIGNATURE_HEADER, "x"),
    ];
    let router = Router::new().route("/public", get(async || "public"));
    let age = Duration::from_secs(300);
    let gate = Gate::new(secret(), &session(), age, |_, _| false);
    let counting = Strangers::new(Some(1)).before(gate.before(router));
    let ask = async |(name, value): (&str, &str)| {
        let request = Request::builder().uri("/public").header(name, value);
        let mut request = request.body(Body::empty()).unwrap();
        let far = Some("10.0.0.1".parse().unwrap());
        request.extensions_mut().insert(Peer(far));
        let answer = counting.clone().oneshot(request).await.unwrap();
        answer.status().as_u16()
    };
    let mut refused = 0;
    for number in 0..100 {
        let signed = signature("GET", "/public", "");
        assert_eq!(
            ask((SIGNATURE_HEADER, signed.as_str())).await,
            200,
            "{number}"
        );
        refused += u32::from(ask(SHOWN[number % SHOWN.len()]).await == 429);
    }
    assert!(refused > 50, "{refused}");
}
