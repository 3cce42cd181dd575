//! Draining, and what is shown of slaves that take no work.

use super::{BUILD, Master};
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test]
async fn a_slave_is_drained_and_undrained_in_both_versions() {
    let master = Master::start();
    master.connect("a", None).await;
    for (drain, undrain) in [
        ("/v1/slave/1/drain", "/v1/slave/1/undrain"),
        ("/v2/slaves/1/drain", "/v2/slaves/1/undrain"),
        ("/slaves/1/drain", "/slaves/1/undrain"),
    ] {
        for (path, is_drained) in [(drain, true), (drain, true), (undrain, false)] {
            let (status, answer) = master.signed("POST", path, &json!({})).await;
            assert_eq!(status, 200, "{path}: {answer}");
            assert_eq!(answer["status"], "SUCCESS");
            assert_eq!(answer["slave"]["is_drained"], is_drained, "{path}");
            assert_eq!(answer["is_released"], false);
            let (_, slave) = master.get("/v1/slave/1").await;
            assert_eq!(slave["slave"]["is_drained"], is_drained);
            assert_eq!(slave["slave"]["is_quarantined"], false);
            assert_eq!(slave["slave"]["quarantine_reason"], Value::Null);
        }
    }
    let (_, slave) = master.get("/v1/slave/1").await;
    let children = &slave["child_routes"];
    assert_eq!(children["drain"], "/v1/slave/[slave_id]/drain");
    assert_eq!(children["undrain"], "/v1/slave/[slave_id]/undrain");
    for path in ["/v1/slave/9/drain", "/v1/slave/9/undrain"] {
        let answer = master.signed("POST", path, &json!({})).await;
        let error = "Requested slave (slave_id=9) does not exist.";
        let unknown = json!({"error": error, "code": "unknown_slave"});
        assert_eq!(answer, (404, unknown));
    }
}

/// A build of one atom, prepared.
async fn build(master: &Master, plan: Plan) {
    master.documented("POST", "/v1/build", BUILD).await;
    let plan = Plan {
        job_name: "unit".to_owned(),
        command: "run".to_owned(),
        atoms: vec!["export T=1;".to_owned()],
        ..plan
    };
    let prepared = Command::ReportPrepared {
        build: BuildId(1),
        plan: Box::new(plan),
    };
    master.cluster.command(prepared).await.unwrap();
}

async fn details(master: &Master) -> Value {
    master.get("/v1/build/1").await.1["build"]["details"].clone()
}

#[tokio::test]
async fn a_waiting_build_says_what_it_asks_of_slaves() {
    let labels = || ["big", "gpu"].map(str::to_owned).into();
    let image = || Some("debian:13".to_owned());
    let containers = "runs containers, which the job's image needs";
    for (labels, image, needs) in [
        (labels(), None, "has the labels big, gpu"),
        (BTreeSet::new(), image(), containers),
        (
            labels(),
            image(),
            &format!("has the labels big, gpu and {containers}"),
        ),
    ] {
        let master = Master::start();
        master.connect("a", None).await;
        let plan = Plan {
            labels,
            image,
            ..Plan::default()
        };
        build(&master, plan).await;
        let expected = format!(
            "0 of 1 subjobs are complete (0.0%). It waits: no slave that takes work {needs}."
        );
        assert_eq!(details(&master).await, expected);
    }
}

#[tokio::test]
async fn a_build_says_why_it_waits_and_what_went_wrong_beside_it() {
    let master = Master::start();
    build(&master, Plan::default()).await;
    let details = async || details(&master).await;
    let done = "0 of 1 subjobs are complete (0.0%).";
    master.connect("a", None).await;
    assert_eq!(details().await, done);
    let drain = "/v1/slave/1/drain";
    master.signed("POST", drain, &json!({})).await;
    let waits = "It waits: no slave takes work: 1 drained.";
    assert_eq!(details().await, format!("{done} {waits}"));

    let idle = json!({"slave": {
        "state": "IDLE", "session_id": "a", "build_id": 1, "reason": "teardown_build exited with 3",
    }});
    for _ in 0..2 {
        assert_eq!(master.signed("PUT", "/v1/slave/1", &idle).await.0, 200);
    }
    let (_, build) = master.get("/v1/build/1").await;
    assert_eq!(
        build["build"]["warnings"],
        json!(["slave 127.0.0.1:1: teardown_build exited with 3"])
    );
}
