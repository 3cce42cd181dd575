//! What is refused: without a key, without what is required, and what can not be read.

use super::farm::{Farm, KEY, NAME, error};
use crate::http::binder::openapi;
use crate::http::description::check::{allowed, methods};
use serde_json::{Value, json};

const REQUIRED: &str = "Request does not contain the required parameters for this endpoint: ";

#[tokio::test]
async fn a_key_is_needed_where_the_protocol_says_so() {
    let farm = Farm::start().with_template().await;
    farm.user("ann").await;
    let preload = format!("/preload/{NAME}");
    let of_template = format!("/applications/{NAME}");
    let one = format!("/applications/{NAME}/{}", "0".repeat(32));
    for (method, path) in [
        ("POST", "/builds/"),
        ("POST", "/builds/repo"),
        ("GET", "/builds/"),
        ("GET", "/templates/"),
        ("GET", "/applications/"),
        ("GET", &of_template),
        ("DELETE", &one),
        ("POST", &preload),
        ("GET", &preload),
        ("GET", "/health/"),
    ] {
        for key in ["", "wrong", "Bearer wrong", "token", " "] {
            let answer = farm.call(key, method, path, "{}").await;
            assert_eq!(answer.status, 403, "{method} {path} {key}");
            assert_eq!(answer.body, json!("Forbidden"));
            let kind = answer.headers["content-type"].to_str().unwrap();
            assert!(kind.starts_with("text/plain"), "{kind}");
        }
        for key in [KEY, "token the key of the test", "ann", "Bearer ann"] {
            let answer = farm.call(key, method, path, "{}").await;
            assert_ne!(answer.status, 403, "{method} {path} {key}");
        }
    }
    for (method, path) in [
        ("GET", format!("/builds/{NAME}")),
        ("GET", format!("/templates/{NAME}")),
        ("POST", of_template),
    ] {
        for key in ["", "wrong"] {
            let answer = farm.call(key, method, &path, "").await;
            assert_eq!(answer.status, 200, "{method} {path} {key}");
        }
    }
}

