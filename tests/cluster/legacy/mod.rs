//! Peers of the original: programs that do on the wire what its slave, master and client do, in whole
//! builds with ours. Where the setting is not on, none of them is let in.

mod peers;
mod slaves;

use crate::farm::{Extra, Farm};
use crate::raw::Raw;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::{BuildResult, BuildStatus, BuildView};
use peers::{Peer, ask, python};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Output;

const ACCEPTING: Extra<'_> = Extra {
    general: "accept_legacy_peers = True",
    // A slave of the original that is given up ends: on a busy machine it needs its time.
    master: "slave_lost_after = 60",
    slave: "",
};

/// How many atoms [`project`] has, and the one that fails.
const ATOMS: u32 = 24;
const FAILING: u32 = 5;

/// A project whose atom N leaves a line in `log` when it runs. Its job file is JSON, which is YAML.
fn project(log: &Path, pause: &str) -> Repository {
    let repository = Repository::empty();
    let job = json!({"Job": {
        "setup_build": ["echo setup > set_up"],
        "commands": [
            "test -f $PROJECT_DIR/set_up",
            format!("echo \"$N\" >> '{}'", log.display()),
            format!("sleep {pause}"),
            "echo \"output of $N\"",
            format!("test \"$N\" != {FAILING}"),
        ],
        "atomizers": [{"N": format!("seq 1 {ATOMS}")}],
    }});
    repository.commit(&[("clusterrunner.yaml", &job.to_string())]);
    repository
}

/// How often each atom ran.
fn runs(log: &Path) -> BTreeMap<u32, usize> {
    let mut runs = BTreeMap::new();
    for line in fs::read_to_string(log).unwrap_or_default().lines() {
        *runs.entry(line.parse().unwrap()).or_default() += 1;
    }
    runs
}

/// Every atom has one result, the right one, with its output.
async fn check_results(farm: &Farm, build: &BuildView) {
    assert_eq!(build.status, BuildStatus::Finished, "{build:?}");
    assert_eq!(build.result, Some(BuildResult::Failure));
    assert_eq!(build.num_atoms_completed, u64::from(ATOMS));
    assert_eq!(build.num_atoms_failed, 1);
    let atoms = farm.atoms(build.id).await;
    for (number, atom) in (1..).zip(&atoms) {
        assert_eq!(atom.exit_code, Some(i32::from(number == FAILING)));
        let expected = format!("output of {number}\n");
        assert_eq!(farm.console(build.id, atom).await, expected);
    }
    assert_eq!(atoms.len(), ATOMS as usize);
}

fn check_ran_once(log: &Path) {
    let once: BTreeMap<u32, usize> = (1..=ATOMS).map(|atom| (atom, 1)).collect();
    assert_eq!(runs(log), once);
}

#[tokio::test]
async fn a_master_of_the_original_drives_our_slave_through_builds() {
    let mut farm = Farm::with(&ACCEPTING);
    let repository = project(&farm.path("runs"), "0");
    let commit = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&[
        "update-ref",
        &format!("refs/clusterrunner/{commit}"),
        &commit,
    ]);
    let atoms: Vec<String> = (1..=5).map(|n| format!("export N=\"{n}\";")).collect();
    let of_git = json!({
        "type": "git", "url": repository.path(), "branch": format!("refs/clusterrunner/{commit}"),
        "build_project_directory": farm.path("link"),
    });
    let inline = |setup: &str| {
        json!({
            "type": "directory", "project_directory": repository.path(), "build_project_directory": "/x",
            "config": {"commands": ["true"], "atomizers": [{"N": "seq 1 5"}], "setup_build": [setup]},
        })
    };
    let test = "test -f $PROJECT_DIR/set_up && test $N != 3";
    let builds = json!([
        {"params": of_git, "command": test, "atoms": atoms},
        {"params": inline("false"), "command": "true", "atoms": atoms},
        {"params": inline("touch made"), "command": "test -f made", "atoms": atoms},
    ]);
    let (address, builds) = (farm.master_address(), builds.to_string());
    let master = python(&farm, "master.py", &[&address, farm.secret_text(), &builds]);
    let slave = farm.start_slave(2);
    let output = master.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(farm.end_of_slave(slave).await.code(), Some(0));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    let codes = |failing: Option<u32>| -> Value {
        let of = |n: u32| {
            (
                format!("artifact_{n}_0"),
                json!(i32::from(failing == Some(n))),
            )
        };
        Value::Object((0..5).map(of).collect())
    };
    assert_eq!(
        done[0],
        json!({"set_up": "SETUP_COMPLETE", "codes": codes(Some(2))})
    );
    assert_eq!(done[1], json!({"set_up": "SETUP_FAILED", "codes": {}}));
    assert_eq!(
        done[2],
        json!({"set_up": "SETUP_COMPLETE", "codes": codes(None)})
    );
    let said = farm.output("slave 0");
    assert!(
        said.contains("WARN") && said.contains("accept_legacy_peers is on"),
        "{said}"
    );
}

