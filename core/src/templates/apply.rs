//! What a fact about a template changes.

use super::all_templates::origin;
use super::facts::TemplateFact;
use super::template::{Name, Template};
use crate::Cluster;
use crate::builds::build::Build;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, TemplateId};

impl Cluster {
    pub(crate) fn apply_to_template(&mut self, id: TemplateId, fact: &TemplateFact, at: Timestamp) {
        match fact {
            TemplateFact::Registered {
                name,
                project,
                source,
                commit,
                recipe,
                build,
                content,
            } => {
                let template = Template {
                    id,
                    name: name.clone(),
                    project: *project,
                    source: source.clone(),
                    commit: commit.clone(),
                    recipe: recipe.clone(),
                    content: (**content).clone(),
                    build: *build,
                    created: at,
                    used: at,
                    is_damaged: false,
                };
                self.mend_templates(template.digest());
                self.templates.last = self.templates.last.max(id.0);
                self.templates.by_origin.extend(origin(&template));
                self.templates.by_id.insert(id, template);
                self.point(name, source, *build, id, at);
            }
            TemplateFact::Named { name, build } => {
                self.use_template(id, at);
                if let Some(source) = self.template(id).map(|template| template.source.clone()) {
                    self.point(name, &source, *build, id, at);
                }
            }
            TemplateFact::Preloaded { name } => {
                self.use_template(id, at);
                if let Some(known) = self.templates.names.get_mut(name) {
                    known.preload = Some(at);
                }
            }
            TemplateFact::Damaged => {
                if let Some(template) = self.templates.by_id.get_mut(&id) {
                    template.is_damaged = true;
                }
                self.templates.find_origins();
            }
            TemplateFact::NameDeleted { name } => {
                if let Some(known) = self.templates.names.remove(name) {
                    self.templates.by_build.remove(&known.build);
                }
            }
            TemplateFact::Removed { .. } => self.remove_template(id),
        }
    }

    /// A build that is to leave a template was queued: it is the newest of its name.
    pub(crate) fn claim_name(&mut self, build: &Build, at: Timestamp) {
        let Some(product) = &build.request.product else {
            return;
        };
        let source = build.request.project_key();
        self.claim(&product.name, &source, build.id, at);
    }

    fn claim(&mut self, name: &str, source: &str, build: BuildId, at: Timestamp) -> &mut Name {
        let templates = &mut self.templates;
        let known = templates.names.entry(name.to_owned());
        let known = known.or_insert_with(|| Name {
            source: source.to_owned(),
            build,
            template: None,
            named_by: None,
            created: at,
            modified: None,
            preload: None,
        });
        if known.build <= build {
            templates.by_build.remove(&known.build);
            known.build = build;
            templates.by_build.insert(build, name.to_owned());
        }
        known
    }

    /// A build is at its end with a template. If a later build was faster, the name stays where that one put it.
    fn point(
        &mut self,
        name: &str,
        source: &str,
        build: BuildId,
        template: TemplateId,
        at: Timestamp,
    ) {
        let known = self.claim(name, source, build, at);
        if known.named_by.is_some_and(|other| other > build) {
            return;
        }
        match known.template {
            None if known.named_by.is_none() => known.created = at,
            None | Some(_) => known.modified = Some(at),
        }
        if known.template != Some(template) {
            known.preload = None;
        }
        known.template = Some(template);
        known.named_by = Some(build);
    }

    pub(crate) fn use_template(&mut self, id: TemplateId, at: Timestamp) {
        if let Some(template) = self.templates.by_id.get_mut(&id) {
            template.used = at;
        }
    }

    /// The store has just put a snapshot here, in the place of whatever was damaged.
    fn mend_templates(&mut self, digest: &str) {
        let all = self.templates.by_id.values_mut();
        let damaged = all.filter(|template| template.is_damaged && template.digest() == digest);
        let mut was_damaged = false;
        for template in damaged {
            template.is_damaged = false;
            was_damaged = true;
        }
        if was_damaged {
            self.templates.find_origins();
        }
    }

    fn remove_template(&mut self, id: TemplateId) {
        let Some(template) = self.templates.by_id.remove(&id) else {
            return;
        };
        if let Some((origin, _)) = origin(&template)
            && self.templates.by_origin.get(&origin) == Some(&id)
        {
            self.templates.by_origin.remove(&origin);
            // An earlier one of the same origin may be there, since a build was forced.
            let mut earlier = self.templates.by_id.values().filter_map(self::origin);
            let earlier = earlier.rfind(|(other, _)| *other == origin);
            self.templates.by_origin.extend(earlier);
        }
        let names = self.templates.names.iter_mut();
        let pointing = names.filter(|(_, known)| known.template == Some(id));
        let mut bare = Vec::new();
        for (name, known) in pointing {
            known.template = None;
            known.preload = None;
            bare.push(name.clone());
        }
        for name in bare {
            self.settle_name(&name);
        }
    }

    /// A build is forgotten: a name that only it had ends.
    pub(crate) fn leave_name(&mut self, build: BuildId) {
        if let Some(name) = self.templates.by_build.get(&build).cloned() {
            self.settle_name(&name);
        }
    }

    /// Ends a name that points at nothing and whose newest build is gone.
    fn settle_name(&mut self, name: &str) {
        let is_bare = |known: &Name| {
            let is_kept = self.build(known.build).is_some() || self.is_ended(known.build);
            known.template.is_none() && !is_kept
        };
        if self.templates.names.get(name).is_some_and(is_bare)
            && let Some(known) = self.templates.names.remove(name)
        {
            self.templates.by_build.remove(&known.build);
        }
    }
}
