//! What slaves are ordered to run: always all of it.

use super::facts::InstanceFact;
use super::instance::Instance;
use crate::Cluster;
use crate::effect::{Effect, WantedInstance};
use crate::slaves::slave::Slave;
use crate::templates::facts::TemplateFact;
use crate::templates::template::Template;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{InstanceId, SlaveId, TemplateId};
use clusterrunner_common::templates::TemplateContent;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// How many templates slaves hold ready because they were asked to; of more, those that were asked for last.
const MAX_PRELOADS: usize = 16;

/// The effects of a turn, of the orders to each slave only the last one: all of a turn are of the same moment, so a slave
/// could not tell which is the later one.
#[must_use]
pub fn latest_orders(mut effects: Vec<Effect>) -> Vec<Effect> {
    let mut latest: BTreeMap<SlaveId, usize> = BTreeMap::new();
    for (place, effect) in effects.iter().enumerate() {
        if let Effect::OrderInstances { slave, .. } = effect {
            latest.insert(*slave, place);
        }
    }
    if latest.is_empty() {
        return effects;
    }
    let mut place = 0;
    effects.retain(|effect| {
        let is_it = |slave| latest.get(slave) == Some(&place);
        let is_kept = match effect {
            Effect::OrderInstances { slave, .. } => is_it(slave),
            _ => true,
        };
        place += 1;
        is_kept
    });
    effects
}

impl Cluster {
    pub(crate) fn effects_on_instance(
        &self,
        id: InstanceId,
        fact: &InstanceFact,
    ) -> Option<Effect> {
        match fact {
            InstanceFact::Launched(_)
            | InstanceFact::Up { .. }
            | InstanceFact::Crashed { .. }
            | InstanceFact::Retired => None,
            InstanceFact::Placed { slave, .. }
            | InstanceFact::Adopted { slave }
            | InstanceFact::Displaced { slave, .. } => self.order_to(*slave),
            InstanceFact::Failed { .. }
            | InstanceFact::Stopped
            | InstanceFact::Exited { .. }
            | InstanceFact::Culled { .. } => self.order_to(self.instance(id)?.slave?),
            InstanceFact::Forgotten => Some(Effect::RemoveInstanceLog { instance: id }),
        }
    }

    pub(crate) fn effects_on_template(&self, fact: &TemplateFact) -> Vec<Effect> {
        match fact {
            TemplateFact::Registered { .. }
            | TemplateFact::Named { .. }
            | TemplateFact::Damaged => Vec::new(),
            TemplateFact::Preloaded { .. } | TemplateFact::NameDeleted { .. } => {
                self.orders_to_all().collect()
            }
            TemplateFact::Removed { digest, .. } => {
                let is_kept = self.snapshots().any(|kept| kept == digest);
                let digest = digest.clone();
                let removed = (!is_kept).then_some(Effect::RemoveSnapshot { digest });
                // It may have been preloaded.
                self.orders_to_all().chain(removed).collect()
            }
        }
    }

    /// What each slave is to run: what a master that starts says to all of them again.
    pub(crate) fn orders_to_all(&self) -> impl Iterator<Item = Effect> {
        let slaves = self.called_slaves().map(|slave| slave.id);
        slaves.filter_map(|slave| self.order_to(slave))
    }

    /// All that a slave is to run, if it is there and has said that it runs instances.
    pub(crate) fn order_to(&self, slave: SlaveId) -> Option<Effect> {
        let known = self.slave(slave)?;
        let is_listening = known.is_alive() && known.hosting.is_some();
        let instances = self.instances_on(slave);
        let wanted = instances.filter_map(|instance| self.wanted(instance));
        is_listening.then(|| Effect::OrderInstances {
            slave,
            instances: wanted.collect(),
            preloads: self.preloads_of(known),
        })
    }

    fn wanted(&self, instance: &Instance) -> Option<WantedInstance> {
        let template = instance.template.and_then(|id| self.template(id));
        if template.is_none() && instance.image.is_none() {
            return None;
        }
        Some(WantedInstance {
            id: instance.id,
            generation: instance.generation,
            key: instance.key.clone(),
            template_name: instance.template_name.clone(),
            purpose: instance.purpose.clone(),
            content: template.map(|template| template.content.clone()),
            image: instance.image.clone(),
            command: instance.command.clone(),
            environment: instance.environment.clone(),
            max_memory_bytes: instance.max_memory_bytes,
            cpu_shares: instance.cpu_shares,
            settles_after_ms: self.settles_after_ms(instance),
        })
    }

    fn preloads_of(&self, slave: &Slave) -> Vec<TemplateContent> {
        let mut asked: BTreeMap<TemplateId, Timestamp> = BTreeMap::new();
        for (_, name) in self.template_names() {
            if let (Some(template), Some(at)) = (name.template, name.preload) {
                let latest = asked.entry(template).or_insert(at);
                *latest = at.max(*latest);
            }
        }
        let asked = asked.into_iter();
        let asked = asked.filter_map(|(id, at)| Some((at, self.template(id)?)));
        let mut asked: Vec<(Timestamp, &Template)> = asked
            .filter(|(_, template)| slave.can_host(template))
            .collect();
        asked.sort_by_key(|(at, template)| Reverse((*at, template.id)));
        let latest = asked.into_iter().take(MAX_PRELOADS);
        latest
            .map(|(_, template)| template.content.clone())
            .collect()
    }
}
