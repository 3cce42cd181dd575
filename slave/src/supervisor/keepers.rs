//! The directories of instances and the ways to their keepers.
//!
//! ```text
//! instances/<id>.<generation>/keeper   the keeper's socket
//! instances/<id>.<generation>/source   where its process works
//! instances/<id>.<generation>/home     its home
//! instances/<id>.<generation>/log/     what it printed, until the master has it
//! instances/runs/<id>.<generation>     of a run that was started: how it ended, until the master has it
//! ```

use crate::instances::Placement;
use crate::keeper::{
    KEEP_INSTANCE, KeeperOrder, SOCKET, Said, Word, log_directory, read_line, remove_left_groups,
};
use clusterrunner_common::disk::beneath::{Beneath, remove_all};
use clusterrunner_common::ids::{Generation, InstanceId};
use clusterrunner_common::process::command::{MARK_VARIABLE, end_marked};
use clusterrunner_common::process::open_files;
use clusterrunner_common::work::ReportedState;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The directory of the notes of runs.
const RUNS: &str = "runs";

/// How many lines of a keeper wait.
const LINES: usize = 16;

/// How long a keeper may take to say its first line.
const FIRST_LINE: Duration = Duration::from_secs(30);

/// How long a line to a keeper may take: it reads at once, or hangs.
const SENDING: Duration = Duration::from_secs(5);

/// Where instances are and what keeps them.
#[derive(Debug)]
pub(crate) struct Places {
    directory: PathBuf,
    /// The program whose processes are keepers.
    program: PathBuf,
    /// Begins the marks of all instances of this slave. Not that of its other processes, which end with it.
    mark: String,
    grace: Duration,
}

/// A keeper that runs.
#[derive(Debug)]
pub(super) struct Kept {
    /// What it said first.
    pub(super) first: Said,
    pub(super) lines: mpsc::Receiver<Said>,
    output: OwnedWriteHalf,
}

/// What an earlier life of the slave left.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) placement: Placement,
    /// None where the keeper has died.
    pub(super) keeper: Option<Kept>,
}

