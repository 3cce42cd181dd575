//! `clusterrunner deploy` to two machines. An `ssh` of the test runs on this one what is to be run elsewhere, each host with a home of
//! its own.

use crate::machine::{Ended, Machine, files_below};
use crate::ports::free_ports;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

const SECRET: &str = "a secret of the farm that is deployed";

const MASTER: &str = "127.0.0.1";
const SLAVE: &str = "127.0.0.2";

const SSH: &str = r#"#!/bin/sh
for word; do host=$line; line=$word; done
HOME=HOMES/$host; export HOME; mkdir -p "$HOME"; cd "$HOME"
unset CLUSTERRUNNER_BASE_DIRECTORY
exec sh -c "$line""#;

struct Deployed {
    machine: Machine,
    port: u16,
}

impl Deployed {
    fn new() -> Self {
        let machine = Machine::new("Job:\n  commands: ['true']\n  atomizers: [{N: echo 1}]\n");
        let port = free_ports(MASTER, 2);
        let text = format!(
            "[general]\nsecret = '{SECRET}'\n[master]\nssh_port = OFF\nslave_lost_after = 3\n[slave]\nheartbeat_interval = 1\n"
        );
        let settings = machine.path("base/clusterrunner.conf");
        fs::write(&settings, text).unwrap();
        fs::set_permissions(&settings, fs::Permissions::from_mode(0o600)).unwrap();
        let ssh = machine.path("base/bin/ssh");
        fs::create_dir(ssh.parent().unwrap()).unwrap();
        let homes = machine.path("base/homes");
        fs::write(&ssh, SSH.replace("HOMES", homes.to_str().unwrap())).unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
        Self { machine, port }
    }

    fn directory(&self, host: &str) -> PathBuf {
        self.machine.path("base/homes").join(host).join(".farm")
    }

    fn deploys(&self, more: &[&str]) -> Ended {
        let (port, slave_port) = (self.port.to_string(), (self.port + 1).to_string());
        let arguments = [
            "deploy",
            "--master",
            MASTER,
            "--slaves",
            SLAVE,
            "--remote-directory",
            ".farm",
        ];
        let ports = ["--master-port", &port, "--slave-port", &slave_port];
        let path = std::env::var("PATH").unwrap();
        let bin = self.machine.path("base/bin");
        let mut command = self
            .machine
            .command(&[&arguments[..], &ports, more].concat());
        command.env("PATH", format!("{}:{path}", bin.display()));
        let ended: Ended = command.output().unwrap().into();
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        ended
    }

    /// The files on a machine that have the secret.
    fn with_secret(&self, host: &str) -> Vec<String> {
        let directory = self.directory(host);
        let files = files_below(&directory).into_iter();
        let files = files.filter(|file| !file.starts_with(directory.join("bin")));
        let has = |file: &PathBuf| {
            let bytes = fs::read(file).unwrap_or_default();
            bytes
                .windows(SECRET.len())
                .any(|part| part == SECRET.as_bytes())
        };
        let files = files.filter(has);
        files
            .map(|file| file.strip_prefix(&directory).unwrap().display().to_string())
            .collect()
    }

    fn asks(&self, arguments: &[&str]) -> String {
        let master = format!("{MASTER}:{}", self.port);
        let arguments = [arguments, &["--master-url", &master]].concat();
        self.machine.run_to(0, &arguments).stdout
    }
}

#[test]
fn a_machine_of_a_slave_gets_a_join_token_and_no_secret() {
    let farm = Deployed::new();
    farm.deploys(&["--secret-to-slaves"]);
    assert_eq!(farm.with_secret(SLAVE), ["clusterrunner.conf"]);
    assert!(farm.asks(&["slaves", "keys"]).contains("the secret"));
    // What was deployed by an earlier version loses the secret.
    farm.deploys(&[]);
    assert_eq!(farm.with_secret(MASTER), ["clusterrunner.conf"]);
    assert_eq!(farm.with_secret(SLAVE), [""; 0]);
    let token = farm.directory(SLAVE).join("join-token");
    let mode = fs::metadata(&token).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A machine that was made anew has another key, and takes the place of the one before.
    let stopped = farm
        .machine
        .command(&["stop"])
        .env("CLUSTERRUNNER_BASE_DIRECTORY", farm.directory(SLAVE))
        .output();
    assert!(stopped.unwrap().status.success());
    fs::remove_dir_all(farm.directory(SLAVE)).unwrap();
    farm.deploys(&[]);
    let keys = farm.asks(&["slaves", "keys"]);
    assert!(
        keys.contains("join token") && !keys.contains("the secret"),
        "{keys}"
    );
    let build = farm.asks(&["build", "--no-results"]);
    assert!(build.contains("passed"), "{build}");
    for host in [SLAVE, MASTER] {
        let mut stop = farm.machine.command(&["stop"]);
        stop.env("CLUSTERRUNNER_BASE_DIRECTORY", farm.directory(host));
        assert!(stop.output().unwrap().status.success());
    }
}
