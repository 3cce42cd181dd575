//! Calling one slave, again and again where that may help, and what its answers mean.

use super::batch::{Batch, SetupBody};
use super::legacy::{self, ProjectLinks};
use super::orders::Orders;
use super::{Callee, Order, project};
use crate::coordinator::ClusterHandle;
use crate::core::command::Command;
use crate::core::effect::SlaveCall;
use crate::read::metrics::{InternalError, Measured};
use clusterrunner_common::api::{MasterMark, OrderAnswer, SlaveState, Success, TeardownRequest};
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::ids::SessionId;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use reqwest::{Method, StatusCode};
use std::time::Duration;
use tokio::sync::mpsc;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long a slave may leave a call unanswered. Its signs of life say only that it reaches the
/// master; where the master does not reach it, builds must not wait for it for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a slave may wait with its answer for the end of what it was told to do. Most set-ups and
/// tear-downs are done sooner, and need no report then; the others must not keep calls about other
/// builds waiting.
const WAIT_MS: u64 = 50;

/// The line to one slave.
pub(super) struct Line {
    pub(super) caller: Caller,
    pub(super) cluster: ClusterHandle,
    pub(super) measured: Measured,
    pub(super) callee: Callee,
    /// The life of this master.
    pub(super) life: SessionId,
    pub(super) patience: Duration,
    /// Given where the slave is one of the original.
    pub(super) legacy: Option<ProjectLinks>,
    pub(super) gives_projects: bool,
}

impl Line {
    /// Works until nobody can give it orders any more.
    pub(super) async fn carry_out(&self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let mut orders = Orders::new(self.legacy.is_some());
        let mut calls = FuturesUnordered::new();
        let mut is_open = true;
        loop {
            while is_open && orders.takes_more() {
                match inbox.try_recv() {
                    Ok(order) => orders.add(order),
                    Err(_) => break,
                }
            }
            while let Some((subject, batch)) = orders.next() {
                calls.push(async move {
                    self.carry_out_one(&batch).await;
                    subject
                });
            }
            tokio::select! {
                order = inbox.recv(), if is_open && orders.takes_more() => match order {
                    Some(order) => orders.add(order),
                    None => is_open = false,
                },
                Some(subject) = calls.next() => orders.over(subject),
                else => return,
            }
        }
    }

    /// Calls until there is an answer, and tells the cluster what it means.
    async fn carry_out_one(&self, batch: &Batch) {
        let answer = self.until_answered(batch).await;
        if let Some(command) = self.meaning(batch.first(), answer)
            && self.cluster.note(command).await.is_err()
        {
            tracing::debug!(
                slave.id = self.callee.slave.0,
                "an answer came too late to matter"
            );
        }
    }

