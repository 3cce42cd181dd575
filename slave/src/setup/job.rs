//! The job of a build, wherever it is written.

use super::SetupError;
use crate::work::JobSource;
use clusterrunner_common::job::config::TimeLimit;
use clusterrunner_common::job::file::read_job;
use clusterrunner_common::work::SetupJob;
use std::path::Path;
use tokio::task::spawn_blocking;

/// What a slave needs of it.
pub(super) async fn job(source: JobSource, project: &Path) -> Result<SetupJob, SetupError> {
    let (name, config) = match source {
        JobSource::Order(job) => return Ok((*job).understood()),
        JobSource::Project { name, config } => (name, config),
    };
    let project = project.to_owned();
    let read = move || read_job(config.as_ref(), name.as_deref(), &project);
    let (name, job) = spawn_blocking(read).await??;
    let seconds = |limit: Option<TimeLimit>| limit.and_then(TimeLimit::seconds);
    Ok(SetupJob {
        name,
        setup_timeout_s: seconds(job.timeouts.setup),
        teardown_timeout_s: seconds(job.timeouts.teardown),
        setup_build: job.setup_build,
        teardown_build: job.teardown_build,
        // A master of the original hands out no more than it wants to run.
        max_executors: None,
        priority: 0,
        weight: None,
        image: job.image,
        templates: Vec::new(),
        junit: job.junit,
        // It does not say which of its hand-outs may run together.
        batch_command: None,
        cache: None,
        setup_once: false,
        worker: job.worker,
        isolation: job.isolation,
    })
}
