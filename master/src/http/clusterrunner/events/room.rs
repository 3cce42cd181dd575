//! A room: what all readers of the same events share. One task follows the feed for them, looks at the cluster a few times
//! a second at most, and tells all of them the same.
//!
//! A reader that comes names the last fact that it knows. The room tells it what has changed since, by the same look as the
//! others, and from then on the same as the others; so nothing is missing between the two, and nothing comes twice.

use super::frames::{Batch, Frame};
use crate::coordinator::Gone;
use crate::read::feed::{News, Reader};
use clusterrunner_core::event::Event;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

/// How often a room looks, if there is something to see.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// How many batches wait for a reader that does not take them, before it is told to read anew.
const BATCHES: usize = 8;

/// The most bytes of a batch: what is more is not worth its memory, and the readers are told to read anew.
const LARGEST_BATCH: usize = 512 << 10;

/// How many readers may wait at the door.
const WAITING: usize = 64;

/// What has changed, since somebody looked last.
pub(super) trait Changes: Send + 'static {
    fn note(&mut self, event: &Event);
    fn is_empty(&self) -> bool;
}

/// How far a reader, or a room, has read the feed.
#[derive(Debug)]
pub(super) struct Cursor<C> {
    reader: Reader,
    pub(super) changes: C,
    /// Whether not all changes are known: it has to read all anew.
    pub(super) missed: bool,
    /// The last fact that a reader knows; none if it begins here.
    pub(super) known: Option<u64>,
}

impl<C: Changes> Cursor<C> {
    pub(super) fn new(reader: Reader, changes: C, known: Option<u64>) -> Self {
        Self {
            reader,
            changes,
            missed: false,
            known,
        }
    }

    /// Takes in all facts that are in the feed.
    pub(super) fn catch_up(&mut self) {
        while let Some(news) = self.reader.ready() {
            match news {
                News::Facts(facts) => {
                    for (_, event) in facts.iter() {
                        self.changes.note(event);
                    }
                }
                News::Missed { .. } => self.missed = true,
            }
        }
    }
}

/// What a room shows.
pub(super) trait Scene: Send + 'static {
    type Changes: Changes;

    /// Whether there is something to tell that no fact tells of. Asked with each tick.
    fn has_news(&mut self) -> bool;

    /// Whether so much has changed that one look is not enough.
    fn is_much(changes: &Self::Changes) -> bool;

    /// Looks at the farm, as it stands after all facts that the cursors have caught up with by then.
    fn look(
        &mut self,
        room: Cursor<Self::Changes>,
        joining: Vec<Cursor<Self::Changes>>,
    ) -> impl Future<Output = Result<Looked<Self::Changes>, Gone>> + Send;
}

/// What a look has shown.
pub(super) struct Looked<C> {
    /// The number of the last fact by then.
    pub(super) id: u64,
    /// The room's cursor, with the changes that are not told yet.
    pub(super) room: Cursor<C>,
    /// For those who are in the room.
    pub(super) frames: Vec<Frame>,
    /// For each of those who come.
    pub(super) of_joining: Vec<Vec<Frame>>,
    /// Whether nothing will come any more.
    pub(super) is_over: bool,
}

/// A reader at the door.
pub(super) struct Join<C> {
    cursor: Cursor<C>,
    answer: oneshot::Sender<Joined>,
}

/// What a reader gets: what it is told first, and what all are told from then on.
pub(super) struct Joined {
    pub(super) first: Batch,
    pub(super) next: broadcast::Receiver<Arc<Batch>>,
}

/// Where readers come in.
pub(super) type Door<C> = mpsc::Sender<Join<C>>;

/// The room has just closed, or the master goes down.
#[derive(Debug)]
pub(super) struct Closed;

/// Lets a reader in.
pub(super) async fn join<C: Changes>(
    door: &Door<C>,
    mut cursor: Cursor<C>,
) -> Result<Joined, Closed> {
    // What may be long is read here and not in the room.
    cursor.catch_up();
    let (answer, joined) = oneshot::channel();
    let sent = door.send(Join { cursor, answer }).await;
    sent.map_err(|_| Closed)?;
    joined.await.map_err(|_| Closed)
}

