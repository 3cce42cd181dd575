//! The audit log.

use super::Client;
use crate::error::ClientError;
use clusterrunner_common::api::audit::{AuditBody, AuditVerification};
use form_urlencoded::Serializer;

impl Client {
    /// The newest entries of the audit log: at most `limit`, of this name if one is given.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn audit(&self, by: Option<&str>, limit: u64) -> Result<AuditBody, ClientError> {
        let mut query = Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string());
        if let Some(by) = by {
            query.append_pair("by", by);
        }
        self.read(&format!("/v2/audit?{}", query.finish())).await
    }

    /// Whether the audit log is as it was written, and whether a link of this hash is there.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn verify_audit(&self, head: Option<&str>) -> Result<AuditVerification, ClientError> {
        let query = head.map_or_else(String::new, |head| format!("?head={head}"));
        self.read(&format!("/v2/audit/verification{query}")).await
    }
}
