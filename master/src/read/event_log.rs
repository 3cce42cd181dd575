//! What of the feed goes to the event log: the original's events under its names, with its fields,
//! and ours beside them.

use crate::read::feed::Facts;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, InstanceId, ProjectId, SlaveId, SubjobId, TemplateId};
use clusterrunner_common::logs::event_log::{Entry, EventLog};
use clusterrunner_core::Cluster;
use clusterrunner_core::apps::facts::numbers_text;
use clusterrunner_core::builds::outcome::AtomOutcome;
use clusterrunner_core::event::{
    AppFact, BuildFact, Event, Fact, FarmFact, InstanceFact, SlaveFact, TemplateFact,
};
use clusterrunner_core::instances::instance::Purpose;
use serde_json::Value;

/// What an event says to the outside, in order, and of which moment. `cluster` has taken it in already.
#[must_use]
pub(crate) fn entries(event: &Event, cluster: &Cluster) -> Vec<(Timestamp, Entry)> {
    let at = event.at;
    let entry = match &event.fact {
        Fact::Build(build, fact) => return of_build_fact(at, *build, fact, cluster),
        Fact::Slave(slave, SlaveFact::HandOutsKept { hand_outs }) => {
            let kept = hand_outs.iter().map(|kept| {
                of_subjob("SUBJOB_RESULT_KEPT", kept.build, kept.subjob, *slave)
                    .with("attempt", kept.attempt.0)
            });
            return kept.map(|entry| (at, entry)).collect();
        }
        Fact::Slave(slave, fact) => of_slave_fact(*slave, fact),
        Fact::Farm(FarmFact::MasterStarted { .. }) => {
            Some(Entry::new("SERVICE_STARTED").with("service", "master"))
        }
        Fact::Farm(FarmFact::IncarnationBegun {
            incarnation, cause, ..
        }) => Some(
            Entry::new("INCARNATION_BEGUN")
                .with("incarnation", incarnation.to_string())
                .with("reason", cause.to_string()),
        ),
        Fact::Template(template, fact) => Some(of_template_fact(*template, fact)),
        Fact::Instance(instance, fact) => Some(of_instance_fact(*instance, fact)),
        Fact::App(project, fact) => of_app_fact(*project, fact),
        Fact::Farm(_)
        | Fact::Account(..)
        | Fact::Project(..)
        | Fact::SlaveKey(_)
        | Fact::SignIn(_) => None,
    };
    entry.into_iter().map(|entry| (at, entry)).collect()
}

fn of_slave_fact(slave: SlaveId, fact: &SlaveFact) -> Option<Entry> {
    Some(match fact {
        SlaveFact::Connected {
            url, num_executors, ..
        } => of_slave("SLAVE_CONNECTED", slave)
            .with("slave_url", url.as_str())
            .with("num_executors", *num_executors),
        SlaveFact::Lost { reason } => {
            of_slave("SLAVE_LOST", slave).with("reason", reason.to_string())
        }
        SlaveFact::ShutdownRequested => of_slave("SLAVE_SHUTDOWN_REQUESTED", slave),
        SlaveFact::EndRequested => of_slave("SLAVE_END_REQUESTED", slave),
        SlaveFact::Ended => of_slave("SLAVE_ENDED", slave),
        SlaveFact::DrainRequested => of_slave("SLAVE_DRAINED", slave),
        SlaveFact::DrainEnded => of_slave("SLAVE_UNDRAINED", slave),
        SlaveFact::Quarantined { reason } => {
            of_slave("SLAVE_QUARANTINED", slave).with("reason", reason.as_str())
        }
        SlaveFact::Released => of_slave("SLAVE_RELEASED", slave),
        SlaveFact::ProbeStarted => of_slave("SLAVE_PROBE_START", slave),
        // The rest is our own housekeeping.
        _ => return None,
    })
}

fn of_template_fact(template: TemplateId, fact: &TemplateFact) -> Entry {
    let of = |tag| Entry::new(tag).with("template_id", template.0);
    match fact {
        TemplateFact::Registered {
            name,
            build,
            content,
            ..
        } => of("TEMPLATE_REGISTERED")
            .with("name", name.as_str())
            .with("build_id", build.0)
            .with("bytes", content.bytes),
        TemplateFact::Named { name, build } => of("TEMPLATE_USED_AGAIN")
            .with("name", name.as_str())
            .with("build_id", build.0),
        TemplateFact::Preloaded { name } => of("TEMPLATE_PRELOADED").with("name", name.as_str()),
        TemplateFact::Damaged => of("TEMPLATE_DAMAGED"),
        TemplateFact::NameDeleted { name } => of("TEMPLATE_DELETED").with("name", name.as_str()),
        TemplateFact::Removed { bound, .. } => {
            of("TEMPLATE_REMOVED").with("reason", bound.to_string())
        }
    }
}

