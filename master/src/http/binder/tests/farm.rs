//! A farm whose routes are called without a socket. The test plays its slaves.

use crate::coordinator::{ClusterHandle, Coordinator};
use crate::http::binder::{Api, Printed, Router, router};
use crate::http::description::check::Sent;
use crate::http::shared_key::SharedKey;
use crate::http::tokens::digest;
use crate::journal::{EndedBuilds, Journal};
use crate::read::builds::Builds;
use crate::store::results::Results;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::caller::Caller;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::ids::{
    Attempt, BuildId, Incarnation, InstanceId, SessionId, SlaveId, SubjobId, UserId,
};
use clusterrunner_common::settings::ImagePolicy;
use clusterrunner_common::templates::{Form, TemplateContent, TemplateDescription};
use clusterrunner_common::turns::Turns;
use clusterrunner_common::work::ReportedState;
use clusterrunner_core::accounts::command::AccountCommand;
use clusterrunner_core::accounts::users::{ApiToken, NewUser, PasswordHash};
use clusterrunner_core::actor::Actor;
use clusterrunner_core::builds::hand_out::HandOut;
use clusterrunner_core::builds::outcome::AtomOutcome;
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::{Command, Opening, StoredResults};
use clusterrunner_core::event::Fact;
use clusterrunner_core::instances::reported::{ReportedInstance, ReportedInstances};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

/// The key of the farm's API.
pub(super) const KEY: &str = "the key of the test";

/// A repository, and the name of its template.
pub(super) const REPOSITORY: &str = "https://github.com/binder-project/example-requirements";
pub(super) const NAME: &str = "binder-project-example-requirements";

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

pub(super) struct Farm {
    routes: Router,
    pub(super) cluster: ClusterHandle,
    archived: EndedBuilds,
    _directory: tempfile::TempDir,
}

