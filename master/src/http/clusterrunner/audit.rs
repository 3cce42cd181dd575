//! The audit log, for those who run the farm.

use super::Api;
use super::error::ApiError;
use super::requests::is_operator;
use crate::journal::{Asked, AuditEntry, JournalError};
use axum::extract::State;
use axum::{Extension, Json};
use clusterrunner_common::api::audit::{AuditBody, AuditFault, AuditVerification, AuditView};
use clusterrunner_common::http::clusterrunner::wanted_audit::{ExpectedHead, WantedAudit};
use clusterrunner_core::access::Caller;
use clusterrunner_core::actor::Actor;
use std::sync::Arc;
use tokio::task::spawn_blocking;

const NOT_YOURS: &str = "Only superusers with a token whose role is admin and the holder of the farm's secret may read the \
                         audit log.";

/// The newest entries.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    wanted: WantedAudit,
) -> Result<Json<AuditBody>, ApiError> {
    check(caller)?;
    let (log, _turn) = (api.audit.clone(), api.turns.take().await);
    let entries = blocking(move || {
        let found = log.newest(wanted.before, wanted.limit, |asked| {
            let is_by = |wanted: &String| name(asked).eq_ignore_ascii_case(wanted);
            wanted.by.as_ref().is_none_or(is_by)
        })?;
        Ok(found.into_iter().map(view).collect())
    });
    let entries = entries.await?;
    Ok(Json(AuditBody { entries }))
}

/// Whether all links of it follow from each other.
pub(super) async fn verify(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    ExpectedHead(expected): ExpectedHead,
) -> Result<Json<AuditVerification>, ApiError> {
    check(caller)?;
    let (log, _turn) = (api.audit.clone(), api.turns.take().await);
    let verified = blocking(move || log.verify(expected.as_deref())).await?;
    Ok(Json(AuditVerification {
        entries: verified.entries,
        first: verified.first,
        head: verified.head,
        has_expected: verified.has_expected,
        fault: verified
            .fault
            .map(|(number, what)| AuditFault { number, what }),
    }))
}

fn check(caller: Caller) -> Result<(), ApiError> {
    match caller {
        _ if is_operator(caller) => Ok(()),
        Caller::Secret(_) | Caller::User(_) => Err(ApiError::Forbidden(NOT_YOURS)),
        Caller::BinderKey
        | Caller::ReadToken
        | Caller::Slave
        | Caller::SlaveKey(_)
        | Caller::JoinToken(_)
        | Caller::Nobody => Err(ApiError::WhoAsks),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = spawn_blocking(work).await;
    Ok(done.map_err(JournalError::from)??)
}

fn view(entry: AuditEntry) -> AuditView {
    let AuditEntry { number, asked } = entry;
    AuditView {
        number,
        at: asked.at.as_unix_seconds(),
        by: name(&asked),
        from: asked.from.map(|address| address.to_string()),
        what: asked.what,
    }
}

/// What the actor of an entry was called.
fn name(asked: &Asked) -> String {
    match asked.by {
        Actor::SecretHolder => "the secret".to_owned(),
        Actor::Binder => "the Binder key".to_owned(),
        Actor::User(user) => asked.name.clone().unwrap_or_else(|| format!("user {user}")),
        Actor::Master => "the master".to_owned(),
        Actor::Slave(slave) => format!("slave {slave}"),
        Actor::Nobody => "nobody".to_owned(),
        Actor::JoinToken(token) => format!("join token {token}"),
        Actor::SlaveKey => "a slave's own key".to_owned(),
    }
}
