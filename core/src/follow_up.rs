//! What follows from the state as it stands. Scheduling looks, it is not told: a lost or late
//! message then costs time, never a stuck build.

use super::event::{BuildFact, Event, Fact, SlaveFact};
use super::{Cluster, HUNT_AFTER_END, MAX_DEATHS, MAX_PREPARATIONS, MAX_SETUPS, SLAVE_RETURN};
use crate::actor::Actor;
use crate::builds::bounded_text::bounded;
use crate::builds::build::{Build, BuildState, Preparation};
use crate::builds::isolation;
use crate::scheduling::slave_allocator;
use crate::slaves::slave::{BuildOnSlave, Presence, Slave};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId};

impl Cluster {
    /// The next thing that follows from the state; `None` when the cluster is at rest. Each
    /// follow-up moves something forward, so asking and applying again and again ends. The state stays as
    /// it is; only who was looked at is remembered.
    #[must_use]
    pub fn follow_up(&mut self, at: Timestamp) -> Option<Event> {
        let fact = self
            .next_of_deletions()
            // First: what is not wanted any more is not prepared.
            .or_else(|| self.next_stop_in_matrix())
            .or_else(|| self.next_preparation())
            .or_else(|| self.next_ending(at))
            .or_else(|| self.next_end_of_matrix())
            .or_else(|| self.next_quarantine())
            .or_else(|| self.next_probe(at))
            .or_else(|| self.next_teardown(at))
            .or_else(|| self.next_withdrawal())
            // First: what is not wanted any more is not placed.
            .or_else(|| self.next_of_apps())
            .or_else(|| self.next_of_instances(at))
            .or_else(|| self.next_of_shutdown())
            .or_else(|| isolation::next(self))
            .or_else(|| slave_allocator::next(self))?;
        let by = Actor::Master;
        Some(Event { at, by, fact })
    }

    fn next_preparation(&self) -> Option<Fact> {
        let deaths = |id: &BuildId| self.builds.get(id).map_or(0, |b| b.preparations.deaths);
        if let Some(build) = self
            .deadly
            .iter()
            .copied()
            .find(|id| deaths(id) >= MAX_DEATHS)
        {
            let reason = format!(
                "The master died {MAX_DEATHS} times while it prepared this build. It is not tried again: an atomizer may \
                 kill the master, or its memory runs out. If there was another cause, submit the build again."
            );
            return Some(Fact::Build(build, BuildFact::Failed { reason }));
        }
        if self.preparing.len() >= MAX_PREPARATIONS {
            return None;
        }
        // Projects, not builds: those that are not free are fewer than `MAX_PREPARATIONS`.
        let free = self.queued.iter().filter(|(project, _)| {
            let preparation = Preparation::Project(**project);
            !self.preparing.contains_key(&preparation)
        });
        // Of those that the master died over only one, so that the next death tells which it was.
        let tries_one = self.preparing.values().any(|id| self.deadly.contains(id));
        let build = free
            .filter_map(|(_, builds)| builds.iter().find(|id| !self.waits_for_sibling(**id)))
            .copied()
            .filter(|id| !tries_one || !self.deadly.contains(id))
            .min()?;
        let attempts = self.builds.get(&build)?.preparations.attempts;
        let attempt = Attempt(attempts).next();
        Some(Fact::Build(
            build,
            BuildFact::PreparationStarted { attempt },
        ))
    }

    fn next_ending(&mut self, at: Timestamp) -> Option<Fact> {
        while let Some(id) = self.dirty.endings.first().copied() {
            let build = self.working.get(&id).and_then(|id| self.builds.get(id));
            if let Some(fact) = build.and_then(|build| self.ending(build, at)) {
                return Some(fact);
            }
            self.dirty.endings.remove(&id);
        }
        // That a slave does not come back shows in the time alone.
        let troubled = self.troubled.iter().filter_map(|id| self.builds.get(id));
        let mut troubled =
            troubled.filter(|build| build.wants_slaves() && build.num_unstarted() > 0);
        troubled.find_map(|build| self.setup_hopeless(build, at))
    }

    /// The end of a build's work, if it has come: all results are there, or none can come, or so many atoms failed that
    /// the rest is not run.
    fn ending(&self, build: &Build, at: Timestamp) -> Option<Fact> {
        let is_building = matches!(build.state, BuildState::Building(_));
        if is_building && build.has_failed_enough() {
            return Some(Fact::Build(build.id, BuildFact::ArchivingStarted));
        }
        if build.num_unstarted() == 0 {
            let done = build.num_running() == 0 && build.num_kept() == 0;
            return done.then_some(Fact::Build(build.id, BuildFact::ArchivingStarted));
        }
        if let BuildState::Building(progress) = &build.state {
            let next = progress.unstarted.front();
            let next = next.and_then(|id| Some((id, build.subjob(id)?)));
            let exhausted = next
                .into_iter()
                .chain(build.set_aside())
                .find(|(_, subjob)| !subjob.is_poison() && subjob.is_exhausted());
            if let Some((id, subjob)) = exhausted {
                let last = subjob
                    .mishaps()
                    .last_return
                    .as_deref()
                    .unwrap_or("it never came back");
                let reason = format!(
                    "Subjob {id} ({}) was handed out {} times and brought no result. \
                     The last time: {last}.",
                    subjob.atoms.join(" "),
                    subjob.attempts
                );
                return Some(Fact::Build(build.id, BuildFact::Failed { reason }));
            }
        }
        self.setup_hopeless(build, at)
    }

