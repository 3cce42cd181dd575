//! Work that may end badly, in a child process of this very program.
//!
//! What git unpacks and what atomizers do is in the hands of strangers: it may use up all memory, overflow a stack, or
//! kill and stop the process that started it. In a child it ends the child, and that is an error of one build.
//!
//! One child does one piece of work. It gets the order and gives the answer through pipes (`frames`), which the commands
//! that it runs do not inherit; so no credentials stand in arguments. A child whose parent dies reads the end of its
//! input, and ends with all that it started (a death signal would come from the thread that started it, and threads
//! end).
//!
//! Starting the program takes longer than most of the work. So children are split off from a process (`nursery`) that has
//! started once, the next one ahead; where that fails, the program is started for the child. A child that dies takes that process with it:
//! its successor has other addresses, so that nobody can learn by trying where something lies in memory.

mod birth;
mod ending;
mod frames;
mod inside;
mod nursery;
mod running;

pub use inside::{Inside, MemoryLimit, serve};

use crate::git::{PackError, PackRequest, PackSource};
use crate::lock::lock;
use crate::process::command::MARK_VARIABLE;
use crate::process::open_files;
use ending::{died, end_of, is_stopped};
use frames::{FromChild, Head, ToChild, read_frame};
use nursery::Nursery;
use running::{Process, Running};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The program that runs now, also where its file was replaced meanwhile: parent and child always speak alike.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// How often it is looked whether a child was stopped.
const LOOK: Duration = Duration::from_secs(1);

/// How long a child that was told to end may take beyond what its commands have.
const END: Duration = Duration::from_secs(5);

/// How many pieces of a pack wait for a child.
const PIECES_AHEAD: usize = 8;

/// How large such a piece is.
const PIECE: usize = 64 << 10;

/// Why a child brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It was told to end.
    #[error("canceled")]
    Canceled,
    /// It could not be started or spoken to.
    #[error("could not start a child process: {0}")]
    Start(#[source] io::Error),
    /// It is gone.
    #[error("the child process {how}")]
    Died {
        /// How it went, and what it may mean.
        how: String,
    },
    /// It has said something that nobody understands.
    #[error("the child process gave an unreadable answer: {0}")]
    Answer(String),
}

/// How children are started.
#[derive(Clone, Debug)]
pub struct Children {
    program: PathBuf,
    argument: &'static str,
    /// Begins the mark of each of them, and of all that they start.
    mark: String,
    /// How long the commands that they run have to end.
    grace: Duration,
    /// What they are split off from, once there was one.
    nursery: Arc<Mutex<Option<Nursery>>>,
    spare: Arc<std::sync::Mutex<Option<Ready>>>,
    /// Waits for those that have given their answers, and gets the next one ready.
    ending: TaskTracker,
}

/// A child that waits for its order.
#[derive(Debug)]
struct Ready {
    running: Running,
    mark: String,
}

/// One piece of work: what the child is called, and where what it left is found.
#[derive(Debug)]
pub struct Answered<A> {
    /// The mark of the child, and the beginning of that of all that it started.
    pub mark: String,
    /// What the child answered, or why it did not.
    pub answer: Result<A, ChildError>,
}

impl Children {
    /// Children of `program`, which calls [`serve`] where `argument` is its first one. Nothing is started yet.
    #[must_use]
    pub fn new(program: PathBuf, argument: &'static str, mark: &str, grace: Duration) -> Self {
        Self {
            program,
            argument,
            mark: mark.to_owned(),
            grace,
            nursery: Arc::default(),
            spare: Arc::default(),
            ending: TaskTracker::new(),
        }
    }

    /// Gets one ready in the background, if none is. To be called where there is a runtime.
    pub fn get_ready(&self) {
        let ahead = self.clone();
        self.ending
            .spawn(async move { ahead.have_one_ready().await });
    }

    async fn have_one_ready(&self) {
        if self.spare().is_some() || self.ending.is_closed() {
            return;
        }
        let mark = self.new_mark();
        match self.split_off(&mark).await {
            Ok(running) => *self.spare() = Some(Ready { running, mark }),
            Err(error) => tracing::warn!(%error, "could not get a process ready ahead"),
        }
    }

    /// Ends the one that waits, and returns when none is left of those that have done their work, nor what they were split
    /// off from. To be called when no more is wanted of them.
    pub async fn rest(&self) {
        self.ending.close();
        self.ending.wait().await;
        self.forget_ready().await;
        let nursery = self.nursery.lock().await.take();
        if let Some(nursery) = nursery {
            nursery.end().await;
        }
    }

    /// Ends the one that waits.
    async fn forget_ready(&self) {
        let spare = self.spare().take();
        if let Some(mut ready) = spare {
            ready.running.process.kill().await;
        }
    }

