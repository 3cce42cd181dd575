//! All apps, and what is found by their ids and domains.

use super::app::App;
use crate::Cluster;
use crate::instances::instance::{Instance, Purpose};
use clusterrunner_common::ids::ProjectId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All apps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Apps {
    pub(super) by_project: BTreeMap<ProjectId, App>,
    /// Derived from `by_project`.
    #[serde(skip)]
    by_id: BTreeMap<String, ProjectId>,
    /// Derived from `by_project`.
    #[serde(skip)]
    by_domain: BTreeMap<String, ProjectId>,
}

impl Apps {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_project.is_empty()
    }

    pub(crate) fn projects(&self) -> impl Iterator<Item = ProjectId> {
        self.by_project.keys().copied()
    }

    pub(super) fn insert(&mut self, app: App) {
        self.index(&app);
        self.by_project.insert(app.project, app);
    }

    pub(super) fn remove(&mut self, project: ProjectId) {
        if let Some(app) = self.by_project.remove(&project) {
            self.leave_index(&app);
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "events name what exists; a journal that does not is damaged"
    )]
    pub(super) fn change(&mut self, project: ProjectId, change: impl FnOnce(&mut App)) {
        let app = self.by_project.remove(&project);
        let mut app = app.expect("events name apps that exist");
        self.leave_index(&app);
        change(&mut app);
        self.insert(app);
    }

    fn index(&mut self, app: &App) {
        self.by_id.insert(app.id.clone(), app.project);
        let domains = app.domains.keys();
        let domains = domains.map(|domain| (domain.clone(), app.project));
        self.by_domain.extend(domains);
    }

    fn leave_index(&mut self, app: &App) {
        self.by_id.remove(&app.id);
        for domain in app.domains.keys() {
            self.by_domain.remove(domain);
        }
    }

    pub(super) fn is_derived_right(&self) -> bool {
        let mut derived = Self::default();
        for app in self.by_project.values() {
            derived.index(app);
        }
        self.by_id == derived.by_id && self.by_domain == derived.by_domain
    }

    /// Makes anew what is derived.
    pub(crate) fn restored(self) -> Self {
        let mut restored = Self::default();
        for app in self.by_project.into_values() {
            restored.insert(app);
        }
        restored
    }
}

impl Cluster {
    /// The app of a project.
    #[must_use]
    pub fn app(&self, project: ProjectId) -> Option<&App> {
        self.apps.by_project.get(&project)
    }

    /// The app with an id.
    #[must_use]
    pub fn app_of_id(&self, id: &str) -> Option<&App> {
        self.app(*self.apps.by_id.get(id)?)
    }

    /// The app that a domain leads to. The domain is in lower case and without a port.
    #[must_use]
    pub fn app_of_host(&self, domain: &str) -> Option<&App> {
        self.app(*self.apps.by_domain.get(domain)?)
    }

    /// All apps, in the order of their projects.
    pub fn apps(&self) -> impl Iterator<Item = &App> {
        self.apps.by_project.values()
    }

    /// The instances of an app that users see: all but runs and those that were stopped, in the order in which they were
    /// launched. Those that can not be started are among them, and those that are retired and end soon.
    pub fn app_instances(&self, project: ProjectId) -> impl Iterator<Item = &Instance> {
        self.instances_of(project)
            .filter(|instance| matches!(instance.purpose, Purpose::App { .. }))
    }

    /// The runs of an app, also of those that are over the latest, in the order in which they were asked for.
    pub fn runs_of(&self, project: ProjectId) -> impl Iterator<Item = &Instance> {
        self.instances_of(project)
            .filter(|instance| matches!(instance.purpose, Purpose::Run { .. }))
    }
}
