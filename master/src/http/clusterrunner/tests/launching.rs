//! Templates and instances, from the build that leaves a template to the end of an instance.

mod apps;

use super::*;
use crate::effects::archiver::{Archived, Archiver};
use crate::store::results::Block;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::ids::{
    AtomId, Attempt, BuildId, ExecutorIndex, SessionId, SlaveId, SubjobId,
};
use clusterrunner_common::results::block::{AtomResult, BlockWriter, Console, check_block};
use clusterrunner_core::builds::hand_out::HandOut;
use clusterrunner_core::builds::outcome::AtomOutcome;
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;

const SLAVE: SlaveId = SlaveId(1);
const LIFE: &str = "life";
const DESCRIPTION: &str = r#"{"form": "workspace", "root": "/var/tmp/cr/0123456789abcdef",
    "recipe": "requirements.txt", "port": 8888, "processes": {"web": "serve $PORT"}}"#;
const SNAPSHOT: &[u8] = b"\x1f\x8bthe bytes of a snapshot";

/// A master with the slave that runs instances.
async fn farm() -> Master {
    let master = Master::start_closed();
    master.connect(LIFE, None).await;
    master
}

impl Master {
    async fn decide(&self, command: Command) {
        self.cluster.command(command).await.unwrap();
    }

    /// Has a build of a repository leave these files, and ends it.
    async fn build_template(&self, body: &Value, files: &[(&str, &[u8])]) -> String {
        let (status, accepted) = self.signed("POST", "/v2/templates", body).await;
        assert_eq!(status, 202, "{accepted}");
        let build = BuildId(accepted["build_id"].as_u64().unwrap());
        let plan = Box::new(Plan {
            commit: Some("c0ffee".to_owned()),
            atoms: vec!["export TEMPLATE=\"x\";".to_owned()],
            ..Plan::default()
        });
        self.decide(Command::ReportPrepared { build, plan }).await;
        let session = SessionId(LIFE.to_owned());
        let slave = SLAVE;
        self.decide(Command::ReportSetUp {
            slave,
            session,
            build,
        })
        .await;
        let (subjob, attempt) = (SubjobId(0), Attempt::FIRST);
        self.store(build, files).await;
        self.decide(Command::ReportFinished {
            hand_out: HandOut {
                slave,
                build,
                subjob,
                attempt,
            },
            executor: Some(ExecutorIndex(0)),
            outcomes: vec![AtomOutcome {
                exit_code: 0,
                duration_ms: 1,
                trouble: None,
                started_at: None,
                usage: None,
            }],
        })
        .await;
        let archiver = Archiver {
            results: self.results.clone(),
            snapshots: self.snapshots.clone(),
            max_snapshot_bytes: 1 << 20,
            space: DiskSpace::new(std::path::Path::new("/"), 0),
            builds: None,
        };
        let archived = Archived {
            failed_attempts: Vec::new(),
            subjobs: vec![(subjob, attempt)],
            failures: Vec::new(),
            made: Vec::new(),
            product: Some((subjob, attempt)),
        };
        let done = archiver.archive(build, archived, CancellationToken::new());
        let (command, _kept) = done.await.unwrap();
        self.decide(command).await;
        accepted["name"].as_str().unwrap().to_owned()
    }

    async fn store(&self, build: BuildId, files: &[(&str, &[u8])]) {
        let artifacts = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(artifacts.path().join(name), content).unwrap();
        }
        let mut block = BlockWriter::new(Vec::new(), CancellationToken::new());
        block.begin(SubjobId(0), Attempt::FIRST);
        let result = AtomResult {
            command: "build-template",
            exit_code: 0,
            seconds: 0.0,
            ended_at: 0,
            console: Console::Memory(b"built\n"),
            artifacts: Some(artifacts.path()),
        };
        block.add(AtomId(0), &result).unwrap();
        let (bytes, _) = block.finish().unwrap();
        let checked = check_block(&*bytes).unwrap().remove(0);
        let placed = vec![(checked, Attempt::FIRST)];
        let appended = self.results.append(build, Block::Memory(bytes), placed);
        appended.await.unwrap();
    }

    async fn usual_template(&self) -> String {
        let body = json!({"repository": "https://example.org/hill/web.git"});
        let files = [
            ("template.json", DESCRIPTION.as_bytes()),
            ("snapshot.tar.gz", SNAPSHOT),
        ];
        self.build_template(&body, &files).await
    }

    /// The slave says what it has.
    async fn report(&self, number: u64, instances: Value) {
        let body = json!({
            "session_id": LIFE, "number": number, "max_instances": 2, "runs_images": false,
            "instances": instances,
        });
        let (status, answer) = self.signed("POST", "/v1/slave/1/instances", &body).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn status_of(&self, instance: u64) -> String {
        let (_, body) = self.signed_read(&format!("/v2/instances/{instance}")).await;
        body["instance"]["status"].as_str().unwrap().to_owned()
    }

    async fn bring(&self, logs: Value) -> Value {
        let body = json!({"session_id": LIFE, "logs": logs});
        let path = "/v1/slave/1/instance_logs";
        let (status, answer) = self.signed("POST", path, &body).await;
        assert_eq!(status, 200, "{answer}");
        answer["ends"].clone()
    }
}

