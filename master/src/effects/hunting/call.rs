//! One hunt as a call to a slave: the call is open until the hunt ends.

use clusterrunner_common::api::{HuntAnswer, HuntRequest};
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::ids::{BuildId, Incarnation, SessionId};
use clusterrunner_common::job::config::TimeLimit;
use clusterrunner_common::work::HuntEnd;
use clusterrunner_common::work::MasterMark;
use clusterrunner_core::Cluster;
use clusterrunner_core::hunting::Hunt;
use reqwest::{Method, StatusCode};

/// How many bytes an answer may have beside those that only say that the hunt goes on.
const MAX_ANSWER: usize = 1024;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The hunt came to an end.
    Ended(HuntEnd),
    /// The slave did not begin it.
    Refused {
        /// It does not know hunts.
        is_unable: bool,
    },
}

/// A call that is to be made.
#[derive(Debug)]
pub(super) struct Call {
    url: String,
    session: SessionId,
    pub(super) incarnation: Incarnation,
    request: Asked,
}

/// [`HuntRequest`] without the moment at which it is made.
#[derive(Debug)]
struct Asked {
    build: BuildId,
    hunt: Hunt,
    atom: String,
    command: String,
    timeout_s: Option<u64>,
}

impl Call {
    /// The call for a hunt; none if what it is about is no more.
    pub(super) fn of(cluster: &Cluster, hunt: &Hunt) -> Option<Self> {
        let slave = cluster.slave(hunt.slave)?;
        let build = cluster.build(hunt.build)?;
        let plan = build.plan.as_ref()?;
        Some(Self {
            url: slave.url.clone(),
            session: slave.session.clone(),
            incarnation: cluster.lineage().incarnation()?.clone(),
            request: Asked {
                build: hunt.build,
                hunt: hunt.clone(),
                atom: build.shell_atom(hunt.subjob)?,
                command: plan.command.clone(),
                timeout_s: plan.timeouts.atom.and_then(TimeLimit::seconds),
            },
        })
    }

    /// Waits for the end of the hunt. To be dropped where nobody waits for it any more.
    pub(super) async fn make(self, caller: &Caller, master: MasterMark) -> Outcome {
        let Asked {
            build,
            hunt,
            atom,
            command,
            timeout_s,
        } = self.request;
        let request = HuntRequest {
            subjob_id: hunt.subjob,
            attempt: hunt.attempt,
            atom,
            command,
            timeout_s,
            master,
        };
        let url = format!("{}/v1/build/{build}/hunt", self.url);
        let answer = caller.send_for_stream(Method::POST, &url, &request, Some(&self.session));
        let mut answer = match answer.await {
            Ok(answer) => answer,
            Err(error) => return refused(&error),
        };
        let mut text = Vec::new();
        while let Ok(Some(piece)) = answer.chunk().await {
            text.extend(piece.iter().filter(|byte| !byte.is_ascii_whitespace()));
            if text.len() > MAX_ANSWER {
                break;
            }
        }
        let answer = serde_json::from_slice::<HuntAnswer>(&text);
        Outcome::Ended(answer.map_or(HuntEnd::Dropped, |answer| answer.end))
    }
}

fn refused(error: &CallError) -> Outcome {
    tracing::debug!(%error, "a slave took no hunt");
    let unknown = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
    let is_unable = error
        .status()
        .is_some_and(|status| unknown.contains(&status));
    Outcome::Refused { is_unable }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::auth::secret::Secret;
    use clusterrunner_common::ids::{Attempt, SlaveId, SubjobId};
    use serde_json::json;
    use std::time::Duration;

    /// What becomes of a call to a slave that answers everything like this.
    async fn answered(status: StatusCode, body: serde_json::Value) -> Outcome {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = listener.local_addr().unwrap().to_string();
        let slave = axum::Router::new().fallback(move || {
            let body = body.clone();
            async move { (status, axum::Json(body)) }
        });
        let serving = tokio::spawn(async move { axum::serve(listener, slave).await });
        let hunt = Hunt {
            slave: SlaveId(1),
            build: BuildId(1),
            subjob: SubjobId(2),
            attempt: Attempt(3),
        };
        let call = Call {
            url,
            session: SessionId("s".to_owned()),
            incarnation: Incarnation("i".to_owned()),
            request: Asked {
                build: hunt.build,
                hunt,
                atom: "export A=1;".to_owned(),
                command: "true".to_owned(),
                timeout_s: None,
            },
        };
        let secret = Secret::new("a secret for tests".to_owned()).unwrap();
        let caller = Caller::new(Some(secret), Duration::from_secs(60)).unwrap();
        let outcome = call.make(&caller, mark()).await;
        serving.abort();
        outcome
    }

    fn mark() -> MasterMark {
        MasterMark {
            incarnation: Incarnation("i".to_owned()),
            session_id: SessionId("m".to_owned()),
            position: 7,
            proof: None,
        }
    }

    #[tokio::test]
    async fn a_slave_that_knows_no_hunts_is_asked_no_more_and_one_that_is_busy_is() {
        for (status, is_unable) in [
            (StatusCode::NOT_FOUND, true),
            (StatusCode::METHOD_NOT_ALLOWED, true),
            (StatusCode::CONFLICT, false),
            (StatusCode::PRECONDITION_FAILED, false),
        ] {
            let outcome = answered(status, json!({"error": "No."})).await;
            assert_eq!(outcome, Outcome::Refused { is_unable }, "{status}");
        }
        let garbage = answered(StatusCode::OK, json!([1])).await;
        assert_eq!(garbage, Outcome::Ended(HuntEnd::Dropped));
    }
}
