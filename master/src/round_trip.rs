//! Whether what is accepted can be read again: a request on its way through the door and into the journal's records,
//! and back. Nothing is stored. Property tests and fuzzers drive it.

use crate::http::clusterrunner::checked_request;
use crate::journal;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::job::file::read_job;
use clusterrunner_common::remote_files::RemoteFileRules;
use clusterrunner_common::text::json;
use clusterrunner_common::work::BuildRequest;
use clusterrunner_core::Cluster;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::{BuildFact, Event, Fact};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;
use std::path::Path;

/// How many atoms a build gets here where the request names none.
const ATOMS: u64 = 3;

/// What became of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The door refuses it.
    Refused,
    /// It is accepted, and all that is stored of it reads back as it was.
    ReadsBack,
}

/// Takes the body of a `POST /v1/build` as the master does: parses and checks it, queues the build, prepares it if
/// it brings its job along, and writes and reads the records of all that as the journal, its snapshots and its
/// exports do.
///
/// # Errors
/// It is accepted, and what is read back is not what was written: which part, and why.
pub fn build_request(body: &[u8]) -> Result<Outcome, String> {
    let Ok(body) = json::from_slice::<Value>(body) else {
        return Ok(Outcome::Refused);
    };
    let rules = RemoteFileRules {
        allow_local_sources: true,
        ..RemoteFileRules::default()
    };
    let Ok(request) = checked_request(&body, &rules) else {
        return Ok(Outcome::Refused);
    };
    let mut cluster = Cluster::default();
    let plan = plan_of(&request);
    let request = Box::new(request);
    let mut events = happen(
        &mut cluster,
        Command::QueueBuild {
            by: Actor::SecretHolder,
            request,
        },
    )?;
    while let Some(event) = cluster.follow_up(Timestamp(2)) {
        cluster.apply(&event);
        events.push(event);
    }
    let build = queued(&events).ok_or("no build is queued")?;
    if let Some(plan) = plan {
        let plan = Box::new(plan);
        events.extend(happen(
            &mut cluster,
            Command::ReportPrepared { build, plan },
        )?);
    }
    journal::check_events(&events).map_err(|error| error.to_string())?;
    let mut replayed = Cluster::default();
    for event in &events {
        replayed.apply(event);
    }
    if replayed != cluster {
        return Err("replay leads to another state".to_owned());
    }
    let build = cluster.build(build).ok_or("the build is gone")?;
    for subjob in &build.subjobs {
        same("a subjob", subjob.as_ref())?;
    }
    same("the request as it is shown", &build.request.to_params())?;
    // A snapshot has the cluster, its builds, and their subjobs apart.
    let mut read: Build = read_back("the build", build)?;
    read.subjobs.clone_from(&build.subjobs);
    let restored = read_back("the cluster", &cluster)?.restore([read]);
    match restored == cluster {
        true => Ok(Outcome::ReadsBack),
        false => Err(format!(
            "the state was {cluster:?} and a snapshot of it reads {restored:?}"
        )),
    }
}

fn happen(cluster: &mut Cluster, command: Command) -> Result<Vec<Event>, String> {
    let events = cluster.decide(command, Timestamp(1));
    let events = events.map_err(|refusal| format!("refused: {refusal}"))?;
    for event in &events {
        cluster.apply(event);
    }
    Ok(events)
}

fn queued(events: &[Event]) -> Option<BuildId> {
    events.iter().find_map(|event| match &event.fact {
        Fact::Build(build, BuildFact::Queued { .. }) => Some(*build),
        _ => None,
    })
}

/// The plan of a build whose request brings a job along; a job that is wrong is the build's own error.
fn plan_of(request: &BuildRequest) -> Option<Plan> {
    let config = request.config.as_ref()?;
    let name = request.job_name.as_deref();
    let (job_name, job) = read_job(Some(config), name, Path::new("/")).ok()?;
    let numbered = (0..ATOMS).map(|number| format!("export N=\"{number}\";"));
    let atoms = request.atoms_override.clone();
    Some(Plan {
        atoms: atoms.unwrap_or_else(|| numbered.collect()),
        ..Plan::of(job_name, job)
    })
}

