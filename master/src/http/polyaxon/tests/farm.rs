//! A farm whose routes are called without a socket. The test plays its slaves.

use crate::coordinator::{ClusterHandle, Coordinator};
use crate::http::accounts::Accounts;
use crate::http::description::check::Sent;
use crate::http::polyaxon::{Api, Router, Streams, router};
use crate::http::tokens::digest;
use crate::journal::{EndedBuilds, Journal};
use crate::read::builds::Builds;
use crate::read::feed;
use crate::store::own_repositories::OwnRepositories;
use crate::store::results::Results;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::caller::Caller;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::ids::{
    Attempt, BuildId, Incarnation, SessionId, SlaveId, SubjobId, UserId,
};
use clusterrunner_common::settings::{ImagePolicy, Registration};
use clusterrunner_common::turns::Turns;
use clusterrunner_common::work::BuildRequest;
use clusterrunner_core::accounts::command::{AccountCommand, ProjectCommand};
use clusterrunner_core::accounts::projects::NewProject;
use clusterrunner_core::accounts::users::{ApiToken, NewUser, PasswordHash};
use clusterrunner_core::actor::Actor;
use clusterrunner_core::builds::hand_out::HandOut;
use clusterrunner_core::builds::outcome::AtomOutcome;
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::{Command, Opening, StoredResults};
use clusterrunner_core::event::{BuildFact, Fact};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

pub(super) struct Farm {
    routes: Router,
    pub(super) cluster: ClusterHandle,
    pub(super) accounts: Accounts,
    pub(super) archived: EndedBuilds,
    _directory: tempfile::TempDir,
}

