//! What happens to apps, in lines for their users: the original controller's lines, and ours beside them. They are
//! written to the apps' logs as the events come, before anybody is answered.

use crate::read::app_uuids as uuids;
use crate::store::app_logs::AppLogs;
use clusterrunner_common::ids::{ProjectId, UserId};
use clusterrunner_common::text::printable::plain;
use clusterrunner_core::Cluster;
use clusterrunner_core::accounts::owner::Owner;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::apps::app::{App, Release};
use clusterrunner_core::apps::facts::{AppFact, numbers_text};
use clusterrunner_core::event::{Event, Fact, InstanceFact, ProjectFact};
use clusterrunner_core::instances::instance::{Instance, Purpose};

/// Writes what events say to the logs of apps. `cluster` has taken them in already.
pub(crate) fn record(logs: &AppLogs, cluster: &Cluster, events: &[Event]) {
    for event in events {
        let written = match &event.fact {
            Fact::App(project, AppFact::Deleted) => logs.remove(*project),
            _ => match lines(event, cluster) {
                Some((project, lines)) => logs.add_controller_lines(project, event.at, lines),
                None => Ok(()),
            },
        };
        if let Err(error) = written {
            tracing::warn!(%error, "could not write the log of an app");
        }
    }
}

/// The process as users call it, such as `web.1`; none of what is no app's.
#[must_use]
pub(crate) fn process(purpose: &Purpose) -> Option<String> {
    match purpose {
        Purpose::Launch => None,
        Purpose::App { process, num, .. } => Some(format!("{process}.{num}")),
        Purpose::Run { num, .. } => Some(format!("run.{num}")),
    }
}

/// What an event says, and of which app.
fn lines(event: &Event, cluster: &Cluster) -> Option<(ProjectId, Vec<String>)> {
    let (project, said) = match &event.fact {
        Fact::App(project, fact) => {
            let app = cluster.app(*project)?;
            (*project, of_app(app, fact, user(cluster, event.by)))
        }
        Fact::Project(project, fact) => {
            let app = cluster.app(*project)?;
            (*project, vec![of_project(app, fact, cluster)?])
        }
        Fact::Instance(id, fact) => {
            let instance = cluster.instance(*id)?;
            let project = instance.purpose.project()?;
            let app = cluster.app(project)?;
            (project, vec![of_instance(app, instance, fact)?])
        }
        _ => return None,
    };
    let lines = said.iter().map(|line| plain(line).to_string());
    Some((project, lines.collect()))
}

fn user(cluster: &Cluster, by: Actor) -> &str {
    cluster.owner_name(Owner::of(by)).unwrap_or("?")
}

fn of_app(app: &App, fact: &AppFact, user: &str) -> Vec<String> {
    let id = &app.id;
    let short = |uuid: String| uuid.chars().take(7).collect::<String>();
    let config = |number, created| {
        let uuid = short(uuids::of_config(app.project, number, created));
        format!("{id}: config {id}-{uuid} updated")
    };
    match fact {
        AppFact::Created {
            config: first,
            release,
            ..
        } => {
            let mut lines = vec![config(first.number, first.created)];
            lines.extend(released(id, release));
            lines
        }
        AppFact::Configured { config: new } => vec![config(new.number, new.created)],
        AppFact::Built { build } => {
            let uuid = short(uuids::of_build(app.project, build.number, build.created));
            vec![format!("{id}: build {id}-{uuid} created")]
        }
        AppFact::Released { release } => released(id, release).to_vec(),
        AppFact::Scaled { numbers } => {
            let numbers = numbers_text(numbers);
            vec![format!("{id}: {user} scaled containers {numbers}")]
        }
        AppFact::DomainAdded { domain, .. } => of_domain(id, domain, "added"),
        AppFact::DomainRemoved { domain } => of_domain(id, domain, "removed"),
        AppFact::RunStarted { command, .. } => vec![format!("{id}: {user} runs '{command}'")],
        AppFact::Deleted => Vec::new(),
    }
}

fn released(id: &str, release: &Release) -> [String; 2] {
    let version = release.version;
    [
        format!("{id}: release {id}-v{version} created"),
        release.summary.clone(),
    ]
}

/// The original says it twice.
fn of_domain(id: &str, domain: &str, what: &str) -> Vec<String> {
    vec![
        format!("{id}: domain {domain} {what}"),
        format!("domain {domain} {what}"),
    ]
}

fn of_project(app: &App, fact: &ProjectFact, cluster: &Cluster) -> Option<String> {
    let id = &app.id;
    let name = |user: UserId| cluster.owner_name(Owner::User(user)).unwrap_or("?");
    match fact {
        ProjectFact::CollaboratorAdded { user } => {
            let name = name(*user);
            Some(format!("{id}: User {name} was granted access to {id}"))
        }
        ProjectFact::CollaboratorRemoved { user } => {
            let name = name(*user);
            Some(format!("{id}: User {name} was revoked access to {id}"))
        }
        ProjectFact::Created { .. }
        | ProjectFact::Changed(_)
        | ProjectFact::Deleted
        | ProjectFact::CodeCommitted { .. }
        | ProjectFact::RefsPushed(_)
        | ProjectFact::SecretSet { .. }
        | ProjectFact::SecretRemoved { .. } => None,
    }
}

fn of_instance(app: &App, instance: &Instance, fact: &InstanceFact) -> Option<String> {
    let process = process(&instance.purpose)?;
    let version = instance.purpose.release()?;
    let is_run = instance.purpose.is_run();
    let what = match fact {
        InstanceFact::Up { .. } if !is_run => "is up".to_owned(),
        InstanceFact::Crashed { reason, .. } => format!("crashed: {reason}"),
        InstanceFact::Failed { reason } => format!("can not run: {reason}"),
        InstanceFact::Displaced { reason, .. } => format!("is placed anew: {reason}"),
        InstanceFact::Exited { code } => format!("ended with exit code {code}"),
        InstanceFact::Stopped => "stopped".to_owned(),
        InstanceFact::Up { .. }
        | InstanceFact::Launched(_)
        | InstanceFact::Placed { .. }
        | InstanceFact::Adopted { .. }
        | InstanceFact::Retired
        | InstanceFact::Culled { .. }
        | InstanceFact::Forgotten => return None,
    };
    let id = &app.id;
    Some(format!("{id}: {process} (v{version}) {what}"))
}
