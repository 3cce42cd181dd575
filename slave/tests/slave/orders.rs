//! Who may order what, and what is said to others.

use crate::fake_master::{FakeMaster, Heard, secret};
use crate::test_slave::{TestSlave, job};
use clusterrunner_common::api::SlaveState;
use clusterrunner_common::auth::signature::{
    BODY_DIGEST_HEADER, SIGNATURE_HEADER, Signed, body_digest, content_digest,
};
use clusterrunner_common::clock::{Timestamp, random_bytes};
use serde_json::{Value, json};

/// A plain HTTP call: status, headers, body.
async fn call(
    slave: &TestSlave,
    method: &str,
    path: &str,
    headers: &[(&'static str, String)],
    body: &str,
) -> (u16, reqwest::header::HeaderMap, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let method = method.parse().unwrap();
    let mut request = client
        .request(method, slave.url(path))
        .body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, answer.text().await.unwrap())
}

fn signature(receiver: &str, method: &str, path: &str, body: &str) -> (&'static str, String) {
    let parts = Signed {
        method,
        path_and_query: path,
        receiver,
        content_digest: &content_digest(body.as_bytes()),
    };
    (
        SIGNATURE_HEADER,
        parts.sign(&secret(), Timestamp::now(), random_bytes()),
    )
}

#[tokio::test]
async fn only_fresh_signatures_for_the_very_call_open_the_door() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    let body = slave
        .setup_body(job(Some("touch set_up"), None))
        .to_string();
    let path = "/v1/build/1/setup";
    let own = slave.status().await.slave.session_id.0;
    let digest = (BODY_DIGEST_HEADER, body_digest(&secret(), body.as_bytes()));
    for headers in [
        vec![],
        vec![digest],
        vec![signature(&own, "POST", "/v1/build/2/setup", &body)],
        vec![signature("another-slave", "POST", path, &body)],
    ] {
        assert_eq!(call(&slave, "POST", path, &headers, &body).await.0, 401);
    }
    for path in ["/v1/kill", "/v1/build/1/teardown", "/v1/build/1/subjob/0"] {
        assert_eq!(call(&slave, "POST", path, &[], "{}").await.0, 401, "{path}");
    }
    assert_eq!(slave.status().await.slave.current_build_id, None);
    assert!(!slave.project.join("set_up").exists());

    let genuine = [signature(&own, "POST", path, &body)];
    assert_eq!(call(&slave, "POST", path, &genuine, &body).await.0, 200);
    master.hears_state(SlaveState::SetupComplete, 1).await;
    slave.tear_down(1).await;
    master.hears_state(SlaveState::Idle, 1).await;
    assert_eq!(call(&slave, "POST", path, &genuine, &body).await.0, 401);
    assert_eq!(slave.status().await.slave.current_build_id, None);
    slave.end().await;
}

#[tokio::test]
async fn repeated_orders_converge() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    let complete = |heard: &Heard| {
        matches!(
            heard,
            Heard::Report {
                state: SlaveState::SetupComplete,
                ..
            }
        )
    };
    slave.set_up(1, job(Some("echo x >> times"), None)).await;
    slave.set_up(1, job(Some("echo x >> times"), None)).await;
    master.hears_nth(1, complete).await;
    slave.set_up(1, job(Some("echo x >> times"), None)).await;
    master.hears_nth(2, complete).await;
    assert_eq!(
        std::fs::read_to_string(slave.project.join("times")).unwrap(),
        "x\n"
    );
    for _ in 0..3 {
        slave
            .start_subjob(1, 0, 1, &["echo y >> times"])
            .await
            .unwrap();
    }
    master.hears_result(1).await;
    slave
        .start_subjob(1, 0, 1, &["echo y >> times"])
        .await
        .unwrap();
    slave.start_subjob(1, 1, 1, &["true"]).await.unwrap();
    assert_eq!(master.hears_result(2).await.subjob, 1);
    assert_eq!(
        std::fs::read_to_string(slave.project.join("times")).unwrap(),
        "x\ny\n"
    );
    let error = slave.start_subjob(8, 3, 1, &["true"]).await.unwrap_err();
    assert_eq!(error.status().unwrap().as_u16(), 409);
    let expected = "Attempted to start subjob 3 for build 8, but ";
    assert!(error.to_string().contains(expected), "{error}");
    let idle = |heard: &Heard| {
        matches!(
            heard,
            Heard::Report {
                state: SlaveState::Idle,
                ..
            }
        )
    };
    for nth in [1, 2] {
        slave.tear_down(1).await;
        master.hears_nth(nth, idle).await;
    }
    slave.end().await;
}