    /// Calls again and again while nobody answers, for as long as patience lasts. What the slave says
    /// that it has done, if it does.
    async fn until_answered(&self, batch: &Batch) -> Result<Option<SlaveState>, CallError> {
        let mut pause = FIRST_PAUSE;
        let began = tokio::time::Instant::now();
        loop {
            let error = match self.once(batch).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if error.status().is_none() {
                self.measured.count(InternalError::NetworkRequestFailure);
            }
            let may_repeat = match self.legacy {
                Some(_) => legacy::may_repeat(batch.first(), &error),
                None => may_pass(&error),
            };
            if !may_repeat || began.elapsed() >= self.patience {
                return Err(error);
            }
            tracing::debug!(slave.id = self.callee.slave.0, %error, "calling again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn once(&self, batch: &Batch) -> Result<Option<SlaveState>, CallError> {
        if let Some(links) = &self.legacy {
            let answered = self.once_as_original(batch.first(), links).await;
            return answered.map(|()| None);
        }
        let (build, call) = match batch.first() {
            Order::About(build, call) => (build, call),
            Order::End => {
                let url = format!("{}/v1/kill", self.callee.url);
                return self
                    .post::<Success>(url, b"{}".to_vec())
                    .await
                    .map(|_| None);
            }
        };
        let base = format!("{}/v1/build/{build}", self.callee.url);
        match call {
            SlaveCall::SetUp(request) => {
                let from_master;
                let request = match self.gives_projects {
                    true => {
                        from_master = project::from_master(request);
                        &from_master
                    }
                    false => &**request,
                };
                let body = encode(&SetupBody {
                    request,
                    subjobs: batch.subjobs(None),
                    wait_ms: WAIT_MS,
                    master: self.mark(),
                })?;
                let answer = self.post::<OrderAnswer>(format!("{base}/setup"), body);
                Ok(answer.await?.state)
            }
            SlaveCall::Start { .. } => {
                let body = encode(&batch.subjobs(self.mark()))?;
                let answer = self.post::<Success>(format!("{base}/subjobs"), body);
                answer.await.map(|_| None)
            }
            SlaveCall::TearDown => {
                let body = encode(&TeardownRequest {
                    wait_ms: Some(WAIT_MS),
                    master: self.mark(),
                })?;
                let answer = self.post::<OrderAnswer>(format!("{base}/teardown"), body);
                Ok(answer.await?.state)
            }
        }
    }

    /// This moment of this master. What it orders was decided before that.
    fn mark(&self) -> Option<MasterMark> {
        Some(MasterMark {
            incarnation: self.callee.incarnation.clone()?,
            session_id: self.life.clone(),
            position: self.cluster.position(),
        })
    }

    async fn post<T: serde::de::DeserializeOwned>(
        &self,
        url: String,
        body: Vec<u8>,
    ) -> Result<T, CallError> {
        // Signed for that life of the slave alone, which has told its session with its registration.
        let answer = self
            .caller
            .send_to::<T>(&self.callee.session, Method::POST, &url, body);
        answer.await
    }

    /// What a slave's answer means to the cluster; nothing, if it does what it is told and reports
    /// later. Of several orders, `order` is the first: they are taken or refused together, and a
    /// refusal is about their build.
    fn meaning(
        &self,
        order: &Order,
        answer: Result<Option<SlaveState>, CallError>,
    ) -> Option<Command> {
        let slave = self.callee.slave;
        let (build, call) = match order {
            // It ends, or another life of it is there that was not meant.
            Order::End => return Some(Command::ReportEnding { slave }),
            Order::About(build, call) => (*build, call),
        };
        let failure = match answer {
            Err(failure) => failure,
            Ok(Some(SlaveState::SetupComplete)) => {
                let session = self.callee.session.clone();
                return Some(Command::ReportSetUp {
                    slave,
                    session,
                    build,
                });
            }
            Ok(Some(SlaveState::Idle)) => return Some(Command::ReportTornDown { slave, build }),
            Ok(Some(SlaveState::SetupFailed | SlaveState::Disconnected) | None) => return None,
        };
        if failure.status() == Some(StatusCode::PRECONDITION_FAILED) {
            let reason = "it was started again".to_owned();
            return Some(Command::ReportSlaveDied { slave, reason });
        }
        let is_lost = match self.legacy {
            Some(_) => !legacy::is_refusal(&failure),
            None => may_pass(&failure),
        };
        if is_lost {
            // If it lives it will connect again, and clear away what it has.
            let reason = format!("the master can not call it: {failure}");
            return Some(Command::GiveSlaveUp { slave, reason });
        }
        Some(match call {
            SlaveCall::TearDown => Command::ReportTornDown { slave, build },
            SlaveCall::SetUp(_) | SlaveCall::Start { .. } => {
                let reason = failure.to_string();
                Command::ReportRefusal {
                    slave,
                    build,
                    reason,
                }
            }
        })
    }
}

/// Whether the same call may succeed later. A signature can be too old for a moment only, when
/// clocks or restarts are in play.
pub(super) fn may_pass(error: &CallError) -> bool {
    error.is_passing()
        || error.status() == Some(StatusCode::UNAUTHORIZED)
        || matches!(error, CallError::Insecure { .. })
}

pub(super) fn encode<T: serde::Serialize>(body: &T) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(body).map_err(CallError::Body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::Coordinator;
    use crate::journal::Journal;
    use clusterrunner_common::api::SubjobOrder;
    use clusterrunner_common::auth::secret::Secret;
    use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
    use tokio_util::sync::CancellationToken;

    fn line(cluster: ClusterHandle, url: String) -> Line {
        let secret = Secret::new("a secret for tests".to_owned()).unwrap();
        Line {
            caller: Caller::new(Some(secret), Duration::from_secs(5)).unwrap(),
            cluster,
            measured: Measured::default(),
            gives_projects: false,
            callee: Callee {
                slave: SlaveId(1),
                url,
                session: SessionId("a".to_owned()),
                incarnation: None,
            },
            life: SessionId("m".to_owned()),
            patience: Duration::from_millis(200),
            legacy: None,
        }
    }

    /// A cluster, the switch that ends it, and its end.
    fn cluster(
        directory: &std::path::Path,
    ) -> (
        ClusterHandle,
        CancellationToken,
        tokio::task::JoinHandle<Result<(), crate::journal::JournalError>>,
    ) {
        let journal = Journal::open(&directory.join("journal")).unwrap();
        let lease = Duration::from_secs(60);
        let (coordinator, cluster, _effects) = Coordinator::recover(journal, lease).unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(coordinator.run(stop.clone()));
        (cluster, stop, running)
    }

    #[tokio::test]
    async fn hand_outs_that_wait_go_in_one_call() {
        let directory = tempfile::tempdir().unwrap();
        let (cluster, stop, running) = cluster(directory.path());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = listener.local_addr().unwrap().to_string();
        let (heard, mut calls) = mpsc::unbounded_channel();
        let slave = axum::Router::new().fallback(move |uri: axum::http::Uri, body: String| {
            let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            let number = body["subjobs"].as_array().map_or(0, Vec::len);
            heard.send(format!("{} {number}", uri.path())).unwrap();
            async { (StatusCode::CREATED, axum::Json(Success::default())) }
        });
        let serving = tokio::spawn(async move { axum::serve(listener, slave).await });
        let (orders, inbox) = mpsc::unbounded_channel();
        let start = |subjob| SlaveCall::Start {
            order: SubjobOrder {
                subjob_id: SubjobId(subjob),
                attempt: Attempt(1),
                atoms: vec!["a".to_owned()],
            },
            command: "run".into(),
            timeout_s: None,
        };
        for (build, call) in [
            (1, start(0)),
            (1, start(1)),
            (1, start(2)),
            (2, start(0)),
            (1, SlaveCall::TearDown),
            (2, start(1)),
        ] {
            orders.send(Order::About(BuildId(build), call)).unwrap();
        }
        drop(orders);
        line(cluster, url).carry_out(inbox).await;
        serving.abort();
        let mut found = Vec::new();
        while let Ok(call) = calls.try_recv() {
            found.push(call);
        }
        let (of_first, of_second): (Vec<_>, Vec<_>) = found
            .iter()
            .partition(|call| call.starts_with("/v1/build/1/"));
        assert_eq!(
            of_first,
            ["/v1/build/1/subjobs 3", "/v1/build/1/teardown 0"]
        );
        assert_eq!(of_second, ["/v1/build/2/subjobs 2"]);
        stop.cancel();
        running.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_a_slave_says_it_has_done_needs_no_report() {
        let directory = tempfile::tempdir().unwrap();
        let (cluster, stop, running) = cluster(directory.path());
        let line = line(cluster, "127.0.0.1:1".to_owned());
        let meaning = |call, state| line.meaning(&Order::About(BuildId(1), call), Ok(state));
        let set_up = || SlaveCall::SetUp(Box::default());
        let (slave, build) = (SlaveId(1), BuildId(1));
        assert_eq!(
            meaning(set_up(), Some(SlaveState::SetupComplete)),
            Some(Command::ReportSetUp {
                slave,
                session: SessionId("a".to_owned()),
                build,
            })
        );
        assert_eq!(
            meaning(SlaveCall::TearDown, Some(SlaveState::Idle)),
            Some(Command::ReportTornDown { slave, build })
        );
        assert_eq!(meaning(set_up(), None), None);
        stop.cancel();
        running.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_slave_that_can_not_be_called_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let (cluster, stop, running) = cluster(directory.path());
        // A port that was free a moment ago and that nobody listens on.
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let connect = Command::ConnectSlave {
            url: free.to_string(),
            session: SessionId("a".to_owned()),
            num_executors: 1,
            labels: std::collections::BTreeSet::new(),
            known_as: None,
            finished: Vec::new(),
            seen: Vec::new(),
            fresh: clusterrunner_common::ids::Incarnation("fresh".to_owned()),
        };
        cluster.command(connect).await.unwrap();
        let line = line(cluster.clone(), free.to_string());
        let (calls, inbox) = mpsc::unbounded_channel();
        calls
            .send(Order::About(BuildId(1), SlaveCall::TearDown))
            .unwrap();
        drop(calls);
        line.carry_out(inbox).await;
        let presence = cluster.read(|cluster| cluster.slave(SlaveId(1)).unwrap().presence.clone());
        let presence = format!("{:?}", presence.await.unwrap());
        assert!(
            presence.contains("the master can not call it"),
            "{presence}"
        );
        stop.cancel();
        running.await.unwrap().unwrap();
    }
}
