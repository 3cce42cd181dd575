//! The rules around a router that answers plainly.

use super::clusterrunner::page::Page;
use super::clusterrunner::routes::{RouteTable, parent};
use super::clusterrunner::rules::Rules;
use super::clusterrunner::version::ApiVersion;
use super::cors::AllowedOrigins;
use super::*;
use crate::ids::SessionId;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use axum::routing::get;
use serde_json::{Value, json};
use tower::ServiceExt as _;

fn router() -> Router {
    let list = get(async |page: Page| Json(json!({"list": page.of(0..30).collect::<Vec<u32>>()})));
    let number = get(async |version: ApiVersion| Json(json!({"number": version.number()})));
    let refused = get(async || refusal(StatusCode::BAD_REQUEST, "no"));
    let table = RouteTable::new(parent())
        .route("things", "/thing", "/things", list)
        .route("number", "/number", "/number", number.post(async || "done"))
        .route("refused", "/refused", "/refused", refused)
        .route("text", "/text", "/text", get(async || "plain text"));
    let (router, routes) = table.build();
    let rules = Rules {
        session: SessionId("this-life".to_owned()),
        routes,
        origins: AllowedOrigins::new(Some("http://dash.*")).unwrap(),
        observer: None,
    };
    Router::new().fallback_service(rules.around(router))
}

async fn call(method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, String) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = router().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (parts.status.as_u16(), parts.headers, body)
}

async fn get_json(path: &str, headers: &[(&str, &str)]) -> Value {
    serde_json::from_str(&call("GET", path, headers).await.2).unwrap()
}

#[tokio::test]
async fn a_read_says_its_version_and_what_is_below() {
    let (status, headers, body) = call("GET", "/v1", &[]).await;
    let children = r#"{"child_routes":{"things":"/v1/thing","number":"/v1/number","refused":"/v1/refused","text":"/v1/text"}}"#;
    assert_eq!((status, body.as_str()), (200, children));
    assert_eq!(headers["content-type"], "application/json; charset=UTF-8");
    assert_eq!(headers["session-id"], "this-life");
    assert_eq!(headers["api-version"], "1");
    let v2 = [("accept", "application/vnd.clusterrunner.v2+json")];
    assert_eq!(get_json("/v1", &v2).await, json!({"child_routes": {}}));
    for (path, number) in [("/number", 2), ("/v1/number", 1), ("/v2/number/", 2)] {
        let expected = json!({"number": number, "child_routes": {}});
        assert_eq!(get_json(path, &[]).await, expected, "{path}");
    }
    let refused = json!({"error": "no", "child_routes": {}});
    assert_eq!(get_json("/refused", &[]).await, refused);
    let (_, headers, body) = call("GET", "/text", &[]).await;
    assert_eq!(body, "plain text");
    assert!(!headers.contains_key("etag"));
}

#[tokio::test]
async fn lists_come_in_pages_on_version_2_paths_only() {
    let v1 = [("accept", "application/vnd.clusterrunner.v1+json")];
    for (path, length) in [
        ("/v1/thing?limit=x", 30),
        ("/thing", 30),
        ("/things", 20),
        ("/v2/things?offset=28", 2),
        ("/things?limit=3&limit=%35", 5),
    ] {
        let list = get_json(path, &v1).await["list"].as_array().unwrap().len();
        assert_eq!(list, length, "{path}");
    }
    let (status, _, body) = call("GET", "/things?limit=x", &[]).await;
    assert!(status == 400 && body.contains("'limit'"), "{body}");
}

#[tokio::test]
async fn an_answer_that_the_caller_has_is_not_sent_again() {
    let (_, headers, body) = call("GET", "/number", &[]).await;
    let etag = headers["etag"].to_str().unwrap();
    assert!(etag.starts_with('"') && etag.len() == 42, "{etag}");
    let several = format!("\"x\", W/{etag}");
    for known in [etag, "*", &several] {
        let (status, again, rest) = call("GET", "/number", &[("if-none-match", known)]).await;
        assert_eq!((status, rest.as_str()), (304, ""), "{known}");
        assert_eq!(again["etag"], etag);
        assert_eq!(again["api-version"], "2");
    }
    let (status, ..) = call("GET", "/v1/number", &[("if-none-match", etag)]).await;
    assert_eq!(status, 200, "another answer");
    let (status, head, nothing) = call("HEAD", "/number", &[]).await;
    assert_eq!((status, nothing.as_str()), (200, ""));
    assert_eq!(head["content-length"], body.len().to_string());
    assert_eq!(head["etag"], etag);
}

#[tokio::test]
async fn options_are_answered_on_every_route() {
    let page = [("origin", "http://dash.example.com")];
    for path in ["/", "/v1", "/v1/thing", "/number"] {
        let (status, headers, body) = call("OPTIONS", path, &page).await;
        assert_eq!((status, body.as_str()), (200, "{}"), "{path}");
        assert_eq!(headers["access-control-allow-origin"], page[0].1);
        assert_eq!(headers["access-control-allow-methods"], "GET");
        assert!(!headers.contains_key("etag"));
    }
    assert_eq!(call("OPTIONS", "/v1/nothing", &page).await.0, 404);
    let (_, headers, _) = call("GET", "/number", &[("origin", "http://other")]).await;
    assert!(!headers.contains_key("access-control-allow-origin"));
    assert_eq!(headers["vary"], "Origin");
}

#[tokio::test]
async fn a_call_for_an_earlier_life_is_refused_before_all_else() {
    for name in ["session-id", "expected-session-id"] {
        let (status, _, body) = call("GET", "/number", &[(name, "old")]).await;
        let error = "Specified session id: old has expired and is invalid.";
        let expected = json!({"error": error, "child_routes": {}});
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, body), (412, expected));
        let (status, _, body) = call("POST", "/number", &[(name, "old")]).await;
        assert_eq!((status, body), (412, json!({"error": error}).to_string()));
        assert_eq!(call("GET", "/number", &[(name, "this-life")]).await.0, 200);
    }
}

/// The exact letters that go over the wire, of answers of all kinds.
#[tokio::test]
async fn header_names_are_written_as_the_original_writes_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, router(), stop.clone(), Duration::ZERO));
    for (line, names) in [
        (
            "GET /v1/number",
            &[
                "Content-Type",
                "Content-Length",
                "Session-Id",
                "Api-Version",
                "Etag",
                "Date",
                "Vary",
                "Access-Control-Allow-Origin",
                "Access-Control-Allow-Headers",
                "Access-Control-Allow-Methods",
            ][..],
        ),
        ("PUT /v1/number", &["Allow", "Content-Length", "Session-Id"]),
        ("GET /nothing", &["Content-Length", "Session-Id"]),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: a\r\nOrigin: http://dash\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, _) = answer.split_once("\r\n\r\n").unwrap();
        for name in names {
            let found = head
                .lines()
                .any(|line| line.starts_with(&format!("{name}: ")));
            assert!(found, "{line}: no {name} in\n{head}");
        }
        let lower = |line: &&str| line.starts_with(|first: char| first.is_ascii_lowercase());
        assert_eq!(head.lines().find(lower), None, "{head}");
    }
    stop.cancel();
    served.await.unwrap();
}
