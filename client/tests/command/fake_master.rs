//! A master that plays a script: it answers what the test put in and runs nothing.

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clusterrunner_common::api::{
    AtomBody, AtomState, AtomView, BuildBody, BuildResult, BuildStatus, BuildView, BuildsBody,
    ConsoleBody, ErrorCode, MasterBody, MasterView, QueueBody, SlaveView, SlavesBody, SubjobBody,
    SubjobView, SubjobsBody, Success, VersionBody,
};
use clusterrunner_common::auth::gate::{Gate, Signed};
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::http::{coded_refusal, refusal, serve};
use clusterrunner_common::ids::{AtomId, BuildId, SessionId, SlaveId, SubjobId};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The secret of the farm in these tests.
pub(crate) const SECRET: &str = "a secret for tests only";

/// What the master answers.
pub(crate) struct Script {
    /// What build 1 looks like, from one look to the next; the last one stays.
    pub(crate) views: VecDeque<BuildView>,
    /// What each look at atom 0 of subjob 0 shows; the last one stays.
    pub(crate) atoms: VecDeque<AtomView>,
    /// Its output at each look at the console; the last one stays.
    pub(crate) consoles: VecDeque<String>,
    /// How many bytes of the last line of each answer are left out.
    pub(crate) console_cut: u64,
    /// What the console is refused with.
    pub(crate) console_refusal: Option<StatusCode>,
    /// How many looks at the console fail before one succeeds.
    pub(crate) console_failures: u32,
    pub(crate) subjobs: Vec<SubjobView>,
    /// The paths of the files that each atom left.
    pub(crate) left_files: Vec<String>,
    /// What the list of these files is refused with.
    pub(crate) left_refusal: Option<(StatusCode, Option<ErrorCode>)>,
    /// Atoms whose files were asked for.
    pub(crate) looked_at: Vec<String>,
    /// Whether a file comes at all, and whether one was asked for.
    pub(crate) keeps_files: bool,
    pub(crate) was_asked_for_file: bool,
    pub(crate) slaves: Vec<SlaveView>,
    pub(crate) archive: Option<Vec<u8>>,
    pub(crate) submission: Result<(), (StatusCode, String)>,
    /// What came in.
    pub(crate) submitted: Vec<Value>,
    pub(crate) canceled: bool,
    /// The messages that were left in the build.
    pub(crate) notes: Vec<Value>,
    /// The orders to shut slaves down.
    pub(crate) shutdowns: Vec<Value>,
    /// Whether an order to cancel is taken and not carried out.
    pub(crate) slow_to_cancel: bool,
}

type Shared = State<Arc<Mutex<Script>>>;

/// A fake master on a port of its own.
pub(crate) struct FakeMaster {
    pub(crate) address: SocketAddr,
    script: Arc<Mutex<Script>>,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FakeMaster {
    /// Starts one that shows these views of build 1.
    pub(crate) fn start(views: impl IntoIterator<Item = BuildView>) -> Self {
        let script = Arc::new(Mutex::new(Script {
            views: views.into_iter().collect(),
            atoms: VecDeque::new(),
            consoles: VecDeque::new(),
            console_cut: 0,
            console_refusal: None,
            console_failures: 0,
            subjobs: Vec::new(),
            left_files: Vec::new(),
            left_refusal: None,
            looked_at: Vec::new(),
            keeps_files: false,
            was_asked_for_file: false,
            slaves: vec![slave()],
            archive: Some(archive(&[("artifact_0_0/clusterrunner_exit_code", "0\n")])),
            submission: Ok(()),
            submitted: Vec::new(),
            canceled: false,
            notes: Vec::new(),
            shutdowns: Vec::new(),
            slow_to_cancel: false,
        }));
        Self::listen("127.0.0.1:0".parse().unwrap(), script)
    }

    fn listen(address: SocketAddr, script: Arc<Mutex<Script>>) -> Self {
        let listener = bind(address);
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (router, stopped) = (router(Arc::clone(&script)), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                serve(listener, router, stopped, Duration::ZERO).await;
            });
        });
        Self {
            address,
            script,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Ends the process, as it were, and starts it again at the same address after `between`.
    pub(crate) fn restart(self, between: impl FnOnce()) -> Self {
        let (address, script) = (self.address, Arc::clone(&self.script));
        drop(self);
        between();
        Self::listen(address, script)
    }
}

