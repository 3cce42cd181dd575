//! From the options of `clusterrunner build` to a request.

use super::{matrix, variables};
use crate::options::{BuildOptions, DirectoryOptions, GitOptions, ProjectOptions};
use crate::output;
use crate::trouble::Trouble;
use clusterrunner_common::job::config::{JobConfig, JobConfigError, in_plain_words};
pub(crate) use clusterrunner_common::job::file::JOB_FILE;
use clusterrunner_common::job::file::{JobFileError, read_job_file};
use clusterrunner_common::work::BuildRequest;
use serde_json::{Map, Value, json};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The smallest useful job file, for those who have none yet.
const JOB_FILE_EXAMPLE: &str = "\
Tests:
  commands:
    - echo \"testing $NAME\"
  atomizers:
    - NAME: printf 'one\\ntwo\\n'";

/// The request that the options describe, complete and checked. `local` is what [`local_project`] gives.
pub(crate) fn request(
    options: &BuildOptions,
    local: Option<&Path>,
) -> Result<BuildRequest, Trouble> {
    let mut body = match (&options.project, local) {
        (Some(ProjectOptions::Git(git)), _) => git_body(git),
        (Some(ProjectOptions::Directory(directory)), _) => directory_body(directory)?,
        (None, Some(local)) => directory(local)?,
        (None, None) => directory(Path::new("."))?,
    };
    if let Some(job) = &options.job_name {
        body.insert("job_name".to_owned(), json!(job));
    }
    if let Some(text) = &options.config {
        body.insert("config".to_owned(), parsed("--config", text)?);
    }
    if let Some(text) = &options.atoms_override {
        body.insert(
            "atoms_override".to_owned(),
            parsed("--atoms-override", text)?,
        );
    }
    let files: Map<String, Value> = options
        .remote_files
        .chunks_exact(2)
        .map(|pair| (pair[0].clone(), json!(pair[1])))
        .collect();
    if !files.is_empty() {
        body.insert("remote_files".to_owned(), files.into());
    }
    if !options.matrix.is_empty() {
        body.insert("matrix".to_owned(), json!(matrix::chosen(&options.matrix)));
    }
    if let Some(retries) = options.retries {
        body.insert("retries".to_owned(), json!(retries));
    }
    if let Some(most) = options.fail_fast {
        body.insert("max_fail".to_owned(), json!(most));
    }
    let request = BuildRequest::from_json(&body.into());
    let request = request.map_err(|error| Trouble::usage(error.to_string()))?;
    Ok(BuildRequest {
        env: variables::chosen(&options.env)?,
        ..request
    })
}

/// A path that begins at the working directory as one from the root, any other URL as it is: the master has another
/// working directory.
fn absolute(url: &str) -> String {
    let first = url.split('/').next();
    let found = match first {
        Some("." | "..") => std::fs::canonicalize(url).ok(),
        _ => None,
    };
    let path = found.and_then(|path| path.into_os_string().into_string().ok());
    path.unwrap_or_else(|| url.to_owned())
}

fn git_body(git: &GitOptions) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("type".to_owned(), json!("git"));
    body.insert("url".to_owned(), json!(absolute(&git.url)));
    for (name, value) in [
        ("remote", &git.remote),
        ("branch", &git.branch),
        ("hash", &git.hash),
        ("project_directory", &git.project_directory),
    ] {
        if let Some(value) = value {
            body.insert(name.to_owned(), json!(value));
        }
    }
    body
}

/// A directory as the farm sees it; it need not be on this machine.
fn directory_body(options: &DirectoryOptions) -> Result<Map<String, Value>, Trouble> {
    let given = &options.project_directory;
    let absolute = std::path::absolute(given)
        .map_err(|error| Trouble::usage(format!("'{}': {error}", given.display())))?;
    directory(&absolute)
}

/// The directory on this machine that is to be built, which must have what a build needs; nothing where the options
/// name a project elsewhere.
pub(crate) fn local_project(options: &BuildOptions) -> Result<Option<PathBuf>, Trouble> {
    if options.project.is_some() {
        if options.send || options.whole {
            let trouble =
                Trouble::usage("--send and --whole are for a PATH, not for a project type");
            return Err(
                trouble.hint("`clusterrunner build --send PATH` sends a directory of this machine")
            );
        }
        if options.path.is_some() {
            let trouble = Trouble::usage("give either a PATH or a project type, not both");
            return Err(trouble.hint(
                "leave out the path, or give it as `build directory --project-directory PATH`",
            ));
        }
        return Ok(None);
    }
    let given = options.path.as_deref().unwrap_or(Path::new("."));
    let found = given
        .canonicalize()
        .map_err(|error| no_project(given, &error))?;
    if !found.is_dir() {
        let trouble = Trouble::usage(format!("'{}' is not a directory", given.display()));
        return Err(trouble.hint(format!("name the directory that the {JOB_FILE} is in")));
    }
    if options.config.is_some() {
        return Ok(Some(found));
    }
    let found = match &options.path {
        Some(_) => found,
        None => nearest_project(found),
    };
    check_job(&found.join(JOB_FILE), options.job_name.as_deref())?;
    Ok(Some(found))
}

/// The request for a build of the project that this directory is in, by its job of this name.
pub(crate) fn project_here(job_name: Option<&str>) -> Result<BuildRequest, Trouble> {
    let here = Path::new(".");
    let found = here
        .canonicalize()
        .map_err(|error| no_project(here, &error))?;
    let found = nearest_project(found);
    check_job(&found.join(JOB_FILE), job_name)?;
    let mut body = directory(&found)?;
    if let Some(job) = job_name {
        body.insert("job_name".to_owned(), json!(job));
    }
    let request = BuildRequest::from_json(&body.into());
    request.map_err(|error| Trouble::usage(error.to_string()))
}

