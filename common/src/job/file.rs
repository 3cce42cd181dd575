//! Reading a project's `clusterrunner.yaml`, or the job that a request brings along.

use crate::job::config::{Job, JobConfig, JobConfigError};
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
        /// The path of the job file.
        path: PathBuf,
        /// What is there instead, such as a directory.
        what: &'static str,
    },
    /// It is a link that leads elsewhere, whose content is nobody's business.
    #[error(
        "{} is a symbolic link that leads out of its project, and is not followed. Put the file itself there.",
        .0.display()
    )]
    Outside(PathBuf),
    /// It can not be read.
    #[error("Could not read {}: {source}.", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
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
        if let Self::Missing(path)
        | Self::Outside(path)
        | Self::NoFile { path, .. }
        | Self::Unreadable { path, .. } = &mut self
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
    let bytes = read_job_file(&job_file_in(project)?)?;
    let config = JobConfig::parse(&String::from_utf8_lossy(&bytes), JOB_FILE)?;
    let (name, job) = config.job(job_name)?;
    Ok((name.to_owned(), job.clone()))
}

/// The job file of a project. It may be a link, but only to somewhere in the same project: the
/// repository that the directory is in, or else the directory.
fn job_file_in(project: &Path) -> Result<PathBuf, JobFileError> {
    let path = project.join(JOB_FILE);
    let ends = (path.canonicalize(), project.canonicalize());
    // What is not there, or leads nowhere, is told by who reads it.
    let (true, (Ok(target), Ok(project))) = (path.is_symlink(), ends) else {
        return Ok(path);
    };
    let is_root = |directory: &&Path| directory.join(".git").symlink_metadata().is_ok();
    let root = project.ancestors().find(is_root).unwrap_or(&project);
    match target.starts_with(root) {
        true => Ok(target),
        false => Err(JobFileError::Outside(path)),
    }
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
    fn a_link_is_followed_only_inside_of_its_project() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for directory in ["project/web", "project/shared", "elsewhere"] {
            std::fs::create_dir_all(path(directory)).unwrap();
        }
        let job = "Job:\n  commands: [\"true\"]\n  atomizers: [{N: echo}]\n";
        std::fs::write(path("project/shared/job"), job).unwrap();
        std::fs::write(path("elsewhere/shadow"), "root:$6$secret:1:::\n").unwrap();
        let web = path("project/web");
        let read = |target: &str| {
            let link = web.join(JOB_FILE);
            std::fs::remove_file(&link).ok();
            std::os::unix::fs::symlink(target, link).unwrap();
            read_job(None, None, &web).map(|(name, _)| name)
        };
        let outside = read("../../elsewhere/shadow").unwrap_err();
        assert!(matches!(outside, JobFileError::Outside(_)), "{outside}");
        assert!(!outside.to_string().contains("secret"));
        assert!(matches!(
            read("../shared/job"),
            Err(JobFileError::Outside(_))
        ));
        // In a repository all of it is the project.
        std::fs::create_dir(path("project/.git")).unwrap();
        assert_eq!(read("../shared/job").unwrap(), "Job");
        assert!(matches!(
            read("../../elsewhere/shadow"),
            Err(JobFileError::Outside(_))
        ));
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
