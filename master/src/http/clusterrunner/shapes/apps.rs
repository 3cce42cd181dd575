//! Apps as this API shows them. Pure.

use super::launching::instance_status;
use crate::read::app_story;
use clusterrunner_common::api::apps::{
    AppAccess, AppBody, AppConfigView, AppProcessView, AppReleaseView, AppView,
};
use clusterrunner_core::Cluster;
use clusterrunner_core::access::Access;
use clusterrunner_core::accounts::owner::Owner;
use clusterrunner_core::apps::app::{App, AppBuild, Release};
use clusterrunner_core::instances::instance::{Instance, Purpose};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How many releases are shown.
const RELEASES: usize = 50;

/// An app. Of its variables only the names are shown: they may have secrets.
#[must_use]
pub(in crate::http::clusterrunner) fn app(
    cluster: &Cluster,
    app: &App,
    domain: Option<&str>,
) -> AppView {
    let newest = app.newest();
    let owner = cluster.project(app.project).map(|project| project.owner);
    let mut instances: Vec<&Instance> = cluster.app_instances(app.project).collect();
    instances.sort_by_key(|instance| (place(&instance.purpose), instance.id));
    AppView {
        project_id: app.project,
        id: app.id.clone(),
        owner: owner.and_then(|owner| name(cluster, owner)),
        host: domain.map(|domain| format!("{}.{domain}", app.id)),
        domains: app.domains.keys().cloned().collect(),
        is_deployed: newest.build.is_some(),
        release: release(cluster, newest),
        structure: app.structure.clone(),
        process_types: app.build_of(newest).map(process_types).unwrap_or_default(),
        processes: instances
            .into_iter()
            .filter_map(|instance| process(cluster, instance))
            .collect(),
        config_keys: app.config_of(newest).values.keys().cloned().collect(),
        created: app.created.as_unix_seconds(),
        updated: app.updated.as_unix_seconds(),
    }
}

/// An app with its latest releases.
#[must_use]
pub(in crate::http::clusterrunner) fn app_with_releases(
    cluster: &Cluster,
    shown: &App,
    domain: Option<&str>,
    may: Access,
) -> AppBody {
    let latest = shown.releases.iter().rev().take(RELEASES);
    AppBody {
        app: app(cluster, shown, domain),
        releases: latest.map(|one| release(cluster, one)).collect(),
        access: match may {
            Access::None | Access::Read => AppAccess::Read,
            Access::Use => AppAccess::Use,
            Access::Own | Access::Admin => AppAccess::Own,
        },
    }
}

/// The config of the newest release of an app, with what its variables are.
#[must_use]
pub(in crate::http::clusterrunner) fn app_config(app: &App) -> AppConfigView {
    let config = app.config_of(app.newest());
    AppConfigView {
        values: as_json(&config.values),
        memory: as_json(&config.memory),
        cpu: as_json(&config.cpu),
        tags: as_json(&config.tags),
    }
}

fn as_json<T: Clone + Into<Value>>(map: &BTreeMap<String, T>) -> BTreeMap<String, Value> {
    let entries = map.iter();
    entries
        .map(|(key, value)| (key.clone(), value.clone().into()))
        .collect()
}

/// The process types of an app build. Of each the start `cmd` can be had, which is named where it is the usual one.
fn process_types(build: &AppBuild) -> Vec<String> {
    let named = build.procfile.keys().map(String::as_str);
    let types: BTreeSet<&str> = named.chain([build.first_process()]).collect();
    types.into_iter().map(str::to_owned).collect()
}

/// Where a process stands among those of its app.
fn place(purpose: &Purpose) -> (&str, u32) {
    match purpose {
        Purpose::App { process, num, .. } => (process, *num),
        Purpose::Run { num, .. } => ("", *num),
        Purpose::Launch => ("", 0),
    }
}

fn release(cluster: &Cluster, release: &Release) -> AppReleaseView {
    AppReleaseView {
        version: release.version,
        summary: release.summary.clone(),
        by: name(cluster, release.owner),
        created: release.created.as_unix_seconds(),
    }
}

fn process(cluster: &Cluster, instance: &Instance) -> Option<AppProcessView> {
    let wait = || cluster.waits_for(instance).map(|wait| wait.to_string());
    Some(AppProcessView {
        name: app_story::process(&instance.purpose)?,
        status: instance_status(instance.state),
        reason: instance.reason.clone().or_else(wait),
        release: instance.purpose.release().unwrap_or_default(),
        slave_id: instance.slave,
        instance_id: instance.id,
        restarts: instance.restarts,
    })
}

fn name(cluster: &Cluster, owner: Owner) -> Option<String> {
    cluster.owner_name(owner).map(str::to_owned)
}