/// An answer. A body that is no JSON is a text.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Farm {
    pub(super) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(&directory.path().join("journal")).unwrap();
        let archived = journal.ended();
        let lease = Duration::from_secs(600);
        let (coordinator, cluster, effects) = Coordinator::recover(journal, lease).unwrap();
        let coordinator = coordinator.opening(Opening {
            life: SessionId("this-life".to_owned()),
            fresh: Incarnation("first".to_owned()),
            stored: StoredResults::none(),
        });
        let source = feed::Source::after(coordinator.position());
        let feed = source.feed();
        let coordinator = coordinator.telling(move |cluster, events| {
            source.take_in(cluster, events);
        });
        tokio::spawn(async move {
            // Nobody carries effects out here; they must go somewhere all the same.
            let _effects = effects;
            Box::pin(coordinator.run(CancellationToken::new()))
                .await
                .unwrap();
        });
        let builds = Builds {
            cluster: cluster.clone(),
            archived: archived.clone(),
        };
        let caller = Caller::new(None, Duration::from_secs(1)).unwrap();
        let results = Results::new(directory.path().join("results")).unwrap();
        let streams = Streams::new(
            builds.clone(),
            (results, caller, Turns::default()),
            feed,
            CancellationToken::new(),
        );
        let secret = Secret::new("a secret for tests".to_owned()).unwrap();
        let accounts = Accounts::new(cluster.clone(), secret, Registration::Closed);
        let api = Api {
            accounts: accounts.clone(),
            is_tls: false,
            allow_local_sources: false,
            own: OwnRepositories::in_test(directory.path()),
            space: DiskSpace::new(directory.path(), 0),
            max_upload_bytes: 1 << 20,
            image_policy: ImagePolicy::Use,
            cluster: cluster.clone(),
            builds,
            streams,
        };
        Self {
            routes: router(api),
            cluster,
            accounts,
            archived,
            _directory: directory,
        }
    }

    /// A farm with a superuser, whose token is `root`.
    pub(super) async fn with_root() -> Self {
        let farm = Self::start();
        farm.user("root", true).await;
        farm
    }

    /// Creates a user whose token is the name.
    pub(super) async fn user(&self, name: &str, is_superuser: bool) -> UserId {
        let user = NewUser {
            name: name.to_owned(),
            email: String::new(),
            first_name: String::new(),
            last_name: String::new(),
            is_superuser,
            password: PasswordHash(String::new()),
            api_token: ApiToken {
                seed: String::new(),
                digest: digest(name),
            },
        };
        let facts = self.tell(Command::Account {
            by: Actor::Master,
            command: AccountCommand::Create(Box::new(user)),
        });
        match facts.await.as_slice() {
            [Fact::Account(user, _)] => *user,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn project(&self, owner: UserId, name: &str, is_public: bool) {
        let project = NewProject {
            name: name.to_owned(),
            description: None,
            tags: None,
            is_public,
            git_url: None,
        };
        self.tell(Command::Project {
            by: Actor::User(owner),
            command: ProjectCommand::Create(Box::new(project)),
        })
        .await;
    }

    pub(super) async fn tell(&self, command: Command) -> Vec<Fact> {
        let events = self.cluster.command(command).await.unwrap();
        events.into_iter().map(|event| event.fact).collect()
    }

    /// Queues a build of a repository with this name, as the holder of the secret does.
    pub(super) async fn queue(&self, repository: &str) -> u64 {
        let request = json!({"type": "git", "url": format!("https://host/{repository}.git")});
        let request = Box::new(BuildRequest::from_json(&request).unwrap());
        let by = Actor::SecretHolder;
        let facts = self.tell(Command::QueueBuild { by, request }).await;
        match facts.as_slice() {
            [Fact::Build(build, BuildFact::Queued { .. })] => build.0,
            other => panic!("{other:?}"),
        }
    }

    /// Queues a build and prepares it: one atom, the command `make`.
    pub(super) async fn build(&self, repository: &str) -> u64 {
        let build = self.queue(repository).await;
        let plan = Box::new(Plan {
            commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
            job_name: "unit".to_owned(),
            command: "make".to_owned(),
            atoms: vec!["export A=1;".to_owned()],
            ..Plan::default()
        });
        let id = BuildId(build);
        self.tell(Command::ReportPrepared { build: id, plan }).await;
        build
    }

    /// Connects slave 1 under the address `slave:1`, or another one under another.
    pub(super) async fn connect(&self, slave: u64) {
        self.tell(Command::ConnectSlave {
            url: format!("slave:{slave}"),
            session: SessionId(format!("life of {slave}")),
            num_executors: 4,
            labels: BTreeSet::new(),
            known_as: None,
            finished: Vec::new(),
            seen: Vec::new(),
            fresh: Incarnation("fresh".to_owned()),
            key: None,
        })
        .await;
    }

    pub(super) async fn set_up(&self, slave: u64, build: u64) {
        self.tell(Command::ReportSetUp {
            slave: SlaveId(slave),
            session: SessionId(format!("life of {slave}")),
            build: BuildId(build),
        })
        .await;
    }

    pub(super) async fn lose(&self, slave: u64) {
        self.tell(Command::GiveSlaveUp {
            slave: SlaveId(slave),
            reason: "silent".to_owned(),
        })
        .await;
    }

    /// The only atom of a build ends.
    pub(super) async fn finish(&self, slave: u64, build: u64, exit_code: i32) {
        let outcome = AtomOutcome {
            exit_code,
            duration_ms: 1000,
            started_at: None,
            trouble: None,
            usage: None,
        };
        self.tell(Command::ReportFinished {
            hand_out: HandOut {
                slave: SlaveId(slave),
                build: BuildId(build),
                subjob: SubjobId(0),
                attempt: Attempt(1),
            },
            executor: None,
            outcomes: vec![outcome],
        })
        .await;
        let build = BuildId(build);
        self.tell(Command::ReportArchived {
            build,
            template: None,
        })
        .await;
    }

    /// A build that is over leaves memory.
    pub(super) async fn archive(&self, slave: u64, build: u64) {
        let id = BuildId(build);
        let slave = SlaveId(slave);
        self.tell(Command::ReportTornDown { slave, build: id })
            .await;
        // The coordinator does the same from time to time, and may be the first.
        let found = self.cluster.read(move |cluster| cluster.build(id).cloned());
        if let Some(found) = found.await.unwrap() {
            self.archived.keep(&[found]).unwrap();
            self.tell(Command::ReportKept { builds: vec![id] }).await;
        }
        let is_ended = self.cluster.read(move |cluster| cluster.is_ended(id));
        assert!(is_ended.await.unwrap());
    }

    /// A request with the token of a user.
    pub(super) async fn call(&self, token: &str, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "farm")
            .header(AUTHORIZATION, format!("token {token}"))
            .header(CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    pub(super) async fn send(&self, request: Request) -> Answer {
        let (request, sent) = Sent::of(request).await;
        let response = self.routes.clone().call(request).await.unwrap();
        let (parts, body) = response.into_parts();
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

    /// What a superuser reads.
    pub(super) async fn get(&self, path: &str) -> Value {
        let Answer { status, body, .. } = self.call("root", "GET", path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    #[track_caller]
    pub(super) fn check(
        &self,
        token: &str,
        (method, path, body): (&str, &str, &str),
        expected: (u16, Value),
    ) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let answer = self.call(token, method, path, body).await;
            let got = (answer.status, answer.body);
            assert_eq!(got, expected, "{method} {path} {body}, {place}");
        }
    }
}

/// Takes a time out of an object; it must have the form of times.
#[track_caller]
pub(super) fn take_time(object: &mut Value, field: &str) -> String {
    let time = object[field].take();
    let time = time.as_str().unwrap_or_else(|| panic!("{field}: {object}"));
    let digits: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(digits, "0000-00-00T00:00:00.000000+00:00");
    time.to_owned()
}

/// Takes a uuid out of an object; it must have the form of uuids.
#[track_caller]
pub(super) fn take_uuid(object: &mut Value) -> String {
    let uuid = object["uuid"].take();
    let uuid = uuid.as_str().unwrap_or_else(|| panic!("no uuid: {object}"));
    assert!(
        uuid.len() == 32 && uuid.bytes().all(|b| b.is_ascii_hexdigit()),
        "{uuid}"
    );
    uuid.to_owned()
}
