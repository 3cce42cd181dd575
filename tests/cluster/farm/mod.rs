//! A farm of real daemons on one machine, with a base directory, a secret and a loopback address of
//! its own, so that any number of farms run side by side.

mod builds;
mod end;
mod life;

use crate::daemon::{Daemon, own_address};
use crate::ports::free_ports;
use crate::program::clusterrunner;
use crate::wait::PATIENCE;
use clusterrunner_client::Client;
use clusterrunner_common::auth::keys::OwnKey;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::caller::Caller;
use clusterrunner_common::http::tls::{Authorities, HttpsSettings, Identity};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The ports that a farm has: the first is the master's, the next are those of our slaves, the last ones those of
/// the original's.
const NUM_PORTS: u16 = 16;
const FIRST_PEER: u16 = 12;

/// A master and its slaves.
pub(crate) struct Farm {
    directory: TempDir,
    address: String,
    /// The first of its ports.
    port: u16,
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
        Self::at(own_address(), extra)
    }

    /// [`Farm::with`] whose master has this address.
    pub(crate) fn at(address: String, extra: &Extra<'_>) -> Self {
        Self::in_directory(&std::env::temp_dir(), address, extra)
    }

    /// [`Farm::at`] whose files are not where all temporary files are.
    pub(crate) fn in_directory(parent: &Path, address: String, extra: &Extra<'_>) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("clusterrunner-farm-")
            .tempdir_in(parent)
            .unwrap();
        let farm = Self {
            port: free_ports(&address, NUM_PORTS),
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
        self.secure_with(certificate, key, certificate);
    }

    /// [`Farm::secure`] with a certificate of an authority. Who asks for one is shown the same certificate.
    pub(crate) fn secure_with(&mut self, certificate: &Path, key: &Path, authority: &Path) {
        let file = self.path("base/clusterrunner.conf");
        let text = fs::read_to_string(&file).unwrap();
        let https = format!(
            "https_cert_file = {}\nhttps_key_file = {}\nhttps_ca_file = {}\n[master]\n",
            certificate.display(),
            key.display(),
            authority.display()
        );
        fs::write(file, text.replacen("[master]\n", &https, 1)).unwrap();
        self.https.authorities = Some(Authorities::File(authority.to_owned()));
        self.https.identity = Some(Identity {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        });
    }

    fn write_settings(&self, name: &str, secret: &str, extra: &Extra<'_>) {
        let lease = match extra.master.contains("slave_lost_after") {
            true => "",
            false => "slave_lost_after = 3\n",
        };
        // A search for one would cost each slave a second.
        let containers = match extra.slave.contains("container_runtime") {
            true => "",
            false => "container_runtime = none\n",
        };
        // The usual port is for one farm on a machine only.
        let ssh = match extra.master.contains("ssh_port") {
            true => "",
            false => "ssh_port = OFF\n",
        };
        let master = extra.master.replace(
            "ssh_port = AT_HAND",
            &format!("ssh_port = {}", self.ssh_port()),
        );
        let text = format!(
            "[general]\nsecret = '{secret}'\nbind_address = {address}\natom_kill_grace = 1\n{}\n\
             [master]\nport = {port}\nbuild_symlink_directory = '{links}'\n{lease}{ssh}{}\n\
             [slave]\nmaster_hostname = {address}\nmaster_port = {port}\nheartbeat_interval = 1\n\
             templates_path = '{templates}'\n{containers}{}\n",
            extra.general,
            master,
            extra.slave,
            links = self.path("links").display(),
            templates = self.path("templates").display(),
            address = self.address,
            port = self.port,
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

    /// Appends to the settings, for daemons that start later.
    pub(crate) fn add_settings(&self, text: &str) {
        let file = self.path("base/clusterrunner.conf");
        let mut file = OpenOptions::new().append(true).open(file).unwrap();
        file.write_all(text.as_bytes()).unwrap();
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

    /// The key of a slave that has joined.
    pub(crate) fn slave_key(&self, slave: usize) -> OwnKey {
        let file = self.slave_directory(slave).join("identity/own.key");
        OwnKey::from_text(&fs::read_to_string(file).unwrap()).unwrap()
    }

    /// The incarnation of its journal, which the master's event log tells to anybody.
    pub(crate) fn incarnation(&self) -> Value {
        let log = fs::read_to_string(self.path("base/log/eventlog_master.log")).unwrap();
        let mut events = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let begun = events.find(|event| event["__tag__"] == "INCARNATION_BEGUN");
        begun.expect("one began at the start")["incarnation"].clone()
    }

    /// What every process of this farm has in its environment or command line.
    pub(crate) fn mark(&self) -> String {
        self.path("base").display().to_string()
    }

    /// `address:port` of the master.
    pub(crate) fn master_address(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }

    /// `address:port` of a slave.
    pub(crate) fn slave_address(&self, slave: usize) -> String {
        format!("{}:{}", self.address, self.slave_port(slave))
    }

    /// The port of the master.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The port of a slave.
    pub(crate) fn slave_port(&self, slave: usize) -> u16 {
        let port = 1 + u16::try_from(slave).unwrap();
        assert!(port < FIRST_PEER - 1, "a farm has no port for more slaves");
        self.port + port
    }

    /// The port of a slave of the original.
    pub(crate) fn peer_port(&self, peer: u16) -> u16 {
        assert!(FIRST_PEER + peer < NUM_PORTS, "a farm has no port for more");
        self.port + FIRST_PEER + peer
    }

    /// The port for SSH, where the settings have one.
    pub(crate) fn ssh_port(&self) -> u16 {
        self.port + FIRST_PEER - 1
    }

    /// The directory of a slave.
    pub(crate) fn slave_directory(&self, slave: usize) -> PathBuf {
        self.path(&format!("base/slave-{}", self.slave_port(slave)))
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

    /// What a daemon has printed so far: `master` or `slave 0`.
    pub(crate) fn output(&self, daemon: &str) -> String {
        let bytes = fs::read(self.path("output").join(daemon)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A JSON object, from `json!`.
pub(crate) fn object(value: &Value) -> Map<String, Value> {
    value.as_object().expect("a JSON object").clone()
}
