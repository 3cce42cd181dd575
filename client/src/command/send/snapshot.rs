//! The working tree as a commit, and the pack of what others do not have of it.
//!
//! The commit is made in an object store of our own, which reads the repository's, with a copy of the index. The same tree
//! on top of the same commit is the same commit each time.

use super::git::{Git, unwritten};
use super::repository::{Below, Found, host};
use super::tree::tree;
use crate::trouble::Trouble;
use clusterrunner_common::git::ObjectId;
use clusterrunner_common::work::WorkingTree;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Files below the place where it is made: what git reads, and what it prints.
const REVISIONS: &str = "revisions";
const OBJECTS: &str = "list";
const WANTED: &str = "wanted";

/// What is to be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) directory: &'a Path,
    /// The farm is to fetch nothing.
    pub(super) whole: bool,
    /// The farm has another disk than this machine.
    pub(super) is_elsewhere: bool,
}

/// A working tree as it was.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The repository as the farm is told of it.
    pub(super) url: String,
    /// The branch that the user is on.
    pub(super) branch: Option<String>,
    /// The directory of the project in it.
    pub(super) inside: Option<String>,
    /// The commit of the working tree.
    pub(super) commit: String,
    /// The commit that the user is on.
    pub(super) base: Option<String>,
    /// How many files differ from that.
    files: u64,
    /// What others lack; none where they lack nothing.
    pub(super) pack: Option<Pack>,
    /// What the user should know.
    pub(super) warnings: Vec<String>,
    /// What the pack is made of, for git.
    revisions: String,
    git: Git,
    /// All that was made is below, and goes with it.
    place: TempDir,
}

/// A pack, in a file.
#[derive(Clone, Debug)]
pub(super) struct Pack {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl Snapshot {
    pub(super) async fn take(wanted: Wanted<'_>) -> Result<Self, Trouble> {
        let place = tempfile::Builder::new()
            .prefix("clusterrunner-send-")
            .tempdir()
            .map_err(|error| unwritten("a temporary directory", &error))?;
        let found = Found::at(wanted.directory, place.path(), wanted.is_elsewhere).await?;
        let git = found.apart(place.path()).await?;
        let untracked_below = match is_home(&found.top) {
            true => found.inside.as_deref(),
            false => Some("."),
        };
        let tree = tree(&git, place.path(), untracked_below).await?;
        let (commit, files) = found.commit(&git, &tree.id).await?;
        let below = match wanted.whole {
            true => Below::Nothing,
            false => found.below(&git, &commit).await?,
        };
        let url = match &found.remote {
            Some((_, url)) => url.clone(),
            None => found.name_of_its_own().await?,
        };
        let (commit, revisions) = match below {
            Below::All => (commit, None),
            Below::Some(below) => {
                let below: String = below.iter().map(|base| format!("^{base}\n")).collect();
                let revisions = format!("{commit}\n{below}");
                (commit, Some(revisions))
            }
            // Its history is of no use to the farm, which would have to be sent all of it.
            Below::Nothing => {
                let alone = found.commit_on(&git, &tree.id, None).await?;
                let revisions = format!("{alone}\n");
                (alone, Some(revisions))
            }
        };
        let mut snapshot = Self {
            url,
            branch: found.branch,
            inside: found.inside,
            commit,
            base: found.head,
            files,
            pack: None,
            warnings: tree.warnings,
            revisions: revisions.clone().unwrap_or_default(),
            git,
            place,
        };
        if revisions.is_some() {
            let of_revisions = ["--revs"];
            let list = (REVISIONS, snapshot.revisions.as_bytes());
            snapshot.pack = Some(snapshot.packed("pack", &of_revisions, list).await?);
        }
        Ok(snapshot)
    }

    /// What is said of it; nothing where it is a commit that others have.
    pub(super) fn working_tree(&self) -> Option<WorkingTree> {
        self.pack.as_ref()?;
        Some(WorkingTree {
            base: self.base.clone(),
            files: self.files,
            by: Some(sender()),
        })
    }

    /// Whether it has a file.
    pub(super) async fn has(&self, path: &str) -> Result<bool, Trouble> {
        let listed = ["ls-tree", "--name-only", &self.commit, "--", path];
        Ok(!self.git.run(&listed).await?.is_empty())
    }

