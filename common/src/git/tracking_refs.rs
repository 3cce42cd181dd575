//! The mirror's own branches and tags, kept like the other side's.

use std::collections::HashSet;

use git2::{ErrorCode, Oid, Repository};

use super::remote_refs::Advertised;

/// Where the branches and tags of the other side are kept.
const KEPT: [&str; 2] = ["refs/remotes/origin/*", "refs/tags/*"];

/// Whether a commit is on one of the branches or tags.
pub(super) fn lead_to(repository: &Repository, commit: Oid) -> Result<bool, git2::Error> {
    let mut tips = Vec::new();
    for glob in KEPT {
        for reference in repository.references_glob(glob)? {
            // A tag may be of something else than a commit.
            if let Ok(tip) = reference?.peel_to_commit() {
                tips.push(tip.id());
            }
        }
    }
    if tips.contains(&commit) {
        return Ok(true);
    }
    if tips.is_empty() {
        return Ok(false);
    }
    tips.sort_unstable();
    tips.dedup();
    // What it has in common with a merge of all of them is itself where it is on one of them.
    tips.insert(0, commit);
    match repository.merge_base_many(&tips) {
        Ok(common) => Ok(common == commit),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets every ref whose object is in the mirror, and removes those that the other side has no more.
///
/// With `everything` all objects were asked for, else only some branch's: then a branch that moved keeps its old place
/// until its commits come. Removing goes first, since a branch `a` is in the way of a branch `a/b`.
pub(super) fn update(
    repository: &Repository,
    advertised: &Advertised,
    everything: bool,
) -> Result<(), git2::Error> {
    let wanted: Vec<_> = advertised
        .refs
        .iter()
        .filter_map(|found| Some((found.local_name()?, found.oid)))
        .collect();
    let names: HashSet<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    for glob in KEPT {
        for reference in repository.references_glob(glob)? {
            let mut reference = reference?;
            if !reference.name().is_ok_and(|name| names.contains(name)) {
                reference.delete()?;
            }
        }
    }
    let objects = repository.odb()?;
    for (name, oid) in &wanted {
        let stands = match repository.refname_to_id(name) {
            Ok(found) => found == *oid,
            Err(error) if error.code() == ErrorCode::NotFound => false,
            // A ref file left empty by a power cut is as good as none.
            Err(_) => false,
        };
        if stands || !objects.exists(*oid) {
            continue;
        }
        match repository.reference(name, *oid, true, "") {
            Ok(_) => {}
            // With `everything` it must work; otherwise a stranger's odd pair of branches must not fail the build.
            Err(error) if everything => return Err(error),
            Err(error) => tracing::debug!(
                name,
                error = error.message(),
                "a ref of a mirror was not updated"
            ),
        }
    }
    Ok(())
}
