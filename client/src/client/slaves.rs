//! The slaves of the master.

use super::Client;
use crate::error::ClientError;
use clusterrunner_common::api::{DrainAnswer, ShutdownRequest, SlaveView, SlavesBody};
use clusterrunner_common::ids::SlaveId;
use reqwest::Method;
use serde_json::json;

impl Client {
    /// All slaves that the master knows.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn slaves(&self) -> Result<Vec<SlaveView>, ClientError> {
        let body: SlavesBody = self.read("/v1/slave").await?;
        Ok(body.slaves)
    }

    /// The same with what only version 2 of the API tells, where the master knows that.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn slaves_in_full(&self) -> Result<Vec<SlaveView>, ClientError> {
        match self.read("/v2/slaves").await {
            Ok(SlavesBody { slaves }) => Ok(slaves),
            Err(error) if error.status().is_some_and(|status| status == 404) => self.slaves().await,
            Err(error) => Err(error),
        }
    }

    /// Has slaves end as soon as they have finished what they run. Repeated only while the connection
    /// itself is refused: a slave that is gone already is unknown the second time.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn shut_down_slaves(&self, slaves: &ShutdownRequest) -> Result<(), ClientError> {
        let url = self.url("/v1/slave/shutdown");
        self.repeat(ClientError::never_arrived, async || {
            match self.caller.order(Method::POST, &url, slaves).await {
                Err(error) if error.is_from_original() => {
                    self.meet_original()?;
                    let ordered = self.caller.order_original(Method::POST, &url, slaves);
                    Ok(ordered.await?)
                }
                ordered => Ok(ordered?),
            }
        })
        .await
    }

    /// Has a slave take no new work, or (`drain` is false) take work again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn drain_slave(
        &self,
        slave: SlaveId,
        drain: bool,
    ) -> Result<DrainAnswer, ClientError> {
        let order = if drain { "drain" } else { "undrain" };
        let url = self.url(&format!("/v1/slave/{slave}/{order}"));
        self.repeat(ClientError::is_passing, || async {
            Ok(self.caller.send(Method::POST, &url, &json!({})).await?)
        })
        .await
    }
}