impl Drop for FakeMaster {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// After a restart the port may be taken for a moment more: a process that another test starts has
/// copies of all sockets until it has become another program.
fn bind(address: SocketAddr) -> TcpListener {
    let began = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Err(error)
                if error.kind() == ErrorKind::AddrInUse
                    && began.elapsed() < Duration::from_secs(30) =>
            {
                std::thread::yield_now();
            }
            bound => return bound.unwrap(),
        }
    }
}

fn router(script: Arc<Mutex<Script>>) -> Router {
    let secret = Secret::new(SECRET.to_owned()).unwrap();
    let session = SessionId("this-life".to_owned());
    let gate = Gate::new(secret, &session, Duration::from_secs(300), |_, _| false);
    let routes = Router::new()
        .route("/v1", get(master))
        .route("/v1/version", get(version))
        .route("/v1/queue", get(queue))
        .route("/v1/slave", get(slaves))
        .route("/v1/slave/shutdown", post(shut_down))
        .route("/v1/build", get(builds).post(submit))
        .route("/v1/build/{build}", get(build).put(cancel))
        .route("/v1/build/{build}/subjob", get(subjobs))
        .route("/v1/build/{build}/subjob/0", get(subjob))
        .route("/v1/build/{build}/subjob/0/atom/0", get(atom))
        .route(
            "/v1/build/{build}/subjob/{subjob}/atom/{atom}/console",
            get(console),
        )
        .route("/v1/build/{build}/artifacts.tar.gz", get(artifacts))
        .route("/v2/builds/{build}/tests", get(tests))
        .route(
            "/v2/builds/{build}/subjobs/{subjob}/atoms/{atom}/artifacts",
            get(left_files),
        )
        .route(
            "/v2/builds/{build}/subjobs/{subjob}/atoms/{atom}/artifacts/{*path}",
            get(left_file),
        );
    gate.guard(routes.with_state(script))
}

/// Takes the first of what is left, but leaves the last one there.
fn next<T: Clone>(script: &mut VecDeque<T>) -> Option<T> {
    if script.len() > 1 {
        script.pop_front()
    } else {
        script.front().cloned()
    }
}

async fn master(State(script): Shared) -> Json<MasterBody> {
    let slaves = script.lock().unwrap().slaves.clone();
    let status = "Master service is up.".to_owned();
    Json(MasterBody {
        master: MasterView { status, slaves },
    })
}

async fn version() -> Json<VersionBody> {
    Json(VersionBody {
        version: "9.9.9".to_owned(),
        api_version: 1,
    })
}

async fn slaves(State(script): Shared) -> Json<SlavesBody> {
    Json(SlavesBody {
        slaves: script.lock().unwrap().slaves.clone(),
    })
}

async fn queue(State(script): Shared) -> Json<QueueBody> {
    let builds = script.lock().unwrap().views.clone();
    let queue = builds.into_iter().filter(|b| !b.status.is_over()).collect();
    Json(QueueBody { queue })
}

async fn builds(State(script): Shared) -> Json<BuildsBody> {
    Json(BuildsBody {
        builds: script.lock().unwrap().views.clone().into(),
    })
}

async fn submit(State(script): Shared, Signed(request): Signed<Value>) -> Response {
    let mut script = script.lock().unwrap();
    if let Err((status, error)) = &script.submission {
        return refusal(*status, error);
    }
    script.submitted.push(request);
    let accepted = json!({"build_id": 1, "status": "SUCCESS"});
    (StatusCode::ACCEPTED, Json(accepted)).into_response()
}

async fn build(State(script): Shared, Path(build): Path<u64>) -> Response {
    let mut script = script.lock().unwrap();
    match next(&mut script.views) {
        Some(build_view) if build_view.id.0 == build => {
            let build = if script.canceled && !script.slow_to_cancel {
                canceled()
            } else {
                build_view
            };
            Json(BuildBody { build }).into_response()
        }
        _ => refusal(StatusCode::NOT_FOUND, format!("Invalid build id: {build}.")),
    }
}

async fn cancel(State(script): Shared, Signed(order): Signed<Value>) -> Json<Success> {
    let mut script = script.lock().unwrap();
    match order.get("note") {
        Some(note) => script.notes.push(note.clone()),
        None => {
            assert_eq!(order, json!({"status": "canceled"}));
            script.canceled = true;
        }
    }
    Json(Success::default())
}

