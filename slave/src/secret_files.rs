//! Files with secrets of builds: in memory where the machine has a file system there, for this user alone, and gone with
//! their build. What a slave that was killed has left goes with its next start.

use crate::data_directory::{make_private, remove_all};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::lock;
use rustix::fs::statfs;
use rustix::process::geteuid;
use sha2::{Digest as _, Sha256};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Where Linux has a file system in memory.
const IN_MEMORY: &str = "/dev/shm";

/// How `statfs` says that one is.
const TMPFS: i64 = 0x0102_1994;

/// Where the files of one slave lie.
#[derive(Clone, Debug)]
pub(crate) struct SecretFiles {
    /// There only while a build has files.
    directory: PathBuf,
    /// One change at a time.
    turn: Arc<Mutex<()>>,
}

impl SecretFiles {
    /// Those of the slave with this data directory. Removes what an earlier life of it has left. Blocks.
    pub(crate) fn open(data: &Path) -> Self {
        let files = Self::below(Path::new(IN_MEMORY), data);
        if let Err(error) = remove_all(&files.directory) {
            let path = files.directory.display();
            tracing::warn!(%path, %error, "could not remove secrets that an earlier life left");
        }
        files
    }

    fn below(memory: &Path, data: &Path) -> Self {
        let digest = hex::encode(Sha256::digest(data.as_os_str().as_encoded_bytes()));
        let name = format!("clusterrunner-{}-{}", geteuid().as_raw(), &digest[..16]);
        let is_memory = statfs(memory).is_ok_and(|found| found.f_type == TMPFS);
        let shared = memory.join(name);
        // Another user may have put something in its place.
        let is_foreign = std::fs::symlink_metadata(&shared).is_ok_and(|found| !is_ours(&found));
        let directory = match is_memory && !is_foreign {
            true => shared,
            false => data.join("secrets"),
        };
        Self {
            directory,
            turn: Arc::default(),
        }
    }

    /// Where the files of a build lie.
    pub(crate) fn of(&self, build: BuildId) -> PathBuf {
        self.directory.join(build.to_string())
    }

    /// Makes the files of a build, and says where each is. Blocks.
    ///
    /// # Errors
    /// The file system refuses, or something else is in the place of the directory.
    pub(crate) fn write<'s>(
        &self,
        build: BuildId,
        secrets: impl IntoIterator<Item = (&'s str, &'s str)>,
    ) -> io::Result<Vec<(String, PathBuf)>> {
        let _turn = lock(&self.turn);
        make_private(&self.directory)?;
        if !is_ours(&std::fs::symlink_metadata(&self.directory)?) {
            return Err(io::Error::other("the directory is not this user's alone"));
        }
        let directory = self.of(build);
        remove_all(&directory)?;
        make_private(&directory)?;
        let mut written = Vec::new();
        for (name, value) in secrets {
            let path = directory.join(name);
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            options.open(&path)?.write_all(value.as_bytes())?;
            written.push((name.to_owned(), path));
        }
        Ok(written)
    }

    /// Removes the files of a build. Blocks.
    pub(crate) fn remove(&self, build: BuildId) {
        let _turn = lock(&self.turn);
        let directory = self.of(build);
        if let Err(error) = remove_all(&directory) {
            tracing::warn!(build.id = %build, path = %directory.display(), %error, "could not remove secrets of a build");
        }
        // Other builds may have some there.
        std::fs::remove_dir(&self.directory).ok();
    }
}

fn is_ours(found: &std::fs::Metadata) -> bool {
    found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn files_are_for_this_user_alone_and_go_with_their_build() {
        let data = tempfile::tempdir().unwrap();
        let files = SecretFiles::open(data.path());
        let written = files.write(BuildId(7), [("KEY", "a secret")]).unwrap();
        let [(name, path)] = written.as_slice() else {
            panic!("{written:?}");
        };
        assert_eq!(name, "KEY");
        assert_eq!(fs::read_to_string(path).unwrap(), "a secret");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(path), 0o600);
        assert_eq!(mode(&files.of(BuildId(7))), 0o700);
        // A set-up that is ordered again.
        files.write(BuildId(7), [("KEY", "another")]).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "another");
        files.remove(BuildId(7));
        assert!(!path.exists() && !files.directory.exists());
        files.write(BuildId(8), [("KEY", "left")]).unwrap();
        let again = SecretFiles::open(data.path());
        assert!(!again.of(BuildId(8)).exists());
    }

    #[test]
    fn nothing_is_written_where_another_user_may_look() {
        let (memory, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // No file system in memory: the slave's own directory.
        let files = SecretFiles::below(memory.path(), data.path());
        assert!(files.directory.starts_with(data.path()));
        symlink(memory.path(), data.path().join("secrets")).unwrap();
        files.write(BuildId(1), [("KEY", "a secret")]).unwrap_err();
        assert_eq!(fs::read_dir(memory.path()).unwrap().count(), 0);
    }
}
