//! The keys of the farm's slaves, and the tokens with which they join.

use super::Client;
use crate::error::ClientError;
use clusterrunner_common::api::Success;
use clusterrunner_common::api::slave_keys::{
    CreateJoinToken, CreatedJoinToken, JoinTokensBody, SlaveKeyBody, SlaveKeyView, SlaveKeysBody,
};
use clusterrunner_common::ids::{PublicKey, TokenId};
use reqwest::Method;
use serde_json::json;

impl Client {
    /// All keys with which slaves have joined.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn slave_keys(&self) -> Result<Vec<SlaveKeyView>, ClientError> {
        let body: SlaveKeysBody = self.read("/v2/slave_keys").await?;
        Ok(body.keys)
    }

    /// Lets a key open nothing any more, or (`revoke` is false) takes that back.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn revoke_slave_key(
        &self,
        key: PublicKey,
        revoke: bool,
    ) -> Result<SlaveKeyView, ClientError> {
        let order = if revoke { "revoke" } else { "restore" };
        let url = self.url(&format!("/v2/slave_keys/{key}/{order}"));
        let answer: SlaveKeyBody = self
            .repeat(ClientError::is_passing, async || {
                Ok(self.caller.send(Method::POST, &url, &json!({})).await?)
            })
            .await?;
        Ok(answer.key)
    }

    /// Lets a key of a slave that is gone be known no more.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn forget_slave_key(&self, key: PublicKey) -> Result<(), ClientError> {
        let url = self.url(&format!("/v2/slave_keys/{key}"));
        let _: Success = self
            .repeat(ClientError::never_arrived, async || {
                Ok(self.caller.send(Method::DELETE, &url, &json!({})).await?)
            })
            .await?;
        Ok(())
    }

    /// The tokens with which slaves join, without their texts.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn join_tokens(&self) -> Result<JoinTokensBody, ClientError> {
        self.read("/v2/join_tokens").await
    }

    /// Creates a token with which slaves join.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_join_token(
        &self,
        token: &CreateJoinToken,
    ) -> Result<CreatedJoinToken, ClientError> {
        let url = self.url("/v2/join_tokens");
        self.repeat(ClientError::never_arrived, async || {
            Ok(self.caller.send(Method::POST, &url, token).await?)
        })
        .await
    }

    /// Lets no slave join with a token any more.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn revoke_join_token(&self, token: TokenId) -> Result<(), ClientError> {
        let url = self.url(&format!("/v2/join_tokens/{token}"));
        let _: Success = self
            .repeat(ClientError::never_arrived, async || {
                Ok(self.caller.send(Method::DELETE, &url, &json!({})).await?)
            })
            .await?;
        Ok(())
    }
}
