//! A slave in this process, and a master that only plays one.

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{post, put};
use axum::{Json, Router};
use clusterrunner_common::api::{
    ConnectAnswer, ConnectRequest, HeartbeatAnswer, HeartbeatRequest, ResultReport, SetupJob,
    SetupRequest, SlaveState, SlaveStatusBody, StateReport, SubjobRequest, Success,
};
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::http::{refusal, serve};
use clusterrunner_common::ids::{Attempt, BuildId};
use clusterrunner_common::secret::Secret;
use clusterrunner_common::settings::{Overrides, SlaveSettings, load_slave};
use clusterrunner_common::signed::{Gate, Signed, SignedUpload};
use http_body_util::BodyExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Nothing here takes nearly as long, unless it never ends.
pub const DEADLINE: Duration = Duration::from_secs(30);

const SECRET: &str = "a secret for the slave's tests";

/// What a slave told the master.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Connected {
        slave: String,
        num_executors: u32,
    },
    Heartbeat {
        slave_id: u64,
    },
    Report {
        build: Option<u64>,
        state: SlaveState,
        reason: Option<String>,
    },
    /// Also when the answer was a refusal.
    Result(UploadedResult),
}

#[derive(Clone, Debug, PartialEq)]
pub struct UploadedResult {
    pub build: u64,
    pub subjob: u32,
    pub report: ResultReport,
    /// Members of the archive: files with their content, links with `-> target`, directories with
    /// `/` at the end of the name and nothing in them.
    pub members: BTreeMap<String, Vec<u8>>,
}

impl UploadedResult {
    /// The text of a file in the archive.
    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        let content = self.members.get(name);
        let content =
            content.unwrap_or_else(|| panic!("{name} is not in {:?}", self.members.keys()));
        String::from_utf8(content.clone()).unwrap()
    }
}

/// How the master behaves.
#[derive(Debug)]
pub struct Manners {
    pub slave_id: u64,
    pub counts_on_slave: bool,
    pub resumed: bool,
    /// Statuses for the next results; 200 when there are none.
    pub result_statuses: VecDeque<u16>,
    /// Statuses for the next state reports; 200 when there are none.
    pub report_statuses: VecDeque<u16>,
}

#[derive(Clone)]
pub struct FakeMaster {
    pub address: String,
    pub manners: Arc<Mutex<Manners>>,
    heard: Arc<watch::Sender<Vec<Heard>>>,
    _ends: Arc<tokio_util::sync::DropGuard>,
}

pub fn secret() -> Secret {
    Secret::new(SECRET.to_owned()).unwrap()
}

impl FakeMaster {
    pub async fn start() -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn start_on(listener: TcpListener) -> Self {
        let stop = CancellationToken::new();
        let master = Self {
            address: listener.local_addr().unwrap().to_string(),
            manners: Arc::new(Mutex::new(Manners {
                slave_id: 1,
                counts_on_slave: true,
                resumed: false,
                result_statuses: VecDeque::new(),
                report_statuses: VecDeque::new(),
            })),
            heard: Arc::new(watch::Sender::new(Vec::new())),
            _ends: Arc::new(stop.clone().drop_guard()),
        };
        let routes = Router::new()
            .route("/v1/slave", post(connect))
            .route("/v1/slave/{id}", put(report))
            .route("/v1/slave/{id}/heartbeat", post(heartbeat))
            .route("/v1/build/{build}/subjob/{subjob}/result", post(result))
            .with_state(Shared {
                manners: Arc::clone(&master.manners),
                heard: Arc::clone(&master.heard),
            });
        let gate = Gate::new(secret(), Duration::from_secs(60), |_, _| false);
        let routes = gate.guard(routes);
        tokio::spawn(serve(listener, routes, stop, Duration::from_millis(100)));
        master
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.borrow().clone()
    }

