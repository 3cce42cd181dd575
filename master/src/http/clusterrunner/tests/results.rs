//! Many results in one request.

use super::*;
use clusterrunner_common::auth::signature::CONTENT_DIGEST_HEADER;
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SlaveId, SubjobId};
use clusterrunner_common::results::block::{AtomResult, BlockWriter, Console};
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;

pub(super) const BUILD_ID: BuildId = BuildId(1);

/// A build of four subjobs, of which slave 1 runs the first two.
pub(super) async fn working() -> Master {
    let master = Master::start();
    master.connect("a-life", None).await;
    master.documented("POST", "/v1/build", BUILD).await;
    let plan = Box::new(Plan {
        job_name: "J".to_owned(),
        command: "true".to_owned(),
        atoms: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
        ..Plan::default()
    });
    let build = BUILD_ID;
    for command in [
        Command::ReportPrepared { build, plan },
        Command::ReportSetUp {
            slave: SlaveId(1),
            session: SessionId("a-life".to_owned()),
            build,
        },
    ] {
        master.cluster.command(command).await.unwrap();
    }
    master
}

fn block(subjobs: &[u32]) -> Vec<u8> {
    let mut block = BlockWriter::new(Vec::new(), CancellationToken::new());
    for subjob in subjobs {
        block.begin(SubjobId(*subjob), Attempt(1));
        let result = AtomResult {
            command: "true",
            exit_code: 0,
            seconds: 0.0,
            ended_at: 0,
            console: Console::Memory(b"said\n"),
            artifacts: None,
        };
        block.add(AtomId(0), &result).unwrap();
    }
    block.finish().unwrap().0
}

pub(super) fn report(results: &[(u32, u32)]) -> Value {
    let entry = |(subjob, attempt): &(u32, u32)| json!({"subjob_id": subjob, "attempt": attempt});
    let results: Vec<Value> = results.iter().map(entry).collect();
    json!({
        "slave_id": 1, "session_id": "a-life", "incarnation": "first", "results": results,
    })
}

pub(super) fn body(report: &str, file: &[u8]) -> Vec<u8> {
    let field = "Content-Disposition: form-data; name=";
    [
        format!("--b\r\n{field}\"__encoded_body__\"\r\n\r\n{report}\r\n").as_bytes(),
        format!("--b\r\n{field}\"file\"; filename=\"f\"\r\n\r\n").as_bytes(),
        file,
        b"\r\n--b--",
    ]
    .concat()
}

impl Master {
    /// An upload as slaves make it.
    pub(super) async fn upload_to(&self, path: &str, body: Vec<u8>) -> (u16, Value) {
        let digest = content_digest(&body);
        let parts = SignedParts {
            method: "POST",
            path_and_query: path,
            receiver: &self.session.0,
            content_digest: &digest,
        };
        let signature = parts.sign(&self.secret, Timestamp::now(), random_bytes());
        let request = Request::builder()
            .method("POST")
            .uri(path)
            .header(SIGNATURE_HEADER, signature)
            .header(CONTENT_DIGEST_HEADER, digest)
            .header(header::CONTENT_LENGTH, body.len())
            .header(header::CONTENT_TYPE, "multipart/form-data; boundary=b");
        let request = request.body(Body::from(body)).unwrap();
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let answer = axum::body::to_bytes(response.into_body(), 1 << 20).await;
        (status, serde_json::from_slice(&answer.unwrap()).unwrap())
    }

    async fn results(&self, entries: &[(u32, u32)], subjobs: &[u32]) -> (u16, Value) {
        let body = body(&report(entries).to_string(), &block(subjobs));
        self.upload_to("/v1/build/1/results", body).await
    }

    /// Which subjobs have a result that is stored.
    async fn recorded(&self) -> Vec<u32> {
        let finished = self.cluster.read(|cluster| {
            let build = cluster.build(BUILD_ID).unwrap();
            let finished = build.numbered_subjobs();
            let finished = finished.filter(|(_, subjob)| subjob.result.is_some());
            finished.map(|(id, _)| id.0).collect::<Vec<_>>()
        });
        let finished = finished.await.unwrap();
        for subjob in &finished {
            let has = self.results.has(BUILD_ID, SubjobId(*subjob), Attempt(1));
            assert!(has.unwrap(), "the result of {subjob} is not stored");
        }
        finished
    }

