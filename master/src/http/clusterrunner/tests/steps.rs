//! The steps of a build: delivered by slaves, listed and read.

use super::*;
use crate::store::results::{Block, StoredStep};
use clusterrunner_common::api::{StepEnd, StepKind};
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;

const BUILD_ID: BuildId = BuildId(1);
const STEPS: &str = "/v2/builds/1/steps";

/// After all that happens in these tests.
const AT_MS: u64 = 4_000_000_000_000;

/// A build whose set-up runs on slave 1.
async fn setting_up() -> Master {
    let master = Master::start();
    master.connect("a-life", None).await;
    master.documented("POST", "/v1/build", BUILD).await;
    let plan = Box::new(Plan {
        job_name: "J".to_owned(),
        command: "true".to_owned(),
        setup_build: Some("make".to_owned()),
        teardown_build: Some("make clean".to_owned()),
        atoms: vec!["a".to_owned()],
        ..Plan::default()
    });
    let build = BUILD_ID;
    let prepared = Command::ReportPrepared { build, plan };
    master.cluster.command(prepared).await.unwrap();
    master
}

fn report(kind: &str) -> Value {
    json!({
        "slave_id": 1, "session_id": "a-life", "kind": kind, "exit_code": 2, "began_at_ms": AT_MS, "ended_at_ms": AT_MS + 2_500,
        "output_bytes": 9,
    })
}

impl Master {
    async fn deliver(&self, path: &str, report: &Value, output: &[u8]) -> (u16, Value) {
        let field = "Content-Disposition: form-data; name=";
        let head = format!(
            "--b\r\n{field}\"__encoded_body__\"\r\n\r\n{report}\r\n--b\r\n{field}\"file\"; filename=\"f\"\r\n\r\n"
        );
        let body = [head.as_bytes(), output, b"\r\n--b--"];
        self.upload_to(path, body.concat()).await
    }
}

#[tokio::test]
async fn a_step_is_under_way_until_its_slave_brings_its_output() {
    let master = setting_up().await;
    let (status, body) = master.get(STEPS).await;
    assert_eq!(status, 200);
    let steps = body["steps"].as_array().unwrap();
    let [step] = &steps[..] else { panic!("{body}") };
    assert!(step["began_at"].is_number());
    let (_, slave) = master.get("/v2/slaves/1").await;
    let url = &slave["slave"]["url"];
    let expected = json!({
        "id": 1, "kind": "setup", "slave_id": 1, "slave_url": url, "state": "IN_PROGRESS", "exit_code": null,
        "trouble": null, "began_at": step["began_at"], "ended_at": null, "output_bytes": null,
    });
    assert_eq!(step, &expected);
    // No slave listens there.
    assert_eq!(master.get("/v2/builds/1/steps/1/console").await.0, 502);
    let (status, body) = master
        .get("/v2/builds/1/steps/1/console?offset_byte=0")
        .await;
    assert_eq!(status, 400, "{body}");

    // Twice: the answer to the first was lost.
    for _ in 0..2 {
        let delivered = master
            .deliver("/v1/build/1/steps", &report("setup"), b"one\ntwo\n!")
            .await;
        assert_eq!(delivered.0, 200, "{}", delivered.1);
    }
    let (_, body) = master.get("/v1/build/1/steps").await;
    let expected = json!([{
        "id": 1, "kind": "setup", "slave_id": 1, "slave_url": url, "state": "FAILED", "exit_code": 2, "trouble": null,
        "began_at": 4_000_000_000.0, "ended_at": 4_000_000_002.5, "output_bytes": 9,
    }]);
    assert_eq!(body["steps"], expected);
    let (status, page) = master
        .get("/v1/build/1/steps/1/console?max_lines=2&offset_line=1")
        .await;
    assert_eq!((status, &page["content"]), (200, &json!("two\n!")));
    assert_eq!(
        (&page["offset_line"], &page["total_num_lines"]),
        (&json!(1), &json!(3))
    );
    let path = "/v2/builds/1/steps/1/console?offset_byte=4";
    let (status, headers, text) = master.exchange("GET", path, &[], "").await;
    assert_eq!((status, text.as_slice()), (200, &b"two\n!"[..]));
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    // Farther than a file system lets anybody go.
    let path = "/v2/builds/1/steps/1/console?offset_byte=9000000000000000000";
    let (status, _, text) = master.exchange("GET", path, &[], "").await;
    assert_eq!((status, text.as_slice()), (200, &b""[..]));
}

#[tokio::test]
async fn what_the_atomizers_printed_is_a_step_of_the_master() {
    let master = setting_up().await;
    let step = StoredStep {
        kind: StepKind::Atomizer,
        slave: None,
        end: StepEnd {
            exit_code: None,
            trouble: Some("timed out after 5 s".to_owned()),
            began_at_ms: Timestamp(0),
            ended_at_ms: Timestamp(5_000),
            output_bytes: 3,
        },
    };
    let text = Block::Memory(b"hi\n".to_vec());
    master.results.keep_step(BUILD_ID, 0, &step, text).unwrap();
    let (_, body) = master.get(STEPS).await;
    let first = &body["steps"][0];
    assert_eq!(
        (&first["kind"], &first["slave_id"]),
        (&json!("atomizer"), &Value::Null)
    );
    assert_eq!(
        (&first["state"], &first["trouble"]),
        (&json!("FAILED"), &json!("timed out after 5 s"))
    );
    let (_, page) = master.get("/v2/builds/1/steps/0/console").await;
    assert_eq!(page["content"], "hi\n");
}

#[tokio::test]
async fn only_slaves_of_the_build_bring_steps() {
    let master = setting_up().await;
    let path = "/v1/build/1/steps";
    let with = |field: &str, value: Value| {
        let mut report = report("setup");
        report[field] = value;
        report
    };
    for (report, status, named) in [
        (with("slave_id", json!(9)), 404, "Connect again"),
        (with("session_id", json!("older")), 412, "expired"),
        (with("kind", json!("atomizer")), 400, "'kind' must be"),
        (with("kind", json!("party")), 400, "__encoded_body__"),
        (with("began_at_ms", json!("now")), 400, "__encoded_body__"),
    ] {
        let (found, answer) = master.deliver(path, &report, b"x").await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(found == status && error.contains(named), "{found} {answer}");
    }
    let (status, _) = master
        .deliver("/v1/build/7/steps", &report("setup"), b"x")
        .await;
    assert_eq!(status, 404);
    assert_eq!(master.documented("POST", path, "{}").await.0, 401);
    let (_, body) = master.get(STEPS).await;
    assert_eq!(body["steps"][0]["state"], "IN_PROGRESS", "nothing was kept");
    for missing in [
        "/v2/builds/1/steps/7/console",
        "/v2/builds/7/steps",
        "/v2/builds/7/steps/1/console",
    ] {
        assert_eq!(master.get(missing).await.0, 404, "{missing}");
    }
}
