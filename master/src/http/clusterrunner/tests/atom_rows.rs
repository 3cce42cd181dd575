//! All atoms of a build as the rows of one table.

use super::*;
use crate::http::clusterrunner::shapes::ATOM_COLUMNS;
use clusterrunner_common::api::RunningAtom;
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, ExecutorIndex, SlaveId, SubjobId};
use clusterrunner_common::process::command::Usage;
use clusterrunner_common::work::{AtomUsage, ProcessUsage};
use clusterrunner_core::builds::hand_out::HandOut;
use clusterrunner_core::builds::outcome::{AtomOutcome, AtomTrouble};
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;
use std::time::Duration;

const BUILD_ID: BuildId = BuildId(1);
const SLAVE: SlaveId = SlaveId(1);
const ROWS: &str = "/v2/builds/1/atoms";

impl Master {
    /// A build of these atoms, of which slave 1 runs the first ones.
    async fn working_on(&self, atoms: Vec<String>) {
        self.connect("a-life", None).await;
        self.documented("POST", "/v1/build", BUILD).await;
        let plan = Box::new(Plan {
            job_name: "J".to_owned(),
            command: "true".to_owned(),
            expected_ms: vec![1500; atoms.len()],
            atoms,
            ..Plan::default()
        });
        let (slave, build) = (SLAVE, BUILD_ID);
        let session = SessionId("a-life".to_owned());
        for command in [
            Command::ReportPrepared { build, plan },
            Command::ReportSetUp {
                slave,
                session,
                build,
            },
        ] {
            self.cluster.command(command).await.unwrap();
        }
    }

    async fn finish(&self, subjob: u32, outcome: AtomOutcome) {
        let finished = Command::ReportFinished {
            hand_out: HandOut {
                slave: SLAVE,
                build: BUILD_ID,
                subjob: SubjobId(subjob),
                attempt: Attempt(1),
            },
            executor: Some(ExecutorIndex(1)),
            outcomes: vec![outcome],
        };
        self.cluster.command(finished).await.unwrap();
    }

    /// The rows of an answer as objects.
    async fn rows(&self, path: &str) -> (u64, Vec<Value>) {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["columns"], json!(ATOM_COLUMNS));
        assert!(body["child_routes"].is_object());
        let row = |row: &Value| {
            let values = row.as_array().unwrap().clone();
            assert_eq!(values.len(), ATOM_COLUMNS.len());
            let fields = ATOM_COLUMNS.iter().map(|name| (*name).to_owned());
            Value::Object(fields.zip(values).collect())
        };
        let rows = body["rows"].as_array().unwrap().iter().map(row).collect();
        (body["total"].as_u64().unwrap(), rows)
    }
}

fn outcome(exit_code: i32) -> AtomOutcome {
    AtomOutcome {
        exit_code,
        duration_ms: 2500,
        trouble: None,
        started_at: Some(Timestamp(1_700_000_000_000)),
        usage: Some(AtomUsage {
            in_vain_ms: 0,
            last_in_vain: None,
            worker: None,
            output_bytes: 7,
            processes: ProcessUsage::of(Usage {
                max_memory_kib: 2048,
                cpu: Duration::from_millis(1250),
            }),
        }),
    }
}

fn numbered(number: usize) -> Vec<String> {
    let atoms = 0..number;
    atoms.map(|n| format!("export N=\"{n}\";")).collect()
}

