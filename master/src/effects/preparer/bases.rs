//! What the template of a build is based on, as far as its code says so before anything runs.

use clusterrunner_common::disk::regular_file;
use clusterrunner_common::git::{CommitId, OwnRepository};
use clusterrunner_common::templates::{Product, dockerfile};
use std::path::Path;

/// The most bytes of a Dockerfile, as where it is carried out.
const LONGEST: u64 = 1 << 20;

/// The images that a product's recipe names. A file that can not be read names none: the build says why.
pub(super) fn bases(product: &Product, read: impl FnOnce(&str) -> Option<String>) -> Vec<String> {
    if let Some(image) = &product.image {
        return vec![image.clone()];
    }
    let text = product.dockerfile.as_deref().and_then(read);
    let instructions = text.and_then(|text| dockerfile::read(&text).ok());
    instructions.map_or_else(Vec::new, |instructions| dockerfile::bases(&instructions))
}

/// A file of a project that lies here. A link in it may lead to another file of it.
pub(super) fn of_directory(project: &Path, name: &str) -> Option<String> {
    let root = project.canonicalize().ok()?;
    let path = root.join(name).canonicalize().ok()?;
    let is_inside = path.starts_with(&root);
    is_inside.then(|| regular_file::read_to_string(&path, LONGEST).ok())?
}

/// A file of a commit in the repository that a project has here.
pub(super) fn of_own(repository: &Path, commit: &str, name: &str) -> Option<String> {
    let repository = OwnRepository::at(repository.to_owned());
    let commit: CommitId = commit.parse().ok()?;
    let read = repository.file(&commit, Path::new(name), LONGEST);
    String::from_utf8(read.ok()??).ok()
}
