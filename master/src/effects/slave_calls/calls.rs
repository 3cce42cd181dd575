//! Calling one slave, again and again where that may help, and what its answers mean.

use super::batch::{Batch, SetupBody, encode};
use super::keeping::{Asked, Keeping};
use super::orders::Orders;
use super::original::{self, OriginalSlave, ProjectLinks};
use super::repeating::{FIRST_PAUSE, LONGEST_PAUSE, may_pass};
use super::secrets::Giving;
use super::{Callee, Order, set_up};
use crate::coordinator::ClusterHandle;
use crate::read::metrics::{InternalError, Measured};
use clusterrunner_common::api::{OrderAnswer, SlaveState, Success, TeardownRequest};
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::ids::SessionId;
use clusterrunner_common::work::{GivenSecrets, MasterMark};
use clusterrunner_core::command::Command;
use clusterrunner_core::effect::SlaveCall;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use reqwest::{Method, StatusCode};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a slave may wait with its answer for the end of what it was told to do. Most set-ups and
/// tear-downs are done sooner, and need no report then; the others must not keep calls about other
/// builds waiting.
const WAIT_MS: u64 = 50;

/// The calls to one slave.
pub(super) struct Calls {
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
    /// None where there are no secrets of builds.
    pub(super) giving: Option<Giving>,
    pub(super) keeping: Keeping,
}

impl Calls {
    /// Works until no more orders can come.
    pub(super) async fn carry_out(&self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let mut orders = Orders::new(self.legacy.is_some());
        let mut calls = FuturesUnordered::new();
        let mut is_open = true;
        loop {
            while is_open && orders.takes_more() {
                let order = match orders.are_followed() {
                    // They are sent one after the other, without a pause.
                    true => inbox.recv().await,
                    false => inbox.try_recv().ok(),
                };
                match order {
                    Some(order) => orders.add(order),
                    None => break,
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
        if let Order::About(build, SlaveCall::KeepConsoles(held)) = batch.first() {
            let asked = Asked {
                keeping: &self.keeping,
                caller: &self.caller,
                cluster: &self.cluster,
                callee: &self.callee,
            };
            return asked.keep_consoles(*build, held).await;
        }
        let given = match self.given_with(batch.first()).await {
            Ok(given) => given,
            Err(refusal) => {
                self.cluster.note(refusal).await.ok();
                return;
            }
        };
        let answer = self.until_answered(batch, &given).await;
        if let Some(command) = self.meaning(batch.first(), answer)
            && self.cluster.note(command).await.is_err()
        {
            tracing::debug!(slave.id = self.callee.slave.0, "ignored a late answer");
        }
    }

    /// The secrets that go with an order; else what the cluster is told.
    async fn given_with(&self, order: &Order) -> Result<GivenSecrets, Command> {
        if let Order::About(build, SlaveCall::SetUp(set_up)) = order
            && self.legacy.is_some()
            && !set_up.job.isolation.is_empty()
        {
            return Err(Command::ReportRefusal {
                slave: self.callee.slave,
                build: *build,
                reason: "slaves of the original can not isolate commands".to_owned(),
            });
        }
        let Some(giving) = &self.giving else {
            return Ok(GivenSecrets::default());
        };
        let to = (&self.callee, self.legacy.is_some());
        let newest = self.with_newest_secrets(order).await;
        let mut given = giving
            .given_with(newest.as_ref().unwrap_or(order), to)
            .await;
        // Just now one may have been set again, and its old value removed.
        if given.is_err()
            && let Some(newest) = self.with_newest_secrets(order).await
        {
            given = giving.given_with(&newest, to).await;
        }
        given.map_err(|reason| match order {
            Order::About(build, _) => Command::Withhold {
                slave: self.callee.slave,
                build: *build,
                reason,
            },
            // It has none.
            Order::End => Command::ReportEnding {
                slave: self.callee.slave,
            },
        })
    }

    /// The same order with the secrets as they are set now: it may have waited long. None for orders without secrets.
    async fn with_newest_secrets(&self, order: &Order) -> Option<Order> {
        let Order::About(build, SlaveCall::SetUp(set_up)) = order else {
            return None;
        };
        if set_up.secrets.is_empty() {
            return None;
        }
        let build_id = *build;
        let mut set_up = set_up.clone();
        let newest = self
            .cluster
            .read(move |cluster| cluster.secrets_of(build_id));
        set_up.secrets = newest.await.ok()??;
        Some(Order::About(*build, SlaveCall::SetUp(set_up)))
    }

    /// Repeats a call until the slave answers or patience ends. Returns what the slave says that it has done.
    async fn until_answered(
        &self,
        batch: &Batch,
        given: &GivenSecrets,
    ) -> Result<Option<SlaveState>, CallError> {
        let mut pause = FIRST_PAUSE;
        let began = tokio::time::Instant::now();
        loop {
            let error = match self.once(batch, given).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if error.status().is_none() {
                self.measured.count(InternalError::NetworkRequestFailure);
            }
            let may_repeat = match self.legacy {
                Some(_) => original::may_repeat(batch.first(), &error),
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

    async fn once(
        &self,
        batch: &Batch,
        given: &GivenSecrets,
    ) -> Result<Option<SlaveState>, CallError> {
        if let Some(links) = &self.legacy {
            let slave = OriginalSlave {
                caller: &self.caller,
                callee: &self.callee,
                links,
            };
            return slave.tell(batch.first()).await.map(|()| None);
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
            SlaveCall::SetUp(set_up) => {
                let mut request = set_up::request(set_up);
                request.secrets = given.clone();
                // What a client has sent is nowhere else.
                if self.gives_projects || set_up.request.working_tree.is_some() {
                    request = set_up::from_master(request);
                }
                let body = encode(&SetupBody {
                    request: &request,
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
            // These are reads, made elsewhere.
            SlaveCall::KeepConsoles(_) => Ok(None),
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
    pub(super) fn mark(&self) -> Option<MasterMark> {
        let incarnation = self.callee.incarnation.clone()?;
        Some(self.cluster.mark(incarnation, self.life.clone()))
    }

    async fn post<T: serde::de::DeserializeOwned>(
        &self,
        url: String,
        body: Vec<u8>,
    ) -> Result<T, CallError> {
        self.send(Method::POST, url, body).await
    }

    pub(super) async fn send<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        url: String,
        body: Vec<u8>,
    ) -> Result<T, CallError> {
        // Signed for that life of the slave alone, which has told its session with its registration.
        let answer = self
            .caller
            .send_to::<T>(&self.callee.session, method, &url, body);
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
            return Some(Command::ReportSlaveStartedAgain { slave });
        }
        let is_lost = match self.legacy {
            Some(_) => !original::is_refusal(&failure),
            None => may_pass(&failure),
        };
        if is_lost {
            // If it lives it will connect again, and clear away what it has.
            let reason = format!("the master can not call it: {failure}");
            return Some(Command::GiveSlaveUp { slave, reason });
        }
        Some(match call {
            SlaveCall::KeepConsoles(_) => return None,
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

#[cfg(test)]
mod tests;