fn up(instance: u64, generation: u64) -> Value {
    json!({"id": instance, "generation": generation, "state": {"up": {"port": 4711}}})
}

#[tokio::test]
async fn a_build_leaves_a_template_that_is_launched_and_printed_by() {
    let master = farm().await;
    let name = master.usual_template().await;
    assert_eq!(name, "hill-web");
    let (_, body) = master.signed_read("/v2/templates/hill-web").await;
    let template = &body["template"];
    assert_eq!(template["repository"], "https://example.org/hill/web.git");
    assert_eq!(template["build_status"], "FINISHED");
    let details = &template["template"];
    assert_eq!(
        (&details["commit"], &details["recipe"], &details["bytes"]),
        (
            &json!("c0ffee"),
            &json!("requirements.txt"),
            &json!(SNAPSHOT.len())
        )
    );
    let launch = json!({"template": "hill-web"});
    let (status, body) = master.signed("POST", "/v2/instances", &launch).await;
    assert_eq!(
        (status, &body["instance"]["status"]),
        (201, &json!("waiting")),
        "{body}"
    );
    master.report(1, json!([])).await;
    assert_eq!(master.status_of(1).await, "starting");
    master.report(3, json!([up(1, 1)])).await;
    assert_eq!(master.status_of(1).await, "up");
    // It was sent before the other one.
    master.report(2, json!([])).await;
    assert_eq!(master.status_of(1).await, "up");
    let piece = |offset, text: &str| json!({"id": 1, "generation": 1, "offset": offset, "text": text, "length": text.len()});
    let unknown = json!({"id": 9, "generation": 1, "offset": 0, "text": "x", "length": 1});
    assert_eq!(
        master.bring(json!([piece(0, "one\n"), unknown])).await,
        json!([4, null])
    );
    assert_eq!(master.bring(json!([piece(0, "one\n")])).await, json!([4]));
    assert_eq!(master.bring(json!([piece(4, "two\n")])).await, json!([8]));
    let (_, log) = master.signed_read("/v2/instances/1/logs?offset=2").await;
    let expected = json!({
        "offset": 2, "content": "e\ntwo\n", "next_offset": 8, "is_complete": false,
    });
    let mut log = log;
    log.as_object_mut().unwrap().remove("child_routes");
    assert_eq!(log, expected);
    let (status, body) = master.signed("DELETE", "/v2/instances/1", &json!({})).await;
    assert_eq!(
        (status, &body["instance"]["status"]),
        (200, &json!("stopped"))
    );
}

#[tokio::test]
async fn a_slave_gets_a_snapshot_from_any_byte_on() {
    let master = farm().await;
    master.usual_template().await;
    let (_, body) = master.signed_read("/v2/templates").await;
    let digest = body["templates"][0]["template"]["digest"].clone();
    for offset in [0, 5, SNAPSHOT.len()] {
        let body = json!({"slave_id": 1, "session_id": LIFE, "digest": digest, "offset": offset});
        let text = body.to_string();
        let parts = SignedParts {
            method: "POST",
            path_and_query: "/v1/snapshot",
            receiver: &master.session.0,
            content_digest: &content_digest(text.as_bytes()),
        };
        let signature = parts.sign(&master.secret, Timestamp::now(), random_bytes());
        let headers = [(SIGNATURE_HEADER, &*signature)];
        let (status, _, bytes) = master
            .exchange("POST", "/v1/snapshot", &headers, &text)
            .await;
        assert_eq!((status, &*bytes), (200, &SNAPSHOT[offset..]));
    }
    for (session, digest, offset, status) in [
        ("another", digest.clone(), 0, 412),
        (LIFE, json!("0".repeat(64)), 0, 404),
        (LIFE, json!("../../secret"), 0, 404),
        (LIFE, digest.clone(), SNAPSHOT.len() + 1, 400),
    ] {
        let body = json!({
            "slave_id": 1, "session_id": session, "digest": digest, "offset": offset,
        });
        let (found, answer) = master.signed("POST", "/v1/snapshot", &body).await;
        assert_eq!(found, status, "{body}: {answer}");
    }
}

