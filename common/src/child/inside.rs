//! The life of a child.

use super::birth::{NURSERY, bear};
use super::frames::{FromChild, Head, ToChild};
use crate::git::{PackError, PackRequest, PackSource};
use crate::lock::lock;
use rustix::io::Errno;
use rustix::process::{
    Resource, Rlimit, WaitOptions, getpid, getrlimit, set_child_subreaper, setrlimit, setsid, wait,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::{self, Write as _};
use std::io::{self, Read};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// How readily the system ends a child, and what it runs, when memory runs out: before any daemon. From -1000 to 1000.
const OOM_SCORE: &str = "500";

/// The stack of the threads that git runs on.
const STACK: usize = 8 << 20;

/// How long a thread waits for work, and with it a child for its order: for ever.
const IDLE: Duration = Duration::from_secs(u32::MAX as u64);

/// How many pieces of a pack wait to be read.
const PIECES_AHEAD: usize = 8;

/// What the work of a child has at hand.
#[derive(Clone, Debug)]
pub struct Inside {
    /// Begins the marks of all commands that it runs.
    pub mark: String,
    /// Canceled when the parent wants it to end, or is gone.
    pub stop: CancellationToken,
    /// Whether commands run that must be ended in order.
    runs_commands: Arc<AtomicBool>,
    /// Whether what commands leave in the background becomes a child of this process.
    inherits: Arc<AtomicBool>,
    pieces: Pieces,
}

/// Is a child: takes its order, has it worked on, gives the answer.
///
/// To be called from `main`, before anything else was started.
pub fn serve<O, A, F>(work: impl FnOnce(O, Inside) -> F) -> ExitCode
where
    O: DeserializeOwned,
    A: Serialize,
    F: Future<Output = A>,
{
    match be_a_child(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn be_a_child<O, A, F>(work: impl FnOnce(O, Inside) -> F) -> io::Result<()>
where
    O: DeserializeOwned,
    A: Serialize,
    F: Future<Output = A>,
{
    // No terminal and no group of the daemon's; it fails only for a process that leads a group already.
    setsid().ok();
    rustix::thread::set_name(c"clusterrunner").ok();
    // Without it the system chooses for itself.
    std::fs::write("/proc/self/oom_score_adj", OOM_SCORE).ok();
    let is_split_off = std::env::args_os()
        .nth(2)
        .is_some_and(|second| second == NURSERY);
    if is_split_off {
        if !bear()? {
            return Ok(());
        }
        // A session of its own.
        setsid()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_stack_size(STACK)
        .thread_keep_alive(IDLE)
        .build()?;
    let stop = CancellationToken::new();
    let runs_commands = Arc::new(AtomicBool::new(false));
    let (to_work, pieces) = sync_channel(PIECES_AHEAD);
    let (to_main, order) = sync_channel(1);
    let listener = {
        let (stop, runs_commands) = (stop.clone(), runs_commands.clone());
        move || listen(&to_main, &to_work, &stop, &runs_commands)
    };
    std::thread::Builder::new().spawn(listener)?;
    runtime.block_on(async {
        // A daemon's stop may be sent to all of its processes. The parent says when this one is to end; unlike ignored
        // ones these signals reach the commands that are run.
        let signals = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
        ];
        let _heard: Vec<_> = signals.into_iter().map(signal).collect::<io::Result<_>>()?;
        // What takes its time the first time, and can be done before there is an order: libgit2 begins, and a thread for
        // it starts.
        tokio::task::spawn_blocking(crate::git::warm_up).await.ok();
        // Nothing else is to be done meanwhile.
        let Ok(head) = order.recv() else {
            return Ok(());
        };
        let head: Head = serde_json::from_slice(&head)?;
        start_log(&head.level);
        if let Some(umask) = head.umask {
            crate::process::umask::give_commands(umask);
        }
        let inside = Inside {
            mark: head.mark,
            stop,
            runs_commands,
            inherits: Arc::default(),
            pieces: Arc::new(Mutex::new(pieces)),
        };
        let answer = work(serde_json::from_value(head.order)?, inside).await;
        FromChild::Done(serde_json::to_vec(&answer)?).write(&mut io::stdout().lock())
    })?;
    // A thread that still computes something is not waited for.
    runtime.shutdown_background();
    Ok(())
}

/// Reads what the parent says until it is gone.
fn listen(
    order: &SyncSender<Vec<u8>>,
    pieces: &SyncSender<(ToChild, Vec<u8>)>,
    stop: &CancellationToken,
    runs_commands: &AtomicBool,
) {
    let mut input = io::stdin().lock();
    while let Ok(Some((kind, bytes))) = ToChild::read(&mut input) {
        // Who does not listen any more has ended.
        let sent = match kind {
            ToChild::Order => order.send(bytes).is_ok(),
            ToChild::Piece | ToChild::End => pieces.send((kind, bytes)).is_ok(),
        };
        if !sent {
            break;
        }
    }
    stop.cancel();
    // Nothing is lost by an end in the midst of git's work: it bears the death of its process anywhere.
    if !runs_commands.load(Ordering::SeqCst) {
        std::process::exit(1);
    }
}

impl Inside {
    /// To be called before commands are run: from now on an end of the parent cancels, and nothing more. What the
    /// commands leave in the background becomes a child of this process.
    pub fn begin_commands(&self) {
        self.runs_commands.store(true, Ordering::SeqCst);
        let inherits = set_child_subreaper(Some(getpid())).is_ok();
        self.inherits.store(inherits, Ordering::SeqCst);
    }

    /// Whether it is certain that nothing runs any more of what commands have started, in whatever group or session. To be
    /// called when every command itself has ended and was waited for.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        if !self.runs_commands.load(Ordering::SeqCst) {
            return true;
        }
        loop {
            match wait(WaitOptions::NOHANG) {
                // One that a command has left, and that has ended since.
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return false,
                Err(error) => return error == Errno::CHILD && self.inherits.load(Ordering::SeqCst),
            }
        }
    }

    /// The parent as the place where packs come from.
    #[must_use]
    pub fn packs(&self) -> impl PackSource + use<> {
        Parent {
            pieces: self.pieces.clone(),
            is_broken: AtomicBool::new(false),
        }
    }
}

/// What comes of packs, one reader at a time.
type Pieces = Arc<Mutex<Receiver<(ToChild, Vec<u8>)>>>;

struct Parent {
    pieces: Pieces,
    /// A stream was dropped in its midst: its rest would be taken for the next one's.
    is_broken: AtomicBool,
}

impl PackSource for Parent {
    fn open(&self, request: &PackRequest) -> Result<Box<dyn Read + '_>, PackError> {
        if self.is_broken.load(Ordering::Relaxed) {
            let reason = "an earlier pack was not read to its end".to_owned();
            return Err(PackError::Interrupted(reason));
        }
        let asked = FromChild::Ask(request.clone()).write(&mut io::stdout().lock());
        asked.map_err(|error| PackError::Interrupted(error.to_string()))?;
        let mut stream = Packs {
            parent: self,
            piece: Vec::new(),
            read: 0,
            is_over: false,
        };
        // A refusal comes before the first piece.
        stream.next()?;
        Ok(Box::new(stream))
    }
}