fn of_instance_fact(instance: InstanceId, fact: &InstanceFact) -> Entry {
    let of = |tag| Entry::new(tag).with("instance_id", instance.0);
    match fact {
        InstanceFact::Launched(launch) => {
            let template = launch.template.map_or(Value::Null, |id| id.0.into());
            let launched = of("INSTANCE_LAUNCHED")
                .with("template_id", template)
                .with("template_name", launch.template_name.as_str());
            of_purpose(launched, &launch.purpose)
        }
        InstanceFact::Placed { slave, generation } => of("INSTANCE_PLACED")
            .with("slave_id", slave.0)
            .with("generation", generation.0),
        InstanceFact::Adopted { slave } => of("INSTANCE_ADOPTED").with("slave_id", slave.0),
        InstanceFact::Displaced { slave, reason, .. } => of("INSTANCE_DISPLACED")
            .with("slave_id", slave.0)
            .with("reason", reason.as_str()),
        InstanceFact::Up { restarts, .. } => of("INSTANCE_UP").with("restarts", *restarts),
        InstanceFact::Crashed { reason, restarts } => of("INSTANCE_CRASHED")
            .with("reason", reason.as_str())
            .with("restarts", *restarts),
        InstanceFact::Failed { reason } => of("INSTANCE_FAILED").with("reason", reason.as_str()),
        InstanceFact::Stopped => of("INSTANCE_STOPPED"),
        InstanceFact::Retired => of("INSTANCE_RETIRED"),
        InstanceFact::Exited { code } => of("INSTANCE_EXITED").with("exit_code", *code),
        InstanceFact::Culled { idle_ms } => of("INSTANCE_CULLED").with("idle_ms", *idle_ms),
        InstanceFact::Forgotten => of("INSTANCE_FORGOTTEN"),
    }
}

/// Which app an instance is of, and what it does there.
fn of_purpose(entry: Entry, purpose: &Purpose) -> Entry {
    match purpose {
        Purpose::Launch => entry,
        Purpose::App {
            project,
            release,
            process,
            num,
        } => entry
            .with("project_id", project.0)
            .with("release", *release)
            .with("process", process.as_str())
            .with("num", *num),
        Purpose::Run {
            project,
            release,
            num,
        } => entry
            .with("project_id", project.0)
            .with("release", *release)
            .with("run", *num),
    }
}

fn of_app_fact(project: ProjectId, fact: &AppFact) -> Option<Entry> {
    let of = |tag| Entry::new(tag).with("project_id", project.0);
    Some(match fact {
        AppFact::Created { id, .. } => of("APP_CREATED").with("app", id.as_str()),
        // The release says it.
        AppFact::Configured { .. } => return None,
        AppFact::Built { build } => of("APP_BUILT")
            .with("build", build.number)
            .with("image", build.image.as_str()),
        AppFact::Released { release } => of("APP_RELEASED")
            .with("release", release.version)
            .with("summary", release.summary.as_str()),
        AppFact::Scaled { numbers } => of("APP_SCALED").with("numbers", numbers_text(numbers)),
        AppFact::DomainAdded { domain, .. } => {
            of("APP_DOMAIN_ADDED").with("domain", domain.as_str())
        }
        AppFact::DomainRemoved { domain } => {
            of("APP_DOMAIN_REMOVED").with("domain", domain.as_str())
        }
        AppFact::RunStarted { num, instance, .. } => of("APP_RUN_START")
            .with("run", *num)
            .with("instance_id", instance.0),
        AppFact::Deleted => of("APP_DELETED"),
    })
}

