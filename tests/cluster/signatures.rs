//! Every call that changes something, as a stranger would try it: nothing happens.

use crate::farm::{Extra, Farm};
use crate::raw::{Proof, Raw, session_of};
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::{BuildResult, BuildStatus, SlaveView};
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::auth::signature::{
    CONTENT_DIGEST_HEADER, SIGNATURE_HEADER, content_digest,
};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::path::Path;

/// What `signature_max_age` is by default, and then some.
const TOO_LONG_MS: u64 = 301_000;

/// A farm in the middle of a build: subjob 0 runs on the only slave until a file appears.
struct Scene {
    farm: Farm,
    slave: SlaveView,
    build: BuildId,
    repository: Repository,
}

impl Scene {
    async fn set() -> Self {
        let repository = Repository::empty();
        let (started, release) = (repository.outside("started"), repository.outside("release"));
        let job = format!(
            "Job:\n  commands:\n    - touch '{}'\n    - until test -e '{}'; do sleep 0.02; done\n    - echo genuine\n  \
             atomizers: [{{N: seq 1 2}}]\n  max_executors: 1\n",
            started.display(),
            release.display()
        );
        repository.commit(&[("clusterrunner.yaml", &job)]);
        let farm = Farm::start(&[1]).await;
        let build = farm.submit(&repository.request()).await;
        wait_for("the first atom runs", async || {
            started.exists().then_some(())
        })
        .await;
        let client = farm.client();
        // From here on nothing changes by itself.
        wait_for("the master knows that it runs", async || {
            let subjobs = client.subjobs(build).await.unwrap();
            let mut atoms = subjobs.iter().flat_map(|subjob| &subjob.atoms);
            atoms.any(|atom| atom.started_at.is_some()).then_some(())
        })
        .await;
        let slave = farm.wait_for_slaves(1).await.remove(0);
        Self {
            farm,
            slave,
            build,
            repository,
        }
    }

    /// Everything that master and slave show.
    async fn state(&self) -> Vec<Value> {
        let mut state = Vec::new();
        for (server, path) in [
            (self.farm.master_address(), "/v1/slave"),
            (self.farm.master_address(), "/v1/build"),
            (self.farm.master_address(), "/v1/build/1/subjob"),
            (self.farm.slave_address(0), "/v1"),
        ] {
            let read = Raw::json("GET", &server, path, &Value::Null);
            let answer = read.send(&Vec::new()).await;
            assert_eq!(answer.status, 200);
            state.push(answer.body);
        }
        state
    }

    /// All calls between master and slave, made as well as somebody can who knows everything but
    /// the secret.
    fn calls(&self) -> Vec<Raw> {
        let (master, slave) = (self.farm.master_address(), self.farm.slave_address(0));
        let (id, session) = (self.slave.id, &self.slave.session_id);
        let report =
            |state| json!({"slave": {"state": state, "build_id": 1, "session_id": session}});
        let of_slave = format!("/v1/slave/{id}");
        let connect = json!({
            "slave": self.slave.url, "num_executors": 5, "session_id": "stranger", "protocol": 5,
        });
        let heartbeat = json!({"slave": {"heartbeat": true, "session_id": session}});
        let setup = json!({
            "project_type_params": self.repository.request(),
            "build_executor_start_index": 0,
            "commit": self.repository.git(&["rev-parse", "HEAD"]),
            "job": {"name": "Job", "setup_build": "touch /nowhere"},
        });
        let subjob = json!({"atomic_commands": ["touch /nowhere"], "attempt": 2});
        let mut calls = vec![
            Raw::json("POST", &master, "/v1/slave", &connect),
            Raw::json(
                "POST",
                &master,
                &format!("{of_slave}/heartbeat"),
                &heartbeat,
            ),
            self.result(1),
            Raw::json("POST", &slave, "/v1/build/2/setup", &setup),
            Raw::json("POST", &slave, "/v1/build/1/subjob/0", &subjob),
            Raw::json("POST", &slave, "/v1/build/1/subjob/1", &subjob),
            Raw::json("POST", &slave, "/v1/build/1/teardown", &json!({})),
            Raw::json("POST", &slave, "/v1/kill", &json!({})),
        ];
        for state in ["SETUP_COMPLETE", "SETUP_FAILED", "IDLE", "DISCONNECTED"] {
            calls.push(Raw::json("PUT", &master, &of_slave, &report(state)));
        }
        calls
    }