/// Sees to it that a value reads as it was written.
fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    what: &str,
    value: &T,
) -> Result<(), String> {
    let read = read_back(what, value)?;
    match read == *value {
        true => Ok(()),
        false => Err(format!("{what} was {value:?} and reads {read:?}")),
    }
}

/// What is read of a value that was written.
fn read_back<T: Serialize + DeserializeOwned>(what: &str, value: &T) -> Result<T, String> {
    let text = serde_json::to_vec(value).map_err(|error| format!("{what}: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| format!("{what} can not be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// JSON of any shape, also deeper than is allowed.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[a-z$\"\\\\\u{0}-\u{1f}]{0,6}".prop_map(Value::from),
        ];
        let grown = leaf.prop_recursive(6, 60, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((any_name(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        });
        (grown, 0..40_usize, any::<bool>()).prop_map(|(mut value, levels, lists)| {
            for _ in 0..levels.saturating_sub(10) {
                value = if lists {
                    json!([value])
                } else {
                    json!({"in": value})
                };
            }
            value
        })
    }

    fn any_name() -> impl Strategy<Value = String> {
        let known = "(type|url|commands|atomizers|setup_build|timeout|max_executors|\\$serde_json::private::Number)";
        prop_oneof![known, any::<String>(), "[a-z ]{0,3}"]
    }

    fn any_body() -> impl Strategy<Value = Value> {
        let field = prop_oneof![any_json(), "[ -~]{0,10}".prop_map(Value::from)];
        let job = json!({"commands": ["true"], "atomizers": [{"N": "seq 3"}]});
        let config =
            (any_json(), any_name(), any::<bool>()).prop_map(move |(value, name, whole)| {
                if whole {
                    return value;
                }
                let mut job = job.clone();
                job[name] = value;
                job
            });
        let text = "\\PC{0,8}".prop_map(Value::from);
        (
            any::<bool>(),
            prop::option::of(config),
            prop::option::of(text),
            prop::option::of(prop::collection::vec("\\PC{0,20}", 0..4)),
            prop::option::weighted(0.1, (any_name(), field)),
        )
            .prop_map(|(is_git, config, job_name, atoms, other)| {
                let mut body = match is_git {
                    true => json!({"type": "git", "url": "https://example.org/r"}),
                    false => json!({"type": "directory", "project_directory": "/tmp"}),
                };
                let fields = [
                    ("config", config),
                    ("job_name", job_name),
                    ("atoms_override", atoms.map(Value::from)),
                ];
                for (name, value) in fields {
                    if let Some(value) = value {
                        body[name] = value;
                    }
                }
                if let Some((name, value)) = other {
                    body[name] = value;
                }
                body
            })
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_reads_back(body in any_body()) {
            let text = body.to_string();
            let outcome = build_request(text.as_bytes());
            prop_assert!(outcome.is_ok(), "{outcome:?}: {text}");
        }
    }

    #[test]
    fn what_is_nested_as_deeply_as_may_be_reads_back() {
        let body = |levels: usize| {
            let nested = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
            format!(
                r#"{{"type":"directory","project_directory":"/tmp","config":{{"commands":["true"],"x":{nested}}}}}"#
            )
        };
        assert_eq!(
            build_request(body(json::MOST_LEVELS - 2).as_bytes()),
            Ok(Outcome::ReadsBack)
        );
        for levels in [json::MOST_LEVELS - 1, 124, 125, 126] {
            assert_eq!(
                build_request(body(levels).as_bytes()),
                Ok(Outcome::Refused),
                "{levels}"
            );
        }
        let good = json!({"type": "git", "url": "https://example.org/r", "config": {"commands": ["true"]}});
        assert_eq!(
            build_request(good.to_string().as_bytes()),
            Ok(Outcome::ReadsBack)
        );
    }
}
