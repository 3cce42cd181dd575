//! The snapshots of templates on the master's disk: `templates/<digest>`, each a file named by the SHA-256 of its bytes.
//!
//! They come out of the stored results of builds ([`taking`](self)), where a build's own commands have put them, so
//! nothing in them is believed. Which of them is still needed is the core's to say; here nothing is removed that
//! somebody has just put there and has not reported yet.

mod description;
mod serving;
mod taking;
#[cfg(test)]
mod tests;

pub(crate) use taking::{Kept, TakeError};

use clusterrunner_common::lock::lock;
use std::collections::{HashMap, HashSet};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Begins the names of snapshots that are still written. Digests have no point in them.
const INCOMING: &str = ".incoming-";

/// How many hexadecimal digits a digest has.
const DIGEST_LENGTH: usize = 64;

/// All snapshots. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots {
    directory: Arc<PathBuf>,
    claims: Arc<Mutex<Claims>>,
    /// Held by the one who reads a whole snapshot to see whether it is damaged.
    looking: Arc<Mutex<()>>,
}

/// Who has something to do with which snapshot right now.
#[derive(Debug, Default)]
struct Claims {
    /// How many have put a snapshot here and have not reported it yet.
    held: HashMap<String, usize>,
    /// What is about to be removed, as long as nobody puts it here again.
    going: HashSet<String>,
}

/// Leave to remove a snapshot, as long as nobody puts it here again meanwhile.
#[derive(Debug)]
#[must_use]
pub(crate) struct Going {
    digest: String,
}

impl Snapshots {
    /// The snapshots below a directory, which is made if it is not there. What an earlier life left half written goes.
    /// Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn open(directory: PathBuf) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(INCOMING.as_bytes()) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(Self {
            directory: Arc::new(directory),
            claims: Arc::default(),
            looking: Arc::default(),
        })
    }

    /// Removes all snapshots but these: an earlier life may have ended between putting one here and reporting it. To be
    /// called before anything is put here. Returns how many went. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn keep_only(&self, needed: &HashSet<String>) -> io::Result<usize> {
        let mut removed = 0;
        for entry in std::fs::read_dir(&*self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            // What has another name is none of ours.
            let digest = name.to_str().filter(|name| is_digest(name));
            if digest.is_some_and(|digest| !needed.contains(digest)) {
                std::fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Begins to remove a snapshot: between this and [`Self::remove`] the caller asks whether a template has it. Nothing
    /// where somebody has just put it here.
    pub(crate) fn begin_removal(&self, digest: &str) -> Option<Going> {
        let mut claims = lock(&self.claims);
        if claims.held.contains_key(digest) {
            return None;
        }
        claims.going.insert(digest.to_owned());
        Some(Going {
            digest: digest.to_owned(),
        })
    }

    /// Removes a snapshot, unless somebody has put it here again since the removal began. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn remove(&self, going: Going) -> io::Result<()> {
        let mut claims = lock(&self.claims);
        if !claims.going.remove(&going.digest) {
            return Ok(());
        }
        let Some(path) = self.path(&going.digest) else {
            return Ok(());
        };
        // Under the lock: who puts it here again must find that it is gone.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Gives a removal up.
    pub(crate) fn give_removal_up(&self, going: &Going) {
        lock(&self.claims).going.remove(&going.digest);
    }

    /// Where a snapshot lies. Nothing that a peer sends becomes a path but a digest.
    fn path(&self, digest: &str) -> Option<PathBuf> {
        is_digest(digest).then(|| self.directory.join(digest))
    }

    fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Whether a text is 64 lower-case hexadecimal digits.
#[must_use]
pub(crate) fn is_digest(text: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == DIGEST_LENGTH && text.bytes().all(is_digit)
}
