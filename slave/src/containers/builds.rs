//! The containers in which commands of builds run: one for each build and executor, in which each atom is one `exec`.
//!
//! The first process of such a container waits for the end of its standard input, which this process holds: a container
//! ends with the slave, however that ends, and is then removed by the runtime.

use super::client::{Call, SHORT};
use super::limits::ContainerLimits;
use super::trial::Availability;
use super::{ContainerError, ContainerRun, ContainerRuntime, Kind, Mount, Role, environment};
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::ids::{BuildId, ExecutorIndex};
use clusterrunner_common::lock::lock;
use clusterrunner_common::process::command::{MARK_VARIABLE, ShellCommand};
use clusterrunner_common::work::{Isolation, LimitHit};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{getegid, geteuid};
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The first process of a container: says which shell there is, and ends with its input. It waits in place of reading, since
/// what commands leave has it for a parent: what nobody waits for stays, and counts as a process, when it has ended.
const WAITS: &str = "if [ -x /bin/bash ]; then echo /bin/bash; else echo /bin/sh; fi; \
                     exec 3<&0; read -r line <&3 & wait $!; exit 0";

/// How often a container that starts is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How long a container may take to end by itself.
const END: Duration = Duration::from_secs(10);

/// The longest part of a command that is one argument: a program gets none with more than 128 KiB.
const LONGEST_ARGUMENT: usize = 100 << 10;

/// The most bytes of the name of a shell.
const LONGEST_NAME: usize = 100;

/// The containers of all builds here.
#[derive(Debug, Default)]
pub(crate) struct BuildContainers {
    availability: Availability,
    running: Mutex<HashMap<(BuildId, ExecutorIndex), Arc<BuildContainer>>>,
    /// The images that set-ups left.
    images: Mutex<HashMap<BuildId, Vec<String>>>,
}

/// What a container of a build is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContainerPlace<'a> {
    /// Its image.
    pub(crate) image: &'a str,
    /// The project's directory.
    pub(crate) directory: &'a Path,
    /// Where `$ARTIFACT_DIR` is.
    pub(crate) artifacts: &'a Path,
    /// Where files with secrets of the build lie, if it has some.
    pub(crate) secrets: Option<&'a Path>,
    /// The mark of its first process.
    pub(crate) mark: &'a str,
    /// What its commands may use.
    pub(crate) isolation: &'a Isolation,
}

/// A container that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct BuildContainer {
    runtime: Arc<ContainerRuntime>,
    name: String,
    /// The shell that it has.
    shell: String,
    client: Mutex<Client>,
    limits: Mutex<Option<ContainerLimits>>,
}

#[derive(Debug)]
struct Client {
    call: Call,
    /// The container ends when this is closed.
    input: Option<ChildStdin>,
}

impl BuildContainers {
    pub(crate) fn new(availability: Availability) -> Self {
        Self {
            availability,
            ..Self::default()
        }
    }

    /// The runtime, once it is known.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn runtime(&self) -> Result<Arc<ContainerRuntime>, ContainerError> {
        let runtime = self.availability.runtime().await;
        runtime.map_err(ContainerError::NotAvailable)
    }

    /// The container of an executor for a build; started, if it does not run. Blocks, until `stop` says so at the
    /// latest.
    ///
    /// # Errors
    /// When it can not be started.
    pub(crate) fn of_executor(
        &self,
        build: BuildId,
        executor: ExecutorIndex,
        place: &ContainerPlace<'_>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Arc<BuildContainer>, ContainerError> {
        let known = lock(&self.running).get(&(build, executor)).cloned();
        if let Some(container) = known.filter(|container| !container.has_ended()) {
            return Ok(container);
        }
        self.give_up(build, executor);
        let runtime = self.availability.known().ok_or_else(|| {
            ContainerError::NotAvailable(
                "this slave does not know yet whether containers run".into(),
            )
        })?;
        let started = Arc::new(BuildContainer::start(runtime, place, stop)?);
        lock(&self.running).insert((build, executor), Arc::clone(&started));
        Ok(started)
    }

    /// Ends the container of an executor, with all that runs in it. Blocks.
    pub(crate) fn give_up(&self, build: BuildId, executor: ExecutorIndex) {
        let ended = lock(&self.running).remove(&(build, executor));
        drop(ended);
    }

    /// Keeps what a set-up changed in its container, outside of what is mounted, as an image for the containers of its
    /// build's executors. Says what the image is called, if anything was changed. Blocks.
    ///
    /// # Errors
    /// When the runtime can not.
    pub(crate) fn keep_changes(
        &self,
        build: BuildId,
        container: &BuildContainer,
        place: &ContainerPlace<'_>,
    ) -> Result<Option<String>, ContainerError> {
        let image = container.keep_changes(place)?;
        if let Some(image) = &image {
            let mut images = lock(&self.images);
            images.entry(build).or_default().push(image.clone());
        }
        Ok(image)
    }

    /// Ends all containers of a build, and removes the images that its set-up left. Blocks.
    pub(crate) fn end(&self, build: BuildId) {
        let mut running = lock(&self.running);
        let ended: Vec<_> = running.extract_if(|(of, _), _| *of == build).collect();
        drop(running);
        drop(ended);
        let images = lock(&self.images).remove(&build).unwrap_or_default();
        let Some(runtime) = self.availability.known() else {
            return;
        };
        for image in images {
            if let Err(error) = runtime.remove_image(&image) {
                tracing::warn!(build.id = %build, image, %error, "could not remove the image that a set-up left");
            }
        }
    }
}

