//! Any request to any route of a slave: answered at once, never by a 5xx, and a refused one changes nothing.

use crate::fake_master::{FakeMaster, secret};
use crate::test_slave::TestSlave;
use clusterrunner_common::auth::signature::{SIGNATURE_HEADER, Signed, content_digest};
use clusterrunner_common::clock::{Timestamp, random_bytes};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use std::cell::Cell;

#[path = "../../../common/testdata/wild_json.rs"]
mod wild_json;

const NAMES: &[&str] = &[
    "type",
    "url",
    "branch",
    "project_directory",
    "project_type_params",
    "build_executor_start_index",
    "commit",
    "job",
    "name",
    "setup_build",
    "teardown_build",
    "atomic_commands",
    "attempt",
    "command",
    "subjobs",
    "subjob_id",
    "atoms",
    "master",
    "incarnation",
    "session_id",
    "position",
    "",
];

const GOOD: &[&str] = &[
    r#"{"project_type_params": {"type": "directory", "project_directory": "/nonexistent"}, "build_executor_start_index": 0, "job": {"name": "J", "setup_build": "true", "teardown_build": "true"}, "master": {"incarnation": "first", "session_id": "life-1", "position": 1}}"#,
    r#"{"project_type_params": {"type": "git", "url": "https://h.invalid/p"}, "build_executor_start_index": 0, "job": {"name": "J"}, "master": {"incarnation": "first", "session_id": "life-1", "position": 1}}"#,
    r#"{"atomic_commands": ["true", "true"], "attempt": 1, "master": {"incarnation": "first", "session_id": "life-1", "position": 1}}"#,
    r#"{"command": "true", "subjobs": [{"subjob_id": 0, "attempt": 1, "atoms": ["", "x"]}], "master": {"incarnation": "first", "session_id": "life-1", "position": 1}}"#,
];

/// All routes in version 1 but that which ends the slave; version 2 leads to the same handlers.
const TEMPLATES: &[&str] = &[
    "/",
    "/v1",
    "/v1/version",
    "/v1/build",
    "/v1/build/[id]",
    "/v1/build/[id]/setup",
    "/v1/build/[id]/teardown",
    "/v1/build/[id]/subjob",
    "/v1/build/[id]/subjobs",
    "/v1/build/[id]/subjob/[id]",
    "/v1/build/[id]/subjob/[id]/atom/[id]/console",
    "/builds/[id]/subjobs/[id]",
    "/v1/executor",
    "/v1/executor/[id]",
    "/v1/eventlog",
    "/nowhere/[id]",
];

const METHODS: &[&str] = &["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "BREW"];

const IDS: &[&str] = &[
    "0",
    "1",
    "2",
    "4294967296",
    "18446744073709551616",
    "x",
    "-1",
    "%00",
];

async fn send(
    http: &reqwest::Client,
    (slave, receiver): (&TestSlave, &str),
    method: &str,
    path: &str,
    body: Vec<u8>,
) -> (u16, Vec<u8>) {
    let parts = Signed {
        method,
        path_and_query: path,
        receiver,
        content_digest: &content_digest(&body),
    };
    let signature = parts.sign(&secret(), Timestamp::now(), random_bytes());
    let request = http
        .request(method.parse().unwrap(), slave.url(path))
        .header(SIGNATURE_HEADER, signature)
        .body(body);
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.bytes().await.unwrap().to_vec())
}

#[test]
fn whatever_is_sent_is_refused_in_words_or_understood() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (_master, slave) = runtime.block_on(async {
        let master = FakeMaster::start().await;
        let slave = TestSlave::start(&master, 1).await;
        (master, slave)
    });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let cases = (
        prop::sample::select(METHODS),
        prop::sample::select(TEMPLATES),
        prop::collection::vec(prop::sample::select(IDS), 3),
        wild_json::query(),
        // Larger bodies are refused before they are read, which a client may see as a broken connection.
        wild_json::body(GOOD, NAMES).prop_filter("too large", |body| body.len() <= 1 << 20),
    );
    let config = Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    };
    let was_taken = Cell::new(false);
    let before = runtime.block_on(slave.status());
    let own = before.slave.session_id.0.clone();
    let outcome = TestRunner::new(config).run(&cases, |(method, template, ids, query, body)| {
        let mut path = wild_json::path(template, &ids);
        if !query.is_empty() {
            path = format!("{path}?{query}");
        }
        let (status, answer) = runtime.block_on(send(&http, (&slave, &own), method, &path, body));
        prop_assert!(
            status < 500,
            "{}: {:?}",
            status,
            String::from_utf8_lossy(&answer)
        );
        if status >= 400 && method != "HEAD" {
            let answer: Value = serde_json::from_slice(&answer)
                .map_err(|error| TestCaseError::fail(format!("{status}: {error}: {answer:?}")))?;
            let error = answer["error"].as_str().unwrap_or_default();
            prop_assert!(!error.is_empty(), "{}: {}", status, answer);
        }
        // What was taken goes on by itself, and changes what there is to see.
        was_taken.set(was_taken.get() || (method == "POST" && status < 400));
        if !was_taken.get() {
            let after = runtime.block_on(slave.status());
            prop_assert_eq!(&before, &after);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    runtime.block_on(slave.end());
}
