//! Slaves as jobs of Slurm: `sbatch` starts one, `squeue` lists, `scancel` ends. Jobs are found by their names. The script
//! comes to `sbatch` by its standard input, so the token in it is in no command line and in no file of the master.

mod listing;
mod script;

use super::provider::{Order, Provider, ProviderError};
use super::running::{Run, RunError};
use clusterrunner_common::settings::SlurmPool;
use clusterrunner_core::pools::Listed;
use std::ffi::OsStr;
use std::path::Path;

/// How many jobs one `scancel` is told.
const CANCELED_AT_A_TIME: usize = 200;

/// Jobs of Slurm.
#[derive(Clone, Debug)]
pub(super) struct SlurmProvider {
    settings: SlurmPool,
}

impl SlurmProvider {
    pub(super) fn new(settings: SlurmPool) -> Self {
        Self { settings }
    }

    async fn run(&self, arguments: &[&str], input: &[u8]) -> Result<String, ProviderError> {
        let program = arguments.first().copied().unwrap_or_default();
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let run = Run {
            program,
            arguments: &arguments,
            // A node may not have the master's directory.
            directory: Path::new("/"),
            limit: self.settings.timeout,
        };
        Ok(run.with_input(input).await?)
    }
}

impl Provider for SlurmProvider {
    async fn start(&self, order: &Order) -> Result<(), ProviderError> {
        let script = script::script(&self.settings, order);
        let started = self.run(&["sbatch", "--parsable"], script.as_bytes());
        let id = started.await?;
        tracing::debug!(pool = order.pool, job = id.trim(), "submitted a job");
        Ok(())
    }

    async fn stop(&self, listed: &[Listed]) -> Result<(), ProviderError> {
        for some in listed.chunks(CANCELED_AT_A_TIME) {
            let ids = some.iter().map(|one| one.id.as_str());
            let arguments: Vec<&str> = std::iter::once("scancel").chain(ids).collect();
            match self.run(&arguments, b"").await {
                Ok(_) => {}
                Err(ProviderError::Run(RunError::Failed { complaint, .. }))
                    if listing::is_gone(&complaint) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, ProviderError> {
        let format = format!("--format={}", listing::FORMAT);
        let arguments = ["squeue", "--noheader", "--me", "--states=all", &format];
        let printed = self.run(&arguments, b"").await?;
        listing::read(&printed, prefix).map_err(|what| ProviderError::Answer {
            program: "squeue".to_owned(),
            what,
        })
    }
}
