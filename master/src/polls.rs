//! Calls to slaves that can not be called: they wait here for the polls of their slave, and their answers come here.
//!
//! This is all that differs for such a slave. What calls slaves has a [`Carrier`](clusterrunner_common::caller::Carrier) of
//! this, and a handler of each of the two routes (`http/clusterrunner/polls`) brings polls and answers. Whose they are, the
//! handlers ask.

mod answer;
mod carrying;
mod handed;

pub(crate) use answer::{NotTaken, Piece};
pub(crate) use handed::Handed;

use answer::Answering;
use clusterrunner_common::api::CallHead;
use clusterrunner_common::lock::lock;
use reqwest::Body;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};

/// How many calls to one slave wait for its polls. Those who call have each a few under way, and wait for the answers.
const MOST_WAITING: usize = 64;

/// With how many lines it is looked for those that nobody needs.
const MANY_LINES: usize = 256;

/// The lines to all slaves that poll. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Mutex<HashMap<String, Arc<Line>>>>);

/// The calls to one slave.
#[derive(Debug)]
pub(crate) struct Line {
    waiting: mpsc::Sender<Waiting>,
    /// Behind a lock that is fair: of several polls the oldest gets the next call.
    polled: tokio::sync::Mutex<mpsc::Receiver<Waiting>>,
    under_way: Mutex<HashMap<u64, Arc<Answering>>>,
    /// Numbers of calls. An answer to one of another life of this master is signed for that.
    last_call: AtomicU64,
}

/// A call that waits for a poll.
#[derive(Debug)]
struct Waiting {
    head: CallHead,
    body: Option<Body>,
    answering: Arc<Answering>,
    /// Told when a poll takes the call; nobody waits any more where it can not be told.
    taken: oneshot::Sender<()>,
}

impl Lines {
    /// The line to the slave with this address, which polls now or may poll soon.
    pub(crate) fn of(&self, address: &str) -> Arc<Line> {
        let mut lines = lock(&self.0);
        if let Some(line) = lines.get(address) {
            return Arc::clone(line);
        }
        if lines.len() >= MANY_LINES && lines.len().is_power_of_two() {
            // Who polls, and who calls, has one in hand.
            lines.retain(|_, line| Arc::strong_count(line) > 1);
        }
        let line = Arc::new(Line::new());
        lines.insert(address.to_owned(), Arc::clone(&line));
        line
    }
}

impl Line {
    fn new() -> Self {
        let (waiting, polled) = mpsc::channel(MOST_WAITING);
        Self {
            waiting,
            polled: tokio::sync::Mutex::new(polled),
            under_way: Mutex::default(),
            last_call: AtomicU64::new(0),
        }
    }

    /// The next call whose answer somebody still waits for.
    pub(crate) async fn next_call(&self) -> Option<Handed> {
        let mut polled = self.polled.lock().await;
        loop {
            let call = polled.recv().await?;
            if call.taken.send(()).is_ok() {
                return Some(Handed::new(&call.head, call.body, call.answering));
            }
        }
    }

    /// Takes a piece of an answer.
    ///
    /// # Errors
    /// See [`NotTaken`].
    pub(crate) async fn take(&self, call: u64, piece: Piece) -> Result<(), NotTaken> {
        let answering = self.answering(call).ok_or(NotTaken::NotWanted)?;
        answering.take(piece).await
    }

    fn answering(&self, call: u64) -> Option<Arc<Answering>> {
        lock(&self.under_way).get(&call).cloned()
    }
}
