//! Scenarios in a few lines: commands in, facts and effects out as short texts, so that a test can
//! name all that came out.

mod orders;
mod snapshots;
mod values;

pub(super) use values::{
    atom, big_plan, finished, fresh, hand_out, plan, proved, request, stale, unusable,
};

use super::texts::effect_text;
use crate::Cluster;
use crate::actor::Actor;
use crate::builds::build::BuildState;
use crate::command::{Command, Opening, StoredResults};
use crate::effect::Effect;
use crate::event::{Event, Fact, FarmFact, IncarnationCause};
use crate::refusal::Refusal;
use crate::scheduling::hand_outs::{next_subjob, num_allowed};
use crate::slaves::slave::BuildOnSlave;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, Incarnation, SessionId, SlaveId};
use clusterrunner_common::work::Seen;
use snapshots::{SNAPSHOT_EVERY, Stored};
use std::cell::Cell;
use std::time::Duration;

/// No turn of these small clusters needs as many; a turn that does will never end.
const MAX_EVENTS_PER_TURN: usize = 10_000;

/// A cluster as its coordinator drives it, with the journal it would write.
#[derive(Default)]
pub(super) struct Scenario {
    pub(super) cluster: Cluster,
    pub(super) journal: Vec<Event>,
    /// A snapshot as it would be stored, and how many events it holds.
    snapshot: Option<(usize, Stored)>,
    /// So many events were stored and read back, and were the same.
    num_read_back: Cell<usize>,
    now: u64,
}

/// All that came of one command.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) events: Vec<Event>,
    pub(super) effects: Vec<Effect>,
}

/// A fact in short.
pub(super) fn fact_text(event: &Event) -> String {
    let text = event.fact.to_string();
    text.strip_prefix("build ")
        .map_or(text.clone(), str::to_owned)
}

impl Turn {
    /// These facts and effects and no others, in this order.
    #[track_caller]
    pub(super) fn check(&self, facts: &[&str], effects: &[&str]) {
        self.check_facts(facts);
        let found: Vec<String> = self.effects.iter().map(effect_text).collect();
        assert_eq!(found, effects, "effects");
    }

    /// These facts and no others, where the effects are not the point.
    #[track_caller]
    pub(super) fn check_facts(&self, facts: &[&str]) {
        let found: Vec<String> = self.events.iter().map(fact_text).collect();
        assert_eq!(found, facts, "facts");
    }

    #[track_caller]
    pub(super) fn check_nothing(&self) {
        self.check(&[], &[]);
    }
}

impl Scenario {
    /// A farm with these slaves and their executors, each in its first life.
    pub(super) fn with_slaves(slaves: &[(&str, u32)]) -> Self {
        let mut farm = Self::default();
        for (url, num_executors) in slaves {
            farm.connect(url, "life 1", *num_executors);
        }
        farm
    }

    /// One turn of the coordinator: what was decided, then what follows until the cluster rests.
    pub(super) fn try_tell(&mut self, command: Command) -> Result<Turn, Refusal> {
        self.now += 1;
        let at = Timestamp(self.now);
        let mut turn = Turn::default();
        for event in self.cluster.decide(command, at)? {
            self.take(event, &mut turn);
        }
        self.rest(at, &mut turn);
        Ok(turn)
    }

    /// Time passes and nothing is said.
    pub(super) fn wait(&mut self, time: Duration) -> Turn {
        self.now += u64::try_from(time.as_millis()).unwrap();
        let mut turn = Turn::default();
        self.rest(Timestamp(self.now), &mut turn);
        turn
    }

    /// The wall clock is set, forward or back.
    pub(super) fn set_clock(&mut self, now: u64) {
        self.now = now;
    }

    fn rest(&mut self, at: Timestamp, turn: &mut Turn) {
        while let Some(event) = self.cluster.follow_up(at) {
            self.take(event, turn);
            assert!(turn.events.len() < MAX_EVENTS_PER_TURN, "never at rest");
        }
        self.check_nothing_waits();
    }

    /// At rest, no executor is free that a build which is ready on its slave may use.
    fn check_nothing_waits(&self) {
        for build in self.cluster.builds().filter(|b| b.num_unstarted() > 0) {
            for slave in self.cluster.slaves().filter(|s| s.num_free() > 0) {
                let is_ready = slave.builds.get(&build.id) == Some(&BuildOnSlave::Ready);
                let may_have_more = num_allowed(&self.cluster, build) > 0
                    && next_subjob(&self.cluster, slave, build).is_some()
                    && slave.num_running(build.id) < build.max_executors_per_slave();
                assert!(
                    !(is_ready && may_have_more),
                    "{build:?} waits for {slave:?}"
                );
            }
        }
    }

