//! Templates that users delete, and those whose snapshots are damaged.

use super::facts::{TemplateBound, TemplateFact};
use super::refusal::TemplateRefusal;
use super::template::Template;
use crate::Cluster;
use crate::event::Fact;
use crate::instances::instance::Runs;
use crate::refusal::Refusal;
use clusterrunner_common::ids::TemplateId;
use std::collections::BTreeSet;

impl Cluster {
    /// A user deletes a name, and with it the templates that were built under it, but for those that another name points
    /// at. Nothing may use them.
    pub(crate) fn template_deleted(&self, name: &str) -> Result<Vec<Fact>, Refusal> {
        let pointed = self.launchable(name)?;
        let known = self.template_name(name);
        let newest = known.and_then(|known| self.build(known.build));
        if newest.is_some_and(|build| !build.is_over()) {
            let name = name.to_owned();
            return Err(TemplateRefusal::AlreadyBuilding { name }.into());
        }
        let others: BTreeSet<TemplateId> = self
            .template_names()
            .filter(|(other, _)| *other != name)
            .filter_map(|(_, other)| other.template)
            .collect();
        let own = self.templates();
        let own = own.filter(|template| template.name == name || template.id == pointed.id);
        let gone: Vec<&Template> = own
            .filter(|template| !others.contains(&template.id))
            .collect();
        for template in &gone {
            if let Some(by) = self.user_of(template.id) {
                let name = name.to_owned();
                return Err(TemplateRefusal::InUse { name, by }.into());
            }
        }
        let deleted = TemplateFact::NameDeleted {
            name: name.to_owned(),
        };
        let mut facts = vec![Fact::Template(pointed.id, deleted)];
        facts.extend(gone.into_iter().map(|template| {
            let removed = TemplateFact::Removed {
                digest: template.digest().to_owned(),
                bound: TemplateBound::Deleted,
            };
            Fact::Template(template.id, removed)
        }));
        Ok(facts)
    }

    /// What a template must stay for, for the user.
    fn user_of(&self, template: TemplateId) -> Option<String> {
        let mut instances = self.instances().filter(|instance| !instance.is_over());
        let instance = instances.find(|instance| instance.template == Some(template));
        let of_instance = instance.map(|instance| format!("instance {}", instance.id));
        let of_app = || {
            let mut apps = self.apps();
            let runs = Runs::Template(template);
            let app = apps.find(|app| app.builds.iter().any(|build| build.runs == runs))?;
            Some(format!("the app {}", app.id))
        };
        let of_build = || {
            let mut builds = self.builds().filter(|build| !build.is_over());
            let build = builds.find(|build| {
                let is_taken = build.templates_taken().any(|taken| taken == template);
                is_taken || self.template_awaited_by(build) == Some(template)
            })?;
            Some(format!("build {}", build.id))
        };
        of_instance.or_else(of_app).or_else(of_build)
    }

    /// The snapshot with this digest is damaged on the master's disk.
    pub(crate) fn snapshot_damaged(&self, digest: &str) -> Vec<Fact> {
        let templates = self.templates();
        let whole =
            templates.filter(|template| template.digest() == digest && !template.is_damaged);
        let damaged = whole.map(|template| Fact::Template(template.id, TemplateFact::Damaged));
        damaged.collect()
    }
}
