//! The users of the farm and their tokens.

use super::Client;
use crate::error::ClientError;
use clusterrunner_common::api::Success;
use clusterrunner_common::api::accounts::{
    ChangeUser, CreateToken, CreateUser, CreatedToken, RenewedToken, SessionLink, TokensBody,
    UserBody, UserView, UsersBody,
};
use clusterrunner_common::ids::TokenId;
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

impl Client {
    /// The users that the caller may see.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn users(&self) -> Result<UsersBody, ClientError> {
        self.read("/v2/users").await
    }

    /// Creates a user.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_user(&self, user: &CreateUser) -> Result<UserView, ClientError> {
        let created: UserBody = self.order(Method::POST, "/v2/users", user).await?;
        Ok(created.user)
    }

    /// Changes a user.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn change_user(
        &self,
        name: &str,
        change: &ChangeUser,
    ) -> Result<UserView, ClientError> {
        let path = format!("/v2/users/{name}");
        let changed: UserBody = self.order(Method::PUT, &path, change).await?;
        Ok(changed.user)
    }

    /// Deletes a user and all that is the user's.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete_user(&self, name: &str) -> Result<(), ClientError> {
        let path = format!("/v2/users/{name}");
        let _: Success = self.order(Method::DELETE, &path, &json!({})).await?;
        Ok(())
    }

    /// Gives a user another API token; the one before ends.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn renew_token(&self, user: &str) -> Result<RenewedToken, ClientError> {
        let path = format!("/v2/users/{user}/token");
        self.order(Method::POST, &path, &json!({})).await
    }

    /// A link that signs a browser in once, with the rights of the caller.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn session_link(&self) -> Result<SessionLink, ClientError> {
        self.order(Method::POST, "/v2/session/link", &json!({}))
            .await
    }

    /// The named tokens that the caller may see.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn tokens(&self) -> Result<TokensBody, ClientError> {
        self.read("/v2/tokens").await
    }

    /// Creates a named token.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_token(&self, token: &CreateToken) -> Result<CreatedToken, ClientError> {
        self.order(Method::POST, "/v2/tokens", token).await
    }

    /// Ends a named token.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn revoke_token(&self, token: TokenId) -> Result<(), ClientError> {
        let path = format!("/v2/tokens/{token}");
        let _: Success = self.order(Method::DELETE, &path, &json!({})).await?;
        Ok(())
    }

    /// Sends an order about accounts. Repeated only while the connection itself is refused: what was done once is
    /// refused the second time.
    pub(super) async fn order<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let url = self.url(path);
        self.repeat(ClientError::never_arrived, async || {
            Ok(self.caller.send(method.clone(), &url, body).await?)
        })
        .await
    }
}