#[tokio::test]
async fn our_slave_finds_out_that_ours_took_the_place_of_an_old_master() {
    let mut farm = Farm::with(&ACCEPTING);
    let log = farm.path("runs");
    let repository = project(&log, "0");
    let address = farm.master_address();
    let arguments = [address.as_str(), farm.secret_text(), "[]"];
    let mut master = python(&farm, "master.py", &arguments);
    farm.start_slave(2);
    wait_for("the slave is in contact", async || {
        let said = farm.output("slave 0");
        said.contains("one of the original").then_some(())
    })
    .await;
    master.kill().unwrap();
    master.wait().unwrap();
    farm.start_master().await;
    // It has the id there that the slave had, and is none of ours.
    let taken = json!({"slave": "127.0.0.1:9", "num_executors": 1});
    let taken = Raw::json("POST", &address, "/v1/slave", &taken);
    let _answer = taken.send(&Vec::new()).await;
    wait_for("the slave has connected to ours", async || {
        let slaves = farm.client().slaves().await.unwrap();
        let own = farm.slave_address(0);
        slaves
            .iter()
            .any(|slave| slave.url == own && slave.is_alive)
            .then_some(())
    })
    .await;
    let view = farm.run(&repository.request()).await;
    check_results(&farm, &view).await;
}