#[tokio::test]
async fn reads_are_open_and_refusals_are_json() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 2).await;
    let status = slave.status().await.slave;
    assert!(status.is_alive);
    assert_eq!(status.master_url, master.address);
    assert_eq!(status.slave_id.unwrap().0, 1);
    assert_eq!(status.executors.len(), 2);
    let (code, headers, body) = call(&slave, "GET", "/v1/executor/1/", &[], "").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    let idle = json!({"id": 1, "current_build": null, "current_subjob": null});
    assert_eq!((code, &body["executor"]), (200, &idle));
    assert_eq!(headers["session-id"], status.session_id.0.as_str());
    assert_eq!(headers["api-version"], "1");
    let (_, _, body) = call(&slave, "GET", "/v1/executor", &[], "").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["executors"][1], idle);
    let (_, _, body) = call(&slave, "GET", "/v1/version", &[], "").await;
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap()["api_version"],
        1
    );

    let (code, _, body) = call(&slave, "GET", "/v1/kill", &[], "").await;
    assert_eq!((code, body.as_str()), (200, r#"{"child_routes":{}}"#));
    let signed = [signature(&status.session_id.0, "DELETE", "/v1/kill", "")];
    let (code, headers, body) = call(&slave, "DELETE", "/v1/kill", &signed, "").await;
    let allowed = headers["allow"].to_str().unwrap();
    assert_eq!((code, allowed), (405, "GET,HEAD,POST"));
    assert!(serde_json::from_str::<Value>(&body).unwrap()["error"].is_string());
    for path in ["/nowhere", "/v1/executor/2", "/v1/executor/x"] {
        let (code, headers, body) = call(&slave, "GET", path, &[], "").await;
        assert_eq!(code, 404, "{path}");
        assert!(serde_json::from_str::<Value>(&body).unwrap()["error"].is_string());
        assert_eq!(headers["session-id"], status.session_id.0.as_str());
    }
    slave.end().await;
}

#[tokio::test]
async fn calls_for_an_earlier_life_are_refused_before_all_else() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    let own = slave.status().await.slave.session_id.0;
    for name in ["expected-session-id", "session-id"] {
        let (code, _, body) =
            call(&slave, "POST", "/v1/kill", &[(name, "gone".to_owned())], "").await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (code, &body["error"]),
            (
                412,
                &json!("Specified session id: gone has expired and is invalid.")
            )
        );
        let (code, _, _) = call(&slave, "GET", "/v1", &[(name, own.clone())], "").await;
        assert_eq!(code, 200);
    }
    slave.end().await;
}

#[tokio::test]
async fn bad_orders_are_explained() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    let good = slave.setup_body(job(None, None));
    let mut without_job = good.clone();
    without_job.as_object_mut().unwrap().remove("job");
    let mut without_master = good.clone();
    without_master["master"] = Value::Null;
    let mut without_commit = good.clone();
    without_commit["project_type_params"] = json!({"type": "git", "url": "https://localhost/x"});
    let mut without_type = good.clone();
    without_type["project_type_params"] = json!({});
    for (body, said) in [
        (without_job, "'job' is missing"),
        (without_commit, "'commit' is missing"),
        (without_type, "Field 'type' must be"),
        (without_master, "'master' is missing"),
        (json!([]), "Invalid request body"),
    ] {
        let error = slave.send("/v1/build/1/setup", &body).await.unwrap_err();
        assert_eq!(error.status().unwrap().as_u16(), 400);
        assert!(error.to_string().contains(said), "{error}");
    }
    assert_eq!(slave.status().await.slave.current_build_id, None);
    slave.end().await;
}

#[tokio::test]
async fn an_answer_that_may_wait_tells_how_the_order_ended() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    let send = async |path: &str, body: Value| slave.send(path, &body).await.unwrap();
    let mut set_up = slave.setup_body(job(Some("true"), None));
    set_up["wait_ms"] = json!(60_000);
    set_up["subjobs"] = json!({
        "command": "echo it ran",
        "subjobs": [{"subjob_id": 0, "attempt": 1, "atoms": ["export X=1;"]}],
    });
    let complete = json!({"status": "SUCCESS", "state": "SETUP_COMPLETE"});
    assert_eq!(send("/v1/build/1/setup", set_up.clone()).await, complete);
    let result = master.hears_result(1).await;
    assert_eq!((result.build, result.subjob), (1, 0));
    assert_eq!(send("/v1/build/1/setup", set_up).await, complete);
    let idle = json!({"status": "SUCCESS", "state": "IDLE"});
    let wait = json!({"wait_ms": 60_000});
    assert_eq!(send("/v1/build/1/teardown", wait.clone()).await, idle);
    assert_eq!(send("/v1/build/1/teardown", wait).await, idle);

    // What takes longer, or fails, is reported.
    let pipe = slave.project.join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let mut slow = slave.setup_body(job(Some("cat pipe"), Some("exit 3")));
    slow["wait_ms"] = json!(1);
    let taken = json!({"status": "SUCCESS"});
    assert_eq!(send("/v1/build/2/setup", slow).await, taken);
    let write = tokio::task::spawn_blocking(move || std::fs::write(pipe, "go"));
    master.hears_state(SlaveState::SetupComplete, 2).await;
    write.await.unwrap().unwrap();
    let wait = json!({"wait_ms": 60_000});
    assert_eq!(send("/v1/build/2/teardown", wait).await, taken);
    master.hears_state(SlaveState::Idle, 2).await;
    let of_first = |heard: &Heard| matches!(heard, Heard::Report { build: Some(1), .. });
    assert!(!master.heard().iter().any(of_first), "told twice");
}
