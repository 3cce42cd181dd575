//! A farm of real daemons on one machine, with a base directory, a secret and a loopback address of
//! its own, so that any number of farms run side by side on the same ports.

use crate::daemon::{Daemon, STOP_LIMIT, own_address};
use crate::processes;
use crate::program::clusterrunner;
use crate::wait::{PATIENCE, is_true_within, wait_for};
use clusterrunner_client::Client;
use clusterrunner_common::api::{AtomView, BuildView, SlaveView, SubjobView};
use clusterrunner_common::caller::Caller;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::secret::Secret;
use clusterrunner_common::tls::{Authorities, HttpsSettings};
use rustix::process::Signal;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The port of every farm's master.
const MASTER_PORT: u16 = 43000;

/// A master and its slaves.
pub(crate) struct Farm {
    directory: TempDir,
    address: String,
    secret: String,
    https: HttpsSettings,
    master: Option<Daemon>,
    slaves: Vec<Daemon>,
    /// Whether a daemon was killed, whose commands nobody ended then.
    killed: bool,
    /// What daemons are started through, by their names.
    wrappers: BTreeMap<String, Vec<String>>,
}

/// A daemon's settings beside those that every farm has, by section.
#[derive(Default)]
pub(crate) struct Extra<'a> {
    pub(crate) general: &'a str,
    pub(crate) master: &'a str,
    pub(crate) slave: &'a str,
}

impl Farm {
    /// A farm without any daemon yet, with settings that notice a dead slave soon.
    pub(crate) fn new() -> Self {
        Self::with(&Extra::default())
    }

    /// [`Farm::new`] with settings that the test is about.
    pub(crate) fn with(extra: &Extra<'_>) -> Self {
        Self::at(own_address(MASTER_PORT), extra)
    }

    /// [`Farm::with`] whose master has this address.
    pub(crate) fn at(address: String, extra: &Extra<'_>) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("clusterrunner-farm-")
            .tempdir()
            .unwrap();
        let farm = Self {
            address,
            // Different from farm to farm, so that a call to the wrong one would be noticed.
            secret: format!("secret of {}", directory.path().display()),
            directory,
            https: HttpsSettings::default(),
            master: None,
            slaves: Vec::new(),
            killed: false,
            wrappers: BTreeMap::new(),
        };
        for sub in ["base", "home", "output"] {
            fs::create_dir(farm.path(sub)).unwrap();
        }
        farm.write_settings("clusterrunner.conf", &farm.secret, extra);
        farm
    }

    /// The address that all daemons of this farm listen on.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Makes all of this farm speak HTTPS with a certificate, which its client believes.
    pub(crate) fn secure(&mut self, certificate: &Path, key: &Path) {
        let file = self.path("base/clusterrunner.conf");
        let text = fs::read_to_string(&file).unwrap();
        let https = format!(
            "https_cert_file = {cert}\nhttps_key_file = {}\nhttps_ca_file = {cert}\n[master]\n",
            key.display(),
            cert = certificate.display()
        );
        fs::write(file, text.replacen("[master]\n", &https, 1)).unwrap();
        self.https.authorities = Some(Authorities::File(certificate.to_owned()));
    }

    /// A farm with a master and a slave for each number of executors, all in contact.
    pub(crate) async fn start(executors: &[u32]) -> Self {
        let mut farm = Self::new();
        farm.start_all(executors).await;
        farm
    }

    /// Starts a master and a slave for each number of executors, and waits until all are in contact.
    pub(crate) async fn start_all(&mut self, executors: &[u32]) {
        self.start_master().await;
        for executors in executors {
            self.start_slave(*executors);
        }
        self.wait_for_slaves(executors.len()).await;
    }

