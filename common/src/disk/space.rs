//! How much space is left where a daemon keeps its files, and whether that is enough to begin
//! something. The reserve is for what can not wait: the master's journal above all.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a task that waits for space looks again.
const LOOK: Duration = Duration::from_millis(500);

/// With less than this, nothing can be written for certain: a file system gives space in blocks.
const NOTHING: u64 = 64 << 10;

const MIB: u64 = 1 << 20;

/// The space of one directory's file system. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DiskSpace {
    directory: Arc<PathBuf>,
    reserve: u64,
}

/// Too little is free to begin something. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "The disk is nearly full: {} MiB are free in {}, and {} MiB are needed{}. Remove files there or make \
     the disk larger; work then resumes by itself.",
    free / MIB,
    .directory.display(),
    (needed + reserve).div_ceil(MIB),
    if *reserve > 0 { format!(", of which {} MiB are reserved (min_free_space)", reserve.div_ceil(MIB)) } else { String::new() }
)]
pub struct ShortOfSpace {
    directory: PathBuf,
    free: u64,
    needed: u64,
    reserve: u64,
}

impl DiskSpace {
    /// The space where `directory` is, of which `reserve` bytes stay free.
    #[must_use]
    pub fn new(directory: &Path, reserve: u64) -> Self {
        Self {
            directory: Arc::new(directory.to_owned()),
            reserve,
        }
    }

    /// Bytes that may still be written there; `None` if the system does not say.
    #[must_use]
    pub fn free(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(self.directory.as_path()).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Bytes of it that stay free.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        self.reserve
    }

    /// Bytes that may be written there without touching the reserve; `None` if the system does not say.
    #[must_use]
    pub fn usable(&self) -> Option<u64> {
        Some(self.free()?.saturating_sub(self.reserve))
    }

    /// Whether `needed` more bytes leave the reserve untouched. A system that does not say how much
    /// is free is taken at its writes.
    ///
    /// # Errors
    /// They do not.
    pub fn check(&self, needed: u64) -> Result<(), ShortOfSpace> {
        match self.free() {
            Some(free) => self.judge(free, needed),
            None => Ok(()),
        }
    }

    fn judge(&self, free: u64, needed: u64) -> Result<(), ShortOfSpace> {
        if free >= self.reserve.saturating_add(needed) {
            return Ok(());
        }
        Err(ShortOfSpace {
            directory: self.directory.to_path_buf(),
            free,
            needed,
            reserve: self.reserve,
        })
    }

    /// A file there without a name, for what is put together before it is sent: its space is free again when it is
    /// closed. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn unnamed_file(&self) -> io::Result<File> {
        tempfile::tempfile_in(self.directory.as_path())
    }

    /// Whether nothing more can be written at all.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.free().is_some_and(|free| free < NOTHING)
    }

    /// Waits until `needed` bytes can be used; false if `stop` came first. Says once in the log what
    /// waits for space.
    pub async fn wait_for(&self, needed: u64, what: &str, stop: &CancellationToken) -> bool {
        let Err(short) = self.check(needed) else {
            return !stop.is_cancelled();
        };
        tracing::warn!(error = %short, "{what} waits for space on the disk");
        while self.check(needed).is_err() {
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        tracing::info!("{what} goes on: there is space again");
        !stop.is_cancelled()
    }

    /// Comes back when less than half of the reserve is left; never if there is no reserve.
    pub async fn runs_out(&self) {
        let half = Self {
            directory: Arc::clone(&self.directory),
            reserve: self.reserve / 2,
        };
        while half.check(0).is_ok() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Whether an error says that no space is left, be it on the disk or of the user's share of it.
#[must_use]
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_stays_free() {
        let space = DiskSpace::new(Path::new("/some/where"), 10 * MIB);
        assert_eq!(space.judge(10 * MIB, 0), Ok(()));
        assert_eq!(space.judge(13 * MIB, 3 * MIB), Ok(()));
        let short = space.judge(13 * MIB, 3 * MIB + 1).unwrap_err();
        assert_eq!(
            short.to_string(),
            "The disk is nearly full: 13 MiB are free in /some/where, and 14 MiB are needed, of which 10 MiB are \
             reserved (min_free_space). Remove files there or make the disk larger; work then resumes by itself."
        );
        assert!(space.judge(u64::MAX, u64::MAX).is_ok());
        assert!(DiskSpace::new(Path::new("/"), 0).judge(0, 0).is_ok());
    }

    #[tokio::test]
    async fn who_waits_in_vain_can_be_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let enough = DiskSpace::new(directory.path(), 0);
        let never = DiskSpace::new(directory.path(), u64::MAX);
        let stop = CancellationToken::new();
        assert!(enough.free().is_some() && enough.wait_for(1, "a test", &stop).await);
        never.runs_out().await;
        stop.cancel();
        assert!(!never.wait_for(1, "a test", &stop).await);
        // What can not be asked is not in the way.
        assert!(
            DiskSpace::new(Path::new("/no/such/place"), u64::MAX)
                .check(1)
                .is_ok()
        );
    }
}
