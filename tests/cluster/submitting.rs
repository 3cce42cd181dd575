//! Submitting builds by the documented scheme, and what is refused.

use crate::farm::Farm;
use crate::raw::{Answer, Raw};
use crate::repository::Repository;
use clusterrunner_common::api::BuildStatus;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::ids::BuildId;
use serde_json::{Value, json};

const JOB: &str = "Job:\n  commands: [echo done]\n  atomizers: [{N: seq 1 2}]\n";

async fn post(farm: &Farm, path: &str, body: &Value) -> Answer {
    let request = Raw::json("POST", &farm.master_address(), path, body);
    request.send(&request.body_digest(&farm.secret())).await
}

fn accepted(id: u64) -> Value {
    json!({"build_id": id, "status": "SUCCESS", "STATUS": "SUCCESS"})
}

async fn check_no_builds(farm: &Farm) {
    assert_eq!(farm.client().builds().await.unwrap(), []);
}

#[tokio::test]
async fn the_digest_of_the_body_is_enough_to_submit_and_cancel() {
    let repository = Repository::with_jobs(JOB);
    let farm = Farm::start(&[]).await;
    let paths = ["/v1/build", "/build", "/v1/build/", "/build/"];
    for (id, path) in (1..).zip(paths) {
        let answer = post(&farm, path, &repository.request()).await;
        assert_eq!((answer.status, answer.body), (202, accepted(id)), "{path}");
    }
    let cancel = json!({"status": "canceled"});
    let paths = ["/v1/build/1", "/build/2", "/v1/build/3/", "/build/4/"];
    for (id, path) in (1..).map(BuildId).zip(paths) {
        let request = Raw::json("PUT", &farm.master_address(), path, &cancel);
        let before = farm.client().build(id).await.unwrap();
        assert!(!before.status.is_over(), "{before:?}");
        let unsigned = request.send(&Vec::new()).await;
        assert_eq!(unsigned.status, 401, "{path}");
        let answer = request.send(&request.body_digest(&farm.secret())).await;
        assert_eq!(
            (answer.status, answer.body),
            (200, json!({"status": "SUCCESS"})),
            "{path}"
        );
        let read = Raw::json("GET", &farm.master_address(), path, &Value::Null);
        let read = read.send(&Vec::new()).await;
        assert_eq!(read.body["build"]["status"], "CANCELED", "{path}");
    }
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_behind() {
    let repository = Repository::with_jobs(JOB);
    let farm = Farm::start(&[1]).await;
    let (secret, server) = (farm.secret(), farm.master_address());
    let good = Raw::json("POST", &server, "/v1/build", &repository.request());

    let other = Secret::new("another secret of a farm".to_owned()).unwrap();
    let upper_case = good
        .body_digest(&secret)
        .into_iter()
        .map(|(name, digest)| (name, digest.to_uppercase()))
        .collect();
    let mut other_body = good.clone();
    other_body.body.push(b' ');
    for (what, proof) in [
        ("none", Vec::new()),
        ("another secret's digest", good.body_digest(&other)),
        ("another body's digest", other_body.body_digest(&secret)),
        ("upper case", upper_case),
        ("another secret's signature", good.signature(&other)),
        ("another body's signature", other_body.signature(&secret)),
    ] {
        let answer = good.send(&proof).await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        assert_ne!(answer.error(), "", "{what}");
    }
    check_no_builds(&farm).await;

    for text in ["", "{", "nonsense", "{\"type\": \"git\",}", "\u{fffd}"] {
        let mut request = good.clone();
        request.body = text.as_bytes().to_vec();
        let answer = request.send(&request.body_digest(&secret)).await;
        assert_eq!(answer.status, 400, "{text:?}: {answer:?}");
        assert_ne!(answer.error(), "", "{text:?}");
    }
    for (change, named) in wrong_fields() {
        let mut body = repository.request();
        for (field, value) in change.as_object().unwrap() {
            body[field] = value.clone();
        }
        let answer = post(&farm, "/v1/build", &body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        let error = answer.error();
        assert!(error.contains(named), "{body}: {error}");
    }
    for body in [json!([]), json!("git"), json!(null), json!({})] {
        let answer = post(&farm, "/v1/build", &body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    check_no_builds(&farm).await;

    let answer = good.send(&good.body_digest(&secret)).await;
    assert_eq!((answer.status, answer.body), (202, accepted(1)));
    let build = farm.end_of(BuildId(1)).await;
    assert_eq!(build.status, BuildStatus::Finished);
}

/// Changes that make a request wrong, and what the refusal must name.
fn wrong_fields() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"type": null}), "type"),
        (json!({"type": 7}), "type"),
        (json!({"type": "svn"}), "type"),
        (json!({"type": "directory"}), "url"),
        (json!({"url": null}), "url"),
        (json!({"url": ""}), "url"),
        (json!({"url": ["x"]}), "url"),
        (json!({"url": "ext::sh -c true"}), "url"),
        (json!({"url": "--upload-pack=true"}), "url"),
        (json!({"branch": 1}), "branch"),
        (json!({"branch": "--force"}), "branch"),
        (json!({"hash": "xyz"}), "hash"),
        (json!({"hash": {}}), "hash"),
        (json!({"job_name": false}), "job_name"),
        (json!({"job_name": "a\0b"}), "job_name"),
        (json!({"config": "{}"}), "config"),
        (json!({"atoms_override": "export A=1;"}), "atoms_override"),
        (json!({"atoms_override": ["a", 1]}), "atoms_override[1]"),
        (json!({"remote_files": []}), "remote_files"),
        (json!({"remote_files": {"a": 1}}), "remote_files.a"),
        (json!({"remote_files": {"../a": "http://h/a"}}), "../a"),
        (json!({"remote_files": {"": "http://h/a"}}), "remote_files"),
        (json!({"remote_files": {"a": "h/a"}}), "is not a URL"),
        (
            json!({"remote_files": {"a": "ftp://h/a"}}),
            "only http, https",
        ),
        (json!({"project_directory": "../up"}), "project_directory"),
        (json!({"project_directory": "/etc"}), "project_directory"),
        (json!({"comands": []}), "comands"),
    ]
}

#[tokio::test]
async fn a_build_that_is_not_there_can_not_be_read_or_canceled() {
    let farm = Farm::start(&[]).await;
    let server = farm.master_address();
    let cancel = json!({"status": "canceled"});
    let request = Raw::json("PUT", &server, "/v1/build/1", &cancel);
    let answer = request.send(&request.body_digest(&farm.secret())).await;
    assert_eq!(answer.status, 404, "{answer:?}");
    for path in [
        "/v1/build/1",
        "/v1/build/1/subjob",
        "/v1/build/1/subjob/0",
        "/v1/build/1/subjob/0/atom/0/console",
        "/v1/build/1/artifacts.zip",
        "/v1/build/1/artifacts.tar.gz",
        "/v1/slave/1",
        "/v1/nothing",
    ] {
        let read = Raw::json("GET", &server, path, &Value::Null);
        let answer = read.send(&Vec::new()).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert_ne!(answer.error(), "", "{path}");
    }
}
