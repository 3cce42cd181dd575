//! Calls as the original makes them: with its bodies, the digest of the body or nothing as proof,
//! and never twice what its slaves would do twice.

use super::batch::encode;
use super::repeating::may_pass;
use super::{Callee, Order};
use clusterrunner_common::api::{SetupRequest, SubjobAccepted, SubjobRequest, Success};
use clusterrunner_common::auth::signature::content_digest;
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::ids::{BuildId, SessionId};
use clusterrunner_core::effect::{SetUp, SlaveCall};
use reqwest::Method;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// What the original's projects of type `directory` do not know.
const NOT_FOR_DIRECTORIES: &str = "atoms_override";

/// Where the original's slaves make a link to the project of each build, the same on each of them.
#[derive(Clone, Debug)]
pub(crate) struct ProjectLinks {
    /// The setting `build_symlink_directory`.
    pub directory: PathBuf,
    /// What keeps the links of two masters apart, and their names from being guessed.
    pub session: SessionId,
}

impl ProjectLinks {
    fn of(&self, build: BuildId) -> String {
        let name = content_digest(format!("{} {build}", self.session).as_bytes());
        let name = name.get(..32).unwrap_or(&name);
        self.directory.join(name).to_string_lossy().into_owned()
    }
}

/// Its slaves do what they hear twice, twice. Only an order to end may be repeated then.
pub(super) fn may_repeat(order: &Order, error: &CallError) -> bool {
    match order {
        Order::End => may_pass(error),
        Order::About(..) => error.never_arrived(),
    }
}

/// Whether the slave has refused. After anything else it is not known what it does.
pub(super) fn is_refusal(error: &CallError) -> bool {
    error
        .status()
        .is_some_and(|status| status.is_client_error())
}

/// The fields that the original sends, in the values that make its slave build what ours build.
fn setup_params(set_up: &SetUp, build: BuildId, links: &ProjectLinks) -> Map<String, Value> {
    let mut params = set_up.request.to_params();
    params.remove("hash");
    if let Some(commit) = &set_up.commit {
        // It takes whatever `git fetch` takes.
        params.insert("branch".to_owned(), Value::from(commit.as_str()));
    } else {
        params.remove(NOT_FOR_DIRECTORIES);
    }
    let link = links.of(build);
    params.insert("build_project_directory".to_owned(), Value::from(link));
    params
}

/// A slave of the original.
pub(super) struct OriginalSlave<'a> {
    pub(super) caller: &'a Caller,
    pub(super) callee: &'a Callee,
    pub(super) links: &'a ProjectLinks,
}

impl OriginalSlave<'_> {
    /// Gives the slave an order, once.
    pub(super) async fn tell(&self, order: &Order) -> Result<(), CallError> {
        let address = self.callee.url.split_once("://");
        let address = address.map_or(self.callee.url.as_str(), |(_, address)| address);
        let (build, call) = match order {
            Order::About(build, call) => (*build, call),
            Order::End => {
                let url = format!("{address}/v1/kill");
                return self.post::<Success>(&url, b"{}".to_vec()).await;
            }
        };
        let base = format!("{address}/v1/build/{build}");
        match call {
            SlaveCall::SetUp(set_up) => {
                let request = SetupRequest {
                    project_type_params: setup_params(set_up, build, self.links),
                    build_executor_start_index: set_up.start_index,
                    ..SetupRequest::default()
                };
                self.post::<Success>(&format!("{base}/setup"), encode(&request)?)
                    .await
            }
            SlaveCall::Start {
                subjob,
                atoms,
                command,
                ..
            } => {
                let atoms = atoms.iter();
                let request = SubjobRequest {
                    atomic_commands: atoms.map(|atom| format!("{atom} {command}")).collect(),
                    attempt: None,
                    timeout_s: None,
                    master: None,
                };
                let url = format!("{base}/subjob/{subjob}");
                self.post::<SubjobAccepted>(&url, encode(&request)?).await
            }
            // These are reads, made elsewhere.
            SlaveCall::KeepConsoles(_) => Ok(()),
            // Not signed, as by the original: the digest of an empty body would open other routes.
            SlaveCall::TearDown => {
                let (url, headers) = (format!("{base}/teardown"), self.expected_session());
                let answer =
                    self.caller
                        .send_unsigned::<Success>(Method::POST, &url, Vec::new(), &headers);
                answer.await.map(|_| ())
            }
        }
    }

    async fn post<T: serde::de::DeserializeOwned>(
        &self,
        url: &str,
        body: Vec<u8>,
    ) -> Result<(), CallError> {
        let headers = self.expected_session();
        let answer = self
            .caller
            .send_to_original::<T>(Method::POST, url, body, &headers);
        answer.await.map(|_| ())
    }

    /// None where the slave did not tell its session.
    fn expected_session(&self) -> Vec<(&'static str, String)> {
        let session = Some(self.callee.session.to_string()).filter(|session| !session.is_empty());
        let header = session.map(|session| ("expected-session-id", session));
        header.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::slave_calls::set_up;
    use serde_json::json;

    fn check(params: &Value, commit: Option<&str>, expected: &Value) {
        let set_up = set_up::tests::set_up(params, commit);
        let links = ProjectLinks {
            directory: PathBuf::from("/links"),
            session: SessionId("s".to_owned()),
        };
        let mut made = setup_params(&set_up, BuildId(7), &links);
        let link = made.remove("build_project_directory").unwrap();
        assert!(link.as_str().unwrap().starts_with("/links/"), "{link}");
        assert_eq!(&Value::Object(made), expected);
    }

    #[test]
    fn a_set_up_has_only_what_the_original_knows() {
        check(
            &json!({"type": "git", "url": "u", "hash": "abcd", "atoms_override": ["a"]}),
            Some("0123"),
            &json!({"type": "git", "url": "u", "branch": "0123", "atoms_override": ["a"]}),
        );
        check(
            &json!({"type": "directory", "project_directory": "/p", "atoms_override": ["a"]}),
            None,
            &json!({"type": "directory", "project_directory": "/p"}),
        );
    }
}
