//! What the master reads for apps.

use super::error::SettingsError;
use super::layers::Layers;
use super::values::{Domain, Domains, Seconds};
use crate::auth::secret::Secret;
use std::time::Duration;

/// Settings of apps and of the API by which they are deployed.
#[derive(Debug, Clone)]
pub struct AppSettings {
    /// The domain below which each app has a name, in lower case; none where it follows from the names by which the
    /// master is reached.
    pub domain: Option<String>,
    /// Names by which users reach the master beside its `hostname` and `master_hostname`, in lower case: no app may have
    /// them as domains.
    pub further_hostnames: Vec<String>,
    /// How long requests wait for what they have changed.
    pub deploy_wait: Duration,
    /// What a separate program that receives pushes shows to tell of them; none where there is no such program.
    pub builder_key: Option<Secret>,
}

impl AppSettings {
    pub(super) fn read(layers: &Layers<'_>) -> Result<Self, SettingsError> {
        let domain: Option<Domain> = layers.get_if_set("app_domain")?;
        let further: Option<Domains> = layers.get_if_set("further_hostnames")?;
        Ok(Self {
            domain: domain.map(|domain| domain.0),
            further_hostnames: further.map(|names| names.0).unwrap_or_default(),
            deploy_wait: layers.get::<Seconds<0>>("deploy_wait")?.0,
            builder_key: layers.get_if_set("builder_key")?,
        })
    }
}
