//! `clusterrunner deploy` to machines that are reached by a real ssh.

use crate::fake_master::SECRET;
use crate::run::{Ended, User};
use crate::ssh_server::{Keys, SshServer, free_port};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A user who may log in to machines, and what is to be ended there when the test is over.
struct Deployer {
    user: User,
    keys: Keys,
    deployed: Vec<PathBuf>,
    ports: [String; 2],
}

impl Deployer {
    fn new() -> Self {
        let user = User::new();
        let settings = user.path("base/clusterrunner.conf");
        let text = format!("[general]\nsecret = '{SECRET}'\n");
        fs::write(&settings, text).unwrap();
        fs::set_permissions(&settings, fs::Permissions::from_mode(0o600)).unwrap();
        Self {
            keys: Keys::new(user.home.path()),
            user,
            deployed: Vec::new(),
            ports: ["127.0.0.1", "127.0.0.1"].map(|address| free_port(address).to_string()),
        }
    }

    fn machine(&mut self, name: &str) -> SshServer {
        let server = SshServer::start(&self.keys, name);
        self.deployed.push(server.home.join("farm"));
        server
    }

    fn deploy(&self, arguments: &[&str]) -> Ended {
        let [master, slave] = &self.ports;
        let output = self
            .user
            .command(&["deploy", "--master-port", master, "--slave-port", slave])
            .args(arguments)
            .args(self.keys.options())
            .env_remove("CLUSTERRUNNER_SECRET")
            .output()
            .unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn slaves(&self, master: &str) -> Vec<Value> {
        let address = format!("{master}:{}", self.ports[0]);
        let ended = self.user.run(&["slaves", "--json", "-m", &address]);
        let body: Value = serde_json::from_str(&ended.expect_code(0).stdout).unwrap();
        let slaves = body["slaves"].as_array().unwrap().iter();
        slaves.filter(|s| s["is_alive"] == true).cloned().collect()
    }

    /// The commands of all processes that have this user's home in their environment or arguments.
    fn processes(&self) -> Vec<String> {
        let mark = self.user.home.path().display().to_string();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let command = |entry: fs::DirEntry| {
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            let text = [read("cmdline"), read("environ")]
                .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
            text.concat().contains(&mark).then(|| text[0].clone())
        };
        entries.filter_map(command).collect()
    }

    fn stop(&self) {
        for directory in &self.deployed {
            Command::new(directory.join("bin/clusterrunner"))
                .arg("stop")
                .env("CLUSTERRUNNER_BASE_DIRECTORY", directory)
                .output()
                .ok();
        }
    }

    /// Ends all, and checks that nothing is left of it.
    fn end(self, servers: Vec<SshServer>) {
        self.stop();
        drop(servers);
        let began = Instant::now();
        while !self.processes().is_empty() {
            let left = self.processes();
            assert!(began.elapsed() < Duration::from_secs(90), "left: {left:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Deployer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn sessions(slaves: &[Value]) -> Vec<&str> {
    slaves
        .iter()
        .map(|slave| slave["session_id"].as_str().unwrap())
        .collect()
}

/// The keys of slaves, by their addresses.
fn keys(slaves: &[Value]) -> Vec<Option<&str>> {
    let mut slaves: Vec<&Value> = slaves.iter().collect();
    slaves.sort_by_key(|slave| slave["url"].as_str());
    let keys = slaves.into_iter().map(|slave| slave["key"].as_str());
    keys.collect()
}

#[test]
fn a_farm_is_deployed_by_ssh_and_replaced_by_the_next_one() {
    let mut deployer = Deployer::new();
    let servers = vec![deployer.machine("one"), deployer.machine("the other $HOME")];
    let (one, two) = (servers[0].host(), servers[1].host());
    let arguments = [
        "--master",
        &one,
        "--slaves",
        &one,
        &two,
        "-n",
        "3",
        "--remote-directory",
        "farm",
    ];
    let ended = deployer.deploy(&arguments).expect_code(0).expect(
        &["Machine", &one, &two, "master, slave", "running"],
        &[
            "Copying to 2 machines",
            "Starting the master on",
            "2 of 2 slave(s) have registered.",
        ],
    );
    assert!(!ended.stdout.contains("failed"), "{ended:?}");
    for directory in &deployer.deployed {
        assert_eq!(mode(&directory.join("clusterrunner.conf")), 0o600);
        assert_eq!(mode(&directory.join("bin/clusterrunner")), 0o755);
        assert_eq!(mode(directory), 0o700);
        let names = crate::run::names(&directory.join("bin"));
        assert_eq!(names, ["clusterrunner"], "nothing half-done is left");
    }
    // A machine without the master gets no secret.
    let settings = |directory: &PathBuf| fs::read_to_string(directory.join("clusterrunner.conf"));
    let has_secret = |directory| settings(directory).unwrap().contains(SECRET);
    let with_secret: Vec<bool> = deployer.deployed.iter().map(has_secret).collect();
    assert_eq!(with_secret, [true, false]);
    let first = deployer.slaves(&servers[0].address);
    assert_eq!(first.len(), 2, "{first:?}");
    assert!(keys(&first).iter().all(Option::is_some), "{first:?}");
    for (slave, server) in first.iter().zip(&servers) {
        assert_eq!(slave["num_executors"], 3);
        let found =
            |slave: &Value| slave["url"] == format!("{}:{}", server.address, deployer.ports[1]);
        assert!(first.iter().any(found), "{slave} of {}", server.address);
    }

    // Again: what runs is replaced, and only the new slaves count.
    deployer.deploy(&arguments).expect_code(0);
    let second = deployer.slaves(&servers[0].address);
    assert_eq!(second.len(), 2, "{second:?}");
    let old = sessions(&first);
    assert!(
        sessions(&second)
            .iter()
            .all(|session| !old.contains(session))
    );
    assert_eq!(keys(&second), keys(&first), "each slave keeps its key");
    deployer.end(servers);
}

#[test]
fn each_machine_that_failed_is_named_with_the_reason() {
    let mut deployer = Deployer::new();
    let servers = vec![deployer.machine("one")];
    let one = servers[0].host();
    let closed = format!("{}:{}", servers[0].address, free_port(&servers[0].address));
    let ended = deployer.deploy(&[
        "-m",
        &one,
        "-s",
        &one,
        &closed,
        "--remote-directory",
        "farm",
    ]);
    let ended = ended.expect_code(5).expect(
        &["running", "failed"],
        &[
            "error: 1 of 2 machines failed:\n",
            "copying the program failed",
            "Connection refused",
        ],
    );
    assert!(
        ended.stderr.contains(&format!("\n  {closed}: copying")),
        "{ended:?}"
    );
    assert_eq!(
        deployer.slaves(&servers[0].address).len(),
        1,
        "the other one works"
    );

    // A master that can not start says why, and no slave waits for it.
    let taken = std::net::TcpListener::bind((servers[0].address.as_str(), 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    deployer.ports[0] = port;
    deployer
        .deploy(&["-m", &one, "-s", &one, "--remote-directory", "farm"])
        .expect_code(5)
        .expect(
            &["failed"],
            &["starting the daemon failed", "could not listen on"],
        );
    deployer.end(servers);
}

#[test]
fn this_machine_is_deployed_to_without_ssh() {
    let mut deployer = Deployer::new();
    let farm = deployer.user.path("farm");
    deployer.deployed.push(farm.clone());
    let settings = deployer.user.path("base/clusterrunner.conf");
    let text = fs::read_to_string(&settings).unwrap();
    let text = text.replace("[general]\n", "[general]\nbind_address = 127.0.0.1\n");
    fs::write(&settings, text).unwrap();
    let ended = deployer.deploy(&[
        "-m",
        "localhost",
        "-s",
        "localhost",
        "--remote-directory",
        farm.to_str().unwrap(),
        "--ssh-option",
        "ProxyCommand=false",
    ]);
    let stops = format!(
        "this stops the farm, on each of its machines: cd {} ",
        farm.display()
    );
    ended.expect_code(0).expect(
        &["localhost", "running"],
        &[&stops, "bin/clusterrunner stop"],
    );
    assert_eq!(deployer.slaves("127.0.0.1").len(), 1);
    deployer.end(Vec::new());
}

#[test]
fn what_can_not_be_deployed_is_refused_before_anything_is_touched() {
    let deployer = Deployer::new();
    for host in ["-oProxyCommand=touch x", "a b", "h:ssh"] {
        deployer
            .deploy(&[&format!("--master={host}"), "-s", "localhost"])
            .expect_code(2)
            .expect(&[], &["is no machine"]);
    }
    deployer
        .deploy(&[])
        .expect_code(2)
        .expect(&[], &["name another machine", "--slaves"]);
    let settings = deployer.user.path("base/clusterrunner.conf");
    for (text, said) in [
        (
            format!("[general]\nsecret = '{SECRET}'\nhostname = me\n"),
            "sets `hostname`",
        ),
        (
            format!("[general]\nsecret = '{SECRET}'\nbase_directory=/x\n"),
            "sets `base_directory`",
        ),
    ] {
        fs::write(&settings, text).unwrap();
        deployer
            .deploy(&["-m", "localhost", "-s", "localhost"])
            .expect_code(2)
            .expect(&[], &[said]);
    }
    assert!(!deployer.user.path(".clusterrunner").exists());
}
