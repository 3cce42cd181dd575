//! Build objects, with every field, and what else is read.

use super::farm::{Farm, take_time, take_uuid};
use serde_json::{Value, json};

const BUILD: &str = "/api/v1/clusterrunner/mnist/builds/1";

/// The object of build 1 of `clusterrunner.mnist` in `expected`'s place, its times and its uuid apart.
fn object(last_status: &str) -> Value {
    json!({
        "id": 1, "uuid": null, "name": null, "unique_name": "clusterrunner.mnist.builds.1",
        "user": "clusterrunner", "description": null,
        "created_at": null, "updated_at": null, "started_at": null, "finished_at": null,
        "last_status": last_status, "tags": null, "project": "clusterrunner.mnist",
        "config": {"version": 1, "kind": "build", "build": {"image": null, "build_steps": ["make"]}},
        "resources": null, "node_scheduled": "slave:1", "num_jobs": 0, "num_experiments": 0,
        "dockerfile": null, "commit": "0123456789abcdef0123456789abcdef01234567", "bookmarked": false,
    })
}

#[tokio::test]
async fn a_build_has_all_its_fields_wherever_it_is() {
    let farm = Farm::with_root().await;
    farm.queue("mnist").await;
    let mut queued = farm.get(BUILD).await;
    let uuid = take_uuid(&mut queued);
    let created = take_time(&mut queued, "created_at");
    assert_eq!(take_time(&mut queued, "updated_at"), created);
    let mut expected = object("created");
    expected["config"]["build"]["build_steps"] = json!([]);
    expected["node_scheduled"] = Value::Null;
    expected["commit"] = Value::Null;
    assert_eq!(queued, expected);
    let names: Vec<&str> = queued
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected: Vec<String> = object("").as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, expected, "in the order of the specification");

    let farm = Farm::with_root().await;
    farm.connect(1).await;
    farm.build("mnist").await;
    farm.set_up(1, 1).await;
    let mut running = farm.get(BUILD).await;
    assert_ne!(take_uuid(&mut running), uuid, "another build");
    take_time(&mut running, "created_at");
    take_time(&mut running, "updated_at");
    let started = take_time(&mut running, "started_at");
    assert_eq!(running, object("running"));

    farm.finish(1, 1, 0).await;
    let finished = farm.get(BUILD).await;
    farm.archive(1, 1).await;
    assert_eq!(farm.get(BUILD).await, finished, "it is archived");
    let mut finished = finished;
    take_uuid(&mut finished);
    take_time(&mut finished, "created_at");
    assert_eq!(take_time(&mut finished, "started_at"), started);
    let ended = take_time(&mut finished, "finished_at");
    assert_eq!(take_time(&mut finished, "updated_at"), ended);
    assert_eq!(finished, object("succeeded"));
}

#[tokio::test]
async fn slashes_do_not_matter() {
    let farm = Farm::with_root().await;
    farm.queue("mnist").await;
    let build = farm.get(BUILD).await;
    for path in [
        "/api/v1/clusterrunner/mnist/builds/1/",
        "//api/v1/clusterrunner//mnist/builds///1//",
    ] {
        assert_eq!(farm.get(path).await, build, "{path}");
    }
}

#[tokio::test]
async fn versions_are_open() {
    let farm = Farm::start();
    let clients = json!({"latest_version": "0.6.1", "min_version": "0.0.1"});
    for (path, expected) in [
        ("versions/cli/", clients.clone()),
        ("versions/platform", clients.clone()),
        ("versions/lib/", clients),
        ("versions/chart/", json!({"version": "0.6.1"})),
        (
            "log_handler/",
            json!({"dsn": "", "environment": "production", "tags": {"version": env!("CARGO_PKG_VERSION")}}),
        ),
    ] {
        let request = ("GET", &*format!("/api/v1/{path}"), "");
        farm.check("nobody", request, (200, expected)).await;
    }
    let request = ("GET", "/api/v1/versions/other", "");
    farm.check("nobody", request, (404, json!({"detail": "Not found."})))
        .await;
}

#[tokio::test]
async fn a_stopped_build_says_so_once() {
    let farm = Farm::with_root().await;
    farm.queue("mnist").await;
    let stop = format!("{BUILD}/stop");
    for _ in 0..2 {
        let answer = farm.call("root", "POST", &stop, "").await;
        assert_eq!((answer.status, answer.body), (200, json!("")));
    }
    assert_eq!(farm.get(BUILD).await["last_status"], "stopped");
    let statuses = farm.get(&format!("{BUILD}/statuses")).await;
    assert_eq!(statuses["count"], 2);
    assert_eq!(statuses["results"][1]["message"], "BuildJob was stopped.");
}
