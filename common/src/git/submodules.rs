//! Submodules: repositories that a commit wants to have inside its work tree.
//!
//! Each distinct URL has a mirror of its own inside the mirror that needs it, so they come and go together. What
//! `.gitmodules` says is someone else's text: URLs go through the same list as all others, and nothing of it is run
//! (`update = !command` is not looked at).

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use git2::{ObjectType, Oid, Repository, Tree};

use super::limits::MAXIMUM_SUBMODULE_DEPTH;
use super::mirror_files::open_here;
use super::tree_names::what_is_wrong;
use super::{CommitId, GitError, GitUrl, Mirror, SubmoduleProblem};
use crate::disk::beneath::Beneath;

/// Where a mirror has the mirrors of its submodules.
pub(super) const FOLDER: &str = "modules";

/// Git takes no larger one into account either (core.bigFileThreshold aside); it only needs a few lines per submodule.
const MAXIMUM_GITMODULES_BYTES: usize = 1 << 20;

/// One section of `.gitmodules`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    path: Option<String>,
    url: Option<String>,
    branch: Option<String>,
    update: Option<String>,
}

/// The submodules of one commit.
pub(super) struct Submodules<'a> {
    mirror: &'a Mirror,
    entries: Vec<Entry>,
}

/// A submodule that is to be checked out.
pub(super) struct Submodule {
    /// Its path in the work tree around it.
    pub(super) path: String,
    /// The repository that it is taken from.
    pub(super) mirror: Mirror,
    /// The commit that the tree names.
    pub(super) commit: CommitId,
    /// The branch on which the commit may be found.
    pub(super) branch: Option<String>,
    /// Its directory, which is there.
    pub(super) place: PathBuf,
}

impl<'a> Submodules<'a> {
    /// Those of `tree`, a tree in `repository`, which is that of `mirror`.
    pub(super) fn of(mirror: &'a Mirror, repository: &Repository, tree: &Tree<'_>) -> Self {
        Self {
            mirror,
            entries: read_entries(repository, tree),
        }
    }

    /// Makes the directory of the submodule at `path` in `work_tree`. `None` for one that stays empty.
    pub(super) fn place(
        &self,
        path: &Path,
        commit: Oid,
        work_tree: &Path,
    ) -> Result<Option<Submodule>, GitError> {
        let mirror = self.mirror;
        let shown = path.to_string_lossy().into_owned();
        let refused = |source| GitError::SubmoduleEntry {
            path: shown.clone(),
            url: mirror.url().to_string(),
            source,
        };
        // The trees were looked at; this is about what a change of that may let through.
        let is_plain = path.components().all(
            |part| matches!(part, Component::Normal(name) if what_is_wrong(name.as_bytes()).is_none()),
        );
        if !is_plain {
            return Err(refused(SubmoduleProblem::LeadsOut));
        }
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| entry.path.as_deref() == Some(shown.as_str()));
        let Some(entry) = entry.filter(|entry| entry.update.as_deref() != Some("none")) else {
            // Left empty, as `git submodule update` leaves one with `update = none`. One that `.gitmodules` does not
            // know is an oversight that git's own checkout does not mind either.
            if entry.is_none() {
                tracing::warn!(submodule = shown, url = %mirror.url(), "a submodule is not in .gitmodules; it stays empty");
            }
            place_for(work_tree, path, true)?;
            return Ok(None);
        };
        let submodule = mirror_of(mirror, entry).map_err(refused)?;
        let place = work_tree.join(path);
        // It may hold another repository: the URL is not the same in each commit.
        place_for(work_tree, path, !submodule.is_linked_to(&place))?;
        // `branch = .` means the branch of the repository around it, which is not known here.
        let branch = entry.branch.clone().filter(|branch| branch != ".");
        Ok(Some(Submodule {
            path: shown,
            mirror: submodule,
            commit: CommitId::from_oid(commit),
            branch,
            place,
        }))
    }
}

/// The mirror of the submodule, or what is wrong with its entry.
fn mirror_of(mirror: &Mirror, entry: &Entry) -> Result<Mirror, SubmoduleProblem> {
    let url = entry.url.as_deref().ok_or(SubmoduleProblem::NoUrl)?;
    let url = resolve(mirror, url)?;
    let directory = mirror.directory().join(FOLDER).join(url.directory_name());
    let options = mirror.options().clone();
    Ok(Mirror::with_shared_options(directory, url, options))
}

/// Follows the paths of submodules from `commit` of `mirror`; the mirror and the commit that they lead to.
pub(super) fn descend(
    mirror: &Mirror,
    commit: &CommitId,
    paths: &[String],
) -> Result<(Mirror, CommitId), GitError> {
    let (mut mirror, mut commit) = (mirror.clone(), commit.clone());
    if paths.len() > MAXIMUM_SUBMODULE_DEPTH {
        return Err(mirror.error("give from", "submodules are nested too deep"));
    }
    for path in paths {
        let (within, id) = (mirror.clone(), commit.clone());
        let failed = |source| GitError::SubmoduleEntry {
            path: path.clone(),
            url: within.url().to_string(),
            source,
        };
        let unread = |error: git2::Error| failed(error.into());
        let repository = open_here(within.directory()).map_err(unread)?;
        let found = id.to_oid().and_then(|oid| repository.find_commit(oid));
        let tree = found.and_then(|found| found.tree()).map_err(unread)?;
        let wanted = tree.get_path(Path::new(path)).map_err(unread)?;
        if wanted.kind() != Some(ObjectType::Commit) {
            return Err(failed(SubmoduleProblem::NoSubmodule));
        }
        let entries = read_entries(&repository, &tree);
        let entry = entries
            .iter()
            .find(|entry| entry.path.as_deref() == Some(path.as_str()))
            .ok_or_else(|| failed(SubmoduleProblem::Unlisted))?;
        mirror = mirror_of(&within, entry).map_err(failed)?;
        commit = CommitId::from_oid(wanted.id());
    }
    Ok((mirror, commit))
}