#[expect(clippy::too_many_lines, reason = "an arm for each fact")]
fn of_build_fact(
    at: Timestamp,
    build: BuildId,
    fact: &BuildFact,
    cluster: &Cluster,
) -> Vec<(Timestamp, Entry)> {
    let entry = match fact {
        BuildFact::Queued { .. } => of_build("BUILD_REQUEST_QUEUED", build),
        BuildFact::PreparationStarted { .. } => of_build("BUILD_PREPARE_START", build),
        BuildFact::Prepared { .. } => prepared(build, true),
        BuildFact::Split { children, .. } => {
            let queued = children.iter();
            let queued = queued.map(|(child, _)| (at, of_build("BUILD_REQUEST_QUEUED", *child)));
            return [(at, prepared(build, true))]
                .into_iter()
                .chain(queued)
                .collect();
        }
        BuildFact::Failed { reason } => {
            let failed = of_build("BUILD_FAILED", build).with("error_message", reason.as_str());
            return match was_preparing(cluster, build) {
                true => vec![(at, prepared(build, false)), (at, failed)],
                false => vec![(at, failed)],
            };
        }
        BuildFact::Canceled => of_build("BUILD_CANCELED", build),
        BuildFact::ArchivingStarted => of_build("BUILD_ARCHIVE_START", build),
        BuildFact::Finished => of_build("BUILD_FINISHED", build),
        BuildFact::Forgotten { bound } => {
            of_build("BUILD_REMOVED", build).with("reason", bound.to_string())
        }
        BuildFact::Deleted => of_build("BUILD_DELETED", build),
        BuildFact::Warned { warning } => {
            of_build("BUILD_WARNED", build).with("warning", warning.as_str())
        }
        BuildFact::SetupRequested { slave, .. } => {
            of_build("BUILD_SETUP_START", build).with("slave_id", slave.0)
        }
        BuildFact::SetupCompleted { slave } => {
            of_build("BUILD_SETUP_FINISH", build).with("slave_id", slave.0)
        }
        BuildFact::SetupFailed { slave, reason, .. } => of_build("BUILD_SETUP_FAILED", build)
            .with("slave_id", slave.0)
            .with("reason", reason.as_str()),
        BuildFact::TeardownRequested { slave } => {
            of_build("BUILD_TEARDOWN_START", build).with("slave_id", slave.0)
        }
        BuildFact::TeardownCompleted { slave } => {
            of_build("BUILD_TEARDOWN_FINISH", build).with("slave_id", slave.0)
        }
        BuildFact::SubjobHandedOut {
            slave,
            subjob,
            attempt,
        } => of_subjob("SUBJOB_HANDED_OUT", build, *subjob, *slave).with("attempt", attempt.0),
        BuildFact::SubjobFinished {
            slave,
            subjob,
            attempt,
            executor,
            outcomes,
        } => {
            let of = |tag| {
                let executor = executor.map_or(Value::Null, |executor| executor.0.into());
                Entry::new(tag)
                    .with("executor_id", executor)
                    .with("build_id", build.0)
                    .with("subjob_id", subjob.0)
                    .with("slave_id", slave.0)
                    .with("attempt", attempt.0)
            };
            let first = outcomes.first().and_then(|outcome| outcome.started_at);
            let began = first.unwrap_or_else(|| began(at, outcomes));
            return vec![
                (began, of("MASTER_TRIGGERED_SUBJOB")),
                (at, of("MASTER_RECEIVED_RESULT")),
            ];
        }
        BuildFact::AttemptFailed {
            slave,
            subjob,
            attempt,
            outcomes,
            ..
        } => {
            let codes = outcomes.iter().map(|outcome| outcome.exit_code.into());
            of_subjob("ATTEMPT_FAILED", build, *subjob, *slave)
                .with("attempt", attempt.0)
                .with("exit_codes", Value::Array(codes.collect()))
        }
        BuildFact::SubjobReturned {
            slave,
            subjob,
            attempt,
            reason,
        } => of_subjob("SUBJOB_RETURNED", build, *subjob, *slave)
            .with("attempt", attempt.0)
            .with("reason", reason.as_str()),
        BuildFact::SubjobSuspected { slave, subjob } => {
            of_subjob("SUBJOB_SUSPECTED", build, *subjob, *slave)
        }
        BuildFact::SubjobPoisoned {
            subjob,
            slaves_lost,
        } => of_build("SUBJOB_POISONED", build)
            .with("subjob_id", subjob.0)
            .with("slaves_lost", *slaves_lost),
        BuildFact::ResultDoubted {
            slave,
            subjob,
            attempt,
        } => of_subjob("SUBJOB_RESULT_DOUBTED", build, *subjob, *slave).with("attempt", attempt.0),
        // The rest is our own housekeeping.
        _ => return Vec::new(),
    };
    vec![(at, entry)]
}

/// When a slave began with a subjob whose result has just come, where the slave does not say so: as if it had
/// come at once.
fn began(ended: Timestamp, outcomes: &[AtomOutcome]) -> Timestamp {
    let took: u64 = outcomes.iter().map(|outcome| outcome.duration_ms).sum();
    Timestamp(ended.0.saturating_sub(took))
}

/// Records facts of the feed. `cluster` has taken them in already.
pub(crate) fn record(events: &EventLog, cluster: &Cluster, facts: &Facts) {
    // A reader takes the first entry after a start for the start, whatever was decided with it.
    let is_start =
        |event: &&Event| matches!(event.fact, Fact::Farm(FarmFact::MasterStarted { .. }));
    let facts = || facts.iter().map(|(_, event)| event);
    let others = facts().filter(|event| !is_start(event));
    let in_order = facts().filter(is_start).chain(others);
    events.record(in_order.flat_map(|event| entries(event, cluster)));
}

fn of_build(tag: &'static str, build: BuildId) -> Entry {
    Entry::new(tag).with("build_id", build.0)
}

fn of_slave(tag: &'static str, slave: SlaveId) -> Entry {
    Entry::new(tag).with("slave_id", slave.0)
}

fn of_subjob(tag: &'static str, build: BuildId, subjob: SubjobId, slave: SlaveId) -> Entry {
    Entry::new(tag)
        .with("build_id", build.0)
        .with("subjob_id", subjob.0)
        .with("slave_id", slave.0)
}

fn prepared(build: BuildId, is_success: bool) -> Entry {
    of_build("BUILD_PREPARE_FINISH", build).with("is_success", is_success)
}

fn was_preparing(cluster: &Cluster, build: BuildId) -> bool {
    cluster.build(build).is_some_and(|build| {
        build.timestamps.preparing.is_some() && build.timestamps.prepared.is_none()
    })
}
