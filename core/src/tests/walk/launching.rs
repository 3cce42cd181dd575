//! Templates and instances as users and the master see them: what is launched, stopped and preloaded, and that one copy of
//! each instance runs in the end.

use super::apps::waits_for_a_slot;
use super::master::url;
use super::world::{CALM_AT, Happening, TICK, World};
use crate::actor::Actor;
use crate::command::Command;
use crate::event::{BuildFact, Fact, InstanceFact};
use crate::instances::instance::{InstanceState, NewInstance};
use crate::templates::bounds::TemplateBounds;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, Generation, InstanceId};
use clusterrunner_common::templates::{Form, Product, TemplateContent, TemplateDescription};
use clusterrunner_common::work::BuildRequest;
use std::collections::{BTreeMap, BTreeSet};

/// How long nobody may ask for an instance, on the wall clock.
const CULL_AFTER_MS: u64 = 150_000;

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
