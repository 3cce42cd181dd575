//! How many events were acknowledged, kept outside of the engine.
//!
//! sled takes a damaged record for the end of its log and silently drops all that follows. This number reveals the
//! loss. It is written at each acknowledgement and synced now and then:
//! after a power cut it may be too low, which hides a loss but never invents one. The file is on disk before
//! anything else of a journal, so where it is missing it was lost.

use super::{FORMAT, JournalError};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Where the number is: the format of the journal (4 bytes), the number (8 bytes) and the CRC-32 of both, all
/// big-endian.
pub(super) const FILE: &str = "acknowledged";

const LENGTH: usize = 16;

/// How long the file was before the format was in it.
const FORMER_LENGTH: usize = 12;

/// What is wrong where there is no such file.
pub(super) const MISSING: &str = "it is missing";

/// The file with the number.
#[derive(Debug)]
pub(super) struct Acknowledged(File);

/// The number in a directory.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn read(directory: &Path) -> Result<u64, &'static str> {
    let bytes = match std::fs::read(directory.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(MISSING),
        Err(_) => return Err("it can not be read"),
        Ok(bytes) if bytes.is_empty() => return Err("it is empty"),
        Ok(bytes) => bytes,
    };
    if bytes.len() != LENGTH {
        return Err("it has not the length that it must have");
    }
    let content = content(&bytes).ok_or("its checksum does not fit")?;
    let number = content.last_chunk::<8>().ok_or(MISSING)?;
    Ok(u64::from_be_bytes(*number))
}

/// What is before the checksum, if that fits.
fn content(bytes: &[u8]) -> Option<&[u8]> {
    let (content, checksum) = bytes.split_last_chunk::<4>()?;
    (crc32fast::hash(content).to_be_bytes() == *checksum).then_some(content)
}

/// Refuses a journal of another format. One that does not say its format is damaged, which is for others to tell.
///
/// # Errors
/// It is of another format.
pub(super) fn check_format(directory: &Path) -> Result<(), JournalError> {
    let Ok(bytes) = std::fs::read(directory.join(FILE)) else {
        return Ok(());
    };
    let format = content(&bytes).and_then(|content| match bytes.len() {
        FORMER_LENGTH => Some(0),
        _ => content.first_chunk::<4>().map(|f| u32::from_be_bytes(*f)),
    });
    match format {
        None | Some(FORMAT) => Ok(()),
        Some(found) => Err(JournalError::Format { found }),
    }
}

impl Acknowledged {
    /// Opens the file, or makes it and brings it to disk.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(FILE);
        let mut options = File::options();
        options.read(true).write(true);
        match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let new = Self(options.create_new(true).open(&path)?);
                new.write(0)?;
                new.sync()?;
                File::open(directory)?.sync_all()?;
                Ok(new)
            }
            opened => opened.map(Self),
        }
    }

    pub(super) fn write(&self, events: u64) -> io::Result<()> {
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(&FORMAT.to_be_bytes());
        bytes[4..12].copy_from_slice(&events.to_be_bytes());
        let checksum = crc32fast::hash(&bytes[..12]);
        bytes[12..].copy_from_slice(&checksum.to_be_bytes());
        self.0.write_all_at(&bytes, 0)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
