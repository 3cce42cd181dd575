//! The peers' processes.

use crate::daemon::STOP_LIMIT;
use crate::farm::Farm;
use crate::processes;
use crate::wait::wait_for_at_most;
use rustix::process::Signal;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// Starts one of the scripts beside this file, with nothing of ours around it.
pub(super) fn python(farm: &Farm, script: &str, arguments: &[&str]) -> Child {
    let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/legacy")).join(script);
    Command::new("python3")
        .arg(script)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        // What the farm looks for at its end.
        .env("FARM", farm.mark())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// What the original's client says to an order; ours is its master.
pub(super) fn ask(farm: &Farm, order: &[&str]) -> Output {
    let master = farm.master_address();
    let arguments = [&[&master, farm.secret_text()], order].concat();
    python(farm, "client.py", &arguments)
        .wait_with_output()
        .unwrap()
}

/// A slave of the original; ended when it is dropped.
pub(super) struct Peer {
    pub(super) address: String,
    directory: PathBuf,
    child: Child,
}

impl Peer {
    /// Starts one; its number chooses the port.
    pub(super) fn slave(farm: &Farm, number: u16, executors: u32) -> Self {
        let master = farm.master_address();
        let address = format!("{}:{}", farm.address(), farm.peer_port(number));
        let directory = farm.path(&format!("python-{number}"));
        let executors = executors.to_string();
        let place = directory.to_str().unwrap();
        let arguments = [&address, &master, farm.secret_text(), &executors, place];
        let child = python(farm, "slave.py", &arguments);
        Self {
            address,
            directory,
            child,
        }
    }

    /// What its master did that the original's does not do.
    pub(super) fn wrong(&self) -> String {
        fs::read_to_string(self.directory.join("wrong")).unwrap_or_default()
    }

    /// Waits until it has ended by itself.
    pub(super) async fn end(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let ended = async || child.try_wait().unwrap();
        let status = wait_for_at_most(STOP_LIMIT, "the slave ends", ended).await;
        status.code()
    }

    /// What it printed; only once it has ended.
    pub(super) fn said(&mut self) -> String {
        let mut said = String::new();
        let output = self.child.stdout.as_mut().unwrap();
        std::io::Read::read_to_string(output, &mut said).unwrap();
        said
    }

    /// Asks it to end.
    pub(super) fn ask_to_end(&self) {
        processes::signal(self.child.id(), Signal::TERM);
    }

    /// Ends it without warning; the atoms that it runs go on.
    pub(super) fn kill(&mut self) {
        processes::kill_group(self.child.id());
        self.child.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}
