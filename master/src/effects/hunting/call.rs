//! The call to a slave that is a hunt: it lasts as long.

use crate::core::Cluster;
use crate::core::hunting::Hunt;
use clusterrunner_common::api::{HuntAnswer, HuntEnd, HuntRequest};
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::ids::{BuildId, Incarnation, SessionId};
use clusterrunner_common::job::config::TimeLimit;
use clusterrunner_common::work::MasterMark;
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
    incarnation: Incarnation,
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
    pub(super) async fn make(self, caller: &Caller, life: SessionId, position: u64) -> Outcome {
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
            master: MasterMark {
                incarnation: self.incarnation,
                session_id: life,
                position,
            },
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
