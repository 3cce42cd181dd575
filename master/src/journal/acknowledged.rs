//! How many events were acknowledged, kept outside of the engine.
//!
//! sled takes a record that it finds damaged for the end of its log: what came after it is gone
//! without a word. This number tells. It is written at each acknowledgement and synced now and then:
//! after a power cut it may be too low, which hides a loss but never invents one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const LENGTH: usize = 12;

/// The file with the number: 8 bytes, big-endian, and their CRC-32.
#[derive(Debug)]
pub(super) struct Acknowledged(File);

impl Acknowledged {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        options.open(directory.join("acknowledged")).map(Self)
    }

    /// The number, if one was ever written.
    pub(super) fn read(&self) -> Option<u64> {
        let mut bytes = [0; LENGTH];
        self.0.read_exact_at(&mut bytes, 0).ok()?;
        let (number, checksum) = bytes.split_first_chunk::<8>()?;
        let is_right = crc32fast::hash(number).to_be_bytes() == checksum;
        is_right.then(|| u64::from_be_bytes(*number))
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
