//! The mirrors of repositories on a slave: each has one user at a time, and goes when it is beyond the
//! bounds and no build uses it.

use crate::data_directory::{DataDirectory, remove_all};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::kept_projects::{bound, find, remove_unnamed, touch, unname};
use clusterrunner_common::disk::retention::ProjectBounds;
use clusterrunner_common::git::{GitOptions, GitUrl, Mirror};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::lock;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;

/// A mirror takes one user at a time.
pub(super) type SharedMirror = Arc<AsyncMutex<Mirror>>;

/// The mirrors of a slave.
#[derive(Debug, Default)]
pub(crate) struct Mirrors {
    /// By their directories; few, as a slave sees few repositories.
    mirrors: Mutex<HashMap<PathBuf, SharedMirror>>,
    /// The mirrors of the work trees that there are.
    work_trees: Mutex<HashMap<BuildId, SharedMirror>>,
    /// Where these mirrors are.
    histories: Mutex<HashMap<BuildId, PathBuf>>,
}

impl Mirrors {
    /// The mirror of a repository, from now on that of the build.
    pub(super) fn of(
        &self,
        data: &DataDirectory,
        build: BuildId,
        url: &GitUrl,
        git: &GitOptions,
    ) -> SharedMirror {
        let directory = data.mirrors().join(url.directory_name());
        lock(&self.histories).insert(build, directory.clone());
        let shared = {
            let mut mirrors = lock(&self.mirrors);
            let mirror = mirrors.entry(directory).or_insert_with_key(|directory| {
                let mirror = Mirror::new(directory.clone(), url.clone(), git.clone());
                Arc::new(AsyncMutex::new(mirror))
            });
            Arc::clone(mirror)
        };
        lock(&self.work_trees).insert(build, Arc::clone(&shared));
        shared
    }

    /// The mirror that this slave has fetched a build from: never asked of the work tree, which is the build's own.
    pub(crate) fn history(&self, build: BuildId) -> Option<PathBuf> {
        lock(&self.histories).get(&build).cloned()
    }

    /// Removes mirrors that are beyond the bounds and that no build uses. Blocks.
    pub(crate) fn remove_surplus(
        &self,
        data: &DataDirectory,
        bounds: &ProjectBounds,
    ) -> io::Result<()> {
        let parents = [data.mirrors()];
        remove_unnamed(&parents)?;
        let found = find(&parents, bounds.max_bytes.is_some())?;
        bound(&found, bounds, Timestamp::now(), |project| {
            // No build gets a mirror as long as this is locked.
            let mut mirrors = lock(&self.mirrors);
            let directory = data.mirrors().join(&project.name);
            let users = mirrors
                .get(&directory)
                .map_or(0, |m| Arc::strong_count(m) - 1);
            if users > 0 {
                return false;
            }
            let name = project.name.to_string_lossy();
            if let Err(error) = unname(&parents, &project.name) {
                tracing::warn!(project = %name, %error, "could not remove a mirror");
                return false;
            }
            mirrors.remove(&directory);
            tracing::info!(project = %name, bytes = project.bytes, "a mirror that no build uses is removed");
            true
        });
        remove_unnamed(&parents)
    }

    /// Removes the workspace that a build had to itself; nothing where there is nothing.
    pub(crate) async fn remove_work_tree(&self, data: &DataDirectory, build: BuildId) {
        let path = data.work_tree(build);
        lock(&self.histories).remove(&build);
        let mirror = lock(&self.work_trees).remove(&build);
        let mirror = match mirror {
            Some(mirror) => Some(mirror.lock_owned().await),
            None => None,
        };
        let removed = spawn_blocking(move || {
            let Some(mirror) = mirror else {
                // One without any code, at the most.
                return remove_all(&path);
            };
            if let Err(error) = mirror.remove_work_tree(&path) {
                tracing::debug!(build.id = %build, %error, "git could not remove a work tree");
                // What is no work tree yet, or not any more, is in the way all the same.
                remove_all(&path)?;
            }
            note_use(&mirror);
            io::Result::Ok(())
        });
        if let Err(error) = removed
            .await
            .map_err(io::Error::other)
            .and_then(|done| done)
        {
            tracing::warn!(build.id = %build, %error, "could not remove a work tree");
        }
    }
}

/// A mirror whose use can not be noted only seems unused for longer, and is fetched again.
fn note_use(mirror: &Mirror) {
    touch(mirror.directory()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::SessionId;

    #[test]
    fn only_mirrors_that_no_build_uses_go() {
        let base = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(base.path(), 1, SessionId("s".to_owned())).unwrap();
        let (all, git) = (Mirrors::default(), GitOptions::default());
        let mirrors = ["used", "known", "unknown"].map(|name| {
            let url = GitUrl::parse(&format!("https://example.org/{name}"), false).unwrap();
            std::fs::create_dir_all(data.mirrors().join(url.directory_name())).unwrap();
            url
        });
        let used = all.of(&data, BuildId(1), &mirrors[0], &git);
        drop(all.of(&data, BuildId(2), &mirrors[1], &git));
        let second = data.mirrors().join(mirrors[1].directory_name());
        assert_eq!(all.history(BuildId(2)), Some(second));
        assert_eq!(all.history(BuildId(3)), None);
        // Both builds are over, but somebody has the one at hand.
        lock(&all.work_trees).clear();
        let bounds = ProjectBounds {
            max_age: Some(std::time::Duration::ZERO),
            max_bytes: None,
        };
        let left = || {
            all.remove_surplus(&data, &bounds).unwrap();
            let is_left = |url: &GitUrl| data.mirrors().join(url.directory_name()).exists();
            mirrors.each_ref().map(is_left)
        };
        assert_eq!(left(), [true, false, false]);
        lock(&all.work_trees).insert(BuildId(1), used);
        assert_eq!(left(), [true, false, false]);
        lock(&all.work_trees).clear();
        assert_eq!(left(), [false; 3]);
        assert_eq!(std::fs::read_dir(data.mirrors()).unwrap().count(), 0);
    }
}
