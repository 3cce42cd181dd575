//! The farm that is attacked.

use super::wire::{Answered, answers};
use crate::farm::{Extra, Farm};
use crate::job::job;
use crate::outcome::Over;
use crate::raw::{Answer, Raw};
use crate::repository::Repository;
use crate::wait::PATIENCE;
use clusterrunner_common::ids::BuildId;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use tokio::time::timeout;

/// What the master shows of all that it has; an attack changes none of it.
const SHOWN: [&str; 9] = [
    "/v2/builds?limit=200",
    "/v2/builds/1",
    "/v2/builds/1/subjobs",
    "/v2/slaves",
    "/v2/users",
    "/v2/tokens",
    "/v2/templates",
    "/v2/instances",
    "/v2/apps",
];

/// What changes by itself in the view of a slave or a user.
const RESTLESS: [&str; 6] = [
    "last_heard_at",
    "load",
    "last_login",
    "measured",
    "free_bytes",
    "uptime",
];

/// A farm with one slave that has done one build, and what is known of it.
pub(super) struct Victim {
    pub(super) farm: Farm,
    /// What the build was of.
    pub(super) project: Repository,
    /// The builds that attackers were allowed to submit.
    submitted: Mutex<BTreeSet<u64>>,
    /// The attacks that have changed something.
    succeeded: Mutex<Vec<String>>,
}

impl Victim {
    pub(super) async fn new() -> Self {
        Self::with(&Extra::default()).await
    }

    pub(super) async fn with(extra: &Extra<'_>) -> Self {
        let mut farm = Farm::with(extra);
        farm.start_all(&[1]).await;
        let kept = job("echo a line; echo kept > $ARTIFACT_DIR/file").atoms(1);
        let project = Repository::of(&kept);
        farm.run(&project.request()).await.passes();
        farm.wait_for_rest().await;
        Self {
            farm,
            project,
            submitted: Mutex::default(),
            succeeded: Mutex::default(),
        }
    }

    /// `address:port` of the master.
    pub(super) fn master(&self) -> String {
        self.farm.master_address()
    }

    /// The key that the master has made for Binder's API.
    pub(super) fn binder_key(&self) -> String {
        let kept = std::fs::read_to_string(self.farm.path("base/master/binder_api_key"));
        kept.unwrap().trim().to_owned()
    }

    /// `address:port` of the master, and of its slave.
    pub(super) fn doors(&self) -> [String; 2] {
        [self.farm.master_address(), self.farm.slave_address(0)]
    }

    /// Lets an attack happen. Afterwards the farm answers and is what it was. What went wrong is told at the end.
    pub(super) async fn suffer(&self, name: &str, attack: impl Future<Output = ()>) {
        let suffering = async {
            let before = self.shown().await;
            let ended = timeout(PATIENCE, Box::pin(attack)).await;
            assert!(ended.is_ok(), "it does not end");
            let submitted = self.submitted.lock().unwrap().clone();
            for build in submitted {
                self.farm.end_of(BuildId(build)).await;
            }
            self.farm.wait_for_rest().await;
            let after = self.shown().await;
            for ((path, before), after) in SHOWN.iter().zip(&before).zip(&after) {
                assert_eq!(before, after, "{path} has changed");
            }
            for door in self.doors() {
                let answered = answers(&door, b"GET /v1/version HTTP/1.1\r\nHost: a\r\n\r\n").await;
                let first = answered.first();
                assert!(
                    first.is_some_and(|first| first.status == 200),
                    "{answered:?}"
                );
            }
        };
        if AssertUnwindSafe(suffering).catch_unwind().await.is_err() {
            eprintln!("^ in the attack {name}");
            self.succeeded.lock().unwrap().push(name.to_owned());
        }
    }

    /// The end of all attacks: none has succeeded, nobody has panicked, and the farm builds.
    pub(super) async fn lives(&self) {
        let succeeded = self.succeeded.lock().unwrap().clone();
        assert!(
            succeeded.is_empty(),
            "these attacks succeed: {succeeded:#?}"
        );
        self.farm.run(&self.project.request()).await.passes();
        self.farm.wait_for_rest().await;
        for daemon in ["master", "slave 0"] {
            let said = self.farm.output(daemon);
            assert!(!said.contains("panicked"), "{said}");
        }
    }

