//! The secrets of builds.

use super::Client;
use crate::error::ClientError;
use clusterrunner_common::api::Success;
use clusterrunner_common::api::secrets::{
    RemoveSecret, ResealSecrets, ResealedBody, SecretBody, SecretView, SecretsBody, SetSecret,
};
use reqwest::Method;

impl Client {
    /// The secrets that the caller may see, without their values.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn secrets(&self) -> Result<SecretsBody, ClientError> {
        self.read("/v2/secrets").await
    }

    /// Sets a secret.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_secret(&self, secret: &SetSecret) -> Result<SecretView, ClientError> {
        let set: SecretBody = self.order(Method::POST, "/v2/secrets", secret).await?;
        Ok(set.secret)
    }

    /// Has all values sealed under the secret that the farm has now.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn reseal_secrets(
        &self,
        former: &ResealSecrets,
    ) -> Result<ResealedBody, ClientError> {
        self.order(Method::POST, "/v2/resealed_secrets", former)
            .await
    }

    /// Removes a secret. `name` is that of a variable.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_secret(&self, project: &str, name: &str) -> Result<(), ClientError> {
        let path = format!("/v2/secrets/{name}");
        let body = RemoveSecret {
            project: project.to_owned(),
        };
        let _: Success = self.order(Method::DELETE, &path, &body).await?;
        Ok(())
    }
}
