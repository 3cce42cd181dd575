//! Repositories for tests, made with the git program, and mirrors of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clusterrunner_common::git::{CommitId, GitError, GitOptions, GitUrl, Mirror, Revision};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A repository with a work tree, in a folder of its own.
pub(crate) struct Source {
    folder: TempDir,
}

/// Runs `program` in `directory`; a missing program fails the test and names the package that has it.
pub(crate) fn run(directory: &Path, program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "could not start {program} (Debian: {}): {error}",
                package_of(program)
            )
        })
}

pub(crate) fn package_of(program: &str) -> &'static str {
    if program.contains("sshd") {
        "openssh-server"
    } else if program.contains("ssh") {
        "openssh-client"
    } else {
        "git"
    }
}

/// What git prints, without the line end; a failure fails the test.
pub(crate) fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, "git", arguments);
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

impl Source {
    /// Empty: a branch `master` without a commit.
    pub(crate) fn empty() -> Self {
        let source = Self {
            folder: TempDir::new().unwrap(),
        };
        fs::create_dir(source.path()).unwrap();
        source.git(&["init", "--quiet", "--initial-branch=master"]);
        source.git(&["config", "user.name", "Test"]);
        source.git(&["config", "user.email", "test@example.invalid"]);
        source
    }

    /// With one commit that has `file` (content `one`).
    pub(crate) fn with_one_commit() -> Self {
        let source = Self::empty();
        source.commit(&[("file", "one")]);
        source
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    /// The folder that holds it, for servers that serve a folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(&self.path(), arguments)
    }

    /// Writes the files and commits everything.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> CommitId {
        for (name, content) in files {
            let path = self.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&[
            "commit",
            "--quiet",
            "--allow-empty",
            "--message",
            "a commit",
        ]);
        self.head()
    }

    pub(crate) fn head(&self) -> CommitId {
        self.git(&["rev-parse", "HEAD"]).parse().unwrap()
    }

    /// A mirror of it by its path.
    pub(crate) fn local_mirror(&self) -> TestMirror {
        TestMirror::new(self.path().to_str().unwrap(), local_options())
    }
}

pub(crate) fn local_options() -> GitOptions {
    GitOptions {
        allow_local_sources: true,
        ..GitOptions::default()
    }
}

/// A mirror in a folder of its own, and places for work trees.
pub(crate) struct TestMirror {
    pub(crate) folder: TempDir,
    pub(crate) mirror: Mirror,
}

impl TestMirror {
    pub(crate) fn new(url: &str, options: GitOptions) -> Self {
        let folder = TempDir::new().unwrap();
        let url = GitUrl::parse(url, true).unwrap();
        let mirror = Mirror::new(
            folder.path().join("mirrors").join(url.directory_name()),
            url,
            options,
        );
        Self { folder, mirror }
    }

    pub(crate) fn fetch(
        &self,
        branch: Option<&str>,
        hash: Option<&str>,
    ) -> Result<CommitId, GitError> {
        let revision = Revision {
            remote: None,
            branch: branch.map(str::to_owned),
            hash: hash.map(str::to_owned),
        };
        self.mirror.fetch(&revision, &CancellationToken::new())
    }

    pub(crate) fn work_tree(&self) -> PathBuf {
        self.folder.path().join("work tree")
    }

    pub(crate) fn check_out(&self, commit: &CommitId) -> Result<(), GitError> {
        self.mirror
            .check_out(commit, &self.work_tree(), &CancellationToken::new())
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.work_tree().join(file)).unwrap()
    }
}