impl BuildContainer {
    /// Starts a container. Blocks, until `stop` says so at the latest.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(
        runtime: Arc<ContainerRuntime>,
        place: &ContainerPlace<'_>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, ContainerError> {
        let name = format!("clusterrunner-{:016x}", u64::from_be_bytes(random_bytes()));
        let mount = |path| Mount {
            path,
            is_read_only: false,
        };
        let secrets = place.secrets.map(|path| Mount {
            path,
            is_read_only: true,
        });
        let mounts: Vec<Mount<'_>> = [mount(place.directory), mount(place.artifacts)]
            .into_iter()
            .chain(secrets)
            .collect();
        let mut command = runtime.prepared(&ContainerRun {
            name: &name,
            role: Role::Build,
            image: place.image,
            command: &[],
            port: None,
            max_memory_bytes: place.isolation.memory_bytes,
            cpu_shares: None,
            entry: None,
            mounts: &mounts,
            mark: place.mark,
            has_network: place.isolation.network,
        });
        limit(&mut command, place.isolation);
        command
            .args(["--interactive", "--pull=never", "--entrypoint=/bin/sh"])
            .arg(format!("--user={}", runtime.user()))
            .arg("--workdir")
            .arg(place.directory)
            .args([place.image, "-c", WAITS])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut call = Call::start(&mut command)?;
        let (input, output) = call.pipes();
        let mut container = Self {
            runtime,
            name,
            shell: String::new(),
            client: Mutex::new(Client { call, input }),
            limits: Mutex::default(),
        };
        let output = output.ok_or(ContainerError::EndedAtOnce)?;
        let Some(shell) = first_line(output, stop)? else {
            lock(&container.client).call.finish(SHORT)?;
            return Err(ContainerError::EndedAtOnce);
        };
        container.shell = shell;
        let limits = ContainerLimits::of(&container.runtime, &container.name, place.isolation);
        container.limits = Mutex::new(limits);
        Ok(container)
    }

    /// The program that runs a command in it, in the place of the command's shell.
    ///
    /// # Errors
    /// When a variable can not be given to it.
    pub(crate) fn command(&self, order: &ShellCommand) -> Result<Command, ContainerError> {
        let mut command = self.runtime.command(&["exec"]);
        command
            .arg(format!("--user={}", self.runtime.user()))
            .arg("--workdir")
            .arg(&order.working_directory)
            .arg("--env")
            .arg(format!("{MARK_VARIABLE}={}", order.mark));
        // What the machine's own environment says, its PATH for one, does not hold in a container.
        let mut variables: BTreeMap<&str, &str> = order.variables.added().collect();
        for (name, value) in &order.environment {
            let value = value.to_str().ok_or_else(|| ContainerError::Variable {
                name: name.clone(),
                why: "its value is no text",
            })?;
            variables.insert(name, value);
        }
        environment::give(&mut command, variables)?;
        command.arg(&self.name).args([&self.shell, "-c"]);
        self.give_line(&mut command, &order.command_line);
        Ok(command)
    }

    /// Output and errors are one stream from the beginning, so that they stay in order.
    fn give_line(&self, command: &mut Command, line: &str) {
        let prelude = match self.shell.as_str() {
            "/bin/bash" => "exec 2>&1; set -o pipefail; ",
            _ => "exec 2>&1; ",
        };
        if line.len() <= LONGEST_ARGUMENT {
            command.arg([prelude, line].concat());
            return;
        }
        let pieces = pieces(line);
        let number = |number: usize| format!("${{{number}}}");
        let all: String = (1..=pieces.len()).map(number).collect();
        let script = format!(
            "{prelude}clusterrunner_line=\"{all}\"; set --; eval \"unset clusterrunner_line; $clusterrunner_line\""
        );
        command.arg(script).arg(&self.shell).args(pieces);
    }

    /// The limit that was hit in it since the last time this was asked.
    pub(crate) fn hit(&self) -> Option<LimitHit> {
        lock(&self.limits).as_mut()?.hit()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.client).call.is_over()
    }

    /// Whether this process sees and may end the processes in it. Where it does not, only their container can be ended.
    pub(crate) fn shows_processes(&self) -> bool {
        self.runtime.kind == Kind::Podman || geteuid().is_root()
    }

    /// Makes an image of it as it is now, if anything was changed in it outside of what is mounted. Says what the image is
    /// called. Blocks.
    ///
    /// # Errors
    /// When the runtime can not.
    fn keep_changes(&self, place: &ContainerPlace<'_>) -> Result<Option<String>, ContainerError> {
        let changes = self.runtime.changes(&self.name)?;
        let is_mounted = |path: &Path| {
            let mut mounts = [place.directory, place.artifacts]
                .into_iter()
                .chain(place.secrets);
            mounts.any(|mount| path.starts_with(mount) || mount.starts_with(path))
        };
        if changes.iter().all(|path| is_mounted(path)) {
            return Ok(None);
        }
        self.runtime.commit(&self.name).map(Some)
    }
}

