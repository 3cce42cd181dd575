//! The handle of the coordinator: how everything else reaches the cluster.

use super::asked_from::asking_address;
use super::mark_seal::MarkSeal;
use clusterrunner_common::auth::keys::OwnKey;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::ids::{Incarnation, SessionId, SlaveId};
use clusterrunner_common::work::{MasterMark, Seen};
use clusterrunner_core::Cluster;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::Event;
use clusterrunner_core::lifetime::testimony::Testimony;
use clusterrunner_core::refusal::Refusal;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Something that looks at the cluster between two turns.
pub(super) type Look = Box<dyn FnOnce(&Cluster) + Send>;

/// What the inbox takes.
pub(super) enum Message {
    /// A command, the address that it came from, and where its own events go.
    Command(
        Command,
        Option<IpAddr>,
        oneshot::Sender<Result<Vec<Event>, Refusal>>,
    ),
    /// A command whose outcome nobody waits for, and the address that it came from.
    Note(Command, Option<IpAddr>),
    /// Commands to be decided in one turn, and where their outcomes go.
    Reports(Vec<Command>, oneshot::Sender<Vec<Result<(), Refusal>>>),
    /// A look at the cluster.
    Look(Look),
    /// A slave gave a sign of life.
    Heard(SlaveId),
}

/// The only way to the cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClusterHandle {
    pub(super) inbox: mpsc::Sender<Message>,
    /// How many events are on disk.
    position: Arc<AtomicU64>,
    marks: Arc<MarkSeal>,
}

/// The coordinator has ended: the master is going down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the master is shutting down")]
pub struct Gone;

/// Why a command had no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandFailure {
    /// It means nothing now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The master is going down.
    #[error(transparent)]
    Gone(#[from] Gone),
}

impl ClusterHandle {
    pub(super) fn new(inbox: mpsc::Sender<Message>, position: Arc<AtomicU64>) -> Self {
        let marks = OwnKey::from_random(random_bytes()).derived("marks");
        Self {
            inbox,
            position,
            marks: Arc::new(MarkSeal::new(marks)),
        }
    }

    /// The same, with marks that only this master makes, also after a restart.
    pub(crate) fn sealing_marks(self, marks: MarkSeal) -> Self {
        let marks = Arc::new(marks);
        Self { marks, ..self }
    }

    /// Gives a command and waits until its events are on disk. Returns the events that the command
    /// itself caused, none if it was a repetition.
    ///
    /// # Errors
    /// The command was refused, or the master is going down.
    pub async fn command(&self, command: Command) -> Result<Vec<Event>, CommandFailure> {
        let (sender, answer) = oneshot::channel();
        let from = asking_address();
        self.send(Message::Command(command, from, sender)).await?;
        Ok(answer.await.map_err(|_| Gone)??)
    }

    /// Gives a command whose outcome nobody waits for. If nothing is to be done because of it, it gets to
    /// disk with whatever comes next.
    ///
    /// # Errors
    /// The master is going down.
    pub async fn note(&self, command: Command) -> Result<(), Gone> {
        self.send(Message::Note(command, asking_address())).await
    }

    /// Gives several commands at once, to be decided in one turn, and waits until the events of all
    /// are on disk. What became of each, in their order.
    ///
    /// # Errors
    /// The master is going down.
    pub async fn report(&self, commands: Vec<Command>) -> Result<Vec<Result<(), Refusal>>, Gone> {
        let (sender, answers) = oneshot::channel();
        self.send(Message::Reports(commands, sender)).await?;
        answers.await.map_err(|_| Gone)
    }

    /// Looks at the cluster between two turns and takes an owned view along.
    ///
    /// # Errors
    /// The master is going down.
    pub async fn read<T, F>(&self, look: F) -> Result<T, Gone>
    where
        T: Send + 'static,
        F: FnOnce(&Cluster) -> T + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let look: Look = Box::new(move |cluster| {
            // The caller may have left.
            drop(sender.send(look(cluster)));
        });
        self.send(Message::Look(look)).await?;
        answer.await.map_err(|_| Gone)
    }

    /// How many events are on disk: whatever is done now was decided before that.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// This moment of a life of the master, for a slave to bring back. Whatever was decided by now was decided before that.
    #[must_use]
    pub fn mark(&self, incarnation: Incarnation, session_id: SessionId) -> MasterMark {
        self.marks.seal(MasterMark {
            incarnation,
            session_id,
            position: self.position(),
            proof: None,
        })
    }

    /// What slaves say they have seen, and which of it this master has said.
    #[must_use]
    pub fn testimonies(&self, seen: Vec<Seen>) -> Vec<Testimony> {
        let seen = seen.into_iter();
        seen.map(|seen| Testimony {
            is_proved: self.marks.has_sealed(&seen.last),
            seen,
        })
        .collect()
    }

    /// A slave gave a sign of life.
    ///
    /// # Errors
    /// The master is going down.
    pub async fn heard(&self, slave: SlaveId) -> Result<(), Gone> {
        self.send(Message::Heard(slave)).await
    }

    async fn send(&self, message: Message) -> Result<(), Gone> {
        self.inbox.send(message).await.map_err(|_| Gone)
    }
}
