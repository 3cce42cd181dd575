//! A slave in this process, in a base directory of its own.

use crate::fake_master::{FakeMaster, Heard, SECRET, mark, secret};
use clusterrunner_common::api::{
    SetupRequest, SlaveStatusBody, SubjobOrder, SubjobRequest, SubjobsRequest,
};
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::ids::{Attempt, BuildId, SubjobId};
use clusterrunner_common::settings::{Overrides, SlaveSettings, load_slave};
use clusterrunner_common::work::{IsolationWish, SetupJob};
use reqwest::Method;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Nothing here takes nearly as long, unless it never ends; commands that must not be waited for sleep
/// for longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A slave in this process, with its own base directory and a project.
pub(crate) struct TestSlave {
    pub(crate) address: String,
    pub(crate) data: PathBuf,
    pub(crate) project: PathBuf,
    pub(crate) stop: CancellationToken,
    pub(crate) caller: Caller,
    served: JoinHandle<()>,
    base: tempfile::TempDir,
}

/// A place for a slave that does not run yet.
pub(crate) struct Place {
    pub(crate) base: tempfile::TempDir,
    pub(crate) listener: TcpListener,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self {
            base: tempfile::tempdir().unwrap(),
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    /// The place of a slave that has ended. Its port may be taken for a moment more: a process that
    /// another test starts has copies of all sockets until it has become another program.
    pub(crate) async fn again(base: tempfile::TempDir, address: SocketAddr) -> Self {
        let bind = async {
            loop {
                match TcpListener::bind(address).await {
                    Err(error) if error.kind() == ErrorKind::AddrInUse => {
                        tokio::task::yield_now().await;
                    }
                    bound => break bound.unwrap(),
                }
            }
        };
        let listener = tokio::time::timeout(DEADLINE, bind).await.unwrap();
        Self { base, listener }
    }

    pub(crate) fn data(&self) -> PathBuf {
        let port = self.listener.local_addr().unwrap().port();
        self.base.path().join(format!("base/slave-{port}"))
    }

    /// Where templates are found.
    pub(crate) fn templates_path(&self) -> PathBuf {
        self.base.path().join("t")
    }

    pub(crate) fn start(self, master: &str, num_executors: u32) -> TestSlave {
        self.start_with(master, num_executors, &[])
    }

    /// The same with these settings besides.
    pub(crate) fn start_with(
        self,
        master: &str,
        num_executors: u32,
        others: &[(&str, &str)],
    ) -> TestSlave {
        let settings = settings(self.base.path(), master, num_executors, others);
        let stop = CancellationToken::new();
        let address = self.listener.local_addr().unwrap().to_string();
        let data = self.data();
        let project = self.base.path().join("project");
        std::fs::create_dir_all(&project).unwrap();
        let program = env!("CARGO_BIN_EXE_clusterrunner-slave").into();
        let served = clusterrunner_slave::serve(settings, self.listener, stop.clone(), program);
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

fn settings(
    base: &Path,
    master: &str,
    num_executors: u32,
    others: &[(&str, &str)],
) -> SlaveSettings {
    let file = base.join("clusterrunner.conf");
    let mut text = format!("[general]\nsecret = {SECRET:?}\n[slave]\n");
    // Most have no use for one.
    let given = |wanted| others.iter().any(|(name, _)| *name == wanted);
    if !given("container_runtime") {
        text.push_str("container_runtime = none\n");
    }
    for (name, value) in others {
        text.push_str(&format!("{name} = {value}\n"));
    }
    std::fs::write(&file, text).unwrap();
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
        .set("default_http_timeout", 10)
        .set("templates_path", base.join("t").display())
        .set("instance_stop_grace", 1);
    load_slave(Some(&file), |_| None, &flags).unwrap()
}

/// The commands of a job for [`TestSlave::set_up`].
pub(crate) fn job(setup_build: Option<&str>, teardown_build: Option<&str>) -> SetupJob {
    SetupJob {
        name: "test".to_owned(),
        setup_build: setup_build.map(str::to_owned),
        teardown_build: teardown_build.map(str::to_owned),
        setup_timeout_s: None,
        teardown_timeout_s: None,
        max_executors: None,
        priority: 0,
        weight: None,
        image: None,
        templates: Vec::new(),
        junit: None,
        batch_command: None,
        cache: None,
        setup_once: false,
        worker: None,
        isolation: IsolationWish::default(),
    }
}

impl TestSlave {
    /// Where templates are found.
    pub(crate) fn templates_path(&self) -> PathBuf {
        self.base.path().join("t")
    }

    pub(crate) async fn start(master: &FakeMaster, num_executors: u32) -> Self {
        let slave = Place::new().await.start(&master.address, num_executors);
        master
            .hears(|heard| matches!(heard, Heard::Heartbeat { .. }))
            .await;
        slave
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn send(&self, path: &str, body: &Value) -> Result<Value, CallError> {
        let mut body = body.clone();
        // Each order names its master, if the test says nothing else.
        if let Value::Object(fields) = &mut body
            && path.starts_with("/v1/build/")
        {
            let named = fields.entry("master");
            named.or_insert_with(|| json!(mark("first", "life-1", 1)));
        }
        self.caller.send(Method::POST, &self.url(path), &body).await
    }

    pub(crate) fn setup_body(&self, job: SetupJob) -> Value {
        let parameters = json!({"type": "directory", "project_directory": self.project});
        let Value::Object(project_type_params) = parameters else {
            unreachable!()
        };
        serde_json::to_value(SetupRequest {
            project_type_params,
            build_executor_start_index: 5,
            job: Some(job),
            master: Some(mark("first", "life-1", 1)),
            ..SetupRequest::default()
        })
        .unwrap()
    }

    /// Orders a set-up in the test's project directory.
    pub(crate) async fn set_up(&self, build: u64, job: SetupJob) {
        let body = self.setup_body(job);
        self.send(&format!("/v1/build/{build}/setup"), &body)
            .await
            .unwrap();
    }

    pub(crate) async fn start_subjob(
        &self,
        build: u64,
        subjob: u32,
        attempt: u32,
        commands: &[&str],
    ) -> Result<Value, CallError> {
        let body = SubjobRequest {
            atomic_commands: commands.iter().map(|&command| command.to_owned()).collect(),
            attempt: Some(Attempt(attempt)),
            timeout_s: None,
            master: None,
        };
        let body = serde_json::to_value(body).unwrap();
        self.send(&format!("/v1/build/{build}/subjob/{subjob}"), &body)
            .await
    }

    /// Hands out many subjobs of one atom each, in one call.
    pub(crate) async fn start_subjobs(
        &self,
        build: u64,
        command: &str,
        subjobs: &[(u32, u32, &str)],
    ) -> Result<Value, CallError> {
        let order = |(subjob, attempt, atom): &(u32, u32, &str)| SubjobOrder {
            subjob_id: SubjobId(*subjob),
            attempt: Attempt(*attempt),
            atoms: vec![(*atom).to_owned()],
            batch: None,
        };
        let body = SubjobsRequest {
            command: command.to_owned(),
            timeout_s: None,
            subjobs: subjobs.iter().map(order).collect(),
            master: None,
        };
        let body = serde_json::to_value(body).unwrap();
        self.send(&format!("/v1/build/{build}/subjobs"), &body)
            .await
    }

    pub(crate) async fn tear_down(&self, build: u64) {
        self.send(&format!("/v1/build/{build}/teardown"), &json!({}))
            .await
            .unwrap();
    }

    pub(crate) async fn status(&self) -> SlaveStatusBody {
        self.caller.get(&self.url("/v1")).await.unwrap()
    }

    /// Waits until a look at the slave shows what is wanted.
    pub(crate) async fn shows(&self, wanted: impl Fn(&SlaveStatusBody) -> bool) {
        let look = async {
            while !wanted(&self.status().await) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, look).await.unwrap();
    }

    pub(crate) fn artifacts(&self, build: u64) -> PathBuf {
        self.data.join("artifacts").join(BuildId(build).to_string())
    }

    /// Stops it and waits for its end.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.has_ended().await;
    }

    /// Waits for its end, and looks that it left nothing in its base directory.
    pub(crate) async fn has_ended(self) -> tempfile::TempDir {
        tokio::time::timeout(DEADLINE, self.served)
            .await
            .unwrap()
            .unwrap();
        let left = all_processes(&format!("{}:", self.data.display()));
        assert_eq!(left, Vec::<u32>::new());
        for emptied in ["work", "artifacts", "consoles", "results"] {
            let left = std::fs::read_dir(self.data.join(emptied)).unwrap();
            assert_eq!(left.count(), 0, "{emptied}");
        }
        assert!(!self.data.join("slave.pid").exists());
        self.base
    }
}

/// Waits until a file is there and has a text that ends with a newline.
pub(crate) async fn text_of(path: PathBuf) -> String {
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

/// Processes that were started for builds by the slave with this data directory: not the one that waits for the next.
pub(crate) fn marked_processes(data: &Path) -> Vec<u32> {
    let waiting = format!("{}:fetch-project-", data.display());
    let mut found = all_processes(&format!("{}:", data.display()));
    let waiting = all_processes(&waiting);
    found.retain(|id| !waiting.contains(id));
    found
}

pub(crate) fn all_processes(mark: &str) -> Vec<u32> {
    let mark = format!("CLUSTERRUNNER_PROCESS_MARK={mark}");
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
