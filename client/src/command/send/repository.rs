//! The repository that a directory is in: where it is, what it is called by others, and what they have of it.

use super::git::{Git, unwritten};
use crate::trouble::Trouble;
use clusterrunner_common::auth::signature::content_digest;
use clusterrunner_common::git::GitUrl;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The remote that git uses where nothing else is said.
const ORIGIN: &str = "origin";

/// Digits of a digest that make a name unique.
const UNIQUE: usize = 16;

/// A repository as it is found.
pub(super) struct Found {
    pub(super) git: Git,
    pub(super) top: PathBuf,
    /// The directory that is built, below that.
    pub(super) inside: Option<String>,
    /// The commit that the user is on.
    pub(super) head: Option<String>,
    pub(super) branch: Option<String>,
    /// Its remote, and what that is called by others.
    pub(super) remote: Option<(String, String)>,
    /// Whether that is one for farms on other machines, too.
    pub(super) has_remote_for_all: bool,
}

/// How much of a commit others have.
pub(super) enum Below {
    Nothing,
    /// The commits that it comes after.
    Some(Vec<String>),
    /// The commit itself.
    All,
}

impl Found {
    /// `is_elsewhere`: no path of this machine is one there.
    pub(super) async fn at(
        directory: &Path,
        place: &Path,
        is_elsewhere: bool,
    ) -> Result<Self, Trouble> {
        match Self::in_repository(directory, is_elsewhere).await? {
            Some(found) => Ok(found),
            None => Self::plain(directory, place).await,
        }
    }

    /// The repository that a directory is in, if it is in one.
    pub(super) async fn in_repository(
        directory: &Path,
        is_elsewhere: bool,
    ) -> Result<Option<Self>, Trouble> {
        // Where there is one, what git can not make of it is an error: without it nothing would be ignored.
        if !directory
            .ancestors()
            .any(|above| above.join(".git").symlink_metadata().is_ok())
        {
            return Ok(None);
        }
        let git = Git::at(directory);
        let top = git.path(&["rev-parse", "--show-toplevel"]).await?;
        let inside = git.line(&["rev-parse", "--show-prefix"]).await?;
        let inside = inside.trim_end_matches('/').to_owned();
        let git = Git::at(&top);
        let format = git.line(&["rev-parse", "--show-object-format"]).await?;
        if format != "sha1" {
            return Err(Trouble::usage(format!(
                "the repository has object names of {format}, and farms take those of sha1 only"
            )));
        }
        let head = ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"];
        let head = git.line_if_any(&head).await?;
        let branch = git.line_if_any(&["symbolic-ref", "--quiet", "--short", "HEAD"]);
        let branch = branch.await?;
        let remote = remote(&git, branch.as_deref()).await?;
        let remote = remote.filter(|(_, url)| !is_elsewhere || !is_local(url));
        let has_remote_for_all = remote.as_ref().is_some_and(|(_, url)| !is_local(url));
        Ok(Some(Self {
            git,
            top,
            inside: Some(inside).filter(|inside| !inside.is_empty()),
            head,
            branch,
            remote: remote.map(|(name, url)| (name, url.without_credentials())),
            has_remote_for_all,
        }))
    }

    /// A directory that is in no repository: as one that has no commit yet.
    async fn plain(directory: &Path, place: &Path) -> Result<Self, Trouble> {
        let repository = place.join("repository");
        let arguments = ["init", "--quiet", "--bare", "--template="].map(AsRef::as_ref);
        let arguments = [&arguments[..], &[repository.as_os_str()]].concat();
        Git::at(directory).run(&arguments).await?;
        let git = Git::at(directory)
            .with("GIT_DIR", &repository)
            .with("GIT_WORK_TREE", directory);
        Ok(Self {
            git,
            top: directory.to_owned(),
            inside: None,
            head: None,
            branch: None,
            remote: None,
            has_remote_for_all: false,
        })
    }

    /// The same git with an index and an object store below `place`.
    pub(super) async fn apart(&self, place: &Path) -> Result<Git, Trouble> {
        let index = self.git.path(&["rev-parse", "--git-path", "index"]).await?;
        let objects = ["rev-parse", "--git-path", "objects"];
        let objects = self.git.path(&objects).await?;
        let failed = |error: io::Error| unwritten("a copy of the index", &error);
        let objects = std::path::absolute(&objects).map_err(failed)?;
        let (own_index, own_objects) = (place.join("index"), place.join("objects"));
        copy_index(&index, &own_index).map_err(failed)?;
        fs::create_dir_all(own_objects.join("info")).map_err(failed)?;
        let mut alternates = objects.as_os_str().as_bytes().to_vec();
        alternates.push(b'\n');
        fs::write(own_objects.join("info/alternates"), alternates).map_err(failed)?;
        // What git-lfs keeps of files that it makes pointers of.
        let of_lfs = place.join("lfs");
        Ok(self
            .git
            .setting("lfs.storage", of_lfs.as_os_str())
            .with("GIT_INDEX_FILE", own_index)
            .with("GIT_OBJECT_DIRECTORY", own_objects))
    }

