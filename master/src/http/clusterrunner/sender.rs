//! Who acts in the name of a slave: a request with the slave's own key, or with the secret where the slave has no key.

use super::Api;
use super::error::ApiError;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use clusterrunner_common::ids::{PublicKey, SlaveId};
use clusterrunner_core::access::Caller;
use clusterrunner_core::refusal::Refusal;
use std::sync::Arc;

/// The sender of a request that a slave sends. Each handler of one asks whether it may act for the slave that it names.
pub(super) struct Sender {
    api: Arc<Api>,
    /// None of those who have but the secret.
    key: Option<PublicKey>,
    /// Whether it may be a slave of the original: its handlers look for themselves what that may do.
    is_original: bool,
}

impl FromRequestParts<Arc<Api>> for Sender {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let key = match parts.extensions.get() {
            Some(Caller::SlaveKey(key)) => Some(*key),
            Some(Caller::Secret(_) | Caller::Slave) => None,
            Some(
                Caller::User(_)
                | Caller::BinderKey
                | Caller::ReadToken
                | Caller::JoinToken(_)
                | Caller::Nobody,
            )
            | None => return Err(ApiError::WhoAsks),
        };
        let is_original = parts.extensions.get() == Some(&Caller::Slave);
        let api = Arc::clone(api);
        Ok(Self {
            api,
            key,
            is_original,
        })
    }
}

impl Sender {
    /// Lets a request pass that names this slave.
    pub(super) fn check(&self, slave: SlaveId) -> Result<(), ApiError> {
        if self.is_original {
            return Ok(());
        }
        let checked = self.api.slave_keys.check_sender(slave, self.key);
        checked.map_err(|refused| Refusal::Key(refused).into())
    }
}
