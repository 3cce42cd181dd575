//! Starting a master and a slave of this machine.

use super::connection::client_of;
use super::daemon::{Daemon, MAX_PID, master_pid_file, slave_pid_files};
use super::own::own_master;
use super::probe::{Probe, probe};
use crate::options::CommonOptions;
use crate::output;
use crate::settings::Settings;
use crate::trouble::Trouble;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::process::ports::{self, Holder};
use clusterrunner_common::process::terminal;
use clusterrunner_common::process::umask;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long master and slave may take to be ready.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Pause between two looks whether they are.
const LOOK: Duration = Duration::from_millis(5);

/// How long a master that was just started may take to say what it goes on with.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// How long another `clusterrunner build` that is starting the farm is waited for.
const LOCK_LIMIT: Duration = Duration::from_secs(30);

/// How much of a daemon's output is shown when it did not start.
const SHOWN_LINES: usize = 15;

/// What the process id of a master that we started is kept in, which is the lock file as well.
const LOCK_FILE: &str = "local-farm.lock";

/// Starts what is missing.
pub(super) struct Starter<'a> {
    pub(super) settings: &'a Settings,
    pub(super) common: &'a CommonOptions,
    /// Where the master has to listen, if the user says so.
    pub(super) port: Option<u16>,
}

/// A daemon that was started, and where it writes.
struct Started {
    child: Child,
    log: PathBuf,
    what: &'static str,
}

