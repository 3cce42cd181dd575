//! Keeping the number of a mirror's pack files small.
//!
//! Every fetch adds one, and libgit2 keeps each that it reads open: after a thousand builds a mirror would use up the
//! file descriptors of the process. `git gc` would see to it, but the program may not be installed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use git2::{Oid, Repository};

use super::trouble::Trouble;
use crate::disk::regular_file;

/// More than this many are merged.
const MAXIMUM_PACKS: usize = 50;

/// Larger ones are left alone: merging takes memory and time in proportion, and there are few of them.
const LARGE_PACK_BYTES: u64 = 16 << 20;

/// How pack index files of version 2 begin (gitformat-pack); libgit2 writes no other.
const INDEX_MAGIC: &[u8] = b"\xfftOc\0\0\0\x02";

/// After the magic: for each first byte, how many object ids are up to it, as four bytes.
const FAN_OUT_LENGTH: usize = 256 * 4;

/// The length of an object id in the index.
const ID_LENGTH: usize = 20;

/// Merges the small packs into one if there are too many. What a killed process leaves is a pack too many at most,
/// since the old ones are removed after the new one is whole.
///
/// # Errors
/// Nothing is lost then; the packs stay as they are.
pub(super) fn merge_small(repository: &Repository, mirror: &Path) -> Result<(), Trouble> {
    let folder = mirror.join("objects/pack");
    let small = small_packs(&folder)?;
    if small.len() <= MAXIMUM_PACKS {
        return Ok(());
    }
    let mut builder = repository.packbuilder()?;
    for index in &small {
        for id in object_ids(index)? {
            builder.insert_object(id, None)?;
        }
    }
    builder.write(&folder, 0o444)?;
    let merged = match builder.name().ok().flatten() {
        Some(name) => format!("pack-{name}.idx"),
        None => return Err(Trouble::NoMergedPack),
    };
    if !folder.join(&merged).exists() {
        return Err(Trouble::NoMergedPack);
    }
    for index in small.iter().filter(|index| !index.ends_with(&merged)) {
        // The index first: without it the pack is not looked at.
        for file in [index.clone(), index.with_extension("pack")] {
            fs::remove_file(&file).map_err(Trouble::at(&file))?;
        }
    }
    Ok(())
}

/// The index files of the packs that may be merged.
fn small_packs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut small = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "idx") {
            continue;
        }
        // Someone wants to keep it as it is.
        let kept = path.with_extension("keep").exists() || path.with_extension("promisor").exists();
        let size = fs::metadata(path.with_extension("pack")).map(|metadata| metadata.len());
        if !kept && size.is_ok_and(|size| size < LARGE_PACK_BYTES) {
            small.push(path);
        }
    }
    Ok(small)
}

/// The ids of all objects of a pack, by its index, in their order.
pub(super) fn object_ids(index: &Path) -> Result<Vec<Oid>, Trouble> {
    let bytes = regular_file::read(index, u64::MAX).map_err(Trouble::at(index))?;
    let odd = || Trouble::NoIndex(index.to_owned());
    let table = bytes.strip_prefix(INDEX_MAGIC).ok_or_else(odd)?;
    let (fan_out, ids) = table.split_at_checked(FAN_OUT_LENGTH).ok_or_else(odd)?;
    let count = fan_out
        .last_chunk()
        .map(|count| u32::from_be_bytes(*count))
        .ok_or_else(odd)?;
    let length = usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(ID_LENGTH));
    let ids = length
        .and_then(|length| ids.get(..length))
        .ok_or_else(odd)?;
    let ids = ids.chunks_exact(ID_LENGTH);
    Ok(ids.map(Oid::from_bytes).collect::<Result<_, _>>()?)
}
