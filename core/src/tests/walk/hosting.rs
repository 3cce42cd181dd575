//! What a model slave has of instances, and what must hold of all of them.
//!
//! Processes of instances outlive the slave's process, unless the machine itself goes down. Orders and reports always
//! say all, so the latest order counts, and a report is repeated until it is heard or another one takes its place.

use super::apps::{exit_of, is_broken};
use super::machine::Machine;
use super::messages::{About, Act, Work};
use super::random::Random;
use crate::effect::WantedInstance;
use crate::instances::reported::{ReportedInstance, ReportedInstances};
use clusterrunner_common::ids::{Generation, InstanceId, SlaveId};
use clusterrunner_common::templates::TemplateContent;
use clusterrunner_common::work::{MasterMark, ReportedState};
use std::collections::{BTreeMap, BTreeSet};

/// How often a process is started again until that is given up.
const MAX_RESTARTS: u32 = 2;

/// The instances of a machine.
#[derive(Clone, Default)]
pub(super) struct Hosting {
    pub(super) max_instances: u32,
    processes: BTreeMap<InstanceId, Process>,
    snapshots: BTreeSet<String>,
    /// The placements that ever answered.
    pub(super) answered: BTreeSet<(InstanceId, Generation)>,
    /// The moment of the latest order.
    ordered_at: Option<MasterMark>,
    /// The registration that it has reported to.
    reported_to: Option<SlaveId>,
    /// Whether a process that runs goes on under the number of the next placement.
    pub(super) keeps_the_old: bool,
    /// Whether it runs what it fetched as it came.
    pub(super) trusts_snapshots: bool,
}

/// The process of an instance.
#[derive(Clone)]
struct Process {
    generation: Generation,
    /// The placement that it was started under.
    born: Generation,
    state: ReportedState,
    restarts: u32,
    wanted: WantedInstance,
    /// What it was started from.
    content: String,
}

impl Hosting {
    /// The slave's process is gone; with the machine those of the instances are, too.
    pub(super) fn crashed(self, is_machine_gone: bool) -> Self {
        let mut left = Self {
            ordered_at: None,
            reported_to: None,
            ..self
        };
        if is_machine_gone {
            left.processes.clear();
        }
        left
    }

    pub(super) fn stop_all(&mut self) {
        self.processes.clear();
    }

    fn is_late(&self, master: &MasterMark) -> bool {
        self.ordered_at.as_ref().is_some_and(|before| {
            (&before.incarnation, &before.session_id) == (&master.incarnation, &master.session_id)
                && before.position > master.position
        })
    }

    fn report(&self) -> ReportedInstances {
        let instances = self.processes.iter().map(|(id, process)| {
            assert_eq!(
                process.born, process.generation,
                "instance {id}: the old copy counts as the new one"
            );
            ReportedInstance {
                id: *id,
                generation: process.generation,
                state: process.state.clone(),
                restarts: process.restarts,
            }
        });
        ReportedInstances {
            max_instances: self.max_instances,
            runs_images: false,
            instances: instances.collect(),
            snapshots: self.snapshots.clone(),
        }
    }

    /// What runs, under which placement, and whether it answers.
    pub(super) fn running(&self) -> BTreeMap<InstanceId, (Generation, bool)> {
        let has_process = |process: &&Process| match process.state {
            ReportedState::Failed { .. }
            | ReportedState::Exited { .. }
            | ReportedState::Ended
            | ReportedState::NoRoom { .. } => false,
            ReportedState::Starting | ReportedState::Up { .. } | ReportedState::Crashed { .. } => {
                true
            }
        };
        let running = self.processes.values().filter(has_process);
        let running = running.map(|process| {
            let is_up = matches!(process.state, ReportedState::Up { .. });
            (process.wanted.id, (process.generation, is_up))
        });
        running.collect()
    }
}

impl Machine {
    /// What a slave reports after each connect; what an earlier life of the slave began goes on.
    pub(super) fn report_first(&mut self, slave: SlaveId) -> Vec<Act> {
        if self.hosting.max_instances == 0 {
            return Vec::new();
        }
        let is_new_life = self.hosting.reported_to.is_none();
        self.hosting.reported_to = Some(slave);
        let mut acts = self.report_instances(slave);
        if is_new_life {
            let processes = self.hosting.processes.iter();
            let works = processes.map(|(id, process)| Work::Instance(*id, process.generation));
            acts.extend(works.map(Act::Begin));
        }
        acts
    }