#[tokio::test]
async fn without_the_setting_no_peer_of_the_original_is_let_in() {
    let farm = Farm::start(&[1]).await;
    let mut slave = Peer::slave(&farm, 0, 2);
    assert_eq!(slave.end().await, Some(3));
    let said = slave.said();
    assert!(said.contains("connect was refused: 401"), "{said}");
    let output = ask(&farm, &["shutdown"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("refused: 401"), "{said}");
    check_orders_are_refused(&farm).await;
}

#[tokio::test]
async fn a_client_of_the_original_names_the_slaves_that_are_to_end() {
    let mut farm = Farm::with(&ACCEPTING);
    farm.start_all(&[1, 1]).await;
    let slaves = farm.wait_for_slaves(2).await;
    let address = farm.slave_address(0);
    let meant = slaves.iter().find(|slave| slave.url == address).unwrap();
    let output = ask(&farm, &["shutdown", &meant.id.to_string()]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(farm.end_of_slave(0).await.code(), Some(0));
    farm.wait_for_slaves(1).await;
}

/// The orders of our client that a master of the original took, and what the client said.
async fn order_original(farm: &Farm, commands: &[&[&str]]) -> (Vec<String>, Vec<Output>) {
    let address = farm.master_address();
    let (host, port) = address.rsplit_once(':').unwrap();
    let arguments = [host, port, farm.secret_text()];
    let mut master = python(farm, "original.py", &arguments);
    let mut lines = BufReader::new(master.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "listening");
    let run = |command: &&[&str]| {
        let mut client = farm.command();
        client.args(*command).args(["--master-url", &address]);
        client.output().unwrap()
    };
    let outputs = commands.iter().map(run).collect();
    master.kill().unwrap();
    master.wait().unwrap();
    (lines.map(Result::unwrap).collect(), outputs)
}

const ORDERS: [&[&str]; 3] = [
    &["build", "git", "--url", "https://h/a.git"],
    &["cancel", "2"],
    &["shutdown", "--slave-id", "7"],
];

#[tokio::test]
async fn our_client_orders_a_master_of_the_original_where_that_is_allowed() {
    let farm = Farm::with(&ACCEPTING);
    let (taken, outputs) = order_original(&farm, &ORDERS).await;
    for output in &outputs {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    assert_eq!(
        taken,
        [
            r#"POST /v1/build {"type": "git", "url": "https://h/a.git"}"#,
            r#"PUT /v1/build/2 {"status": "canceled"}"#,
            r#"POST /v1/slave/shutdown {"slaves": [7]}"#,
        ]
    );
    let said = String::from_utf8_lossy(&outputs[0].stderr);
    assert!(said.contains("signed by its body alone"), "{said}");
    let results = farm.path("build_results/latest/artifact_0_0/clusterrunner_exit_code");
    assert_eq!(fs::read_to_string(results).unwrap(), "0\n");
}

#[tokio::test]
async fn our_client_says_that_a_master_is_one_of_the_original() {
    let farm = Farm::new();
    let (taken, outputs) = order_original(&farm, &ORDERS).await;
    assert_eq!(taken, [""; 0]);
    for output in outputs {
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("is one of the original"), "{said}");
        assert!(said.contains("accept_legacy_peers = True"), "{said}");
    }
}

/// What a master of the original says to a slave, made by somebody who saw one of its orders.
async fn check_orders_are_refused(farm: &Farm) {
    let slave = farm.slave_address(0);
    for (path, body) in [
        (
            "/v1/build/1/setup",
            json!({"project_type_params": {}, "build_executor_start_index": 0}),
        ),
        ("/v1/build/1/subjob/0", json!({"atomic_commands": ["true"]})),
        ("/v1/build/1/teardown", json!({})),
        ("/v1/kill", json!({})),
    ] {
        let call = Raw::json("POST", &slave, path, &body);
        let answer = call.send(&call.body_digest(&farm.secret())).await;
        assert_eq!(answer.status, 401, "{path}: {}", answer.error());
    }
    farm.wait_for_slaves(1).await;
}

#[tokio::test]
async fn with_the_setting_our_own_peers_are_as_safe_as_before() {
    let mut farm = Farm::with(&ACCEPTING);
    farm.start_all(&[1]).await;
    // The slave's master is one of ours, so only that one's orders count.
    check_orders_are_refused(&farm).await;
    let (master, slave) = (farm.master_address(), farm.slave_address(0));
    let id = farm.wait_for_slaves(1).await.remove(0).id;
    let connect = json!({"slave": slave, "num_executors": 1, "session_id": "s"});
    let connect = Raw::json("POST", &master, "/v1/slave", &connect);
    let answer = connect.send(&Vec::new()).await;
    assert_eq!(answer.status, 409, "{}", answer.error());
    let pretended = json!({"slave": "127.0.0.1:9", "num_executors": 1, "protocol": 5});
    let pretended = Raw::json("POST", &master, "/v1/slave", &pretended);
    assert_eq!(pretended.send(&Vec::new()).await.status, 401);
    let heartbeat = json!({"slave": {"heartbeat": true}});
    let goodbye = json!({"slave": {"state": "DISCONNECTED"}});
    for call in [
        Raw::json(
            "POST",
            &master,
            &format!("/v1/slave/{id}/heartbeat"),
            &heartbeat,
        ),
        Raw::json("PUT", &master, &format!("/v1/slave/{id}"), &goodbye),
    ] {
        let answer = call.send(&call.body_digest(&farm.secret())).await;
        assert_eq!(answer.status, 401, "{}", answer.error());
        assert_eq!(call.send(&Vec::new()).await.status, 401);
    }
    farm.wait_for_slaves(1).await;
}
