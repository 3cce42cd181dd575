//! What a build uses of templates and images: they are on this slave before its commands run.

use super::{BASES, Setup, SetupError, contained, failed, not_taken};
use crate::build_template::TemplatePlaces;
use crate::containers::ContainerError;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::process::variables::BuildVariables;
use clusterrunner_common::templates::NamedTemplate;
use clusterrunner_common::work::SetupJob;
use std::io;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

impl Setup {
    /// The variables of a build. One that makes a template is told by which runtime images are built, and which templates
    /// of the farm it is based on.
    pub(super) async fn variables(
        &self,
        build: BuildId,
        variables: Arc<BuildVariables>,
        job: &SetupJob,
        stop: &CancellationToken,
    ) -> Result<Arc<BuildVariables>, SetupError> {
        if !TemplatePlaces::are_of(&variables) {
            return Ok(variables);
        }
        let runtime = self.containers.runtime().await.ok();
        let mut bases = Vec::new();
        for template in &job.templates {
            let base = self.taken.base(build, template, stop).await;
            bases.push(base.map_err(not_taken(&template.reference))?);
        }
        let mut file = None;
        if !bases.is_empty() {
            let (path, _) = self.output(build, BASES).await?;
            let written = path.clone();
            let write = move || TemplatePlaces::write_bases(&bases, &written);
            let write = spawn_blocking(write).await.map_err(io::Error::other);
            if let Err(source) = write.and_then(|written| written) {
                return Err(SetupError::Output { path, source });
            }
            file = Some(path);
        }
        let (runtime, file) = (runtime.as_deref(), file.as_deref());
        Ok(self.templates.given_to(variables, runtime, file))
    }

    /// Sees to it that containers of the job's image can be started, and says what the runtime calls it.
    pub(super) async fn image(
        &self,
        build: BuildId,
        job: &SetupJob,
        stop: &CancellationToken,
    ) -> Result<Option<String>, SetupError> {
        let Some(image) = &job.image else {
            return Ok(None);
        };
        match named(job, image) {
            Some(template) => {
                let loaded = self.taken.image(build, template, stop).await;
                Ok(Some(loaded.map_err(not_taken(image))?))
            }
            None => {
                self.fetch_image(image, stop).await?;
                Ok(Some(image.clone()))
            }
        }
    }

    /// Sees to it that containers of this image can be started.
    async fn fetch_image(&self, image: &str, stop: &CancellationToken) -> Result<(), SetupError> {
        let fetched = async {
            let runtime = tokio::select! {
                runtime = self.containers.runtime() => runtime?,
                () = stop.cancelled() => return Err(ContainerError::Canceled),
            };
            let (image, stop) = (image.to_owned(), stop.clone());
            let pull = spawn_blocking(move || runtime.pull(&image, &|| stop.is_cancelled()));
            pull.await.map_err(contained::broken_off)?
        };
        fetched.await.map_err(failed(image))
    }
}

/// The template of the farm that a word of the job stands for.
fn named<'j>(job: &'j SetupJob, reference: &str) -> Option<&'j NamedTemplate> {
    let mut templates = job.templates.iter();
    templates.find(|template| template.reference == reference)
}
