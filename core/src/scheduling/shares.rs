//! Keeps what is derived for scheduling: the loads of slaves, the build queue, idle executors.

use crate::Cluster;
use crate::builds::build::Build;
use crate::builds::subjob::Subjob;
use crate::scheduling::build_queue::{BuildQueue, Share};
use crate::scheduling::hand_outs::num_missing;
use crate::scheduling::load::{Load, Rank};
use crate::scheduling::prefetch::LONG_US;
use crate::scheduling::standing::Standing;
use crate::scheduling::with_setup::job_of;
use crate::slaves::slave::{BuildOnSlave, Slave};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SlaveId, SubjobId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn is_long(known_us: Option<u64>) -> bool {
    known_us.is_some_and(|us| us > LONG_US)
}

impl Cluster {
    fn known_us(&self, build: BuildId, subjob: SubjobId) -> Option<u64> {
        self.builds.get(&build)?.subjob(subjob)?.known_us()
    }

    fn rank_and_known_us(&self, build: BuildId, subjob: SubjobId) -> (Rank, Option<u64>) {
        let build = self.builds.get(&build);
        let subjob = build.and_then(|build| build.subjob(subjob));
        let rank = build.map_or(Rank::USUAL, |build| build.rank());
        (rank, subjob.and_then(Subjob::known_us))
    }

    /// Gives a slave a subjob.
    pub(crate) fn hold(&mut self, id: SlaveId, build: BuildId, subjob: SubjobId) {
        let (rank, known) = self.rank_and_known_us(build, subjob);
        self.change_slave(id, |slave| {
            slave.running.insert((build, subjob));
            slave.load.add(build, rank, known, is_long(known));
        });
        self.share_out(id);
    }

    /// Takes a subjob away from a slave.
    pub(crate) fn release(&mut self, id: SlaveId, build: BuildId, subjob: SubjobId) {
        let known = self.known_us(build, subjob);
        self.change_slave(id, |slave| {
            if slave.running.remove(&(build, subjob)) {
                slave.load.remove(build, known, is_long(known));
            }
            slave.delivering.remove(&(build, subjob));
        });
        self.share_out(id);
    }

    /// Takes all subjobs of a build away from a slave, or of all builds.
    pub(crate) fn release_all(&mut self, id: SlaveId, of: Option<BuildId>) {
        let Some(slave) = self.slaves.get(&id) else {
            return;
        };
        let running = slave.running.iter().copied();
        let concerned = running.filter(|(build, _)| of.is_none_or(|of| of == *build));
        let released: Vec<_> = concerned
            .map(|(build, subjob)| (build, subjob, self.known_us(build, subjob)))
            .collect();
        self.change_slave(id, |slave| {
            for (build, subjob, known) in released {
                slave.running.remove(&(build, subjob));
                slave.load.remove(build, known, is_long(known));
            }
        });
        self.share_out(id);
    }

    /// Shares the executors of a slave out anew among the builds that it has subjobs of.
    fn share_out(&mut self, id: SlaveId) {
        let Self {
            slaves,
            builds,
            line,
            ..
        } = self;
        let Some(slave) = slaves.get_mut(&id) else {
            return;
        };
        let num_executors = slave.num_executors as usize;
        slave.load.share_out(num_executors, |id, before, after| {
            let Some(build) = builds.get_mut(&id).map(Arc::make_mut) else {
                return;
            };
            let priority = build.priority();
            line.serve(priority, before, after);
            build.standing.executors = build.standing.executors + after - before;
            let share = build.share();
            let is_ready = build.standing.is_ready();
            if let Some(place) = &mut build.standing.in_line {
                line.move_to(priority, (*place, share), id, is_ready);
                *place = share;
            }
        });
    }

