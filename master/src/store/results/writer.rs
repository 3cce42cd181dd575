//! The threads that write results: whatever waits is written and brought to disk together. Each build has
//! one of them; while a disk brings the results of one build to rest, it can do so for others.

use super::Stores;
use super::build_store::{NewBlock, SyncedDirectories};
use clusterrunner_common::ids::BuildId;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, mpsc};
use tokio::sync::oneshot;

/// How many threads there are.
const WRITERS: u64 = 4;

/// How many blocks are written before they are synced at most.
const GROUP: usize = 256;

/// How many blocks may wait for a thread; the sender of one more waits.
const WAITING: usize = 1024;

struct Append {
    build: BuildId,
    /// Nothing where only the store is to be made.
    block: Option<NewBlock>,
    done: oneshot::Sender<io::Result<()>>,
}

/// The way to the threads. They end when the last of these is gone.
#[derive(Clone, Debug)]
pub(super) struct Writers(Arc<[mpsc::SyncSender<Append>]>);

impl Writers {
    pub(super) fn start(stores: &Arc<Stores>) -> io::Result<Self> {
        let start = |number| {
            let (sender, waiting) = mpsc::sync_channel(WAITING);
            let stores = Arc::clone(stores);
            std::thread::Builder::new()
                .name(format!("results-{number}"))
                .spawn(move || work(&stores, &waiting))?;
            Ok(sender)
        };
        let writers: io::Result<Vec<_>> = (0..WRITERS).map(start).collect();
        Ok(Self(writers?.into()))
    }

    fn of_build(&self, build: BuildId) -> Option<&mpsc::SyncSender<Append>> {
        self.0.get(usize::try_from(build.0 % WRITERS).ok()?)
    }

    /// Has the store of a build made and brought to disk, if nothing more important waits.
    /// The answer comes when that is done, or not done.
    pub(super) fn get_ready(&self, build: BuildId) -> oneshot::Receiver<io::Result<()>> {
        let (done, answer) = oneshot::channel();
        if let Some(sender) = self.of_build(build) {
            let append = Append {
                build,
                block: None,
                done,
            };
            // Otherwise it is made with the first result.
            sender.try_send(append).ok();
        }
        answer
    }

    /// Adds a block to a build's store and waits until it is on disk.
    pub(super) async fn append(&self, build: BuildId, block: NewBlock) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        let append = Append {
            build,
            block: Some(block),
            done,
        };
        let gone = || io::Error::other("a thread that writes results is gone");
        let sender = self.of_build(build).ok_or_else(gone)?.clone();
        match sender.try_send(append) {
            Ok(()) => {}
            Err(mpsc::TrySendError::Full(append)) => {
                let sent = tokio::task::spawn_blocking(move || sender.send(append));
                sent.await.map_err(io::Error::other)?.map_err(|_| gone())?;
            }
            Err(mpsc::TrySendError::Disconnected(_)) => return Err(gone()),
        }
        answer.await.map_err(|_| gone())?
    }
}

type Waiting = (Vec<NewBlock>, Vec<oneshot::Sender<io::Result<()>>>);

fn work(stores: &Stores, waiting: &mpsc::Receiver<Append>) {
    while let Ok(first) = waiting.recv() {
        let mut by_build: BTreeMap<BuildId, Waiting> = BTreeMap::new();
        for append in std::iter::once(first).chain(waiting.try_iter()).take(GROUP) {
            let (blocks, done) = by_build.entry(append.build).or_default();
            blocks.extend(append.block);
            done.push(append.done);
        }
        write(stores, by_build);
    }
}

/// Writes what waits of some builds before it syncs any of it: builds that begin at the same time share
/// the sync of the directory above theirs.
fn write(stores: &Stores, by_build: BTreeMap<BuildId, Waiting>) {
    let mut opened: Vec<_> = by_build
        .into_iter()
        .map(|(build, (blocks, done))| (stores.open(build, true), blocks, done))
        .collect();
    let begun: Vec<_> = opened
        .iter_mut()
        .map(|(store, blocks, done)| {
            let store = store.as_ref().map_err(same);
            let appending = store.and_then(|store| store.begin(std::mem::take(blocks)));
            (appending, std::mem::take(done))
        })
        .collect();
    let mut directories = SyncedDirectories::default();
    for (appending, done) in begun {
        let written = appending.and_then(|appending| {
            let synced = appending.sync(&mut directories);
            appending.end(synced)
        });
        for done in done {
            let told = match &written {
                Ok(()) => Ok(()),
                Err(error) => Err(same(error)),
            };
            // The sender may have left; the block is stored all the same.
            done.send(told).ok();
        }
    }
}

/// The error once more, for each of those who wait.
fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