#[tokio::test]
async fn a_build_that_leaves_no_template_fails_and_says_why() {
    let master = farm().await;
    let body = json!({"repository": "https://example.org/hill/web/tree/main"});
    let name = master
        .build_template(&body, &[("snapshot.tar.gz", SNAPSHOT)])
        .await;
    let (_, body) = master.get("/v1/build/1").await;
    assert_eq!(body["build"]["status"], "ERROR");
    let message = body["build"]["error_message"].as_str().unwrap();
    assert!(message.contains("no file template.json"), "{message}");
    let (_, body) = master.signed_read(&format!("/v2/templates/{name}")).await;
    assert_eq!(body["template"]["template"], Value::Null);
    let launch = json!({"template": name});
    let (status, answer) = master.signed("POST", "/v2/instances", &launch).await;
    assert_eq!(status, 404, "{answer}");
}

#[tokio::test]
async fn what_is_wrong_about_launching_is_named_and_changes_nothing() {
    let master = farm().await;
    master.usual_template().await;
    for (path, body, status, named) in [
        ("/v2/templates", json!({}), 400, "repository"),
        (
            "/v2/templates",
            json!({"repository": "gopher://x/y"}),
            400,
            "repository",
        ),
        (
            "/v2/templates",
            json!({"repository": "/srv/x"}),
            400,
            "allow_local_sources",
        ),
        (
            "/v2/templates",
            json!({"repository": "https://x/y", "colour": 1}),
            400,
            "colour",
        ),
        (
            "/v2/instances",
            json!({"template": "other"}),
            404,
            "no template other",
        ),
        (
            "/v2/instances",
            json!({"template": "hill-web", "command": [""]}),
            400,
            "'command'",
        ),
        (
            "/v2/instances",
            json!({"template": "hill-web", "max_memory_bytes": 0}),
            400,
            "'max_memory_bytes'",
        ),
        (
            "/v2/instances",
            json!({"template": "hill-web", "environment": {"A=B": "x"}}),
            400,
            "'environment'",
        ),
    ] {
        let (found, answer) = master.signed("POST", path, &body).await;
        let error = answer["error"].as_str().unwrap();
        assert_eq!(found, status, "{body}: {error}");
        assert!(error.contains(named), "{body}: {error} lacks {named}");
    }
    let (_, body) = master.signed_read("/v2/instances").await;
    assert_eq!(body["instances"], json!([]));
    for (path, status) in [
        ("/v2/instances/7", 404),
        ("/v2/instances/7/logs", 404),
        ("/v2/instances/x", 404),
        ("/v2/templates/other", 404),
    ] {
        assert_eq!(master.signed_read(path).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn instances_are_shown_to_those_who_prove_who_they_are() {
    let master = farm().await;
    master.usual_template().await;
    for name in ["ann", "bob"] {
        master.create_user(name, false).await;
    }
    let (ann, bob) = (
        master.create_token("ann", "submit").await,
        master.create_token("bob", "submit").await,
    );
    let reader = master.create_token("ann", "read").await;
    let launch = json!({"template": "hill-web"});
    let launched = master.as_user(&ann, "POST", "/v2/instances", &launch);
    assert_eq!(launched.await.0, 201);
    for path in [
        "/v2/instances",
        "/v2/instances/1",
        "/v2/instances/1/logs",
        "/v2/templates",
    ] {
        assert_eq!(master.get(path).await.0, 401, "{path}");
        let read = master.as_user(&reader, "GET", path, &Value::Null).await;
        assert_eq!(read.0, 200, "{path}");
    }
    let no = master.as_user(&reader, "POST", "/v2/instances", &launch);
    assert_eq!(no.await.0, 403);
    let repository = json!({"repository": "https://example.org/a"});
    let no = master.as_user(&reader, "POST", "/v2/templates", &repository);
    assert_eq!(no.await.0, 403);
    let (status, _) = master
        .as_user(&bob, "DELETE", "/v2/instances/1", &json!({}))
        .await;
    assert!(matches!(status, 403 | 404), "{status}");
    assert_eq!(master.status_of(1).await, "waiting");
}
