//! The calls that a slave makes to its master.

use crate::master::clock::MasterClock;
use crate::master::dialect::{Dialect, Original};
use crate::master::identity::{Identity, NotOurs, Way};
use crate::master::lineage::Lineage;
use crate::master::upload::Upload;
use crate::work::HandOut;
use clusterrunner_common::api::instances::{
    InstancesReport, LogsAnswer, LogsReport, SnapshotRequest,
};
use clusterrunner_common::api::{
    ConnectAnswer, ConnectRequest, ErrorCode, Heartbeat, HeartbeatAnswer, HeartbeatRequest,
    KeptSetupRequest, PROTOCOL, ResultMetrics, ResultReport, ResultsAnswer, RunningAtom,
    SlaveState, SourceRequest, StateReport, StateReportBody,
};
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::git::PackRequest;
use clusterrunner_common::ids::{BuildId, ExecutorIndex, SessionId, SlaveId};
use clusterrunner_common::work::{FinishedAttempt, IsolationLevel};
use reqwest::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The master, as this slave talks to it.
#[derive(Clone, Debug)]
pub(crate) struct MasterApi {
    /// For short calls: it notices soon that a master hangs.
    pub(crate) caller: Caller,
    /// For results and projects.
    pub(crate) uploader: Caller,
    /// The master's `host:port`.
    pub(crate) master: String,
    /// Our `host:port`, the same text in every call.
    pub(crate) own_address: String,
    pub(crate) session: SessionId,
    pub(crate) num_executors: u32,
    /// Labels that builds may require.
    pub(crate) labels: BTreeSet<String>,
    /// How far it keeps commands apart from its machine.
    pub(crate) isolation: IsolationLevel,
    /// Whether a master of the original may be served.
    pub(crate) accepts_original: bool,
    pub(crate) dialect: Dialect,
    pub(crate) lineage: Lineage,
    pub(crate) identity: Identity,
    pub(crate) clock: MasterClock,
}

/// Why a slave is not connected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// There was no answer, or a refusal.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The master knows neither the key of this slave nor what it joins with, and may be another than it has joined.
    #[error("{refused}; this slave has joined the master with the key {joined}")]
    NotTaken {
        #[source]
        refused: CallError,
        joined: String,
    },
    /// Whoever answered is not this slave's master.
    #[error(transparent)]
    Master(#[from] NotOurs),
}

/// Whether a refusal of a slave's key says that it must join anew, which is no judgement of an operator.
fn must_join(error: &CallError) -> bool {
    matches!(
        error.code(),
        Some(ErrorCode::UnknownSlaveKey | ErrorCode::AddressOfOtherKey)
    )
}

/// Whether a master may refuse because it is not the one that a slave has joined.
fn is_unknown(error: &CallError) -> bool {
    matches!(
        error.code(),
        Some(ErrorCode::UnknownSlaveKey | ErrorCode::InvalidJoinToken)
    )
}

/// Whether a refusal says that a way to join is none, so that the next one is tried. A master of before keys has no word
/// for that: to it, what is signed with a token is malformed.
fn is_no_way(way: &Way, error: &CallError) -> bool {
    match error.code() {
        Some(ErrorCode::AddressOfOtherKey) => matches!(way, Way::Token(_)),
        Some(code) => code == ErrorCode::InvalidJoinToken,
        None => matches!(way, Way::Token(_)) && error.status() == Some(StatusCode::UNAUTHORIZED),
    }
}

