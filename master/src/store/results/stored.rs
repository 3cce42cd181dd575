//! Which results lie on the disk, for a master that starts: its journal must know of all of them.

use super::index::{self, Key};
use super::{Results, build_store::INDEX};
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::command::StoredResults;
use std::io;
use std::path::Path;

impl Results {
    /// What is stored, without a change to anything: of these builds the hand-outs, of all others only that
    /// they are there. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn all_stored(&self, open_builds: &[BuildId]) -> io::Result<StoredResults> {
        let mut stored = StoredResults::none();
        for entry in super::entries(&self.stores.directory)? {
            let name = entry.file_name();
            // What has another name is none of ours.
            if let Some(build) = name.to_str().and_then(|name| name.parse().ok()) {
                stored.last_build = stored.last_build.max(build);
            }
        }
        for build in open_builds {
            let keys = keys(&self.stores.of_build(*build))?;
            if !keys.is_empty() {
                stored.of_open_builds.insert(*build, keys);
            }
        }
        Ok(stored)
    }
}

fn keys(directory: &Path) -> io::Result<Vec<Key>> {
    match std::fs::read(directory.join(INDEX)) {
        Ok(bytes) => Ok(index::keys(&bytes).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::results::Block;
    use crate::store::results::test_blocks::block;
    use clusterrunner_common::ids::{Attempt, SubjobId};
    use clusterrunner_common::results::block::check_block;

    #[tokio::test]
    async fn what_lies_there_is_named_and_nothing_is_changed() {
        let directory = tempfile::tempdir().unwrap();
        let results = Results::new(directory.path().to_owned()).unwrap();
        assert_eq!(
            results.all_stored(&[BuildId(1)]).unwrap(),
            StoredResults::none()
        );
        let bytes = block(&[(5, 1), (2, 2)]);
        let checked = check_block(&*bytes).unwrap().into_iter();
        let keys = checked.zip([Attempt(3), Attempt(1)]).collect();
        let appended = results.append(BuildId(1), Block::Memory(bytes), keys);
        appended.await.unwrap();
        for other in ["12", "lost+found", "7x"] {
            std::fs::create_dir(directory.path().join(other)).unwrap();
        }
        // What is torn at the end is left as it is.
        let index = directory.path().join("1/index");
        let mut torn = std::fs::read(&index).unwrap();
        torn.extend([1, 2, 3]);
        std::fs::write(&index, &torn).unwrap();
        let stored = results.all_stored(&[BuildId(1), BuildId(12)]).unwrap();
        assert_eq!(stored.last_build, BuildId(12));
        let keys = [(5, 3), (2, 1)].map(|(s, a)| (SubjobId(s), Attempt(a)));
        assert_eq!(stored.of_open_builds, [(BuildId(1), keys.to_vec())].into());
        assert_eq!(std::fs::read(&index).unwrap(), torn);
    }
}
