//! What each provider does, and what it is told.

use super::api_error::ApiError;
use super::running::RunError;
use clusterrunner_core::pools::Listed;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// All that a slave which is started needs to know.
#[derive(Clone, Serialize)]
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

/// Without the token.
impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("name", &self.name)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// Why a provider did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProviderError {
    /// A command did not end well.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A request to a cluster came to nothing.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A file that the settings name is not what it should be.
    #[error("{key} {}: {what}", .path.display())]
    File {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        what: String,
    },
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
