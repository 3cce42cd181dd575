//! Bringing a commit into a mirror from another mirror: packs come as a stream, and are in the mirror all or not at all.
//!
//! They are written and indexed beside the mirror's objects. When all are there and on disk, one rename says so; what
//! is left to move then is moved, now or when the mirror is opened again.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use git2::{Indexer, Oid, Repository};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::mirror_files::{self, PINS};
use super::packs::{PackHeader, PackRequest};
use super::remote_refs::Advertised;
use super::{CommitId, GitError, Mirror, mirror_packs, tracking_refs};
use crate::disk::beneath::remove_all;

/// How the folder begins in which packs are written.
pub(super) const INCOMING: &str = "incoming-";

/// The folder of packs that are whole.
pub(super) const TAKEN: &str = "taken";

/// How many commits the other side is told that we have: the newest that builds were about.
const TOLD_COMMITS: usize = 256;

/// The longest header: some 300,000 branches and tags.
const MAXIMUM_HEADER_BYTES: u64 = 32 << 20;

/// Where packs come from.
pub trait PackSource {
    /// Asks for packs. What is read is a [`PackHeader`] as one line of JSON, after any number of empty lines, and then
    /// the packs; or a line with the field `error`.
    ///
    /// # Errors
    /// See [`PackError`].
    fn open(&self, request: &PackRequest) -> Result<Box<dyn Read + '_>, PackError>;
}

/// Why packs do not come.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The other side does not give them: asking again is of no use.
    #[error("{0}")]
    Refused(String),
    /// It may give them later.
    #[error("{0}")]
    Interrupted(String),
}

/// The first line.
#[derive(Deserialize)]
#[serde(untagged)]
enum FirstLine {
    Error { error: String },
    Header(PackHeader),
}

impl Mirror {
    /// Makes sure that `commit` is in the mirror, from `source` if it is not. The repository itself is not needed.
    ///
    /// # Errors
    /// [`GitError::Pack`] if the source does not bring it.
    pub fn take_commit(
        &self,
        commit: &CommitId,
        source: &dyn PackSource,
        cancel: &CancellationToken,
    ) -> Result<(), GitError> {
        self.take(commit, &[], source, cancel)
    }

    pub(super) fn take(
        &self,
        commit: &CommitId,
        submodule: &[String],
        source: &dyn PackSource,
        cancel: &CancellationToken,
    ) -> Result<(), GitError> {
        let repository = self.open()?;
        let oid = commit.to_oid().map_err(|error| self.unusable(&error))?;
        // Only a pin says that all that belongs to it is there too.
        if repository.refname_to_id(&format!("{PINS}/{oid}")).is_ok()
            && repository.find_commit(oid).is_ok()
        {
            return Ok(());
        }
        let request = PackRequest {
            submodule: submodule.to_vec(),
            have: self.pinned(&repository),
        };
        let taken = self.receive(&repository, &request, source, cancel);
        if cancel.is_cancelled() {
            return Err(GitError::Canceled);
        }
        let header = taken.map_err(|error| GitError::Pack {
            url: self.url().to_string(),
            source: error,
        })?;
        self.finish_taking()?;
        drop(repository);
        let repository = self.open()?;
        if header.is_whole {
            self.cut_off(header.shallow.as_deref())?;
        }
        if repository.find_commit(oid).is_err() {
            let reason = format!("the packs that it sent have no commit {commit}");
            return Err(GitError::Pack {
                url: self.url().to_string(),
                source: PackError::Refused(reason),
            });
        }
        let refs = header.refs.into_iter();
        let refs = refs.filter_map(|(name, oid)| Some((name, Oid::from_str(&oid).ok()?)));
        tracking_refs::update(&repository, &Advertised::collect(refs), false)
            .map_err(|error| self.error("update the refs of", error.message()))?;
        self.pin(&repository, self.url(), oid, commit.as_str())?;
        if let Err(error) = mirror_packs::merge_small(&repository, self.directory()) {
            let directory = self.directory().display();
            tracing::warn!(%directory, %error, "could not merge the packs of a mirror");
        }
        Ok(())
    }

