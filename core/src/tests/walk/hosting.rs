//! What a model slave has of instances, and what must hold of all of them.
//!
//! Processes of instances outlive the slave's process, unless the machine itself goes down. Orders and reports always
//! say all, so the latest order counts, and a report is repeated until it is heard or another one takes its place.

use super::apps::{exit_of, is_broken, waits_for_a_slot};
use super::machine::Machine;
use super::master::url;
use super::messages::{About, Act, Work};
use super::random::Random;
use super::world::{CALM_AT, Happening, TICK, World};
use crate::actor::Actor;
use crate::command::Command;
use crate::effect::WantedInstance;
use crate::event::{BuildFact, Fact, InstanceFact};
use crate::instances::instance::{InstanceState, NewInstance};
use crate::instances::reported::{ReportedInstance, ReportedInstances};
use crate::templates::bounds::TemplateBounds;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, Generation, InstanceId, SlaveId};
use clusterrunner_common::templates::{Form, Product, TemplateContent, TemplateDescription};
use clusterrunner_common::work::{BuildRequest, MasterMark, ReportedState};
use std::collections::{BTreeMap, BTreeSet};

/// How often a process is started again until that is given up.
const MAX_RESTARTS: u32 = 2;

/// How long nobody may ask for an instance, on the wall clock.
const CULL_AFTER_MS: u64 = 150_000;

