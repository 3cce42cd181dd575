//! All templates, and the names that point at them.

use super::template::{Name, Template};
use crate::Cluster;
use clusterrunner_common::ids::{BuildId, TemplateId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many names there are at most; names end with their builds and templates.
pub(super) const MAX_NAMES: usize = 100_000;

/// All templates, and the names that point at them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Templates {
    /// Ids go on from here, whatever was removed since.
    pub(super) last: u64,
    pub(super) by_id: BTreeMap<TemplateId, Template>,
    pub(super) names: BTreeMap<String, Name>,
    /// Which template was made last of a source, a commit and in a way. Derived from `by_id`.
    #[serde(skip)]
    pub(super) by_origin: BTreeMap<Origin, TemplateId>,
    /// The name that a build is the newest of. Derived from `names`.
    #[serde(skip)]
    pub(super) by_build: BTreeMap<BuildId, String>,
}

/// Source, commit and recipe: builds with the same ones would leave equal templates.
pub(super) type Origin = (String, String, String);

impl Templates {
    pub(crate) fn is_empty(&self) -> bool {
        self.last == 0 && self.names.is_empty()
    }

    pub(super) fn next_id(&self) -> TemplateId {
        TemplateId(self.last + 1)
    }

    /// The latest template of this origin; none where the source has no commits.
    pub(super) fn equal(
        &self,
        source: &str,
        commit: Option<&str>,
        recipe: &str,
    ) -> Option<TemplateId> {
        let commit = commit?.to_owned();
        let origin = (source.to_owned(), commit, recipe.to_owned());
        self.by_origin.get(&origin).copied()
    }

    pub(crate) fn is_derived_right(&self) -> bool {
        self.by_origin == self.origins() && self.by_build == self.builds()
    }

    /// Finds anew which template was made last in which way.
    pub(super) fn find_origins(&mut self) {
        self.by_origin = self.origins();
    }

    fn origins(&self) -> BTreeMap<Origin, TemplateId> {
        self.by_id.values().filter_map(origin).collect()
    }

    fn builds(&self) -> BTreeMap<BuildId, String> {
        let names = self.names.iter();
        let names = names.map(|(name, known)| (known.build, name.clone()));
        names.collect()
    }

    /// Makes anew what is derived.
    pub(crate) fn restored(mut self) -> Self {
        self.find_origins();
        self.by_build = self.builds();
        self
    }
}

/// What names the way in which a template was made. A damaged one is not used again.
pub(super) fn origin(template: &Template) -> Option<(Origin, TemplateId)> {
    let commit = template.commit.clone().filter(|_| !template.is_damaged)?;
    let origin = (template.source.clone(), commit, template.recipe.clone());
    Some((origin, template.id))
}

impl Cluster {
    /// A template.
    #[must_use]
    pub fn template(&self, id: TemplateId) -> Option<&Template> {
        self.templates.by_id.get(&id)
    }

    /// All templates, in the order in which they were registered.
    pub fn templates(&self) -> impl DoubleEndedIterator<Item = &Template> {
        self.templates.by_id.values()
    }

    /// All names that builds have claimed, in their order.
    pub fn template_names(&self) -> impl Iterator<Item = (&str, &Name)> {
        let names = self.templates.names.iter();
        names.map(|(name, known)| (name.as_str(), known))
    }

    /// What a name stands for.
    #[must_use]
    pub fn template_name(&self, name: &str) -> Option<&Name> {
        self.templates.names.get(name)
    }

    /// The template that a name points at.
    #[must_use]
    pub fn template_named(&self, name: &str) -> Option<&Template> {
        self.template(self.template_name(name)?.template?)
    }

    /// The digests of the snapshots that templates consist of. Two templates may have the same.
    pub fn snapshots(&self) -> impl Iterator<Item = &str> {
        self.templates().map(Template::digest)
    }

    /// Whether every slave that could run what a name points at has the snapshot.
    #[must_use]
    pub fn is_preloaded(&self, template: &Template) -> bool {
        let mut hosts = self.slaves().filter(|slave| slave.can_host(template));
        hosts.all(|slave| slave.snapshots.contains(template.digest()))
    }
}
