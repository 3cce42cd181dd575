//! Who gets in, and how the API says no.

use super::farm::{Farm, HOST_NAME, LIFE, SECRET, detail};
use crate::http::deis::openapi;
use crate::http::description::check::{allowed, methods};
use axum::body::Body;
use axum::http::header::{ALLOW, AUTHORIZATION, WWW_AUTHENTICATE};
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::auth::signature::{SIGNATURE_HEADER, Signed, content_digest};
use clusterrunner_common::clock::{Timestamp, random_bytes};
use serde_json::json;

#[tokio::test]
async fn a_token_opens_the_api_under_the_word_token() {
    let farm = Farm::with_users(&["ann"]).await;
    let token = farm.token("ann");
    let missing = "Authentication credentials were not provided.";
    for (value, status, expected) in [
        (format!("token {token}"), 200, ""),
        (format!("TOKEN {token}"), 200, ""),
        (format!("Bearer {token}"), 200, ""),
        ("Basic Zm9vOmJhcg==".to_owned(), 401, missing),
        ("token nope".to_owned(), 401, "Invalid token"),
        (
            "token".to_owned(),
            401,
            "Invalid token header. No credentials provided.",
        ),
        (
            "token a b".to_owned(),
            401,
            "Invalid token header. Token string should not contain spaces.",
        ),
    ] {
        let request = farm.request("", "GET", "/v1/keys");
        let request = request.header(AUTHORIZATION, &value);
        let answer = farm.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{value}");
        if status == 401 {
            assert_eq!(answer.body, detail(expected), "{value}");
            assert_eq!(answer.headers[WWW_AUTHENTICATE], "Token");
        }
    }
    farm.check("", ("GET", "/v1/keys/", ""), (401, detail(missing)))
        .await;
}

#[tokio::test]
async fn a_client_of_another_version_is_told() {
    let farm = Farm::with_users(&["ann"]).await;
    let get = async |version: &str| {
        let request = farm.request("ann", "GET", "/v1/keys");
        let request = request.header("X-Deis-Version", version);
        farm.send(request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(get("1.0").await.status, 200);
    let other = get("0.9").await;
    let sentence =
        "Client and server versions do not match. Client version: 0.9 Server version: 1.0";
    assert_eq!(
        (other.status, other.body),
        (405, json!({"error": sentence}))
    );
}

#[tokio::test]
async fn what_is_not_there_is_told_in_the_words_of_the_original() {
    let farm = Farm::with_users(&["ann"]).await;
    let not_found = detail("Not found");
    for path in ["/v1/nothing", "/v1/keys/x", "/v1/auth/other"] {
        farm.check("ann", ("GET", path, ""), (404, not_found.clone()))
            .await;
    }
    let answer = farm.call("ann", "PUT", "/v1/keys", "").await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.body, detail("Method 'PUT' not allowed."));
    assert_eq!(answer.headers[ALLOW], "GET,HEAD,POST");
    let broken = farm.post("ann", "/v1/keys", "{bad json").await;
    assert_eq!(broken.status, 400);
    let sentence = broken.body["detail"].as_str().unwrap();
    assert!(sentence.starts_with("JSON parse error - "), "{sentence}");
}

#[tokio::test]
async fn who_holds_the_secret_signs_reads_and_changes() {
    let farm = Farm::with_users(&["root", "ann"]).await;
    let send = async |secret: &str, method: &str, path: &str, body: &str| {
        let secret = Secret::new(secret.to_owned()).unwrap();
        let signature = Signed {
            method,
            path_and_query: path,
            receiver: LIFE,
            content_digest: &content_digest(body.as_bytes()),
        }
        .sign(&secret, Timestamp::now(), random_bytes());
        let request = farm.request("", method, path);
        let request = request.header(SIGNATURE_HEADER, signature);
        farm.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    };
    let superusers = send(SECRET, "GET", "/v1/admin/perms", "").await;
    assert_eq!(superusers.status, 200, "{superusers:?}");
    let granted = send(SECRET, "POST", "/v1/admin/perms", r#"{"username": "ann"}"#).await;
    assert_eq!(granted.status, 201, "{granted:?}");
    let forged = send("another secret for tests", "GET", "/v1/admin/perms", "").await;
    assert_eq!(forged.status, 401, "{forged:?}");
    // It is nobody who could have keys.
    let keys = send(SECRET, "GET", "/v1/keys", "").await;
    assert_eq!(keys.status, 403, "{keys:?}");
    assert_eq!(HOST_NAME, "deis.example.com");
}

#[tokio::test]
async fn each_path_has_the_methods_that_are_described() {
    let farm = Farm::with_users(&["ann"]).await;
    for (path, described) in methods(&openapi::described()) {
        let answer = farm.call("ann", "OPTIONS", &path, "").await;
        assert_eq!(allowed(&answer.headers), described, "{path}");
    }
}