    pub(super) fn report_instances(&mut self, slave: SlaveId) -> Vec<Act> {
        let is_other = |about: &About| !matches!(about, About::Instances(_));
        self.unheard.retain(|_, report| is_other(&report.about));
        let report = self.hosting.report();
        self.report(slave, About::Instances(report))
    }

    /// All that it is to run from now on.
    pub(super) fn ordered(
        &mut self,
        slave: SlaveId,
        master: &MasterMark,
        instances: Vec<WantedInstance>,
        preloads: Vec<TemplateContent>,
    ) -> Vec<Act> {
        let hosting = &mut self.hosting;
        if hosting.is_late(master) {
            return Vec::new();
        }
        hosting.ordered_at = Some(master.clone());
        let fetched = preloads.into_iter().map(|content| content.digest);
        hosting.snapshots.extend(fetched);
        let named: BTreeSet<InstanceId> = instances.iter().map(|wanted| wanted.id).collect();
        hosting.processes.retain(|id, _| named.contains(id));
        let mut acts = Vec::new();
        for wanted in instances {
            let (id, generation) = (wanted.id, wanted.generation);
            match hosting.processes.get_mut(&id) {
                Some(process) if process.generation == generation => continue,
                Some(process) if hosting.keeps_the_old => {
                    process.generation = generation;
                    continue;
                }
                Some(_) | None => {}
            }
            let process = Process {
                generation,
                born: generation,
                state: ReportedState::Starting,
                restarts: 0,
                wanted,
                content: String::new(),
            };
            hosting.processes.insert(id, process);
            acts.push(Act::Begin(Work::Instance(id, generation)));
        }
        acts.extend(self.report_instances(slave));
        acts
    }

    /// A process is a step further, if it is still wanted.
    pub(super) fn instance_goes_on(
        &mut self,
        id: InstanceId,
        generation: Generation,
        random: &mut Random,
    ) -> Vec<Act> {
        let hosting = &mut self.hosting;
        let process = hosting.processes.get_mut(&id);
        let Some(process) = process.filter(|process| process.generation == generation) else {
            return Vec::new();
        };
        let reason = "exit code 1".to_owned();
        let wanted = &process.wanted;
        let is_run = wanted.purpose.is_run();
        let is_broken = is_broken(&wanted.environment);
        match process.state {
            // It can not be started at all.
            ReportedState::Starting if is_broken && !is_run => {
                process.state = ReportedState::Failed { reason };
            }
            ReportedState::Starting if random.happens(100) && !hosting.trusts_snapshots => {
                // What came is damaged, and fetched again.
            }
            ReportedState::Starting => {
                let is_damaged = hosting.trusts_snapshots && random.happens(100);
                let content = process.wanted.content.as_ref();
                let digest = &content.expect("all run templates").digest;
                process.content = match is_damaged {
                    true => "damaged".to_owned(),
                    false => digest.clone(),
                };
                hosting.snapshots.insert(digest.clone());
                process.state = match random.happens(200) && !is_run {
                    true => ReportedState::Crashed { reason },
                    false => {
                        assert_eq!(process.content, *digest, "it runs what is damaged");
                        hosting.answered.insert((id, generation));
                        ReportedState::Up {
                            port: 8000,
                            keeps_prefix: false,
                        }
                    }
                };
            }
            ReportedState::Up { .. } if is_run => {
                process.state = exit_of(&process.wanted.command);
            }
            ReportedState::Up { .. } if random.happens(250) => {
                process.state = ReportedState::Crashed { reason };
            }
            ReportedState::Crashed { .. }
                if process.restarts == MAX_RESTARTS && process.wanted.purpose.is_launch() =>
            {
                process.state = ReportedState::Failed { reason };
            }
            ReportedState::Crashed { .. } => {
                process.restarts += 1;
                process.state = ReportedState::Starting;
            }
            ReportedState::Up { .. }
            | ReportedState::Failed { .. }
            | ReportedState::Exited { .. }
            | ReportedState::Ended
            | ReportedState::NoRoom { .. } => {
                return Vec::new();
            }
        }
        let mut acts = vec![Act::Begin(Work::Instance(id, generation))];
        if let Some(slave) = self.hosting.reported_to {
            acts.extend(self.report_instances(slave));
        }
        acts
    }
}