    fn spare(&self) -> std::sync::MutexGuard<'_, Option<Ready>> {
        lock(&self.spare)
    }

    /// That of one child alone.
    fn new_mark(&self) -> String {
        let random = u64::from_be_bytes(crate::clock::random_bytes());
        format!("{}{}-{random:016x}:", self.mark, self.argument)
    }

    fn command(&self, mark: &str) -> Command {
        let is_ours = |name: &OsString| name.to_string_lossy().starts_with("CLUSTERRUNNER_");
        let mut command = Command::new(&self.program);
        command
            .arg0("clusterrunner")
            .arg(self.argument)
            .env_clear()
            // Our own settings, the secret among them, are nothing that it needs.
            .envs(std::env::vars_os().filter(|(name, _)| !is_ours(name)))
            .env(MARK_VARIABLE, mark);
        command
    }

    fn start(&self, mark: &str) -> io::Result<Running> {
        let mut child = self
            .command(mark)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(id) = child.id() {
            open_files::lower_limit_of(id);
        }
        let none = || io::Error::other("it has no pipes");
        let input = child.stdin.take().ok_or_else(none)?;
        let output = child.stdout.take().ok_or_else(none)?;
        let errors = child.stderr.take().ok_or_else(none)?;
        Ok(Running {
            process: Process::Started(child),
            input: pipe::Sender::from_owned_fd(input.into_owned_fd()?)?,
            output: pipe::Receiver::from_owned_fd(output.into_owned_fd()?)?,
            errors: pipe::Receiver::from_owned_fd(errors.into_owned_fd()?)?,
        })
    }

    async fn split_off(&self, mark: &str) -> io::Result<Running> {
        let mut place = self.nursery.lock().await;
        let mut nursery = match place.take() {
            Some(nursery) => nursery,
            None => Nursery::start(self.command(&self.new_mark()))?,
        };
        let running = nursery.bear(mark).await?;
        *place = Some(nursery);
        Ok(running)
    }

    /// The child that waits, or one that is split off, or else one that is started.
    async fn take(&self) -> io::Result<Ready> {
        let spare = self.spare().take();
        if let Some(mut ready) = spare
            && ready.running.process.is_running()
        {
            return Ok(ready);
        }
        let mark = self.new_mark();
        let running = match self.split_off(&mark).await {
            Ok(running) => running,
            Err(error) => {
                tracing::warn!(%error, "a process could not be split off from one that was started ahead");
                self.start(&mark)?
            }
        };
        Ok(Ready { running, mark })
    }

    /// A child, as soon as there are descriptors, processes and memory for one: others may need them for a while.
    async fn wait_for_one(&self, stop: &CancellationToken) -> Result<Ready, ChildError> {
        loop {
            match self.take().await {
                Err(error) if is_passing(&error) => {
                    tracing::warn!(%error, "waiting until a process can be started");
                    tokio::select! {
                        () = tokio::time::sleep(LOOK) => {}
                        () = stop.cancelled() => return Err(ChildError::Canceled),
                    }
                }
                taken => return taken.map_err(ChildError::Start),
            }
        }
    }

    /// Has a child do what `order` says. When `stop` is canceled the child ends what it runs, and is killed if that
    /// takes too long; what it leaves in the background carries its mark.
    pub async fn run<A: DeserializeOwned>(
        &self,
        order: &impl Serialize,
        stop: &CancellationToken,
    ) -> Answered<A> {
        self.run_with(order, None, stop).await
    }

    /// The same; packs that the child asks for come from `packs`.
    pub async fn run_with<A: DeserializeOwned>(
        &self,
        order: &impl Serialize,
        packs: Option<Arc<dyn PackSource + Send + Sync>>,
        stop: &CancellationToken,
    ) -> Answered<A> {
        let Ready { running, mark } = match self.wait_for_one(stop).await {
            Ok(ready) => ready,
            Err(error) => {
                return Answered {
                    // Nobody has it: what has the common beginning is others'.
                    mark: self.new_mark(),
                    answer: Err(error),
                };
            }
        };
        let Running {
            mut process,
            input,
            output,
            errors,
        } = running;
        let pipes = (input, output, errors);
        let talk = self.talk(&mut process, pipes, order, &mark, packs, stop);
        let answer = talk.await;
        match &answer {
            // It ends by itself now, and is not waited for: the next one is got ready meanwhile.
            Ok(_) => {
                self.ending.spawn(async move {
                    if tokio::time::timeout(END, process.wait()).await.is_err() {
                        process.kill().await;
                    }
                });
                self.get_ready();
            }
            Err(error) => {
                process.kill().await;
                if matches!(error, ChildError::Died { .. }) {
                    self.forget_ready().await;
                    let nursery = self.nursery.lock().await.take();
                    drop(nursery);
                }
            }
        }
        Answered { mark, answer }
    }

    async fn talk<A: DeserializeOwned>(
        &self,
        process: &mut Process,
        (input, output, errors): (pipe::Sender, pipe::Receiver, pipe::Receiver),
        order: &impl Serialize,
        mark: &str,
        packs: Option<Arc<dyn PackSource + Send + Sync>>,
        stop: &CancellationToken,
    ) -> Result<A, ChildError> {
        let mut last_words = tokio::spawn(end_of(errors));
        let head = Head {
            level: tracing::level_filters::LevelFilter::current().to_string(),
            mark: mark.to_owned(),
            umask: crate::process::umask::of_commands(),
            order: serde_json::to_value(order)
                .map_err(|error| ChildError::Start(io::Error::other(error)))?,
        };
        let (to_child, pieces) = mpsc::channel(PIECES_AHEAD);
        let order = ToChild::order(&head);
        let order = order.map_err(|error| ChildError::Start(io::Error::other(error)))?;
        // There is room for it.
        to_child.send(order).await.ok();
        // A child that does not read must not keep its answer from being read. It ends when all that speak to the child
        // are gone, and the child reads the end of its input.
        let writing = tokio::spawn(write(input, pieces));
        let mut speaking = Some((to_child, AbortOnDrop(writing)));
        let (heard, mut frames) = mpsc::channel(1);
        let _hearing = AbortOnDrop(tokio::spawn(hear(output, heard)));
        let mut looking = tokio::time::interval(LOOK);
        let mut told_at = None;
        loop {
            let late = async {
                match told_at {
                    Some(told) => tokio::time::sleep_until(told + self.grace + END).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled(), if told_at.is_none() => {
                    told_at = Some(tokio::time::Instant::now());
                    speaking = None;
                }
                frame = frames.recv() => match frame {
                    Some(Ok(FromChild::Log(level, text))) => log(&level, &text),
                    Some(Ok(FromChild::Ask(request))) => {
                        if let (Some((to_child, _)), Some(packs)) = (&speaking, &packs) {
                            let (to_child, packs) = (to_child.clone(), packs.clone());
                            tokio::task::spawn_blocking(move || give(&request, &*packs, &to_child));
                        }
                    }
                    Some(_) | None if told_at.is_some() => return Err(ChildError::Canceled),
                    Some(Ok(FromChild::Done(answer))) => {
                        return serde_json::from_slice(&answer)
                            .map_err(|error| ChildError::Answer(error.to_string()));
                    }
                    Some(Err(error)) => return Err(ChildError::Answer(error.to_string())),
                    None => return Err(died(process, &mut last_words).await),
                },
                () = late => return Err(ChildError::Canceled),
                _ = looking.tick() => if process.id().is_some_and(is_stopped) {
                    let how = "was stopped (SIGSTOP): a command of the build may have done that".to_owned();
                    return Err(ChildError::Died { how });
                },
            }
        }
    }
}