/// The instances of a machine.
#[derive(Clone, Default)]
pub(super) struct Hosting {
    pub(super) max_instances: u32,
    processes: BTreeMap<InstanceId, Process>,
    snapshots: BTreeSet<String>,
    /// The placements that ever answered.
    answered: BTreeSet<(InstanceId, Generation)>,
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
    fn running(&self) -> BTreeMap<InstanceId, (Generation, bool)> {
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

/// A request for a build that leaves a template.
pub(super) fn product_request(project: u64, is_forced: bool) -> BuildRequest {
    let mut request = crate::tests::scenario::request(&format!("project {project}"));
    request.product = Some(Product {
        name: format!("template-{project}"),
        recipe: "steps".to_owned(),
        image: None,
        dockerfile: None,
        is_forced,
    });
    request
}

/// What a build leaves. The build of the same id that is lost was another one.
pub(super) fn content(build: BuildId, branch: u64) -> Box<TemplateContent> {
    Box::new(TemplateContent {
        digest: format!("{:064x}", build.0 + 1000 * branch),
        bytes: 1 + build.0 % 3,
        description: TemplateDescription {
            form: Form::Workspace,
            root: Some("/var/tmp/clusterrunner/0123456789abcdef".to_owned()),
            image: None,
            recipe: None,
            port: None,
            command: Vec::new(),
            processes: BTreeMap::new(),
            environment: BTreeMap::new(),
            directory: String::new(),
        },
    })
}

impl World {
    /// Wants an instance until there is a template; whoever got no answer asks again under the same key.
    pub(super) fn user_launches(&mut self, project: u64, number: u64) {
        let key = format!("{number:032x}");
        let told = self.master.is_up.then(|| {
            self.tell(Command::Launch {
                by: Actor::Binder,
                launch: Box::new(NewInstance {
                    key: key.clone(),
                    template: format!("template-{project}"),
                    cull_after_ms: number.is_multiple_of(3).then_some(CULL_AFTER_MS),
                    ..NewInstance::default()
                }),
            })
        });
        match told.flatten() {
            Some(Ok(())) => {
                self.launched.insert(key);
            }
            Some(Err(_)) | None if self.now < CALM_AT => {
                let again = super::plan::Fault::UserLaunches(project, number);
                self.schedule(4 * TICK, Happening::Fault(again));
            }
            Some(Err(_)) | None => {}
        }
    }

    pub(super) fn user_stops(&mut self, instance: u64) {
        if self.master.is_up {
            let instance = InstanceId(instance);
            let by = Actor::SecretHolder;
            self.tell(Command::StopInstance { by, instance });
        }
    }

    pub(super) fn user_preloads(&mut self, project: u64) {
        if self.master.is_up {
            let (by, template) = (Actor::Binder, format!("template-{project}"));
            self.tell(Command::Preload { by, template });
        }
    }

    /// Instances that nobody asks for end, and templates beyond bounds that most walks come up against.
    pub(super) fn tidy_instances(&mut self) {
        let cluster = &self.master.farm.cluster;
        if !self.master.is_up || cluster.templates().next().is_none() {
            return;
        }
        let instances = cluster.instances().map(|instance| instance.id);
        let asked_for = instances.filter(|id| id.0.is_multiple_of(2));
        let now = Timestamp(self.wall_clock());
        let active = asked_for.map(|id| (id, now)).collect();
        let since = Timestamp(0);
        self.tell(Command::CullInstances { since, active });
        let bounds = TemplateBounds {
            max_number: Some(1),
            max_bytes: Some(5),
        };
        if self.master.is_up {
            self.tell(Command::ForgetTemplates { bounds });
        }
        if self.master.is_up {
            self.tell(Command::ForgetInstances);
        }
        self.drain_retired();
    }

    /// Whether all instances are where they are to be.
    pub(super) fn instances_rest(&self) -> bool {
        let mut instances = self.master.farm.cluster.instances();
        instances.all(|instance| match instance.state {
            InstanceState::Created | InstanceState::Crashed => false,
            // It is to end.
            InstanceState::Up if instance.retired || instance.purpose.is_run() => false,
            InstanceState::Initialized
            | InstanceState::Up
            | InstanceState::Down
            | InstanceState::Error
            | InstanceState::Destroyed => true,
        })
    }

    /// No placement runs on two machines, whatever is lost. What a wrong disk has forgotten may be given again.
    pub(super) fn check_copies(&mut self) {
        if self.branch > 0 {
            return;
        }
        for (index, machine) in self.machines.iter().enumerate() {
            for (id, (generation, _)) in machine.hosting.running() {
                let copy = (id, generation);
                let known = self.master.farm.cluster.instance(id);
                let is_run = known.is_some_and(|known| known.purpose.is_run());
                assert!(
                    !is_run || generation == Generation(1),
                    "run {id} begins again as {generation}"
                );
                let home = *self.homes.entry(copy).or_insert(index);
                assert_eq!(
                    home, index,
                    "instance {id}, placement {generation}, runs twice"
                );
            }
        }
        for instance in self.master.farm.cluster.instances() {
            let placement = (instance.id, instance.generation);
            let mut machines = self.machines.iter();
            let has_answered = machines.any(|one| one.hosting.answered.contains(&placement));
            assert!(
                instance.state != InstanceState::Up || has_answered,
                "never up: {instance:?}"
            );
        }
    }

    /// At the end each machine runs what it is to run and nothing else, and what was asked for is there.
    pub(super) fn check_instances(&self) {
        let cluster = &self.master.farm.cluster;
        for (index, machine) in self.machines.iter().enumerate() {
            if machine.is_gone || machine.hosting.max_instances == 0 {
                continue;
            }
            let slave = cluster.slave_at(&url(index)).expect("it has connected");
            let wanted = cluster.instances_on(slave.id);
            let wanted = wanted.map(|instance| {
                (
                    instance.id,
                    (instance.generation, instance.state == InstanceState::Up),
                )
            });
            let wanted: BTreeMap<_, _> = wanted.collect();
            assert_eq!(machine.hosting.running(), wanted, "on machine {index}");
            let is_there = wanted.keys().all(|id| cluster.instance(*id).is_some());
            assert!(is_there);
        }
        let free = cluster.slaves().map(|slave| cluster.num_free_slots(slave));
        let num_free: usize = free.sum();
        // What no slave can run waits for ever.
        let waiting = cluster.waiting_instances();
        let waiting: Vec<InstanceId> = waiting
            .filter(|id| waits_for_a_slot(cluster, *id))
            .collect();
        assert!(num_free == 0 || waiting.is_empty(), "{waiting:?} wait");
        for key in &self.launched {
            assert!(cluster.instance_of_key(key).is_some(), "{key} was accepted");
        }
    }

    /// Of what was told to anybody only this is left.
    pub(super) fn lose_launches(&mut self) {
        let facts = self.master.farm.journal.iter().map(|event| &event.fact);
        let launched = facts.filter_map(|fact| match fact {
            Fact::Instance(_, InstanceFact::Launched(launch)) => Some(launch.key.clone()),
            _ => None,
        });
        let known: BTreeSet<String> = launched.collect();
        self.launched.retain(|key| known.contains(key));
    }

    /// A build that leaves a template is wanted. One of the name may be under way: that is an answer, too.
    pub(super) fn user_queues_product(&mut self, project: u64, is_forced: bool) {
        if !self.master.is_up || self.disk_full_until > self.now {
            let again = super::plan::Fault::UserQueuesProduct(project, is_forced);
            return self.schedule(TICK, Happening::Fault(again));
        }
        let request = product_request(project, is_forced);
        let by = Actor::Binder;
        let told = self.tell(Command::QueueBuild {
            by,
            request: Box::new(request.clone()),
        });
        if !matches!(told, Some(Ok(()))) {
            return;
        }
        let queued = self.master.farm.journal.iter().rev();
        let mut queued = queued.filter_map(|event| match &event.fact {
            Fact::Build(build, BuildFact::Queued { .. }) => Some(*build),
            _ => None,
        });
        let queued = queued.next().map(|build| (build, request));
        self.accepted.extend(queued);
    }
}
