//! What must hold of templates and instances in every state.

use super::instance::{Instance, InstanceState};
use crate::Cluster;
use crate::check::{Inconsistency, must};
use clusterrunner_common::ids::Generation;

impl Cluster {
    /// An instance is on one slave or waits, its template is there, and what is derived fits.
    pub(crate) fn check_instances(&self) -> Result<(), Inconsistency> {
        must(self.instances.is_derived_right(), || "instances".to_owned())?;
        must(self.templates.is_derived_right(), || "templates".to_owned())?;
        for (name, known) in self.template_names() {
            let is_there = |id| self.template(id).is_some();
            must(known.template.is_none_or(is_there), || {
                format!("the name {name} points at a template that is gone")
            })?;
        }
        self.instances()
            .try_for_each(|instance| self.check_instance(instance))
    }

    fn check_instance(&self, instance: &Instance) -> Result<(), Inconsistency> {
        let id = instance.id;
        let is_placed = match instance.state {
            InstanceState::Initialized => false,
            InstanceState::Created | InstanceState::Up | InstanceState::Crashed => true,
            InstanceState::Down | InstanceState::Error | InstanceState::Destroyed => return Ok(()),
        };
        let has_template = |id| self.template(id).is_some();
        must(instance.template.is_none_or(has_template), || {
            format!("instance {id} runs a template that is gone")
        })?;
        let can_run = instance.template.is_some() || instance.image.is_some();
        must(can_run || !is_placed, || {
            format!("instance {id} is placed and has nothing to run")
        })?;
        must(instance.slave.is_some() == is_placed, || {
            format!(
                "instance {id} is {:?} on {:?}",
                instance.state, instance.slave
            )
        })?;
        let is_known = instance
            .slave
            .is_none_or(|slave| self.slave(slave).is_some());
        must(is_known, || {
            format!("instance {id} is on a slave that is forgotten")
        })?;
        must(!is_placed || instance.generation > Generation(0), || {
            format!("instance {id} is placed without a number")
        })?;
        let has_place = instance.place.is_some();
        must(instance.state != InstanceState::Up || has_place, || {
            format!("instance {id} is up nowhere")
        })
    }
}
