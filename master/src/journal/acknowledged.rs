//! How many events were acknowledged, kept outside of the engine.
//!
//! sled takes a record that it finds damaged for the end of its log: what came after it is gone
//! without a word. This number tells. It is written at each acknowledgement and synced now and then:
//! after a power cut it may be too low, which hides a loss but never invents one. The file is on disk before
//! anything else of a journal, so where it is missing it was lost.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Where the number is: 8 bytes, big-endian, and their CRC-32.
pub(super) const FILE: &str = "acknowledged";

const LENGTH: usize = 12;

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
    let bytes: [u8; LENGTH] = bytes
        .try_into()
        .map_err(|_| "it has not the length that it must have")?;
    let (number, checksum) = bytes.split_first_chunk::<8>().ok_or(MISSING)?;
    if crc32fast::hash(number).to_be_bytes() != checksum {
        return Err("its checksum does not fit");
    }
    Ok(u64::from_be_bytes(*number))
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
        let number = events.to_be_bytes();
        bytes[..8].copy_from_slice(&number);
        bytes[8..].copy_from_slice(&crc32fast::hash(&number).to_be_bytes());
        self.0.write_all_at(&bytes, 0)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
