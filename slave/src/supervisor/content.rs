//! Brings what instances run to this machine: templates of the master, images of registries.

use super::{NO_ROOM, Supervisor};
use crate::containers::{ContainerError, ContainerRuntime};
use crate::instances::Gone;
use crate::keeper::ContainerRun;
use crate::templates::{InUse, TemplateError};
use clusterrunner_common::api::instances::InstanceOrder;
use clusterrunner_common::templates::Form;
use tokio_util::sync::CancellationToken;

/// What an instance runs, on this machine.
pub(super) struct Content {
    /// Its template, kept for it; none for an image that was pulled.
    pub(super) held: Option<InUse>,
    /// Where its template is unpacked; none for an image.
    pub(super) template: Option<std::path::PathBuf>,
    pub(super) container: Option<ContainerRun>,
}

impl Supervisor {
    /// Brings what an instance runs to this machine.
    pub(super) async fn fetch(
        &self,
        order: &InstanceOrder,
        end: &CancellationToken,
    ) -> Result<Content, Gone> {
        let snapshot = match (&order.snapshot, &order.image) {
            (Some(snapshot), _) => snapshot,
            (None, Some(image)) => {
                let pulled = self.pull(image, end).await;
                return pulled.map(|container| Content {
                    held: None,
                    template: None,
                    container: Some(container),
                });
            }
            (None, None) => {
                let reason = "it was ordered with neither a template nor an image";
                return Err(Gone::Failed(reason.to_owned()));
            }
        };
        let templates = &self.0.means.templates;
        if let Err(short) = templates.check_room(snapshot).await {
            return Err(Gone::NoRoom(format!("{NO_ROOM}: {short}")));
        }
        let held = match templates.get(snapshot, end).await {
            Ok(held) => held,
            Err(TemplateError::Canceled) => return Err(Gone::Ended),
            Err(error) if templates.is_full(&error) => {
                return Err(Gone::NoRoom(format!("{NO_ROOM}: {error}")));
            }
            Err(error) => return Err(Gone::Failed(error.to_string())),
        };
        let form = snapshot.description.form;
        Ok(Content {
            template: (form == Form::Workspace).then(|| held.path(form)),
            container: match form {
                Form::Workspace => None,
                Form::Image => {
                    let loaded = self.load(&held, &snapshot.digest).await;
                    Some(loaded.map_err(Gone::Failed)?)
                }
            },
            held: Some(held),
        })
    }

    /// Gives an image to the container runtime, if that does not have it. Says why it can not.
    async fn load(&self, held: &InUse, digest: &str) -> Result<ContainerRun, String> {
        let runtime = self.0.means.containers.runtime().await;
        let runtime = runtime.map_err(|why| format!("the slave can not run images: {why}"))?;
        let (archive, digest) = (held.path(Form::Image), digest.to_owned());
        let load = move || {
            Ok::<_, ContainerError>(ContainerRun {
                image: runtime.have_template(&digest, &archive)?,
                runtime: ContainerRuntime::clone(&runtime),
                exposed: None,
            })
        };
        let loaded = tokio::task::spawn_blocking(load).await;
        let loaded = loaded.map_err(|error| format!("could not load the image: {error}"))?;
        loaded.map_err(|error| format!("could not load the image: {error}"))
    }

    /// Has the container runtime fetch an image, if that does not have it.
    async fn pull(&self, image: &str, end: &CancellationToken) -> Result<ContainerRun, Gone> {
        let runtime = self.0.means.containers.runtime().await;
        let runtime =
            runtime.map_err(|why| Gone::Failed(format!("the slave can not run images: {why}")))?;
        let (name, stop) = (image.to_owned(), end.clone());
        let pull = move || {
            runtime.pull(&name, &|| stop.is_cancelled())?;
            Ok::<_, ContainerError>(ContainerRun {
                exposed: runtime.exposed_port(&name)?,
                runtime: ContainerRuntime::clone(&runtime),
                image: name,
            })
        };
        let failed = |why: String| Gone::Failed(format!("could not pull the image {image}: {why}"));
        match tokio::task::spawn_blocking(pull).await {
            Ok(Ok(container)) => Ok(container),
            Ok(Err(ContainerError::Canceled)) => Err(Gone::Ended),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}