/// Whether the system lacks something that it may have later.
fn is_passing(error: &io::Error) -> bool {
    let lacks = [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|error| lacks.contains(&error))
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads what a child says, to its end.
async fn hear(mut output: pipe::Receiver, heard: mpsc::Sender<io::Result<FromChild>>) {
    loop {
        let frame = match read_frame(&mut output).await {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let is_last = frame.is_err();
        if heard.send(frame).await.is_err() || is_last {
            return;
        }
    }
}

async fn write(mut input: pipe::Sender, mut pieces: mpsc::Receiver<Vec<u8>>) {
    while let Some(piece) = pieces.recv().await {
        // A child that is gone tells so where its answer is awaited.
        if input.write_all(&piece).await.is_err() {
            return;
        }
    }
}

/// Brings packs from where they come from to a child. Blocks.
fn give(request: &PackRequest, packs: &dyn PackSource, to_child: &mpsc::Sender<Vec<u8>>) {
    let given = packs.open(request).and_then(|mut stream| {
        let mut piece = vec![0; PIECE];
        loop {
            let read = stream.read(&mut piece);
            let length = read.map_err(|error| PackError::Interrupted(error.to_string()))?;
            let Some(piece) = piece.get(..length).filter(|piece| !piece.is_empty()) else {
                return Ok(());
            };
            if to_child.blocking_send(ToChild::piece(piece)).is_err() {
                return Ok(());
            }
        }
    });
    // A child that is gone needs no end.
    to_child.blocking_send(ToChild::end(given.err())).ok();
}

/// What a child wants to have logged is logged here.
fn log(level: &str, text: &str) {
    match level {
        "ERROR" => tracing::error!("{text}"),
        "WARN" => tracing::warn!("{text}"),
        "INFO" => tracing::info!("{text}"),
        _ => tracing::debug!("{text}"),
    }
}
