//! What a fact about an app changes.

use super::app::{App, Domain};
use super::facts::AppFact;
use crate::Cluster;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::ProjectId;
use std::collections::BTreeMap;

impl Cluster {
    pub(crate) fn apply_to_app(&mut self, project: ProjectId, fact: &AppFact, at: Timestamp) {
        match fact {
            AppFact::Created {
                id,
                owns_project,
                config,
                release,
            } => {
                self.keep_project(project);
                self.apps.insert(App {
                    project,
                    id: id.clone(),
                    owns_project: *owns_project,
                    structure: BTreeMap::new(),
                    configs: vec![(**config).clone()],
                    builds: Vec::new(),
                    releases: vec![(**release).clone()],
                    domains: BTreeMap::new(),
                    created: at,
                    updated: at,
                    last_run: 0,
                });
            }
            AppFact::Deleted => self.apps.remove(project),
            _ => self.apps.change(project, |app| change(app, fact, at)),
        }
    }
}

fn change(app: &mut App, fact: &AppFact, at: Timestamp) {
    app.updated = at;
    match fact {
        AppFact::Created { .. } | AppFact::Deleted => {}
        AppFact::Configured { config } => app.configs.push((**config).clone()),
        AppFact::Built { build } => app.builds.push((**build).clone()),
        AppFact::Released { release } => app.releases.push((**release).clone()),
        AppFact::Scaled { numbers } => app.structure.extend(numbers.clone()),
        AppFact::DomainAdded { domain, owner } => {
            let (owner, created) = (*owner, at);
            let domain = domain.clone();
            app.domains.insert(domain, Domain { owner, created });
        }
        AppFact::DomainRemoved { domain } => {
            app.domains.remove(domain);
        }
        AppFact::RunStarted { num, .. } => app.last_run = *num,
    }
}
