//! What starts and ends the slaves of a pool.

use super::command::CommandProvider;
use super::running::RunError;
use super::slurm::SlurmProvider;
use clusterrunner_common::settings::{PoolProvider, PoolSettings};
use clusterrunner_core::pools::Listed;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// All that a slave which is started needs to know.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Order {
    /// Its name, which the provider lists.
    pub(super) name: String,
    /// The pool.
    pub(super) pool: String,
    /// The farm's own name, which begins all names.
    pub(super) farm: String,
    /// `host:port` of the master.
    pub(super) master_url: String,
    /// How many executors it is to have.
    pub(super) executors: u32,
    /// Its labels.
    pub(super) labels: Vec<String>,
    /// What it joins with, once. Never to stand in a command line.
    pub(super) join_token: String,
    /// The variables of its environment that say all this but the token.
    pub(super) environment: BTreeMap<&'static str, String>,
}

/// Why a provider did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProviderError {
    /// A command did not end well.
    #[error(transparent)]
    Run(#[from] RunError),
    /// What it printed can not be read.
    #[error("{program} printed what is no answer: {what}")]
    Answer {
        /// Which command.
        program: String,
        /// What is wrong.
        what: String,
    },
}

/// Starts, ends and lists. Each may be repeated, and may be asked for what is not there any more.
pub(super) trait Provider {
    /// Starts a slave; returns when it is on its way.
    async fn start(&self, order: &Order) -> Result<(), ProviderError>;

    /// Ends what is listed. What is gone already is no failure.
    async fn stop(&self, listed: &[Listed]) -> Result<(), ProviderError>;

    /// What there is under names that begin with `prefix`, queued or running.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, ProviderError>;
}

/// The provider of a pool.
#[derive(Clone, Debug)]
pub(super) enum PoolsProvider {
    Command(CommandProvider),
    Slurm(SlurmProvider),
}

impl PoolsProvider {
    /// As the settings say it. Commands run in `directory`.
    pub(super) fn new(settings: &PoolSettings, directory: &Path) -> Self {
        match &settings.provider {
            PoolProvider::Command(commands) => {
                Self::Command(CommandProvider::new(commands.clone(), directory))
            }
            PoolProvider::Slurm(slurm) => Self::Slurm(SlurmProvider::new(slurm.clone())),
        }
    }

    /// What it is called.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Command(_) => "command",
            Self::Slurm(_) => "slurm",
        }
    }

    /// For how long the token of a slave is good, beyond the time in which it is to join: what waits in a queue is not
    /// late.
    pub(super) fn may_queue_for(&self) -> Duration {
        match self {
            Self::Command(_) => Duration::from_secs(60 * 60),
            Self::Slurm(_) => Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

impl Provider for PoolsProvider {
    async fn start(&self, order: &Order) -> Result<(), ProviderError> {
        match self {
            Self::Command(provider) => provider.start(order).await,
            Self::Slurm(provider) => provider.start(order).await,
        }
    }

    async fn stop(&self, listed: &[Listed]) -> Result<(), ProviderError> {
        match self {
            Self::Command(provider) => provider.stop(listed).await,
            Self::Slurm(provider) => provider.stop(listed).await,
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, ProviderError> {
        match self {
            Self::Command(provider) => provider.list(prefix).await,
            Self::Slurm(provider) => provider.list(prefix).await,
        }
    }
}
