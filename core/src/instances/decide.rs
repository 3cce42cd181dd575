//! What orders about instances mean, and the passing of time.

use super::all_instances::{MAX_INSTANCES, OVER_KEPT};
use super::facts::{InstanceFact, Launch};
use super::instance::{Instance, InstanceRefusal, NewInstance, Purpose};
use crate::accounts::owner::Owner;
use crate::actor::Actor;
use crate::event::Fact;
use crate::refusal::Refusal;
use crate::{Cluster, FORGOTTEN_AT_A_TIME};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::InstanceId;
use std::collections::BTreeMap;

/// How many bytes the command and the variables of an instance may have together.
const MAX_WORDS: usize = 64 << 10;

impl Cluster {
    /// An instance with a key that is known is launched already.
    pub(crate) fn launched(&self, by: Actor, new: NewInstance) -> Result<Vec<Fact>, Refusal> {
        check(&new)?;
        let template = self.launchable(&new.template)?.id;
        if self.instance_of_key(&new.key).is_some() {
            return Ok(Vec::new());
        }
        self.check_room_for_instance()?;
        let launch = Launch {
            key: new.key,
            template: Some(template),
            image: None,
            template_name: new.template,
            owner: Owner::of(by),
            command: new.command,
            environment: new.environment,
            max_memory_bytes: new.max_memory_bytes,
            cpu_shares: None,
            cull_after_ms: new.cull_after_ms,
            tags: BTreeMap::new(),
            purpose: Purpose::Launch,
        };
        let id = self.instances.next_id();
        let launched = InstanceFact::Launched(Box::new(launch));
        Ok(vec![Fact::Instance(id, launched)])
    }

    pub(crate) fn check_room_for_instance(&self) -> Result<(), InstanceRefusal> {
        match self.instances.num_open() >= MAX_INSTANCES {
            true => Err(InstanceRefusal::TooMany(MAX_INSTANCES)),
            false => Ok(()),
        }
    }

    pub(crate) fn stopped(&self, id: InstanceId) -> Result<Vec<Fact>, Refusal> {
        let instance = self.instance(id).ok_or(InstanceRefusal::Unknown(id))?;
        Ok(match instance.is_over() {
            true => Vec::new(),
            false => vec![Fact::Instance(id, InstanceFact::Stopped)],
        })
    }

    /// Ends what nobody asked for. `active` says when somebody last did; nobody could before `since`.
    pub(crate) fn culled(
        &self,
        since: Timestamp,
        active: &BTreeMap<InstanceId, Timestamp>,
        at: Timestamp,
    ) -> Vec<Fact> {
        let idle_ms = |instance: &Instance| {
            let active = active.get(&instance.id).copied();
            let times = [Some(instance.created), instance.answered, active];
            let last = times.into_iter().flatten().fold(since, Timestamp::max);
            u64::try_from(last.until(at).as_millis()).unwrap_or(u64::MAX)
        };
        let open = self.instances().filter(|instance| !instance.is_over());
        let idle = open.filter_map(|instance| {
            let idle_ms = idle_ms(instance);
            let is_idle = idle_ms >= instance.cull_after_ms?;
            is_idle.then_some(Fact::Instance(
                instance.id,
                InstanceFact::Culled { idle_ms },
            ))
        });
        idle.collect()
    }

    /// The instances that have been over for longest, beyond the number that is kept.
    pub(crate) fn forgotten_instances(&self) -> Vec<Fact> {
        let over = &self.instances.derived.over;
        let beyond = over.len().saturating_sub(OVER_KEPT);
        let oldest = over.iter().take(beyond.min(FORGOTTEN_AT_A_TIME));
        oldest
            .map(|(_, id)| Fact::Instance(*id, InstanceFact::Forgotten))
            .collect()
    }
}

/// Checks a public id.
pub(crate) fn check_key(key: &str) -> Result<(), InstanceRefusal> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    match key.len() == 32 && key.bytes().all(is_digit) {
        true => Ok(()),
        false => Err(invalid("key", "32 lower-case hexadecimal digits")),
    }
}

fn check(new: &NewInstance) -> Result<(), InstanceRefusal> {
    check_key(&new.key)?;
    let words = new.command.iter().map(String::len).sum::<usize>();
    let variables = new.environment.iter();
    let variables: usize = variables
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if words.saturating_add(variables) > MAX_WORDS {
        return Err(invalid(
            "command",
            "65536 bytes at most together with the variables",
        ));
    }
    let has_nul = |text: &String| text.contains('\0');
    if new.command.iter().any(has_nul) || new.command.first().is_some_and(String::is_empty) {
        return Err(invalid(
            "command",
            "a list of words without NUL that begins with a program",
        ));
    }
    let is_name = |name: &String| !name.is_empty() && !name.contains(['=', '\0']);
    if !new.environment.keys().all(is_name) || new.environment.values().any(has_nul) {
        return Err(invalid(
            "environment",
            "variables with names without '=', all without NUL",
        ));
    }
    Ok(())
}

fn invalid(field: &'static str, expected: &'static str) -> InstanceRefusal {
    InstanceRefusal::InvalidField { field, expected }
}
