//! The receivers of notices, and which builds each is told of. Pure.

use super::statuses;
use super::subject::{ProjectOrigin, is_full_commit};
use clusterrunner_common::settings::{Forge, NotifyReceiver, NotifyTarget, OnFinish};
use clusterrunner_common::text::path_pattern::fits;
use clusterrunner_common::work::{BuildEvent, BuildRequest, ProjectSource};
use std::collections::BTreeSet;

/// The name of the command on this machine among the receivers; no section can have it.
const COMMAND: &str = "on_finish";

/// Someone who is told of builds.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) name: String,
    events: BTreeSet<BuildEvent>,
    projects: Vec<String>,
    pub(super) how: How,
}

/// How a receiver is told.
#[derive(Clone, Debug)]
pub(super) enum How {
    /// By a request.
    Request {
        /// Which one.
        receiver: NotifyReceiver,
        /// Authorities that are trusted beside the system's.
        authorities: Vec<reqwest::Certificate>,
    },
    /// By a command on this machine.
    Command(OnFinish),
}

impl Target {
    /// The receivers that the settings name.
    pub(super) fn all(notify: Vec<NotifyTarget>, on_finish: Option<OnFinish>) -> Vec<Self> {
        let requests = notify.into_iter().map(|target| Self {
            name: target.name,
            events: target.events,
            projects: target.projects,
            how: How::Request {
                receiver: target.receiver,
                authorities: target.authorities,
            },
        });
        let command = on_finish.map(|on_finish| Self {
            name: COMMAND.to_owned(),
            events: BuildEvent::ALL
                .into_iter()
                .filter(|event| event.is_end())
                .collect(),
            projects: Vec::new(),
            how: How::Command(on_finish),
        });
        requests.chain(command).collect()
    }

    /// What it is, in one word.
    pub(super) fn kind(&self) -> &'static str {
        match &self.how {
            How::Command(_) => "command",
            How::Request { receiver, .. } => match receiver {
                NotifyReceiver::Webhook(_) => "webhook",
                NotifyReceiver::CommitStatuses(to) => match to.forge {
                    Forge::GitHub => "github",
                    Forge::GitLab => "gitlab",
                    Forge::Gitea => "gitea",
                },
            },
        }
    }

    /// What is told, in order.
    pub(super) fn events(&self) -> impl Iterator<Item = BuildEvent> {
        self.events.iter().copied()
    }

    /// Patterns of which a project must fit one; none for all projects.
    pub(super) fn projects(&self) -> &[String] {
        &self.projects
    }

    /// Whether only what a build has come to last is told.
    pub(super) fn is_only_latest(&self) -> bool {
        match &self.how {
            How::Request { receiver, .. } => match receiver {
                NotifyReceiver::Webhook(_) => false,
                NotifyReceiver::CommitStatuses(_) => true,
            },
            How::Command(_) => false,
        }
    }

    /// Whether an event is told of the builds that are told of.
    pub(super) fn wants(&self, event: BuildEvent) -> bool {
        self.events.contains(&event)
    }

    /// Whether a build is told of.
    pub(super) fn wants_build(&self, request: &BuildRequest) -> bool {
        let place = ProjectOrigin::of(request);
        let name = place.name();
        let is_of_project =
            self.projects.is_empty() || self.projects.iter().any(|pattern| fits(pattern, &name));
        is_of_project
            && match &self.how {
                How::Request {
                    receiver: NotifyReceiver::CommitStatuses(known),
                    ..
                } => is_of_whole_commit(request) && statuses::is_there(known, &place),
                How::Request { .. } | How::Command(_) => true,
            }
    }
}

/// Whether a build tells something of its commit as a whole. One of chosen atoms, or of a job that the request brings
/// along, does not, but for what is run again of a build of the same commit.
fn is_of_whole_commit(request: &BuildRequest) -> bool {
    let names_commit = matches!(
        &request.project,
        ProjectSource::Git { hash: Some(hash), .. } if is_full_commit(hash)
    );
    let is_again = request.retry_of.is_some() && names_commit;
    let is_chosen = request.atoms_override.is_some() && !is_again;
    // No server knows the commit of a working tree.
    let is_known = request.working_tree.is_none();
    is_known && !request.in_order && request.config.is_none() && !is_chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_part_of_the_atoms_says_nothing_of_a_commit() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        let atoms = json!(["export N=\"1\";"]);
        let is_whole = |fields: Value| {
            let mut request = json!({"type": "git", "url": "https://github.com/acme/web"});
            for (name, value) in fields.as_object().unwrap() {
                request[name] = value.clone();
            }
            is_of_whole_commit(&serde_json::from_value(request).unwrap())
        };
        for (fields, expected) in [
            (json!({}), true),
            (json!({"retry_of": 5}), true),
            (json!({"atoms_override": atoms}), false),
            (json!({"atoms_override": atoms, "retry_of": 5}), false),
            (
                json!({"atoms_override": atoms, "retry_of": 5, "hash": hash}),
                true,
            ),
            (json!({"atoms_override": atoms, "hash": hash}), false),
            (json!({"working_tree": {"files": 1}, "hash": hash}), false),
            (json!({"config": {}, "retry_of": 5, "hash": hash}), false),
            (
                json!({"in_order": true, "retry_of": 5, "hash": hash}),
                false,
            ),
        ] {
            assert_eq!(is_whole(fields.clone()), expected, "{fields}");
        }
    }
}
