//! The records of a zip archive, byte for byte, as PKWARE's APPNOTE.TXT (6.3.10) has them.
//!
//! Only what this archive needs: deflated regular files whose sizes come after their content, on
//! one "disk", without comments. Numbers are little-endian throughout (4.4.1.1). Nothing here reads
//! or writes anything but the buffer it is given.

use super::time::Modified;
use clusterrunner_common::results::block::FileFacts;
use std::io;

/// 4.4.3.2: what a reader must know: deflate, or fields of 64 bits.
const NEEDS_DEFLATE: u16 = 20;
const NEEDS_ZIP64: u16 = 45;
/// 4.4.2: made on Unix, which says what the mode in the external attributes means.
const MADE_ON_UNIX: u16 = 3 << 8;
/// 4.4.4: crc and sizes come after the content, for when its header is sent they are not known.
const SIZES_FOLLOW: u16 = 1 << 3;
/// 4.4.4 and appendix D: the name is UTF-8. ASCII is so anyway.
const UTF8: u16 = 1 << 11;
/// 4.4.5
const DEFLATED: u16 = 8;
/// What `stat` says of a regular file. The mode is the upper half of the external attributes.
const REGULAR_FILE: u32 = 0o100_000;
/// 4.5.3: the extra field with the numbers that have no room in the record itself, each of which
/// has all bits set there (4.4.1.4).
const ZIP64_FIELD: u16 = 1;
const ELSEWHERE: u32 = u32::MAX;
const ELSEWHERE_16: u16 = u16::MAX;
/// The extra field of Info-ZIP with seconds since 1970, of which this says that only the time of the
/// last change is there.
const TIMESTAMP_FIELD: u16 = 0x5455;
const ONLY_MODIFIED: u8 = 1;
/// How long that field is with what says so.
const TIMESTAMP_LENGTH: u16 = 4 + 5;
/// Content from here on gets sizes of 64 bits. Not 4 GiB: what does not compress grows, by an
/// eighth at most.
const LARGE: u64 = 3 << 30;

/// What is known of a member before its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member<'a> {
    name: &'a str,
    mode: u32,
    modified: Modified,
    /// Whether its sizes have 64 bits.
    is_large: bool,
}

/// What is known of a member after its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) crc: u32,
    pub(super) compressed: u64,
    pub(super) size: u64,
}

