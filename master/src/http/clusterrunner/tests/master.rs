//! A master whose routes are called without a socket.

use super::golden;
use crate::coordinator::Coordinator;
use crate::http::clusterrunner::*;
use crate::http::description;
use crate::http::description::check::Sent;
use crate::http::tokens::TokensOf;
use crate::journal::{EndedBuilds, Histories, Journal};
use crate::polls::Lines;
use crate::read::app_story;
use crate::read::event_log;
use crate::read::feed::Source;
use crate::read::forecasts::Forecasts;
use crate::read::receivers::{self, Receivers};
use crate::read::runs::Runs;
use crate::store::app_logs::AppLogs;
use crate::store::build_secrets::BuildSecrets;
use crate::store::own_repositories::OwnRepositories;
use crate::store::working_trees::WorkingTrees;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use clusterrunner_common::auth::gate::Proof;
use clusterrunner_common::auth::keys::OwnKey;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::auth::signature::{
    BODY_DIGEST_HEADER, SIGNATURE_HEADER, Signed as SignedParts, body_digest, content_digest,
};
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_common::disk::kept_entries::KeptEntries;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::git::GitOptions;
use clusterrunner_common::ids::{BuildId, Incarnation};
use clusterrunner_common::remote_files::RemoteFileRules;
use clusterrunner_common::settings::Registration;
use clusterrunner_common::work::BuildEvent;
use clusterrunner_core::command::{Opening, StoredResults};
use clusterrunner_core::effect::Effect;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Nobody carries effects out here; they must go somewhere all the same.
fn run(coordinator: Coordinator, effects: UnboundedReceiver<Effect>) {
    tokio::spawn(async move {
        let _effects = effects;
        let stop = CancellationToken::new();
        Box::pin(coordinator.run(stop)).await.unwrap();
    });
}

fn keys_of(secret: &str) -> SlaveKeys {
    let secret = Secret::new(secret.to_owned()).unwrap();
    SlaveKeys::new(secret, OwnKey::from_random([9; 32]))
}

fn sessions(cluster: &ClusterHandle, secret: &str) -> Sessions {
    let secret = Secret::new(secret.to_owned()).unwrap();
    Sessions::new(cluster.clone(), secret, false, session_opens)
}

fn sources_in(directory: &Path, space: &DiskSpace) -> Sources {
    Sources::new(
        directory,
        OwnRepositories::in_test(directory),
        GitOptions::default(),
        true,
        space.clone(),
        CancellationToken::new(),
    )
}

fn gate(secret: &Secret, api: &Api, legacy: Option<fn(&Method, &str) -> Proof>) -> Arc<Gate> {
    let age = Duration::from_secs(300);
    let secret = secret.clone();
    Gate::with_legacy_peers(secret, &api.session, age, takes_body_digest, legacy)
        .with_open_routes(is_open)
        .with_tokens(
            Arc::new(TokensOf(api.cluster.clone())),
            takes_token,
            shows_more(api.private.clone()),
        )
        .with_sessions(Arc::new(api.sessions.clone()))
        .with_keys(Arc::new(api.slave_keys.clone()))
}

pub(super) struct Master {
    pub(super) routes: Router,
    pub(super) secret: Secret,
    pub(super) session: SessionId,
    pub(super) cluster: ClusterHandle,
    pub(super) accounts: Accounts,
    pub(super) results: Results,
    pub(super) snapshots: Snapshots,
    pub(super) running: RunningAtoms,
    pub(super) signs: SlaveSigns,
    /// The builds that are out of memory.
    pub(super) archived: EndedBuilds,
    /// What they say of atoms and tests.
    pub(super) histories: Histories,
    /// Follows runs of apps.
    pub(super) runs: Runs,
    pub(super) directory: tempfile::TempDir,
}

fn build_secrets(directory: &Path, secret: &str) -> BuildSecrets {
    let secret = Secret::new(secret.to_owned()).unwrap();
    BuildSecrets::new(directory.join("secrets"), secret)
}

/// Recorded exchanges name repositories of their machine.
fn remote_files(secret: &str) -> RemoteFileRules {
    RemoteFileRules {
        allow_local_sources: secret == golden::SECRET,
        ..RemoteFileRules::default()
    }
}