async fn shut_down(State(script): Shared, Signed(order): Signed<Value>) -> Response {
    if order == json!({"slaves": [99]}) {
        let error = "Requested slave (slave_id=99) does not exist.";
        return refusal(StatusCode::NOT_FOUND, error);
    }
    script.lock().unwrap().shutdowns.push(order);
    StatusCode::OK.into_response()
}

async fn subjobs(State(script): Shared) -> Json<SubjobsBody> {
    Json(SubjobsBody {
        subjobs: script.lock().unwrap().subjobs.clone(),
    })
}

async fn subjob(State(script): Shared) -> Response {
    match script.lock().unwrap().subjobs.first().cloned() {
        Some(subjob) => Json(SubjobBody { subjob }).into_response(),
        None => refusal(StatusCode::NOT_FOUND, "Invalid subjob id."),
    }
}

/// The files that each atom left, whatever their names.
async fn left_files(
    State(script): Shared,
    Path((_, subjob, atom)): Path<(u64, u64, u64)>,
) -> Response {
    let mut script = script.lock().unwrap();
    script.looked_at.push(format!("{subjob}_{atom}"));
    if let Some((status, code)) = script.left_refusal {
        return coded_refusal(status, code, "No such thing.");
    }
    let paths = script.left_files.clone();
    let files = paths.iter().map(|path| json!({"path": path, "bytes": 7}));
    let files: Vec<Value> = files.collect();
    Json(json!({"total": files.len(), "artifacts": files})).into_response()
}

async fn left_file(State(script): Shared) -> &'static str {
    let keeps_files = {
        let mut script = script.lock().unwrap();
        script.was_asked_for_file = true;
        script.keeps_files
    };
    if keeps_files {
        std::future::pending::<()>().await;
    }
    "content"
}

async fn atom(State(script): Shared) -> Response {
    match next(&mut script.lock().unwrap().atoms) {
        Some(atom) => Json(AtomBody { atom }).into_response(),
        None => refusal(StatusCode::NOT_FOUND, "Invalid atom id."),
    }
}

async fn console(State(script): Shared, Query(query): Query<HashMap<String, usize>>) -> Response {
    let mut script = script.lock().unwrap();
    if let Some(status) = script.console_refusal {
        return refusal(status, "No console for you.");
    }
    if let Some(left) = script.console_failures.checked_sub(1) {
        script.console_failures = left;
        return refusal(StatusCode::BAD_GATEWAY, "The slave does not answer.");
    }
    let cut = script.console_cut;
    let Some(text) = next(&mut script.consoles) else {
        return refusal(StatusCode::NOT_FOUND, "Console output does not exist.");
    };
    if let Some(offset) = query.get("offset_byte") {
        let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        return (kind, text[*offset..].to_owned()).into_response();
    }
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let most = query["max_lines"];
    let offset = match query.get("offset_line") {
        Some(offset) if *offset > lines.len() => {
            let error = format!(
                "offset {offset} is higher than the total number of lines: {}",
                lines.len()
            );
            return refusal(StatusCode::BAD_REQUEST, error);
        }
        Some(offset) => *offset,
        None => lines.len().saturating_sub(most),
    };
    let shown: Vec<&str> = lines[offset..].iter().take(most).copied().collect();
    Json(ConsoleBody {
        offset_line: offset as u64,
        num_lines: shown.len() as u64,
        total_num_lines: lines.len() as u64,
        content: shown.concat(),
        num_bytes_cut: if shown.is_empty() { 0 } else { cut },
    })
    .into_response()
}

/// A test of each kind, as far as they are asked for.
async fn tests(Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let wanted = query.get("outcome");
    let test = |(outcome, message): &(&str, Option<&str>)| {
        json!({
            "name": format!("test_{outcome}"), "class": "tests.Sums", "file": null, "time": 0.5, "outcome": outcome,
            "atom": "tests/sums.py", "message": message, "subjob_id": 0, "atom_id": 0,
        })
    };
    let tests: Vec<Value> = [
        ("failed", Some("first line\nassert 1 == 2")),
        ("flaky", Some("only once")),
        ("skipped", Some("not now")),
        ("passed", None),
    ]
    .iter()
    .filter(|(outcome, _)| wanted.is_none_or(|wanted| wanted == outcome))
    .map(test)
    .collect();
    let counts = json!({"passed": 1, "failed": 1, "skipped": 1, "flaky": 1});
    Json(json!({"total": tests.len(), "tests": tests, "counts": counts}))
}

