//! A master that plays a script: it answers what the test put in and runs nothing.

mod answers;
mod views;

pub(crate) use views::{archive, atom_of, building, canceled, finished, view};

use answers::{
    artifacts, atom, build, builds, cancel, console, left_file, left_files, master, queue,
    shut_down, slaves, subjob, subjobs, submit, tests, version,
};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use clusterrunner_common::api::{AtomView, BuildView, ErrorCode, SlaveView, SubjobView};
use clusterrunner_common::auth::gate::Gate;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::http::serve;
use clusterrunner_common::ids::SessionId;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use views::slave;

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