    fn stored_bytes(&self) -> u64 {
        self.results.size(BUILD_ID).unwrap()
    }
}

fn rejected(answer: &Value) -> Vec<(u64, u64)> {
    let rejected = answer["rejected"].as_array().into_iter().flatten();
    let of = |entry: &Value| {
        assert!(entry["error"].as_str().is_some_and(|text| !text.is_empty()));
        let number = |field: &str| entry[field].as_u64().unwrap();
        (number("subjob_id"), number("status"))
    };
    rejected.map(of).collect()
}

#[tokio::test]
async fn many_results_are_recorded_at_once_and_again_without_harm() {
    let master = working().await;
    let both = [(1, 1), (0, 1)];
    let taken = master.results(&both, &[1, 0]).await;
    let position = &taken.1["position"];
    assert!(position.is_u64(), "the master says by when it took them");
    let proof = &taken.1["proof"];
    assert!(proof.is_string(), "and it can be shown that it said so");
    let expected = json!({"status": "SUCCESS", "position": position, "proof": proof});
    assert_eq!(taken, (200, expected));
    assert_eq!(master.recorded().await, [0, 1]);
    let stored = master.stored_bytes();
    assert_eq!(master.results(&both, &[1, 0]).await, taken);
    assert_eq!(master.stored_bytes(), stored, "it is stored once");
    // What the slave runs now and what is recorded already come together.
    let (status, answer) = master.results(&[(0, 1), (2, 1), (3, 1)], &[0, 2, 3]).await;
    assert_eq!((status, rejected(&answer)), (200, vec![]));
    assert_eq!(master.recorded().await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn what_a_slave_says_of_an_atom_is_shown_with_it() {
    let master = working().await;
    let mut said = report(&[(0, 1), (1, 1)]);
    said["results"][0]["executor_id"] = json!(3);
    said["results"][0]["starts"] = json!([1_700_000_000_000_u64]);
    said["results"][0]["usages"] = json!([[5, [4096, 20]]]);
    said["results"][1]["usages"] = json!([[5, null]]);
    let upload = body(&said.to_string(), &block(&[0, 1]));
    let (status, answer) = master.upload_to("/v1/build/1/results", upload).await;
    assert_eq!((status, rejected(&answer)), (200, vec![]));
    let atom = async |subjob: u32| {
        let path = format!("/v1/build/1/subjob/{subjob}/atom/0");
        master.get(&path).await.1["atom"].clone()
    };
    let first = atom(0).await;
    let expected = json!({
        "executor_id": 3, "started_at": 1_700_000_000.0, "attempt": 1, "output_bytes": 5,
        "max_memory_bytes": 4_194_304, "cpu_seconds": 0.02,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&first[name], value, "{name}");
    }
    let second = atom(1).await;
    assert_eq!(second["output_bytes"], 5);
    for absent in [
        "max_memory_bytes",
        "cpu_seconds",
        "signal",
        "timed_out_after",
        "started_at",
    ] {
        assert!(second.get(absent).is_none(), "{absent}");
    }
    said["results"][0]["usages"] = json!([[5, [0, 20]]]);
    let upload = body(&said.to_string(), &block(&[0, 1]));
    let (status, _) = master.upload_to("/v1/build/1/results", upload).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn each_result_is_answered_by_itself() {
    let master = working().await;
    let nothing = [(0, 2), (2, 1), (9, 1)];
    let (status, answer) = master.results(&nothing, &[0, 2, 9]).await;
    let all = vec![(0, 409), (2, 409), (9, 404)];
    assert_eq!((status, rejected(&answer)), (200, all));
    assert_eq!(master.stored_bytes(), 0, "nothing of it counts");
    // A result with a report that does not fit it, and one that is stale.
    let mut mixed = report(&[(1, 1), (3, 1), (0, 1)]);
    mixed["results"][0]["atoms"] = json!([{"id": 0, "timed_out_after_s": 3}]);
    let upload = body(&mixed.to_string(), &block(&[1, 3, 0]));
    let (status, answer) = master.upload_to("/v2/builds/1/results", upload).await;
    assert_eq!((status, rejected(&answer)), (200, vec![(1, 400), (3, 409)]));
    assert_eq!(master.recorded().await, [0]);
    // A build that is not there.
    let upload = body(&report(&[(0, 1)]).to_string(), &block(&[0]));
    let (status, answer) = master.upload_to("/v1/build/7/results", upload).await;
    assert_eq!((status, rejected(&answer)), (200, vec![(0, 404)]));
}

#[tokio::test]
async fn a_block_with_anything_else_is_of_no_use() {
    let master = working().await;
    let (status, answer) = master.results(&[(0, 1), (1, 1)], &[0, 1, 2]).await;
    let both = vec![(0, 400), (1, 400)];
    assert_eq!((status, rejected(&answer)), (200, both));
    assert_eq!(master.recorded().await, [] as [u32; 0]);
    assert_eq!(master.stored_bytes(), 0);
    // What it runs now is not what it has sent.
    let (status, answer) = master.results(&[(0, 1), (1, 1)], &[0, 1]).await;
    let stale = vec![(0, 409), (1, 409)];
    assert_eq!((status, rejected(&answer)), (200, stale));
}

#[tokio::test]
async fn a_wrong_upload_of_results_changes_nothing() {
    let master = working().await;
    let path = "/v1/build/1/results";
    let good = report(&[(0, 1)]);
    let with = |field: &str, value: Value| {
        let mut report = good.clone();
        report[field] = value;
        report.to_string()
    };
    for (report, status, named) in [
        (with("results", json!([])), 400, "'results'"),
        (report(&[(0, 1), (0, 1)]).to_string(), 400, "subjob 0 twice"),
        (with("results", json!(7)), 400, "__encoded_body__"),
        ("{".to_owned(), 400, "__encoded_body__"),
        (with("slave_id", json!(9)), 404, "Connect again"),
        (with("session_id", json!("an older one")), 412, "expired"),
        (
            with("incarnation", json!("another")),
            409,
            "of another; drop it",
        ),
        (with("incarnation", Value::Null), 409, "of none; drop it"),
    ] {
        let (found, answer) = master.upload_to(path, body(&report, &block(&[0]))).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(found == status && error.contains(named), "{found} {answer}");
    }
    let text = good.to_string();
    let field = "Content-Disposition: form-data; name=\"__encoded_body__\"";
    for upload in [
        format!("--b\r\n{field}\r\n\r\n{text}\r\n--b--").into_bytes(),
        [
            body(&text, &block(&[0])).strip_suffix(b"--").unwrap(),
            format!("\r\n{field}\r\n\r\n{text}\r\n--b--").as_bytes(),
        ]
        .concat(),
        b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--b--".to_vec(),
    ] {
        let (status, answer) = master.upload_to(path, upload).await;
        assert!(status == 400 && answer["error"].is_string(), "{answer}");
    }
    let unsigned = master.call("POST", path, &[], "{}").await;
    assert_eq!(unsigned.0, 401);
    assert_eq!(master.documented("POST", path, "{}").await.0, 401);
    assert_eq!(master.recorded().await, [] as [u32; 0]);
    assert_eq!(master.stored_bytes(), 0);
}

#[tokio::test]
async fn a_slave_that_signs_is_told_where_results_go() {
    let master = working().await;
    let report = json!({"slave": "x"}).to_string();
    let path = "/v1/build/1/subjob/1/result";
    let (status, answer) = master.upload_to(path, body(&report, &block(&[1]))).await;
    let error = answer["error"].as_str().unwrap();
    assert_eq!(status, 400, "{error}");
    assert!(error.contains("/v1/build/1/results"), "{error}");
    assert_eq!(master.recorded().await, [] as [u32; 0]);
}