impl MasterApi {
    /// Asks to be taken in, or back under the registration that we know ourselves by; learns what
    /// kind of master it is. Where the master does not know this slave's key, it joins again if it can.
    pub(crate) async fn connect(
        &self,
        known_as: Option<SlaveId>,
        finished: Vec<FinishedAttempt>,
    ) -> Result<ConnectAnswer, ConnectError> {
        let mut offer = ConnectRequest {
            slave: self.own_address.clone(),
            num_executors: self.num_executors,
            labels: self.labels.clone(),
            session_id: Some(self.session.clone()),
            protocol: Some(PROTOCOL),
            slave_id: known_as,
            finished,
            seen: self.lineage.to_tell(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            isolation: Some(self.isolation),
            identity: None,
        };
        let mut refused = None;
        if self.identity.has_joined() {
            match self.connect_with(&mut offer, None).await {
                Err(ConnectError::Call(error)) if must_join(&error) => refused = Some(error),
                connected => return connected,
            }
        }
        for way in self.identity.ways() {
            match self.connect_with(&mut offer, Some(way)).await {
                Err(ConnectError::Call(error)) if is_no_way(way, &error) => {
                    refused = Some(error);
                }
                connected => return connected,
            }
        }
        let refused = refused.ok_or(NotOurs::NothingToJoinWith)?;
        Err(match self.identity.joined() {
            Some(joined) if is_unknown(&refused) => ConnectError::NotTaken { refused, joined },
            _ => refused.into(),
        })
    }

    /// The same with its key, or in one of the ways to join.
    async fn connect_with(
        &self,
        offer: &mut ConnectRequest,
        way: Option<&Way>,
    ) -> Result<ConnectAnswer, ConnectError> {
        let shown = self.identity.shown(&self.own_address, &self.session);
        offer.identity = Some(shown.clone());
        let url = format!("{}/v1/slave", self.master);
        let caller = match way {
            None => self.caller.clone(),
            Some(way) => self.caller.clone().with_signer(Arc::new(way.clone())),
        };
        let answer = caller.send_and_meet(Method::POST, &url, offer);
        let (answer, session): (ConnectAnswer, _) = answer.await?;
        let life = session.as_deref().unwrap_or_default();
        self.identity.meet(&shown, way, (&answer, life)).await?;
        // The identity is proved and the protocol is not: whoever stands between could take that out.
        let is_original =
            answer.identity.is_none() && answer.protocol != Some(PROTOCOL) && self.accepts_original;
        self.dialect
            .learn(is_original.then_some(Original { session }));
        Ok(answer)
    }

    /// Gives a sign of life, and says what runs.
    pub(crate) async fn heartbeat(
        &self,
        id: SlaveId,
        running: Vec<RunningAtom>,
    ) -> Result<HeartbeatAnswer, CallError> {
        let request = HeartbeatRequest {
            slave: Heartbeat {
                heartbeat: true,
                session_id: self.own(self.session.clone()),
                running: self.own(self.of_master(running)).unwrap_or_default(),
            },
        };
        let url = format!("{}/v1/slave/{id}/heartbeat", self.master);
        let sent = Timestamp::now();
        let answer: HeartbeatAnswer = self.send(Method::POST, &url, &request).await?;
        if let Some(now) = answer.now_ms {
            self.clock.compare(sent, now, Timestamp::now());
        }
        Ok(answer)
    }

    /// The same atoms, with times of the master's clock.
    pub(crate) fn of_master(&self, mut running: Vec<RunningAtom>) -> Vec<RunningAtom> {
        for atom in &mut running {
            atom.started_at_ms = self.clock.of_master(atom.started_at_ms);
        }
        running
    }

    /// Asks for no new work, and to be ended when what we have is done.
    pub(crate) async fn withdraw(&self, id: SlaveId) -> Result<(), CallError> {
        let url = format!("{}/v1/slave/{id}/shutdown", self.master);
        let nothing = serde_json::json!({});
        self.caller.order(Method::POST, &url, &nothing).await
    }

    /// Tells about ourselves.
    pub(crate) async fn report(
        &self,
        id: SlaveId,
        report: StateReportBody,
    ) -> Result<(), CallError> {
        let request = StateReport {
            slave: StateReportBody {
                state: report.state,
                build_id: report.build_id.and_then(|build| self.own(build)),
                session_id: report.session_id.and_then(|session| self.own(session)),
                reason: report.reason.and_then(|reason| self.own(reason)),
            },
        };
        let url = format!("{}/v1/slave/{id}", self.master);
        if report.state == SlaveState::Disconnected && !self.dialect.is_original() {
            // It counts in whichever life of the master: the slave's own session is named.
            return self.caller.order(Method::PUT, &url, &request).await;
        }
        // What the master says beside the status is of no use to us.
        let _answer: Value = self.send(Method::PUT, &url, &request).await?;
        Ok(())
    }

    /// A field that calls to the original do not have.
    fn own<T>(&self, field: T) -> Option<T> {
        (!self.dialect.is_original()).then_some(field)
    }

    /// A master that was started again, perhaps on an older journal, must hear first what this slave has seen:
    /// calls are meant for the life of it that the slave has connected to.
    async fn send<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: &B,
    ) -> Result<T, CallError> {
        let Some(original) = self.dialect.original() else {
            let Some(session) = self.lineage.session() else {
                return self.caller.send(method, url, body).await;
            };
            let body = serde_json::to_vec(body).map_err(CallError::Body)?;
            return self.caller.send_to(&session, method, url, body).await;
        };
        let body = serde_json::to_vec(body).map_err(CallError::Body)?;
        let expected = original
            .session
            .map(|session| ("expected-session-id", session));
        let headers: Vec<_> = expected.into_iter().collect();
        let answer = self.caller.send_to_original(method, url, body, &headers);
        answer.await
    }

    /// Asks for a build's project.
    pub(crate) async fn source(
        &self,
        id: SlaveId,
        build: BuildId,
        packs: &PackRequest,
    ) -> Result<Response, CallError> {
        let request = SourceRequest {
            slave_id: id,
            session_id: self.session.clone(),
            packs: packs.clone(),
        };
        let url = format!("{}/v1/build/{build}/source", self.master);
        let session = self.lineage.session();
        let asked = self
            .uploader
            .send_for_stream(Method::POST, &url, &request, session.as_ref());
        asked.await
    }