/// Makes the directory of a submodule, which no link may lead to, and empties it if wanted.
fn place_for(work_tree: &Path, path: &Path, is_empty: bool) -> Result<(), GitError> {
    let made = Beneath::open_own(work_tree).and_then(|top| {
        if is_empty && let (Some(above), Some(name)) = (path.parent(), path.file_name()) {
            top.make(above)?.remove(name)?;
        }
        top.make(path).map(drop)
    });
    made.map_err(|source| GitError::WorkTree {
        step: "make the place for a submodule",
        path: work_tree.join(path),
        source,
    })
}

fn resolve(mirror: &Mirror, url: &str) -> Result<GitUrl, super::GitUrlError> {
    if url.starts_with("./") || url.starts_with("../") {
        mirror.url().join(url)
    } else {
        GitUrl::parse(url, mirror.options().allow_local_sources)
    }
}

/// Read from the commit, not from the work tree, and only from a regular file.
fn read_entries(repository: &Repository, tree: &Tree<'_>) -> Vec<Entry> {
    let blob = tree
        .get_name(".gitmodules")
        .filter(|entry| entry.filemode() & 0o170_000 == 0o100_000)
        .and_then(|entry| repository.find_blob(entry.id()).ok())
        .filter(|blob| blob.size() <= MAXIMUM_GITMODULES_BYTES);
    blob.map(|blob| parse(&String::from_utf8_lossy(blob.content())))
        .unwrap_or_default()
}

/// Reads git's configuration syntax (git-config) as far as `.gitmodules` files use it. What it does not understand it
/// passes over: a missing entry shows itself later with the submodule's name.
fn parse(text: &str) -> Vec<Entry> {
    let mut entries: Vec<(String, Entry)> = Vec::new();
    let mut current = None;
    for line in text.lines() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            current = section_name(section).map(|name| {
                entries
                    .iter()
                    .position(|(known, _)| *known == name)
                    .unwrap_or_else(|| {
                        entries.push((name, Entry::default()));
                        entries.len() - 1
                    })
            });
            continue;
        }
        let (Some((key, value)), Some(index)) = (line.split_once('='), current) else {
            continue;
        };
        let entry = &mut entries[index].1;
        let field = match key.trim().to_ascii_lowercase().as_str() {
            "path" => &mut entry.path,
            "url" => &mut entry.url,
            "branch" => &mut entry.branch,
            "update" => &mut entry.update,
            _ => continue,
        };
        *field = Some(unquote(value));
    }
    entries.into_iter().map(|(_, entry)| entry).collect()
}

/// The name in `submodule "name"]`.
fn section_name(section: &str) -> Option<String> {
    let rest = section.trim_start();
    let keyword = rest.get(..9)?;
    let name = rest[9..].trim_start().strip_prefix('"')?;
    let name = name.get(..name.rfind('"')?)?;
    keyword
        .eq_ignore_ascii_case("submodule")
        .then(|| name.replace('\\', ""))
}

/// A value without its quotes, escapes and comment.
fn unquote(value: &str) -> String {
    let mut result = String::new();
    let mut quoted = false;
    // Blanks at the end count only inside quotes.
    let mut kept = 0;
    let mut characters = value.trim().chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                quoted = !quoted;
                kept = result.len();
                continue;
            }
            '#' | ';' if !quoted => break,
            '\\' => match characters.next() {
                Some('n') => result.push('\n'),
                Some('t') => result.push('\t'),
                Some(other) => result.push(other),
                None => break,
            },
            other => result.push(other),
        }
        if quoted || !character.is_whitespace() {
            kept = result.len();
        }
    }
    result.truncate(kept);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gitmodules_are_read_as_git_reads_them() {
        let text = "# comment\n[submodule \"lib/one\"]\n\tpath = lib/one\n\turl = ../one.git\n[core]\n\tpath = no\n\
                    [Submodule \"two\"]\n path=\"with # blank \" ; comment\n url = https://host/two # here\n\
                    branch = main\n update = none\n[submodule \"lib/one\"]\nbranch = dev\n[submodule broken\npath = x\n";
        let entry = |path: &str, url: &str, branch: &str, update: Option<&str>| Entry {
            path: Some(path.to_owned()),
            url: Some(url.to_owned()),
            branch: Some(branch.to_owned()),
            update: update.map(str::to_owned),
        };
        assert_eq!(
            parse(text),
            [
                entry("lib/one", "../one.git", "dev", None),
                entry("with # blank ", "https://host/two", "main", Some("none")),
            ]
        );
    }

    #[test]
    fn odd_texts_do_no_harm() {
        for text in [
            "[",
            "[submodule \"",
            "[submodule \"]",
            "[sübmodule \"x\"]",
            "=",
            "[submodule \"a\"]\nurl=\"\\",
        ] {
            parse(text);
        }
    }
}
