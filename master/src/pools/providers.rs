//! All providers: which one a pool has follows from its settings.

use super::command::CommandProvider;
use super::kubernetes::KubernetesProvider;
use super::provider::{Order, Provider, ProviderError};
use super::slurm::SlurmProvider;
use clusterrunner_common::settings::{PoolProvider, PoolSettings};
use clusterrunner_core::pools::Listed;
use std::path::Path;
use std::time::Duration;

/// The provider of a pool.
#[derive(Clone, Debug)]
pub(super) enum PoolsProvider {
    Command(CommandProvider),
    Slurm(SlurmProvider),
    Kubernetes(KubernetesProvider),
}

impl PoolsProvider {
    /// As the settings say it. Commands run in `directory`.
    pub(super) fn new(settings: &PoolSettings, directory: &Path) -> Self {
        match &settings.provider {
            PoolProvider::Command(commands) => {
                Self::Command(CommandProvider::new(commands.clone(), directory))
            }
            PoolProvider::Slurm(slurm) => Self::Slurm(SlurmProvider::new(slurm.clone())),
            PoolProvider::Kubernetes(kubernetes) => {
                Self::Kubernetes(KubernetesProvider::new(kubernetes.clone()))
            }
        }
    }

    /// What it is called.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Command(_) => "command",
            Self::Slurm(_) => "slurm",
            Self::Kubernetes(_) => "kubernetes",
        }
    }

    /// For how long the token of a slave is good, beyond the time in which it is to join: what waits in a queue is not
    /// late.
    pub(super) fn may_queue_for(&self) -> Duration {
        match self {
            Self::Command(_) => Duration::from_secs(60 * 60),
            Self::Slurm(_) | Self::Kubernetes(_) => Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

impl Provider for PoolsProvider {
    async fn start(&self, order: &Order) -> Result<(), ProviderError> {
        match self {
            Self::Command(provider) => provider.start(order).await,
            Self::Slurm(provider) => provider.start(order).await,
            Self::Kubernetes(provider) => provider.start(order).await,
        }
    }

    async fn stop(&self, listed: &[Listed]) -> Result<(), ProviderError> {
        match self {
            Self::Command(provider) => provider.stop(listed).await,
            Self::Slurm(provider) => provider.stop(listed).await,
            Self::Kubernetes(provider) => provider.stop(listed).await,
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, ProviderError> {
        match self {
            Self::Command(provider) => provider.list(prefix).await,
            Self::Slurm(provider) => provider.list(prefix).await,
            Self::Kubernetes(provider) => provider.list(prefix).await,
        }
    }
}
