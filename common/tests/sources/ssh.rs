//! Fetching over ssh from a real `sshd` that lives as long as the test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use clusterrunner_common::git::{GitError, GitOptions, Revision};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::repository::{Source, TestMirror, git, run};
use crate::server::{Daemon, wait_for};

/// sshd starts itself anew for every connection and wants to be called by its full path for that.
const SSHD: &str = "/usr/sbin/sshd";

struct SshServer {
    _daemon: Daemon,
    folder: TempDir,
    port: u16,
}

fn make_key(folder: &Path, name: &str) {
    let path = folder.join(name);
    let arguments = [
        "-q",
        "-t",
        "ed25519",
        "-N",
        "",
        "-f",
        path.to_str().unwrap(),
    ];
    let output = run(folder, "ssh-keygen", &arguments);
    assert!(output.status.success(), "{output:?}");
}

impl SshServer {
    fn start() -> Self {
        // sshd as root wants this directory, which a boot would make; without root it needs none and can make none.
        fs::create_dir_all("/run/sshd").ok();
        let folder = TempDir::new().unwrap();
        make_key(folder.path(), "host_key");
        make_key(folder.path(), "user_key");
        fs::copy(
            folder.path().join("user_key.pub"),
            folder.path().join("authorized_keys"),
        )
        .unwrap();
        let (daemon, port) = Daemon::start_on_free_port(|port| {
            let path = |name: &str| folder.path().join(name).display().to_string();
            let config = format!(
                "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
                 StrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n",
                path("host_key"),
                path("authorized_keys"),
            );
            fs::write(folder.path().join("config"), config).unwrap();
            Daemon::start(
                SSHD,
                &["-D", "-e", "-f", &path("config")],
                folder.path(),
                port,
            )
        });
        let host_key = fs::read_to_string(folder.path().join("host_key.pub")).unwrap();
        fs::write(
            folder.path().join("known_hosts"),
            format!("[127.0.0.1]:{port} {host_key}"),
        )
        .unwrap();
        Self {
            _daemon: daemon,
            folder,
            port,
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// ssh with only the given key and list of known hosts, whatever the user who runs the tests has.
    fn options(&self, key: &str, known_hosts: &str, strict: bool) -> GitOptions {
        let command = [
            "ssh".to_owned(),
            "-F".to_owned(),
            "none".to_owned(),
            "-o".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "-o".to_owned(),
            format!("IdentityFile={}", self.path(key)),
            "-o".to_owned(),
            format!("UserKnownHostsFile={}", self.path(known_hosts)),
            "-o".to_owned(),
            "GlobalKnownHostsFile=none".to_owned(),
        ];
        GitOptions {
            ssh_command: Some(command.to_vec()),
            strict_host_key_checking: strict,
            ..GitOptions::default()
        }
    }

    fn url(&self, path: &Path) -> String {
        let user = run(path, "id", &["-un"]).stdout;
        let user = String::from_utf8(user).unwrap();
        format!(
            "ssh://{}@127.0.0.1:{}{}",
            user.trim(),
            self.port,
            path.display()
        )
    }
}

#[test]
fn a_repository_is_fetched_and_brought_up_to_date() {
    let source = Source::with_one_commit();
    let server = SshServer::start();
    let options = server.options("user_key", "known_hosts", true);
    let mirror = TestMirror::new(&server.url(&source.path()), options);
    assert_eq!(mirror.fetch(None, None).unwrap(), source.head());
    for number in 0..30 {
        source.commit(&[("file", &number.to_string())]);
    }
    let commit = mirror.fetch(Some("master"), None).unwrap();
    mirror.check_out(&commit).unwrap();
    assert_eq!(mirror.read("file"), "29");
    // An odd but honest path.
    let odd = source.folder().join("with blank $x;y");
    git(
        source.folder(),
        &[
            "clone",
            "--quiet",
            "--bare",
            "source",
            odd.to_str().unwrap(),
        ],
    );
    let url = server
        .url(&source.path())
        .replace("/source", "/with%20blank%20$x;y");
    let mirror = TestMirror::new(&url, server.options("user_key", "known_hosts", true));
    assert_eq!(mirror.fetch(None, None).unwrap(), commit);
}

#[test]
fn the_short_spelling_works_too() {
    let source = Source::with_one_commit();
    let server = SshServer::start();
    let mut options = server.options("user_key", "known_hosts", true);
    // It has no place for a port.
    let port = ["-o".to_owned(), format!("Port={}", server.port)];
    options.ssh_command.as_mut().unwrap().extend(port);
    let mirror = TestMirror::new(&format!("127.0.0.1:{}", source.path().display()), options);
    assert_eq!(mirror.fetch(None, None).unwrap(), source.head());
}

#[test]
fn unknown_hosts_are_refused_only_if_the_settings_say_so() {
    let source = Source::with_one_commit();
    let server = SshServer::start();
    let url = server.url(&source.path());
    let strict = TestMirror::new(&url, server.options("user_key", "no_known_hosts", true));
    let text = strict.fetch(None, None).unwrap_err().to_string();
    assert!(text.contains("Host key verification failed"), "{text}");
    let lenient = TestMirror::new(&url, server.options("user_key", "no_known_hosts", false));
    assert_eq!(lenient.fetch(None, None).unwrap(), source.head());
}

#[test]
fn what_ssh_says_is_passed_on() {
    let source = Source::with_one_commit();
    let server = SshServer::start();
    make_key(server.folder.path(), "stranger");
    let mirror = TestMirror::new(
        &server.url(&source.path()),
        server.options("stranger", "known_hosts", true),
    );
    let text = mirror.fetch(None, None).unwrap_err().to_string();
    assert!(text.contains("Permission denied"), "{text}");
    let missing = server.url(&source.path()).replace("/source", "/nothing");
    let text = TestMirror::new(&missing, server.options("user_key", "known_hosts", true))
        .fetch(None, None)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("does not appear to be a git repository"),
        "{text}"
    );
    let options = GitOptions {
        ssh_command: Some(vec!["no-such-program".to_owned()]),
        ..GitOptions::default()
    };
    let text = TestMirror::new("host:x", options)
        .fetch(None, None)
        .unwrap_err()
        .to_string();
    assert!(text.contains("could not start no-such-program"), "{text}");
}

/// A program in ssh's place that notes its own process and a child's, and then says nothing.
#[test]
fn a_silent_ssh_is_ended_with_all_it_started() {
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("silent");
    fs::write(
        &script,
        "#!/bin/sh\nsleep 1000 &\necho $! $$ > pids.new\nmv pids.new pids\nwait\n",
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let pids = folder.path().join("pids");
    let command = format!("cd {} && exec ./silent", folder.path().display());
    let options = |idle_timeout| GitOptions {
        ssh_command: Some(vec!["sh".to_owned(), "-c".to_owned(), command.clone()]),
        idle_timeout,
        ..GitOptions::default()
    };
    let all_gone = || {
        for pid in fs::read_to_string(&pids).unwrap().split_whitespace() {
            wait_for("the end of a process", || {
                let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                // A zombie waits for its parent, which may be the machine's first process.
                (state.is_empty() || state.contains(") Z ")).then_some(())
            });
        }
        fs::remove_file(&pids).unwrap();
    };

    // Long enough for the script to write the file on a busy machine.
    let mirror = TestMirror::new("host:x", options(Duration::from_secs(2)));
    let text = mirror.fetch(None, None).unwrap_err().to_string();
    assert!(
        text.contains("the server sent nothing within 2 s"),
        "{text}"
    );
    all_gone();

    let mirror = TestMirror::new("host:x", options(Duration::from_secs(1000)));
    let cancel = CancellationToken::new();
    let canceled = cancel.clone();
    let fetch = std::thread::spawn(move || mirror.mirror.fetch(&Revision::default(), &canceled));
    wait_for("the script", || pids.exists().then_some(()));
    cancel.cancel();
    assert!(matches!(fetch.join().unwrap(), Err(GitError::Canceled)));
    all_gone();
}
