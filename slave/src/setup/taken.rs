//! The templates that builds here take: as the image of their containers, or as what their own template is based on.

use crate::containers::{Availability, ContainerError};
use crate::templates::{InUse, TemplateError, Templates};
use clusterrunner_common::api::NamedTemplate;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::lock;
use clusterrunner_common::templates::Form;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

/// Why a build has not a template that it takes. The text reaches the user.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakingError {
    #[error(transparent)]
    Template(TemplateError),
    #[error("{0}")]
    Containers(#[from] ContainerError),
    #[error("the set-up was canceled")]
    Canceled,
}

/// The templates that builds take. They stay in the cache as long as the build is here.
#[derive(Debug)]
pub(crate) struct TakenTemplates {
    templates: Arc<Templates>,
    containers: Availability,
    held: Mutex<HashMap<BuildId, Vec<InUse>>>,
}

impl TakenTemplates {
    pub(crate) fn new(templates: Arc<Templates>, containers: Availability) -> Self {
        Self {
            templates,
            containers,
            held: Mutex::default(),
        }
    }

    /// Brings a template here, and gives its image to the container runtime. Says what that image is called.
    pub(super) async fn image(
        &self,
        build: BuildId,
        template: &NamedTemplate,
        stop: &CancellationToken,
    ) -> Result<String, TakingError> {
        let runtime = tokio::select! {
            runtime = self.containers.runtime() => runtime.map_err(ContainerError::NotAvailable)?,
            () = stop.cancelled() => return Err(TakingError::Canceled),
        };
        let held = self.templates.get(&template.snapshot, stop).await;
        let held = held.map_err(|error| match error {
            TemplateError::Canceled => TakingError::Canceled,
            other => TakingError::Template(other),
        })?;
        let (archive, digest) = (held.path(Form::Image), template.snapshot.digest.clone());
        self.hold(build, held);
        let load = spawn_blocking(move || runtime.have_template(&digest, &archive));
        Ok(load.await.map_err(super::contained::broken_off)??)
    }

    fn hold(&self, build: BuildId, held: InUse) {
        lock(&self.held).entry(build).or_default().push(held);
    }

    /// The build is gone.
    pub(super) fn give_up(&self, build: BuildId) {
        let given_up = lock(&self.held).remove(&build);
        drop(given_up);
    }
}
