//! Logs and web sockets, as far as no slave and no connection is needed.

use super::farm::Farm;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, UPGRADE,
};
use serde_json::json;

#[tokio::test]
async fn a_build_that_has_printed_nothing_has_an_empty_log() {
    let farm = Farm::with_root().await;
    let build = farm.build("hill").await;
    for path in ["logs", "/logs/"] {
        let path = format!("/api/v1/clusterrunner/hill/builds/{build}/{path}");
        let answer = farm.call("root", "GET", &path, "").await;
        assert_eq!((answer.status, answer.body), (200, json!("")));
        let name = format!("attachment; filename=clusterrunner.hill.builds.{build}");
        assert_eq!(answer.headers[CONTENT_DISPOSITION], name);
        assert_eq!(answer.headers[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(answer.headers[CONTENT_LENGTH], "0");
    }
    farm.connect(1).await;
    farm.set_up(1, build).await;
    farm.finish(1, build, 0).await;
    farm.archive(1, build).await;
    let path = format!("/api/v1/clusterrunner/hill/builds/{build}/logs");
    assert_eq!(farm.get(&path).await, json!(""));
}

#[tokio::test]
async fn web_sockets_are_refused_in_words_of_their_own() {
    let farm = Farm::with_root().await;
    let build = farm.build("hill").await;
    let not_authorized = json!({"status": "not_authorized"});
    for path in [
        format!("/ws/v1/clusterrunner/hill/builds/{build}/logs"),
        format!("/v1/clusterrunner/hill/builds/{build}/logs"),
        format!("/ws/v1/clusterrunner/hill/builds/{build}/resources/"),
        format!("/api/v1/clusterrunner/hill/builds/{build}/logs/stream"),
        format!("/api/v1/clusterrunner/hill/builds/{build}/resources"),
    ] {
        for query in ["", "?token=nobody"] {
            let request = Request::get(format!("{path}{query}"));
            let answer = farm.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!((answer.status, answer.body), (403, not_authorized.clone()));
        }
        let wrong = Request::get(&path).header(AUTHORIZATION, "token nobody");
        let answer = farm.send(wrong.body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status, answer.body), (403, not_authorized.clone()));
        let request = Request::get(format!("{path}?token=root"));
        let answer = farm.send(request.body(Body::empty()).unwrap()).await;
        let detail = answer.body["detail"].as_str().unwrap();
        assert_eq!(answer.status, 400);
        assert!(detail.starts_with("This route is a web socket"), "{detail}");
        let old = Request::get(format!("{path}?token=root"))
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
            .header("Sec-WebSocket-Version", "8");
        let answer = farm.send(old.body(Body::empty()).unwrap()).await;
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains("Sec-WebSocket-Version: 13"), "{detail}");
    }
    let elsewhere = format!("/api/v1/clusterrunner/hill/builds/{build}/logs?token=root");
    let answer = farm
        .send(Request::get(elsewhere).body(Body::empty()).unwrap())
        .await;
    assert_eq!(answer.status, 401);
}