    /// Puts a build into the queue, moves it there or takes it out, as its subjobs, limits and turn say.
    pub(crate) fn settle(&mut self, id: BuildId) {
        let Some(build) = self.builds.get(&id) else {
            return;
        };
        if build.wants_slaves() && !build.setup_failures.is_empty() {
            self.troubled.insert(id);
        } else if !self.troubled.is_empty() {
            self.troubled.remove(&id);
        }
        let waits = is_in_line(self, build);
        let (priority, share) = (build.priority(), build.share());
        let (before, place) = (build.standing.in_line, waits.then_some(share));
        if before == place {
            return;
        }
        let is_ready = build.standing.is_ready();
        if let Some(build) = self.builds.get_mut(&id).map(Arc::make_mut) {
            build.standing.in_line = place;
        }
        match (before, place) {
            (Some(from), Some(to)) => return self.line.move_to(priority, (from, to), id, is_ready),
            (Some(before), None) => self.line.leave(priority, before, id, is_ready),
            (None, Some(place)) => {
                self.line.join(priority, place, id, is_ready);
                self.dirty.builds.insert(id);
            }
            (None, None) => {}
        }
        // A slave of the original gives up a build that no longer needs it for one that does.
        if !waits && self.num_legacy > 0 {
            self.dirty.builds_to_set_up.extend(self.line.iter());
        }
    }

    /// Changes how far a build is on a slave; `None` when the slave no longer has it.
    pub(crate) fn put(&mut self, id: SlaveId, build: BuildId, place: Option<BuildOnSlave>) {
        let mut before = None;
        let mut num_executors = 0;
        self.change_slave(id, |slave| {
            before = match place {
                Some(place) => slave.builds.insert(build, place),
                None => slave.builds.remove(&build),
            };
            num_executors = slave.num_executors as usize;
            slave.load.promised += promised(place.as_ref());
            slave.load.promised -= promised(before.as_ref());
            slave.load.ready += usize::from(place == Some(BuildOnSlave::Ready));
            slave.load.ready -= usize::from(before == Some(BuildOnSlave::Ready));
        });
        if let Some(changed) = self.builds.get_mut(&build).map(Arc::make_mut) {
            let ready = |place| {
                if place == Some(BuildOnSlave::Ready) {
                    num_executors
                } else {
                    0
                }
            };
            let priority = changed.priority();
            let standing = &mut changed.standing;
            let was_ready = standing.is_ready();
            standing.coming += promised(place.as_ref());
            standing.coming -= promised(before.as_ref());
            standing.ready_executors += ready(place);
            standing.ready_executors -= ready(before);
            if standing.is_ready() != was_ready
                && let Some(share) = standing.in_line
            {
                self.line.leave(priority, share, build, was_ready);
                self.line.join(priority, share, build, !was_ready);
            }
        }
    }

    /// For how many executors of a slave a set-up is that begins now.
    pub(crate) fn executors_for(&self, slave: SlaveId, build: BuildId) -> usize {
        let (slave, build) = (self.slaves.get(&slave), self.builds.get(&build));
        let Some((slave, build)) = slave.zip(build) else {
            return 0;
        };
        if slave.reserved_for.is_some() {
            return 0;
        }
        let (uncommitted, ..) = slave.room();
        uncommitted.min(build.max_executors_per_slave()).max(1)
    }

    /// Notes how long a set-up took.
    pub(crate) fn note_setup_time(&mut self, slave: SlaveId, build: BuildId, at: Timestamp) {
        let place = self
            .slaves
            .get(&slave)
            .and_then(|slave| slave.builds.get(&build));
        let Some(BuildOnSlave::SettingUp {
            since: Some(since), ..
        }) = place
        else {
            return;
        };
        let took = u64::try_from(since.until(at).as_millis()).unwrap_or(u64::MAX);
        if let Some(build) = self.builds.get_mut(&build).map(Arc::make_mut) {
            build.setups = (build.setups.0.saturating_add(took), build.setups.1 + 1);
        }
        self.note_quickness(slave, build, Some(took));
    }

    /// Notes how long a set-up took for later set-ups of the same job; `None` if it failed.
    pub(crate) fn note_quickness(&mut self, slave: SlaveId, build: BuildId, took: Option<u64>) {
        if let Some(build) = self.builds.get(&build)
            && let Some(slave) = self.slaves.get_mut(&slave)
        {
            slave.quick_setups.note(job_of(build), took);
        }
    }

    /// Computes all that is derived for scheduling, after builds and slaves were read.
    pub(crate) fn derive_shares(&mut self) {
        (self.num_executors, self.num_legacy) = farm_size(self.slaves.values());
        for (id, load) in self.derived_loads() {
            self.change_slave(id, |slave| slave.load = load);
        }
        for (id, standing) in self.derived_standings() {
            if let Some(build) = self.builds.get_mut(&id).map(Arc::make_mut) {
                build.standing = standing;
            }
        }
        self.line = self.derived_line();
        self.troubled = self.derived_troubled();
        self.attend_to_all();
    }