    async fn shown(&self) -> Vec<Value> {
        let mut shown = Vec::new();
        for path in SHOWN {
            let mut body = self.asks_signed("GET", path, b"").await.body;
            calm(&mut body);
            if let Some(builds) = body["builds"].as_array_mut() {
                let submitted = self.submitted.lock().unwrap();
                builds.retain(|one| !one["id"].as_u64().is_some_and(|id| submitted.contains(&id)));
            }
            shown.push(body);
        }
        shown
    }

    /// What a holder of the secret is answered.
    pub(super) async fn asks_signed(
        &self,
        method: &'static str,
        path: &str,
        body: &[u8],
    ) -> Answer {
        let raw = Raw {
            body: body.to_vec(),
            ..Raw::json(method, &self.master(), path, &Value::Null)
        };
        answer_to(raw.sent(&raw.signature(&self.farm.secret())).await)
    }

    /// What is answered to who shows only these headers.
    pub(super) async fn asks(
        &self,
        method: &'static str,
        path: &str,
        proof: &[(&'static str, &str)],
        body: &[u8],
    ) -> Answer {
        let raw = Raw {
            body: body.to_vec(),
            ..Raw::json(method, &self.master(), path, &Value::Null)
        };
        let proof = proof
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        answer_to(raw.sent(&proof.collect()).await)
    }

    /// Submits a build that must be refused at once; why it was.
    pub(super) async fn refuses(&self, request: &Value) -> String {
        let answer = self
            .asks_signed("POST", "/v1/build", request.to_string().as_bytes())
            .await;
        assert_eq!(answer.status, 400, "{request:.300}: {answer:?}");
        answer.error().to_owned()
    }

    /// Runs a build that the attacker may submit, and that must end in an error; its message.
    pub(super) async fn fails(&self, request: &Value) -> String {
        let over = self.runs(request).await.errs(&[]);
        over.0.error_message.unwrap_or_default()
    }

    /// Runs a build that the attacker may submit, and whose atoms pass; its number.
    pub(super) async fn passes(&self, request: &Value) -> u64 {
        self.runs(request).await.passes().id.0
    }

    /// Submits a build that is refused at once or ends in an error.
    pub(super) async fn comes_to_nothing(&self, request: &Value) {
        let answer = self
            .asks_signed("POST", "/v1/build", request.to_string().as_bytes())
            .await;
        match answer.body["build_id"].as_u64() {
            Some(build) => {
                self.note(build);
                self.farm.end_of(BuildId(build)).await.errs(&[]);
            }
            None => assert_eq!(answer.status, 400, "{request:.300}: {answer:?}"),
        }
    }

    /// Runs a build that the attacker may submit.
    pub(super) async fn runs(&self, request: &Value) -> Over {
        let build = self.farm.submit(request).await;
        self.note(build.0);
        let over = self.farm.end_of(build).await;
        self.farm.wait_for_rest().await;
        over
    }

    /// Whether an answer is that a build was taken that is none of the attack: then it is cleared away.
    pub(super) fn is_harmless(&self, answer: &Answer) -> bool {
        let build = answer.body["build_id"].as_u64();
        if let Some(build) = build {
            self.note(build);
        }
        answer.status == 202 && build.is_some()
    }

    fn note(&self, build: u64) {
        self.submitted.lock().unwrap().insert(build);
    }

    /// What a master and a slave answer to bytes: an error or nothing at all, and nothing that was meant to be hidden
    /// in them.
    pub(super) async fn refuse_bytes(&self, bytes: &[u8]) {
        for door in self.doors() {
            let answered = answers(&door, bytes).await;
            let shown = String::from_utf8_lossy(bytes);
            assert!(answered.len() <= 1, "{door}: {shown:.300}: {answered:?}");
            if let Some(Answered { status, text }) = answered.first() {
                assert!((400..500).contains(status), "{door}: {shown:.300}: {text}");
            }
        }
    }
}

/// An answer. Who is refused before all is sent may get no more of it than the end of the connection.
fn answer_to(sent: reqwest::Result<Answer>) -> Answer {
    sent.unwrap_or_else(|error| Answer {
        status: 400,
        body: json!({"error": format!("{error:?}")}),
    })
}

/// Takes out what changes by itself.
fn calm(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !RESTLESS.iter().any(|restless| name.contains(restless)));
            fields.values_mut().for_each(calm);
        }
        Value::Array(items) => items.iter_mut().for_each(calm),
        _ => {}
    }
}

/// A request for a build with a job of its own, which is what the submitter writes.
pub(super) fn with_config(project: &Repository, config: Value) -> Value {
    project.request_with(json!({"config": config}))
}
