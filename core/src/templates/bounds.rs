//! Which templates are not kept any longer.

use super::facts::{TemplateBound, TemplateFact};
use super::template::Template;
use crate::Cluster;
use crate::event::Fact;
use crate::instances::instance::Runs;
use clusterrunner_common::ids::TemplateId;
use std::collections::BTreeSet;

/// How many templates leave at a time: the disk is to keep up.
const REMOVED_AT_A_TIME: usize = 64;

/// How many templates are kept, and how large their snapshots may be together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TemplateBounds {
    /// How many; none for any number.
    pub max_number: Option<u64>,
    /// How many bytes; none for any size.
    pub max_bytes: Option<u64>,
}

impl Cluster {
    /// The templates that are beyond a bound. Those go first that no name points at any more, and of these the ones that
    /// were not used for longest. One that an instance runs, that an app's releases name or that a build waits for stays, and so does the one that was used
    /// last: it may be as large as it likes.
    pub(crate) fn templates_beyond(&self, bounds: &TemplateBounds) -> Vec<Fact> {
        let mut number = self.templates.by_id.len() as u64;
        let mut bytes = self.snapshot_bytes();
        let is_beyond = |number: u64, bytes: u64| {
            let are_too_many = bounds.max_number.is_some_and(|most| number > most);
            let are_too_large = bounds.max_bytes.is_some_and(|most| bytes > most);
            match (are_too_many, are_too_large) {
                (true, _) => Some(TemplateBound::Number),
                (false, true) => Some(TemplateBound::Bytes),
                (false, false) => None,
            }
        };
        if is_beyond(number, bytes).is_none() {
            return Vec::new();
        }
        let used = self.templates_in_use();
        let named: BTreeSet<TemplateId> = self
            .template_names()
            .filter_map(|(_, name)| name.template)
            .collect();
        let mut unused: Vec<&Template> = self
            .templates()
            .filter(|template| !used.contains(&template.id))
            .collect();
        unused.sort_by_key(|template| (named.contains(&template.id), template.used, template.id));
        let mut facts = Vec::new();
        for template in unused.into_iter().take(REMOVED_AT_A_TIME) {
            let Some(bound) = is_beyond(number, bytes) else {
                break;
            };
            let digest = template.digest().to_owned();
            let removed = TemplateFact::Removed { digest, bound };
            facts.push(Fact::Template(template.id, removed));
            number -= 1;
            // Where another one has the same snapshot this is too much: the next look goes on.
            bytes = bytes.saturating_sub(template.content.bytes);
        }
        facts
    }

    /// How many bytes the snapshots of all templates have together; one that several have counts once.
    #[must_use]
    pub fn snapshot_bytes(&self) -> u64 {
        let mut digests = BTreeSet::new();
        let each = self.templates();
        let each = each.filter(|template| digests.insert(template.digest()));
        each.map(|template| template.content.bytes)
            .fold(0, u64::saturating_add)
    }

    fn templates_in_use(&self) -> BTreeSet<TemplateId> {
        let run = self.instances().filter(|instance| !instance.is_over());
        let mut used: BTreeSet<TemplateId> = run.filter_map(|instance| instance.template).collect();
        // An app may be rolled back to each of its releases.
        let builds = self.apps().flat_map(|app| &app.builds);
        used.extend(builds.filter_map(|build| match build.runs {
            Runs::Template(template) => Some(template),
            Runs::Image(_) | Runs::Nothing(_) => None,
        }));
        for build in self.builds().filter(|build| !build.is_over()) {
            used.extend(self.template_awaited_by(build));
            used.extend(build.templates_taken());
        }
        let latest = self.templates();
        let latest = latest.max_by_key(|template| (template.used, template.id));
        used.extend(latest.map(|template| template.id));
        used
    }
}
