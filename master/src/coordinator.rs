//! Owns the [`Cluster`]: one task, one bounded inbox. Commands are decided in turns; the events of
//! a turn are one write and one flush, and only then is anybody answered and anything done.

mod asked_from;
mod audited;
mod handle;
mod liveness;
mod mark_seal;
mod story;

pub use asked_from::{asked_from, asking_address};
pub use handle::{ClusterHandle, CommandFailure, Gone};

use self::handle::{Look, Message};
use self::liveness::Liveness;
pub(crate) use self::mark_seal::MarkSeal;
use crate::journal::{Asked, Journal, JournalError, WrittenSnapshot};
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_common::ids::{BuildId, Incarnation, InstanceId, ProjectId, SessionId, SlaveId};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::command::{Command, Opening, StoredResults};
use clusterrunner_core::effect::Effect;
use clusterrunner_core::event::{Event, Fact, SlaveFact};
use clusterrunner_core::instances::orders::latest_orders;
use clusterrunner_core::refusal::Refusal;
use clusterrunner_core::scheduling::followed::note_followed;
use clusterrunner_core::slaves::slave::Slave;
use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How many messages may wait; the sender of one more waits.
const INBOX: usize = 4096;

/// How many commands share one flush, give or take those that came together.
const TURN: usize = 512;

/// How long the events of a noted command may wait for a turn to share.
const NOTE_WAIT: Duration = Duration::from_millis(5);

/// How many builds are archived at a time.
const KEPT: usize = 256;

/// Is told of events once they are on disk, with the cluster that has taken them in.
type Listener = Box<dyn FnMut(&Cluster, &Arc<[Event]>) + Send>;

/// The task's own state.
pub struct Coordinator {
    cluster: Cluster,
    /// How many events are on disk.
    position: Arc<AtomicU64>,
    opening: Box<Opening>,
    journal: Journal,
    liveness: Liveness,
    /// How long a slave of the original may be silent.
    legacy_lease: Duration,
    started: Instant,
    inbox: mpsc::Receiver<Message>,
    effects: mpsc::UnboundedSender<Effect>,
    snapshot: Option<JoinHandle<Result<WrittenSnapshot, JournalError>>>,
    /// Builds that are being archived.
    keeping: Option<JoinHandle<Result<Vec<BuildId>, JournalError>>>,
    listener: Listener,
}

/// What one turn has gathered until its events are on disk.
#[derive(Default)]
struct Turn {
    /// How many commands it has decided.
    num_commands: usize,
    events: Vec<Event>,
    /// What people have asked for.
    asked: Vec<Asked>,
    answers: Vec<Answer>,
    looks: Vec<Look>,
    effects: Vec<Effect>,
    /// When it ends though nobody waits for it.
    due: Option<tokio::time::Instant>,
}

impl Turn {
    /// Whether a caller waits for its end, or effects do.
    fn is_awaited(&self) -> bool {
        !(self.answers.is_empty() && self.looks.is_empty() && self.effects.is_empty())
    }
}

