//! The program `git` of the system, as it takes pushes and answers fetches: how it is started, what it may take, and that
//! nothing of it stays.

use super::hook::{SOCKET_VARIABLE, TOKEN_VARIABLE};
use super::names::{Protocol, Service};
use super::running::{GivenUp, Running};
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::git::{GitLimits, UNDER_WAY};
use clusterrunner_common::process::command::MARK_VARIABLE;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio_util::task::TaskTracker;

/// The variable with the program that the hook is. git finds it by the master's process, so that it is the master's own
/// program also where the file was replaced meanwhile.
const PROGRAM_VARIABLE: &str = "CLUSTERRUNNER_PUSH_PROGRAM";

/// How long git may take to remove what it has half stored of a push that is broken off.
const FINISHING: Duration = Duration::from_secs(5);

/// What git runs before it takes a push.
const HOOK: &str = "#!/bin/sh\nexec \"$CLUSTERRUNNER_PUSH_PROGRAM\" push-hook\n";

/// git's settings. Those of the machine and of the user are not read.
const SETTINGS: &str = "\
[safe]
\tdirectory = *
[core]
\thooksPath = /dev/null
\tfsync = committed
\tbigFileThreshold = 1m
[gc]
\tauto = 0
[maintenance]
\tauto = false
[pack]
\tthreads = 1
\twindowMemory = 64m
[transfer]
\tadvertiseSID = false
[receive]
\tautogc = false
\tunpackLimit = 1
\tfsckObjects = true
\tkeepAlive = 5
\tadvertisePushOptions = false
[receive \"fsck\"]
\tbadTimezone = ignore
\tmissingSpaceBeforeDate = ignore
\tmissingSpaceBeforeEmail = ignore
\tmissingNameBeforeEmail = ignore
\tzeroPaddedFilemode = ignore
[uploadpack]
\tkeepAlive = 5
[protocol]
\tversion = 2
\tallow = never
[protocol \"file\"]
\tallow = always
";

/// How git is started.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    /// Where hook, settings and socket lie.
    directory: PathBuf,
    /// The program that the hook is.
    program: PathBuf,
    /// Begins the marks of its processes, so that a later master finds those that are left.
    mark: String,
    /// How many were started.
    started: Arc<AtomicU64>,
    /// Those that were given up and have not ended yet, and what goes on in the background.
    ending: TaskTracker,
    limits: GitLimits,
    max_memory_bytes: u64,
    space: DiskSpace,
}

/// Which part of a conversation git has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it, through one connection.
    Whole,
    /// The offer of what is there, which begins it.
    Offer,
    /// The answer to one request.
    Answer,
}

