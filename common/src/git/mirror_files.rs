//! The files of a mirror's directory: making it, and clearing away what a killed process left in it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use git2::{Repository, RepositoryInitMode, RepositoryInitOptions, RepositoryOpenFlags};

use super::odd_files::refuse_top_pipes;
use super::trouble::Trouble;
use crate::disk::regular_file;

/// How many pins are kept. A build that is older than so many other commits of its repository is over.
const KEPT_PINS: usize = 1000;

/// Below the mirror, one file per commit that a build was about.
pub(super) const PINS: &str = "refs/clusterrunner";

/// Has libgit2 begin: it looks for the machine's settings, and at other things that it keeps.
pub(crate) fn warm_up() {
    drop(git2::Config::open_default());
}

/// Opens exactly this directory: libgit2 does not look for a repository in the directories above.
pub(super) fn open_here(directory: &Path) -> Result<Repository, git2::Error> {
    refuse_top_pipes(directory).map_err(|error| git2::Error::from_str(&error.to_string()))?;
    Repository::open_ext(
        directory,
        RepositoryOpenFlags::NO_SEARCH,
        std::iter::empty::<&OsStr>(),
    )
}

/// Makes an empty mirror. `remote_url` is for programs that ask for it in a work tree; it must hold no password.
pub(super) fn make(directory: &Path, remote_url: &str) -> Result<(), Trouble> {
    make_bare(directory, |repository| configure(repository, remote_url))
}

/// Makes an empty bare repository under another name and moves it to `directory`, so that what is at `directory` is
/// whole.
pub(super) fn make_bare(
    directory: &Path,
    configure: impl FnOnce(&Repository) -> Result<(), git2::Error>,
) -> Result<(), Trouble> {
    let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
        return Err(Trouble::NoName);
    };
    let name = name.to_string_lossy();
    fs::create_dir_all(parent).map_err(Trouble::at(parent))?;
    let made = tempfile::Builder::new()
        .prefix(&format!(".{name}.new-"))
        .tempdir_in(parent)
        .map_err(Trouble::at(parent))?;
    let mut options = RepositoryInitOptions::new();
    options
        .bare(true)
        .no_reinit(true)
        .initial_head("master")
        // Templates may hold hooks and settings of the machine.
        .external_template(false)
        .mode(RepositoryInitMode::SHARED_UMASK);
    let repository = Repository::init_opts(made.path(), &options)?;
    configure(&repository)?;
    drop(repository);
    // The directory keeps the temporary one's mode, 0700.
    fs::rename(made.path(), directory).map_err(Trouble::at(directory))?;
    // Nothing is left to be removed at its end.
    let _gone = made.keep();
    Ok(())
}

/// Settings that must stand; a command of a build may have changed them, since work trees share the mirror's.
pub(super) fn configure(repository: &Repository, remote_url: &str) -> Result<(), git2::Error> {
    let mut config = repository.config()?.open_level(git2::ConfigLevel::Local)?;
    let wanted = [
        ("core.bare", "true"),
        // No maintenance by git programs behind our back.
        ("gc.auto", "0"),
        ("remote.origin.url", remote_url),
        ("remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"),
    ];
    for (key, value) in wanted {
        if config.get_string(key).is_ok_and(|found| found == value) {
            continue;
        }
        config.set_str(key, value)?;
    }
    for unwanted in [
        "core.worktree",
        "core.sparsecheckout",
        "core.autocrlf",
        "core.ignorestat",
        // git programs warn of it, and their output belongs to the build.
        "core.fsyncobjectfiles",
    ] {
        if config.get_string(unwanted).is_ok() {
            config.remove(unwanted)?;
        }
    }
    Ok(())
}

/// Brings all objects to disk, so that a commit that was reported as fetched survives a power cut. What is there
/// already costs next to nothing.
pub(super) fn sync_objects(directory: &Path) -> io::Result<()> {
    sync_below(&directory.join("objects"))
}

pub(super) fn sync_below(directory: &Path) -> io::Result<()> {
    let mut found = vec![directory.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next).cloned() {
        next += 1;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.push(entry.path());
            } else {
                regular_file::open_itself(&entry.path())?.sync_all()?;
            }
        }
    }
    // A directory after what is in it.
    found
        .iter()
        .rev()
        .try_for_each(|directory| fs::File::open(directory)?.sync_all())
}

/// Whether the directory could be a mirror that is damaged, and not something else that a mistaken setting points at.
pub(super) fn looks_like_a_mirror(directory: &Path) -> bool {
    let is_empty = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none());
    let has = |name: &str| directory.join(name).exists();
    is_empty || (!has(".git") && (has("objects") || has("refs")))
}

/// Removes what killed processes leave: lock files, of which nobody alive has any since a mirror has one user at a
/// time, and unfinished packs. Best effort: what can not be removed shows itself when it is in the way.
pub(super) fn clear_leftovers(directory: &Path) {
    let is_lock = |path: &Path| {
        path.extension()
            .is_some_and(|extension| extension == "lock")
    };
    remove_matching(directory, &is_lock);
    // An empty ref file, left by a power cut, would make every later listing of the refs fail.
    let is_empty = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0);
    remove_below(&directory.join("refs"), &|path| {
        is_lock(path) || is_empty(path)
    });
    // The names libgit2 gives to files it is still writing (git_futils_mktmp).
    let is_unfinished = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.contains("_git2_") || name.starts_with(".link-")
    };
    remove_matching(&directory.join("objects"), &is_unfinished);
    remove_matching(&directory.join("objects/pack"), &is_unfinished);
}

fn remove_matching(directory: &Path, matches: &dyn Fn(&Path) -> bool) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) && matches(&entry.path()) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

fn remove_below(directory: &Path, matches: &dyn Fn(&Path) -> bool) {
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        remove_matching(&directory, matches);
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
}

/// Forgets the oldest pins beyond a number that no living build needs; otherwise they grow for ever, and every fetch
/// looks at all of them.
pub(super) fn thin_out_pins(directory: &Path) -> io::Result<()> {
    let mut pins = Vec::new();
    for entry in fs::read_dir(directory.join(PINS))? {
        let entry = entry?;
        pins.push((entry.metadata()?.modified()?, entry.path()));
    }
    if pins.len() > KEPT_PINS {
        pins.sort();
        for (_, path) in &pins[..pins.len() - KEPT_PINS] {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
