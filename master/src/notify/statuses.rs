//! The requests to servers that show the status of commits: GitHub, GitLab, Gitea. Pure.

use super::queue::Notice;
use super::request::Outgoing;
use super::subject::{ProjectOrigin, Subject};
use clusterrunner_common::api::BuildResult;
use clusterrunner_common::settings::{CommitStatuses, Forge};
use clusterrunner_common::text::printable::plain;
use clusterrunner_common::work::BuildEvent;
use reqwest::Url;
use serde_json::json;
use std::time::Duration;

/// How long a description may be: GitHub's limit is the lowest.
const LONGEST_DESCRIPTION: usize = 140;
/// How long the name of a status may be.
const LONGEST_CONTEXT: usize = 255;

/// What a status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waits,
    Runs,
    Succeeded,
    Failed,
    Error,
    Canceled,
}

/// The request that tells of a build; nothing where the build has no commit on that server. `page` is the address of the
/// build's page.
pub(super) fn request(
    statuses: &CommitStatuses,
    notice: &Notice,
    (subject, page): (&Subject, &str),
) -> Option<Outgoing> {
    // All builds of a matrix that were never prepared would share one status, which no later build takes back.
    if subject.job.is_none() && subject.view.parent.is_some() {
        return None;
    }
    let commit = subject.commit.as_deref()?;
    let url = address(statuses, &subject.place, commit)?;
    let state = word(statuses.forge, state(notice.event, subject));
    let description = description(notice.event, subject);
    let context = context(&statuses.context, subject);
    let body = match statuses.forge {
        Forge::GitHub | Forge::Gitea => json!({
            "state": state,
            "target_url": page,
            "description": description,
            "context": context,
        }),
        Forge::GitLab => json!({
            "state": state,
            "target_url": page,
            "description": description,
            "name": context,
        }),
    };
    Some(outgoing(statuses, url, body.to_string()))
}

/// The request that asks whose token it is, which tries the token and changes nothing.
pub(super) fn question(statuses: &CommitStatuses) -> Outgoing {
    let mut url = statuses.api_url.clone();
    url.set_path(&format!("{}/user", url.path().trim_end_matches('/')));
    outgoing(statuses, url, String::new())
}

/// A request with the token.
fn outgoing(statuses: &CommitStatuses, url: Url, body: String) -> Outgoing {
    let (headers, name, before) = match statuses.forge {
        Forge::GitHub => (
            vec![
                ("accept", "application/vnd.github+json".to_owned()),
                ("x-github-api-version", "2022-11-28".to_owned()),
            ],
            "authorization",
            "Bearer ",
        ),
        Forge::GitLab => (Vec::new(), "private-token", ""),
        Forge::Gitea => (Vec::new(), "authorization", "token "),
    };
    Outgoing {
        url,
        headers,
        token: Some((name, before, statuses.token.clone())),
        body,
    }
}

/// What tells the status of a build from all others: its commit, and its context.
pub(super) fn name(statuses: &CommitStatuses, subject: &Subject) -> String {
    let commit = subject.commit.as_deref().unwrap_or_default();
    let context = context(&statuses.context, subject);
    format!("{} {commit} {context}", subject.place.name())
}

/// Whether a project may be on that server.
pub(super) fn is_there(statuses: &CommitStatuses, place: &ProjectOrigin) -> bool {
    // Any text that is as long as a commit.
    address(statuses, place, "").is_some()
}

/// Whether an answer that is a refusal says that the status was there already: so does GitLab where it does not change.
pub(super) fn is_known_already(forge: Forge, status: u16, body: &str) -> bool {
    forge == Forge::GitLab && status == 400 && body.contains("Cannot transition status via")
}

/// Where the status of a commit is set. Only names that need no encoding are taken, so nothing in a request for a build can
/// lead elsewhere.
fn address(statuses: &CommitStatuses, place: &ProjectOrigin, commit: &str) -> Option<Url> {
    let ProjectOrigin::Server { host, path } = place else {
        return None;
    };
    if !statuses.hosts.contains(host) {
        return None;
    }
    // Where the server is below a path, repositories are as well, if they are fetched by HTTP.
    let root = statuses.api_url.path().split("/api/").next();
    let root = root.unwrap_or_default().trim_matches('/');
    let inside = path
        .strip_prefix(root)
        .and_then(|path| path.strip_prefix('/'));
    let path = match root {
        "" | "api" => path,
        _ => inside.unwrap_or(path),
    };
    let names: Vec<&str> = path.split('/').collect();
    let is_name = |name: &&str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-~+".contains(c);
        !name.is_empty() && *name != "." && *name != ".." && name.chars().all(is_plain)
    };
    if !names.iter().all(is_name) {
        return None;
    }
    let base = statuses.api_url.as_str().trim_end_matches('/');
    let address = match (statuses.forge, names.as_slice()) {
        (Forge::GitHub | Forge::Gitea, [owner, name]) => {
            format!("{base}/repos/{owner}/{name}/statuses/{commit}")
        }
        (Forge::GitHub | Forge::Gitea, _) => return None,
        (Forge::GitLab, [_, _, ..]) => {
            format!("{base}/projects/{}/statuses/{commit}", names.join("%2F"))
        }
        (Forge::GitLab, _) => return None,
    };
    Url::parse(&address).ok()
}