#[tokio::test]
async fn launches_need_a_key_where_the_farm_says_so() {
    let farm = Farm::with(|api| api.launch_without_key = false);
    let farm = farm.with_template().await;
    let path = format!("/applications/{NAME}");
    for key in ["", "wrong"] {
        let answer = farm.call(key, "POST", &path, "").await;
        assert_eq!(answer.status, 403);
        let said = answer.body.as_str().unwrap();
        let names_the_cure = said.contains("launch_without_key = True");
        assert!(said.starts_with("Forbidden") && names_the_cure, "{said}");
    }
    let answer = farm.call(KEY, "POST", &path, "").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_web_page_of_another_site_does_not_launch() {
    let farm = Farm::start().with_template().await;
    let path = format!("/applications/{NAME}");
    for (origin, status) in [
        ("https://evil.example", 403),
        ("null", 403),
        ("http://farm:8084", 200),
    ] {
        let headers = [("origin", origin)];
        let answer = farm.send("POST", &path, &headers, "").await;
        assert_eq!(answer.status, status, "{origin}");
    }
    let headers = [("origin", "https://evil.example"), ("authorization", KEY)];
    let answer = farm.send("POST", &path, &headers, "").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn reads_are_closed_where_the_farm_says_so() {
    let farm = Farm::with(|api| api.reads_are_open = false);
    let farm = farm.with_template().await;
    for path in [format!("/builds/{NAME}"), format!("/templates/{NAME}")] {
        farm.check("", ("GET", &path, ""), (403, json!("Forbidden")))
            .await;
        farm.get(&path).await;
    }
}

#[tokio::test]
async fn a_parameter_that_is_missing_is_named() {
    let farm = Farm::start();
    let missing = |name: &str| (422, error("malformedRequest", &format!("{REQUIRED}{name}")));
    for body in [
        "",
        "{}",
        r#"{"repository": ""}"#,
        r#"{"repository": null, "x": 1}"#,
    ] {
        for path in ["/builds/", "/builds/repo"] {
            farm.check(KEY, ("POST", path, body), missing("repository"))
                .await;
        }
    }
    for body in ["", "{}"] {
        let request = ("POST", "/applications/", body);
        farm.check("", request, missing("template-name")).await;
    }
    let builds = farm.cluster.read(|cluster| cluster.builds().count());
    assert_eq!(builds.await.unwrap(), 0, "nothing was done");
}

#[tokio::test]
async fn what_can_not_be_read_is_malformed() {
    let farm = Farm::start().with_template().await;
    let long = format!("{{\"repository\": \"{}\"}}", "x".repeat(20_000));
    let launch = format!("/applications/{NAME}");
    for (path, body, status) in [
        ("/builds/", "{", 400),
        ("/builds/", "[]", 400),
        ("/builds/", r#"{"repository": 7}"#, 400),
        (
            "/builds/",
            r#"{"repository": "https://h/a/b", "force": []}"#,
            400,
        ),
        ("/builds/", &long, 413),
        (&launch, "nonsense", 400),
        (&launch, r#"{"cull-timeout": "soon"}"#, 400),
        (&launch, r#"{"cull-timeout": 0}"#, 400),
        (&launch, r#"{"cull-timeout": -5}"#, 400),
        ("/applications/", r#"{"template-name": ["x"]}"#, 400),
    ] {
        let answer = farm.call(KEY, "POST", path, body).await;
        assert_eq!(answer.status, status, "{path} {body}");
        assert_eq!(answer.body["type"], "malformedRequest");
        assert!(answer.body["error"].is_string());
    }
    let begun = farm.cluster.read(|cluster| {
        let instances = cluster.instances().count();
        (cluster.builds().count(), instances)
    });
    assert_eq!(begun.await.unwrap(), (1, 0), "nothing was done");
}

#[tokio::test]
async fn a_repository_that_can_not_be_cloned_is_no_source() {
    let farm = Farm::start();
    for (url, reason) in [
        ("ftp://host/a/b", "only https, ssh, git and http"),
        ("/srv/repos/a", "allow_local_sources"),
        ("nonsense", "neither a URL nor an absolute path"),
        ("https://host", "names no repository"),
    ] {
        let body = json!({"repository": url}).to_string();
        let answer = farm.call(KEY, "POST", "/builds/", &body).await;
        assert_eq!(answer.status, 500);
        assert_eq!(answer.body["type"], "badRepoSource");
        assert_eq!(answer.body["error"], "Unsupported repo source");
        let said = answer.body["reason"].as_str().unwrap();
        assert!(said.contains(reason), "{said}");
    }
}

#[tokio::test]
async fn what_is_not_known_is_said_in_json() {
    let farm = Farm::start();
    let no_build = "Could not get build information for requested image";
    for path in ["/builds/other", "/builds/repo"] {
        let expected = (500, error("noBuildInfo", no_build));
        farm.check("", ("GET", path, ""), expected).await;
    }
    let no_such = "The requested resource does not exist";
    for path in ["/templates/other", "/builds/a/b", "/nonsense", "/"] {
        let expected = (404, error("doesNotExist", no_such));
        farm.check("", ("GET", path, ""), expected).await;
    }
    for (method, path) in [("PUT", "/builds"), ("DELETE", "/templates/x")] {
        let answer = farm.call(KEY, method, path, "").await;
        assert_eq!(answer.status, 405);
        assert_eq!(answer.body["type"], "malformedRequest");
    }
    let answer = farm.call("", "OPTIONS", "/templates/x", "").await;
    assert_eq!(
        (answer.status, answer.body),
        (200, Value::String(String::new()))
    );
}

#[tokio::test]
async fn each_path_has_the_methods_that_are_described() {
    let farm = Farm::start();
    for (path, described) in methods(&openapi::described()) {
        let answer = farm.call(KEY, "OPTIONS", &path, "").await;
        assert_eq!(allowed(&answer.headers), described, "{path}");
    }
}