/// A receiver that was told of build 1.
fn told() -> receivers::Standing {
    let sent = receivers::Sent {
        build: BuildId(1),
        event: BuildEvent::Finished,
        at: Timestamp::now(),
    };
    let mut record = receivers::Record::default();
    record.last_sent = Some(sent);
    receivers::Standing {
        name: "chat".to_owned(),
        kind: "webhook",
        events: vec![BuildEvent::Finished],
        projects: vec!["secret-plans".to_owned()],
        waiting: 0,
        next_try: None,
        record,
    }
}

/// What set-ups have made: a MiB at the most.
fn kept_setups(directory: &Path) -> Arc<KeptEntries> {
    let directory = directory.join("setup-cache");
    Arc::new(KeptEntries::open(directory, Some(1 << 20)))
}

impl Master {
    pub(super) fn start() -> Self {
        Self::start_with("a secret for tests", "this-life", None)
    }

    pub(super) fn start_with(secret: &str, session: &str, origins: Option<&str>) -> Self {
        Self::start_with_peers(secret, session, origins, None)
    }

    pub(super) fn start_with_peers(
        secret: &str,
        session: &str,
        origins: Option<&str>,
        legacy: Option<fn(&Method, &str) -> Proof>,
    ) -> Self {
        Self::start_all((secret, session), origins, legacy, Registration::Open)
    }

    /// One where strangers can not register.
    pub(super) fn start_closed() -> Self {
        let names = ("a secret for tests", "this-life");
        Self::start_all(names, None, None, Registration::Closed)
    }

    fn start_all(
        (secret, session): (&str, &str),
        origins: Option<&str>,
        legacy: Option<fn(&Method, &str) -> Proof>,
        registration: Registration,
    ) -> Self {
        let (directory, session) = (tempfile::tempdir().unwrap(), SessionId(session.to_owned()));
        let journal = Journal::open(&directory.path().join("journal")).unwrap();
        let (space, lease) = (DiskSpace::new(directory.path(), 0), Duration::from_secs(60));
        let (archived, histories) = (journal.ended(), journal.histories());
        let (timings, audit) = (journal.timings(), journal.audit_log());
        let (coordinator, cluster, effects) = Coordinator::recover(journal, lease).unwrap();
        let (events, published) = (EventLog::in_memory(), Published::new(BuildPage::of));
        let source = Source::after(coordinator.position());
        let feed = source.feed();
        let private = PrivateProjects::default();
        let app_logs = AppLogs::open(directory.path().join("app_logs"), 1 << 20).unwrap();
        let (to_private, to_app_logs) = (private.clone(), app_logs.clone());
        let slave_keys = keys_of(secret);
        let to_slave_keys = slave_keys.clone();
        let (to_readers, to_event_log) = (published.clone(), events.clone());
        let coordinator = coordinator.opening(Opening {
            life: SessionId("this-life".to_owned()),
            fresh: Incarnation("first".to_owned()),
            stored: StoredResults::none(),
        });
        let coordinator = coordinator.telling(move |cluster, events| {
            to_private.take_in(cluster, events);
            to_slave_keys.take_in(cluster, events);
            to_readers.take_in(cluster, events);
            app_story::record(&to_app_logs, cluster, events);
            event_log::record(&to_event_log, cluster, &source.take_in(cluster, events));
        });
        run(coordinator, effects);
        let results = Results::new(directory.path().join("results")).unwrap();
        let snapshots = Snapshots::open(directory.path().join("templates")).unwrap();
        let of_farm = Secret::new(secret.to_owned()).unwrap();
        let accounts = Accounts::new(cluster.clone(), of_farm, registration);
        let sessions = sessions(&cluster, secret);
        let (running, signs) = (RunningAtoms::default(), SlaveSigns::default());
        let instance_logs = InstanceLogs::open(directory.path().join("logs"), 1 << 20).unwrap();
        let live = Live::new(feed.clone(), CancellationToken::new());
        let runs = Runs::new(cluster.clone(), feed, instance_logs.clone());
        let api = Api {
            sources: sources_in(directory.path(), &space),
            space,
            working_trees: WorkingTrees::in_test(directory.path()),
            builds: Builds {
                cluster: cluster.clone(),
                archived: archived.clone(),
            },
            histories: histories.clone(),
            audit: audit.clone(),
            forecasts: Forecasts::new(cluster.clone(), running.clone(), timings),
            cluster: cluster.clone(),
            accounts: accounts.clone(),
            sessions,
            private: private.clone(),
            slave_keys,
            published,
            running: running.clone(),
            signs: signs.clone(),
            results: results.clone(),
            caller: Caller::new(None, patience_with_slaves(secret)).unwrap(),
            lines: Lines::default(),
            events,
            measured: Measured::default(),
            turns: Turns::default(),
            live,
            downloads: Downloads::default(),
            receivers: Receivers::new(|| vec![told()]),
            pools: crate::read::pools::Pools::default(),
            session: session.clone(),
            snapshots: snapshots.clone(),
            kept_setups: kept_setups(directory.path()),
            instance_logs,
            app_logs,
            app_domain: Some("apps.example.com".to_owned()),
            last_reports: LastReports::default(),
            waiting: Turns::default(),
            image_policy: ImagePolicy::Use,
            description: description::text(),
            remote_files: remote_files(secret),
            secrets: build_secrets(directory.path(), secret),
        };
        let secret = Secret::new(secret.to_owned()).unwrap();
        let gate = gate(&secret, &api, legacy);
        Self {
            routes: Router::new().fallback_service(router(
                api,
                &gate,
                AllowedOrigins::new(origins).unwrap(),
            )),
            secret,
            session,
            cluster,
            accounts,
            results,
            snapshots,
            running,
            signs,
            archived,
            histories,
            runs,
            directory,
        }
    }

