//! Templates and instances.

use super::Client;
use crate::error::ClientError;
use clusterrunner_common::api::launching::{
    BuildTemplate, InstanceBody, InstanceLogBody, InstanceView, InstancesBody, LaunchInstance,
    TemplateAccepted, TemplateBody, TemplateView, TemplatesBody,
};
use clusterrunner_common::ids::InstanceId;
use reqwest::Method;
use serde_json::json;

impl Client {
    /// All names of templates, and what each points at.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn templates(&self) -> Result<Vec<TemplateView>, ClientError> {
        let body: TemplatesBody = self.read("/v2/templates").await?;
        Ok(body.templates)
    }

    /// What a name of templates points at.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn template(&self, name: &str) -> Result<TemplateView, ClientError> {
        let body: TemplateBody = self.read(&format!("/v2/templates/{name}")).await?;
        Ok(body.template)
    }

    /// Deletes a name of templates, with the templates that were built under it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete_template(&self, name: &str) -> Result<TemplateView, ClientError> {
        let url = self.url(&format!("/v2/templates/{name}"));
        let nothing = json!({});
        let body: TemplateBody = self
            .repeat(ClientError::never_arrived, || {
                self.send(Method::DELETE, &url, &nothing)
            })
            .await?;
        Ok(body.template)
    }

    /// Begins to make a template of a repository. Repeated only while the connection itself is refused: otherwise nobody
    /// knows whether the master has the build already.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn build_template(
        &self,
        request: &BuildTemplate,
    ) -> Result<TemplateAccepted, ClientError> {
        let url = self.url("/v2/templates");
        self.repeat(ClientError::never_arrived, || {
            self.send(Method::POST, &url, request)
        })
        .await
    }

    /// All instances that the master knows, by number.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn instances(&self) -> Result<Vec<InstanceView>, ClientError> {
        let body: InstancesBody = self.read("/v2/instances").await?;
        Ok(body.instances)
    }

    /// One instance.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn instance(&self, instance: InstanceId) -> Result<InstanceView, ClientError> {
        let body: InstanceBody = self.read(&format!("/v2/instances/{instance}")).await?;
        Ok(body.instance)
    }

    /// Starts an instance of a template. Repeated only while the connection itself is refused.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn launch(&self, request: &LaunchInstance) -> Result<InstanceView, ClientError> {
        let url = self.url("/v2/instances");
        let body: InstanceBody = self
            .repeat(ClientError::never_arrived, || {
                self.send(Method::POST, &url, request)
            })
            .await?;
        Ok(body.instance)
    }

    /// Stops an instance; does nothing to one that is over.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn stop_instance(&self, instance: InstanceId) -> Result<InstanceView, ClientError> {
        let url = self.url(&format!("/v2/instances/{instance}"));
        let nothing = json!({});
        let body: InstanceBody = self
            .repeat(ClientError::is_passing, || {
                self.send(Method::DELETE, &url, &nothing)
            })
            .await?;
        Ok(body.instance)
    }

    /// What an instance printed, from a place in that text on. The master waits for so many seconds where nothing is
    /// there yet.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn instance_log(
        &self,
        instance: InstanceId,
        offset: u64,
        wait_s: u64,
    ) -> Result<InstanceLogBody, ClientError> {
        let path = format!("/v2/instances/{instance}/logs?offset={offset}&wait_s={wait_s}");
        self.read(&path).await
    }
}
