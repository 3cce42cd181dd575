//! What a mirror gives to another one: the objects of one commit, as packs, and what goes with them.
//!
//! A receiver that has commits gets one pack with what it lacks. One that has none gets the mirror's packs as they lie,
//! which takes no computing, and what is loose in a pack of its own.
//!
//! Giving changes nothing in the mirror, so it may go on beside the mirror's one user.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use git2::{ErrorCode, ObjectType, Oid, PackBuilder, Repository};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::mirror_files::open_here;
use super::tree_check::TreeCheck;
use super::trouble::Trouble;
use super::{CommitId, GitError, GitLimits, Mirror, submodules};
use crate::disk::regular_file;

/// Packs are merged into others while they are listed; then they are listed again.
const ATTEMPTS: usize = 5;

/// The longest list of commits where history is cut off, in bytes.
const MAX_SHALLOW: u64 = 16 << 20;

/// What a receiver asks for, beside the commit that a build is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PackRequest {
    /// The submodule whose commit is wanted: its path in the work tree, and after it those of submodules in it. Empty
    /// for the repository itself.
    #[serde(default)]
    pub submodule: Vec<String>,
    /// Commits that the receiver has with all that they need.
    #[serde(default)]
    pub have: Vec<CommitId>,
}

/// What stands before the packs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackHeader {
    /// How long each pack is, in their order.
    pub packs: Vec<u64>,
    /// Whether they are all that the mirror has, and not only what the receiver lacks.
    pub is_whole: bool,
    /// The repository's branches and tags, by their full names there.
    pub refs: Vec<(String, String)>,
    /// The content of the file that says where history is cut off, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shallow: Option<String>,
}

/// What a mirror gives.
#[derive(Debug)]
pub struct Packs {
    /// What stands before them.
    pub header: PackHeader,
    /// The packs, which stay readable whatever becomes of the mirror.
    pub files: Vec<File>,
}

impl Mirror {
    /// The objects that a receiver needs for `commit`, or for the commit of a submodule that it names. Packs that are
    /// made for this are files without a name in the directory `scratch`.
    ///
    /// # Errors
    /// [`GitError`] if the commit is not here (any more), or something can not be read or written.
    pub fn packs_for(
        &self,
        commit: &CommitId,
        request: &PackRequest,
        scratch: &Path,
        cancel: &CancellationToken,
    ) -> Result<Packs, GitError> {
        let (mirror, commit) = submodules::descend(self, commit, &request.submodule)?;
        let failed = |trouble: Trouble| match cancel.is_cancelled() {
            true => GitError::Canceled,
            false => mirror.error("give from", trouble),
        };
        mirror
            .give(&commit, &request.have, scratch, cancel)
            .map_err(failed)
    }

    fn give(
        &self,
        commit: &CommitId,
        have: &[CommitId],
        scratch: &Path,
        cancel: &CancellationToken,
    ) -> Result<Packs, Trouble> {
        let repository = open_here(self.directory())?;
        let wanted = commit.to_oid()?;
        repository
            .find_commit(wanted)
            .and_then(|commit| commit.tree().map(drop))
            .map_err(|source| Trouble::NoCommit {
                commit: commit.to_string(),
                source,
            })?;
        let shallow =
            match regular_file::read_to_string(&self.directory().join("shallow"), MAX_SHALLOW) {
                Ok(text) => Some(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error.into()),
            };
        let known: Vec<Oid> = have
            .iter()
            .filter_map(|commit| commit.to_oid().ok())
            .filter(|oid| repository.find_commit(*oid).is_ok())
            .collect();
        let refs = refs(&repository)?;
        // Where history is cut off, the walk over it would look for what is not there.
        let is_whole = known.is_empty() || shallow.is_some();
        let files = if is_whole {
            whole(&repository, self.directory(), scratch, cancel)?
        } else {
            vec![difference(
                &repository,
                wanted,
                &known,
                scratch,
                self.options().limits,
                cancel,
            )?]
        };
        let length = |file: &File| file.metadata().map(|metadata| metadata.len());
        let packs = files.iter().map(length).collect::<io::Result<_>>();
        Ok(Packs {
            header: PackHeader {
                packs: packs?,
                is_whole,
                refs,
                shallow,
            },
            files,
        })
    }
}

/// The other side's branches and tags, by their names there.
pub(super) fn refs(repository: &Repository) -> Result<Vec<(String, String)>, git2::Error> {
    let mut refs = Vec::new();
    for (glob, prefix, name_there) in [
        (
            "refs/remotes/origin/*",
            "refs/remotes/origin/",
            "refs/heads/",
        ),
        ("refs/tags/*", "refs/tags/", "refs/tags/"),
    ] {
        for reference in repository.references_glob(glob)? {
            // One that was changed meanwhile, or is broken, is no reason to give nothing.
            let Ok(reference) = reference else { continue };
            if let (Ok(name), Some(oid)) = (reference.name(), reference.target())
                && let Some(rest) = name.strip_prefix(prefix)
            {
                refs.push((format!("{name_there}{rest}"), oid.to_string()));
            }
        }
    }
    Ok(refs)
}

