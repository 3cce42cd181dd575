//! What a fact about an instance changes.

use super::facts::{InstanceFact, Launch};
use super::instance::{Instance, InstanceState};
use crate::Cluster;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Generation, Incarnation, InstanceId};
use sha2::{Digest as _, Sha256};

/// How far the numbers of instances and of placements jump when the journal lost events: slaves may know higher ones.
const JUMP: u32 = 1_000_000;

/// How far the numbers of one incarnation jump. It is another distance for each: a journal that lost its end twice may begin
/// from the same numbers as an incarnation that was lost, whose slaves still run what these numbers stood for then.
fn jump_of(incarnation: &Incarnation) -> u32 {
    let [a, b, c, ..] = <[u8; 32]>::from(Sha256::digest(&incarnation.0));
    JUMP + u32::from_be_bytes([0, a, b, c])
}

impl Cluster {
    pub(crate) fn apply_to_instance(&mut self, id: InstanceId, fact: &InstanceFact, at: Timestamp) {
        if let InstanceFact::Launched(launch) = fact {
            if let Some(template) = launch.template {
                self.use_template(template, at);
            }
            self.instances.insert(launched(id, launch, at));
            return;
        }
        if *fact == InstanceFact::Forgotten {
            return self.instances.remove(id);
        }
        self.instances
            .change(id, |instance| change(instance, fact, at));
    }

    /// The journal lost events: what runs anywhere is void, and no number is given again that a slave may know.
    pub(crate) fn void_placements(&mut self, incarnation: &Incarnation) {
        if self.instances.is_empty() {
            return;
        }
        let jump = jump_of(incarnation);
        self.instances.last = self.instances.last.saturating_add(u64::from(jump));
        self.lift_instances(jump);
    }

    /// No slave is known any more.
    pub(crate) fn lift_instances(&mut self, jump: u32) {
        let open: Vec<InstanceId> = self
            .instances()
            .filter(|instance| !instance.is_over())
            .map(|instance| instance.id)
            .collect();
        for id in open {
            self.instances.change(id, |instance| {
                let number = instance.generation.0.saturating_add(jump);
                let was_placed = instance.slave.is_some();
                displace(instance, Generation(number));
                instance.reason = Some("the master's journal lost its end".to_owned());
                // It may have begun, and a command is run once.
                if was_placed && instance.purpose.is_run() {
                    instance.state = InstanceState::Error;
                }
            });
        }
    }
}

fn launched(id: InstanceId, launch: &Launch, at: Timestamp) -> Instance {
    Instance {
        id,
        key: launch.key.clone(),
        template: launch.template,
        image: launch.image.clone(),
        template_name: launch.template_name.clone(),
        owner: launch.owner,
        command: launch.command.clone(),
        environment: launch.environment.clone(),
        max_memory_bytes: launch.max_memory_bytes,
        cpu_shares: launch.cpu_shares,
        cull_after_ms: launch.cull_after_ms,
        tags: launch.tags.clone(),
        purpose: launch.purpose.clone(),
        retired: false,
        exit: None,
        state: InstanceState::Initialized,
        slave: None,
        generation: Generation(0),
        place: None,
        restarts: 0,
        left: None,
        reason: None,
        created: at,
        changed: at,
        answered: None,
    }
}

fn change(instance: &mut Instance, fact: &InstanceFact, at: Timestamp) {
    instance.changed = at;
    match fact {
        InstanceFact::Launched(_) | InstanceFact::Forgotten => {}
        InstanceFact::Placed { slave, generation } => {
            displace(instance, *generation);
            instance.slave = Some(*slave);
            instance.state = InstanceState::Created;
        }
        InstanceFact::Adopted { slave } => {
            let generation = instance.generation;
            displace(instance, generation);
            instance.slave = Some(*slave);
            instance.state = InstanceState::Created;
        }
        InstanceFact::Displaced {
            slave,
            generation,
            reason,
        } => {
            let was_up = instance.state == InstanceState::Up;
            let before = instance.left.map_or(0, |(_, times)| times);
            let times = if was_up { 1 } else { before.saturating_add(1) };
            instance.left = Some((*slave, times));
            displace(instance, *generation);
            instance.reason = Some(reason.clone());
        }
        InstanceFact::Up {
            port,
            keeps_prefix,
            restarts,
        } => {
            instance.state = InstanceState::Up;
            instance.place = Some((*port, *keeps_prefix));
            instance.restarts = *restarts;
            instance.reason = None;
            instance.left = None;
            instance.answered.get_or_insert(at);
        }
        InstanceFact::Crashed { reason, restarts } => {
            instance.state = InstanceState::Crashed;
            instance.restarts = *restarts;
            instance.reason = Some(reason.clone());
        }
        InstanceFact::Failed { reason } => {
            instance.state = InstanceState::Error;
            instance.reason = Some(reason.clone());
        }
        InstanceFact::Stopped => {
            instance.state = InstanceState::Destroyed;
            instance.reason = None;
        }
        InstanceFact::Retired => instance.retired = true,
        InstanceFact::Exited { code } => {
            instance.state = InstanceState::Destroyed;
            instance.exit = Some(*code);
            instance.reason = None;
        }
        InstanceFact::Culled { .. } => {
            instance.state = InstanceState::Down;
            instance.reason = None;
        }
    }
}

fn displace(instance: &mut Instance, generation: Generation) {
    instance.state = InstanceState::Initialized;
    instance.slave = None;
    instance.generation = generation;
    instance.place = None;
    instance.restarts = 0;
    instance.reason = None;
}