    fn take(&mut self, event: Event, turn: &mut Turn) {
        self.cluster.apply(&event);
        if let Err(broken) = self.cluster.check() {
            panic!("after {event:?}: {broken}");
        }
        turn.effects.extend(self.cluster.effects(&event));
        self.journal.push(event.clone());
        turn.events.push(event);
        // At any moment, not only between two turns.
        if self.journal.len().is_multiple_of(SNAPSHOT_EVERY) {
            self.snapshot = Some((self.journal.len(), Stored::new(&self.cluster)));
        }
    }

    #[track_caller]
    pub(super) fn tell(&mut self, command: Command) -> Turn {
        self.try_tell(command).unwrap()
    }

    #[track_caller]
    pub(super) fn check_refused(&mut self, command: Command, expected: &Refusal) {
        let before = self.cluster.clone();
        assert_eq!(self.try_tell(command).unwrap_err(), *expected);
        assert_eq!(self.cluster, before);
    }

    /// The journal is repaired.
    pub(super) fn begin_incarnation(&mut self, fresh: Incarnation) -> Turn {
        let reason = "the journal was repaired".to_owned();
        self.tell(Command::BeginIncarnation { fresh, reason })
    }

    /// What a slave has seen that saw the last event.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.cluster.mark().map(Seen::first).into_iter().collect()
    }

    /// The master starts again, in an incarnation that it had from the beginning.
    pub(super) fn restart(&mut self) -> Turn {
        if self.cluster.lineage().incarnation().is_none() {
            let fact = Fact::Farm(FarmFact::IncarnationBegun {
                incarnation: Incarnation("first".to_owned()),
                build: BuildId(0),
                attempt: Attempt(0),
                slave: SlaveId(0),
                cause: IncarnationCause::NewJournal,
            });
            let at = Timestamp(self.now);
            self.take(
                Event {
                    at,
                    by: Actor::Master,
                    fact,
                },
                &mut Turn::default(),
            );
        }
        self.start(StoredResults::none())
    }

    /// The master starts, and finds these results.
    pub(super) fn start(&mut self, stored: StoredResults) -> Turn {
        let opening = Opening {
            life: SessionId(format!("master of event {}", self.journal.len())),
            fresh: Incarnation(format!("begun at event {}", self.journal.len())),
            stored,
        };
        let opening = Box::new(opening);
        self.tell(Command::Start { opening })
    }

    pub(super) fn session(&self, slave: u64) -> SessionId {
        self.cluster.slave(SlaveId(slave)).unwrap().session.clone()
    }

    pub(super) fn state(&self, build: u64) -> &BuildState {
        &self.cluster.build(BuildId(build)).unwrap().state
    }

    /// How many executors work on each build, in the order of the builds.
    #[track_caller]
    pub(super) fn check_running(&self, expected: &[usize]) {
        let running: Vec<usize> = self
            .cluster
            .builds()
            .map(super::super::builds::build::Build::num_running)
            .collect();
        assert_eq!(running, expected, "executors per build");
    }

    /// Loses the events after the first `num_events`, and with them a snapshot that holds some of
    /// them: none is written before its events.
    pub(super) fn truncate(&mut self, num_events: usize) {
        self.journal.truncate(num_events);
        let num_read_back = self.num_read_back.get_mut();
        *num_read_back = num_events.min(*num_read_back);
        self.snapshot.take_if(|(events, _)| *events > num_events);
    }

    /// A start from the snapshot and what came after it gives the same as one from all events.
    fn check_snapshot(&self, replayed: &Cluster) {
        let Some((events, snapshot)) = &self.snapshot else {
            return;
        };
        let mut restored = snapshot.restored();
        if let Err(broken) = restored.check() {
            panic!("restored from a snapshot: {broken}");
        }
        for event in &self.journal[*events..] {
            restored.apply(event);
        }
        assert_eq!(restored, *replayed, "a snapshot gives another state");
    }

    /// A snapshot after any event gives the state back as it was.
    #[track_caller]
    pub(super) fn check_snapshots(&self) {
        let mut cluster = Cluster::default();
        for event in &self.journal {
            cluster.apply(event);
            let restored = Stored::new(&cluster).restored();
            assert_eq!(restored, cluster, "after {event:?}");
        }
    }

    /// What a master that starts on this journal would know.
    pub(super) fn replayed(&self) -> Cluster {
        let mut replayed = Cluster::default();
        for event in &self.journal[self.num_read_back.get()..] {
            let stored = serde_json::to_string(event).unwrap();
            let read: Event = serde_json::from_str(&stored).unwrap();
            assert_eq!(read, *event, "{stored}");
        }
        self.num_read_back.set(self.journal.len());
        for event in &self.journal {
            replayed.apply(event);
        }
        self.check_snapshot(&replayed);
        replayed
    }
}

/// No scenario may end without it, so none has to ask for it.
impl Drop for Scenario {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.replayed(), self.cluster, "replay gives another state");
        }
    }
}