/// What a caller waits for.
enum Answer {
    /// Which of the turn's events a command caused itself.
    Events(
        oneshot::Sender<Result<Vec<Event>, Refusal>>,
        Result<Range<usize>, Refusal>,
    ),
    Outcomes(
        oneshot::Sender<Vec<Result<(), Refusal>>>,
        Vec<Result<(), Refusal>>,
    ),
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
        let position = Arc::new(AtomicU64::new(cluster.lineage().position()));
        let opening = Opening {
            life: SessionId::from_random(random_bytes()),
            fresh: Incarnation::from_random(random_bytes()),
            stored: StoredResults::none(),
        };
        let coordinator = Self {
            cluster,
            position: Arc::clone(&position),
            opening: Box::new(opening),
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
            ClusterHandle::new(inbox_sender, position),
            effects_receiver,
        ))
    }

    /// How many events are on disk.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.cluster.lineage().position()
    }

    /// The cluster as the journal has it, before anything happens in this life of the master.
    #[must_use]
    pub fn recovered(&self) -> &Cluster {
        &self.cluster
    }

    /// The builds that are not over.
    #[must_use]
    pub fn open_builds(&self) -> Vec<BuildId> {
        let open = self.cluster.builds().filter(|build| !build.is_over());
        open.map(|build| build.id).collect()
    }

    /// The digests of the snapshots of all templates, and all instances.
    #[must_use]
    pub fn launched(&self) -> (HashSet<String>, HashSet<InstanceId>) {
        let snapshots = self.cluster.snapshots().map(str::to_owned).collect();
        let instances = self.cluster.instances().map(|instance| instance.id);
        (snapshots, instances.collect())
    }

    /// The projects that are deployed.
    #[must_use]
    pub fn apps(&self) -> HashSet<ProjectId> {
        self.cluster.apps().map(|app| app.project).collect()
    }

    /// Begins a life of the master that is known elsewhere, too.
    #[must_use]
    pub fn opening(mut self, opening: Opening) -> Self {
        self.opening = Box::new(opening);
        self
    }

    /// Gives slaves of the original another lease.
    #[must_use]
    pub fn with_legacy_lease(mut self, lease: Duration) -> Self {
        self.legacy_lease = lease;
        self
    }

    /// The same coordinator; it tells `listener`, which must not take long, of what happens from now on.
    #[must_use]
    pub fn telling(self, listener: impl FnMut(&Cluster, &Arc<[Event]>) + Send + 'static) -> Self {
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
        let opening = self.opening.clone();
        self.decide(Command::Start { opening }, None, &mut first)
            .ok();
        self.finish(first).await?;
        let mut look = tokio::time::interval(self.liveness.look_interval());
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut turn = Turn::default();
        // Builds are archived as they are on disk: not amid a turn.
        let mut is_time_to_tidy = false;
        loop {
            let mut is_over = false;
            let due = turn.due;
            let end_of_turn =
                tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now));
            tokio::select! {
                biased;
                () = stop.cancelled() => is_over = true,
                written = end_of(&mut self.snapshot) => self.end_snapshot(written?),
                kept = end_of(&mut self.keeping) => self.retire(kept?, &mut turn),
                _ = look.tick() => {
                    self.give_up_the_silent(&mut turn);
                    is_time_to_tidy = true;
                }
                () = end_of_turn, if due.is_some() => {}
                message = self.inbox.recv() => match message {
                    Some(message) => self.take(message, &mut turn),
                    None => is_over = true,
                },
            }
            for _ in 1..TURN {
                if is_over || turn.num_commands >= TURN {
                    break;
                }
                match self.inbox.try_recv() {
                    Ok(message) => self.take(message, &mut turn),
                    Err(_) => break,
                }
            }
            let is_due = turn
                .due
                .is_none_or(|due| due <= tokio::time::Instant::now());
            if !is_over && !is_due && !turn.is_awaited() {
                continue;
            }
            self.finish(std::mem::take(&mut turn)).await?;
            if is_over {
                return self.close().await;
            }
            if std::mem::take(&mut is_time_to_tidy) {
                self.put_ended_builds_away();
            }
            if self.snapshot.is_none() && self.journal.needs_snapshot() {
                self.begin_snapshot();
            }
        }
    }

    /// Archives finished builds while the work goes on; they leave memory when they are on disk.
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
        self.decide(Command::ReportKept { builds }, None, turn).ok();
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
            Message::Command(command, from, sender) => {
                let events = self.decide(command, from, turn);
                turn.answers.push(Answer::Events(sender, events));
            }
            Message::Note(command, from) => {
                if let Err(refusal) = self.decide(command, from, turn) {
                    tracing::debug!(%refusal, "a recorded command no longer applies");
                }
                let due = || tokio::time::Instant::now() + NOTE_WAIT;
                turn.due.get_or_insert_with(due);
            }
            Message::Reports(commands, sender) => {
                let decided = commands.into_iter();
                let outcomes = decided.map(|command| self.decide(command, None, turn).map(|_| ()));
                let outcomes = outcomes.collect();
                turn.answers.push(Answer::Outcomes(sender, outcomes));
            }
            Message::Look(look) => turn.looks.push(look),
            Message::Heard(slave) => {
                if self.cluster.slave(slave).is_some_and(Slave::is_alive) {
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
            self.decide(Command::ReportSlaveDied { slave, reason }, None, turn)
                .ok();
            self.liveness.forget(slave);
        }
        self.decide(Command::ForgetSlaves, None, turn).ok();
        self.decide(Command::ForgetInstances, None, turn).ok();
        // Some things follow from the mere passing of time.
        self.follow_up(Timestamp::now(), turn);
    }

    /// Decides a command, which came from an address, and all that follows, and takes it into the state. Which of the
    /// turn's events it caused itself. A refusal leaves no trace.
    fn decide(
        &mut self,
        command: Command,
        from: Option<IpAddr>,
        turn: &mut Turn,
    ) -> Result<Range<usize>, Refusal> {
        let at = Timestamp::now();
        turn.num_commands += 1;
        let events = self.cluster.decide(command, at)?;
        let first = turn.events.len();
        for event in events {
            turn.asked
                .extend(audited::entry(&self.cluster, &event, from));
            self.apply(event, turn);
        }
        let own = first..turn.events.len();
        self.follow_up(at, turn);
        Ok(own)
    }

    fn follow_up(&mut self, at: Timestamp, turn: &mut Turn) {
        while let Some(event) = self.cluster.follow_up(at) {
            self.apply(event, turn);
        }
    }

    fn apply(&mut self, event: Event, turn: &mut Turn) {
        self.cluster.apply(&event);
        match &event.fact {
            Fact::Slave(slave, SlaveFact::Connected { .. }) => self.begin_lease(*slave),
            Fact::Slave(slave, SlaveFact::Lost { .. }) | Fact::Slave(slave, SlaveFact::Ended) => {
                self.liveness.forget(*slave);
            }
            _ => {}
        }
        story::tell(&event);
        turn.effects.extend(self.cluster.effects(&event));
        turn.events.push(event);
    }

    /// Makes a turn count: write, flush, then answer, act and let others look.
    async fn finish(&mut self, turn: Turn) -> Result<(), JournalError> {
        let events: Arc<[Event]> = turn.events.into();
        if !events.is_empty() {
            self.journal.audit(turn.asked)?;
            self.journal.append(&events).await?;
            let position = self.cluster.lineage().position();
            self.position.store(position, Ordering::Release);
            (self.listener)(&self.cluster, &events);
        }
        for answer in turn.answers {
            // The caller may have left; the command counts all the same.
            match answer {
                Answer::Events(sender, own) => {
                    drop(sender.send(own.map(|own| events[own].to_vec())));
                }
                Answer::Outcomes(sender, outcomes) => drop(sender.send(outcomes)),
            }
        }
        let mut effects = latest_orders(turn.effects);
        note_followed(&mut effects);
        for effect in effects {
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
        Some(writing) => writing.await?,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
