//! The files that are there, as a tree: those that the index names, as they are, and those that git does not ignore.
//!
//! Files are named to git one by one: what is no file of this repository (a submodule, a repository inside of it) is left as
//! the index has it, and the user is told.

use super::git::{Git, unwritten};
use crate::output::text::count;
use crate::trouble::Trouble;
use clusterrunner_common::text::printable::plain;
use std::collections::BTreeSet;
use std::path::Path;

/// The mode of a submodule.
const SUBMODULE: &[u8] = b"160000";

/// How many names a warning has.
const NAMED: usize = 5;

/// A tree, and what the user should know of it.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) id: String,
    pub(super) warnings: Vec<String>,
}

/// What differs from the index.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    /// Files that are other ones, or gone.
    files: Vec<Vec<u8>>,
    /// Submodules that are at another commit or have changes.
    submodules: Vec<Vec<u8>>,
}

/// Makes the tree in git's own index. `untracked_below`: where files count that the index does not name.
pub(super) async fn tree(
    git: &Git,
    place: &Path,
    untracked_below: Option<&str>,
) -> Result<Tree, Trouble> {
    // Its exit code says that something differs.
    git.line_if_any(&["update-index", "-q", "--refresh"])
        .await?;
    let changes = ["diff-files", "-z", "--raw", "--ignore-submodules=none"];
    let changes = read_changes(&git.run(&changes).await?);
    let mut warnings = Vec::new();
    let shows_untracked = ["config", "--get", "status.showUntrackedFiles"];
    let shows_untracked = git.line_if_any(&shows_untracked).await?;
    let untracked = match (shows_untracked.as_deref(), untracked_below) {
        (Some("no" | "false"), _) => {
            warnings.push(
                "files that git does not track are not sent: status.showUntrackedFiles is no here"
                    .to_owned(),
            );
            Vec::new()
        }
        (_, None) => Vec::new(),
        (_, Some(below)) => {
            let others = [
                "ls-files",
                "-z",
                "--others",
                "--exclude-standard",
                "--",
                below,
            ];
            names(&git.run(&others).await?)
        }
    };
    let (repositories, untracked): (Vec<_>, Vec<_>) =
        untracked.into_iter().partition(|name| name.ends_with(b"/"));
    if !changes.submodules.is_empty() {
        let named = listed(&changes.submodules);
        warnings.push(format!(
            "not sent is what differs in submodules, which are built as the index has them: {named}"
        ));
    }
    if !repositories.is_empty() {
        let named = listed(&repositories);
        warnings.push(format!(
            "not sent are repositories inside of this one: {named}"
        ));
    }
    if !untracked.is_empty() {
        let files = count(untracked.len() as u64, "file");
        let named = listed(&untracked);
        warnings.push(format!(
            "sent with {files} that git does not track: {named}"
        ));
    }
    let paths: Vec<Vec<u8>> = changes.files.into_iter().chain(untracked).collect();
    let pointers = of_lfs(git, place, &paths).await?;
    if !pointers.is_empty() {
        let named = listed(&pointers);
        warnings.push(format!(
            "of files of Git LFS only the pointers are sent: {named}"
        ));
    }
    update(git, place, &paths).await?;
    let id = git.line(&["write-tree", "--missing-ok"]).await?;
    Ok(Tree { id, warnings })
}

async fn update(git: &Git, place: &Path, paths: &[Vec<u8>]) -> Result<(), Trouble> {
    let list = lines(paths);
    let arguments = [
        "update-index",
        "-z",
        "--add",
        "--remove",
        "--replace",
        "--stdin",
    ];
    let (paths, printed) = (place.join("paths"), place.join("printed"));
    let updated = git.through(&arguments, (&paths, &list), &printed).await;
    match updated {
        Ok(()) => Ok(()),
        // Files come and go: one that has gone since is missing now.
        Err(_) => git.through(&arguments, (&paths, &list), &printed).await,
    }
}

