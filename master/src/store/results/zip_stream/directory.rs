//! The list of an archive's members, which has to wait in memory for the end of the archive, in little space.
//!
//! A build of 300,000 atoms has 1,200,000 members, whose records take 100 MB. Most of that follows
//! from what came before: where a member begins, and half of its name. So only what is new is kept,
//! and that compressed: less than ten bytes for a member.

use super::records::{Content, Member, end};
use super::time::Modified;
use flate2::Compression;
use flate2::bufread::DeflateDecoder;
use flate2::write::DeflateEncoder;
use std::io::{self, BufRead, BufReader, Cursor, Read as _, Write as _};

/// More saves a tenth and takes twice as long.
const LEVEL: Compression = Compression::new(1);

/// How much is written at a time.
const CHUNK: usize = 1 << 16;

/// Members in their order, from the archive's first byte on.
pub(super) struct Directory {
    kept: DeflateEncoder<Vec<u8>>,
    last_name: String,
    last_modified: u64,
    members: u64,
    /// Where the last member ends.
    length: u64,
}

impl Directory {
    pub(super) fn new() -> Self {
        Self {
            kept: DeflateEncoder::new(Vec::new(), LEVEL),
            last_name: String::new(),
            last_modified: 0,
            members: 0,
            length: 0,
        }
    }

    /// A member that begins where the last one ended.
    pub(super) fn add(&mut self, member: &Member<'_>, content: &Content) -> io::Result<()> {
        let (name, last) = (member.name(), &mut self.last_name);
        let same = name.bytes().zip(last.bytes()).take_while(|(a, b)| a == b);
        let same = name.floor_char_boundary(same.count());
        let new = &name[same..];
        // Of the last name these bytes stay, so they are whole characters there too.
        last.truncate(same);
        last.push_str(new);
        let mut entry = Vec::with_capacity(new.len() + 16);
        for number in [same as u64, new.len() as u64] {
            put(number, &mut entry);
        }
        entry.extend(new.as_bytes());
        let mode = u64::from(member.mode()) << 1 | u64::from(member.is_large());
        // Members of an atom, and those of its neighbours, are of nearly the same moment.
        let modified = member.modified().0;
        let later = modified.wrapping_sub(self.last_modified);
        self.last_modified = modified;
        for number in [mode, folded(later), content.compressed, content.size] {
            put(number, &mut entry);
        }
        entry.extend(content.crc.to_le_bytes());
        self.members += 1;
        self.length += member.length(content);
        self.kept.write_all(&entry)
    }

    /// The archive's end: the central directory and what leads to it.
    pub(super) fn records(self) -> io::Result<Records> {
        let kept = DeflateDecoder::new(Cursor::new(self.kept.finish()?));
        Ok(Records {
            kept: BufReader::with_capacity(CHUNK, kept),
            left: self.members,
            members: self.members,
            files_length: self.length,
            name: String::new(),
            modified: 0,
            at: 0,
            length: 0,
        })
    }
}

/// The end of an archive on its way.
pub(super) struct Records {
    kept: BufReader<DeflateDecoder<Cursor<Vec<u8>>>>,
    /// How many members are still to be written.
    left: u64,
    members: u64,
    /// The length of all files together.
    files_length: u64,
    /// Of the last member.
    name: String,
    modified: u64,
    /// Where the next member begins.
    at: u64,
    /// How much is written of the records.
    length: u64,
}

impl Records {
    /// Writes as many records as make about so many bytes. Whether there are more.
    pub(super) fn write_to(&mut self, out: &mut Vec<u8>, enough: usize) -> io::Result<bool> {
        let before = out.len();
        while self.left > 0 && out.len() - before < enough {
            self.write_one(out)?;
            self.left -= 1;
        }
        if self.left > 0 {
            return Ok(true);
        }
        end(self.members, self.files_length, self.length, out);
        Ok(false)
    }

    fn write_one(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let kept = &mut self.kept;
        let (same, new) = (get(kept)?, get(kept)?);
        let name = &mut self.name;
        name.truncate(usize::try_from(same).map_err(io::Error::other)?);
        kept.take(new).read_to_string(name)?;
        let mode = get(kept)?;
        self.modified = self.modified.wrapping_add(unfolded(get(kept)?));
        let (compressed, size) = (get(kept)?, get(kept)?);
        let mut crc = [0; 4];
        kept.read_exact(&mut crc)?;
        let content = Content {
            crc: u32::from_le_bytes(crc),
            compressed,
            size,
        };
        let is_large = mode & 1 == 1;
        let mode = u32::try_from(mode >> 1).map_err(io::Error::other)?;
        let member = Member::known(name, mode, Modified(self.modified), is_large);
        let before = out.len();
        member.central_record(&content, self.at, out);
        self.length += (out.len() - before) as u64;
        self.at += member.length(&content);
        Ok(())
    }
}

/// Seven bits in each byte, the lowest first, and one that says that more follow.
fn put(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// A difference so that small ones are small numbers, also those below zero.
fn folded(difference: u64) -> u64 {
    difference << 1 ^ 0_u64.wrapping_sub(difference >> 63)
}

fn unfolded(number: u64) -> u64 {
    number >> 1 ^ 0_u64.wrapping_sub(number & 1)
}

fn get(from: &mut impl BufRead) -> io::Result<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        number |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::results::block::FileFacts;

    /// What the whole is for: the records of as many members would take ten times that.
    #[test]
    fn a_member_takes_a_few_bytes() {
        const ATOMS: u32 = 25_000;
        let mut directory = Directory::new();
        for atom in 0..ATOMS {
            for (file, size) in [("command", 20), ("console_output", 1024), ("exit_code", 2)] {
                let name = format!("artifact_{atom}_0/clusterrunner_{file}");
                let content = Content {
                    // All exit codes are the same; nothing else is.
                    crc: if size == 2 {
                        7
                    } else {
                        crc32fast::hash(name.as_bytes())
                    },
                    compressed: u64::from(size / 2 + atom % 7),
                    size: size.into(),
                };
                let facts = FileFacts {
                    mode: 0o644,
                    // They end one after the other.
                    modified_at: 1_764_337_135 + u64::from(atom / 800),
                    size: size.into(),
                };
                let member = Member::new(&name, facts).unwrap();
                directory.add(&member, &content).unwrap();
            }
        }
        let members = directory.members;
        let kept = directory.kept.flush_finish().unwrap().len() as u64;
        assert!(kept < 10 * members, "{kept} bytes for {members} members");
    }

    #[test]
    fn numbers_are_read_back() {
        let numbers = [0, 1, 127, 128, 300, 1 << 32, u64::MAX];
        let mut bytes = Vec::new();
        for number in numbers {
            put(number, &mut bytes);
        }
        let mut rest = &*bytes;
        for number in numbers {
            assert_eq!(get(&mut rest).unwrap(), number);
        }
        for (difference, small) in [(0, 0), (1, 2), (u64::MAX, 1), (5, 10), (1 << 63, u64::MAX)] {
            assert_eq!(folded(difference), small);
            assert_eq!(unfolded(small), difference);
        }
        assert!(rest.is_empty());
        // What ends too early is an error.
        assert!(get(&mut &[0x80][..]).is_err());
    }
}