impl Starter<'_> {
    /// Starts what is missing of this user's farm, and returns the master's address. `taken` says why the usual port is
    /// not used, where it is not.
    pub(super) async fn start(&self, taken: Option<String>) -> Result<String, Trouble> {
        let mut lock = self.lock().await?;
        let pid_file = master_pid_file(&self.settings.base_directory);
        // Another command may have started everything while we waited for the lock.
        if let Some(own) = own_master(&self.settings.base_directory) {
            let own = own.to_string();
            self.check_port(&own)?;
            match probe(&own, self.settings).await? {
                Probe::Master(slaves) if slaves.iter().any(|slave| slave.is_alive) => {}
                Probe::Master(_) => {
                    let mut ours = String::new();
                    lock.read_to_string(&mut ours).map_err(self.lock_failed())?;
                    let running =
                        regular_file::read_to_string(&pid_file, MAX_PID).unwrap_or_default();
                    // Whoever has started this master will bring the slaves, too.
                    if !ours.trim().is_empty() && ours.trim() == running.trim() {
                        output::note("The local slave is gone; starting a new one.");
                        self.start_slave(&own).await?;
                    }
                }
                Probe::Stranger | Probe::Nobody => return Err(self.runs_elsewhere(&own)),
            }
            return Ok(own);
        }
        let port = self.free_port(taken)?;
        let address = format!("{}:{port}", Ipv4Addr::LOCALHOST);
        if Daemon::find(&pid_file).is_some() {
            return Err(self.runs_elsewhere(&address));
        }
        output::note(format!(
            "No master of yours runs on this machine: starting one at {}{address}, with a slave. They go on \
             running for the next build; `clusterrunner stop` ends them.",
            if self.settings.https.is_on() {
                "https://"
            } else {
                ""
            },
        ));
        let mut master = self.spawn("master", &["--port", &port.to_string()])?;
        // Before it is waited for: should that fail, it runs on all the same, and the next
        // command brings the slave.
        lock.set_len(0)
            .and_then(|()| lock.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(lock, "{}", master.child.id()))
            .map_err(self.lock_failed())?;
        self.wait(&address, &mut master, |probe| {
            matches!(probe, Probe::Master(_))
        })
        .await?;
        // Before the slave comes: it may end a short build before the master is asked.
        self.tell_what_goes_on(&address).await;
        if !self.is_followed(&address).await {
            self.start_slave(&address).await?;
        }
        Ok(address)
    }

    /// Waits for a slave that has outlived the master before this one; false where there is none, or it does not come.
    async fn is_followed(&self, address: &str) -> bool {
        let files = slave_pid_files(&self.settings.base_directory);
        let slaves = files.iter().filter_map(|(_, file)| Daemon::find(file));
        let slaves: Vec<Daemon> = slaves.filter(|slave| slave.follows(address)).collect();
        let began = Instant::now();
        while !slaves.is_empty() && began.elapsed() < START_LIMIT {
            if let Ok(Probe::Master(known)) = probe(address, self.settings).await
                && known.iter().any(|slave| slave.is_alive)
            {
                output::note("The slave that has outlived the last master goes on.");
                return true;
            }
            if slaves.iter().all(|slave| !slave.is_running()) {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        false
    }

    /// Names the builds that an earlier life of the master left, as far as the master says so in time.
    async fn tell_what_goes_on(&self, address: &str) {
        let Ok(client) = client_of(address, Duration::ZERO, self.settings) else {
            return;
        };
        if let Ok(Ok(left)) = tokio::time::timeout(ANSWER_LIMIT, client.queue()).await
            && !left.is_empty()
        {
            let ids: Vec<String> = left.iter().map(|build| build.id.to_string()).collect();
            let ids = ids.join(", ");
            output::note(format!(
                "The master goes on with what was not over when it was ended: {ids}. `clusterrunner cancel BUILD` ends a build."
            ));
        }
    }

    /// Refuses another port than that of the master that runs.
    pub(super) fn check_port(&self, own: &str) -> Result<(), Trouble> {
        match self.port {
            Some(port) if !own.ends_with(&format!(":{port}")) => {
                let trouble = Trouble::usage(format!("your master runs already, at {own}"));
                Err(trouble.hint("leave out --port, or end it with `clusterrunner stop`"))
            }
            _ => Ok(()),
        }
    }

    fn runs_elsewhere(&self, address: &str) -> Trouble {
        let trouble = Trouble::new(format!(
            "a master of {} runs, but does not answer at {address}",
            self.settings.base_directory.display(),
        ));
        trouble.hint(
            "name its address with --master-url HOST:PORT, or end it with `clusterrunner stop`",
        )
    }

    /// Where the master is to listen: at the usual port, or where somebody has that, at any other.
    fn free_port(&self, taken: Option<String>) -> Result<u16, Trouble> {
        let usual = self.port.unwrap_or(self.settings.port);
        let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
        let is_free = TcpListener::bind((ip, usual)).is_ok();
        if is_free && taken.is_none() {
            return Ok(usual);
        }
        let who = Holder::of(SocketAddr::new(ip, usual)).map(|holder| holder.to_string());
        let reasons = [taken, who].into_iter().flatten().collect::<Vec<_>>();
        let why = match reasons.as_slice() {
            [] => "the system does not give it".to_owned(),
            reasons => reasons.join(". "),
        };
        let free = ports::free_port(ip, usual)
            .ok_or_else(|| Trouble::new("there is no free port on this machine"))?;
        if self.port.is_some() {
            let trouble = Trouble::new(format!("port {usual} is taken: {why}"));
            return Err(trouble.hint(format!(
                "leave out --port, or choose another one; {free} is free"
            )));
        }
        output::note(format!("Port {usual} is taken: {why}."));
        Ok(free)
    }

    async fn start_slave(&self, master: &str) -> Result<(), Trouble> {
        let executors = std::thread::available_parallelism().map_or(1, usize::from);
        let usual = Settings::slave_port(self.common)?;
        let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
        let port = match TcpListener::bind((ip, usual)) {
            Ok(_) => usual,
            Err(_) => ports::free_port(ip, usual)
                .ok_or_else(|| Trouble::new("there is no free port on this machine"))?,
        };
        let mut slave = self.spawn(
            "slave",
            &[
                "--port",
                &port.to_string(),
                "--master-url",
                master,
                "--num-executors",
                &executors.to_string(),
                // It works for the master of this farm, whatever an earlier one was.
                "--forget-master",
            ],
        )?;
        self.wait(
            master,
            &mut slave,
            |probe| matches!(probe, Probe::Master(slaves) if slaves.iter().any(|s| s.is_alive)),
        )
        .await
    }

    /// Takes the lock that only one process at a time starts anything under.
    async fn lock(&self) -> Result<File, Trouble> {
        let base = &self.settings.base_directory;
        fs::create_dir_all(base)
            .map_err(|error| Trouble::new(format!("could not make {}: {error}", base.display())))?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(base.join(LOCK_FILE))
            .map_err(self.lock_failed())?;
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(fs::TryLockError::Error(error)) => return Err(self.lock_failed()(error)),
                Err(fs::TryLockError::WouldBlock) if began.elapsed() > LOCK_LIMIT => {
                    let trouble = Trouble::new(format!(
                        "another command has held {} for {} s",
                        base.join(LOCK_FILE).display(),
                        LOCK_LIMIT.as_secs()
                    ));
                    return Err(trouble.hint(
                        "it is starting a master or a slave here; wait for it, or end it, and try again",
                    ));
                }
                Err(fs::TryLockError::WouldBlock) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    fn lock_failed(&self) -> impl Fn(std::io::Error) -> Trouble {
        let path = self.settings.base_directory.join(LOCK_FILE);
        move |error| Trouble::new(format!("could not use {}: {error}", path.display()))
    }

    /// Starts a daemon that neither a Ctrl-C in this terminal nor the terminal's end reaches.
    fn spawn(&self, what: &'static str, arguments: &[&str]) -> Result<Started, Trouble> {
        let failed =
            |error: std::io::Error| Trouble::new(format!("could not start a {what}: {error}"));
        let directory = &self.settings.log_directory;
        fs::create_dir_all(directory).map_err(failed)?;
        let log = directory.join(format!("local_{what}.log"));
        let output = File::create(&log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg(what).args(arguments);
        // What is written here is bounded by nobody; it is for what the log file can not tell.
        command.arg("--log-file-only");
        command.args(["--bind-address", &Ipv4Addr::LOCALHOST.to_string()]);
        if let Some(file) = &self.settings.config_file {
            command.arg("--config-file").arg(file);
        }
        if self.common.verbose {
            command.arg("--verbose");
        }
        command
            // The current directory may be deleted or unmounted while they run.
            .current_dir(&self.settings.base_directory)
            .env(
                "CLUSTERRUNNER_BASE_DIRECTORY",
                &self.settings.base_directory,
            )
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        terminal::in_own_session(&mut command);
        let child = umask::with_inherited(|| command.spawn()).map_err(failed)?;
        Ok(Started { child, log, what })
    }

    async fn wait(
        &self,
        address: &str,
        started: &mut Started,
        ready: fn(&Probe) -> bool,
    ) -> Result<(), Trouble> {
        let began = Instant::now();
        let why = loop {
            match probe(address, self.settings).await {
                Ok(found) if ready(&found) => return Ok(()),
                Ok(_) => {}
                // It would run on with the settings that are to be mended now.
                Err(trouble) => {
                    started.end().await;
                    return Err(trouble);
                }
            }
            let ended = started.child.try_wait().map_err(|error| {
                Trouble::new(format!("could not watch the {}: {error}", started.what))
            })?;
            if let Some(status) = ended {
                break format!("ended at once ({status})");
            }
            if began.elapsed() > START_LIMIT {
                break format!("was not ready within {} s", START_LIMIT.as_secs());
            }
            tokio::time::sleep(LOOK).await;
        };
        let what = started.what;
        let trouble = Trouble::new(format!(
            "the local {what} {why}. It said:\n{}",
            last_lines(&started.log)
        ));
        Err(trouble.hint(format!(
            "the whole output is in {}, what it logged in files beside it; `clusterrunner {what}` starts it by \
             hand, `clusterrunner stop` ends what runs",
            started.log.display()
        )))
    }
}

impl Started {
    /// Has it end, and waits for that a little.
    async fn end(&mut self) {
        let asked = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let began = Instant::now();
        while asked.is_ok()
            && matches!(self.child.try_wait(), Ok(None))
            && began.elapsed() < START_LIMIT
        {
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn last_lines(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(SHOWN_LINES);
    if lines.is_empty() {
        "    (nothing)".to_owned()
    } else {
        format!("    {}", lines[first..].join("\n    "))
    }
}
