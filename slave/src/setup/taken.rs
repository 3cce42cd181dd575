//! The templates that builds here take: as the image of their containers, or as what their own template is based on.

use crate::build_template::GivenBase;
use crate::containers::{Availability, ContainerError};
use crate::templates::{InUse, TemplateError, Templates};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::lock;
use clusterrunner_common::templates::{Form, NamedTemplate};
use std::collections::HashMap;
use std::path::PathBuf;
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
        let archive = self.bring(build, template, stop).await?;
        let digest = template.snapshot.digest.clone();
        let load = spawn_blocking(move || runtime.have_template(&digest, &archive));
        Ok(load.await.map_err(super::contained::broken_off)??)
    }

    /// Brings a template here that the template of a build is based on.
    pub(super) async fn base(
        &self,
        build: BuildId,
        template: &NamedTemplate,
        stop: &CancellationToken,
    ) -> Result<GivenBase, TakingError> {
        let description = &template.snapshot.description;
        let place = match description.form {
            Form::Image => self.image(build, template, stop).await?,
            Form::Workspace => {
                let directory = self.bring(build, template, stop).await?;
                directory.display().to_string()
            }
        };
        Ok(GivenBase {
            reference: template.reference.clone(),
            description: description.clone(),
            place,
        })
    }

    /// Brings a template here; where it is.
    async fn bring(
        &self,
        build: BuildId,
        template: &NamedTemplate,
        stop: &CancellationToken,
    ) -> Result<PathBuf, TakingError> {
        let held = self.templates.get(&template.snapshot, stop).await;
        let held = held.map_err(|error| match error {
            TemplateError::Canceled => TakingError::Canceled,
            other => TakingError::Template(other),
        })?;
        let path = held.path(template.snapshot.description.form);
        self.hold(build, held);
        Ok(path)
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
