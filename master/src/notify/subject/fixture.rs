//! A build for tests of requests.

use super::{ProjectOrigin, Subject};
use clusterrunner_common::clock::Timestamp;
use serde_json::{Value, json};

pub(in crate::notify) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A finished build of a repository, with some fields of its page in place of the usual ones.
pub(in crate::notify) fn subject(repository: &str, fields: &Value) -> Subject {
    let mut view = json!({
        "id": 7,
        "status": "FINISHED",
        "details": "20 of 20 subjobs are complete (100.0%).",
        "error_message": null,
        "num_atoms": 20,
        "num_subjobs": 20,
        "failed_atoms": [],
        "result": "NO_FAILURES",
        "request_params": {"type": "git", "url": repository, "branch": "main"},
        "state_timestamps": {"queued": 1_700_000_000.0, "finished": 1_700_000_185.0},
        "commit": COMMIT,
        "job_name": "Unit",
        "num_atoms_completed": 20,
    });
    for (name, value) in fields.as_object().unwrap() {
        view[name] = value.clone();
    }
    let request = serde_json::from_value(view["request_params"].clone()).unwrap();
    Subject {
        view: serde_json::from_value(view).unwrap(),
        queued: Timestamp(1_700_000_000_000),
        place: ProjectOrigin::of(&request),
        commit: Some(COMMIT.to_owned()),
        branch: Some("main".to_owned()),
        job: Some("Unit".to_owned()),
    }
}
