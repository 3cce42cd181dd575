//! The gate before a few routes, called without a socket.

use super::*;
use crate::auth::{Signed as Parts, body_digest};
use axum::routing::{post, put};
use tower::ServiceExt as _;

const PATH: &str = "/v1/slave/1";

fn secret() -> Secret {
    Secret::new("a secret for tests".to_owned()).unwrap()
}

fn app() -> Router {
    let echo = |Signed(body): Signed<serde_json::Value>| async move { body.to_string() };
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
        .route("/upload", post(upload));
    Gate::new(secret(), Duration::from_secs(300), |method, path| {
        method == Method::POST && path == "/v1/build"
    })
    .guard(router)
}

fn signature(method: &str, path: &str, body: &str) -> String {
    let parts = Parts {
        method,
        path_and_query: path,
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
