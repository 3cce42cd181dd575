//! What a set-up finds in the set-up cache, and what it leaves there. Whatever goes wrong with the cache is a line in the
//! output of the set-up; the build goes on as if there were no cache.

use super::{Setup, SetupError};
use crate::setup_cache::{
    CacheError, CachedProject, HashedFile, KeyParts, Restored, digest_of, key, machine, scope,
};
use crate::work::{Project, SetupOrder};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::beneath::Beneath;
use clusterrunner_common::disk::kept_entries::EntryKey;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::job::setup_cache::SetupCache;
use clusterrunner_common::text::printable::plain;
use clusterrunner_common::work::SetupJob;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

/// Where Linux says what it is, and the longest that is read of it.
const OS_RELEASE: &str = "/etc/os-release";
const LONGEST_RELEASE: u64 = 64 << 10;

/// A set-up that has an entry, or will have one.
pub(super) struct Cached {
    key: EntryKey,
    project: CachedProject,
    pub(super) is_restored: bool,
}

impl Setup {
    /// Puts into a project what an earlier set-up like this one made, if there is an entry; none where nothing is kept of
    /// this set-up.
    ///
    /// # Errors
    /// The set-up is canceled, or the project can not be fetched again, which the cache has damaged.
    pub(super) async fn restore(
        &self,
        order: &SetupOrder,
        (job, setup_build): (&SetupJob, &str),
        project: &Project,
        output: &File,
        stop: &CancellationToken,
    ) -> Result<Option<Cached>, SetupError> {
        let Some(cache) = &job.cache else {
            return Ok(None);
        };
        let key = match self.key(order, setup_build, cache, project).await {
            Ok(key) => key,
            Err(why) => {
                say(output, format!("cache not used: {why}"));
                return Ok(None);
            }
        };
        let mut cached = Cached {
            key,
            project: CachedProject {
                directory: project.directory.clone(),
                beside: self.data.beside_work_tree(order.build),
                cache: cache.clone(),
            },
            is_restored: false,
        };
        let began = Timestamp::now();
        let key = &cached.key;
        match self.caches.restore(key, &cached.project, stop).await {
            Ok(Restored::Whole { bytes, from_master }) => {
                let (size, since) = (size(bytes), since(began));
                let whence = if from_master { ", from the master" } else { "" };
                say(
                    output,
                    format!("cache restored ({key}, {size}, {since}{whence})"),
                );
                cached.is_restored = true;
            }
            Ok(Restored::Missed) => say(output, format!("cache missed ({key})")),
            Err(CacheError::Canceled) => return Err(SetupError::Canceled),
            Err(CacheError::NotDone(why)) => not_restored(output, key, &why),
            Err(CacheError::Broken(why)) => {
                not_restored(output, key, &why);
                self.sources.fetch(&self.data, order, stop).await?;
            }
        }
        Ok(Some(cached))
    }

    /// Makes a project fresh again where `setup_build` has failed over what was restored: without a cache it may not fail.
    ///
    /// # Errors
    /// The project can not be fetched.
    pub(super) async fn begin_anew(
        &self,
        order: &SetupOrder,
        output: &File,
        stop: &CancellationToken,
    ) -> Result<(), SetupError> {
        say(
            output,
            "cache: setup_build failed over what was restored, and runs once more without that",
        );
        self.end_left(order.build).await;
        self.sweeper.end(self.data.build_mark(order.build)).await;
        self.sources.fetch(&self.data, order, stop).await?;
        Ok(())
    }

    /// Keeps what a set-up has made in the place of what it could not begin with.
    pub(super) async fn keep_anew(&self, cached: &Cached, output: &File, stop: &CancellationToken) {
        if let Err(error) = self.caches.forget(&cached.key).await {
            let key = &cached.key;
            say(output, format!("cache not saved ({key}): {error}"));
            return;
        }
        self.keep(cached, output, stop).await;
    }

    /// Keeps what a set-up has made.
    pub(super) async fn keep(&self, cached: &Cached, output: &File, stop: &CancellationToken) {
        let (key, began) = (&cached.key, Timestamp::now());
        match self.caches.save(key, &cached.project, stop).await {
            Ok(Some(bytes)) => {
                let size = size(bytes);
                say(
                    output,
                    format!("cache saved ({key}, {size}, {})", since(began)),
                );
            }
            Ok(None) => say(
                output,
                format!("cache saved ({key}) by another build meanwhile"),
            ),
            Err(error) => say(output, format!("cache not saved ({key}): {error}")),
        }
    }