/// A stream of packs.
struct Packs<'a> {
    parent: &'a Parent,
    piece: Vec<u8>,
    read: usize,
    is_over: bool,
}

impl Packs<'_> {
    fn next(&mut self) -> Result<(), PackError> {
        if self.is_over {
            return Ok(());
        }
        let pieces = &self.parent.pieces;
        let pieces = lock(pieces);
        let gone = || PackError::Interrupted("the parent is gone".to_owned());
        match pieces.recv().map_err(|_| gone())? {
            (ToChild::Piece, piece) => {
                self.piece = piece;
                self.read = 0;
                Ok(())
            }
            (_, end) => {
                self.is_over = true;
                ToChild::ended(&end)
            }
        }
    }
}

impl Read for Packs<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.piece.len() && !self.is_over {
            self.next().map_err(io::Error::other)?;
        }
        let mut left = self.piece.get(self.read..).unwrap_or_default();
        let length = left.read(buffer)?;
        self.read += length;
        Ok(length)
    }
}

impl Drop for Packs<'_> {
    fn drop(&mut self) {
        // Who has read all packs need not have seen that there are no more. Not all is read away: it may be a rest of many
        // GiB that was refused.
        if !self.is_over {
            self.next().ok();
        }
        if !self.is_over {
            self.parent.is_broken.store(true, Ordering::Relaxed);
        }
    }
}

/// How much memory of its own this process may have, until the value is dropped: what it maps of files, as of packs, does
/// not count. Commands that are started meanwhile have the same limit.
#[derive(Debug)]
pub struct MemoryLimit(Rlimit);

impl MemoryLimit {
    /// Sets it.
    #[must_use]
    pub fn set(bytes: u64) -> Self {
        let before = getrlimit(Resource::Data);
        let most = before.maximum.map_or(bytes, |maximum| maximum.min(bytes));
        let limit = Rlimit {
            current: Some(most),
            ..before
        };
        if let Err(error) = setrlimit(Resource::Data, limit) {
            tracing::warn!(%error, process = %getpid(), "could not limit the memory of a process");
        }
        Self(before)
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // To where it was is always allowed.
        setrlimit(Resource::Data, self.0).ok();
    }
}

/// Has everything logged by the parent.
fn start_log(level: &str) {
    let level: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    let wanted = tracing_subscriber::filter::Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("clusterrunner", level);
    let layer = ToParent.with_filter(wanted);
    tracing_subscriber::registry().with(layer).try_init().ok();
}

struct ToParent;

impl<S: tracing::Subscriber> Layer<S> for ToParent {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let log = FromChild::Log(event.metadata().level().to_string(), text.0);
        // Without a parent nobody wants to know.
        log.write(&mut io::stdout().lock()).ok();
    }
}

/// An event as one line.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text does not fail.
        match field.name() {
            "message" => self.0.insert_str(0, &format!("{value:?}")),
            name => write!(self.0, " {name}={value:?}").unwrap_or_default(),
        }
    }
}
