//! Apps and what belongs to them, as this API shows them. Pure.

use crate::http::deis::hosts::Hosts;
use crate::http::deis::{times, uuids};
use clusterrunner_core::Cluster;
use clusterrunner_core::accounts::owner::Owner;
use clusterrunner_core::apps::app::{App, AppBuild, AppConfig, Domain, Release};
use clusterrunner_core::instances::instance::{Instance, InstanceState, Purpose};
use clusterrunner_core::instances::placing::Wait;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The header that says which release a request made.
pub(in crate::http::deis) const X_DEIS_RELEASE: &str = "x-deis-release";

/// The type of containers that run one command.
pub(in crate::http::deis) const RUN: &str = "run";

/// An app.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::http::deis) struct AppView {
    uuid: String,
    id: String,
    owner: String,
    url: String,
    structure: BTreeMap<String, u32>,
    created: String,
    updated: String,
}

/// A config.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::http::deis) struct ConfigView {
    uuid: String,
    owner: String,
    app: String,
    values: BTreeMap<String, Value>,
    memory: BTreeMap<String, String>,
    cpu: BTreeMap<String, Value>,
    tags: BTreeMap<String, String>,
    created: String,
    updated: String,
}

/// What an app runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::http::deis) struct BuildView {
    uuid: String,
    owner: String,
    app: String,
    image: String,
    sha: String,
    procfile: BTreeMap<String, String>,
    dockerfile: String,
    created: String,
    updated: String,
}

/// A release.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::http::deis) struct ReleaseView {
    uuid: String,
    app: String,
    owner: String,
    version: u64,
    build: Option<String>,
    config: String,
    summary: String,
    created: String,
    updated: String,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::http::deis) struct ContainerView {
    uuid: String,
    owner: String,
    app: String,
    release: String,
    #[serde(rename = "type")]
    kind: String,
    num: u32,
    state: &'static str,
    created: String,
    updated: String,
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::http::deis) struct DomainView {
    domain: String,
    app: String,
    owner: String,
    created: String,
    updated: String,
}

fn name(cluster: &Cluster, owner: Owner) -> String {
    cluster.owner_name(owner).unwrap_or_default().to_owned()
}

impl AppView {
    pub(in crate::http::deis) fn of(cluster: &Cluster, app: &App, hosts: &Hosts) -> Self {
        let owner = cluster.project(app.project).map(|project| project.owner);
        Self {
            uuid: uuids::of_app(app),
            id: app.id.clone(),
            owner: owner.map(|owner| name(cluster, owner)).unwrap_or_default(),
            url: hosts.of_app(&app.id),
            structure: app.structure.clone(),
            created: times::shown(app.created),
            updated: times::shown(app.updated),
        }
    }
}

impl ConfigView {
    pub(in crate::http::deis) fn of(cluster: &Cluster, app: &App, config: &AppConfig) -> Self {
        let created = times::shown(config.created);
        Self {
            uuid: uuids::of_config(app, config),
            owner: name(cluster, config.owner),
            app: app.id.clone(),
            values: config.shown_values(app),
            memory: config.memory.clone(),
            cpu: config.cpu.clone(),
            tags: config.tags.clone(),
            updated: created.clone(),
            created,
        }
    }
}

impl BuildView {
    pub(in crate::http::deis) fn of(cluster: &Cluster, app: &App, build: &AppBuild) -> Self {
        let created = times::shown(build.created);
        Self {
            uuid: uuids::of_build(app, build),
            owner: name(cluster, build.owner),
            app: app.id.clone(),
            image: build.image.clone(),
            sha: build.sha.clone(),
            procfile: build.procfile.clone(),
            dockerfile: build.dockerfile.clone(),
            updated: created.clone(),
            created,
        }
    }

    /// Whether it has this uuid.
    pub(in crate::http::deis) fn is(&self, uuid: &str) -> bool {
        self.uuid == uuid
    }
}

impl ReleaseView {
    pub(in crate::http::deis) fn of(cluster: &Cluster, app: &App, release: &Release) -> Self {
        let created = times::shown(release.created);
        Self {
            uuid: uuids::of_release(app, release.version),
            app: app.id.clone(),
            owner: name(cluster, release.owner),
            version: release.version,
            build: app
                .build_of(release)
                .map(|build| uuids::of_build(app, build)),
            config: uuids::of_config(app, app.config_of(release)),
            summary: release.summary.clone(),
            updated: created.clone(),
            created,
        }
    }
}

impl ContainerView {
    pub(in crate::http::deis) fn of(cluster: &Cluster, app: &App, instance: &Instance) -> Self {
        Self {
            uuid: uuids::of_container(instance.id, instance.created),
            owner: name(cluster, instance.owner),
            app: app.id.clone(),
            release: format!("v{}", instance.purpose.release().unwrap_or_default()),
            kind: type_of(instance).to_owned(),
            num: number_of(instance),
            state: state(cluster, instance),
            created: times::shown(instance.created),
            updated: times::shown(instance.changed),
        }
    }
}

/// What can not be placed as the farm is now has an error, even though it goes on waiting.
fn state(cluster: &Cluster, instance: &Instance) -> &'static str {
    match (instance.state, cluster.waits_for(instance)) {
        (InstanceState::Initialized, Some(Wait::NoTags | Wait::NoContainerRuntime)) => {
            InstanceState::Error.name()
        }
        (state, _) => state.name(),
    }
}

impl DomainView {
    pub(in crate::http::deis) fn of(
        cluster: &Cluster,
        app: &App,
        domain: &str,
        said: &Domain,
    ) -> Self {
        let created = times::shown(said.created);
        Self {
            domain: domain.to_owned(),
            app: app.id.clone(),
            owner: name(cluster, said.owner),
            updated: created.clone(),
            created,
        }
    }
}

/// The type of a container.
pub(in crate::http::deis) fn type_of(instance: &Instance) -> &str {
    instance.purpose.process().unwrap_or(RUN)
}

/// The number of a container among those of its type.
pub(in crate::http::deis) fn number_of(instance: &Instance) -> u32 {
    match instance.purpose {
        Purpose::App { num, .. } | Purpose::Run { num, .. } => num,
        Purpose::Launch => 0,
    }
}
