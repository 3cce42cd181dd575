//! Starting a farm's daemons, and ending them in every way.

use super::Farm;
use crate::daemon::{Daemon, STOP_LIMIT};
use crate::program::clusterrunner;
use crate::wait::{wait_for, wait_for_at_most};
use rustix::process::Signal;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

impl Farm {
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

    /// Starts the master, which this farm's client does not believe.
    pub(crate) fn start_master_unseen(&mut self) {
        assert!(self.master.is_none(), "there is a master already");
        self.master = Some(self.spawn("master", &["master"]));
    }

    /// Starts one more slave; its number, from 0.
    pub(crate) fn start_slave(&mut self, executors: u32) -> usize {
        self.start_slave_with_arguments(executors, &[])
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

    /// The same with more on its command line.
    pub(crate) fn restart_slave_with_arguments(
        &mut self,
        slave: usize,
        executors: u32,
        more: &[&str],
    ) {
        assert!(self.has_ended(slave), "it must have ended");
        self.slaves[slave] = self.spawn_slave(slave, executors, more);
    }

    /// Starts slaves again that have ended, with one executor each.
    pub(crate) fn restart_ended_slaves(&mut self) {
        for slave in 0..self.slaves.len() {
            if self.has_ended(slave) {
                self.restart_slave(slave, 1);
            }
        }
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
        let ended = async || child.try_wait().unwrap();
        wait_for_at_most(STOP_LIMIT, &format!("slave {slave} ends"), ended).await
    }

    /// Pauses the master, or lets it go on.
    pub(crate) fn signal_master(&self, signal: Signal) {
        let master = self.master.as_ref().expect("there is a master");
        master.signal(signal);
    }
}