    /// The newest commits that are here with all that they need.
    fn pinned(&self, repository: &Repository) -> Vec<CommitId> {
        if self.directory().join("shallow").exists() {
            // Their history is not here.
            return Vec::new();
        }
        let mut pins: Vec<_> = fs::read_dir(self.directory().join(PINS))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let id: CommitId = entry.file_name().to_str()?.parse().ok()?;
                repository.find_commit(id.to_oid().ok()?).ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, id))
            })
            .collect();
        pins.sort();
        let newest = pins.into_iter().rev().map(|(_, id)| id);
        newest.take(TOLD_COMMITS).collect()
    }

    fn receive(
        &self,
        repository: &Repository,
        request: &PackRequest,
        source: &dyn PackSource,
        cancel: &CancellationToken,
    ) -> Result<PackHeader, PackError> {
        let interrupted = |error: io::Error| PackError::Interrupted(error.to_string());
        let mut stream = BufReader::with_capacity(1 << 18, source.open(request)?);
        let header = read_header(&mut stream)?;
        let limits = self.options().limits;
        let bytes = header
            .packs
            .iter()
            .fold(0, |sum: u64, length| sum.saturating_add(*length));
        if bytes > limits.pack_bytes {
            let most = limits.pack_bytes;
            let reason = format!(
                "its packs have {bytes} bytes, and {most} are allowed (setting git_max_pack_bytes)"
            );
            return Err(PackError::Refused(reason));
        }
        if header.refs.len() as u64 > limits.refs {
            let reason = format!(
                "it has more than {} refs (setting git_max_refs)",
                limits.refs
            );
            return Err(PackError::Refused(reason));
        }
        let objects = self.directory().join("objects");
        let incoming = tempfile::Builder::new()
            .prefix(INCOMING)
            .tempdir_in(&objects)
            .map_err(interrupted)?;
        let database = repository.odb().map_err(broken)?;
        for length in &header.packs {
            let mut indexer =
                Indexer::new(Some(&database), incoming.path(), 0o444, false).map_err(broken)?;
            indexer.progress(|_| !cancel.is_cancelled());
            let copied =
                io::copy(&mut (&mut stream).take(*length), &mut indexer).map_err(interrupted)?;
            if copied < *length {
                let reason = "the connection ended in the middle of a pack".to_owned();
                return Err(PackError::Interrupted(reason));
            }
            indexer.commit().map_err(broken)?;
        }
        mirror_files::sync_below(incoming.path()).map_err(interrupted)?;
        fs::rename(incoming.path(), objects.join(TAKEN)).map_err(interrupted)?;
        // It has another name now.
        let _renamed = incoming.keep();
        Ok(header)
    }

    /// Moves packs that were received whole to where they are seen.
    pub(super) fn finish_taking(&self) -> Result<(), GitError> {
        move_taken(&self.directory().join("objects")).map_err(|error| self.error("write to", error))
    }

    fn cut_off(&self, shallow: Option<&str>) -> Result<(), GitError> {
        let file = self.directory().join("shallow");
        let done = match shallow {
            Some(ids) => fs::write(file, ids),
            None => match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        done.map_err(|error| self.error("write to", error))
    }

    fn unusable(&self, error: &git2::Error) -> GitError {
        self.error("read", error.message())
    }
}

/// What git does not accept may have been spoiled on its way.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` is given"
)]
fn broken(error: git2::Error) -> PackError {
    PackError::Interrupted(error.message().to_owned())
}

fn read_header(stream: &mut impl io::BufRead) -> Result<PackHeader, PackError> {
    let mut line = Vec::new();
    while line.trim_ascii().is_empty() {
        line.clear();
        let read = stream
            .by_ref()
            .take(MAXIMUM_HEADER_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(|error| PackError::Interrupted(error.to_string()))?;
        if read == 0 || line.last() != Some(&b'\n') {
            let reason = "the connection ended before the first pack".to_owned();
            return Err(PackError::Interrupted(reason));
        }
    }
    match serde_json::from_slice(&line) {
        Ok(FirstLine::Header(header)) => Ok(header),
        Ok(FirstLine::Error { error }) => Err(PackError::Refused(error)),
        Err(error) => Err(PackError::Refused(format!(
            "its answer can not be read: {error}"
        ))),
    }
}

fn move_taken(objects: &Path) -> io::Result<()> {
    let taken = objects.join(TAKEN);
    let mut names = Vec::new();
    match fs::read_dir(&taken) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(entries) => {
            for entry in entries {
                names.push(entry?.file_name());
            }
        }
    }
    let packs = objects.join("pack");
    fs::create_dir_all(&packs)?;
    // A pack is seen through its index: the pack itself must be there first.
    for extension in ["pack", "idx"] {
        for name in &names {
            if Path::new(name)
                .extension()
                .is_some_and(|found| found == extension)
            {
                fs::rename(taken.join(name), packs.join(name))?;
            }
        }
    }
    remove_all(&taken)
}

/// Removes packs that were not received to their end.
pub(super) fn clear_incoming(directory: &Path) {
    for entry in fs::read_dir(directory.join("objects"))
        .into_iter()
        .flatten()
        .flatten()
    {
        if entry.file_name().to_string_lossy().starts_with(INCOMING) {
            drop(remove_all(&entry.path()));
        }
    }
}
