//! Any request to any route: answered at once, never by a 5xx, and a refused one changes nothing.

use super::*;
use clusterrunner_common::ids::{BuildId, SlaveId};
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[path = "../../../../../common/testdata/wild_json.rs"]
mod wild_json;

const NAMES: &[&str] = &[
    "type",
    "url",
    "branch",
    "remote",
    "hash",
    "project_directory",
    "job_name",
    "config",
    "remote_files",
    "atoms_override",
    "status",
    "slave",
    "slaves",
    "shutdown_all_slaves",
    "state",
    "heartbeat",
    "session_id",
    "slave_id",
    "num_executors",
    "protocol",
    "build_id",
    "reason",
    "attempt",
    "metric_data",
    "executor_id",
    "",
];

const GOOD: &[&str] = &[
    r#"{"type": "git", "url": "https://h.invalid/p", "branch": "b", "job_name": "J", "remote_files": {"a": "https://h.invalid/a"}, "atoms_override": ["export A=1;"], "config": {"J": {"commands": ["true"], "atomizers": [{"A": "echo 1"}]}}}"#,
    r#"{"type": "directory", "project_directory": "/nonexistent"}"#,
    r#"{"status": "canceled"}"#,
    r#"{"slave": "h.invalid:1", "num_executors": 2, "session_id": "s", "protocol": 5, "slave_id": null}"#,
    r#"{"slave": {"heartbeat": true, "session_id": "this-life"}}"#,
    r#"{"slave": {"state": "IDLE", "build_id": 1, "session_id": "this-life", "reason": "no"}}"#,
    r#"{"slaves": [1]}"#,
    r#"{"shutdown_all_slaves": true}"#,
];

const METHODS: &[&str] = &[
    "GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "BREW",
];

const IDS: &[&str] = &[
    "0",
    "1",
    "2",
    "99",
    "4294967296",
    "18446744073709551616",
    "x",
    "-1",
    "%00",
];

/// Everything that can be seen.
async fn state(master: &Master) -> Vec<Value> {
    let mut state = Vec::new();
    for path in ["/v1/build", "/v1/slave", "/v1/queue", "/v1/build/1/subjob"] {
        state.push(master.get(path).await.1);
    }
    state
}

async fn send(
    master: &Master,
    method: &str,
    path: &str,
    content_type: Option<&str>,
    body: &[u8],
) -> (u16, Vec<u8>) {
    let parts = SignedParts {
        method,
        path_and_query: path,
        receiver: &master.session.0,
        content_digest: &content_digest(body),
    };
    let signature = parts.sign(&master.secret, Timestamp::now(), random_bytes());
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_LENGTH, body.len())
        .header(SIGNATURE_HEADER, signature);
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    let request = request.body(Body::from(body.to_vec())).unwrap();
    let response = master.routes.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    // A stream of events has no end.
    let content_type = response.headers().get(header::CONTENT_TYPE);
    if content_type.is_some_and(|content_type| content_type == "text/event-stream") {
        return (status, Vec::new());
    }
    let body = axum::body::to_bytes(response.into_body(), 1 << 26).await;
    (status, body.unwrap().to_vec())
}

fn is_well_refused(method: &str, status: u16, answer: &[u8]) -> Result<(), TestCaseError> {
    // The console of the atom that runs is its slave's, and nobody listens there.
    prop_assert!(
        status < 500 || status == 502,
        "{}: {:?}",
        status,
        String::from_utf8_lossy(answer)
    );
    if status >= 400 && method != "HEAD" {
        let answer: Value = serde_json::from_slice(answer)
            .map_err(|error| TestCaseError::fail(format!("{status}: {error}: {answer:?}")))?;
        let error = answer["error"].as_str().unwrap_or_default();
        prop_assert!(!error.is_empty(), "{}: {}", status, answer);
    }
    Ok(())
}

#[test]
fn whatever_is_sent_is_refused_in_words_or_understood() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let master = runtime.block_on(async {
        let master = Master::start();
        master.connect("this-life", None).await;
        master.documented("POST", "/v1/build", BUILD).await;
        let build = BuildId(1);
        let plan = Box::new(Plan {
            timeouts: clusterrunner_common::job::config::Timeouts::default(),
            commit: None,
            job_name: "J".to_owned(),
            command: "true".to_owned(),
            setup_build: None,
            teardown_build: None,
            max_executors: None,
            max_executors_per_slave: None,
            atoms: vec!["export A=1;".to_owned(), "export A=2;".to_owned()],
            ..Plan::default()
        });
        for command in [
            Command::ReportPrepared { build, plan },
            Command::ReportSetUp {
                slave: SlaveId(1),
                session: SessionId("this-life".to_owned()),
                build,
            },
        ] {
            master.cluster.command(command).await.unwrap();
        }
        master
    });
    let templates: Vec<String> = {
        let (_, routes) = routes::table().build();
        let mut templates: Vec<String> = routes.templates().map(str::to_owned).collect();
        templates.push("/nowhere/[id]".to_owned());
        templates
    };
    let cases = (
        prop::sample::select(METHODS),
        prop::sample::select(templates),
        prop::collection::vec(prop::sample::select(IDS), 3),
        wild_json::query(),
        prop::sample::select(vec![
            None,
            Some("application/json"),
            Some("multipart/form-data; boundary=b"),
            Some("multipart/form-data"),
            Some("\u{e9}"),
        ]),
        wild_json::body(GOOD, NAMES),
    );
    let config = Config {
        cases: 600,
        failure_persistence: None,
        ..Config::default()
    };
    let before = std::cell::RefCell::new(runtime.block_on(state(&master)));
    let outcome = TestRunner::new(config).run(
        &cases,
        |(method, template, ids, query, content_type, body)| {
            let mut path = wild_json::path(&template, &ids);
            if !query.is_empty() {
                path = format!("{path}?{query}");
            }
            let sent = send(&master, method, &path, content_type, &body);
            let (status, answer) = runtime.block_on(sent);
            is_well_refused(method, status, &answer)?;
            let after = runtime.block_on(state(&master));
            if status >= 400 || matches!(method, "GET" | "HEAD" | "OPTIONS") {
                prop_assert_eq!(&*before.borrow(), &after, "{} changed something", status);
            }
            before.replace(after);
            Ok(())
        },
    );
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test]
async fn a_name_that_is_there_twice_is_refused() {
    let master = Master::start();
    let twice = r#"{"type": "git", "type": "directory", "url": "https://h/p"}"#;
    let (status, answer) = master.documented("POST", "/v1/build", twice).await;
    assert_eq!(status, 400);
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains("'type' is there twice"), "{error}");
}