/// An answer. A body that is no JSON is a text.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Farm {
    /// A farm where everyone may launch.
    pub(super) fn start() -> Self {
        Self::with(|_| {})
    }

    /// A farm whose API was changed.
    pub(super) fn with(change: impl FnOnce(&mut Api)) -> Self {
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
        let mut api = Api {
            cluster: cluster.clone(),
            printed: Printed::new(builds.clone(), (results, caller, Turns::default())),
            builds,
            space: DiskSpace::new(directory.path(), 0),
            key: SharedKey::new(&Secret::new(KEY.to_owned()).unwrap()),
            launch_without_key: true,
            reads_are_open: true,
            allow_local_sources: false,
            image_policy: ImagePolicy::Use,
            farm: "farm".to_owned(),
            router_port: 43000,
        };
        change(&mut api);
        Self {
            routes: router(api),
            cluster,
            archived,
            _directory: directory,
        }
    }

    pub(super) async fn tell(&self, command: Command) -> Vec<Fact> {
        let events = self.cluster.command(command).await.unwrap();
        events.into_iter().map(|event| event.fact).collect()
    }

    /// Creates a user whose token is the name.
    pub(super) async fn user(&self, name: &str) -> UserId {
        let user = NewUser {
            name: name.to_owned(),
            email: String::new(),
            first_name: String::new(),
            last_name: String::new(),
            is_superuser: false,
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

    /// Connects a slave that runs instances.
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
        self.report(slave, &[], &[]).await;
    }

    /// A slave says which instances and which snapshots it has.
    pub(super) async fn report(
        &self,
        slave: u64,
        instances: &[(u64, ReportedState)],
        snapshots: &[&str],
    ) {
        let ids: Vec<InstanceId> = instances.iter().map(|(id, _)| InstanceId(*id)).collect();
        let placed = move |cluster: &clusterrunner_core::Cluster| {
            let of = |id: &InstanceId| cluster.instance(*id).map(|it| it.generation);
            ids.iter().map(|id| of(id).unwrap()).collect::<Vec<_>>()
        };
        let generations = self.cluster.read(placed).await.unwrap();
        let reported = instances.iter().zip(generations);
        let instances = reported.map(|((id, state), generation)| ReportedInstance {
            id: InstanceId(*id),
            generation,
            state: state.clone(),
            restarts: 0,
        });
        self.tell(Command::ReportInstances {
            slave: SlaveId(slave),
            session: SessionId(format!("life of {slave}")),
            report: ReportedInstances {
                max_instances: 4,
                runs_images: false,
                instances: instances.collect(),
                snapshots: snapshots.iter().map(|it| (*it).to_owned()).collect(),
            },
        })
        .await;
    }

    /// What the preparer says of a build: its commit and its atom.
    pub(super) async fn prepare(&self, build: u64, commit: &str) {
        let plan = Box::new(Plan {
            commit: Some(commit.to_owned()),
            job_name: "template".to_owned(),
            command: "make".to_owned(),
            atoms: vec!["export TEMPLATE=1;".to_owned()],
            ..Plan::default()
        });
        let build = BuildId(build);
        self.tell(Command::ReportPrepared { build, plan }).await;
    }

    pub(super) async fn set_up(&self, slave: u64, build: u64) {
        self.tell(Command::ReportSetUp {
            slave: SlaveId(slave),
            session: SessionId(format!("life of {slave}")),
            build: BuildId(build),
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
    }

    /// The archiver is done with a build, which leaves what is given.
    pub(super) async fn register(&self, build: u64, description: Option<TemplateDescription>) {
        let content = description.map(|description| {
            Box::new(TemplateContent {
                digest: format!("{build:064}"),
                bytes: 1000,
                description,
            })
        });
        let build = BuildId(build);
        self.tell(Command::ReportArchived {
            build,
            template: content,
        })
        .await;
    }

    /// A build that is over leaves memory.
    pub(super) async fn archive(&self, slave: u64, build: u64) {
        let build = BuildId(build);
        let slave = SlaveId(slave);
        self.tell(Command::ReportTornDown { slave, build }).await;
        // The coordinator does the same from time to time, and may be the first.
        let found = self
            .cluster
            .read(move |cluster| cluster.build(build).cloned());
        if let Some(found) = found.await.unwrap() {
            self.archived.keep(&[found]).unwrap();
            let builds = vec![build];
            self.tell(Command::ReportKept { builds }).await;
        }
        let is_ended = self.cluster.read(move |cluster| cluster.is_ended(build));
        assert!(is_ended.await.unwrap());
    }

    /// Slave 1 connects, and the first build makes the template of [`REPOSITORY`] on it.
    pub(super) async fn with_template(self) -> Self {
        self.connect(1).await;
        let body = json!({"repository": REPOSITORY}).to_string();
        let answer = self.call(KEY, "POST", "/builds/", &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.prepare(1, COMMIT).await;
        self.set_up(1, 1).await;
        self.finish(1, 1, 0).await;
        self.register(1, Some(bare())).await;
        self
    }

    /// A request with a key; none where it is empty.
    pub(super) async fn call(&self, key: &str, method: &str, path: &str, body: &str) -> Answer {
        let headers = [("authorization", key)];
        let headers = if key.is_empty() { &[][..] } else { &headers };
        self.send(method, path, headers, body).await
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in [("host", "farm:8084"), ("content-type", "application/json")]
            .iter()
            .chain(headers)
        {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
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

    /// What the holder of the key reads.
    pub(super) async fn get(&self, path: &str) -> Value {
        let Answer { status, body, .. } = self.call(KEY, "GET", path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    #[track_caller]
    pub(super) fn check(
        &self,
        key: &str,
        (method, path, body): (&str, &str, &str),
        expected: (u16, Value),
    ) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let answer = self.call(key, method, path, body).await;
            let got = (answer.status, answer.body);
            assert_eq!(got, expected, "{method} {path} {body}, {place}");
        }
    }
}

/// A template of a repository as it is.
pub(super) fn bare() -> TemplateDescription {
    TemplateDescription {
        form: Form::Workspace,
        root: Some("/var/tmp/clusterrunner/0123456789abcdef".to_owned()),
        image: None,
        recipe: None,
        port: None,
        command: Vec::new(),
        processes: Default::default(),
        environment: Default::default(),
        directory: String::new(),
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
    assert_eq!(digits, "0000-00-00T00:00:00.000Z");
    time.to_owned()
}

/// An error of this API.
pub(super) fn error(name: &str, sentence: &str) -> Value {
    json!({"type": name, "error": sentence})
}
