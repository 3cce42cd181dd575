//! What a farm tells those who operate it.

use crate::farm::Farm;
use crate::machine::Machine;
use crate::raw::Raw;
use crate::repository::Repository;
use crate::wait::{PATIENCE, is_true_within, wait_for};
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// The tags of an event log's file, in order.
fn tags(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let event = |line| serde_json::from_str::<Value>(line).unwrap();
    let tag = |line| event(line)["__tag__"].as_str().unwrap().to_owned();
    text.lines().map(tag).collect()
}

#[tokio::test]
async fn events_are_written_and_can_be_asked_for() {
    let repository = Repository::empty();
    let job = "Job:\n  commands: ['exit $((N % 2))']\n  atomizers: [{N: seq 0 3}]\n";
    repository.commit(&[("clusterrunner.yaml", job)]);
    let mut farm = Farm::start(&[1, 1]).await;
    let build = farm.submit(&repository.request()).await;
    farm.end_of(build).await;
    farm.wait_for_rest().await;

    let log = |name: &str| farm.path("base/log").join(name);
    let master = tags(&log("eventlog_master.log"));
    let count = |tag: &str| master.iter().filter(|found| *found == tag).count();
    assert_eq!(master[0], "SERVICE_STARTED");
    assert_eq!(count("BUILD_PREPARE_FINISH"), 1, "{master:?}");
    assert_eq!(count("MASTER_TRIGGERED_SUBJOB"), 4, "{master:?}");
    assert_eq!(count("MASTER_RECEIVED_RESULT"), 4, "{master:?}");
    assert_eq!(count("BUILD_FINISHED"), 1, "{master:?}");

    // Each slave has a file of its own.
    let mut exit_codes = Vec::new();
    for slave in [0, 1] {
        let port = farm.slave_port(slave);
        assert!(log(&format!("clusterrunner_slave_{port}.log")).exists());
        let written = tags(&log(&format!("eventlog_slave_{port}.log")));
        assert_eq!(written[0], "SERVICE_STARTED");
        let server = farm.slave_address(slave);
        let read = Raw::json("GET", &server, "/v1/eventlog?since_id=1", &Value::Null);
        let answer = read.send(&Vec::new()).await;
        let events = answer.body["events"].as_array().unwrap();
        assert_eq!(events.len() + 1, written.len());
        for event in events.iter().filter(|e| e["__tag__"] == "ATOM_FINISH") {
            assert_eq!(event["job_name"], "Job");
            exit_codes.push(event["exit_code"].as_i64().unwrap());
        }
    }
    exit_codes.sort_unstable();
    assert_eq!(exit_codes, [0, 0, 1, 1]);

    // A slave that is stopped is nothing to worry about.
    farm.stop_slave(0);
    wait_for("the master has noticed", async || {
        let said = farm.output("master");
        said.contains("lost: it was stopped").then_some(())
    })
    .await;
    assert!(!farm.output("master").contains("WARN"));
}

#[test]
fn events_go_to_standard_output_where_that_is_wanted() {
    let machine = Machine::new("");
    let mut master = machine.start(&["master", "--eventlog-file", "STDOUT"]);
    let mut lines = BufReader::new(master.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["__tag__"], "SERVICE_STARTED");
    assert!(!machine.path("base/log/eventlog_master.log").exists());
    machine.run_to(0, &["stop"]);
    let ended = is_true_within(PATIENCE, || master.try_wait().unwrap().is_some());
    assert!(ended);
}

#[test]
fn slips_in_the_environment_and_wrong_settings_are_told() {
    let machine = Machine::new("Job:\n  commands: ['true']\n  atomizers: [{N: echo 1}]\n");
    let mut command = machine.command(&["status", "--patience", "0"]);
    let output = command.env("CLUSTERRUNNER_PROT", "1").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("did you mean CLUSTERRUNNER_PORT?"), "{text}");
    for daemon in ["master", "slave"] {
        let mut command = machine.command(&[daemon]);
        let output = command
            .env("CLUSTERRUNNER_BIND_ADDRESS", "here")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{daemon}: {text}");
        assert!(text.contains("bind_address"), "{text}");
    }
}