/// Those of some files that are Git LFS's.
async fn of_lfs(git: &Git, place: &Path, paths: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Trouble> {
    let arguments = ["check-attr", "-z", "--stdin", "filter"];
    let printed = place.join("attributes");
    let list = lines(paths);
    git.through(&arguments, (&place.join("paths"), &list), &printed)
        .await?;
    let printed = std::fs::read(&printed).map_err(|error| unwritten("what git prints", &error))?;
    let words = names(&printed);
    let of_lfs = words
        .chunks(3)
        .filter(|said| said.get(2).is_some_and(|filter| filter == b"lfs"));
    Ok(of_lfs.filter_map(|said| said.first().cloned()).collect())
}

/// Reads `diff-files -z --raw`: `:mode mode id id status`, NUL, the path, NUL.
fn read_changes(printed: &[u8]) -> Changes {
    let (mut files, mut submodules) = (BTreeSet::new(), BTreeSet::new());
    let words = names(printed);
    for entry in words.chunks_exact(2) {
        let [head, path] = entry else { continue };
        let mut modes = head.split(|byte| *byte == b' ');
        let (before, now) = (
            modes.next().unwrap_or_default(),
            modes.next().unwrap_or_default(),
        );
        let was_submodule = before.strip_prefix(b":") == Some(SUBMODULE);
        // One that is not checked out is as the index has it.
        let is_gone = now == b"000000";
        match (was_submodule && (now == SUBMODULE || is_gone), is_gone) {
            (true, true) => {}
            (true, false) => {
                submodules.insert(path.clone());
            }
            (false, _) => {
                files.insert(path.clone());
            }
        }
    }
    Changes {
        files: files.into_iter().collect(),
        submodules: submodules.into_iter().collect(),
    }
}

/// Texts with a NUL after each.
fn names(printed: &[u8]) -> Vec<Vec<u8>> {
    let names = printed.split(|byte| *byte == 0);
    let names = names.filter(|name| !name.is_empty());
    names.map(<[u8]>::to_vec).collect()
}

fn lines(names: &[Vec<u8>]) -> Vec<u8> {
    names
        .iter()
        .flat_map(|name| [name, &b"\0"[..]].concat())
        .collect()
}

/// The first names, and how many more there are.
fn listed(names: &[Vec<u8>]) -> String {
    let shown = names.iter().take(NAMED);
    let shown = shown.map(|name| plain(&String::from_utf8_lossy(name)).into_owned());
    let shown = shown.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_with_any_names() {
        let id = "0".repeat(40);
        let entry = |modes: &str, status: &str, path: &str| {
            format!(":{modes} {id} {id} {status}\0{path}\0")
        };
        let printed = [
            entry("100644 100644", "M", "a b\n"),
            entry("100644 000000", "D", "gone"),
            entry("160000 160000", "M", "module"),
            entry("160000 000000", "D", "not checked out"),
            entry("160000 100644", "T", "module that is a file now"),
            // In a merge a file is there more than once.
            entry("000000 100644", "U", "merged"),
            entry("100644 100644", "M", "merged"),
        ];
        let changes = read_changes(printed.concat().as_bytes());
        let texts = |names: &[&str]| -> Vec<Vec<u8>> {
            names.iter().map(|name| name.as_bytes().to_vec()).collect()
        };
        assert_eq!(
            changes.files,
            texts(&["a b\n", "gone", "merged", "module that is a file now"])
        );
        assert_eq!(changes.submodules, texts(&["module"]));
        assert_eq!(read_changes(b""), Changes::default());
    }

    #[test]
    fn a_warning_names_the_first_files() {
        let names: Vec<Vec<u8>> = (1..8).map(|n| format!("f{n}").into_bytes()).collect();
        assert_eq!(listed(&names[..2]), "f1, f2");
        assert_eq!(listed(&names), "f1, f2, f3, f4, f5 and 2 more");
    }
}