    /// A result of subjob 0 that says something else than the atom would.
    fn result(&self, attempt: u32) -> Raw {
        let report = json!({
            "slave_id": self.slave.id, "session_id": self.slave.session_id,
            "incarnation": self.farm.incarnation(),
            "results": [{"subjob_id": 0, "attempt": attempt, "executor_id": 0}],
        });
        let mut body = format!(
            "--X\r\nContent-Disposition: form-data; name=\"__encoded_body__\"\r\n\r\n{report}\r\n--X\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"payload\"\r\n\r\n"
        )
        .into_bytes();
        body.extend(forged_archive());
        body.extend(b"\r\n--X--\r\n");
        Raw {
            method: "POST",
            server: self.farm.master_address(),
            path: "/v1/build/1/results".to_owned(),
            content_type: Some("multipart/form-data; boundary=X".to_owned()),
            body,
        }
    }

    /// Lets the build end; it must not have noticed anything.
    async fn finish(&self) {
        std::fs::write(self.repository.outside("release"), "").unwrap();
        let end = self.farm.end_of(self.build).await;
        assert_eq!(end.status, BuildStatus::Finished, "{end:?}");
        assert_eq!(end.result, Some(BuildResult::NoFailures), "{end:?}");
        for atom in self.farm.atoms(self.build).await {
            let console = self.farm.console(self.build, &atom).await;
            assert_eq!(console, "genuine\n");
        }
        assert!(!Path::new("/nowhere").exists());
    }
}

