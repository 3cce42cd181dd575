//! What goes wrong in the world, and what users do there.

use super::{Happening, TICK, World};
use crate::actor::Actor;
use crate::builds::status::{PostedStatus, Status};
use crate::command::{Command, SlaveChoice};
use crate::event::{BuildFact, Fact};
use crate::tests::scenario::request;
use crate::tests::walk::machine::Sickness;
use crate::tests::walk::master::Doom;
use crate::tests::walk::plan::Fault;
use clusterrunner_common::ids::{BuildId, SlaveId};

impl World {
    /// A fault of the plan happens.
    pub(super) fn fail(&mut self, fault: Fault) {
        let now = self.now;
        // A smaller plan may have fewer machines.
        let num_machines = self.machines.len();
        let on = |index: usize| index % num_machines;
        match fault {
            Fault::MachineCrashes(index) => self.crash_machine(on(index)),
            Fault::MachineEnds(index) => {
                let index = on(index);
                let acts = self.machines[index].ending();
                self.act(index, acts);
                self.crash_machine(index);
            }
            Fault::MachineIsGone(index) => {
                let index = on(index);
                self.machines[index].is_gone = index > 0;
                self.crash_machine(index);
            }
            Fault::MachineHangs(index, time) => self.machines[on(index)].hangs_until = now + time,
            Fault::CutOff(index, time) => self.cut(on(index), now + time, now + time),
            Fault::Mute(index, time) => self.cut(on(index), now + time, 0),
            Fault::Deaf(index, time) => self.cut(on(index), 0, now + time),
            Fault::Partition(time) => {
                for index in 0..num_machines {
                    self.cut(index, now + time, now + time);
                }
            }
            Fault::MasterCrashes(turns) => self.doom_master(turns, true),
            Fault::MasterDiskFails(turns) => self.doom_master(turns, false),
            Fault::MasterDiskIsWrong(wrong, left) => self.change_disk(wrong, left),
            Fault::MasterHangs(time) => self.master_hangs_until = now + time,
            Fault::MasterDiskIsFull(time) => self.disk_full_until = now + time,
            Fault::ClockJumps(milliseconds) => {
                self.clock_offset += milliseconds;
                self.master.tally.clock_jumps += 1;
            }
            Fault::UserOfApp(wish) => self.user_of_app(wish),
            Fault::User(wish) => self.user_wishes(wish),
            Fault::UserQueues(project) => self.user_queues(project),
            Fault::UserQueuesProduct(project, forced) => self.user_queues_product(project, forced),
            Fault::UserLaunches(project, number) => self.user_launches(project, number),
            Fault::UserStops(instance) => self.user_stops(instance),
            Fault::UserPreloads(project) => self.user_preloads(project),
            Fault::UserCancels(build) => {
                if self.master.is_up {
                    let build = BuildId(build);
                    self.tell(Command::CancelBuild {
                        by: Actor::SecretHolder,
                        build,
                    });
                }
            }
            Fault::UserPosts(build, status) => self.user_posts(build, status),
            Fault::UserDrains(slave) => {
                if self.master.is_up {
                    let slave = SlaveId(slave);
                    self.tell(Command::DrainSlave {
                        by: Actor::SecretHolder,
                        slave,
                    });
                }
            }
            Fault::UserUndrains(slave) => {
                if self.master.is_up {
                    let slave = SlaveId(slave);
                    self.tell(Command::UndrainSlave {
                        by: Actor::SecretHolder,
                        slave,
                    });
                }
            }
            Fault::UserRevokes(machine) => self.user_revokes(machine),
            Fault::Mended => {
                for machine in &mut self.machines {
                    machine.sickness = Sickness::Well;
                }
                let slaves = self.master.farm.cluster.slaves();
                let kept_out = slaves.filter(|s| s.is_drained || s.quarantine.is_some());
                for slave in kept_out.map(|slave| slave.id).collect::<Vec<_>>() {
                    if self.master.is_up {
                        self.tell(Command::UndrainSlave {
                            by: Actor::SecretHolder,
                            slave,
                        });
                    }
                }
                self.schedule(8 * TICK, Happening::Fault(Fault::Mended));
            }
            Fault::UserShutsDown(slave) => {
                if self.master.is_up {
                    let named = |slave| SlaveChoice::Named(vec![SlaveId(slave)]);
                    let slaves = slave.map_or(SlaveChoice::All, named);
                    self.tell(Command::ShutDownSlaves {
                        by: Actor::SecretHolder,
                        slaves,
                    });
                }
            }
        }
    }

    fn cut(&mut self, index: usize, mute_until: u64, deaf_until: u64) {
        let machine = &mut self.machines[index];
        machine.mute_until = machine.mute_until.max(mute_until);
        machine.deaf_until = machine.deaf_until.max(deaf_until);
        self.master.tally.cuts += 1;
    }

    fn doom_master(&mut self, turns: u64, is_written: bool) {
        if self.master.is_up && self.master.doom.is_none() {
            let farm = &self.master.farm;
            let on_disk = (farm.journal.len(), farm.cluster.clone());
            self.master.doom = Some(Doom {
                turns,
                lost: (!is_written).then_some(on_disk),
            });
        }
    }

    fn user_posts(&mut self, build: u64, status: Status) {
        if self.master.is_up {
            self.tell(Command::PostStatus {
                by: Actor::SecretHolder,
                build: BuildId(build),
                posted: Box::new(PostedStatus {
                    status,
                    message: None,
                    traceback: None,
                }),
            });
        }
    }

    /// Whoever gets no answer asks again, so a build may be there twice; but what was accepted is
    /// there.
    fn user_queues(&mut self, project: u64) {
        let is_refused = !self.master.is_up || self.disk_full_until > self.now;
        let name = format!("project {project}");
        let told = if is_refused {
            None
        } else {
            let request = Box::new(request(&name));
            self.tell(Command::QueueBuild {
                by: Actor::SecretHolder,
                request,
            })
        };
        if told.is_none() {
            return self.schedule(TICK, Happening::Fault(Fault::UserQueues(project)));
        }
        let queued = self.master.farm.journal.iter().rev();
        let mut queued = queued.filter_map(|event| match &event.fact {
            Fact::Build(build, BuildFact::Queued { .. }) => Some(*build),
            _ => None,
        });
        self.accepted
            .extend(queued.next().map(|build| (build, request(&name))));
    }

    pub(super) fn crash_machine(&mut self, index: usize) {
        self.machines[index].crash();
        let downtime = self.random.between(1, 300);
        self.schedule(downtime, Happening::MachineStarts(index));
    }
}
