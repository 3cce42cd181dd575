//! The routes, called without a socket, on a real cluster with a real journal.

use super::*;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use clusterrunner_common::auth::signature::{
    BODY_DIGEST_HEADER, SIGNATURE_HEADER, Signed as SignedParts, content_digest,
};
use clusterrunner_common::clock::{Timestamp, random_bytes};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

mod artifacts;
mod atom_rows;
mod audit;
mod documented;
mod drain;
mod events;
mod golden;
mod history;
mod kept_setups;
mod launching;
mod master;
mod operations;
mod private;
mod projects;
mod reads;
mod results;
mod secrets;
mod session;
mod slaves;
mod sources;
mod steps;
mod tested;
mod users;
mod wild;
mod working_trees;

use master::Master;

const BUILD: &str = r#"{"type": "git", "url": "https://example.org/project.git"}"#;

#[tokio::test]
async fn a_build_is_accepted_with_both_spellings_of_success() {
    let master = Master::start();
    let accepted = json!({"build_id": 1, "status": "SUCCESS", "STATUS": "SUCCESS"});
    assert_eq!(
        master.documented("POST", "/v1/build", BUILD).await,
        (202, accepted)
    );
    let (status, second) = master.documented("POST", "/build", BUILD).await;
    assert_eq!((status, &second["build_id"]), (202, &json!(2)));
    for path in ["/v1/build/1", "/v1/build/1/", "/build/1/", "/build/1"] {
        let (status, body) = master.get(path).await;
        assert_eq!(
            (status, &body["build"]["status"]),
            (200, &json!("QUEUED")),
            "{path}"
        );
        assert_eq!(
            body["build"]["request_params"],
            serde_json::from_str::<Value>(BUILD).unwrap()
        );
    }
    let (_, queue) = master.get("/v1/queue").await;
    assert_eq!(queue["queue"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_bad_request_for_a_build_names_the_field_and_stores_nothing() {
    let master = Master::start();
    for (body, named) in [
        ("{", "Invalid JSON"),
        ("[]", "JSON object"),
        ("{}", "'type'"),
        (r#"{"type": "git"}"#, "'url'"),
        (r#"{"type": "git", "url": 7}"#, "'url'"),
        (r#"{"type": "git", "url": "ext::sh -c id"}"#, "'url'"),
        (
            r#"{"type": "git", "url": "/srv/repository"}"#,
            "allow_local_sources",
        ),
        (
            r#"{"type": "git", "url": "https://h/p", "remote": "upstream"}"#,
            "'remote'",
        ),
        (
            r#"{"type": "git", "url": "https://h/p", "colour": "red"}"#,
            "'colour'",
        ),
        (
            r#"{"type": "directory", "project_directory": ["here"]}"#,
            "'project_directory'",
        ),
    ] {
        let (status, answer) = master.documented("POST", "/v1/build", body).await;
        let error = answer["error"].as_str().unwrap();
        assert_eq!(status, 400, "{body}");
        assert!(error.contains(named), "{body}: {error}");
    }
    let (_, builds) = master.get("/v1/build").await;
    assert_eq!(builds["builds"], json!([]));
    let (_, accepted) = master.documented("POST", "/v1/build", BUILD).await;
    assert_eq!(accepted["build_id"], 1);
}

#[tokio::test]
async fn a_build_is_canceled_with_the_originals_words() {
    let master = Master::start();
    master.documented("POST", "/v1/build", BUILD).await;
    for (body, error) in [
        (
            r#"{"foo": 1}"#,
            "Key (foo) is not in list of allowed keys (status)",
        ),
        (
            r#"{"status": "FINISHED"}"#,
            "Value (FINISHED) is not in list of allowed values (['canceled']) for status",
        ),
        ("{}", "Nothing to change: send {\"status\": \"canceled\"}."),
    ] {
        let answer = master.documented("PUT", "/v1/build/1", body).await;
        assert_eq!(answer, (400, json!({"status": "FAILURE", "error": error})));
    }
    let canceled = r#"{"status": "canceled"}"#;
    let unknown = master.documented("PUT", "/v1/build/999", canceled).await;
    let refusal = json!({"error": "Invalid build id: 999.", "code": "unknown_build"});
    assert_eq!(unknown, (404, refusal));
    for _ in 0..2 {
        let answer = master.documented("PUT", "/v1/build/1/", canceled).await;
        assert_eq!(answer, (200, json!({"status": "SUCCESS"})));
    }
    let (_, build) = master.get("/v1/build/1").await;
    assert_eq!(build["build"]["status"], "CANCELED");
}

#[tokio::test]
async fn nothing_that_changes_something_is_open_to_strangers() {
    let master = Master::start();
    master.documented("POST", "/v1/build", BUILD).await;
    master.connect("a", None).await;
    let before = (master.get("/v1/build").await, master.get("/v1/slave").await);
    for (method, path) in [
        ("POST", "/v1/build"),
        ("POST", "/build"),
        ("PUT", "/v1/build/1"),
        ("PUT", "/build/1"),
        ("POST", "/v1/slave"),
        ("PUT", "/v1/slave/1"),
        ("POST", "/v1/slave/1/heartbeat"),
        ("POST", "/v1/slave/1/shutdown"),
        ("POST", "/v1/slave/shutdown"),
        ("POST", "/v1/slave/1/drain"),
        ("POST", "/v1/slave/1/undrain"),
        ("POST", "/v1/build/1/subjob/0/result"),
        ("POST", "/v1/build/1/results"),
        ("POST", "/v1/build/1/steps"),
        ("POST", "/v1/slave/1/instances"),
        ("POST", "/v1/slave/1/instance_logs"),
        ("POST", "/v1/snapshot"),
        ("POST", "/v2/templates"),
        ("POST", "/v2/instances"),
        ("DELETE", "/v2/instances/1"),
        ("DELETE", "/v2/templates/a"),
        ("DELETE", "/v1/build/1"),
        ("POST", "/v1/anything/else"),
    ] {
        for body in ["", "{}", r#"{"slave": {"state": "DISCONNECTED"}}"#] {
            assert_eq!(
                master.call(method, path, &[], body).await.0,
                401,
                "{method} {path}"
            );
            let wrong = [(BODY_DIGEST_HEADER, "00")];
            assert_eq!(
                master.call(method, path, &wrong, body).await.0,
                401,
                "{method} {path}"
            );
            if !takes_body_digest(&method.parse().unwrap(), path) {
                let (status, _) = master.documented(method, path, body).await;
                assert_eq!(status, 401, "the body's digest alone opens {method} {path}");
            }
        }
    }
    assert_eq!(
        (master.get("/v1/build").await, master.get("/v1/slave").await),
        before
    );
}

#[tokio::test]
async fn a_slave_has_an_address_and_nothing_behind_it() {
    let master = Master::start();
    for address in [
        r"victim:43001\..\v1\kill:1",
        r"h\..\x:1",
        "h/..:1",
        "http://h:1",
        "h:0",
        "h",
    ] {
        let slave = json!({"slave": address, "num_executors": 1, "session_id": "s", "protocol": 5});
        let (status, answer) = master.signed("POST", "/v1/slave", &slave).await;
        let error = answer["error"].as_str().unwrap();
        assert_eq!(status, 400, "{address}: {error}");
        assert!(error.contains("'slave'"), "{error}");
    }
    assert_eq!(master.get("/v1/slave").await.1["slaves"], json!([]));
}

#[tokio::test]
async fn a_slave_of_another_version_is_told_so() {
    let master = Master::start();
    for (protocol, told) in [
        (json!(2), "run the same version of ClusterRunner"),
        (Value::Null, "accept_legacy_peers = True"),
    ] {
        let slave =
            json!({"slave": "h:1", "num_executors": 1, "session_id": "s", "protocol": protocol});
        let (status, answer) = master.signed("POST", "/v1/slave", &slave).await;
        let error = answer["error"].as_str().unwrap();
        assert_eq!(status, 400, "{error}");
        assert!(
            error.contains("'protocol'") && error.contains(told),
            "{error}"
        );
    }
    assert_eq!(master.get("/v1/slave").await.1["slaves"], json!([]));
}

#[tokio::test]
async fn a_slave_that_comes_back_in_the_same_life_goes_on() {
    let master = Master::start();
    let first = master.connect("a", None).await;
    assert_eq!(
        (&first["slave_id"], &first["resumed"]),
        (&json!("1"), &json!(false))
    );
    let again = master.connect("a", Some(1)).await;
    assert_eq!(
        (&again["slave_id"], &again["resumed"]),
        (&json!("1"), &json!(true))
    );
    let beat = json!({"slave": {"heartbeat": true, "session_id": "a"}});
    let heartbeat = "/v1/slave/1/heartbeat";
    let (status, alive) = master.signed("POST", heartbeat, &beat).await;
    assert_eq!((status, &alive["is_alive"]), (200, &json!(true)));

    let second = master.connect("b", Some(1)).await;
    assert_eq!(
        (&second["slave_id"], &second["resumed"]),
        (&json!("2"), &json!(false))
    );
    assert_eq!(
        master
            .signed("POST", "/v1/slave/1/heartbeat", &beat)
            .await
            .0,
        404
    );
    assert_eq!(
        master
            .signed("POST", "/v1/slave/2/heartbeat", &beat)
            .await
            .0,
        412
    );
    let (_, slaves) = master.get("/v1/slave").await;
    assert_eq!(
        slaves["slaves"].as_array().unwrap().len(),
        1,
        "the old one is replaced"
    );

    let end = json!({"slave": {"state": "DISCONNECTED", "session_id": "b"}});
    assert_eq!(master.signed("PUT", "/v1/slave/2", &end).await.0, 200);
    let (_, slave) = master.get("/v1/slave/2").await;
    assert_eq!(slave["slave"]["is_alive"], false);
    let word = json!({"slave": {"state": "TIRED", "session_id": "b"}});
    let (status, answer) = master.signed("PUT", "/v1/slave/2", &word).await;
    assert!(
        status == 400 && answer["error"].as_str().unwrap().contains("TIRED"),
        "{answer}"
    );
}

#[tokio::test]
async fn slaves_are_shut_down_one_by_one_or_all_together() {
    let master = Master::start();
    for port in 1..=3 {
        master
            .connect_at(&format!("127.0.0.1:{port}"), "a", None)
            .await;
    }
    let some = "/v1/slave/shutdown";
    let error = "Requested slave (slave_id=99) does not exist.";
    let unknown = json!({"error": error, "code": "unknown_slave"});
    let (status, answer) = master
        .signed("POST", some, &json!({"slaves": [1, 99]}))
        .await;
    assert_eq!((status, &answer), (404, &unknown));
    let answer = master
        .signed("POST", "/v1/slave/99/shutdown", &json!({}))
        .await;
    assert_eq!(answer, (404, unknown));
    for neither in [
        json!({}),
        json!({"shutdown_all": false}),
        json!({"slaves": 1}),
    ] {
        let (status, answer) = master.signed("POST", some, &neither).await;
        assert!(status == 400 && answer["error"].is_string(), "{answer}");
    }
    assert_eq!(master.slave_ids().await, [1, 2, 3], "nobody was touched");

    let ok = (200, Value::Null);
    assert_eq!(
        master
            .signed("POST", "/v1/slave/2/shutdown", &json!({}))
            .await,
        ok
    );
    assert_eq!(master.get("/v1/slave/2").await.0, 404);
    assert_eq!(master.slave_ids().await, [1, 3]);
    let end = json!({"slave": {"state": "DISCONNECTED", "session_id": "a"}});
    assert_eq!(master.signed("PUT", "/v1/slave/2", &end).await.0, 404);
    let chosen = json!({"slaves": [3]});
    assert_eq!(master.signed("POST", some, &chosen).await, ok);
    assert_eq!(master.slave_ids().await, [1]);
    let all = json!({"shutdown_all": true});
    assert_eq!(master.signed("POST", some, &all).await, ok);
    assert_eq!(master.signed("POST", some, &all).await, ok);
    assert!(master.slave_ids().await.is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_told_in_json() {
    let master = Master::start();
    for (method, path, expected) in [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/build/7", 404),
        ("GET", "/v1/build/seven", 404),
        ("GET", "/v1/build/+1", 404),
        ("GET", "/v1/build/99999999999999999999", 404),
        ("GET", "/v1/build/7/subjob", 404),
        ("GET", "/v1/build/7/artifacts.zip", 404),
        ("GET", "/v1/build/7/subjob/0/atom/0/console", 404),
        ("GET", "/v1/slave/7", 404),
    ] {
        let (status, body) = master.call(method, path, &[], "").await;
        assert_eq!(status, expected, "{path}");
        assert!(body["error"].is_string(), "{path}: {body}");
    }
    let (status, body) = master.signed("DELETE", "/v1/build", &json!({})).await;
    assert!(status == 405 && body["error"].is_string(), "{body}");
    let stale = [("expected-session-id", "an-earlier-life")];
    assert_eq!(master.call("GET", "/v1/version", &stale, "").await.0, 412);
    master.documented("POST", "/v1/build", BUILD).await;
    assert_eq!(
        master.get("/v1/build/1/artifacts.zip").await,
        (202, Value::Null)
    );
}