    /// Waits until the slave has told something that fits, the `nth` time (from 1).
    pub async fn hears_nth(&self, nth: usize, fits: impl Fn(&Heard) -> bool) -> Heard {
        let mut heard = self.heard.subscribe();
        let enough = |heard: &Vec<Heard>| heard.iter().filter(|one| fits(one)).count() >= nth;
        let waited = tokio::time::timeout(DEADLINE, heard.wait_for(enough)).await;
        let Ok(Ok(heard)) = waited else {
            panic!("heard only {:#?}", self.heard());
        };
        heard
            .iter()
            .filter(|one| fits(one))
            .nth(nth - 1)
            .unwrap()
            .clone()
    }

    pub async fn hears(&self, fits: impl Fn(&Heard) -> bool) -> Heard {
        self.hears_nth(1, fits).await
    }

    /// Waits for the first report of this state about a build; returns its reason.
    pub async fn hears_state(&self, wanted: SlaveState, about: u64) -> Option<String> {
        let fits = |heard: &Heard| matches!(heard, Heard::Report { build, state, .. } if *state == wanted && *build == Some(about));
        match self.hears(fits).await {
            Heard::Report { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the `nth` result.
    pub async fn hears_result(&self, nth: usize) -> UploadedResult {
        match self
            .hears_nth(nth, |heard| matches!(heard, Heard::Result(_)))
            .await
        {
            Heard::Result(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn results(&self) -> Vec<UploadedResult> {
        let result = |heard| match heard {
            Heard::Result(result) => Some(result),
            _ => None,
        };
        self.heard().into_iter().filter_map(result).collect()
    }
}

#[derive(Clone)]
struct Shared {
    manners: Arc<Mutex<Manners>>,
    heard: Arc<watch::Sender<Vec<Heard>>>,
}

impl Shared {
    fn hear(&self, heard: Heard) {
        self.heard.send_modify(|all| all.push(heard));
    }
}

async fn connect(
    State(shared): State<Shared>,
    Signed(request): Signed<ConnectRequest>,
) -> (StatusCode, Json<ConnectAnswer>) {
    assert_eq!(request.protocol, Some(2));
    assert!(request.session_id.is_some());
    let answer = {
        let mut manners = shared.manners.lock().unwrap();
        manners.counts_on_slave = true;
        ConnectAnswer {
            status: "SUCCESS".to_owned(),
            slave_id: manners.slave_id.to_string(),
            protocol: Some(2),
            resumed: manners.resumed,
        }
    };
    shared.hear(Heard::Connected {
        slave: request.slave,
        num_executors: request.num_executors,
    });
    (StatusCode::CREATED, Json(answer))
}

async fn heartbeat(
    State(shared): State<Shared>,
    Path(slave_id): Path<u64>,
    Signed(request): Signed<HeartbeatRequest>,
) -> Json<HeartbeatAnswer> {
    assert!(request.slave.heartbeat && request.slave.session_id.is_some());
    shared.hear(Heard::Heartbeat { slave_id });
    let is_alive = shared.manners.lock().unwrap().counts_on_slave;
    Json(HeartbeatAnswer { is_alive })
}

fn answer(status: Option<u16>) -> Response {
    match status {
        None | Some(200) => Json(Success::default()).into_response(),
        Some(other) => refusal(StatusCode::from_u16(other).unwrap(), "as the test wants it"),
    }
}

async fn report(
    State(shared): State<Shared>,
    Path(_): Path<u64>,
    Signed(request): Signed<StateReport>,
) -> Response {
    let report = request.slave;
    shared.hear(Heard::Report {
        build: report.build_id.map(|build| build.0),
        state: report.state,
        reason: report.reason,
    });
    let status = shared.manners.lock().unwrap().report_statuses.pop_front();
    answer(status)
}

async fn result(
    State(shared): State<Shared>,
    Path((build, subjob)): Path<(u64, u32)>,
    mut upload: SignedUpload,
) -> Response {
    let body = upload.take_body().collect().await.unwrap().to_bytes();
    assert!(upload.is_genuine());
    let length = upload.headers[header::CONTENT_LENGTH].to_str().unwrap();
    assert_eq!(length, body.len().to_string());
    let mut request = Request::new(Body::from(body));
    *request.headers_mut() = upload.headers;
    DefaultBodyLimit::disable().apply(&mut request);
    let mut parts = Multipart::from_request(request, &()).await.unwrap();
    let first = parts.next_field().await.unwrap().unwrap();
    assert_eq!(first.name(), Some("__encoded_body__"));
    let report = serde_json::from_slice(&first.bytes().await.unwrap()).unwrap();
    let second = parts.next_field().await.unwrap().unwrap();
    assert_eq!(
        (second.name(), second.file_name()),
        (Some("file"), Some("payload"))
    );
    assert_eq!(second.content_type(), Some("application/x-compressed"));
    let members = unpack(&second.bytes().await.unwrap());
    assert!(parts.next_field().await.unwrap().is_none());
    shared.hear(Heard::Result(UploadedResult {
        build,
        subjob,
        report,
        members,
    }));
    let status = shared.manners.lock().unwrap().result_statuses.pop_front();
    answer(status)
}

fn unpack(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let mut members = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        match entry.header().entry_type() {
            tar::EntryType::Directory => name.push('/'),
            tar::EntryType::Symlink => {
                let target = entry.link_name().unwrap().unwrap();
                content = format!("-> {}", target.display()).into_bytes();
            }
            _ => drop(std::io::Read::read_to_end(&mut entry, &mut content).unwrap()),
        }
        members.insert(name, content);
    }
    members
}

/// A slave in this process, with its own base directory and a project.
pub struct TestSlave {
    pub address: String,
    pub data: PathBuf,
    pub project: PathBuf,
    pub stop: CancellationToken,
    pub caller: Caller,
    served: JoinHandle<()>,
    base: tempfile::TempDir,
}

/// A place for a slave that does not run yet.
pub struct Place {
    pub base: tempfile::TempDir,
    pub listener: TcpListener,
}

impl Place {
    pub async fn new() -> Self {
        Self {
            base: tempfile::tempdir().unwrap(),
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub fn data(&self) -> PathBuf {
        let port = self.listener.local_addr().unwrap().port();
        self.base.path().join(format!("base/slave-{port}"))
    }

    pub fn start(self, master: &str, num_executors: u32) -> TestSlave {
        let settings = settings(self.base.path(), master, num_executors);
        let stop = CancellationToken::new();
        let address = self.listener.local_addr().unwrap().to_string();
        let data = self.data();
        let project = self.base.path().join("project");
        std::fs::create_dir_all(&project).unwrap();
        let served = clusterrunner_slave::serve(settings, self.listener, stop.clone());
        TestSlave {
            address,
            data,
            project,
            served: tokio::spawn(async move { Box::pin(served).await.unwrap() }),
            stop,
            caller: Caller::new(Some(secret()), DEADLINE).unwrap(),
            base: self.base,
        }
    }
}

fn settings(base: &FilePath, master: &str, num_executors: u32) -> SlaveSettings {
    let file = base.join("clusterrunner.conf");
    std::fs::write(&file, format!("[general]\nsecret = {SECRET:?}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (host, port) = master.rsplit_once(':').unwrap();
    let flags = Overrides::new()
        .set("base_directory", base.join("base").display())
        .set("bind_address", "127.0.0.1")
        .set("master_hostname", host)
        .set("master_port", port)
        .set("num_executors", num_executors)
        .set("heartbeat_interval", 1)
        .set("atom_kill_grace", 1)
        .set("default_http_timeout", 10);
    load_slave(Some(&file), |_| None, &flags).unwrap()
}

/// The commands of a job for [`TestSlave::set_up`].
pub fn job(setup_build: Option<&str>, teardown_build: Option<&str>) -> SetupJob {
    SetupJob {
        name: "test".to_owned(),
        setup_build: setup_build.map(str::to_owned),
        teardown_build: teardown_build.map(str::to_owned),
    }
}

impl TestSlave {
    pub async fn start(master: &FakeMaster, num_executors: u32) -> Self {
        let slave = Place::new().await.start(&master.address, num_executors);
        master
            .hears(|heard| matches!(heard, Heard::Heartbeat { .. }))
            .await;
        slave
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn send(&self, path: &str, body: &Value) -> Result<Value, CallError> {
        self.caller.send(Method::POST, &self.url(path), body).await
    }

    pub fn setup_body(&self, job: SetupJob) -> Value {
        let parameters = json!({"type": "directory", "project_directory": self.project});
        let Value::Object(project_type_params) = parameters else {
            unreachable!()
        };
        serde_json::to_value(SetupRequest {
            project_type_params,
            build_executor_start_index: 5,
            commit: None,
            job: Some(job),
        })
        .unwrap()
    }

    /// Orders a set-up in the test's project directory.
    pub async fn set_up(&self, build: u64, job: SetupJob) {
        let body = self.setup_body(job);
        self.send(&format!("/v1/build/{build}/setup"), &body)
            .await
            .unwrap();
    }

    pub async fn start_subjob(
        &self,
        build: u64,
        subjob: u32,
        attempt: u32,
        commands: &[&str],
    ) -> Result<Value, CallError> {
        let body = SubjobRequest {
            atomic_commands: commands.iter().map(|&command| command.to_owned()).collect(),
            attempt: Some(Attempt(attempt)),
        };
        let body = serde_json::to_value(body).unwrap();
        self.send(&format!("/v1/build/{build}/subjob/{subjob}"), &body)
            .await
    }

    pub async fn tear_down(&self, build: u64) {
        self.send(&format!("/v1/build/{build}/teardown"), &json!({}))
            .await
            .unwrap();
    }

    pub async fn status(&self) -> SlaveStatusBody {
        self.caller.get(&self.url("/v1")).await.unwrap()
    }

    /// Waits until a look at the slave shows what is wanted.
    pub async fn shows(&self, wanted: impl Fn(&SlaveStatusBody) -> bool) {
        let look = async {
            while !wanted(&self.status().await) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, look).await.unwrap();
    }

    pub fn artifacts(&self, build: u64) -> PathBuf {
        self.data.join("artifacts").join(BuildId(build).to_string())
    }

    /// Stops it and waits for its end.
    pub async fn end(self) {
        self.stop.cancel();
        self.has_ended().await;
    }

    /// Waits for its end, and looks that it left nothing in its base directory.
    pub async fn has_ended(self) -> tempfile::TempDir {
        tokio::time::timeout(DEADLINE, self.served)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(marked_processes(&self.data), Vec::<u32>::new());
        for emptied in ["work", "artifacts", "results"] {
            let left = std::fs::read_dir(self.data.join(emptied)).unwrap();
            assert_eq!(left.count(), 0, "{emptied}");
        }
        assert!(!self.data.join("slave.pid").exists());
        self.base
    }
}

/// Waits until a file is there and has a text that ends with a newline.
pub async fn text_of(path: PathBuf) -> String {
    let look = async {
        loop {
            match std::fs::read_to_string(&path) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(DEADLINE, look).await.unwrap()
}

/// Processes that were started by the slave with this data directory.
pub fn marked_processes(data: &FilePath) -> Vec<u32> {
    let mark = format!("CLUSTERRUNNER_PROCESS_MARK={}:", data.display());
    let ids = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let marked = |id: &u32| {
        std::fs::read(format!("/proc/{id}/environ")).is_ok_and(|environment| {
            let mut entries = environment.split(|byte| *byte == 0);
            entries.any(|entry| entry.starts_with(mark.as_bytes()))
        })
    };
    ids.filter(marked).collect()
}