pub(super) struct Room<S: Scene> {
    scene: S,
    /// None while a look has it.
    cursor: Option<Cursor<S::Changes>>,
    /// The number of the last batch that told all.
    told_to: u64,
    told: broadcast::Sender<Arc<Batch>>,
    joining: mpsc::Receiver<Join<S::Changes>>,
}

enum Next {
    Stay,
    Close,
}

impl<S: Scene> Room<S> {
    /// A room whose readers have been told everything up to this number, and its door.
    pub(super) fn new(
        scene: S,
        cursor: Cursor<S::Changes>,
        told_to: u64,
    ) -> (Self, Door<S::Changes>) {
        let (door, joining) = mpsc::channel(WAITING);
        let room = Self {
            scene,
            cursor: Some(cursor),
            told_to,
            told: broadcast::Sender::new(BATCHES),
            joining,
        };
        (room, door)
    }

    /// Is there until the last reader has left, nothing will come any more, or the stop. Who is at the door at its end finds
    /// another room.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + TICK, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let first = tokio::select! {
                () = stop.cancelled() => return,
                join = self.joining.recv() => match join {
                    Some(join) => Some(join),
                    None => return,
                },
                _ = ticks.tick() => None,
            };
            if first.is_none() && self.told.receiver_count() == 0 {
                return;
            }
            let mut joining = Vec::from_iter(first);
            while let Ok(join) = self.joining.try_recv() {
                joining.push(join);
            }
            match self.tell(joining).await {
                Ok(Next::Stay) => {}
                Ok(Next::Close) | Err(Gone) => return,
            }
        }
    }

    /// Tells all what has changed, and those who come what they have to know.
    async fn tell(&mut self, mut joining: Vec<Join<S::Changes>>) -> Result<Next, Gone> {
        let has_news = self.scene.has_news();
        let mut must_look = has_news || !joining.is_empty();
        loop {
            let Some(mut cursor) = self.cursor.take() else {
                return Ok(Next::Close);
            };
            cursor.catch_up();
            if cursor.changes.is_empty() && !cursor.missed && !must_look {
                self.cursor = Some(cursor);
                return Ok(Next::Stay);
            }
            must_look = false;
            // Those who come are let in when all else is told, so that they are not told it once more.
            let now = match S::is_much(&cursor.changes) && !cursor.missed {
                true => Vec::new(),
                false => std::mem::take(&mut joining),
            };
            let now = now.into_iter().map(|join| {
                let known = join.cursor.known;
                (join.cursor, (join.answer, known))
            });
            let (cursors, answers): (Vec<_>, Vec<_>) = now.unzip();
            let looked = self.scene.look(cursor, cursors).await?;
            let is_all = looked.room.changes.is_empty();
            self.cursor = Some(looked.room);
            self.publish(looked.id, looked.frames, is_all);
            for ((answer, known), frames) in answers.into_iter().zip(looked.of_joining) {
                let first = Batch {
                    id: looked.id,
                    before: known.unwrap_or(looked.id),
                    frames,
                };
                let next = self.told.subscribe();
                // It may have left.
                drop(answer.send(Joined { first, next }));
            }
            if looked.is_over {
                return Ok(Next::Close);
            }
            let is_much = self
                .cursor
                .as_ref()
                .is_some_and(|cursor| S::is_much(&cursor.changes));
            if joining.is_empty() && !is_much {
                return Ok(Next::Stay);
            }
        }
    }

    fn publish(&mut self, id: u64, mut frames: Vec<Frame>, is_all: bool) {
        let before = self.told_to;
        if is_all {
            self.told_to = id;
        }
        if frames.is_empty() {
            return;
        }
        if frames.iter().map(Frame::len).sum::<usize>() > LARGEST_BATCH {
            frames = vec![Frame::reload()];
        }
        let id = self.told_to;
        let batch = Batch { id, before, frames };
        // There may be nobody who listens.
        drop(self.told.send(Arc::new(batch)));
    }
}
