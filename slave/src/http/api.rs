//! What the handlers share: the parts of the slave, and how an order is let in.

use super::error::ApiError;
use crate::coordinator::WorkHandle;
use crate::data_directory::DataDirectory;
use crate::deliver::reports::Reports;
use crate::master::dialect::Dialect;
use crate::master::identity::Identity;
use crate::master::lineage::Lineage;
use crate::master::registration::Registration;
use crate::run::consoles::Consoles;
use crate::supervisor::Supervisor;
use crate::work::Command;
use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use clusterrunner_common::api::{OrderAnswer, Success};
use clusterrunner_common::auth::gate::Proof;
use clusterrunner_common::auth::keys::KeyRefusal;
use clusterrunner_common::auth::signature::SignatureError;
use clusterrunner_common::http::clusterrunner::routes::Reached;
use clusterrunner_common::ids::{Attempt, BuildId, SessionId};
use clusterrunner_common::logs::event_log::EventLog;
use clusterrunner_common::turns::Turns;
use clusterrunner_common::work::MasterMark;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::RwLockReadGuard;
use tokio_util::sync::CancellationToken;

/// How long the answer to an order waits for its end at most: well below the patience of HTTP clients.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What the handlers need.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) work: WorkHandle,
    pub(crate) registration: Registration,
    pub(crate) dialect: Dialect,
    pub(crate) lineage: Lineage,
    pub(crate) identity: Identity,
    pub(crate) consoles: Arc<Consoles>,
    pub(crate) data: Arc<DataDirectory>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) supervisor: Supervisor,
    pub(crate) events: EventLog,
    pub(crate) session: SessionId,
    /// How much of a console is kept.
    pub(crate) max_console_size: Option<u64>,
    pub(crate) master_url: String,
    /// Bounds how many consoles are read at a time.
    pub(crate) turns: Turns,
    /// Ends the process in order.
    pub(crate) stop: CancellationToken,
}

impl Api {
    /// Lets an order in: once this slave has joined a master, only one that is signed with that master's key.
    pub(super) async fn admit(&self, proof: Proof) -> Result<RwLockReadGuard<'_, ()>, ApiError> {
        let admitted = self.admit_end(proof).await?;
        if proof == Proof::Bound && self.identity.has_joined() {
            let refused = SignatureError::Key(KeyRefusal::OtherMaster);
            return Err(ApiError::MustSign(refused));
        }
        Ok(admitted)
    }

    /// Lets the order to end in, which holders of the secret give, too. Without a full signature it comes only from a
    /// master of the original, which this slave has then connected to.
    pub(super) async fn admit_end(
        &self,
        proof: Proof,
    ) -> Result<RwLockReadGuard<'_, ()>, ApiError> {
        let admitted = self.registration.admit().await;
        if proof.is_weak() && !self.dialect.is_original() {
            return Err(ApiError::MustSign(SignatureError::Missing));
        }
        Ok(admitted)
    }

    /// The same for an order about a build, which a master of ours gives only in the life of it that this
    /// slave has connected to. `attempt` is the highest that it gives.
    pub(super) async fn admit_about(
        &self,
        build: BuildId,
        proof: Proof,
        master: Option<&MasterMark>,
        attempt: Option<Attempt>,
    ) -> Result<RwLockReadGuard<'_, ()>, ApiError> {
        let admitted = self.admit(proof).await?;
        if !proof.is_weak() {
            let master = master.ok_or(ApiError::OtherProtocol { missing: "master" })?;
            if let Err(not_met) = self.lineage.admit(master, build, attempt) {
                self.registration.doubt();
                return Err(not_met.into());
            }
        }
        Ok(admitted)
    }

    /// Gives the work an order that takes time, and waits for its end for as long as the caller
    /// asks for.
    pub(super) async fn carry_out(
        &self,
        build: BuildId,
        proof: Proof,
        (wait_ms, master): (Option<u64>, Option<MasterMark>),
        attempt: Option<Attempt>,
        order: impl FnOnce() -> Result<Command, ApiError>,
    ) -> Result<Json<OrderAnswer>, ApiError> {
        let admitted = self
            .admit_about(build, proof, master.as_ref(), attempt)
            .await?;
        let command = order()?;
        let expected = wait_ms.map(|_| self.reports.expect(build));
        self.work.send(command)?;
        // Connecting waits for all orders that were let in.
        drop(admitted);
        let limit = Duration::from_millis(wait_ms.unwrap_or(0)).min(LONGEST_WAIT);
        let state = match expected {
            Some(expected) => expected.within(limit).await,
            None => None,
        };
        let status = Success::default().status;
        Ok(Json(OrderAnswer { status, state }))
    }
}

/// The ids in a path. What is no id names nothing that is here.
pub(super) struct Ids<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Ids<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // Digits only: a sign, too, would be parsed as a number.
        if parts.extensions.get::<Reached>().is_none() {
            return Err(ApiError::NotFound);
        }
        match Path::from_request_parts(parts, state).await {
            Ok(Path(ids)) => Ok(Self(ids)),
            Err(_) => Err(ApiError::NotFound),
        }
    }
}