impl Kept {
    async fn meet(stream: UnixStream, order: Option<&KeeperOrder>) -> io::Result<Self> {
        let (input, mut output) = stream.into_split();
        if let Some(order) = order {
            let mut line = serde_json::to_vec(order)?;
            line.push(b'\n');
            output.write_all(&line).await?;
        }
        let mut input = BufReader::new(input);
        let first = timeout(FIRST_LINE, next(&mut input)).await??;
        let first = first.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (sender, lines) = mpsc::channel(LINES);
        tokio::spawn(async move {
            while let Ok(Some(said)) = next(&mut input).await {
                if sender.send(said).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            first,
            lines,
            output,
        })
    }

    /// Has it end its instance.
    pub(super) async fn end(&mut self) {
        self.say(Word::End).await;
    }

    /// Lets it know that this slave is there.
    pub(super) async fn is_here(&mut self) {
        self.say(Word::Here).await;
    }

    async fn say(&mut self, word: Word) {
        let mut line = serde_json::to_vec(&word).unwrap_or_default();
        line.push(b'\n');
        // If it is gone, its lines end.
        timeout(SENDING, self.output.write_all(&line)).await.ok();
    }
}

async fn next(input: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Said>> {
    let line = read_line(input).await?;
    let said = line.map(|line| serde_json::from_slice(&line));
    said.transpose().map_err(io::Error::from)
}

impl Places {
    /// Those below `directory`, which is made; their keepers are processes of `program`.
    pub(crate) fn open(directory: PathBuf, program: PathBuf, grace: Duration) -> io::Result<Self> {
        make(&directory)?;
        Ok(Self {
            mark: format!("instance:{}:", directory.display()),
            directory,
            program,
            grace,
        })
    }

    pub(super) fn directory(&self, placement: Placement) -> PathBuf {
        let Placement { id, generation } = placement;
        self.directory.join(format!("{id}.{generation}"))
    }

    /// The mark of all processes of an instance, its keeper among them.
    pub(super) fn mark(&self, placement: Placement) -> String {
        let Placement { id, generation } = placement;
        format!("{}{id}.{generation}:", self.mark)
    }

    /// Notes that a run is started, before it is. Returns the path of the note, into which its keeper writes how it ended.
    pub(super) fn note_run(&self, placement: Placement) -> io::Result<PathBuf> {
        make(&self.directory.join(RUNS))?;
        let note = self.note(placement);
        std::fs::write(&note, "")?;
        Ok(note)
    }

    fn note(&self, placement: Placement) -> PathBuf {
        let Placement { id, generation } = placement;
        self.directory.join(RUNS).join(format!("{id}.{generation}"))
    }

    /// The runs that earlier lives of the slave started and the master may not know to be over, with how they ended; none
    /// of those of which nobody knows it.
    pub(super) fn noted_runs(&self) -> BTreeMap<Placement, Option<ReportedState>> {
        let mut found = BTreeMap::new();
        let entries = std::fs::read_dir(self.directory.join(RUNS));
        for entry in entries.into_iter().flatten().flatten() {
            if let Some(placement) = entry.file_name().to_str().and_then(placement) {
                let note = std::fs::read(entry.path()).unwrap_or_default();
                found.insert(placement, serde_json::from_slice(&note).ok());
            }
        }
        found
    }

    /// The master knows how a run ended.
    pub(super) fn forget_run(&self, placement: Placement) {
        // Of what is no run there is none.
        std::fs::remove_file(self.note(placement)).ok();
    }

    /// Starts a keeper.
    pub(super) async fn start(
        &self,
        placement: Placement,
        order: &KeeperOrder,
    ) -> io::Result<Kept> {
        let directory = self.directory(placement);
        make(&directory)?;
        remove_all(&directory.join(SOCKET))?;
        let opened = Beneath::open(&directory)?;
        // Its own name may be longer than a socket's may be.
        let socket = opened.path().join(SOCKET);
        let listener = OwnedFd::from(UnixListener::bind(&socket)?);
        let is_ours = |name: &OsString| name.to_string_lossy().starts_with("CLUSTERRUNNER_");
        let mut command = tokio::process::Command::new(&self.program);
        command
            .arg0("clusterrunner")
            .arg(KEEP_INSTANCE)
            .env_clear()
            // Our own settings, the secret among them, are nothing that it needs.
            .envs(std::env::vars_os().filter(|(name, _)| !is_ours(name)))
            .env(MARK_VARIABLE, self.mark(placement))
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(listener))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn()?;
        // It has a copy of the listener, which goes with it.
        drop(command);
        if let Some(id) = child.id() {
            open_files::lower_limit_of(id);
        }
        tokio::spawn(async move { child.wait().await });
        Kept::meet(UnixStream::connect(&socket).await?, Some(order)).await
    }

    /// What is there of earlier lives of the slave.
    pub(super) async fn left(&self) -> Vec<Left> {
        let mut found = Vec::new();
        let entries = std::fs::read_dir(&self.directory);
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(placement) = name.to_str().and_then(placement) else {
                continue;
            };
            let keeper = self.find(&entry.path()).await;
            found.push(Left { placement, keeper });
        }
        found
    }

    async fn find(&self, directory: &Path) -> Option<Kept> {
        let opened = Beneath::open(directory).ok()?;
        let stream = UnixStream::connect(opened.path().join(SOCKET)).await.ok()?;
        Kept::meet(stream, None).await.ok()
    }

    /// Ends and removes all of an instance but what it printed.
    pub(super) async fn clear(&self, placement: Placement) {
        let mark = self.mark(placement);
        end_marked(&mark, self.grace).await;
        let directory = self.directory(placement);
        let removed = tokio::task::spawn_blocking(move || {
            remove_left_groups(&mark);
            for entry in std::fs::read_dir(&directory)? {
                let path = entry?.path();
                if path != log_directory(&directory) {
                    remove_all(&path)?;
                }
            }
            Ok::<_, io::Error>(())
        });
        match removed.await {
            Ok(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(instance.id = %placement.id, %error, "could not remove what an instance left");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "could not remove what an instance left"),
        }
    }
}

fn placement(name: &str) -> Option<Placement> {
    let (id, generation) = name.split_once('.')?;
    Some(Placement {
        id: InstanceId(id.parse().ok()?),
        generation: Generation(generation.parse().ok()?),
    })
}

fn make(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path)
}