    /// The name of what this set-up makes; else why it has none.
    async fn key(
        &self,
        order: &SetupOrder,
        setup_build: &str,
        cache: &SetupCache,
        project: &Project,
    ) -> Result<EntryKey, String> {
        let scope = scope(&order.source);
        let scope = scope.ok_or("the project is a directory, whose files stay there anyway")?;
        let commit = match (cache.key_files().is_empty(), &order.commit) {
            (true, Some(commit)) => Some(commit.as_str()),
            (true, None) => return Err("the commit is its key, and this build has none".to_owned()),
            (false, _) => None,
        };
        let directory = project.directory.clone();
        let names = cache.key_files().to_vec();
        let remote: Vec<String> = order.remote_files.keys().cloned().collect();
        let read = move || {
            let (files, remote) = (hashed(&directory, names), hashed(&directory, remote));
            files.and_then(|files| Ok((files, remote?)))
        };
        let read = spawn_blocking(read).await;
        let (files, remote_files) = read.map_err(|error| error.to_string())??;
        let runs_on = self.runs_on(project).await?;
        Ok(key(
            &self.secret,
            &KeyParts {
                scope: &scope,
                cache,
                setup_build,
                runs_on: &runs_on,
                commit,
                files: &files,
                remote_files: &remote_files,
                variables: &project.variables,
                apart: (self.isolator.demanded(), project.isolation.level),
                secrets: &order.secrets,
            },
        ))
    }

    /// What decides beside the project what a set-up makes: names of images may stand for others tomorrow.
    async fn runs_on(&self, project: &Project) -> Result<String, String> {
        let Some(image) = project.image.clone() else {
            let release = regular_file::read_to_string(Path::new(OS_RELEASE), LONGEST_RELEASE);
            let path = match &project.variables.inherited {
                // It is with the variables.
                Some(_) => String::new(),
                None => std::env::var("PATH").unwrap_or_default(),
            };
            return Ok(machine(&release.unwrap_or_default(), &path));
        };
        let runtime = self.containers.runtime().await;
        let runtime = runtime.map_err(|error| error.to_string())?;
        let id = spawn_blocking(move || runtime.image_id(&image)).await;
        let id = id.map_err(|error| error.to_string())?;
        let id = id.map_err(|error| format!("its image can not be looked at: {error}"))?;
        Ok(format!("image\n{}", id.trim()))
    }
}

fn not_restored(output: &File, key: &EntryKey, why: &str) {
    say(output, format!("cache not restored ({key}): {why}"));
}

/// Files of a project. No link is followed: what lies outside may be different on each slave. Blocks.
fn hashed(project: &Path, names: Vec<String>) -> Result<Vec<HashedFile>, String> {
    let top = Beneath::open(project).map_err(|error| error.to_string())?;
    let read = |name: &str| {
        let path = Path::new(name);
        let above = top.directory(path.parent().unwrap_or(Path::new("")))?;
        digest_of(&above.open_file(path.file_name().unwrap_or_default())?)
    };
    let mut files = Vec::with_capacity(names.len());
    for name in names {
        match read(&name) {
            Ok(content) => files.push((name, content)),
            // Without it, all commits would have the same key.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!("there is no key file {name}"));
            }
            Err(error) => return Err(format!("the key file {name} can not be read: {error}")),
        }
    }
    Ok(files)
}

/// Prints a line where the set-up prints. A line that can not be printed is missing there, and nothing more.
pub(super) fn say(mut output: &File, line: impl Display) {
    let line = format!("{}\n", plain(&line.to_string()));
    output.write_all(line.as_bytes()).ok();
}

fn size(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    match bytes < MIB {
        true => format!("{} KiB", bytes.div_ceil(KIB)),
        false => format!("{} MiB", bytes.div_ceil(MIB)),
    }
}

fn since(began: Timestamp) -> String {
    format!("{:.1} s", began.until(Timestamp::now()).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn key_files_are_read_inside_of_the_project_only() {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("project");
        fs::create_dir_all(project.join("sub")).unwrap();
        fs::write(project.join("sub/k"), "1").unwrap();
        fs::write(folder.path().join("outside"), "1").unwrap();
        symlink("../outside", project.join("link")).unwrap();
        symlink("..", project.join("up")).unwrap();
        let read = |name: &str| hashed(&project, vec![name.to_owned()]);
        let content: [u8; 32] = Sha256::digest("1").into();
        assert_eq!(read("sub/k").unwrap(), [("sub/k".to_owned(), content)]);
        for missing in ["none", "none/k", "sub/none"] {
            let error = read(missing).unwrap_err();
            assert_eq!(error, format!("there is no key file {missing}"));
        }
        for refused in ["link", "up/outside", "sub"] {
            let error = read(refused).unwrap_err();
            assert!(error.contains(refused), "{error}");
        }
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(
            [0, 1, 1 << 20, (12 << 20) - 5].map(size),
            ["0 KiB", "1 KiB", "1 MiB", "12 MiB"]
        );
    }
}
