//! Where hooks meet the master: a socket in the data directory, and a talk with each hook that knows of a push.

use super::Pushes;
use super::hook::{FromHook, LONGEST_LINE, ToHook, short};
use crate::coordinator::asked_from;
use clusterrunner_common::lock::lock;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a hook may take to say of which push it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many hooks are talked with at a time: more than there are places for pushes.
const AT_A_TIME: usize = 128;

/// The hook of a push.
#[derive(Debug)]
pub(super) struct Hook {
    to: OwnedWriteHalf,
    said: mpsc::Receiver<FromHook>,
    /// Fires when it is gone; git may go on.
    pub(super) gone: CancellationToken,
}

/// The hook is gone, or says what no hook says.
#[derive(Debug, thiserror::Error)]
#[error("the pusher has left")]
pub(super) struct Left;

impl Pushes {
    /// Where hooks are met. To be called before any git starts.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn listen(&self) -> io::Result<UnixListener> {
        let socket = self.git.socket();
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let (directory, short) = short(&socket)?;
        let listener = UnixListener::bind(short);
        drop(directory);
        listener
    }

    /// Meets hooks until the stop, and returns when nothing of a push is under way.
    pub(crate) async fn meet(self, listener: UnixListener) {
        let places = Arc::new(Semaphore::new(AT_A_TIME));
        let talks = TaskTracker::new();
        let stop = self.parts.stop.clone();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // No files are left; connections that end give some back.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                continue;
            };
            let pushes = self.clone();
            talks.spawn(async move {
                let _place = place;
                pushes.talk(stream).await;
            });
        }
        drop(listener);
        if let Err(error) = std::fs::remove_file(self.git.socket()) {
            tracing::warn!(%error, "the socket for pushes stays");
        }
        talks.close();
        talks.wait().await;
    }

    async fn talk(&self, stream: UnixStream) {
        let (from, to) = stream.into_split();
        let mut from = BufReader::new(from);
        let begin = tokio::time::timeout(PATIENCE, next(&mut from)).await;
        let Ok(Some(FromHook::Begin { token, updates })) = begin else {
            return;
        };
        let Some(pushed) = lock(&self.awaited).remove(&token) else {
            return;
        };
        let (heard, said) = mpsc::channel(1);
        let gone = CancellationToken::new();
        let ended = gone.clone();
        let listening = tokio::spawn(async move {
            while let Some(message) = next(&mut from).await {
                if heard.send(message).await.is_err() {
                    return;
                }
            }
            ended.cancel();
        });
        let hook = Hook { to, said, gone };
        let project = pushed.opened.project;
        let from = pushed.from;
        asked_from(from, self.conduct(pushed, updates, hook)).await;
        listening.abort();
        self.pack_soon(project);
    }
}

impl Hook {
    /// Shows the pusher a line.
    pub(super) async fn say(&mut self, line: String) -> Result<(), Left> {
        self.tell(&ToHook::Say(line)).await
    }

    /// Has git store a commit. Whether it did.
    pub(super) async fn keep(
        &mut self,
        repository: &Path,
        commit: &str,
        name: String,
    ) -> Result<bool, Left> {
        let order = ToHook::Keep {
            repository: repository.to_owned(),
            commit: commit.to_owned(),
            name,
        };
        self.tell(&order).await?;
        match self.said.recv().await {
            Some(FromHook::Kept(is_kept)) => Ok(is_kept),
            Some(FromHook::Begin { .. }) | None => Err(Left),
        }
    }

    /// Lets git take the push, or not.
    pub(super) async fn end(mut self, is_taken: bool) -> Result<(), Left> {
        self.tell(&ToHook::End { is_taken }).await
    }

    async fn tell(&mut self, said: &ToHook) -> Result<(), Left> {
        let mut line = serde_json::to_vec(said).map_err(|_| Left)?;
        line.push(b'\n');
        self.to.write_all(&line).await.map_err(|_| Left)
    }
}

/// The next that a hook says; nothing at its end.
async fn next(from: &mut BufReader<OwnedReadHalf>) -> Option<FromHook> {
    let mut line = Vec::new();
    let read = from
        .take(LONGEST_LINE * 4)
        .read_until(b'\n', &mut line)
        .await;
    match read {
        Ok(1..) => serde_json::from_slice(&line).ok(),
        Ok(0) | Err(_) => None,
    }
}