#[tokio::test]
async fn a_row_says_all_that_is_known_of_an_atom() {
    let master = Master::start();
    let mut atoms = numbered(3);
    atoms.push("echo $(date)".to_owned());
    master.working_on(atoms).await;
    master.finish(0, outcome(-9)).await;
    let running = RunningAtom {
        build_id: BUILD_ID,
        subjob_id: SubjobId(1),
        attempt: Attempt(1),
        atom_id: AtomId(0),
        executor_id: ExecutorIndex(0),
        started_at_ms: Timestamp(1_700_000_003_000),
    };
    master.running.set(SLAVE, vec![running]);
    let (_, slave) = master.get("/v2/slaves/1").await;
    let url = &slave["slave"]["url"];
    let (total, rows) = master.rows(ROWS).await;
    assert_eq!((total, rows.len()), (4, 4));
    let killed = json!({
        "subjob_id": 0, "atom_id": 0, "name": "N", "value": "0", "state": "COMPLETED", "exit_code": -9, "signal": 9,
        "trouble": null, "attempt": 1, "slave_id": 1, "slave_url": url, "executor_id": 1,
        "started_at": 1_700_000_000.0, "actual_time": 2.5, "expected_time": 1.5, "output_bytes": 7,
        "max_memory_bytes": 2_097_152, "cpu_seconds": 1.25, "is_flaky": false, "failed_attempts": [],
        "fails_as_flaky": false, "worker": null, "batch_in_vain": null,
    });
    assert_eq!(rows[0], killed);
    let (_, atom) = master.get("/v2/builds/1/subjobs/0/atoms/0").await;
    for (name, value) in atom["atom"].as_object().unwrap() {
        match ["id", "command_string"].contains(&name.as_str()) {
            true => {}
            false => assert_eq!(&rows[0][name], value, "{name}"),
        }
    }
    let runs = json!({
        "subjob_id": 1, "atom_id": 0, "name": "N", "value": "1", "state": "IN_PROGRESS", "exit_code": null,
        "signal": null, "trouble": null, "attempt": 1, "slave_id": 1, "slave_url": url, "executor_id": 0,
        "started_at": 1_700_000_003.0, "actual_time": null, "expected_time": 1.5, "output_bytes": null,
        "max_memory_bytes": null, "cpu_seconds": null, "is_flaky": false, "failed_attempts": [],
        "fails_as_flaky": false, "worker": null, "batch_in_vain": null,
    });
    assert_eq!(rows[1], runs);
    let waits = json!({
        "subjob_id": 3, "atom_id": 0, "name": null, "value": "echo $(date)", "state": "NOT_STARTED",
        "exit_code": null, "signal": null, "trouble": null, "attempt": null, "slave_id": null, "slave_url": null,
        "executor_id": null, "started_at": null, "actual_time": null, "expected_time": 1.5, "output_bytes": null,
        "max_memory_bytes": null, "cpu_seconds": null, "is_flaky": false, "failed_attempts": [],
        "fails_as_flaky": false, "worker": null, "batch_in_vain": null,
    });
    assert_eq!(rows[3], waits);
    let running = master.rows(&format!("{ROWS}?state=in_progress")).await;
    assert_eq!(running, (1, vec![runs]));
    let (status, _) = master.get(&format!("{ROWS}?state=failed")).await;
    assert_eq!(status, 400);
    assert_eq!(master.rows("/v1/build/1/atoms").await, (total, rows));
}

#[tokio::test]
async fn rows_stay_when_their_build_is_archived() {
    let master = Master::start();
    master.working_on(numbered(2)).await;
    master.finish(0, outcome(3)).await;
    let trouble = Some(AtomTrouble::TimedOut {
        after_s: 2,
        hit: None,
    });
    let timed_out = AtomOutcome {
        trouble,
        ..outcome(124)
    };
    master.finish(1, timed_out).await;
    let live = master.rows(ROWS).await;
    let (_, atom) = master.get("/v1/build/1/subjob/1/atom/0").await;
    assert_eq!(atom["atom"]["timed_out_after"], 2);
    assert_eq!(live.1[1]["trouble"], "timed out after 2 s");
    assert_eq!(
        (&live.1[0]["exit_code"], &live.1[0]["signal"]),
        (&json!(3), &Value::Null)
    );
    let (slave, build) = (SLAVE, BUILD_ID);
    for command in [
        Command::ReportArchived {
            build,
            template: None,
        },
        Command::ReportTornDown { slave, build },
    ] {
        master.cluster.command(command).await.unwrap();
    }
    // The coordinator does the same from time to time, and may be the first.
    let found = master
        .cluster
        .read(|cluster| cluster.build(BUILD_ID).cloned());
    if let Some(found) = found.await.unwrap() {
        master.archived.keep(&[found]).unwrap();
        let kept = Command::ReportKept {
            builds: vec![build],
        };
        master.cluster.command(kept).await.unwrap();
    }
    let is_ended = master.cluster.read(|cluster| cluster.is_ended(BUILD_ID));
    assert!(is_ended.await.unwrap());
    assert_eq!(master.rows(ROWS).await, live);
}

#[tokio::test]
async fn rows_come_in_pages() {
    const ATOMS: usize = 12_000;
    let master = Master::start();
    assert_eq!(master.get(ROWS).await.0, 404);
    master.documented("POST", "/v1/build", BUILD).await;
    assert_eq!(master.rows(ROWS).await, (0, vec![]), "nothing is known yet");
    let master = Master::start();
    master.working_on(numbered(ATOMS)).await;
    for (query, expected) in [
        ("", 0..1_000),
        ("?limit=20000", 0..10_000),
        ("?offset=10000&limit=10000", 10_000..ATOMS),
        ("?offset=5&limit=2", 5..7),
        ("?offset=12000", ATOMS..ATOMS),
    ] {
        let (total, rows) = master.rows(&format!("{ROWS}{query}")).await;
        assert_eq!(total, ATOMS as u64);
        let found = rows.iter().map(|row| row["subjob_id"].as_u64().unwrap());
        let expected = expected.map(|id| id as u64);
        assert_eq!(
            found.collect::<Vec<_>>(),
            expected.collect::<Vec<_>>(),
            "{query}"
        );
    }
    let (status, body) = master.get(&format!("{ROWS}?limit=all")).await;
    let error = "'limit' must be a whole number, not 'all'.";
    assert_eq!((status, &body["error"]), (400, &json!(error)));
}