    /// The load of each slave, from its subjobs and its builds.
    pub(crate) fn derived_loads(&self) -> BTreeMap<SlaveId, Load> {
        let load = |slave: &Slave| {
            let mut load = Load::default();
            for (build, subjob) in &slave.running {
                let (rank, known) = self.rank_and_known_us(*build, *subjob);
                load.add(*build, rank, known, is_long(known));
            }
            load.share_out(slave.num_executors as usize, |_, _, _| {});
            load.promised = slave.builds.values().map(|p| promised(Some(p))).sum();
            let places = slave.builds.values();
            load.ready = places.filter(|p| **p == BuildOnSlave::Ready).count();
            load
        };
        self.slaves
            .values()
            .map(|slave| (slave.id, load(slave)))
            .collect()
    }

    /// What is derived of each build, from its results, its slaves and their loads.
    pub(crate) fn derived_standings(&self) -> BTreeMap<BuildId, Standing> {
        let mut standings = BTreeMap::new();
        for build in self.builds.values() {
            let mut standing = Standing::default();
            let results = build.subjobs.iter().filter_map(|s| s.result.as_ref());
            results.for_each(|(_, outcomes)| standing.observe(outcomes));
            let failed = build.subjobs.iter().flat_map(|s| s.failed_attempts());
            standing.run_again = failed.map(|run| run.outcomes.len() as u64).sum();
            standings.insert(build.id, standing);
        }
        for slave in self.slaves.values() {
            for portion in slave.load.portions() {
                if let Some(standing) = standings.get_mut(&portion.build) {
                    standing.executors += portion.executors;
                }
            }
            for (build, place) in &slave.builds {
                if let Some(standing) = standings.get_mut(build) {
                    standing.coming += promised(Some(place));
                    if *place == BuildOnSlave::Ready {
                        standing.ready_executors += slave.num_executors as usize;
                    }
                }
            }
        }
        for (id, standing) in &mut standings {
            let build = self.builds.get(id).filter(|build| is_in_line(self, build));
            let share =
                |build: &Arc<Build>| Share::of(standing.executors, build.weight(), build.turn);
            standing.in_line = build.map(share);
        }
        standings
    }

    /// The build queue, from what is derived of each build.
    pub(crate) fn derived_line(&self) -> BuildQueue {
        let mut line = BuildQueue::default();
        for build in self.builds.values() {
            let standing = &build.standing;
            if self.working.contains(&build.id) {
                line.weight += u64::from(build.weight());
            }
            if standing.executors > 0 {
                line.serve(build.priority(), 0, standing.executors);
            }
            if let Some(share) = standing.in_line {
                line.join(build.priority(), share, build.id, standing.is_ready());
            }
        }
        line
    }

    /// Builds that some slave could not set up.
    pub(crate) fn derived_troubled(&self) -> BTreeSet<BuildId> {
        let builds = self.builds.values();
        let troubled = builds.filter(|b| b.wants_slaves() && !b.setup_failures.is_empty());
        troubled.map(|build| build.id).collect()
    }
}

/// How many executors of a slave a set-up under way is for.
pub(crate) fn promised(place: Option<&BuildOnSlave>) -> usize {
    match place {
        Some(BuildOnSlave::SettingUp { executors, .. }) => *executors,
        Some(BuildOnSlave::Ready | BuildOnSlave::TearingDown) | None => 0,
    }
}

/// Whether more executors could work on a build.
fn is_in_line(cluster: &Cluster, build: &Build) -> bool {
    build.wants_slaves() && num_missing(cluster, build) > 0
}

/// How many living slaves' executors there are, and how many of these slaves are of the original.
pub(crate) fn farm_size<'a>(slaves: impl Iterator<Item = &'a Slave>) -> (usize, usize) {
    slaves
        .filter(|slave| slave.is_alive())
        .fold((0, 0), |(executors, legacy), slave| {
            (
                executors + slave.num_executors as usize,
                legacy + usize::from(slave.is_legacy),
            )
        })
}