async fn artifacts(State(script): Shared) -> Response {
    match script.lock().unwrap().archive.clone() {
        Some(archive) => ([(header::CONTENT_TYPE, "application/gzip")], archive).into_response(),
        None => StatusCode::ACCEPTED.into_response(),
    }
}

/// An archive with these members, whatever their names.
pub(crate) fn archive(members: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// Build 1 in this state, as it was submitted.
pub(crate) fn view(status: BuildStatus) -> BuildView {
    let entered = json!({"queued": 100.0, "preparing": null, "prepared": null, "building": null});
    BuildView {
        id: BuildId(1),
        status,
        details: None,
        error_message: None,
        num_atoms: None,
        num_subjobs: 0,
        failed_atoms: None,
        result: None,
        request_params: Map::from_iter([
            ("type".to_owned(), json!("directory")),
            ("project_directory".to_owned(), json!("/srv/project")),
            ("job_name".to_owned(), json!("Unit")),
        ]),
        state_timestamps: serde_json::from_value(entered).unwrap(),
        artifacts: None,
        commit: None,
        job_name: None,
        num_atoms_completed: 0,
        num_atoms_failed: 0,
        num_atoms_in_progress: 0,
        num_atoms_in_trouble: 0,
        retry_of: None,
        children: Vec::new(),
        parent: None,
        matrix: None,
        failing: None,
        num_atoms_not_run: None,
        num_atoms_flaky: None,
        warnings: Vec::new(),
        lacks_atoms: false,
        seconds_left: None,
        finish: None,
        slaves_setting_up: Vec::new(),
        template: None,
        project_id: None,
        started_by: None,
        flaky_fails: false,
    }
}

/// Build 1 with so many atoms done and failed.
pub(crate) fn building(atoms: u64, done: u64, failed: u64) -> BuildView {
    BuildView {
        num_atoms: Some(atoms),
        num_subjobs: atoms,
        num_atoms_completed: done,
        num_atoms_failed: failed,
        num_atoms_in_progress: u64::from(done < atoms),
        ..view(BuildStatus::Building)
    }
}

/// Build 1 after its end.
pub(crate) fn finished(atoms: u64, failed: Vec<AtomView>) -> BuildView {
    let result = if failed.is_empty() {
        BuildResult::NoFailures
    } else {
        BuildResult::Failure
    };
    BuildView {
        status: BuildStatus::Finished,
        result: Some(result),
        failed_atoms: Some(failed.clone()),
        num_atoms_failed: failed.len() as u64,
        ..building(atoms, atoms, 0)
    }
}

/// Build 1 after somebody canceled it.
pub(crate) fn canceled() -> BuildView {
    BuildView {
        status: BuildStatus::Canceled,
        result: Some(BuildResult::Failure),
        ..building(2, 1, 0)
    }
}

/// Atom 0 of a subjob.
pub(crate) fn atom_of(subjob: u32, state: AtomState, exit_code: Option<i32>) -> AtomView {
    AtomView {
        command_string: format!("export TEST=\"test_{subjob}\";"),
        name: None,
        value: None,
        expected_time: None,
        actual_time: exit_code.map(|_| 1.25),
        exit_code,
        state,
        id: AtomId(0),
        subjob_id: SubjobId(subjob),
        trouble: None,
        started_at: None,
        executor_id: None,
        attempt: None,
        failed_attempts: Vec::new(),
        is_flaky: false,
        fails_as_flaky: false,
        signal: None,
        timed_out_after: None,
        output_bytes: None,
        max_memory_bytes: None,
        cpu_seconds: None,
    }
}

fn slave() -> SlaveView {
    SlaveView {
        url: "10.0.0.7:43001".to_owned(),
        id: SlaveId(1),
        session_id: None,
        num_executors: 8,
        num_executors_in_use: 3,
        current_build_id: Some(BuildId(7)),
        current_build_state: None,
        is_alive: true,
        is_in_shutdown_mode: false,
        labels: Vec::new(),
        is_drained: false,
        is_quarantined: false,
        quarantine_reason: None,
        next_probe_at: None,
        is_in_doubt: false,
        lost_reason: None,
        is_stopped: false,
        last_heard_at: None,
        version: None,
        load_of_last_hour: Vec::new(),
    }
}