fn state(event: BuildEvent, subject: &Subject) -> State {
    match event {
        BuildEvent::Queued | BuildEvent::Preparing | BuildEvent::Prepared => State::Waits,
        BuildEvent::Building => State::Runs,
        BuildEvent::Failing => State::Failed,
        // Nothing was tested.
        BuildEvent::Finished if subject.view.lacks_atoms => State::Failed,
        BuildEvent::Finished => match subject.view.result {
            Some(BuildResult::NoFailures) => State::Succeeded,
            Some(BuildResult::Failure | BuildResult::Canceled) | None => State::Failed,
        },
        BuildEvent::Error => State::Error,
        BuildEvent::Canceled => State::Canceled,
    }
}

fn word(forge: Forge, state: State) -> &'static str {
    match (forge, state) {
        (Forge::GitHub | Forge::Gitea, State::Waits | State::Runs)
        | (Forge::GitLab, State::Waits) => "pending",
        (Forge::GitLab, State::Runs) => "running",
        (_, State::Succeeded) => "success",
        (Forge::GitHub | Forge::Gitea, State::Failed) => "failure",
        (Forge::GitHub | Forge::Gitea, State::Error | State::Canceled) => "error",
        (Forge::GitLab, State::Failed | State::Error) => "failed",
        (Forge::GitLab, State::Canceled) => "canceled",
    }
}

fn description(event: BuildEvent, subject: &Subject) -> String {
    let view = &subject.view;
    let all = view.num_atoms.unwrap_or(view.num_subjobs);
    let atoms = match all {
        1 => "1 atom".to_owned(),
        all => format!("{all} atoms"),
    };
    let failed = format!("{} of {atoms} failed", view.num_atoms_failed);
    let text = match event {
        BuildEvent::Queued => "Waits to be prepared".to_owned(),
        BuildEvent::Preparing => "Finds its atoms".to_owned(),
        BuildEvent::Prepared => format!("{atoms} wait for a slave"),
        BuildEvent::Building => format!("Runs {atoms}"),
        BuildEvent::Failing => format!("{failed} so far"),
        BuildEvent::Finished if view.lacks_atoms => "No atoms were found".to_owned(),
        BuildEvent::Finished => {
            let outcome = match view.num_atoms_failed {
                0 => format!("{atoms} passed"),
                _ => failed,
            };
            let flaky = match view.num_atoms_flaky.unwrap_or(0) {
                0 => String::new(),
                flaky => format!(", {flaky} flaky"),
            };
            let not_run = match view.num_atoms_not_run.unwrap_or(0) {
                0 => String::new(),
                not_run => format!(", {not_run} not run"),
            };
            let took = took(subject).map_or_else(String::new, |took| format!(" in {took}"));
            format!("{outcome}{flaky}{not_run}{took}")
        }
        BuildEvent::Error => {
            let reason = view.error_message.as_deref().unwrap_or_default();
            format!("Error: {}", reason.lines().next().unwrap_or_default())
        }
        BuildEvent::Canceled => "Canceled".to_owned(),
    };
    shortened(&plain(&text), LONGEST_DESCRIPTION)
}

/// How long the build took from its acceptance on.
fn took(subject: &Subject) -> Option<String> {
    let finished = subject.view.state_timestamps.get("finished").copied();
    let seconds = finished??.floor() - (subject.queued.as_unix_seconds()).floor();
    let seconds = Duration::try_from_secs_f64(seconds).ok()?.as_secs();
    Some(match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    })
}

fn context(pattern: &str, subject: &Subject) -> String {
    let job = subject.job.as_deref().unwrap_or("build");
    shortened(&plain(&pattern.replace("{job}", job)), LONGEST_CONTEXT)
}

/// The beginning of a text that is too long, in characters.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => {
            let kept: String = text.chars().take(most - 1).collect();
            format!("{kept}…")
        }
    }
}

#[cfg(test)]
mod tests;
