//! One machine with one user who has just installed ClusterRunner: nothing runs, no settings but free
//! ports, and a project.

use crate::daemon::STOP_LIMIT;
use crate::ports::free_ports;
use crate::processes;
use crate::program::clusterrunner;
use crate::wait::is_true_within;
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// The user's part of a machine.
pub(crate) struct Machine {
    directory: TempDir,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Machine {
    /// One with a project of this `clusterrunner.yaml`.
    pub(crate) fn new(jobs: &str) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("clusterrunner-machine-")
            .tempdir()
            .unwrap();
        let port = free_ports("127.0.0.1", 2);
        let slave_port = port + 1;
        let machine = Self { directory };
        for sub in ["base", "home", "project"] {
            fs::create_dir(machine.path(sub)).unwrap();
        }
        machine.write_ports(port, slave_port);
        machine.write_jobs(jobs);
        machine
    }

    /// Replaces the settings by those of other ports.
    pub(crate) fn write_ports(&self, master: u16, slave: u16) {
        let settings =
            format!("[master]\nport = {master}\nssh_port = OFF\n[slave]\nport = {slave}\n");
        fs::write(self.path("base/clusterrunner.conf"), settings).unwrap();
    }

    /// Replaces the project's `clusterrunner.yaml`.
    pub(crate) fn write_jobs(&self, jobs: &str) {
        fs::write(self.path("project/clusterrunner.yaml"), jobs).unwrap();
    }

    /// A path in the machine's own temporary directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command in the project's directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(clusterrunner());
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("CLUSTERRUNNER_BASE_DIRECTORY", self.path("base"))
            .env("CLUSTERRUNNER_TEMPLATES_PATH", self.path("templates"))
            // The search for one starts processes, which tests count.
            .env("CLUSTERRUNNER_CONTAINER_RUNTIME", "none")
            .current_dir(self.path("project"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs a command that must end with this code; what it printed.
    pub(crate) fn run_to(&self, code: i32, arguments: &[&str]) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:#?}");
        ended
    }

    /// Starts a command.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Kills the master of the local farm; its slave lives on.
    pub(crate) fn kill_master(&self) {
        let id = std::fs::read_to_string(self.path("base/master/master.pid")).unwrap();
        processes::signal(id.trim().parse().unwrap(), Signal::KILL);
    }

    /// What has this machine's base directory in its environment or command line.
    pub(crate) fn processes(&self) -> Vec<processes::Found> {
        processes::with_text(self.path("base").to_str().unwrap())
    }

    fn show_logs(&self) {
        for file in fs::read_dir(self.path("base/log")).into_iter().flatten() {
            let path = file.unwrap().path();
            let text = fs::read(&path).unwrap_or_default();
            eprintln!(
                "---- {}\n{}",
                path.display(),
                String::from_utf8_lossy(&text)
            );
        }
        eprintln!("----");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let panicking = std::thread::panicking();
        let stopped = self.run(&["stop"]);
        let none_left = is_true_within(STOP_LIMIT, || self.processes().is_empty());
        let left = self.processes();
        if panicking || !none_left {
            self.show_logs();
        }
        processes::kill_with_text(self.path("base").to_str().unwrap());
        if !panicking {
            assert_eq!(stopped.code, Some(0), "{stopped:#?}");
            assert!(none_left, "these processes are left: {left:#?}");
        }
    }
}

/// Sends Ctrl-C's signal.
pub(crate) fn interrupt(child: &Child) {
    processes::signal(child.id(), Signal::INT);
}

/// All files below a directory.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}
