//! The statuses of a build as this API shows them. Pure.

use crate::http::polyaxon::{times, uuids};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::status::Status;
use clusterrunner_core::builds::statuses::{StatusCause, StatusChange};
use clusterrunner_core::builds::subjob::Subjob;
use serde::Serialize;
use serde_json::Value;

/// How many ids of statuses each build has: more than it can have statuses. So an id is never given to two statuses,
/// grows from status to status and from build to build, and has not to be stored.
const IDS_OF_A_BUILD: u64 = 1000;

/// A status.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::http::polyaxon) struct StatusView {
    id: u64,
    pub(in crate::http::polyaxon) uuid: String,
    created_at: String,
    pub(in crate::http::polyaxon) message: Option<String>,
    pub(in crate::http::polyaxon) status: &'static str,
    details: Option<Value>,
    job: BuildId,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceback: Option<String>,
}

/// The word for a status.
pub(in crate::http::polyaxon) fn word(status: Status) -> &'static str {
    match status {
        Status::Created => "created",
        Status::Scheduled => "scheduled",
        Status::Building => "building",
        Status::Running => "running",
        Status::Succeeded => "succeeded",
        Status::Failed => "failed",
        Status::Stopped => "stopped",
        Status::Unknown => "unknown",
    }
}

/// The status of a word.
pub(in crate::http::polyaxon) fn named(text: &str) -> Option<Status> {
    let all = [
        Status::Created,
        Status::Scheduled,
        Status::Building,
        Status::Running,
        Status::Succeeded,
        Status::Failed,
        Status::Stopped,
        Status::Unknown,
    ];
    all.into_iter().find(|status| word(*status) == text)
}

/// The words of all statuses, for a sentence.
pub(in crate::http::polyaxon) const WORDS: &str =
    "created, scheduled, building, running, succeeded, failed, stopped, unknown";

/// All statuses of a build. `subjobs` are at least those with failed atoms.
pub(in crate::http::polyaxon) fn of_build<'a>(
    build: &Build,
    subjobs: impl Iterator<Item = &'a Subjob>,
) -> Vec<StatusView> {
    let created = build.timestamps.queued.unwrap_or(Timestamp(0));
    let mut subjobs = Some(subjobs);
    let statuses = build.statuses();
    let numbered = statuses.iter().enumerate();
    let views = numbered.map(|(place, change)| StatusView {
        id: build.id.0.saturating_mul(IDS_OF_A_BUILD) + place as u64 + 1,
        uuid: uuids::of_status(build.id, created, place),
        created_at: times::shown(change.at),
        message: message(build, change, &mut subjobs),
        status: word(change.status),
        details: None,
        job: build.id,
        traceback: match change.cause {
            StatusCause::Posted(posted) => posted.traceback.clone(),
            _ => None,
        },
    });
    views.collect()
}

/// What is said beside a status. `subjobs` are looked at once at most: there may be very many.
fn message<'a>(
    build: &Build,
    change: &StatusChange<'_>,
    subjobs: &mut Option<impl Iterator<Item = &'a Subjob>>,
) -> Option<String> {
    Some(match change.cause {
        StatusCause::Accepted => return None,
        StatusCause::SlaveChosen => {
            let slave = build.slave_urls.values().next()?;
            format!("Slave {slave} is chosen.")
        }
        StatusCause::SetupBegun => {
            "The slave fetches the source and prepares the workspace.".to_owned()
        }
        StatusCause::SlaveReady(slave) => {
            let url = build.slave_urls.get(&slave?)?;
            format!("The build runs on slave {url}.")
        }
        StatusCause::SlavesLost(reason) => sentence(reason),
        StatusCause::Finished { atoms_failed: 0 } => "Completed".to_owned(),
        StatusCause::Finished { atoms_failed } => {
            let first = subjobs
                .take()
                .and_then(|subjobs| first_failure(build, subjobs));
            let first = first.map_or_else(String::new, |first| format!(": {first}"));
            match build.num_atoms {
                1 => format!("The build failed{first}."),
                all => format!("{atoms_failed} of {all} atoms failed{first}."),
            }
        }
        StatusCause::Error(reason) => reason.to_owned(),
        StatusCause::Canceled => "BuildJob was stopped.".to_owned(),
        StatusCause::Posted(posted) => return posted.message.clone(),
    })
}

/// The first atom that failed, and how.
fn first_failure<'a>(
    build: &Build,
    mut subjobs: impl Iterator<Item = &'a Subjob>,
) -> Option<String> {
    let failed = subjobs.find(|subjob| build.has_failed(subjob))?;
    let (_, outcomes) = failed.result.as_ref()?;
    let mut atoms = failed.atoms.iter().zip(outcomes);
    let is_flaky = build.fails_as_flaky(failed);
    let (atom, outcome) = atoms.find(|(_, outcome)| is_flaky || outcome.exit_code != 0)?;
    let how = match outcome.trouble {
        Some(trouble) => trouble.to_string(),
        None if is_flaky => "passed only when it was run again".to_owned(),
        None => format!("exit code {}", outcome.exit_code),
    };
    Some(match build.num_atoms {
        1 => how,
        _ => format!("the first one is \"{atom}\", {how}"),
    })
}

/// A reason as a sentence.
fn sentence(reason: &str) -> String {
    let mut letters = reason.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    let sentence: String = first.chain(letters).collect();
    format!("{}.", sentence.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_a_word() {
        for text in WORDS.split(", ") {
            assert_eq!(named(text).map(word), Some(text));
        }
        assert_eq!(WORDS.split(", ").count(), 8);
        assert_eq!(named("done"), None);
        assert_eq!(named("Running"), None);
    }

    #[test]
    fn a_reason_is_told_as_a_sentence() {
        assert_eq!(
            sentence("slave a was lost: silent"),
            "Slave a was lost: silent."
        );
        assert_eq!(sentence("it ended."), "It ended.");
        assert_eq!(sentence(""), ".");
    }
}
