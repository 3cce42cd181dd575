//! Owns the [`Cluster`]: one task, one bounded inbox. Commands are decided in turns; the events of
//! a turn are one write and one flush, and only then is anybody answered and anything done.

use crate::cluster::Cluster;
use crate::cluster::build::Build;
use crate::cluster::command::{Command, Refusal};
use crate::cluster::effect::Effect;
use crate::cluster::event::{Event, Fact, STOPPED};
use crate::journal::{Journal, JournalError, WrittenSnapshot};
use crate::liveness::Liveness;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How many messages may wait; whoever sends one more waits.
const INBOX: usize = 4096;

/// How many commands share one flush at most.
const TURN: usize = 512;

/// How many builds are put away at a time.
const KEPT: usize = 256;

type Answer = Result<Vec<Event>, Refusal>;
type Look = Box<dyn FnOnce(&Cluster) + Send>;

enum Message {
    Command(Command, oneshot::Sender<Answer>),
    Look(Look),
    Heard(SlaveId),
}

/// The only way to the cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClusterHandle {
    inbox: mpsc::Sender<Message>,
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
    /// Gives a command and waits until its events are on disk. Returns the events that the command
    /// itself caused, none if it was a repetition.
    ///
    /// # Errors
    /// The command was refused, or the master is going down.
    pub async fn command(&self, command: Command) -> Result<Vec<Event>, CommandFailure> {
        let (sender, answer) = oneshot::channel();
        self.send(Message::Command(command, sender)).await?;
        Ok(answer.await.map_err(|_| Gone)??)
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
            // Whoever asked may have left; then there is nobody to tell.
            drop(sender.send(look(cluster)));
        });
        self.send(Message::Look(look)).await?;
        answer.await.map_err(|_| Gone)
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

/// Is told of events once they are on disk, with the cluster that has taken them in.
type Listener = Box<dyn FnMut(&Cluster, &[Event]) + Send>;

/// The task's own state.
pub struct Coordinator {
    cluster: Cluster,
    journal: Journal,
    liveness: Liveness,
    /// How long a slave of the original may be silent.
    legacy_lease: Duration,
    started: Instant,
    inbox: mpsc::Receiver<Message>,
    effects: mpsc::UnboundedSender<Effect>,
    snapshot: Option<JoinHandle<Result<WrittenSnapshot, JournalError>>>,
    /// Builds that are being put away.
    keeping: Option<JoinHandle<Result<Vec<BuildId>, JournalError>>>,
    listener: Listener,
}

/// What one turn has gathered until its events are on disk.
#[derive(Default)]
struct Turn {
    events: Vec<Event>,
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    looks: Vec<Look>,
    effects: Vec<Effect>,
}

impl Coordinator {
    /// Rebuilds the cluster from its journal. `lease` is how long a slave may be silent.
    ///
    /// Effects go out unbounded: they are bounded by the state, and a bound here could make this
    /// task and those who carry effects out wait for each other.
    ///
    /// # Errors
    /// The journal can not be read.
    pub fn recover(
        mut journal: Journal,
        lease: Duration,
    ) -> Result<(Self, ClusterHandle, mpsc::UnboundedReceiver<Effect>), JournalError> {
        let cluster = journal.recover()?;
        let (inbox_sender, inbox) = mpsc::channel(INBOX);
        let (effects, effects_receiver) = mpsc::unbounded_channel();
        let coordinator = Self {
            cluster,
            journal,
            liveness: Liveness::new(lease),
            legacy_lease: lease,
            started: Instant::now(),
            inbox,
            effects,
            snapshot: None,
            keeping: None,
            listener: Box::new(|_, _| {}),
        };
        Ok((
            coordinator,
            ClusterHandle {
                inbox: inbox_sender,
            },
            effects_receiver,
        ))
    }

    /// Gives slaves of the original another lease.
    #[must_use]
    pub fn with_legacy_lease(mut self, lease: Duration) -> Self {
        self.legacy_lease = lease;
        self
    }

    /// The same coordinator; it tells `listener`, which must not take long, of what happens from now on.
    #[must_use]
    pub fn telling(self, listener: impl FnMut(&Cluster, &[Event]) + Send + 'static) -> Self {
        Self {
            listener: Box::new(listener),
            ..self
        }
    }

