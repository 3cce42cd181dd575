//! Running the command.

use crate::fake_master::{FakeMaster, SECRET};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A user at a shell: a home, a project, a current directory.
pub(crate) struct User {
    pub(crate) home: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl User {
    /// A user with a project and settings.
    pub(crate) fn new() -> Self {
        let user = Self {
            home: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(user.path("base")).unwrap();
        std::fs::create_dir(user.path("project")).unwrap();
        let jobs = "Unit:\n  commands:\n    - \"true\"\n  atomizers:\n    - TEST: seq 2\n";
        std::fs::write(user.path("project/clusterrunner.yaml"), jobs).unwrap();
        user
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clusterrunner"));
        command
            .args(arguments)
            .current_dir(self.home.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("CLUSTERRUNNER_BASE_DIRECTORY", self.path("base"))
            .env("CLUSTERRUNNER_SECRET", SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command against a master.
    pub(crate) fn run_at(&self, master: &FakeMaster, arguments: &[&str]) -> Ended {
        let address = master.address.to_string();
        self.run(&[arguments, &["--master-url", &address]].concat())
    }

    /// Starts a command against a master.
    pub(crate) fn start_at(&self, master: &FakeMaster, arguments: &[&str]) -> Running {
        let address = master.address.to_string();
        let arguments = [arguments, &["--master-url", &address]].concat();
        let mut child = self.command(&arguments).spawn().unwrap();
        Running {
            stdout: BufReader::new(child.stdout.take().unwrap()),
            stderr: BufReader::new(child.stderr.take().unwrap()),
            child,
        }
    }
}

impl Ended {
    /// Asserts the exit code, with everything printed in the message.
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Asserts that both streams contain these texts.
    pub(crate) fn expect(self, stdout: &[&str], stderr: &[&str]) -> Self {
        for text in stdout {
            assert!(self.stdout.contains(text), "{text:?} in {self:#?}");
        }
        for text in stderr {
            assert!(self.stderr.contains(text), "{text:?} in {self:#?}");
        }
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }
}

/// A command that runs; killed when the test fails.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdout: BufReader<ChildStdout>,
    pub(crate) stderr: BufReader<ChildStderr>,
}

impl Running {
    /// Reads standard output up to the line that contains `text`.
    pub(crate) fn wait_for_output(&mut self, text: &str) -> String {
        wait_for(&mut self.stdout, text)
    }

    /// Reads standard error up to the line that contains `text`.
    pub(crate) fn wait_for_note(&mut self, text: &str) -> String {
        wait_for(&mut self.stderr, text)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Presses Ctrl-C as somebody does whom the end does not come soon enough.
    pub(crate) fn interrupt_until_it_ends(&mut self) {
        while self.child.try_wait().unwrap().is_none() {
            self.signal(Signal::INT);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Reads both streams to their ends and waits.
    pub(crate) fn end(mut self) -> Ended {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        let code = self.child.wait().unwrap().code();
        Ended {
            code,
            stdout,
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn wait_for(stream: &mut impl std::io::BufRead, text: &str) -> String {
    let mut seen = String::new();
    for line in stream.lines() {
        let line = line.unwrap();
        seen.push_str(&line);
        seen.push('\n');
        if line.contains(text) {
            return seen;
        }
    }
    panic!("{text:?} did not come, but:\n{seen}");
}

/// The names in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
