//! What is shown of slaves beside the facts.

use super::Master;
use serde_json::{Value, json};
use std::time::Duration;

/// Connects a slave that says this version, or none.
async fn connect(master: &Master, version: Option<&str>) -> (u16, Value) {
    let mut body =
        json!({"slave": "127.0.0.1:1", "num_executors": 2, "session_id": "a", "protocol": 5});
    if let Some(version) = version {
        body["version"] = json!(version);
    }
    master.signed("POST", "/v1/slave", &body).await
}

#[tokio::test]
async fn version_2_tells_what_was_heard_of_a_slave_and_its_load() {
    let master = Master::start();
    assert_eq!(connect(&master, Some("1.2.3")).await.0, 201);
    let signs = master.signs.clone();
    let look = |at: u64| {
        let signs = signs.clone();
        master
            .cluster
            .read(move |cluster| signs.look(cluster.slaves(), Duration::from_secs(at)))
    };
    look(1).await.unwrap();
    for path in ["/v2/slaves", "/v2/slaves/1"] {
        let (_, body) = master.get(path).await;
        let slave = match body["slave"].is_null() {
            true => &body["slaves"][0],
            false => &body["slave"],
        };
        assert_eq!(slave["version"], "1.2.3", "{path}: {body}");
        assert!(slave["last_heard_at"].as_f64().unwrap() > 1.7e9, "{body}");
        let load = slave["load_of_last_hour"].as_array().unwrap();
        assert_eq!(
            (load.len(), &load[58], &load[59]),
            (60, &Value::Null, &json!(0.0))
        );
    }
    // Version 1 is the original's.
    for path in ["/v1/slave", "/v1/slave/1", "/v1"] {
        let (_, body) = master.get(path).await;
        assert!(
            !body.to_string().contains("last_heard_at"),
            "{path}: {body}"
        );
        assert!(!body.to_string().contains("1.2.3"), "{path}: {body}");
    }
}

#[tokio::test]
async fn a_slave_that_tells_no_version_has_none() {
    let master = Master::start();
    assert_eq!(connect(&master, None).await.0, 201);
    let (_, body) = master.get("/v2/slaves/1").await;
    assert_eq!(body["slave"].get("version"), None, "{body}");
}

#[tokio::test]
async fn a_slave_tells_whether_it_runs_containers() {
    let master = Master::start();
    connect(&master, None).await;
    let (_, body) = master.get("/v2/slaves/1").await;
    assert_eq!(body["slave"].get("runs_containers"), None, "{body}");
    for (number, runs_images) in [(1, true), (2, false)] {
        let report = json!({
            "session_id": "a", "number": number, "max_instances": 0, "runs_images": runs_images, "instances": [],
        });
        let (status, answer) = master
            .signed("POST", "/v2/slaves/1/instances", &report)
            .await;
        assert_eq!(status, 200, "{answer}");
        let (_, body) = master.get("/v2/slaves/1").await;
        assert_eq!(body["slave"]["runs_containers"], runs_images, "{body}");
    }
}

#[tokio::test]
async fn a_version_is_a_short_word() {
    let master = Master::start();
    for bad in ["two words", "\u{202e}1.2", &"1".repeat(65)] {
        let (status, answer) = connect(&master, Some(bad)).await;
        assert_eq!(status, 400, "{bad}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains("'version'"), "{error}");
    }
}

#[tokio::test]
async fn a_slave_that_was_stopped_is_no_lost_one() {
    let master = Master::start();
    connect(&master, None).await;
    let end = json!({"slave": {"state": "DISCONNECTED", "session_id": "a"}});
    master.signed("PUT", "/v1/slave/1", &end).await;
    let (_, body) = master.get("/v2/slaves/1").await;
    let slave = &body["slave"];
    assert_eq!(
        (&slave["is_alive"], &slave["is_stopped"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(slave["lost_reason"], "it was stopped");
}