    /// Tells where all instances stand.
    pub(crate) async fn report_instances(
        &self,
        id: SlaveId,
        report: &InstancesReport,
    ) -> Result<(), CallError> {
        let url = format!("{}/v1/slave/{id}/instances", self.master);
        let _answer: Value = self.send(Method::POST, &url, report).await?;
        Ok(())
    }

    /// Tells what instances print.
    pub(crate) async fn report_logs(
        &self,
        id: SlaveId,
        report: &LogsReport,
    ) -> Result<LogsAnswer, CallError> {
        let url = format!("{}/v1/slave/{id}/instance_logs", self.master);
        self.send(Method::POST, &url, report).await
    }

    /// Asks for a snapshot.
    pub(crate) async fn snapshot(&self, request: &SnapshotRequest) -> Result<Response, CallError> {
        let url = format!("{}/v1/snapshot", self.master);
        let session = self.lineage.session();
        let asked = self
            .uploader
            .send_for_stream(Method::POST, &url, request, session.as_ref());
        asked.await
    }

    /// What goes with a result to a master of the original.
    pub(crate) fn result_report(
        &self,
        id: SlaveId,
        hand_out: HandOut,
        executor: Option<ExecutorIndex>,
    ) -> ResultReport {
        ResultReport {
            slave: self.own_address.clone(),
            metric_data: executor.map(|executor| ResultMetrics {
                executor_id: Some(executor),
            }),
            slave_id: self.own(id),
            session_id: self.own(self.session.clone()),
            incarnation: None,
            attempt: self.own(hand_out.attempt),
            atoms: Vec::new(),
        }
    }

    /// Sends results of a build.
    pub(crate) async fn upload_results(
        &self,
        build: BuildId,
        upload: Upload,
    ) -> Result<ResultsAnswer, CallError> {
        let session = self.lineage.session();
        let sent = self.upload(build, "results", upload, session.as_ref());
        let answer: ResultsAnswer = sent.await?;
        if let (Some(life), Some(position)) = (&session, answer.position) {
            let proof = answer.proof.clone();
            self.lineage.acknowledged(life, position, proof);
        }
        Ok(answer)
    }

    /// Sends what a step of a build printed.
    pub(crate) async fn upload_step(
        &self,
        build: BuildId,
        upload: Upload,
    ) -> Result<(), CallError> {
        let session = self.lineage.session();
        let sent = self.upload(build, "steps", upload, session.as_ref());
        let _answer: Value = sent.await?;
        Ok(())
    }

    /// Sends a file of a build to this life of the master.
    async fn upload<T: DeserializeOwned>(
        &self,
        build: BuildId,
        what: &str,
        upload: Upload,
        session: Option<&SessionId>,
    ) -> Result<T, CallError> {
        let url = format!("{}/v1/build/{build}/{what}", self.master);
        self.upload_to(&url, upload, session).await
    }

    async fn upload_to<T: DeserializeOwned>(
        &self,
        url: &str,
        upload: Upload,
        session: Option<&SessionId>,
    ) -> Result<T, CallError> {
        let Upload {
            content_type,
            length,
            digest,
            content,
        } = upload;
        let body = content.into_body();
        let sent = self
            .uploader
            .upload(url, &content_type, length, &digest, body, session);
        sent.await
    }

    /// Asks for what a set-up on another slave has made.
    pub(crate) async fn kept_setup(
        &self,
        request: &KeptSetupRequest,
    ) -> Result<Response, CallError> {
        let url = format!("{}/v1/kept_setup", self.master);
        let session = self.lineage.session();
        let asked = self
            .uploader
            .send_for_stream(Method::POST, &url, request, session.as_ref());
        asked.await
    }

    /// Brings what a set-up here has made.
    pub(crate) async fn upload_kept_setup(&self, upload: Upload) -> Result<(), CallError> {
        let url = format!("{}/v1/kept_setups", self.master);
        let session = self.lineage.session();
        let _answer: Value = self.upload_to(&url, upload, session.as_ref()).await?;
        Ok(())
    }

    /// Sends a result to a master of the original, which takes one at a time.
    pub(crate) async fn upload_to_original(
        &self,
        hand_out: HandOut,
        upload: Upload,
    ) -> Result<(), CallError> {
        let HandOut { build, subjob, .. } = hand_out;
        let url = format!("{}/v1/build/{build}/subjob/{subjob}/result", self.master);
        let Upload {
            content_type,
            length,
            content,
            ..
        } = upload;
        let body = content.into_body();
        let sent = self
            .uploader
            .upload_to_original(&url, &content_type, length, body);
        let _answer: Value = sent.await?;
        Ok(())
    }
}