    /// A build fails when every slave that takes work and suits it was tried and none can set it up, and none that
    /// could may be expected back. While there is no such slave at all it waits for one.
    fn setup_hopeless(&self, build: &Build, at: Timestamp) -> Option<Fact> {
        if build.setup_failures.is_empty() || build.num_running() > 0 || build.num_kept() > 0 {
            return None;
        }
        let may_help = |slave: &Slave| match &slave.presence {
            Presence::Alive => slave.takes_work() && build.may_be_set_up_by(slave),
            Presence::Lost { at: since, .. } => {
                let failure = build.setup_failures.get(&slave.url);
                let is_fit =
                    build.suits(slave) && failure.is_none_or(|failure| failure.times < MAX_SETUPS);
                is_fit && since.until(at) < SLAVE_RETURN
            }
            Presence::ShuttingDown | Presence::Ending | Presence::ShutDown | Presence::Replaced => {
                false
            }
        };
        let mut suitable = self.slaves().filter(|slave| build.suits(slave));
        if !suitable.any(Slave::takes_work) || self.slaves().any(may_help) {
            return None;
        }
        let reasons: Vec<String> = build
            .setup_failures
            .iter()
            .map(|(url, failure)| format!("{url}: {}", failure.reason))
            .collect();
        Some(Fact::Build(
            build.id,
            BuildFact::Failed {
                reason: bounded(format!(
                    "No slave could set this build up. {}",
                    reasons.join("\n")
                )),
            },
        ))
    }

    fn next_teardown(&self, at: Timestamp) -> Option<Fact> {
        let mut leftover = self.leftover.iter();
        let is_rest = !self.leftover.is_empty() && self.is_at_rest();
        let may_hear = |(slave, build): &&(SlaveId, BuildId)| {
            let slave = self.slave(*slave);
            slave.is_some_and(|slave| {
                let is_hunted = is_rest && self.is_hunted_on(*build, slave, at);
                !slave.must_finish_setup(*build) && !is_hunted
            })
        };
        let (slave, build) = *leftover.find(may_hear)?;
        Some(Fact::Build(build, BuildFact::TeardownRequested { slave }))
    }

    /// Whether no build waits for anything, and none is about to.
    fn is_at_rest(&self) -> bool {
        self.line.is_empty()
            && self.queued.is_empty()
            && self.preparing.is_empty()
            && self.suspicious.is_empty()
            && self.reserved.is_empty()
    }

    /// Whether a slave keeps a build that is over, to hunt for flakes.
    fn is_hunted_on(&self, build: BuildId, slave: &Slave, at: Timestamp) -> bool {
        let is_ready = slave.builds.get(&build) == Some(&BuildOnSlave::Ready);
        let Some(build) = self.build(build).filter(|_| is_ready && !slave.is_legacy) else {
            return false;
        };
        // A clock that was set back says nothing of how long ago that was.
        let is_near = |ended: Timestamp| ended <= at && ended.until(at) < HUNT_AFTER_END;
        matches!(build.state, BuildState::Archiving | BuildState::Finished)
            && build.hunted.goes_on
            && !self.is_deleted(build.id)
            && build.timestamps.finished.is_none_or(is_near)
    }

    /// A slave that is to end clears away each build of which it runs nothing any more, and ends when
    /// it has none.
    fn next_of_shutdown(&self) -> Option<Fact> {
        let mut ending = self.shutting_down.iter().filter_map(|id| self.slave(*id));
        ending.find_map(|slave| {
            let id = slave.id;
            if slave.builds.is_empty() && slave.delivering.is_empty() {
                return Some(Fact::Slave(id, SlaveFact::EndRequested));
            }
            clearing(slave)
        })
    }

    /// A slave that is drained or quarantined clears its builds away too, but stays.
    fn next_withdrawal(&self) -> Option<Fact> {
        let mut withdrawing = self.withdrawing.iter().filter_map(|id| self.slave(*id));
        withdrawing.find_map(clearing)
    }
}

/// The next build that a slave can clear away because it runs nothing of it.
fn clearing(slave: &Slave) -> Option<Fact> {
    let is_done = |(build, place): &(&BuildId, &BuildOnSlave)| {
        **place != BuildOnSlave::TearingDown
            && slave.num_running(**build) == 0
            && !slave.must_finish_setup(**build)
    };
    let (build, _) = slave.builds.iter().find(is_done)?;
    Some(Fact::Build(
        *build,
        BuildFact::TeardownRequested { slave: slave.id },
    ))
}
