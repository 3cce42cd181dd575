//! Hunts on the farm: what the hunter asks for, and what slaves do about it.

use super::{EXECUTORS, Farm, Happening, KILL, MESSAGE, number_of};
use crate::command::Command;
use crate::hunting::{Hunt, HuntId};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::SlaveId;
use clusterrunner_common::work::HuntEnd;

impl Farm {
    /// What a slave does with its hunts when work comes.
    pub(super) fn drop_hunts(&mut self, slave: SlaveId) {
        for id in self
            .machine(slave)
            .hunting
            .keys()
            .copied()
            .collect::<Vec<_>>()
        {
            self.free(slave, id);
            self.hunt_told(id, HuntEnd::Dropped);
        }
    }

    /// Kills what hunts on an executor.
    pub(super) fn free(&mut self, slave: SlaveId, id: HuntId) {
        let now = self.now;
        if let Some(began) = self.machine(slave).hunting.remove(&id) {
            self.hunted_ms += now - began;
            self.machine(slave).killing += 1;
            let delay = self.random.between(1, KILL);
            self.schedule(delay, Happening::Freed(slave));
        }
    }

    pub(super) fn look(&mut self) {
        let Some(mut hunts) = self.hunts.take() else {
            return;
        };
        let look = hunts.look(&self.cluster, Timestamp(self.now));
        self.hunts = Some(hunts);
        for (id, hunt) in look.ended {
            self.free(hunt.slave, id);
        }
        for id in &look.unknown {
            let build = self.cluster.build(*id).unwrap().clone();
            let known = build.numbered_subjobs().map(|(id, subjob)| {
                let memory = &self.memories[number_of(&subjob.atoms[0])];
                (id, subjob, memory.trials())
            });
            let known: Vec<_> = known.collect();
            let hunts = self.hunts.as_mut().unwrap();
            hunts.learn(build.id, &build.hunted, known);
        }
        for (build, goes_on) in look.goes_on {
            let told = Command::ReportHunting { build, goes_on };
            self.schedule(MESSAGE, Happening::Tell(told));
        }
        for (id, hunt) in look.begun {
            self.schedule(MESSAGE, Happening::HuntReaches(id, hunt));
        }
        if !look.unknown.is_empty() {
            self.look();
        }
    }

    pub(super) fn hunt_reaches(&mut self, id: HuntId, hunt: &Hunt) {
        let now = self.now;
        let machine = self.machine(hunt.slave);
        let is_quiet = machine.setting_up.is_empty() && machine.waiting.is_empty();
        let in_use = machine.num_busy + machine.killing + machine.hunting.len();
        let hunts = self.hunts.as_mut().unwrap();
        if !hunts.running().any(|(running, _)| *running == id) {
            return;
        }
        if !is_quiet || in_use >= EXECUTORS as usize {
            return hunts.refused(id, false, Timestamp(now));
        }
        self.machine(hunt.slave).hunting.insert(id, now);
        let build = self.cluster.build(hunt.build).unwrap();
        let subjob = build.subjob(hunt.subjob).unwrap();
        let atom = number_of(&subjob.atoms[0]);
        let end = match self.fails(atom, 1_000_000 + id, 0) {
            true => HuntEnd::Failed,
            false => HuntEnd::Passed,
        };
        let took = self.ms(atom, 1_000_000 + id);
        self.schedule(took, Happening::HuntEnds(id, end));
    }

    pub(super) fn hunt_ends(&mut self, id: HuntId, end: HuntEnd) {
        let now = self.now;
        for machine in self.machines.values_mut() {
            if let Some(began) = machine.hunting.remove(&id) {
                self.hunted_ms += now - began;
                return self.hunt_told(id, end);
            }
        }
    }

    pub(super) fn hunt_told(&mut self, id: HuntId, end: HuntEnd) {
        let at = Timestamp(self.now);
        let hunts = self.hunts.as_mut().unwrap();
        if let Some((build, run)) = hunts.ended(id, end, 1, at) {
            let runs = vec![run];
            let told = Command::ReportHunted { build, runs };
            self.schedule(MESSAGE, Happening::Tell(told));
        }
    }
}