/// What `wanted` and the tags on its way need and `known` do not.
fn difference(
    repository: &Repository,
    wanted: Oid,
    known: &[Oid],
    scratch: &Path,
    limits: GitLimits,
    cancel: &CancellationToken,
) -> Result<File, Trouble> {
    let mut walk = repository.revwalk()?;
    walk.push(wanted)?;
    for oid in known {
        walk.hide(*oid)?;
    }
    let new: BTreeSet<Oid> = walk.collect::<Result<_, _>>()?;
    check_trees(repository, new.iter().chain(known), limits, cancel)?;
    let mut builder = builder(repository, cancel)?;
    let mut walk = repository.revwalk()?;
    walk.push(wanted)?;
    for oid in known {
        walk.hide(*oid)?;
    }
    builder.insert_walk(&mut walk)?;
    for tag in repository.references_glob("refs/tags/*")? {
        let Some(target) = tag.ok().and_then(|tag| tag.target()) else {
            continue;
        };
        let mut object = repository.find_object(target, Some(ObjectType::Tag)).ok();
        let mut chain = Vec::new();
        while let Some(tag) = object.as_ref().and_then(|object| object.as_tag()) {
            chain.push(tag.id());
            let target = tag.target().ok();
            if target.as_ref().is_some_and(|end| new.contains(&end.id())) {
                for id in chain.drain(..) {
                    builder.insert_object(id, None)?;
                }
            }
            object = target.filter(|target| target.as_tag().is_some());
        }
    }
    written(&mut builder, scratch)
}

/// Making a pack walks the trees of all these commits, and not only of those that were checked out.
fn check_trees<'o>(
    repository: &Repository,
    commits: impl Iterator<Item = &'o Oid>,
    limits: GitLimits,
    cancel: &CancellationToken,
) -> Result<(), Trouble> {
    let objects = repository.odb()?;
    let mut trees = TreeCheck::for_packs(&objects, limits, cancel);
    for commit in commits {
        let tree = repository.find_commit(*commit)?.tree_id();
        trees.check(tree).map_err(|source| Trouble::Refused {
            commit: *commit,
            source,
        })?;
    }
    Ok(())
}

/// All that the mirror has.
fn whole(
    repository: &Repository,
    mirror: &Path,
    scratch: &Path,
    cancel: &CancellationToken,
) -> Result<Vec<File>, Trouble> {
    // Loose ones first: they can only move into packs, which are listed afterwards.
    let loose = loose_objects(&mirror.join("objects"))?;
    let mut files = packs(&mirror.join("objects/pack"))?;
    if !loose.is_empty() {
        let mut builder = builder(repository, cancel)?;
        for id in loose {
            match builder.insert_object(id, None) {
                Ok(()) => {}
                // Linked by a process that was killed over it: nothing that is whole needs it.
                Err(error) if error.code() == ErrorCode::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        files.push(written(&mut builder, scratch)?);
    }
    Ok(files)
}

fn builder<'r>(
    repository: &'r Repository,
    cancel: &CancellationToken,
) -> Result<PackBuilder<'r>, Trouble> {
    let mut builder = repository.packbuilder()?;
    let cancel = cancel.clone();
    builder.set_progress_callback(move |_, _, _| !cancel.is_cancelled())?;
    Ok(builder)
}

fn written(builder: &mut PackBuilder<'_>, scratch: &Path) -> Result<File, Trouble> {
    let file = tempfile::tempfile_in(scratch)?;
    let mut buffered = io::BufWriter::with_capacity(1 << 18, file);
    let mut trouble = None;
    let made = builder.foreach(|bytes| match buffered.write_all(bytes) {
        Ok(()) => true,
        Err(error) => {
            trouble = Some(error);
            false
        }
    });
    if let Some(error) = trouble {
        return Err(error.into());
    }
    made?;
    Ok(buffered
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?)
}

/// The ids of the objects that lie each in a file of its own.
pub(super) fn loose_objects(objects: &Path) -> io::Result<Vec<Oid>> {
    let mut loose = Vec::new();
    for entry in fs::read_dir(objects)? {
        let entry = entry?;
        let first = entry.file_name().to_string_lossy().into_owned();
        if first.len() != 2 || !entry.file_type()?.is_dir() {
            continue;
        }
        for object in fs::read_dir(entry.path())? {
            let name = format!("{first}{}", object?.file_name().to_string_lossy());
            if let Ok(id) = name.parse::<CommitId>()
                && let Ok(oid) = id.to_oid()
            {
                loose.push(oid);
            }
        }
    }
    Ok(loose)
}

/// The packs of a folder, opened. The list is good if it is the same before and after: small packs are merged into one
/// that is there before they go.
fn packs(folder: &Path) -> io::Result<Vec<File>> {
    let mut attempt = 1;
    loop {
        let before = indexes(folder)?;
        let opened = before
            .iter()
            .map(|index| regular_file::open_itself(&index.with_extension("pack")))
            .collect::<io::Result<Vec<_>>>();
        let is_good = opened.is_ok() && indexes(folder)? == before;
        match opened {
            Ok(files) if is_good => return Ok(files),
            Err(error) if error.kind() != io::ErrorKind::NotFound || attempt == ATTEMPTS => {
                return Err(error);
            }
            Ok(_) if attempt == ATTEMPTS => {
                return Err(io::Error::other("its packs change all the time"));
            }
            Ok(_) | Err(_) => attempt += 1,
        }
    }
}

fn indexes(folder: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut indexes = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "idx") {
            indexes.insert(path);
        }
    }
    Ok(indexes)
}
