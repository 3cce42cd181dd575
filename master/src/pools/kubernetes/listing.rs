//! How far jobs are, and what is wrong with them in words, from what a cluster lists of them and of their pods.

use super::manifests::NAME_LABEL;
use crate::pools::api_error::told;
use clusterrunner_core::pools::{Listed, ListedState};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a job waits for that has no pod yet.
const NO_POD: &str = "no pod yet";

/// Why a container waits where all is well.
const USUAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    uid: String,
    labels: BTreeMap<String, String>,
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize)]
struct Job {
    metadata: Metadata,
    #[serde(default)]
    status: JobStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobStatus {
    conditions: Option<Vec<Condition>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodStatus {
    phase: String,
    reason: Option<String>,
    message: Option<String>,
    conditions: Option<Vec<Condition>>,
    init_container_statuses: Option<Vec<Container>>,
    container_statuses: Option<Vec<Container>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    state: ContainerState,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<Waiting>,
    terminated: Option<Terminated>,
}

#[derive(Deserialize)]
struct Waiting {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated {
    #[serde(default)]
    exit_code: i64,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// The jobs whose names begin with `prefix`.
pub(super) fn read(
    jobs: Vec<Value>,
    pods: Vec<Value>,
    prefix: &str,
) -> Result<Vec<Listed>, serde_json::Error> {
    let mut of_jobs: BTreeMap<String, Vec<Pod>> = BTreeMap::new();
    for pod in pods {
        let pod: Pod = serde_json::from_value(pod)?;
        if let Some(name) = pod.metadata.labels.get(NAME_LABEL) {
            of_jobs.entry(name.clone()).or_default().push(pod);
        }
    }
    let mut listed = Vec::new();
    for job in jobs {
        let job: Job = serde_json::from_value(job)?;
        if !job.metadata.name.starts_with(prefix) {
            continue;
        }
        let pods = of_jobs.remove(&job.metadata.name).unwrap_or_default();
        listed.push(Listed {
            state: state(&job, &pods),
            name: job.metadata.name,
            id: job.metadata.uid,
        });
    }
    Ok(listed)
}

/// Whether nothing more is known of why a job waits.
pub(super) fn has_no_pod(listed: &Listed) -> bool {
    matches!(&listed.state, ListedState::Queued { why: Some(why) } if why == NO_POD)
}

/// The last thing that a cluster warns of, if it does.
pub(super) fn warning(events: &[Value]) -> Option<String> {
    let last: Event = serde_json::from_value(events.last()?.clone()).ok()?;
    said(last.reason.as_deref(), last.message.as_deref())
}

/// Says why a job waits.
pub(super) fn explain(listed: &mut Listed, why: String) {
    listed.state = ListedState::Queued { why: Some(why) };
}

fn state(job: &Job, pods: &[Pod]) -> ListedState {
    let conditions = job.status.conditions.iter().flatten();
    let holds = |kinds: &[&str]| {
        let mut conditions = conditions.clone();
        conditions.find(|one| kinds.contains(&one.kind.as_str()) && one.status == "True")
    };
    if let Some(failed) = holds(&["Failed", "FailureTarget"]) {
        // A pod says more than its job, which only counts it.
        let of_pod = pods.iter().find_map(Pod::end);
        let of_job = said(failed.reason.as_deref(), failed.message.as_deref());
        return ListedState::Ended {
            why: of_pod.or(of_job).or(Some("the job failed".to_owned())),
        };
    }
    if holds(&["Complete", "SuccessCriteriaMet"]).is_some() {
        return ListedState::Ended { why: None };
    }
    if job.metadata.deletion_timestamp.is_some() {
        return ListedState::Ended {
            why: Some("the job was deleted".to_owned()),
        };
    }
    match pods.last() {
        Some(pod) => pod.state(),
        None => ListedState::Queued {
            why: Some(NO_POD.to_owned()),
        },
    }
}

impl Pod {
    fn state(&self) -> ListedState {
        match self.status.phase.as_str() {
            // The job says it soon.
            "Succeeded" => return ListedState::Ended { why: None },
            "Failed" => return ListedState::Ended { why: self.end() },
            _ => {}
        }
        let conditions = self.status.conditions.iter().flatten();
        let mut unscheduled =
            conditions.filter(|one| one.kind == "PodScheduled" && one.status != "True");
        if let Some(one) = unscheduled.next() {
            return ListedState::Queued {
                why: said(one.reason.as_deref(), one.message.as_deref()),
            };
        }
        match self.hindrance() {
            Some(why) => ListedState::Hindered { why },
            None => ListedState::Running,
        }
    }

    fn containers(&self) -> impl Iterator<Item = &Container> {
        let initial = self.status.init_container_statuses.iter().flatten();
        initial.chain(self.status.container_statuses.iter().flatten())
    }

    /// What is in the way of its containers.
    fn hindrance(&self) -> Option<String> {
        self.containers().find_map(|container| {
            let waiting = container.state.waiting.as_ref()?;
            let reason = waiting.reason.as_deref().unwrap_or_default();
            match reason.is_empty() || USUAL.contains(&reason) {
                true => None,
                false => said(Some(reason), waiting.message.as_deref()),
            }
        })
    }

    /// How it ended, if it ended badly.
    fn end(&self) -> Option<String> {
        let of_pod = said(
            self.status.reason.as_deref(),
            self.status.message.as_deref(),
        );
        of_pod.or_else(|| {
            self.containers().find_map(|container| {
                let ended = container.state.terminated.as_ref()?;
                if ended.exit_code == 0 {
                    return None;
                }
                let reason = ended.reason.as_deref().filter(|reason| *reason != "Error");
                let how = format!(
                    "the container {} ended with {}",
                    container.name, ended.exit_code
                );
                Some(match said(reason, ended.message.as_deref()) {
                    Some(said) => format!("{how}, {said}"),
                    None => how,
                })
            })
        })
    }
}

/// A reason and what is said of it.
fn said(reason: Option<&str>, message: Option<&str>) -> Option<String> {
    let reason = reason.unwrap_or_default();
    match (reason, told(message.unwrap_or_default())) {
        ("", message) if message.is_empty() => None,
        ("", message) => Some(message),
        (reason, message) if message.is_empty() => Some(reason.to_owned()),
        (reason, message) => Some(format!("{reason}: {message}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What is read of one job with this status, whose pod has that.
    fn read_one(job: Value, pod: Option<Value>) -> ListedState {
        let metadata =
            json!({ "name": "cr-f-a-1", "uid": "u", "labels": { NAME_LABEL: "cr-f-a-1" } });
        let jobs = vec![json!({ "metadata": metadata, "status": job })];
        let pods = pod.map(|status| json!({ "metadata": metadata, "status": status }));
        let mut listed = read(jobs, pods.into_iter().collect(), "cr-f-a-").unwrap();
        assert_eq!(listed[0].id, "u");
        listed.remove(0).state
    }

    fn ended(why: &str) -> ListedState {
        let why = Some(why.to_owned());
        ListedState::Ended { why }
    }

    #[test]
    fn a_job_is_as_far_as_its_pod() {
        let active = || json!({ "active": 1 });
        let why = Some("no pod yet".to_owned());
        assert_eq!(read_one(json!({}), None), ListedState::Queued { why });
        let unschedulable = json!({ "phase": "Pending", "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available" },
        ] });
        let why = Some("Unschedulable: 0/3 nodes are available".to_owned());
        assert_eq!(
            read_one(active(), Some(unschedulable)),
            ListedState::Queued { why }
        );
        let waiting = |reason: &str| {
            json!({ "phase": "Pending", "containerStatuses": [
                { "name": "slave", "state": { "waiting": { "reason": reason, "message": "Back-off pulling" } } },
            ] })
        };
        let why = "ImagePullBackOff: Back-off pulling".to_owned();
        let pulling = read_one(active(), Some(waiting("ImagePullBackOff")));
        assert_eq!(pulling, ListedState::Hindered { why });
        let creating = read_one(active(), Some(waiting("ContainerCreating")));
        assert_eq!(creating, ListedState::Running);
        let running = json!({ "phase": "Running", "containerStatuses": [{ "name": "slave", "state": { "running": {} } }] });
        assert_eq!(read_one(active(), Some(running)), ListedState::Running);
    }

    #[test]
    fn how_a_job_ended_is_said_by_its_pod_or_else_by_itself() {
        let failed = || {
            json!({ "conditions": [{ "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
                "message": "Job has reached the specified backoff limit" }] })
        };
        let evicted = json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on memory." });
        let why = "Evicted: The node was low on memory.";
        assert_eq!(read_one(failed(), Some(evicted.clone())), ended(why));
        assert_eq!(read_one(json!({}), Some(evicted)), ended(why));
        let killed = json!({ "phase": "Failed", "containerStatuses": [
            { "name": "slave", "state": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } } },
        ] });
        let why = "the container slave ended with 137, OOMKilled";
        assert_eq!(read_one(failed(), Some(killed)), ended(why));
        let why = "BackoffLimitExceeded: Job has reached the specified backoff limit";
        assert_eq!(read_one(failed(), None), ended(why));
        let complete = json!({ "conditions": [{ "type": "Complete", "status": "True" }] });
        assert_eq!(read_one(complete, None), ListedState::Ended { why: None });
    }

    #[test]
    fn jobs_of_others_are_left_alone_and_what_is_no_job_is_an_error() {
        let other = json!({ "metadata": { "name": "other" } });
        assert_eq!(read(vec![other], Vec::new(), "cr-").unwrap(), []);
        assert!(read(vec![json!({})], Vec::new(), "cr-").is_err());
        let events =
            [json!({ "reason": "FailedCreate", "message": "pods are forbidden: exceeded quota" })];
        let why = "FailedCreate: pods are forbidden: exceeded quota";
        assert_eq!(warning(&events).as_deref(), Some(why));
    }
}
