//! What processes that were killed have left in a project's repository: uploads, pushes, and packing.

use super::{INCOMING, OwnRepository};
use crate::disk::beneath::remove_all;
use crate::git::mirror_files;
use crate::git::own::UNDER_WAY;
use std::fs;
use std::io;
use std::path::Path;

/// Begin the names of what git has half stored: the objects of a push that is not taken yet (by older versions and newer
/// ones), and packs and objects that are not whole.
const OF_GIT: [&str; 4] = ["tmp_", "incoming-", ".tmp-", "bulk-fsync"];

impl OwnRepository {
    /// Removes what an earlier life of the master has left of uploads and pushes: lock files, objects that are half
    /// stored, and the refs of pushes that were under way. The commits of such pushes stay: builds may be under way that
    /// need them. Nobody may write to the repository meanwhile.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn clear_leftovers(&self) -> io::Result<()> {
        let objects = self.directory.join("objects");
        mirror_files::clear_leftovers(&self.directory);
        remove_named(&self.directory, &[INCOMING])?;
        remove_named(&objects, &OF_GIT)?;
        for entry in entries(&objects)? {
            let is_directory = entry.file_type()?.is_dir();
            if is_directory {
                remove_named(&entry.path(), &OF_GIT)?;
            }
        }
        remove_all(&self.directory.join(UNDER_WAY))
    }

    /// How many packs there are, and their bytes.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn packs(&self) -> io::Result<(u64, u64)> {
        let mut found = (0, 0);
        for entry in entries(&self.directory.join("objects/pack"))? {
            if entry.path().extension().is_some_and(|kind| kind == "pack") {
                found = (found.0 + 1, found.1 + entry.metadata()?.len());
            }
        }
        Ok(found)
    }
}

fn remove_named(directory: &Path, beginnings: &[&str]) -> io::Result<()> {
    for entry in entries(directory)? {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if beginnings
            .iter()
            .any(|beginning| name.starts_with(beginning.as_bytes()))
        {
            remove_all(&entry.path())?;
        }
    }
    Ok(())
}

/// What a directory has; nothing where there is none.
fn entries(directory: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// All files and directories below.
    fn all(directory: &Path) -> Vec<PathBuf> {
        let mut found = vec![directory.to_owned()];
        let mut next = 0;
        while let Some(path) = found.get(next).cloned() {
            next += 1;
            if path.is_dir() {
                found.extend(entries(&path).unwrap().iter().map(fs::DirEntry::path));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn only_what_killed_processes_left_goes() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("own/7");
        let repository = OwnRepository::at(directory.clone());
        repository.make().unwrap();
        let write = |name: &str| {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{}\n", "1".repeat(40))).unwrap();
        };
        for kept in [
            "refs/heads/main",
            "refs/tags/tmp_tag",
            "objects/pack/pack-1.pack",
            "objects/ab/cdef",
        ] {
            write(kept);
        }
        let before = all(&directory);
        for left in [
            "refs/heads/main.lock",
            "packed-refs.lock",
            "objects/tmp_objdir-incoming-aB3/pack/pack-2.pack",
            "objects/incoming-aB3/12/3456",
            "objects/pack/tmp_pack_aB3",
            "objects/pack/.tmp-12-pack-3.idx",
            "objects/ab/tmp_obj_aB3",
            "incoming-aB3/HEAD",
            "refs/pushes/1111111111111111111111111111111111111111",
        ] {
            write(left);
        }
        repository.clear_leftovers().unwrap();
        assert_eq!(all(&directory), before);
        repository.clear_leftovers().unwrap();
        assert_eq!(all(&directory), before);
        assert_eq!(repository.packs().unwrap(), (1, 41));
    }
}
