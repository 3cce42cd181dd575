//! Templates and instances as this API shows them. Pure.

use super::status_of;
use clusterrunner_common::api::BuildStatus;
use clusterrunner_common::api::launching::{
    InstanceStatus, InstanceView, TemplateDetails, TemplateView,
};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::instances::instance::{Instance, InstanceState};
use clusterrunner_core::templates::template::{Name, Template};

/// How the key of a project begins that is a repository.
const GIT: &str = "git ";

/// A name of templates, and what it points at.
#[must_use]
pub(in crate::http::clusterrunner) fn template(
    cluster: &Cluster,
    name: &str,
    known: &Name,
) -> TemplateView {
    let template = known.template.and_then(|id| cluster.template(id));
    TemplateView {
        name: name.to_owned(),
        repository: known.source.strip_prefix(GIT).map(without_credentials),
        build_id: known.build,
        build_status: build_status(cluster, known),
        created: known.created.as_unix_seconds(),
        modified: known.modified.map(Timestamp::as_unix_seconds),
        template: template.map(details),
    }
}

/// Where the newest build of a name stands. Of one that is archived it is known only that it left the template.
fn build_status(cluster: &Cluster, known: &Name) -> Option<BuildStatus> {
    match cluster.build(known.build) {
        Some(build) => Some(status(build)),
        None if known.named_by == Some(known.build) => Some(BuildStatus::Finished),
        None => None,
    }
}

fn status(build: &Build) -> BuildStatus {
    status_of(build, build.subjobs.len())
}

fn without_credentials(url: &str) -> String {
    let parsed = clusterrunner_common::git::GitUrl::parse(url, true);
    parsed.map_or_else(|_| String::new(), |url| url.without_credentials())
}

fn details(template: &Template) -> TemplateDetails {
    let content = &template.content;
    let description = &content.description;
    TemplateDetails {
        id: template.id,
        build_id: template.build,
        commit: template.commit.clone(),
        recipe: description.recipe.clone(),
        form: description.form,
        digest: content.digest.clone(),
        bytes: content.bytes,
        is_damaged: template.is_damaged,
        port: description.port,
        command: description.command.clone(),
        processes: description.processes.clone(),
        created: template.created.as_unix_seconds(),
    }
}

/// An instance. Its variables are not shown: they may have secrets.
#[must_use]
pub(in crate::http::clusterrunner) fn instance(instance: &Instance) -> InstanceView {
    InstanceView {
        id: instance.id,
        key: instance.key.clone(),
        template: instance.template_name.clone(),
        template_id: instance.template,
        status: instance_status(instance.state),
        reason: instance.reason.clone(),
        path: match instance.purpose.is_launch() {
            true => format!("/user/{}", instance.key),
            false => String::new(),
        },
        slave_id: instance.slave,
        generation: instance.generation,
        restarts: instance.restarts,
        command: instance.command.clone(),
        max_memory_bytes: instance.max_memory_bytes,
        cull_after: instance
            .cull_after_ms
            .map(|time| Timestamp(time).as_unix_seconds()),
        created: instance.created.as_unix_seconds(),
        changed: instance.changed.as_unix_seconds(),
    }
}

pub(super) fn instance_status(state: InstanceState) -> InstanceStatus {
    match state {
        InstanceState::Initialized => InstanceStatus::Waiting,
        InstanceState::Created => InstanceStatus::Starting,
        InstanceState::Up => InstanceStatus::Up,
        InstanceState::Crashed => InstanceStatus::Crashed,
        InstanceState::Down | InstanceState::Destroyed => InstanceStatus::Stopped,
        InstanceState::Error => InstanceStatus::Failed,
    }
}
