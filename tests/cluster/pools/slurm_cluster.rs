//! A real Slurm of one node: munged, slurmctld and slurmd with a temporary directory and ports of their own.

use crate::ports::free_ports;
use crate::wait::wait_for;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const PROGRAMS: [&str; 3] = ["munged", "slurmctld", "slurmd"];

/// The cluster. Its daemons end with it.
pub(crate) struct SlurmCluster {
    directory: TempDir,
    munged: Child,
    controller: Option<Child>,
    node: Option<Child>,
}

/// Where Debian has daemons.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap())
}

fn daemon(program: &str, directory: &Path, arguments: &[&str]) -> Child {
    let log = fs::File::create(directory.join(format!("{program}.out"))).unwrap();
    Command::new(program)
        .args(arguments)
        .env("PATH", path())
        .env("SLURM_CONF", directory.join("slurm.conf"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl SlurmCluster {
    /// Whether this machine has Slurm, and a user that can run it.
    pub(crate) fn is_possible() -> bool {
        let path = path();
        let mut programs = PROGRAMS.iter();
        let is_there =
            |program: &&str| path.split(':').any(|d| Path::new(d).join(program).exists());
        rustix::process::geteuid().is_root() && programs.all(is_there)
    }

    /// Starts one with as many processors.
    pub(crate) async fn start(processors: u32) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("clusterrunner-slurm-")
            .tempdir()
            .unwrap();
        let place = directory.path();
        // munged wants a directory that others can look into.
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
        for sub in ["state", "spool"] {
            fs::create_dir(place.join(sub)).unwrap();
        }
        let key = place.join("munge.key");
        fs::write(&key, place.display().to_string().repeat(20)).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let ports = free_ports("127.0.0.1", 2);
        let host = Command::new("hostname").arg("-s").output().unwrap().stdout;
        let host = String::from_utf8(host).unwrap().trim().to_owned();
        let shown = place.display();
        let settings = format!(
            "ClusterName=pools\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={ports}\nSlurmdPort={node}\n\
             AuthType=auth/munge\nAuthInfo=socket={shown}/munge.socket\nCredType=cred/munge\nSlurmUser=root\n\
             StateSaveLocation={shown}/state\nSlurmdSpoolDir={shown}/spool\n\
             SlurmctldPidFile={shown}/slurmctld.pid\nSlurmdPidFile={shown}/slurmd.pid\n\
             SlurmctldLogFile={shown}/slurmctld.log\nSlurmdLogFile={shown}/slurmd.log\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\n\
             SelectTypeParameters=CR_Core\nReturnToService=2\nMpiDefault=none\nKillWait=5\n\
             SchedulerParameters=sched_interval=1,batch_sched_delay=0\nSlurmdParameters=config_overrides\n\
             MessageTimeout=5\n\
             NodeName={host} NodeAddr=127.0.0.1 CPUs={processors} State=UNKNOWN\n\
             PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP\n",
            node = ports + 1,
        );
        fs::write(place.join("slurm.conf"), settings).unwrap();
        let file = |name: &str, option: &str| format!("--{option}={shown}/munge.{name}");
        let munged = daemon(
            "munged",
            place,
            &[
                "--foreground",
                "--force",
                &file("key", "key-file"),
                &file("socket", "socket"),
                &file("pid", "pid-file"),
                &file("log", "log-file"),
                &file("seed", "seed-file"),
            ],
        );
        let mut cluster = Self {
            munged,
            controller: None,
            node: None,
            directory,
        };
        let socket = cluster.path("munge.socket");
        wait_for("munged listens", async || socket.exists().then_some(())).await;
        cluster.start_controller().await;
        cluster.node = Some(daemon("slurmd", cluster.directory.path(), &["-D"]));
        wait_for("the node is there", async || {
            let nodes = cluster.slurm(&["sinfo", "--noheader", "--format=%T"]);
            (nodes.trim() == "idle").then_some(())
        })
        .await;
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The variable by which programs of Slurm find the cluster.
    pub(crate) fn settings(&self) -> PathBuf {
        self.path("slurm.conf")
    }

    /// What a program of Slurm prints.
    pub(crate) fn slurm(&self, arguments: &[&str]) -> String {
        let output = Command::new(arguments[0])
            .args(&arguments[1..])
            .env("SLURM_CONF", self.settings())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// The jobs that are not over: id, state and name.
    pub(crate) fn jobs(&self) -> Vec<(String, String, String)> {
        let printed = self.slurm(&["squeue", "--noheader", "--format=%i|%T|%j"]);
        let jobs = printed.lines().map(|line| {
            let mut parts = line.split('|').map(str::to_owned);
            let mut next = || parts.next().unwrap();
            (next(), next(), next())
        });
        jobs.collect()
    }

    /// Ends the controller; nothing can be asked of the cluster until it is started again.
    pub(crate) fn stop_controller(&mut self) {
        end(self.controller.take());
    }

    /// Starts the controller.
    pub(crate) async fn start_controller(&mut self) {
        self.controller = Some(daemon("slurmctld", self.directory.path(), &["-D"]));
        wait_for("the controller answers", async || {
            let state = self.slurm(&["scontrol", "ping"]);
            state.contains("UP").then_some(())
        })
        .await;
    }
}

fn end(daemon: Option<Child>) {
    if let Some(mut daemon) = daemon {
        let process = rustix::process::Pid::from_child(&daemon);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).ok();
        daemon.wait().ok();
    }
}

impl Drop for SlurmCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in ["slurmctld.log", "slurmd.log"] {
                let text = fs::read_to_string(self.path(log)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().rev().take(40).collect();
                for line in lines.into_iter().rev() {
                    eprintln!("{log}: {line}");
                }
            }
        }
        // What is still running ends with its job.
        Command::new("scancel")
            .args(["--state=RUNNING", "--user=root"])
            .env("SLURM_CONF", self.settings())
            .status()
            .ok();
        end(self.node.take());
        end(self.controller.take());
        end(Some(std::mem::replace(
            &mut self.munged,
            Command::new("true").spawn().unwrap(),
        )));
    }
}
