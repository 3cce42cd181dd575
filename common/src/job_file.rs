//! Reading a project's `clusterrunner.yaml`, or the job that a request brings along.

use crate::job_config::{Job, JobConfig, JobConfigError};
use rustix::fs::{Mode, OFlags};
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
        "Could not find project yaml file {}. Write one there, or say with project_directory where it is.",
        .0.display()
    )]
    Missing(PathBuf),
    /// There is something else under its name.
    #[error("{} is {what}, not a file.", .path.display())]
    NoFile {
        /// What was found.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
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

impl JobFileError {
    /// The same about a file in a repository, whose checkout is nobody's business: the file is named as
    /// it is named there.
    #[must_use]
    pub fn in_repository(mut self, project_directory: Option<&str>) -> Self {
        if let Self::Missing(path) | Self::NoFile { path, .. } | Self::Unreadable { path, .. } =
            &mut self
        {
            *path = Path::new(project_directory.unwrap_or_default()).join(JOB_FILE);
        }
        self
    }
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
        let job = Job::from_inline(job_name, &Value::Object(config.clone()))?;
        return Ok((job_name.unwrap_or("None").to_owned(), job));
    }
    let bytes = read_job_file(&project.join(JOB_FILE))?;
    let config = JobConfig::parse(&String::from_utf8_lossy(&bytes), JOB_FILE)?;
    let (name, job) = config.job(job_name)?;
    Ok((name.to_owned(), job.clone()))
}

/// What is in a job file. Blocks, but not for ever, whatever has the file's name.
///
/// # Errors
/// There is none, it is no file, or it can not be read. Never [`JobFileError::Job`].
pub fn read_job_file(path: &Path) -> Result<Vec<u8>, JobFileError> {
    let failed = |source: io::Error| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound if path.is_symlink() => JobFileError::NoFile {
                path,
                what: "a symbolic link that leads nowhere",
            },
            io::ErrorKind::NotFound => JobFileError::Missing(path),
            _ => JobFileError::Unreadable { path, source },
        }
    };
    // Looked at before it is opened, since opening a device can have effects; opened without waiting,
    // since a pipe could have come in between.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        let what = match metadata.is_dir() {
            true => "a directory",
            false => "a pipe, a socket or a device",
        };
        let path = path.to_owned();
        return Err(JobFileError::NoFile { path, what });
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file =
        rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
    let mut bytes = Vec::new();
    File::from(file)
        .take(MAX_JOB_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_JOB_FILE {
        return Err(failed(io::Error::other("it has more than 8 MiB")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(JOB_FILE);
        let shown = path.display().to_string();
        let check = |expected: &str| {
            let error = read_job(None, None, folder.path()).unwrap_err().to_string();
            assert_eq!(error, format!("{shown} is {expected}, not a file."));
        };
        std::fs::create_dir(&path).unwrap();
        check("a directory");
        std::fs::remove_dir(&path).unwrap();
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, Mode::RUSR, 0).unwrap();
        check("a pipe, a socket or a device");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        check("a symbolic link that leads nowhere");
        std::fs::remove_file(&path).unwrap();
        let error = read_job(None, None, folder.path()).unwrap_err();
        assert!(matches!(error, JobFileError::Missing(missing) if missing == path));
    }

    #[test]
    fn a_file_of_a_repository_is_named_without_the_place_of_the_checkout() {
        let missing = || JobFileError::Missing("/base/master/work/p/web/clusterrunner.yaml".into());
        let check = |directory: Option<&str>, expected: &str| {
            let text = missing().in_repository(directory).to_string();
            assert!(text.starts_with(expected), "{text}");
        };
        check(
            None,
            "Could not find project yaml file clusterrunner.yaml. Write ",
        );
        check(
            Some("web"),
            "Could not find project yaml file web/clusterrunner.yaml. Write ",
        );
    }
}
