//! Those who are told of builds.

use super::Client;
use crate::error::ClientError;
use clusterrunner_common::api::receivers::ReceiversBody;

impl Client {
    /// The receivers of notifications, and how it goes with them.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn receivers(&self) -> Result<ReceiversBody, ClientError> {
        self.read("/v2/receivers").await
    }
}