    /// Works until `stop`, or until the journal fails.
    ///
    /// # Errors
    /// The journal failed: what was decided last is neither answered nor done.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), JournalError> {
        let called = self.cluster.called_slaves();
        let called: Vec<SlaveId> = called.map(|slave| slave.id).collect();
        for slave in called {
            self.begin_lease(slave);
        }
        let mut first = Turn::default();
        self.decide(Command::Start, &mut first).ok();
        self.finish(first).await?;
        let mut look = tokio::time::interval(self.liveness.look_interval());
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut turn = Turn::default();
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.close().await,
                written = end_of(&mut self.snapshot) => self.end_snapshot(written?),
                kept = end_of(&mut self.keeping) => self.retire(kept?, &mut turn),
                _ = look.tick() => {
                    self.give_up_the_silent(&mut turn);
                    self.put_ended_builds_away();
                }
                message = self.inbox.recv() => match message {
                    Some(message) => self.take(message, &mut turn),
                    None => return self.close().await,
                },
            }
            for _ in 1..TURN {
                match self.inbox.try_recv() {
                    Ok(message) => self.take(message, &mut turn),
                    Err(_) => break,
                }
            }
            self.finish(turn).await?;
            if self.snapshot.is_none() && self.journal.needs_snapshot() {
                self.begin_snapshot();
            }
        }
    }

    /// Has builds that are over stored apart while the work goes on; they leave memory once that is done.
    fn put_ended_builds_away(&mut self) {
        if self.keeping.is_some() {
            return;
        }
        let builds: Vec<Build> = self.cluster.retirable().take(KEPT).cloned().collect();
        if builds.is_empty() {
            return;
        }
        let ended = self.journal.ended();
        self.keeping = Some(tokio::task::spawn_blocking(move || {
            ended.keep(&builds)?;
            Ok(builds.iter().map(|build| build.id).collect())
        }));
    }

    fn retire(&mut self, builds: Vec<BuildId>, turn: &mut Turn) {
        self.keeping = None;
        // What is not over any more can not be.
        self.decide(Command::ReportKept { builds }, turn).ok();
    }

    /// Has a snapshot written while the work goes on: taking it costs little, since a copy of the
    /// cluster shares what is big.
    fn begin_snapshot(&mut self) {
        let pending = self.journal.begin_snapshot(&self.cluster);
        self.snapshot = pending.map(|pending| tokio::task::spawn_blocking(|| pending.write()));
    }

    fn end_snapshot(&mut self, written: WrittenSnapshot) {
        self.snapshot = None;
        self.journal.end_snapshot(&written);
        tracing::debug!(events = self.journal.len(), "snapshot written");
    }

    /// Leaves a snapshot for the next start.
    async fn close(mut self) -> Result<(), JournalError> {
        if let Some(keeping) = self.keeping.take() {
            // Kept again at the next start: nothing says yet that it is done.
            keeping.await.ok();
        }
        if self.snapshot.is_some() {
            let written = end_of(&mut self.snapshot).await?;
            self.end_snapshot(written);
        }
        self.begin_snapshot();
        if self.snapshot.is_some() {
            end_of(&mut self.snapshot).await?;
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn begin_lease(&mut self, slave: SlaveId) {
        self.liveness.heard(slave, self.now());
        if self
            .cluster
            .slave(slave)
            .is_some_and(|known| known.is_legacy)
        {
            self.liveness.lease(slave, self.legacy_lease);
        }
    }

    fn take(&mut self, message: Message, turn: &mut Turn) {
        match message {
            Message::Command(command, sender) => {
                let answer = self.decide(command, turn);
                turn.answers.push((sender, answer));
            }
            Message::Look(look) => turn.looks.push(look),
            Message::Heard(slave) => {
                if self
                    .cluster
                    .slave(slave)
                    .is_some_and(|slave| slave.is_alive())
                {
                    self.liveness.heard(slave, self.now());
                }
            }
        }
    }

    fn give_up_the_silent(&mut self, turn: &mut Turn) {
        let now = self.now();
        for slave in self.liveness.silent(now) {
            let reason = "it gave no sign of life for too long".to_owned();
            // A slave that is not alive any more is nothing to give up.
            self.decide(Command::ReportSlaveDied { slave, reason }, turn)
                .ok();
            self.liveness.forget(slave);
        }
        self.decide(Command::ForgetSlaves, turn).ok();
        // Some things follow from the mere passing of time.
        self.follow_up(Timestamp::now(), turn);
    }

    /// Decides a command and all that follows, and takes it into the state. A refusal leaves no
    /// trace.
    fn decide(&mut self, command: Command, turn: &mut Turn) -> Answer {
        let at = Timestamp::now();
        let events = self.cluster.decide(command, at)?;
        for event in &events {
            self.apply(event, turn);
        }
        self.follow_up(at, turn);
        Ok(events)
    }

    fn follow_up(&mut self, at: Timestamp, turn: &mut Turn) {
        while let Some(event) = self.cluster.follow_up(at) {
            self.apply(&event, turn);
        }
    }

    fn apply(&mut self, event: &Event, turn: &mut Turn) {
        self.cluster.apply(event);
        match &event.fact {
            Fact::SlaveConnected { slave, .. } => self.begin_lease(*slave),
            Fact::SlaveLost { slave, .. } | Fact::SlaveEnded { slave } => {
                self.liveness.forget(*slave);
            }
            _ => {}
        }
        tell(event);
        turn.effects.extend(self.cluster.effects(event));
        turn.events.push(event.clone());
    }

    /// Makes a turn count: write, flush, then answer, act and let others look.
    async fn finish(&mut self, turn: Turn) -> Result<(), JournalError> {
        if !turn.events.is_empty() {
            self.journal.append(&turn.events).await?;
            (self.listener)(&self.cluster, &turn.events);
        }
        for (sender, answer) in turn.answers {
            // Whoever gave the command may have left; it counts all the same.
            drop(sender.send(answer));
        }
        for effect in turn.effects {
            // The receiver goes only at the end of the process.
            drop(self.effects.send(effect));
        }
        for look in turn.looks {
            look(&self.cluster);
        }
        Ok(())
    }
}

/// Waits for something that is being written; for ever where there is nothing.
async fn end_of<T>(
    writing: &mut Option<JoinHandle<Result<T, JournalError>>>,
) -> Result<T, JournalError> {
    match writing {
        Some(writing) => writing
            .await
            .unwrap_or_else(|error| Err(JournalError::Sync(std::io::Error::other(error)))),
        None => std::future::pending().await,
    }
}

/// Tells the log what a person following the farm wants to know.
fn tell(event: &Event) {
    match &event.fact {
        Fact::MasterStarted => tracing::debug!("the master starts its work"),
        Fact::BuildQueued { build, .. } => tracing::info!(build.id = build.0, "build queued"),
        Fact::BuildPrepared { build, subjobs, .. } => {
            tracing::info!(
                build.id = build.0,
                subjobs = subjobs.len(),
                "build prepared"
            );
        }
        Fact::BuildFailed { build, reason } => {
            tracing::warn!(build.id = build.0, %reason, "build ended with an error");
        }
        Fact::BuildCanceled { build } => tracing::info!(build.id = build.0, "build canceled"),
        Fact::BuildFinished { build } => tracing::info!(build.id = build.0, "build finished"),
        Fact::BuildForgotten { build, bound } => {
            tracing::info!(build.id = build.0, reason = %bound, "a build that is over is removed");
        }
        Fact::SlaveConnected {
            slave,
            url,
            num_executors,
            ..
        } => {
            tracing::info!(slave.id = slave.0, %url, num_executors, "slave connected");
        }
        Fact::SlaveLost { slave, reason } if reason == STOPPED => {
            tracing::info!(slave.id = slave.0, "slave was stopped");
        }
        Fact::SlaveLost { slave, reason } => {
            tracing::warn!(slave.id = slave.0, %reason, "slave lost");
        }
        Fact::ShutdownRequested { slave } => {
            tracing::info!(slave.id = slave.0, "slave takes no more work and is to end");
        }
        Fact::EndRequested { slave } => {
            tracing::info!(
                slave.id = slave.0,
                "slave has no work left and is told to end"
            );
        }
        Fact::SetupFailed {
            slave,
            build,
            reason,
        } => {
            tracing::warn!(slave.id = slave.0, build.id = build.0, %reason, "set-up failed");
        }
        Fact::SubjobReturned {
            slave,
            build,
            subjob,
            reason,
            ..
        } => tracing::warn!(
            slave.id = slave.0, build.id = build.0, subjob.id = subjob.0, %reason,
            "a subjob came back without a usable result"
        ),
        Fact::DrainRequested { slave } => {
            tracing::info!(slave.id = slave.0, "slave is drained: it takes no new work");
        }
        Fact::DrainEnded { slave } => {
            tracing::info!(slave.id = slave.0, "slave is not drained any more");
        }
        Fact::SlaveQuarantined { slave, reason } => {
            tracing::warn!(slave.id = slave.0, %reason, "slave is quarantined: it takes no new work");
        }
        Fact::SlaveReleased { slave } => {
            tracing::info!(slave.id = slave.0, "slave is released from quarantine");
        }
        Fact::SlaveReserved { slave, build } => {
            tracing::info!(
                slave.id = slave.0,
                build.id = build.0,
                "slave is kept free for a subjob that slaves were lost with"
            );
        }
        Fact::SubjobSuspected {
            slave,
            build,
            subjob,
        } => tracing::warn!(
            slave.id = slave.0,
            build.id = build.0,
            subjob.id = subjob.0,
            "a slave was lost while it ran this subjob"
        ),
        Fact::SubjobPoisoned {
            build,
            subjob,
            slaves_lost,
        } => tracing::warn!(
            build.id = build.0,
            subjob.id = subjob.0,
            slaves_lost,
            "a subjob is poison: it fails, and the build goes on"
        ),
        Fact::BuildWarned { build, warning } => {
            tracing::warn!(build.id = build.0, %warning, "a build has a warning");
        }
        Fact::SlaveEnded { slave } => tracing::info!(slave.id = slave.0, "slave ends"),
        Fact::HandOutsKept { slave, hand_outs } => {
            let number = hand_outs.len();
            tracing::info!(
                slave.id = slave.0,
                number,
                "results of an earlier life count"
            );
        }
        Fact::PreparationStarted { .. }
        | Fact::ArchivingStarted { .. }
        | Fact::BuildRetired { .. }
        | Fact::BuildCleared { .. }
        | Fact::SlaveForgotten { .. }
        | Fact::SetupRequested { .. }
        | Fact::SetupCompleted { .. }
        | Fact::TeardownRequested { .. }
        | Fact::TeardownCompleted { .. }
        | Fact::SubjobHandedOut { .. }
        | Fact::SubjobFinished { .. } => tracing::debug!(event = ?event.fact, "event"),
    }
}
