//! A farm whose routes are called without a socket. The test plays its slaves.

use super::slaves::{self, Conduct};
use crate::coordinator::{ClusterHandle, Coordinator};
use crate::http::accounts::Accounts;
use crate::http::deis::{Api, Router, router};
use crate::http::description::check::Sent;
use crate::journal::Journal;
use crate::read::runs::Runs;
use crate::read::{app_story, feed};
use crate::store::app_logs::AppLogs;
use crate::store::instance_logs::InstanceLogs;
use clusterrunner_core::command::{Opening, StoredResults};

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::response::Response;
use clusterrunner_common::auth::gate::Gate;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::ids::{Incarnation, SessionId};
use clusterrunner_common::settings::{AppSettings, Registration};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

/// The host that requests are for.
pub(super) const HOST_NAME: &str = "deis.example.com";

/// The farm's secret.
pub(super) const SECRET: &str = "a secret for tests";

/// The life of the master.
pub(super) const LIFE: &str = "this-life";

/// What a program shows that receives pushes.
pub(super) const BUILDER_KEY: &str = "a key of builders for tests";

/// How many bytes are kept of each log.
const MOST_LOG: u64 = 1 << 20;

pub(super) struct Farm {
    routes: Router,
    cluster: ClusterHandle,
    /// What the slave makes of what it is ordered.
    pub(super) conduct: Conduct,
    /// Of users that have registered.
    tokens: Mutex<BTreeMap<String, String>>,
    _directory: tempfile::TempDir,
}

/// An answer. A body that is no JSON is a text.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Answer {
    /// The value of a header; empty where it is not there.
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

impl Farm {
    pub(super) fn start() -> Self {
        Self::with(Registration::Open)
    }

    pub(super) fn with(registration: Registration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(&directory.path().join("journal")).unwrap();
        let lease = Duration::from_secs(600);
        let (coordinator, cluster, effects) = Coordinator::recover(journal, lease).unwrap();
        let coordinator = coordinator.opening(Opening {
            life: SessionId(LIFE.to_owned()),
            fresh: Incarnation("first".to_owned()),
            stored: StoredResults::none(),
        });
        let source = feed::Source::after(coordinator.position());
        let feed = source.feed();
        let app_logs = AppLogs::open(directory.path().join("app_logs"), MOST_LOG).unwrap();
        let logs = InstanceLogs::open(directory.path().join("logs"), MOST_LOG).unwrap();
        let written = app_logs.clone();
        let coordinator = coordinator.telling(move |cluster, events| {
            source.take_in(cluster, events);
            app_story::record(&written, cluster, events);
        });
        tokio::spawn(async move {
            Box::pin(coordinator.run(CancellationToken::new()))
                .await
                .unwrap();
        });
        let conduct = Conduct::default();
        let slave = slaves::play(cluster.clone(), logs.clone(), conduct.clone(), effects);
        tokio::spawn(slave);
        let secret = Secret::new(SECRET.to_owned()).unwrap();
        let api = Api {
            accounts: Accounts::new(cluster.clone(), secret.clone(), registration),
            is_tls: false,
            ssh_is_settled: watch::Sender::new(true).subscribe(),
            apps: AppSettings {
                domain: Some("deisapp.local".to_owned()),
                deploy_wait: Duration::from_secs(60),
                further_hostnames: Vec::new(),
                builder_key: Some(Secret::new(BUILDER_KEY.to_owned()).unwrap()),
            },
            own_names: vec!["farm.example.net".to_owned()],
            runs: Runs::new(cluster.clone(), feed.clone(), logs),
            feed,
            app_logs,
            cluster: cluster.clone(),
        };
        let age = Duration::from_secs(60);
        let gate = Gate::new(secret, &SessionId(LIFE.to_owned()), age, |_, _| false);
        Self {
            routes: router(api, &gate.with_proved_reads(None)),
            cluster,
            conduct,
            tokens: Mutex::default(),
            _directory: directory,
        }
    }

    /// A farm with a slave that has these labels.
    pub(super) async fn with_slave(labels: &[&str]) -> Self {
        let farm = Self::start();
        slaves::connect(&farm.cluster, labels).await;
        farm
    }

    /// Registers users, whose passwords are their names, and logs them in. The first one of a farm is its superuser.
    pub(super) async fn with_users(names: &[&str]) -> Self {
        let farm = Self::start();
        for name in names {
            farm.register(name).await;
        }
        farm
    }

    pub(super) async fn register(&self, name: &str) {
        let body = json!({"username": name, "password": name}).to_string();
        let registered = self.post("", "/v1/auth/register", &body).await;
        assert_eq!(registered.status, 201, "{registered:?}");
        self.log_in(name, name).await;
    }

    pub(super) async fn log_in(&self, name: &str, password: &str) {
        let body = json!({"username": name, "password": password}).to_string();
        let answer = self.post("", "/v1/auth/login", &body).await;
        let token = answer.body["token"].as_str().unwrap().to_owned();
        self.tokens.lock().unwrap().insert(name.to_owned(), token);
    }

    /// The token of a user who has logged in.
    pub(super) fn token(&self, user: &str) -> String {
        self.tokens.lock().unwrap()[user].clone()
    }

    /// A request of a user; of nobody where the name is empty.
    pub(super) fn request(
        &self,
        user: &str,
        method: &str,
        path: &str,
    ) -> axum::http::request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, HOST_NAME)
            .header(CONTENT_TYPE, "application/json");
        match user {
            "" => request,
            user => request.header(AUTHORIZATION, format!("token {}", self.token(user))),
        }
    }

    pub(super) async fn call(&self, user: &str, method: &str, path: &str, body: &str) -> Answer {
        let request = self.request(user, method, path);
        self.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    pub(super) async fn post(&self, user: &str, path: &str, body: &str) -> Answer {
        self.call(user, "POST", path, body).await
    }

    /// Sends a request; the answer may go on.
    pub(super) async fn begin(&self, request: Request) -> Response {
        self.routes.clone().call(request).await.unwrap()
    }

    /// What a user reads.
    pub(super) async fn get(&self, user: &str, path: &str) -> Value {
        let Answer { status, body, .. } = self.call(user, "GET", path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(super) async fn send(&self, request: Request) -> Answer {
        let (request, sent) = Sent::of(request).await;
        let (parts, body) = self.begin(request).await.into_parts();
        let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        sent.check(&parts, &body);
        let body = match serde_json::from_slice(&body) {
            Ok(json) => json,
            Err(_) => Value::String(String::from_utf8(body.to_vec()).unwrap()),
        };
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    #[track_caller]
    pub(super) fn check(
        &self,
        user: &str,
        (method, path, body): (&str, &str, &str),
        expected: (u16, Value),
    ) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let answer = self.call(user, method, path, body).await;
            let got = (answer.status, answer.body);
            assert_eq!(got, expected, "{method} {path} {body}, {place}");
        }
    }
}

/// A body that has nothing in it.
pub(super) fn nothing() -> Value {
    Value::String(String::new())
}

/// The body of an answer that says one thing.
pub(super) fn detail(sentence: &str) -> Value {
    json!({"detail": sentence})
}
