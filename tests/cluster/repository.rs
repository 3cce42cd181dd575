//! Git repositories that tests make, with the git program.

use crate::job::Job;
use crate::processes;
use crate::wait::wait_for;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A repository with a work tree, in a temporary directory of its own.
pub(crate) struct Repository {
    directory: TempDir,
}

impl Repository {
    /// One without any commit.
    pub(crate) fn empty() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("clusterrunner-project-")
            .tempdir()
            .unwrap();
        let repository = Self { directory };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    /// One with one commit of one `clusterrunner.yaml`.
    pub(crate) fn with_jobs(jobs: &str) -> Self {
        let repository = Self::empty();
        repository.commit(&[("clusterrunner.yaml", jobs)]);
        repository
    }

    /// One with one commit of one job.
    pub(crate) fn of(job: &Job) -> Self {
        Self::with_jobs(&job.to_string())
    }

    /// Makes this its job.
    pub(crate) fn commit_job(&self, job: &Job) {
        self.commit(&[("clusterrunner.yaml", &job.to_string())]);
    }

    /// Writes files and commits them on the present branch; the commit's id.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> String {
        for (name, content) in files {
            let path = self.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A file beside the tracked ones that commands of a build may write to: `.git` is not fetched.
    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        self.path().join(".git").join(name)
    }

    /// A variable that is only in the environment of this project's commands, for the shell.
    pub(crate) fn marker(&self) -> String {
        format!("MARKER={}/.git/atom", self.path().display())
    }

    /// Waits until no process has [`Repository::marker`] any more. By themselves those of the tests go on for longer.
    pub(crate) async fn wait_until_gone(&self) {
        let marker = self.marker();
        wait_for("all processes of the build are gone", async || {
            processes::with_text(&marker).is_empty().then_some(())
        })
        .await;
    }

    /// The request for a build of its branch `main`.
    pub(crate) fn request(&self) -> Value {
        json!({"type": "git", "url": self.path(), "branch": "main"})
    }

    /// [`Repository::request`] with more fields.
    pub(crate) fn request_with(&self, fields: Value) -> Value {
        let mut request = self.request();
        let more = fields.as_object().unwrap().clone();
        request.as_object_mut().unwrap().extend(more);
        request
    }

    /// Runs git there; what it prints.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=Test",
                "-c",
                "user.email=test@example.org",
                "-c",
                "commit.gpgSign=false",
            ])
            .args(arguments)
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}