    /// How much of a commit its remote has, as far as is known here.
    pub(super) async fn below(&self, git: &Git, commit: &str) -> Result<Below, Trouble> {
        let Some((remote, _)) = &self.remote else {
            return Ok(Below::Nothing);
        };
        let remotes = format!("--remotes={remote}");
        let unknown = ["rev-list", "--boundary", commit, "--not", &remotes];
        let unknown = git.line(&unknown).await?;
        let boundary = unknown.lines().filter_map(|line| line.strip_prefix('-'));
        let boundary: Vec<String> = boundary.map(str::to_owned).collect();
        Ok(match (unknown.is_empty(), boundary.is_empty()) {
            (true, _) => Below::All,
            (false, false) => Below::Some(boundary),
            (false, true) => Below::Nothing,
        })
    }

    /// What a repository is called that has no remote: by its first commit, or else by its place.
    pub(super) async fn name_of_its_own(&self) -> Result<String, Trouble> {
        let first = match &self.head {
            Some(head) => {
                let first = ["rev-list", "--max-parents=0", head];
                let first = self.git.line(&first).await?;
                first.lines().last().map(str::to_owned)
            }
            None => None,
        };
        Ok(unique_name(&self.top, first))
    }

    /// The commits that this working tree has been on, as far as git remembers.
    pub(super) async fn commits_here(&self) -> Result<BTreeSet<String>, Trouble> {
        let Some(head) = &self.head else {
            return Ok(BTreeSet::new());
        };
        let before = ["log", "--walk-reflogs", "--format=%H", "HEAD", "--"];
        let before = self.git.line_if_any(&before).await?.unwrap_or_default();
        let before = before.lines().map(str::to_owned);
        Ok(before.chain([head.clone()]).collect())
    }
}

/// What a repository at a place is called that has no remote. `first`: its first commit, if it has one.
pub(super) fn unique_name(top: &Path, first: Option<String>) -> String {
    let unique = first.unwrap_or_else(|| {
        let mut place = host().into_bytes();
        place.extend(top.as_os_str().as_bytes());
        content_digest(&place)
    });
    let name = top.file_name().unwrap_or_default().to_string_lossy();
    let is_good = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = name.chars().filter(is_good).take(60).collect();
    let unique = unique.get(..UNIQUE).unwrap_or(&unique);
    format!("sent://{name}-{unique}")
}

/// A remote that the farm may know, and its URL: the branch's, `origin`, or the only one.
async fn remote(git: &Git, branch: Option<&str>) -> Result<Option<(String, GitUrl)>, Trouble> {
    let remotes = git.line(&["remote"]).await?;
    let remotes: Vec<&str> = remotes.lines().collect();
    let of_branch = match branch {
        Some(branch) => {
            let key = format!("branch.{branch}.remote");
            git.line_if_any(&["config", "--get", &key]).await?
        }
        None => None,
    };
    let known = |name: &str| remotes.iter().find(|remote| **remote == name).copied();
    let only = match remotes.as_slice() {
        [only] => Some(*only),
        _ => None,
    };
    let of_branch = of_branch.as_deref().and_then(known);
    let Some(name) = of_branch.or_else(|| known(ORIGIN)).or(only) else {
        return Ok(None);
    };
    // As it is written, where that is a whole URL: what this machine has in its place may be of no use to others.
    let key = format!("remote.{name}.url");
    let written = git.line_if_any(&["config", "--get", &key]).await?;
    let written = written.filter(|url| url.contains("://"));
    let url = match written {
        Some(url) => url,
        None => git.line(&["remote", "get-url", name]).await?,
    };
    let url = GitUrl::parse(&url, true).ok();
    Ok(url.map(|url| (name.to_owned(), url)))
}

/// Whether a repository is on this machine's disk.
fn is_local(url: &GitUrl) -> bool {
    url.host_and_path().is_none()
}

/// Git takes a file for unchanged that is older than the index, so the copy is as old as that.
fn copy_index(from: &Path, to: &Path) -> io::Result<()> {
    let index = match File::open(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        index => index?,
    };
    let changed = index.metadata()?.modified()?;
    let mut copy = File::create_new(to)?;
    io::copy(&mut io::BufReader::new(index), &mut copy)?;
    copy.set_modified(changed)
}

pub(super) fn host() -> String {
    let names = rustix::system::uname();
    names.nodename().to_string_lossy().into_owned()
}