    fn write_settings(&self, name: &str, secret: &str, extra: &Extra<'_>) {
        let lease = match extra.master.contains("slave_lost_after") {
            true => "",
            false => "slave_lost_after = 3\n",
        };
        let text = format!(
            "[general]\nsecret = '{secret}'\nbind_address = {address}\natom_kill_grace = 1\n{}\n\
             [master]\nport = {MASTER_PORT}\nbuild_symlink_directory = '{links}'\n{lease}{}\n\
             [slave]\nmaster_hostname = {address}\nmaster_port = {MASTER_PORT}\nheartbeat_interval = 1\n{}\n",
            extra.general,
            extra.master,
            extra.slave,
            links = self.path("links").display(),
            address = self.address,
        );
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path("base").join(name))
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    /// Has a daemon started through another program: `master` or `slave 0`.
    pub(crate) fn wrap(&mut self, daemon: &str, wrapper: Vec<String>) {
        self.wrappers.insert(daemon.to_owned(), wrapper);
    }

    /// The master's process.
    pub(crate) fn master_process(&self) -> u32 {
        self.master.as_ref().expect("there is a master").child.id()
    }

    /// A slave's process.
    pub(crate) fn slave_process(&self, slave: usize) -> u32 {
        self.slaves[slave].child.id()
    }

    /// A second settings file that differs in its secret; its path.
    pub(crate) fn settings_with_secret(&self, secret: &str) -> PathBuf {
        self.write_settings("other.conf", secret, &Extra::default());
        self.path("base").join("other.conf")
    }

    /// A path in the farm's own temporary directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What every process of this farm has in its environment or command line.
    pub(crate) fn mark(&self) -> String {
        self.path("base").display().to_string()
    }

    /// `address:port` of the master.
    pub(crate) fn master_address(&self) -> String {
        format!("{}:{MASTER_PORT}", self.address)
    }

    /// `address:port` of a slave.
    pub(crate) fn slave_address(&self, slave: usize) -> String {
        format!("{}:{}", self.address, self.slave_port(slave))
    }

