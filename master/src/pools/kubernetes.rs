//! Slaves as Jobs of Kubernetes, of one pod each. Jobs are found by a label, and have the names that join tokens have.
//!
//! What a slave joins with is in a Secret of the job's name, which the job owns: it goes with the job, and the master may make
//! Secrets without being able to read any.

mod api;
mod kinds;
mod kubectl;
mod listing;
mod manifests;
mod merging;
mod server;

use self::api::Api;
use self::kinds::Kind;
use super::api_error::ApiError;
use super::provider::{Order, Provider, ProviderError};
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::settings::KubernetesPool;
use clusterrunner_common::text::yaml;
use clusterrunner_core::pools::Listed;
use serde_json::Value;
use std::sync::Arc;

/// The longest file of a template.
const LONGEST_TEMPLATE: u64 = 1 << 20;

/// How often something is made again that met another request at the books of a quota.
const CONFLICTS: u32 = 3;

/// Jobs of Kubernetes.
#[derive(Clone, Debug)]
pub(super) struct KubernetesProvider {
    settings: Arc<KubernetesPool>,
    api: Arc<Api>,
}

impl KubernetesProvider {
    pub(super) fn new(settings: KubernetesPool) -> Self {
        Self {
            api: Arc::new(Api::new(&settings)),
            settings: Arc::new(settings),
        }
    }

    /// What the template says of the pods. It is read anew for each pod.
    fn template(&self) -> Result<Value, ProviderError> {
        let Some(path) = &self.settings.pod_template else {
            return Ok(Value::Null);
        };
        let wrong = |what: String| ProviderError::File {
            key: "pod_template",
            path: path.clone(),
            what,
        };
        let text = regular_file::read_to_string(path, LONGEST_TEMPLATE)
            .map_err(|error| wrong(error.to_string()))?;
        let read = yaml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        manifests::template(read).map_err(|what| wrong(what.to_owned()))
    }

    async fn create(&self, kind: Kind, body: &Value) -> Result<Value, ApiError> {
        let mut left = CONFLICTS;
        loop {
            match self.api.create(kind, body).await {
                Err(error) if error.is_conflict() && left > 0 => left -= 1,
                done => return done,
            }
        }
    }
}

impl Provider for KubernetesProvider {
    async fn start(&self, order: &Order) -> Result<(), ProviderError> {
        let job = manifests::job(&self.settings, &self.template()?, order);
        let failed = match self.create(Kind::Job, &job).await {
            Ok(made) => {
                let uid = made["metadata"]["uid"].as_str().unwrap_or_default();
                let secret = manifests::secret(order, uid);
                match self.create(Kind::Secret, &secret).await {
                    Ok(_) => return Ok(()),
                    Err(failed) => failed,
                }
            }
            Err(refused) if refused.is_refusal() => return Err(refused.into()),
            Err(failed) => failed,
        };
        // It may be there all the same, or without what its slave is to join with.
        if let Err(error) = self.api.delete(&order.name, None).await {
            tracing::debug!(pool = order.pool, name = order.name, %error, "could not take a job back");
        }
        Err(failed.into())
    }

    async fn stop(&self, listed: &[Listed]) -> Result<(), ProviderError> {
        for one in listed {
            self.api.delete(&one.name, Some(&one.id)).await?;
        }
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, ProviderError> {
        let selector = manifests::selector(prefix);
        let jobs = self.api.list(Kind::Job, &selector).await?;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let pods = self.api.list(Kind::Pod, &selector).await?;
        let read = listing::read(jobs, pods, prefix);
        let mut listed = read.map_err(|what| ApiError::Answer {
            doing: "list jobs".to_owned(),
            what: what.to_string(),
        })?;
        // A quota of pods is told nowhere else.
        if let Some(one) = listed.iter_mut().find(|one| listing::has_no_pod(one))
            && let Ok(events) = self.api.warnings(&one.name).await
            && let Some(why) = listing::warning(&events)
        {
            listing::explain(one, why);
        }
        Ok(listed)
    }
}