    /// A plain call: status, headers, body.
    pub(super) async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, HeaderMap, Vec<u8>) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_LENGTH, body.len());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let (request, sent) = Sent::of(request).await;
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let answer = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        // Without a version, paths are another API's, too.
        if path.starts_with("/v") {
            sent.check(&parts, &answer);
        }
        (parts.status.as_u16(), parts.headers, answer.to_vec())
    }

    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, Value) {
        let (status, _, body) = self.exchange(method, path, headers, body).await;
        let json = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).unwrap()
        };
        (status, json)
    }

    pub(super) async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, &[], "").await
    }

    /// With the documented digest of the body.
    pub(super) async fn documented(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let digest = body_digest(&self.secret, body.as_bytes());
        self.call(method, path, &[(BODY_DIGEST_HEADER, &digest)], body)
            .await
    }

    /// With a bound signature.
    pub(super) async fn signed(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.signed_text(method, path, &body.to_string()).await
    }

    /// What the holder of the secret reads.
    pub(super) async fn read_with_secret(&self, path: &str) -> (u16, Value) {
        self.signed_text("GET", path, "").await
    }

    async fn signed_text(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let parts = SignedParts {
            method,
            path_and_query: path,
            receiver: &self.session.0,
            content_digest: &content_digest(body.as_bytes()),
        };
        let signature = parts.sign(&self.secret, Timestamp::now(), random_bytes());
        self.call(method, path, &[(SIGNATURE_HEADER, &signature)], body)
            .await
    }

    pub(super) async fn connect(&self, session: &str, known_as: Option<u64>) -> Value {
        self.connect_at("127.0.0.1:1", session, known_as).await
    }

    pub(super) async fn slave_ids(&self) -> Vec<u64> {
        let (_, body) = self.get("/v1/slave").await;
        let slaves = body["slaves"].as_array().unwrap();
        slaves
            .iter()
            .map(|slave| slave["id"].as_u64().unwrap())
            .collect()
    }

    pub(super) async fn connect_at(
        &self,
        url: &str,
        session: &str,
        known_as: Option<u64>,
    ) -> Value {
        let body = json!({
            "slave": url, "num_executors": 2, "session_id": session, "protocol": 5,
            "slave_id": known_as,
            "seen": [{"last": {"incarnation": "first", "session_id": "this-life", "position": 1}}],
        });
        let (status, answer) = self.signed("POST", "/v1/slave", &body).await;
        assert_eq!(status, 201, "{answer}");
        answer
    }
}

/// How long a slave has for an answer. The slave of the recorded exchanges has the default port:
/// a farm that happens to run on this machine must not answer in its place.
fn patience_with_slaves(secret: &str) -> Duration {
    match secret {
        golden::SECRET => Duration::ZERO,
        _ => Duration::from_secs(5),
    }
}
