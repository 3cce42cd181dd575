//! Slaves on demand.

use super::Client;
use crate::error::ClientError;
use clusterrunner_common::api::pools::PoolsBody;

impl Client {
    /// The pools of the farm, and how it goes with them.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pools(&self) -> Result<PoolsBody, ClientError> {
        // Only to a master that has answered before a read is signed, and operators are told more.
        self.version().await?;
        self.read("/v2/pools").await
    }
}
