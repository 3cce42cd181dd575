//! Who a keeper speaks with: the slave that started it, and those that come after it.

use super::protocol::{KeeperOrder, Said, Word, read_line};
use clusterrunner_common::work::ReportedState;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// How long a keeper waits for what it is to keep.
const ORDER: Duration = Duration::from_secs(30);

/// How often it is told at most that there is more output.
const NEWS: Duration = Duration::from_millis(100);

/// Pause after a failure to take a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Where an instance stands, for all who listen.
#[derive(Clone, Debug)]
pub(super) struct Saying {
    /// The state, and how often it was started again.
    state: Arc<watch::Sender<(ReportedState, u32)>>,
    /// How many bytes it has printed.
    printed: Arc<watch::Sender<u64>>,
    digest: String,
}

impl Saying {
    pub(super) fn say(&self, state: ReportedState, restarts: u32) {
        self.state.send_replace((state, restarts));
    }

    pub(super) fn has_printed(&self, bytes: u64) {
        self.printed.send_replace(bytes);
    }

    fn now(&self) -> Said {
        let (state, restarts) = self.state.borrow().clone();
        Said {
            digest: self.digest.clone(),
            state,
            restarts,
            printed: *self.printed.borrow(),
        }
    }
}

/// The ways to slaves.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) said: Saying,
    heard: Heard,
    /// Canceled when nothing more is to be told.
    last: CancellationToken,
    /// How many slaves have heard the last word.
    told: Arc<watch::Sender<u32>>,
    alone_for: Duration,
}

/// When a slave was heard last.
#[derive(Clone, Debug)]
struct Heard(Arc<watch::Sender<Instant>>);

impl Heard {
    fn now(&self) {
        self.0.send_replace(Instant::now());
    }

    /// Waits until nobody was heard for so long.
    async fn nobody_for(&self, limit: Duration) {
        loop {
            let until = *self.0.borrow() + limit;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

impl Contact {
    /// Waits for the slave that says what is to be kept, and listens to all that come from then on; none if nothing
    /// is to be kept.
    pub(super) async fn begin(
        listener: UnixListener,
        end: &CancellationToken,
    ) -> io::Result<Option<(KeeperOrder, Self)>> {
        let first = async {
            let (stream, _) = listener.accept().await?;
            let (input, output) = stream.into_split();
            let mut input = BufReader::new(input);
            let line = read_line(&mut input).await?;
            Ok::<_, io::Error>(line.map(|line| (line, input, output)))
        };
        let first = tokio::select! {
            first = timeout(ORDER, first) => first.map_err(io::Error::other)??,
            () = end.cancelled() => return Ok(None),
        };
        let Some((line, input, output)) = first else {
            return Ok(None);
        };
        let order: KeeperOrder = serde_json::from_slice(&line)?;
        let digest = order.instance.snapshot.as_ref();
        let digest = digest.map(|snapshot| snapshot.digest.clone());
        let contact = Self {
            said: Saying {
                state: Arc::new(watch::Sender::new((
                    ReportedState::Starting,
                    order.restarts,
                ))),
                printed: Arc::default(),
                digest: digest.unwrap_or_default(),
            },
            heard: Heard(Arc::new(watch::Sender::new(Instant::now()))),
            last: CancellationToken::new(),
            told: Arc::default(),
            alone_for: order.rules.alone_for,
        };
        contact.speak_with(input, output, end);
        contact.listen(listener, end);
        let (heard, alone_for, end) = (contact.heard.clone(), contact.alone_for, end.clone());
        tokio::spawn(async move {
            heard.nobody_for(alone_for).await;
            end.cancel();
        });
        Ok(Some((order, contact)))
    }

    fn listen(&self, listener: UnixListener, end: &CancellationToken) {
        let (contact, end) = (self.clone_for_tasks(), end.clone());
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => contact.take(stream, &end),
                    Err(_) => sleep(PAUSE).await,
                }
            }
        });
    }

    fn clone_for_tasks(&self) -> Self {
        Self {
            said: self.said.clone(),
            heard: self.heard.clone(),
            last: self.last.clone(),
            told: Arc::clone(&self.told),
            alone_for: self.alone_for,
        }
    }

    fn take(&self, stream: UnixStream, end: &CancellationToken) {
        let (input, output) = stream.into_split();
        self.speak_with(BufReader::new(input), output, end);
    }

    fn speak_with(
        &self,
        mut input: BufReader<OwnedReadHalf>,
        output: OwnedWriteHalf,
        end: &CancellationToken,
    ) {
        self.heard.now();
        let (heard, end, gone) = (self.heard.clone(), end.clone(), CancellationToken::new());
        let is_gone = gone.clone();
        tokio::spawn(async move {
            let _guard = gone.drop_guard();
            while let Ok(Some(line)) = read_line(&mut input).await {
                heard.now();
                if let Ok(Word::End) = serde_json::from_slice(&line) {
                    end.cancel();
                }
            }
        });
        let contact = self.clone_for_tasks();
        tokio::spawn(async move {
            tokio::select! {
                () = contact.tell(output) => {}
                () = is_gone.cancelled() => {}
            }
        });
    }

    /// Tells one slave all that changes, up to the last word.
    async fn tell(&self, mut output: OwnedWriteHalf) {
        let (mut state, mut printed) = (self.said.state.subscribe(), self.said.printed.subscribe());
        loop {
            let is_last = self.last.is_cancelled();
            state.mark_unchanged();
            printed.mark_unchanged();
            let mut line = serde_json::to_vec(&self.said.now()).unwrap_or_default();
            line.push(b'\n');
            if output.write_all(&line).await.is_err() {
                return;
            }
            if is_last {
                self.told.send_modify(|told| *told += 1);
                return;
            }
            let more = async {
                sleep(NEWS).await;
                printed.changed().await
            };
            tokio::select! {
                biased;
                () = self.last.cancelled() => {}
                changed = state.changed() => if changed.is_err() { return },
                changed = more => if changed.is_err() { return },
            }
        }
    }

    /// Says the last word, and waits until a slave has heard it, though not for ever.
    pub(super) async fn tell_last(&self, state: ReportedState) {
        let restarts = self.said.state.borrow().1;
        self.said.say(state, restarts);
        let mut told = self.told.subscribe();
        self.last.cancel();
        self.heard.now();
        tokio::select! {
            _ = told.wait_for(|told| *told > 0) => {}
            () = self.heard.nobody_for(self.alone_for) => {}
        }
    }
}