impl Drop for BuildContainer {
    fn drop(&mut self) {
        let mut client = lock(&self.client);
        if client.call.is_over() {
            return;
        }
        client.input = None;
        if client.call.finish(END).is_err()
            && let Err(error) = self.runtime.remove(&self.name)
        {
            tracing::warn!(container = self.name, %error, "could not remove a container");
        }
    }
}

impl ContainerRuntime {
    /// Who commands of builds are in a container: to what is mounted, the user that the slave is.
    fn user(&self) -> String {
        match self.kind {
            // Without root, podman has root in a container be the user outside.
            Kind::Podman => "0:0".to_owned(),
            Kind::Docker => format!("{}:{}", geteuid().as_raw(), getegid().as_raw()),
        }
    }
}

/// What commands of a build may use beside memory.
fn limit(command: &mut Command, isolation: &Isolation) {
    if let Some(pids) = isolation.pids {
        command.arg(format!("--pids-limit={pids}"));
    }
    if let Some(cpus) = isolation.cpus {
        command.arg(format!("--cpus={cpus}"));
    }
    if !isolation.network {
        command.arg("--network=none");
    }
}

/// The first line, without its end; none where there is none.
fn first_line(
    mut from: ChildStdout,
    stop: &dyn Fn() -> bool,
) -> Result<Option<String>, ContainerError> {
    let broken = |source| ContainerError::Io {
        step: "wait for a container",
        source,
    };
    let limit = Timespec::try_from(LOOK).ok();
    let mut line = Vec::new();
    loop {
        if stop() {
            return Err(ContainerError::Canceled);
        }
        let mut polled = [PollFd::new(&from, PollFlags::IN)];
        match poll(&mut polled, limit.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(broken(error.into())),
        }
        let mut piece = [0; LONGEST_NAME];
        let length = from.read(&mut piece).map_err(broken)?;
        line.extend_from_slice(piece.get(..length).unwrap_or_default());
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
        }
        if length == 0 || line.len() > LONGEST_NAME {
            return Ok(None);
        }
    }
}

/// A text in parts that are arguments of a program.
fn pieces(mut line: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !line.is_empty() {
        let (piece, rest) = line.split_at(line.floor_char_boundary(LONGEST_ARGUMENT));
        pieces.push(piece);
        line = rest;
    }
    pieces
}