impl Git {
    /// Writes down what git needs. `program` is that of this process. Blocks.
    pub(crate) fn prepare(
        directory: PathBuf,
        program: &Path,
        mark: &str,
        (limits, max_memory_bytes, space): (GitLimits, u64, DiskSpace),
    ) -> io::Result<Self> {
        let hooks = directory.join("hooks");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&hooks)?;
        let hook = hooks.join("pre-receive");
        fs::write(&hook, HOOK)?;
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o700))?;
        fs::write(directory.join("gitconfig"), SETTINGS)?;
        let program = match program.strip_prefix("/proc/self") {
            Ok(rest) => Path::new("/proc")
                .join(std::process::id().to_string())
                .join(rest),
            Err(_) => program.to_owned(),
        };
        Ok(Self {
            directory,
            program,
            mark: format!("{mark}git:"),
            started: Arc::default(),
            ending: TaskTracker::new(),
            limits,
            max_memory_bytes,
            space,
        })
    }

    /// How many bytes a push may bring: what is reserved of the disk stays free. git takes 0 for no bound.
    fn most_bytes(&self) -> u64 {
        let most = self.limits.pack_bytes;
        let usable = self.space.usable();
        usable.map_or(most, |usable| usable.min(most)).max(1)
    }

    /// Where the master listens to hooks.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("hook.socket")
    }

    /// Whether there is a git.
    pub(crate) async fn is_here(&self) -> bool {
        let mut command = self.command();
        command.arg("--version");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.status().await.is_ok_and(|status| status.success())
    }

    /// Starts git for a repository. `token` tells the master of which push a hook is. `held` is dropped when nothing of
    /// this git runs any more.
    pub(crate) fn start(
        &self,
        (service, part): (Service, Part),
        repository: &Path,
        protocol: Option<&Protocol>,
        token: Option<&str>,
        held: impl Send + 'static,
    ) -> io::Result<Running> {
        let mark = self.next_mark();
        let mut command = self.command();
        command.env(MARK_VARIABLE, &mark);
        match service {
            Service::Receive => {
                let hooks = self.directory.join("hooks");
                command
                    .arg("-c")
                    .arg(format!("core.hooksPath={}", hooks.display()))
                    .arg("-c")
                    .arg(format!("receive.maxInputSize={}", self.most_bytes()))
                    .arg("-c")
                    .arg(format!("receive.hideRefs={UNDER_WAY}"))
                    .arg("receive-pack");
            }
            Service::Upload => {
                command
                    .arg("-c")
                    .arg(format!("uploadpack.hideRefs={UNDER_WAY}"))
                    .args(["upload-pack", "--strict"]);
            }
        }
        match part {
            Part::Whole => {}
            Part::Offer => {
                command.args(["--stateless-rpc", "--advertise-refs"]);
            }
            Part::Answer => {
                command.arg("--stateless-rpc");
            }
        }
        command.arg(repository);
        if let Some(protocol) = protocol {
            command.env("GIT_PROTOCOL", protocol.as_str());
        }
        if let Some(token) = token {
            command
                .env(TOKEN_VARIABLE, token)
                .env(SOCKET_VARIABLE, self.socket())
                .env(PROGRAM_VARIABLE, &self.program);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = self.spawned(&mut command)?;
        let given_up = match (service, part) {
            (Service::Receive, Part::Whole | Part::Answer) => GivenUp::Finishes(FINISHING),
            (Service::Upload, _) | (Service::Receive, Part::Offer) => GivenUp::Ends,
        };
        Ok(Running::new(child, (mark, given_up), &self.ending, held))
    }

    /// Makes the packs of a repository one. All objects stay, also those that no ref leads to: builds and releases name
    /// commits. `held` is dropped when nothing of this git runs any more.
    pub(super) fn pack(&self, repository: &Path, held: impl Send + 'static) -> io::Result<Running> {
        let mark = self.next_mark();
        let mut command = self.command();
        command
            .env(MARK_VARIABLE, &mark)
            .args(["-c", "repack.writeBitmaps=false"])
            .arg("--git-dir")
            .arg(repository)
            .args(["repack", "-a", "-d", "-k", "-l", "-n", "-q"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = self.spawned(&mut command)?;
        let how = (mark, GivenUp::Ends);
        Ok(Running::new(child, how, &self.ending, held))
    }

    /// Does something beside pushes and fetches. Their end is waited for like that of gits.
    pub(super) fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.ending.spawn(work);
    }

    /// Starts a command as the first of its process group, with what memory git may take.
    fn spawned(&self, command: &mut Command) -> io::Result<Child> {
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let limit = Rlimit {
            current: Some(self.max_memory_bytes),
            maximum: Some(self.max_memory_bytes),
        };
        // One that has ended already takes no memory. Its children have the same limit.
        prlimit(pid, Resource::Data, limit).ok();
        Ok(child)
    }

    /// Waits until nothing runs any more of the gits that were given up, or in the background. To be called when none is started any more.
    pub(super) async fn ended(&self) {
        self.ending.close();
        self.ending.wait().await;
    }

    /// The mark of one more git and of all that it starts.
    fn next_mark(&self) -> String {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        format!("{}{number}:", self.mark)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        let kept = ["PATH", "TMPDIR", "LD_LIBRARY_PATH"];
        command.env_clear();
        command.envs(
            kept.iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        );
        command
            .env("LC_ALL", "C")
            .env("HOME", &self.directory)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.directory.join("gitconfig"))
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env(MARK_VARIABLE, &self.mark)
            .current_dir("/");
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_leaves_what_is_reserved_of_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let git = |reserve| {
            let space = DiskSpace::new(directory.path(), reserve);
            let limits = GitLimits {
                pack_bytes: 2,
                ..GitLimits::default()
            };
            let limits = (limits, 0, space);
            let (directory, program) = (directory.path().to_owned(), Path::new("/bin/true"));
            Git::prepare(directory, program, "mark:", limits).unwrap()
        };
        assert_eq!(git(0).most_bytes(), 2);
        assert_eq!(git(u64::MAX).most_bytes(), 1);
    }
}
