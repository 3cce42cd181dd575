//! A pack that a client has sent, looked at before it is kept: whole by itself, within its bounds, and with the commit that
//! it is said to have.
//!
//! Packs are data of strangers. A few bytes can stand for terabytes, so each object is unpacked once without being kept
//! before libgit2 sees the pack; what its trees may hold is looked at when they are written out (`tree_check`).

mod entries;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Odb, Oid};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::sent::index_pack;
use super::trouble::Trouble;
use super::{CommitId, GitLimits, ObjectId, mirror_packs};
use crate::disk::regular_file;

/// The most commits that a pack may be on top of: the ends of as many branches that were merged.
const MOST_BASES: usize = 256;

/// A pack that may be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentPack {
    /// The pack.
    pub pack: PathBuf,
    /// Its index.
    pub index: PathBuf,
    /// How many objects it has.
    pub objects: u64,
    /// The commits that its own come after, and that it does not have.
    pub bases: Vec<CommitId>,
}

/// Why a pack is not kept.
#[derive(Debug, thiserror::Error)]
pub enum SentPackError {
    /// It is no pack as it should be. The text goes to its sender.
    #[error("{0}")]
    Refused(String),
    /// What is in it is larger than the settings allow. The text goes to its sender.
    #[error("{0}")]
    TooLarge(String),
    /// The caller's token fired.
    #[error("canceled")]
    Canceled,
    /// It can not be read or written here.
    #[error("{0}")]
    Failed(String),
}

/// Looks at a pack that should have `commit`, may need what the packs of the indexes `after` have, and writes it and its index below the directory `into`, which is empty.
///
/// # Errors
/// [`SentPackError`]; what is below `into` then is of no use.
pub fn check_sent_pack(
    pack: &Path,
    commit: &CommitId,
    (after, into): (&[PathBuf], &Path),
    limits: GitLimits,
    cancel: &CancellationToken,
) -> Result<SentPack, SentPackError> {
    let file = regular_file::open_itself(pack).map_err(failed)?;
    entries::check(file, limits, cancel)?;
    let packs = into.join("objects/pack");
    fs::create_dir_all(&packs).map_err(failed)?;
    index_pack(pack, &packs, cancel).map_err(|trouble| match (trouble, cancel.is_cancelled()) {
        (_, true) => SentPackError::Canceled,
        (Trouble::Git(error), false) => {
            let reason = error.message();
            SentPackError::Refused(format!("The pack can not be used: {reason}."))
        }
        (other, false) => SentPackError::Failed(other.to_string()),
    })?;
    let index = indexes(&packs).map_err(failed)?;
    let objects = mirror_packs::object_ids(&index).map_err(failed)?;
    let before = after.iter().map(|index| mirror_packs::object_ids(index));
    let before = before.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let bases = bases(&into.join("objects"), (&objects, &before), commit)?;
    Ok(SentPack {
        pack: index.with_extension("pack"),
        index,
        objects: objects.len() as u64,
        bases,
    })
}

fn failed(error: impl std::fmt::Display) -> SentPackError {
    SentPackError::Failed(error.to_string())
}

/// The one index in a directory.
fn indexes(packs: &Path) -> io::Result<PathBuf> {
    for entry in fs::read_dir(packs)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "idx") {
            return Ok(path);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// The commits that those of a pack come after; `commit` must be among them.
fn bases(
    directory: &Path,
    (objects, before): (&[Oid], &[Vec<Oid>]),
    commit: &CommitId,
) -> Result<Vec<CommitId>, SentPackError> {
    let store = Odb::new().map_err(failed)?;
    let name = directory.to_str().ok_or_else(|| failed(Trouble::NoName))?;
    store.add_disk_alternate(name).map_err(failed)?;
    let has = |oid: &Oid| {
        let has = |ids: &[Oid]| ids.binary_search(oid).is_ok();
        has(objects) || before.iter().any(|ids| has(ids))
    };
    let (mut bases, mut is_there) = (BTreeSet::new(), false);
    for oid in objects {
        let (_, kind) = store.read_header(*oid).map_err(unreadable)?;
        if kind != ObjectType::Commit {
            continue;
        }
        is_there |= oid.to_string() == commit.as_str();
        let object = store.read(*oid).map_err(unreadable)?;
        let parents = parents(object.data());
        let parents = parents.ok_or_else(|| {
            SentPackError::Refused(format!("The pack's commit {oid} is malformed."))
        })?;
        bases.extend(parents.into_iter().filter(|parent| !has(parent)));
        if bases.len() > MOST_BASES {
            let sentence = format!("The pack is on top of more than {MOST_BASES} commits.");
            return Err(SentPackError::Refused(sentence));
        }
    }
    match is_there {
        true => Ok(bases.into_iter().map(CommitId::from_oid).collect()),
        false => Err(SentPackError::Refused(format!(
            "The pack has no commit {commit}."
        ))),
    }
}

/// Which of some objects none of the packs of these indexes has, in their order.
///
/// # Errors
/// [`SentPackError::Failed`] if an index can not be read.
pub fn missing_objects(
    objects: &[ObjectId],
    indexes: &[PathBuf],
) -> Result<Vec<ObjectId>, SentPackError> {
    let known = indexes.iter().map(|index| mirror_packs::object_ids(index));
    let known = known.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut missing = Vec::new();
    for object in objects {
        let oid = object.to_oid().map_err(failed)?;
        if !known.iter().any(|ids| ids.binary_search(&oid).is_ok()) {
            missing.push(object.clone());
        }
    }
    Ok(missing)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` is given"
)]
fn unreadable(error: git2::Error) -> SentPackError {
    let reason = error.message();
    SentPackError::Refused(format!("An object of the pack can not be read: {reason}."))
}

/// The parents that a commit names: after the line of its tree, a line for each.
fn parents(commit: &[u8]) -> Option<Vec<Oid>> {
    let mut lines = commit.split(|byte| *byte == b'\n');
    let id = |line: &[u8]| Oid::from_str(std::str::from_utf8(line).ok()?).ok();
    id(lines.next()?.strip_prefix(b"tree ")?)?;
    let parents = lines.map_while(|line| line.strip_prefix(b"parent "));
    parents.map(id).collect()
}

#[cfg(test)]
mod tests;