    /// All objects in the pack.
    pub(super) async fn objects(&self) -> Result<Vec<ObjectId>, Trouble> {
        let list = self.place.path().join(OBJECTS);
        let arguments = ["rev-list", "--objects", "--no-object-names", "--stdin"];
        let revisions = self.place.path().join(REVISIONS);
        let revisions = (&*revisions, self.revisions.as_bytes());
        self.git.through(&arguments, revisions, &list).await?;
        let listed = fs::read_to_string(&list);
        let listed = listed.map_err(|error| unwritten("the list of objects", &error))?;
        let objects = listed.lines().map(str::parse).collect::<Result<_, _>>();
        objects.map_err(|error| Trouble::new(format!("git printed no object: {error}")))
    }

    /// A pack of some of them.
    pub(super) async fn pack_of(&self, objects: &[ObjectId]) -> Result<Pack, Trouble> {
        let lines = objects.iter().map(|object| format!("{object}\n"));
        let lines: String = lines.collect();
        self.packed("rest", &[], (WANTED, lines.as_bytes())).await
    }

    async fn packed(
        &self,
        name: &str,
        of: &[&str],
        (list, text): (&str, &[u8]),
    ) -> Result<Pack, Trouble> {
        let path = self.place.path().join(name);
        let arguments = ["pack-objects", "--stdout", "--delta-base-offset", "-q"];
        let arguments = [&arguments[..], of].concat();
        let list = self.place.path().join(list);
        self.git.through(&arguments, (&list, text), &path).await?;
        let made = fs::metadata(&path);
        let bytes = made.map_err(|error| unwritten("the pack", &error))?.len();
        Ok(Pack { path, bytes })
    }
}

impl Found {
    /// The commit of a tree, and how many files differ from the one that the user is on.
    async fn commit(&self, git: &Git, tree: &str) -> Result<(String, u64), Trouble> {
        let Some(head) = &self.head else {
            let files = ["ls-tree", "-r", "-z", "--name-only", tree];
            let files = git.run(&files).await?;
            return Ok((self.commit_on(git, tree, None).await?, number_of(&files)));
        };
        let of_head = ["rev-parse", &format!("{head}^{{tree}}")];
        if git.line(&of_head).await? == tree {
            return Ok((head.clone(), 0));
        }
        let differ = ["-r", "-z", "--no-renames", "--name-only", head, tree];
        let differ = [&["diff-tree"], &differ[..]].concat();
        let differ = git.run(&differ).await?;
        let commit = self.commit_on(git, tree, Some(head)).await?;
        Ok((commit, number_of(&differ)))
    }

    async fn commit_on(
        &self,
        git: &Git,
        tree: &str,
        parent: Option<&str>,
    ) -> Result<String, Trouble> {
        let at = match &self.head {
            Some(head) => git.line(&["show", "-s", "--format=%ct", head]).await?,
            None => "0".to_owned(),
        };
        let (sender, date) = (sender(), format!("@{at} +0000"));
        let mut git = git.clone();
        for (name, value) in [
            ("GIT_AUTHOR_NAME", sender.as_str()),
            ("GIT_AUTHOR_EMAIL", "working-tree@clusterrunner"),
            ("GIT_AUTHOR_DATE", date.as_str()),
            ("GIT_COMMITTER_NAME", sender.as_str()),
            ("GIT_COMMITTER_EMAIL", "working-tree@clusterrunner"),
            ("GIT_COMMITTER_DATE", date.as_str()),
        ] {
            git = git.with(name, value);
        }
        let mut arguments = vec!["commit-tree", tree, "-m", "Working tree"];
        if let Some(parent) = parent {
            arguments.extend(["-p", parent]);
        }
        git.line(&arguments).await
    }
}

/// Whether a repository has the user's home as its files, most of which are not meant for it.
fn is_home(top: &Path) -> bool {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    home.and_then(|home| home.canonicalize().ok())
        .is_some_and(|home| home == top)
}

fn number_of(listed: &[u8]) -> u64 {
    let names = listed.split(|byte| *byte == 0);
    names.filter(|name| !name.is_empty()).count() as u64
}

/// The user at this machine, as git shows names: none of the characters that it takes out.
pub(super) fn sender() -> String {
    let user = ["USER", "LOGNAME"].iter();
    let mut user = user.filter_map(|name| std::env::var(name).ok());
    let user = user.find(|user| !user.is_empty());
    let sender = format!("{}@{}", user.as_deref().unwrap_or("somebody"), host());
    let is_plain = |c: &char| !c.is_control() && !matches!(c, '<' | '>');
    sender.chars().filter(is_plain).take(100).collect()
}
