//! The gate before a few routes, called without a socket.

use super::*;
use crate::auth::signature::{Signed as Parts, body_digest};
use axum::body::Bytes;
use axum::routing::{post, put};
use http_body_util::BodyExt as _;
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