impl<'a> Member<'a> {
    /// A regular file.
    ///
    /// # Errors
    /// Its name is longer than an archive can say.
    pub(super) fn new(name: &'a str, facts: FileFacts) -> io::Result<Self> {
        if u16::try_from(name.len()).is_err() {
            let text = "a name that is too long for a zip archive";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(Self {
            name,
            mode: facts.mode & 0o7777,
            modified: Modified(facts.modified_at),
            is_large: facts.size >= LARGE,
        })
    }

    /// One that [`Member::new`] made before.
    pub(super) fn known(name: &'a str, mode: u32, modified: Modified, is_large: bool) -> Self {
        Self {
            name,
            mode,
            modified,
            is_large,
        }
    }

    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    pub(super) fn mode(&self) -> u32 {
        self.mode
    }

    pub(super) fn modified(&self) -> Modified {
        self.modified
    }

    pub(super) fn is_large(&self) -> bool {
        self.is_large
    }

    /// The header before the content (4.3.7).
    pub(super) fn local_header(&self, out: &mut Vec<u8>) {
        put32(out, 0x0403_4b50);
        self.common_fields(out);
        // Crc and sizes, which follow.
        out.extend([0; 12]);
        put16(out, length16(self.name.len()));
        let sizes = if self.is_large { 20 } else { 0 };
        put16(out, sizes + self.timestamp_length());
        out.extend(self.name.as_bytes());
        if self.is_large {
            // It says already here that the sizes after the content have 64 bits (4.3.9.2).
            put16(out, ZIP64_FIELD);
            put16(out, 16);
            out.extend([0; 16]);
        }
        self.timestamp_field(out);
    }

    /// What comes after the content (4.3.9), with its customary signature (4.3.9.3).
    pub(super) fn descriptor(&self, content: &Content, out: &mut Vec<u8>) {
        put32(out, 0x0807_4b50);
        put32(out, content.crc);
        if self.is_large {
            put64(out, content.compressed);
            put64(out, content.size);
        } else {
            put32(out, low32(content.compressed));
            put32(out, low32(content.size));
        }
    }

    /// Its record in the central directory (4.3.12); `offset` is where its header begins.
    pub(super) fn central_record(&self, content: &Content, offset: u64, out: &mut Vec<u8>) {
        let is_far = offset >= u64::from(ELSEWHERE);
        let elsewhere = 16 * u16::from(self.is_large) + 8 * u16::from(is_far);
        put32(out, 0x0201_4b50);
        put16(out, MADE_ON_UNIX | self.needs());
        self.common_fields(out);
        put32(out, content.crc);
        let here = |size| {
            if self.is_large {
                ELSEWHERE
            } else {
                low32(size)
            }
        };
        put32(out, here(content.compressed));
        put32(out, here(content.size));
        put16(out, length16(self.name.len()));
        let numbers = if elsewhere > 0 { 4 + elsewhere } else { 0 };
        put16(out, numbers + self.timestamp_length());
        // No comment, the first disk, no internal attributes.
        out.extend([0; 6]);
        put32(out, (REGULAR_FILE | self.mode) << 16);
        put32(out, low32(offset));
        out.extend(self.name.as_bytes());
        if elsewhere > 0 {
            put16(out, ZIP64_FIELD);
            put16(out, elsewhere);
        }
        if self.is_large {
            put64(out, content.size);
            put64(out, content.compressed);
        }
        if is_far {
            put64(out, offset);
        }
        self.timestamp_field(out);
    }

    /// How long header, content and descriptor are together.
    pub(super) fn length(&self, content: &Content) -> u64 {
        let fixed = if self.is_large { 30 + 20 + 24 } else { 30 + 16 };
        let timestamp = u64::from(self.timestamp_length());
        fixed + timestamp + self.name.len() as u64 + content.compressed
    }

    /// What the local header and the central record both begin with.
    fn common_fields(&self, out: &mut Vec<u8>) {
        let utf8 = if self.name.is_ascii() { 0 } else { UTF8 };
        put16(out, self.needs());
        put16(out, SIZES_FOLLOW | utf8);
        put16(out, DEFLATED);
        let (time, date) = self.modified.dos();
        put16(out, time);
        put16(out, date);
    }

    fn timestamp_length(&self) -> u16 {
        match self.modified.unix() {
            Some(_) => TIMESTAMP_LENGTH,
            None => 0,
        }
    }

    fn timestamp_field(&self, out: &mut Vec<u8>) {
        if let Some(seconds) = self.modified.unix() {
            put16(out, TIMESTAMP_FIELD);
            put16(out, TIMESTAMP_LENGTH - 4);
            out.push(ONLY_MODIFIED);
            put32(out, seconds);
        }
    }

    fn needs(&self) -> u16 {
        if self.is_large {
            NEEDS_ZIP64
        } else {
            NEEDS_DEFLATE
        }
    }
}

/// What the archive ends with, after `members` central records that begin at `offset` and take
/// `length` bytes: the end record (4.3.16), and where its fields do not suffice the one of 64 bits
/// (4.3.14) and what leads to it (4.3.15).
pub(super) fn end(members: u64, offset: u64, length: u64, out: &mut Vec<u8>) {
    let is_large = members >= u64::from(ELSEWHERE_16)
        || offset >= u64::from(ELSEWHERE)
        || length >= u64::from(ELSEWHERE);
    if is_large {
        put32(out, 0x0606_4b50);
        // How much of this record follows (4.3.14.1).
        put64(out, 44);
        put16(out, MADE_ON_UNIX | NEEDS_ZIP64);
        put16(out, NEEDS_ZIP64);
        // This disk, and that of the directory.
        out.extend([0; 8]);
        put64(out, members);
        put64(out, members);
        put64(out, length);
        put64(out, offset);

        put32(out, 0x0706_4b50);
        // The disk of the record above.
        put32(out, 0);
        put64(out, offset + length);
        // One disk in all.
        put32(out, 1);
    }
    put32(out, 0x0605_4b50);
    out.extend([0; 4]);
    let members = u16::try_from(members).unwrap_or(ELSEWHERE_16);
    put16(out, members);
    put16(out, members);
    put32(out, low32(length));
    put32(out, low32(offset));
    // No comment.
    put16(out, 0);
}

fn low32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(ELSEWHERE)
}

#[expect(clippy::expect_used, reason = "`Member::new` refuses longer names")]
fn length16(length: usize) -> u16 {
    u16::try_from(length).expect("no member has a longer name")
}

fn put16(out: &mut Vec<u8>, number: u16) {
    out.extend(number.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, number: u32) {
    out.extend(number.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, number: u64) {
    out.extend(number.to_le_bytes());
}