fn forged_archive() -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in [
        ("clusterrunner_console_output", "forged\n"),
        ("clusterrunner_command", "true\n"),
        ("clusterrunner_time", "0.01\n"),
        ("clusterrunner_exit_code", "1\n"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        let path = format!("artifact_0_0/{name}");
        tar.append_data(&mut header, path, content.as_bytes())
            .unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// The form of signatures before they named their receiver.
fn version_2(proof: Proof) -> Proof {
    let cut = |(name, text): (_, String)| {
        let parts = text.split(';').filter(|part| !part.starts_with("s="));
        let text = parts.collect::<Vec<_>>().join(";");
        (name, text.replace("v3", "v2"))
    };
    proof.into_iter().map(cut).collect()
}

/// Proofs that are none, by what is wrong with them.
fn false_proofs(call: &Raw, secret: &Secret) -> Vec<(&'static str, Proof)> {
    let now = Timestamp::now();
    let changed = |change: fn(&mut Raw)| {
        let mut other = call.clone();
        change(&mut other);
        other.signature(secret)
    };
    let other_secret = Secret::new("another secret of a farm".to_owned()).unwrap();
    let cut = |proof: Proof| {
        let cut = |(name, text): (_, String)| (name, text[..text.len() - 1].to_owned());
        proof.into_iter().map(cut).collect()
    };
    vec![
        ("unsigned", Vec::new()),
        ("only the body's digest", call.body_digest(secret)),
        ("another secret of a farm", call.signature(&other_secret)),
        (
            "stale",
            call.signature_of(secret, Timestamp(now.0 - TOO_LONG_MS)),
        ),
        (
            "for another session",
            call.signature_for("00000000-0000-4000-8000-000000000000", secret, now),
        ),
        ("of version 2", version_2(call.signature(secret))),
        (
            "from the future",
            call.signature_of(secret, Timestamp(now.0 + TOO_LONG_MS)),
        ),
        ("for another path", changed(|call| call.path.push('0'))),
        ("for a query", changed(|call| call.path.push_str("?a=1"))),
        ("for another method", changed(|call| call.method = "DELETE")),
        ("for another body", changed(|call| call.body.push(b' '))),
        ("for no body", changed(|call| call.body = Vec::new())),
        ("malformed", cut(call.signature(secret))),
        (
            "a digest in place of a signature",
            vec![(SIGNATURE_HEADER, call.body_digest(secret).remove(0).1)],
        ),
    ]
}

#[tokio::test]
async fn calls_without_a_right_signature_change_nothing() {
    let scene = Scene::set().await;
    let secret = scene.farm.secret();
    let before = scene.state().await;
    for call in scene.calls() {
        for (what, proof) in false_proofs(&call, &secret) {
            let answer = call.send(&proof).await;
            let which = format!(
                "{} {} with a signature that is {what}",
                call.method, call.path
            );
            assert_eq!(answer.status, 401, "{which}: {answer:?}");
            assert_ne!(answer.error(), "", "{which}");
        }
    }
    assert_eq!(scene.state().await, before);
    scene.finish().await;
}

/// A signature that was good for one call is good for no other one, and not for the same again.
#[tokio::test]
async fn a_signature_is_good_once_and_for_one_call() {
    let scene = Scene::set().await;
    let secret = scene.farm.secret();
    let before = scene.state().await;
    let calls = scene.calls();
    for call in &calls {
        // The same route on the same daemon, with content that means nothing: it is authentic, so it
        // gets past the gate, and changes nothing.
        let mut harmless = call.clone();
        harmless.content_type = None;
        harmless.body = b"{\"slave\": 7, \"atomic_commands\": 7}".to_vec();
        if call.path.ends_with("/kill") || call.path.ends_with("/teardown") {
            continue;
        }
        let proof = harmless.signature(&secret);
        let first = harmless.send(&proof).await;
        assert_eq!(
            first.status, 400,
            "{} {}: {first:?}",
            call.method, call.path
        );
        let again = harmless.send(&proof).await;
        assert_eq!(
            again.status, 401,
            "{} {}: {again:?}",
            call.method, call.path
        );
        assert!(again.error().contains("used before"), "{again:?}");
        for other in &calls {
            let rerouted = Raw {
                method: other.method,
                server: other.server.clone(),
                path: other.path.clone(),
                ..harmless.clone()
            };
            if (rerouted.method, &rerouted.path) != (call.method, &call.path) {
                let fresh = harmless.signature(&secret);
                let answer = rerouted.send(&fresh).await;
                assert_eq!(
                    answer.status, 401,
                    "made for {} {}, sent to {} {}: {answer:?}",
                    call.method, call.path, other.method, other.path
                );
            }
        }
    }
    assert_eq!(scene.state().await, before);
    scene.finish().await;
}

#[tokio::test]
async fn a_heartbeat_can_not_be_replayed() {
    let scene = Scene::set().await;
    let heartbeat = scene.calls().remove(1);
    let by_secret = heartbeat.signature(&scene.farm.secret());
    let refused = heartbeat.send(&by_secret).await;
    assert_eq!(refused.status, 403, "the slave has a key: {refused:?}");
    let proof = heartbeat.key_signature(&scene.farm.slave_key(0));
    let first = heartbeat.send(&proof).await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.body["is_alive"], json!(true));
    let again = heartbeat.send(&proof).await;
    assert_eq!(again.status, 401, "{again:?}");
    scene.finish().await;
}

#[tokio::test]
async fn a_result_counts_only_as_it_was_signed_and_for_its_attempt() {
    let scene = Scene::set().await;
    let key = scene.farm.slave_key(0);
    let before = scene.state().await;

    // The head is signed as it should be, but the body is another one of the same length.
    let genuine = scene.result(1);
    let mut forged = genuine.clone();
    let last = forged.body.len() - 20;
    forged.body[last] ^= 1;
    let answer = forged.send(&genuine.upload_signature(&key)).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    // The body's digest is stated as it is, but was not signed.
    let mut proof = genuine.key_signature(&key);
    proof.push((CONTENT_DIGEST_HEADER, content_digest(&forged.body)));
    let answer = forged.send(&proof).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    // Cut short.
    let mut short = genuine.clone();
    short.body.truncate(last);
    let answer = short.send(&genuine.upload_signature(&key)).await;
    assert!((400..=401).contains(&answer.status), "{answer:?}");
    assert_eq!(scene.state().await, before);

    for attempt in [0, 2, 3, u32::MAX] {
        let stale = scene.result(attempt);
        let answer = stale.send(&stale.upload_signature(&key)).await;
        let rejected = &answer.body["rejected"][0]["status"];
        assert_eq!(rejected, 409, "attempt {attempt}: {answer:?}");
    }
    assert_eq!(scene.state().await, before);
    scene.finish().await;
    scene.farm.wait_for_rest().await;

    // Once there is a result, another one neither replaces it nor does harm.
    scene.farm.wait_for_rest().await;
    let done = scene.state().await;
    let late = scene.result(1);
    let answer = late.send(&late.upload_signature(&key)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let after = scene.state().await;
    assert_eq!(after[..3], done[..3]);
    let atom = scene.farm.atoms(scene.build).await.remove(0);
    assert_eq!(scene.farm.console(scene.build, &atom).await, "genuine\n");
}

#[tokio::test]
async fn a_signed_kill_ends_the_slave_in_order() {
    let mut farm = Farm::start(&[1]).await;
    let kill = Raw::json("POST", &farm.slave_address(0), "/v1/kill", &json!({}));
    let answer = kill.send(&kill.signature(&farm.secret())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    wait_for("the slave has ended", async || {
        farm.has_ended(0).then_some(())
    })
    .await;
    farm.wait_for_slaves(0).await;
}

/// The same bytes are good for one daemon in one life only: not for another slave, not after a restart, and not for
/// a read either.
#[tokio::test]
async fn a_signature_is_good_for_one_receiver() {
    let mut farm = Farm::with(&Extra {
        general: "require_signed_reads = True",
        ..Extra::default()
    });
    farm.start_all(&[1, 1]).await;
    let secret = farm.secret();
    let (first, second) = (farm.slave_address(0), farm.slave_address(1));
    for (method, path) in [
        ("POST", "/v1/kill"),
        ("GET", "/v1"),
        ("GET", "/v1/executor"),
    ] {
        let meant = Raw {
            body: match method {
                "GET" => Vec::new(),
                _ => b"{}".to_vec(),
            },
            ..Raw::json(method, &first, path, &Value::Null)
        };
        let elsewhere = Raw {
            server: second.clone(),
            ..meant.clone()
        };
        let proof = meant.signature(&secret);
        let answer = elsewhere.send(&proof).await;
        assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
        assert!(answer.error().contains("another session"), "{answer:?}");
        if method == "GET" {
            assert_eq!(meant.send(&proof).await.status, 200, "{path}");
        }
    }
    assert!(!farm.has_ended(0) && !farm.has_ended(1));

    // What was captured and not used, some of it dated ahead, is of no use to the next life.
    let master = farm.master_address();
    let build = Raw::json(
        "POST",
        &master,
        "/v1/slave/shutdown",
        &json!({"slaves": [1]}),
    );
    let read = Raw {
        body: Vec::new(),
        ..Raw::json("GET", &master, "/v1/slave", &Value::Null)
    };
    let ahead = Timestamp(Timestamp::now().0 + TOO_LONG_MS - 60_000);
    let captured: Vec<_> = [&build, &read]
        .map(|call| (call, call.signature_of(&secret, ahead)))
        .into();
    let session = session_of(&master);
    farm.kill_master();
    farm.start_master().await;
    assert_ne!(session_of(&master), session);
    for (call, proof) in captured {
        let answer = call.send(&proof).await;
        assert_eq!(answer.status, 401, "{}: {answer:?}", call.path);
    }
    // Slaves find the new life by themselves.
    farm.wait_for_slaves(2).await;
    farm.wait_for_rest().await;
}
