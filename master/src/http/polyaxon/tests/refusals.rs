//! What brings no success, in the words and shapes of this API.

use super::farm::Farm;
use crate::http::description::check::{allowed, methods};
use crate::http::polyaxon::openapi;
use axum::body::Body;
use axum::extract::Request;
use clusterrunner_core::accounts::command::ProjectCommand;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::Command;
use serde_json::json;

const BUILD: &str = "/api/v1/clusterrunner/mnist/builds/1";

#[tokio::test]
async fn callers_are_told_what_they_lack() {
    let farm = Farm::with_root().await;
    farm.user("adam", false).await;
    farm.queue("mnist").await;
    let request = Request::get(BUILD).body(Body::empty()).unwrap();
    let answer = farm.send(request).await;
    let detail = json!({"detail": "Authentication credentials were not provided."});
    assert_eq!((answer.status, &answer.body), (401, &detail));
    assert_eq!(answer.headers["www-authenticate"], "Token");
    assert_eq!(answer.headers["content-type"], "application/json");
    let answer = farm.call("nobody", "GET", BUILD, "").await;
    let detail = json!({"detail": "Invalid token."});
    assert_eq!((answer.status, &answer.body), (401, &detail));
    assert_eq!(answer.headers["www-authenticate"], "Token");

    assert_eq!(farm.call("adam", "GET", BUILD, "").await.status, 200);
    let detail = json!({"detail": "You do not have permission to perform this action."});
    for (method, path) in [("POST", "/stop"), ("POST", "/statuses")] {
        let path = format!("{BUILD}{path}");
        let request = (method, &*path, r#"{"status": "running"}"#);
        farm.check("adam", request, (403, detail.clone())).await;
    }
    assert_eq!(farm.get(BUILD).await["last_status"], "created");
}

#[tokio::test]
async fn a_private_project_is_for_its_users() {
    let farm = Farm::with_root().await;
    let eve = farm.user("eve", false).await;
    farm.user("adam", false).await;
    farm.project(eve, "secret", false).await;
    let builds = "/api/v1/eve/secret/builds/";
    let none = json!({"count": 0, "next": null, "previous": null, "results": []});
    for token in ["eve", "root"] {
        let request = ("GET", builds, "");
        farm.check(token, request, (200, none.clone())).await;
    }
    let detail = json!({"detail": "You do not have permission to perform this action."});
    for path in ["", "1", "1/statuses", "1/stop"] {
        let path = format!("{builds}{path}");
        let method = if path.ends_with("stop") {
            "POST"
        } else {
            "GET"
        };
        farm.check("adam", (method, &path, ""), (403, detail.clone()))
            .await;
    }
}

#[tokio::test]
async fn a_collaborator_may_do_nearly_all() {
    let farm = Farm::with_root().await;
    let eve = farm.user("eve", false).await;
    let adam = farm.user("adam", false).await;
    farm.user("stranger", false).await;
    farm.project(eve, "secret", false).await;
    let found = farm.cluster.read(|cluster| {
        let owner = cluster.owner_named("eve").unwrap();
        cluster.project_named(owner, "secret").unwrap().id
    });
    let project = found.await.unwrap();
    farm.tell(Command::Project {
        by: Actor::User(eve),
        command: ProjectCommand::AddCollaborator {
            project,
            user: adam,
        },
    })
    .await;
    let builds = "/api/v1/eve/secret/builds";
    let config = r#"{"config": {"version": 1, "kind": "build", "build": {"image": "busybox"}}}"#;
    let started = farm.call("adam", "POST", builds, config).await;
    assert_eq!(started.status, 201, "{started:?}");
    assert_eq!(started.body["user"], "adam");
    assert_eq!(started.body["unique_name"], "eve.secret.builds.1");
    assert_eq!(started.body["project"], "eve.secret");
    let statuses = format!("{builds}/1/statuses");
    let running = ("POST", &*statuses, r#"{"status": "running"}"#);
    let detail = json!({"detail": "You do not have permission to perform this action."});
    for token in ["adam", "stranger"] {
        farm.check(token, running, (403, detail.clone())).await;
    }
    let (method, path, body) = running;
    assert_eq!(farm.call("eve", method, path, body).await.status, 201);
    let stop = format!("{builds}/1/stop");
    let request = ("POST", &*stop, "");
    farm.check("stranger", request, (403, detail)).await;
    farm.check("adam", request, (200, json!(""))).await;
    let over = json!({"status": ["The status can not become running after stopped."]});
    farm.check("adam", running, (400, over)).await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let farm = Farm::with_root().await;
    farm.queue("mnist").await;
    let other = farm.queue("other").await;
    for path in [
        "",
        "nothing",
        "clusterrunner/mnist/builds/7",
        "clusterrunner/mnist/builds/0",
        "clusterrunner/mnist/builds/-1",
        "clusterrunner/mnist/builds/+1",
        "clusterrunner/mnist/builds/one",
        "clusterrunner/mnist/builds/99999999999999999999999",
        &format!("clusterrunner/mnist/builds/{other}"),
        "clusterrunner/nothing/builds/1",
        "nobody/mnist/builds/1",
        "nobody/mnist/builds",
        "clusterrunner/mnist/builds/1/nothing",
        "clusterrunner/mnist/builds/1/statuses/x/y",
        "clusterrunner/mnist/builds/%31%FF",
        "clusterrunner/%FF/builds/1",
        "clusterrunner/%zz/builds/1",
        "clusterrunner/mnist%00/builds/1",
        "clusterrunner/..%2Fmnist/builds/1",
    ] {
        let path = format!("/api/v1/{path}");
        let expected = (404, json!({"detail": "Not found."}));
        farm.check("root", ("GET", &path, ""), expected).await;
    }
}

#[tokio::test]
async fn methods_that_a_route_does_not_take_are_named() {
    let farm = Farm::with_root().await;
    farm.queue("mnist").await;
    for (method, path) in [
        ("POST", ""),
        ("GET", "/stop"),
        ("PUT", "/statuses"),
        ("DELETE", "/statuses"),
        ("BREW", "/statuses"),
    ] {
        let detail = format!("Method \"{method}\" not allowed.");
        let request = (method, &*format!("{BUILD}{path}"), "");
        farm.check("root", request, (405, json!({"detail": detail})))
            .await;
    }
    let answer = farm.call("root", "PUT", &format!("{BUILD}/stop"), "").await;
    assert_eq!(answer.headers["allow"], "POST");
    let answer = farm
        .call("root", "OPTIONS", &format!("{BUILD}/statuses"), "")
        .await;
    assert_eq!((answer.status, answer.body), (200, json!("")));
    assert_eq!(answer.headers["allow"], "GET,HEAD,POST");
    let head = farm.call("root", "HEAD", BUILD, "").await;
    assert_eq!((head.status, head.body), (200, json!("")));
    assert!(
        head.headers["content-length"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 100
    );
}

#[tokio::test]
async fn a_body_that_can_not_be_read_is_refused() {
    let farm = Farm::with_root().await;
    farm.queue("mnist").await;
    let path = format!("{BUILD}/statuses");
    for body in ["{", "{\"status\": }", "nonsense", &"[".repeat(10_000)] {
        let answer = farm.call("root", "POST", &path, body).await;
        let detail = answer.body["detail"].as_str().unwrap();
        assert_eq!(answer.status, 400);
        assert!(detail.starts_with("JSON parse error - "), "{detail}");
    }
    let huge = format!("{{\"status\": \"{}\"}}", "x".repeat(3 << 20));
    let answer = farm.call("root", "POST", &path, &huge).await;
    assert_eq!(answer.status, 413, "{:?}", answer.body);
    let request = Request::post(&path)
        .header("authorization", "token root")
        .body(Body::from(vec![b'{', 0xff, 0xfe, b'}']))
        .unwrap();
    assert_eq!(farm.send(request).await.status, 400);
    assert_eq!(farm.get(&path).await["count"], 1, "nothing has changed");
}

#[tokio::test]
async fn each_path_has_the_methods_that_are_described() {
    let farm = Farm::with_root().await;
    for (path, described) in methods(&openapi::described()) {
        let answer = farm.call("root", "OPTIONS", &path, "").await;
        assert_eq!(allowed(&answer.headers), described, "{path}");
    }
}
