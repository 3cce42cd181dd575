//! Pipes and devices where a repository has files: libgit2 opens by name and waits, for ever if nobody
//! writes into the pipe.

use super::trouble::Trouble;
use crate::disk::regular_file;
use std::ffi::OsStr;
use std::fs::{self, FileType};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// What libgit2 opens of any repository, whatever is asked of it.
const ALWAYS_OPENED: [&str; 14] = [
    ".git",
    "HEAD",
    "config",
    "config.worktree",
    "packed-refs",
    "commondir",
    "gitdir",
    "index",
    "shallow",
    "FETCH_HEAD",
    "info/attributes",
    "info/exclude",
    "info/grafts",
    "objects/info/alternates",
];

/// Directories of a repository in which libgit2 reads nothing, and which may be large.
const NEVER_READ: [&str; 4] = ["hooks", "lfs", "logs", "rr-cache"];

/// The longest file that says where the rest of a repository is.
const LONGEST_LINK: u64 = 1 << 16;

/// Refuses a repository with a pipe or a device among the files that are always opened.
///
/// # Errors
/// Says which it is.
pub(super) fn refuse_top_pipes(directory: &Path) -> Result<(), Trouble> {
    let named = |name: &&str| directory.join(*name);
    ALWAYS_OPENED
        .iter()
        .map(named)
        .try_for_each(|path| refuse_pipe(&path))
}

/// Refuses a repository with a pipe or a device anywhere in it: for those that others own.
///
/// # Errors
/// Says which it is.
pub(super) fn refuse_pipes(directory: &Path) -> Result<(), Trouble> {
    let dot_git = directory.join(".git");
    refuse_pipe(&dot_git)?;
    let git = match dot_git.is_dir() {
        true => dot_git,
        false => linked(directory, ".git", b"gitdir: ").unwrap_or_else(|| directory.to_owned()),
    };
    refuse_top_pipes(&git)?;
    let common = linked(&git, "commondir", b"");
    let mut waiting: Vec<PathBuf> = common.into_iter().chain([git]).collect();
    while let Some(directory) = waiting.pop() {
        // libgit2 reports a directory that is missing or cannot be read.
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            let path = entry.path();
            if kind.is_symlink() {
                refuse_pipe(&path)?;
            } else if is_pipe(kind) {
                return Err(Trouble::NoFile(path));
            } else if kind.is_dir() && !NEVER_READ.iter().any(|name| entry.file_name() == *name) {
                waiting.push(path);
            }
        }
    }
    Ok(())
}

/// The directory that a file of a repository names.
fn linked(directory: &Path, file: &str, before: &[u8]) -> Option<PathBuf> {
    let text = regular_file::read(&directory.join(file), LONGEST_LINK).ok()?;
    let place = text.strip_prefix(before)?.trim_ascii_end();
    Some(directory.join(OsStr::from_bytes(place)))
}

fn refuse_pipe(path: &Path) -> Result<(), Trouble> {
    match fs::metadata(path).map(|metadata| metadata.file_type()) {
        Ok(kind) if is_pipe(kind) => Err(Trouble::NoFile(path.to_owned())),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Opening a socket fails at once.
fn is_pipe(kind: FileType) -> bool {
    kind.is_fifo() || kind.is_char_device() || kind.is_block_device()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType as Kind, Mode, mknodat};

    #[test]
    fn a_pipe_anywhere_in_a_repository_is_found() {
        for place in [
            "packed-refs",
            "refs/heads/x",
            "refs/remotes/origin/deep/x",
            "objects/ab/cdef",
            "objects/info/alternates",
            "shallow",
        ] {
            for is_bare in [true, false] {
                let directory = tempfile::tempdir().unwrap();
                let mut options = git2::RepositoryInitOptions::new();
                options.bare(is_bare);
                git2::Repository::init_opts(directory.path(), &options).unwrap();
                refuse_pipes(directory.path()).unwrap();
                let git = directory.path().join(if is_bare { "" } else { ".git" });
                let pipe = git.join(place);
                fs::create_dir_all(pipe.parent().unwrap()).unwrap();
                mknodat(CWD, &pipe, Kind::Fifo, Mode::RUSR, 0).unwrap();
                let error = refuse_pipes(directory.path()).unwrap_err();
                assert!(error.to_string().contains(place), "{error}");
            }
        }
    }

    #[test]
    fn a_pipe_behind_links_between_the_parts_of_a_repository_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for made in ["tree", "own", "common/refs"] {
            fs::create_dir_all(path(made)).unwrap();
        }
        fs::write(path("tree/.git"), "gitdir: ../own\n").unwrap();
        fs::write(path("own/commondir"), "../common\n").unwrap();
        refuse_pipes(&path("tree")).unwrap();
        mknodat(CWD, path("common/refs/x"), Kind::Fifo, Mode::RUSR, 0).unwrap();
        refuse_pipes(&path("tree")).unwrap_err();
        // Links are followed by libgit2, too.
        fs::remove_file(path("common/refs/x")).unwrap();
        mknodat(CWD, path("pipe"), Kind::Fifo, Mode::RUSR, 0).unwrap();
        std::os::unix::fs::symlink("../pipe", path("own/packed-refs")).unwrap();
        refuse_top_pipes(&path("own")).unwrap_err();
        refuse_pipes(&path("tree")).unwrap_err();
    }
}