/// The project that the present directory is in, if it is in one.
pub(super) fn directory_here() -> Option<PathBuf> {
    let found = nearest_project(Path::new(".").canonicalize().ok()?);
    found
        .join(JOB_FILE)
        .symlink_metadata()
        .is_ok()
        .then_some(found)
}

/// A path that is not there. It may be meant as a job.
fn no_project(given: &Path, error: &std::io::Error) -> Trouble {
    let trouble = Trouble::usage(format!("'{}' is no project: {error}", given.display()));
    let bytes = job_file(Path::new(JOB_FILE)).unwrap_or_default();
    let jobs = JobConfig::parse(&String::from_utf8_lossy(&bytes), JOB_FILE);
    match given.to_str() {
        Some(number) if number.parse::<u32>().is_ok() => {
            trouble.hint("a number for --fail-fast goes behind an equals sign: --fail-fast=3")
        }
        Some(name) if jobs.is_ok_and(|jobs| jobs.names().any(|job| job == name)) => trouble.hint(
            format!("for the job of this name: `clusterrunner build --job-name {name}`"),
        ),
        Some(_) | None => trouble,
    }
}

/// The directory, or else the nearest one above it, that has a job file. In a directory that all may write to, a file of
/// somebody else would decide what runs here: only one of this user, or of root, is taken from above.
fn nearest_project(here: PathBuf) -> PathBuf {
    if here.join(JOB_FILE).symlink_metadata().is_ok() {
        return here;
    }
    let user = rustix::process::geteuid().as_raw();
    let is_project = |directory: &&Path| {
        let file = directory.join(JOB_FILE).symlink_metadata();
        file.is_ok_and(|file| file.is_file() && [user, 0].contains(&file.uid()))
    };
    match here.ancestors().skip(1).find(is_project) {
        Some(above) => {
            let shown = above.display();
            output::note(format!(
                "building {shown}, which has the nearest {JOB_FILE}"
            ));
            above.to_owned()
        }
        None => here,
    }
}

/// Better now than as a build that ends in an error: whether the file has the job that is asked for.
fn check_job(path: &Path, job: Option<&str>) -> Result<(), Trouble> {
    let bytes = job_file(path)?;
    let shown = path.display();
    let config = JobConfig::parse(&String::from_utf8_lossy(&bytes), &shown.to_string());
    let error = match config.as_ref().map(|config| config.job(job)) {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => error,
        Err(error) => error.clone(),
    };
    Err(match &error {
        JobConfigError::UnknownJob { name, names } => {
            let meant = match error.meant() {
                Some(meant) => format!("did you mean '{meant}'? "),
                None => String::new(),
            };
            let trouble = Trouble::usage(format!("{shown} has no job '{name}'"));
            trouble.hint(format!("{meant}its jobs are: {}", names.join(", ")))
        }
        JobConfigError::JobNotSpecified { names } => {
            let trouble = Trouble::usage(format!("{shown} has several jobs"));
            trouble.hint(format!("--job-name says which: {}", names.join(", ")))
        }
        other => {
            let trouble = Trouble::usage(in_plain_words(&other.to_string()));
            trouble.hint("`clusterrunner validate` shows all that is wrong in it")
        }
    })
}

/// What is in the job file of a project on this machine.
pub(crate) fn job_file(path: &Path) -> Result<Vec<u8>, Trouble> {
    read_job_file(path).map_err(|error| match error {
        JobFileError::Missing(path) => {
            let hint = format!(
                "a {JOB_FILE} says what to run: `clusterrunner init` writes one for projects that it knows; else begin with \
                 this, and see `clusterrunner validate`:\n\n{JOB_FILE_EXAMPLE}\n"
            );
            Trouble::usage(format!("there is no {}", path.display())).hint(hint)
        }
        other => Trouble::usage(other.to_string().trim_end_matches('.')),
    })
}

fn directory(path: &Path) -> Result<Map<String, Value>, Trouble> {
    let text = path.to_str().ok_or_else(|| {
        Trouble::usage(format!(
            "the path '{}' is not valid UTF-8, so it can not be sent to a master",
            path.display()
        ))
    })?;
    let mut body = Map::new();
    body.insert("type".to_owned(), json!("directory"));
    body.insert("project_directory".to_owned(), json!(text));
    Ok(body)
}

/// JSON from the command line, or from the file after an `@`.
fn parsed(option: &str, text: &str) -> Result<Value, Trouble> {
    let from_file = match text.strip_prefix('@') {
        None => None,
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
            Trouble::usage(format!("could not read '{path}' for {option}: {error}"))
        })?),
    };
    serde_json::from_str(from_file.as_deref().unwrap_or(text)).map_err(|error| {
        Trouble::usage(format!("{option} is no JSON: {error}")).hint(
            "a job looks like {\"commands\": [\"make test\"], \"atomizers\": [{\"X\": \"seq 3\"}]}, \
             a list of atoms like [\"export X=\\\"1\\\";\"]; in a shell put it in single quotes, \
             or into a file and write @FILE",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::absolute;

    #[test]
    fn a_path_from_here_becomes_one_from_the_root() {
        let here = std::env::current_dir().unwrap();
        let src = here.join("src").canonicalize().unwrap();
        assert_eq!(absolute("./src"), src.to_str().unwrap());
        assert_eq!(absolute("../no such directory"), "../no such directory");
        for url in [
            "https://example.org/./a.git",
            "git@host:a/b",
            "/srv/a",
            ".hidden",
        ] {
            assert_eq!(absolute(url), url);
        }
    }
}