    #[expect(
        clippy::unused_self,
        reason = "an address and a port are asked for alike"
    )]
    fn slave_port(&self, slave: usize) -> u16 {
        MASTER_PORT + 1 + u16::try_from(slave).unwrap()
    }

    /// The farm's secret.
    pub(crate) fn secret(&self) -> Secret {
        Secret::new(self.secret.clone()).unwrap()
    }

    /// The farm's secret, for programs that are not ours.
    pub(crate) fn secret_text(&self) -> &str {
        &self.secret
    }

    /// A client that signs with the farm's secret and rides through a restart of the master.
    pub(crate) fn client(&self) -> Client {
        let (secret, timeout) = (Some(self.secret()), Duration::from_secs(30));
        let caller = Caller::with_https(secret, timeout, &self.https).unwrap();
        Client::new(caller, &self.master_address(), PATIENCE)
    }

    /// The program with this farm's surroundings and nothing else of ours.
    pub(crate) fn command(&self) -> Command {
        self.surrounded(Command::new(clusterrunner()))
    }

    fn surrounded(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("CLUSTERRUNNER_BASE_DIRECTORY", self.path("base"))
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    fn spawn(&self, name: &str, arguments: &[&str]) -> Daemon {
        let output = File::options()
            .append(true)
            .create(true)
            .open(self.path("output").join(name))
            .unwrap();
        let command = match self.wrappers.get(name).map(Vec::as_slice) {
            Some([wrapper, more @ ..]) => {
                let mut command = Command::new(wrapper);
                command.args(more).arg(clusterrunner());
                command
            }
            Some([]) | None => Command::new(clusterrunner()),
        };
        let child = self
            .surrounded(command)
            .args(arguments)
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0)
            .spawn()
            .unwrap();
        let name = name.to_owned();
        Daemon {
            name,
            child,
            was_killed: false,
            was_stopped: false,
        }
    }

    /// Starts the master, or starts it again, and waits until it answers.
    pub(crate) async fn start_master(&mut self) {
        assert!(self.master.is_none(), "there is a master already");
        self.master = Some(self.spawn("master", &["master"]));
        let client = self.client().with_patience(Duration::ZERO);
        wait_for("the master answers", async || client.version().await.ok()).await;
    }

    /// Starts one more slave; its number, from 0.
    pub(crate) fn start_slave(&mut self, executors: u32) -> usize {
        let slave = self.slaves.len();
        let daemon = self.spawn_slave(slave, executors, &[]);
        self.slaves.push(daemon);
        slave
    }

    /// Starts one more slave with other settings than the farm's.
    pub(crate) fn start_slave_with(&mut self, executors: u32, settings: &Path) -> usize {
        let more = ["--config-file", settings.to_str().unwrap()];
        self.start_slave_with_arguments(executors, &more)
    }

    /// Starts one more slave with more on its command line.
    pub(crate) fn start_slave_with_arguments(&mut self, executors: u32, more: &[&str]) -> usize {
        let slave = self.slaves.len();
        let daemon = self.spawn_slave(slave, executors, more);
        self.slaves.push(daemon);
        slave
    }

    /// Starts a slave that has ended again, on the same port.
    pub(crate) fn restart_slave(&mut self, slave: usize, executors: u32) {
        assert!(self.has_ended(slave), "it must have ended");
        self.slaves[slave] = self.spawn_slave(slave, executors, &[]);
    }

    fn spawn_slave(&self, slave: usize, executors: u32, more: &[&str]) -> Daemon {
        let (port, executors) = (self.slave_port(slave).to_string(), executors.to_string());
        let own = ["slave", "--port", &port, "--num-executors", &executors];
        self.spawn(&format!("slave {slave}"), &[&own[..], more].concat())
    }

    /// Kills the master without warning.
    pub(crate) fn kill_master(&mut self) {
        let mut master = self.master.take().expect("there is a master");
        master.kill();
        self.killed = true;
    }

    /// Asks the master to end and waits for that.
    pub(crate) fn stop_master(&mut self) -> ExitStatus {
        let mut master = self.master.take().expect("there is a master");
        master.stop()
    }

    /// Kills a slave without warning; what it ran goes on.
    pub(crate) fn kill_slave(&mut self, slave: usize) {
        self.slaves[slave].kill();
        self.killed = true;
    }

    /// Asks a slave to end and waits for that.
    pub(crate) fn stop_slave(&mut self, slave: usize) -> ExitStatus {
        self.slaves[slave].stop()
    }

    /// Pauses a slave, or lets it go on.
    pub(crate) fn signal_slave(&self, slave: usize, signal: Signal) {
        self.slaves[slave].signal(signal);
    }

    /// Whether a slave's process has ended.
    pub(crate) fn has_ended(&mut self, slave: usize) -> bool {
        self.slaves[slave].has_ended()
    }

    /// Waits for a slave to end by itself.
    pub(crate) async fn end_of_slave(&mut self, slave: usize) -> ExitStatus {
        let child = &mut self.slaves[slave].child;
        let ended = is_true_within(STOP_LIMIT, || child.try_wait().unwrap().is_some());
        assert!(ended, "slave {slave} does not end");
        child.wait().unwrap()
    }

    /// What a daemon has printed so far: `master` or `slave 0`.
    pub(crate) fn output(&self, daemon: &str) -> String {
        let bytes = fs::read(self.path("output").join(daemon)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until so many slaves are alive; all that the master knows.
    pub(crate) async fn wait_for_slaves(&self, number: usize) -> Vec<SlaveView> {
        let client = self.client();
        wait_for(&format!("{number} slaves are in contact"), async || {
            let slaves = client.slaves().await.unwrap();
            let alive = slaves.iter().filter(|slave| slave.is_alive).count();
            (alive == number).then_some(slaves)
        })
        .await
    }

    /// Waits until the master and its slaves have nothing left to do: no executor in use, no build set
    /// up anywhere, no file of one on any slave that was not killed.
    pub(crate) async fn wait_for_rest(&self) {
        let client = self.client();
        wait_for("the farm is at rest", async || {
            let slaves = client.slaves().await.unwrap();
            let idle = |slave: &SlaveView| {
                slave.num_executors_in_use == 0 && slave.current_build_id.is_none()
            };
            let at_rest = slaves.iter().filter(|slave| slave.is_alive).all(idle);
            (at_rest && self.leftovers().is_empty()).then_some(())
        })
        .await;
    }

    /// What builds have left in the directories of the slaves.
    fn leftovers(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for (slave, _) in (0..)
            .zip(&self.slaves)
            .filter(|(_, slave)| !slave.was_killed)
        {
            let directory = format!("base/slave-{}", self.slave_port(slave));
            // A slave that was stopped keeps what the master has not taken for its next life.
            let held = (!self.slaves[slave].was_stopped).then_some("held");
            for part in ["work", "artifacts", "results"].into_iter().chain(held) {
                let entries = fs::read_dir(self.path(&directory).join(part));
                left.extend(entries.into_iter().flatten().flatten().map(|e| e.path()));
            }
        }
        left
    }

    /// Pauses the master, or lets it go on.
    pub(crate) fn signal_master(&self, signal: Signal) {
        let master = self.master.as_ref().expect("there is a master");
        master.signal(signal);
    }

    /// Submits a build.
    pub(crate) async fn submit(&self, request: &Value) -> BuildId {
        self.client().submit_params(&object(request)).await.unwrap()
    }

    /// Waits for the end of a build.
    pub(crate) async fn end_of(&self, build: BuildId) -> BuildView {
        let client = self.client();
        wait_for(&format!("build {build} is over"), async || {
            let view = client.build(build).await.unwrap();
            view.status.is_over().then_some(view)
        })
        .await
    }

    /// Runs a build from beginning to end.
    pub(crate) async fn run(&self, request: &Value) -> BuildView {
        let build = self.submit(request).await;
        self.end_of(build).await
    }

    /// All subjobs of a build.
    pub(crate) async fn subjobs(&self, build: BuildId) -> Vec<SubjobView> {
        self.client().subjobs(build).await.unwrap()
    }

    /// All atoms of a build.
    pub(crate) async fn atoms(&self, build: BuildId) -> Vec<AtomView> {
        let subjobs = self.subjobs(build).await.into_iter();
        subjobs.flat_map(|subjob| subjob.atoms).collect()
    }

    /// An atom's whole output as the API gives it.
    pub(crate) async fn console(&self, build: BuildId, atom: &AtomView) -> String {
        let client = self.client();
        let console = client.console(build, atom.subjob_id, atom.id, 1_000_000, Some(0));
        console.await.unwrap().content
    }

    fn show_logs(&self) {
        let mut outputs: Vec<_> = fs::read_dir(self.path("output"))
            .unwrap()
            .flatten()
            .collect();
        outputs.sort_by_key(fs::DirEntry::file_name);
        for output in outputs {
            let name = output.file_name().into_string().unwrap();
            eprintln!("---- {name}\n{}", self.output(&name));
        }
        eprintln!("----");
    }

    fn check_end(&mut self) {
        let slaves = self.slaves.iter_mut();
        let daemons = slaves.chain(self.master.as_mut());
        for daemon in daemons {
            // One that the test ended has been looked at there.
            if !daemon.has_ended() {
                let status = daemon.stop();
                assert!(status.success(), "{} ended with {status}", daemon.name);
            }
        }
        let mark = self.mark();
        if self.killed {
            processes::kill_with_text(&mark);
        }
        let none_left = is_true_within(Duration::from_secs(5), || {
            processes::with_text(&mark).is_empty()
        });
        let left = processes::with_text(&mark);
        assert!(none_left, "these processes are left: {left:#?}");
        for port in (0..=self.slaves.len()).map(|slave| MASTER_PORT + u16::try_from(slave).unwrap())
        {
            let address = format!("{}:{port}", self.address);
            // Connecting would succeed only if somebody still listened.
            assert!(
                std::net::TcpStream::connect(&address).is_err(),
                "somebody listens at {address}"
            );
        }
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        let panicking = std::thread::panicking();
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if !panicking {
                self.check_end();
            }
        }));
        if panicking || checked.is_err() {
            self.show_logs();
        }
        for daemon in self.slaves.iter_mut().chain(self.master.as_mut()) {
            daemon.kill();
        }
        // Now that nobody starts new ones.
        processes::kill_with_text(&self.mark());
        let removed = fs::remove_dir_all(self.directory.path());
        if !panicking && checked.is_ok() {
            removed.expect("nobody uses the directory any more");
        }
        if let Err(failure) = checked {
            std::panic::resume_unwind(failure);
        }
    }
}

/// A JSON object, from `json!`.
pub(crate) fn object(value: &Value) -> Map<String, Value> {
    value.as_object().expect("a JSON object").clone()
}
