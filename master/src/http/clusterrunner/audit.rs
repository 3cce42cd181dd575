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

/// What all slaves are called that connect by keys of their own.
const SLAVE_KEYS: &str = "a slave's own key";

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
            let is_by = |wanted: &String| is_by(asked, wanted);
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
        Actor::SlaveKey => {
            let name = asked.name.clone();
            name.unwrap_or_else(|| SLAVE_KEYS.to_owned())
        }
    }
}

/// Whether an entry is of the actor who is called so; slaves that have connected by keys of their own have a common name, too.
fn is_by(asked: &Asked, wanted: &str) -> bool {
    let is_of_slave = asked.by == Actor::SlaveKey && wanted.eq_ignore_ascii_case(SLAVE_KEYS);
    is_of_slave || name(asked).eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::clock::Timestamp;

    #[test]
    fn slaves_with_keys_are_found_one_by_one_and_together() {
        let known = Some("slave key 0a1b (farm-3:43001)".to_owned());
        let asked = |name| Asked::new(Timestamp(0), (Actor::SlaveKey, name), None, String::new());
        assert!(is_by(
            &asked(known.clone()),
            "Slave key 0a1b (farm-3:43001)"
        ));
        assert!(is_by(&asked(known.clone()), "a slave's own key"));
        assert!(!is_by(&asked(known), "slave key 0a1c (farm-3:43001)"));
        assert!(is_by(&asked(None), "a slave's own key"));
        let other = Asked::new(Timestamp(0), (Actor::Nobody, None), None, String::new());
        assert!(!is_by(&other, "a slave's own key"));
    }
}
