//! Reading a project's `clusterrunner.yaml`, or the job that a request brings along.

use crate::job_config::{Job, JobConfig, JobConfigError};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The file that holds a project's jobs.
pub const JOB_FILE: &str = "clusterrunner.yaml";
/// The most of a job file that is read; any more is no job file.
const MAX_JOB_FILE: u64 = 8 << 20;

/// Why there is no job. The text reaches the user.
#[derive(Debug, thiserror::Error)]
pub enum JobFileError {
    /// There is no such file.
    #[error(
        "Could not find project yaml file {}. Every project needs one at its top; `clusterrunner validate` \
         checks it.",
        .0.display()
    )]
    Missing(PathBuf),
    /// It can not be read.
    #[error("Could not read {}: {source}.", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It has no such job, or the job is wrong.
    #[error(transparent)]
    Job(#[from] JobConfigError),
}

/// The name and the job that a build in the directory `project` is about: `config`, where the
/// request has one, takes the place of the file. Blocks.
///
/// # Errors
/// See [`JobFileError`].
pub fn read_job(
    config: Option<&Map<String, Value>>,
    job_name: Option<&str>,
    project: &Path,
) -> Result<(String, Job), JobFileError> {
    if let Some(config) = config {
        let job = Job::from_inline_named(job_name, &Value::Object(config.clone()))?;
        return Ok((job_name.unwrap_or("None").to_owned(), job));
    }
    let path = project.join(JOB_FILE);
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => JobFileError::Missing(path.clone()),
        _ => JobFileError::Unreadable {
            path: path.clone(),
            source,
        },
    };
    let mut bytes = Vec::new();
    let file = File::open(&path).map_err(failed)?;
    file.take(MAX_JOB_FILE)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let config = JobConfig::parse(&String::from_utf8_lossy(&bytes), JOB_FILE)?;
    let (name, job) = config.job(job_name)?;
    Ok((name.to_owned(), job.clone()))
}
