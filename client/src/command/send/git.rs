//! The user's git, with an index and an object store of our own: nothing in the repository changes.

use crate::trouble::Trouble;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tokio::process::Command;

/// Settings of the user's that must not act here: hooks, signatures, helpers that look at files, maintenance, what writes
/// beside the index, and bitmaps, with which packs leave out more than they are told to.
const SETTINGS: [&str; 13] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.splitIndex=false",
    "index.sparse=false",
    "commit.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "core.safecrlf=false",
    "core.quotePath=false",
    "pack.useBitmaps=false",
    "pack.allowPackReuse=false",
    "pack.packSizeLimit=0",
];

/// What says to git which repository it works on, as in a hook, and is not meant for this one
/// (`git rev-parse --local-env-vars`, but for settings that the user chose).
const OF_OTHER_REPOSITORIES: [&str; 13] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_GRAFT_FILE",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_NAMESPACE",
    "GIT_INTERNAL_SUPER_PREFIX",
];

/// Runs git in one directory. A process that is waited for ends with the wait.
#[derive(Clone, Debug)]
pub(super) struct Git {
    directory: PathBuf,
    settings: Vec<OsString>,
    variables: Vec<(&'static str, OsString)>,
}

impl Git {
    pub(super) fn at(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            settings: SETTINGS.map(OsString::from).to_vec(),
            variables: Vec::new(),
        }
    }

    /// The same with a variable.
    pub(super) fn with(&self, name: &'static str, value: impl Into<OsString>) -> Self {
        let mut other = self.clone();
        other.variables.push((name, value.into()));
        other
    }

    /// The same with a setting.
    pub(super) fn setting(&self, key: &str, value: &OsStr) -> Self {
        let mut other = self.clone();
        let mut setting = OsString::from(format!("{key}="));
        setting.push(value);
        other.settings.push(setting);
        other
    }

    fn command(&self, arguments: &[&OsStr]) -> Command {
        let mut git = Command::new("git");
        for name in OF_OTHER_REPOSITORIES {
            git.env_remove(name);
        }
        git.arg("-C").arg(&self.directory);
        for setting in &self.settings {
            git.arg("-c").arg(setting);
        }
        git.args(arguments)
            .env("LC_ALL", "C")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_DEFAULT_HASH", "sha1")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            // Ctrl-C is for this command, which ends git where that is wanted.
            .process_group(0)
            .kill_on_drop(true);
        git
    }

    async fn output(&self, arguments: &[&OsStr]) -> Result<Output, Trouble> {
        self.command(arguments).output().await.map_err(not_run)
    }

    /// What git prints.
    pub(super) async fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Vec<u8>, Trouble> {
        let arguments: Vec<&OsStr> = arguments.iter().map(AsRef::as_ref).collect();
        let output = self.output(&arguments).await?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(failed(&arguments, &output.stderr)),
        }
    }

    /// The line that git prints where it must print one.
    pub(super) async fn line<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<String, Trouble> {
        let printed = self.run(arguments).await?;
        Ok(String::from_utf8_lossy(&printed)
            .trim_end_matches('\n')
            .to_owned())
    }

    /// The line that git prints; `None` where it has none to print and says so by its exit code.
    pub(super) async fn line_if_any<A: AsRef<OsStr>>(
        &self,
        arguments: &[A],
    ) -> Result<Option<String>, Trouble> {
        let arguments: Vec<&OsStr> = arguments.iter().map(AsRef::as_ref).collect();
        let output = self.output(&arguments).await?;
        let line = String::from_utf8_lossy(&output.stdout);
        let line = line.trim_end_matches('\n').to_owned();
        match output.status.code() {
            Some(0) => Ok(Some(line).filter(|line| !line.is_empty())),
            Some(1) => Ok(None),
            _ => Err(failed(&arguments, &output.stderr)),
        }
    }

    /// A path that git prints; any bytes.
    pub(super) async fn path<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<PathBuf, Trouble> {
        let mut printed = self.run(arguments).await?;
        if printed.last() == Some(&b'\n') {
            printed.pop();
        }
        Ok(self.directory.join(OsString::from_vec(printed)))
    }

    /// Has git read a text, by a file at `list`, and write what it prints into a file at `to`.
    pub(super) async fn through(
        &self,
        arguments: &[&str],
        (list, text): (&Path, &[u8]),
        to: &Path,
    ) -> Result<(), Trouble> {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let files = || -> io::Result<_> {
            fs::write(list, text)?;
            Ok((File::open(list)?, File::create(to)?))
        };
        let (input, output) = files().map_err(|error| unwritten("what git reads", &error))?;
        let started = self
            .command(&arguments)
            .stdin(input)
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn();
        let ended = started.map_err(not_run)?.wait_with_output().await;
        let ended = ended.map_err(not_run)?;
        match ended.status.success() {
            true => Ok(()),
            false => Err(failed(&arguments, &ended.stderr)),
        }
    }
}

fn not_run(error: io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::NotFound => {
            Trouble::usage("git is needed to send a working tree, and is not installed here")
        }
        _ => Trouble::new(format!("could not run git: {error}")),
    }
}

fn failed(arguments: &[&OsStr], errors: &[u8]) -> Trouble {
    let said = String::from_utf8_lossy(errors);
    let what = arguments.first().map(|what| what.as_bytes());
    let what = String::from_utf8_lossy(what.unwrap_or_default());
    Trouble::new(format!("git {what} failed: {}", said.trim_end()))
}

pub(super) fn unwritten(what: &str, error: &io::Error) -> Trouble {
    Trouble::new(format!("could not write {what}: {error}"))
}
