//! The few requests that are made of a cluster, by its API server or by `kubectl`.

use super::kinds::{Kind, Selector};
use super::kubectl::Kubectl;
use super::server::ApiServer;
use crate::pools::api_error::ApiError;
use clusterrunner_common::settings::{KubernetesAccess, KubernetesPool};
use serde_json::Value;

/// By which a cluster is reached.
#[derive(Debug)]
pub(super) enum Api {
    Server(ApiServer),
    Kubectl(Kubectl),
}

impl Api {
    pub(super) fn new(settings: &KubernetesPool) -> Self {
        match &settings.access {
            KubernetesAccess::OwnPod | KubernetesAccess::Server { .. } => {
                Self::Server(ApiServer::new(settings))
            }
            KubernetesAccess::Kubectl(program) => Self::Kubectl(Kubectl::new(program, settings)),
        }
    }

    /// All of a kind that are selected.
    pub(super) async fn list(
        &self,
        kind: Kind,
        selector: &Selector,
    ) -> Result<Vec<Value>, ApiError> {
        match self {
            Self::Server(server) => server.list(kind, selector).await,
            Self::Kubectl(kubectl) => kubectl.list(kind, selector).await,
        }
    }

    /// Makes something. Returns it as it is then.
    pub(super) async fn create(&self, kind: Kind, body: &Value) -> Result<Value, ApiError> {
        match self {
            Self::Server(server) => server.create(kind, body).await,
            Self::Kubectl(kubectl) => kubectl.create(body).await,
        }
    }

    /// Ends a job with its pod and its secret. One that is gone already, or another one of that name, is no failure.
    pub(super) async fn delete(&self, name: &str, uid: Option<&str>) -> Result<(), ApiError> {
        match self {
            Self::Server(server) => server.delete(name, uid).await,
            Self::Kubectl(kubectl) => kubectl.delete(name).await,
        }
    }

    /// What the cluster warns of about a job.
    pub(super) async fn warnings(&self, job: &str) -> Result<Vec<Value>, ApiError> {
        let fields = format!("involvedObject.kind=Job,involvedObject.name={job},type=Warning");
        self.list(Kind::Event, &Selector::Fields(fields)).await
    }
}
