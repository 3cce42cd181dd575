//! Reading tar archives that nobody vouches for: whatever a head declares, little memory is used.
//!
//! Owns heads, long names and PAX records. What a member may be and where it may lie is the caller's.

mod pax;
#[cfg(test)]
mod tests;

use pax::Pax;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use tar::{EntryType, Header};

/// The unit of a tar archive: the size of a head, and what content is filled up to a multiple of.
pub const RECORD: u64 = 512;

/// The two empty records that end a tar.
pub const END_OF_TAR: [u8; 1024] = [0; 1024];

/// The most bytes of a GNU long name, a GNU long link or a PAX head: sixteen times the longest path
/// of Linux.
pub(crate) const MAX_EXTENSION: u64 = 64 << 10;

/// Where a head has its checksum, which counts as blanks in the sum.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// What is wrong with an archive. Callers get it inside of an [`io::Error`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TarFault {
    /// A head's checksum does not fit it.
    #[error("a head of the archive has a wrong checksum")]
    Checksum,
    /// A long name, long link or PAX head is longer than `MAX_EXTENSION`.
    #[error("{kind} of {size} bytes; at most {MAX_EXTENSION} are read")]
    LongExtension {
        /// What is too long.
        kind: &'static str,
        /// Its declared size in bytes.
        size: u64,
    },
    /// Two heads say the same about one member.
    #[error("{0} comes twice for one member")]
    Twice(&'static str),
    /// A PAX head is not a list of records.
    #[error("a PAX head is malformed")]
    Pax,
    /// A member has holes: its size says nothing about what a reader would write.
    #[error("a sparse member, which is not read")]
    Sparse,
    /// A size goes beyond 64 bits.
    #[error("a member's size is out of range")]
    Size,
}

/// A number in a head that is none: damage, and no trouble with the disk.
fn wrong_number(error: io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl From<TarFault> for io::Error {
    fn from(fault: TarFault) -> Self {
        Self::new(io::ErrorKind::InvalidData, fault)
    }
}

/// The head of a member.
#[derive(Debug)]
pub struct Member {
    /// Its path as the archive has it.
    pub path: PathBuf,
    /// Where it leads, if it is a link.
    pub target: Option<PathBuf>,
    /// What it is. Never sparse.
    pub kind: EntryType,
    /// Its mode bits, if they are legible.
    pub mode: Option<u32>,
    /// When it was changed, in seconds since 1970.
    pub mtime: u64,
    /// The length of its content in bytes.
    pub size: u64,
    /// Where the next member begins, in bytes of the archive.
    pub end: u64,
}

/// Reads an archive member by member. After [`Self::next_member`] it reads the content of that
/// member; what is not read is skipped.
#[derive(Debug)]
pub struct TarReader<R> {
    inner: R,
    /// How far the archive is read, in bytes.
    position: u64,
    /// What is left of the member's content.
    content: u64,
    /// Where the next head is.
    next: u64,
}

impl<R: Read> TarReader<R> {
    /// Begins at the first head.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            position: 0,
            content: 0,
            next: 0,
        }
    }

    /// How many bytes of the archive have been read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What the archive was read from.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The next member, or `None` at the end: a head of zeros, or nothing more.
    ///
    /// # Errors
    /// The archive can not be read, or a [`TarFault`].
    pub fn next_member(&mut self) -> io::Result<Option<Member>> {
        let mut extensions = Extensions::default();
        loop {
            let skipped = self.next - self.position;
            self.content = 0;
            if io::copy(&mut self.raw(skipped), &mut io::sink())? != skipped {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some(header) = self.header()? else {
                return match extensions.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            };
            let size = header.entry_size().map_err(wrong_number)?;
            match header.entry_type() {
                EntryType::GNULongName => {
                    let path = self.extension("a GNU long name", size, &extensions.path)?;
                    extensions.path = Some(without_nul(path));
                }
                EntryType::GNULongLink => {
                    let target = self.extension("a GNU long link", size, &extensions.target)?;
                    extensions.target = Some(without_nul(target));
                }
                EntryType::XHeader => {
                    let records = self.extension("a PAX head", size, &extensions.pax)?;
                    extensions.pax = Some(Pax::parse(&records)?);
                }
                EntryType::GNUSparse => return Err(TarFault::Sparse.into()),
                kind => return self.member(&header, kind, size, extensions).map(Some),
            }
        }
    }

    fn member(
        &mut self,
        header: &Header,
        kind: EntryType,
        size: u64,
        extensions: Extensions,
    ) -> io::Result<Member> {
        let pax = extensions.pax.unwrap_or_default();
        if pax.sparse {
            return Err(TarFault::Sparse.into());
        }
        let size = pax.size.unwrap_or(size);
        self.announce(size)?;
        // Readers do not agree about which of the two counts.
        let path = one_of("the name", extensions.path, pax.path)?;
        let target = one_of("the link", extensions.target, pax.target)?;
        let in_head = || header.link_name_bytes().map(std::borrow::Cow::into_owned);
        Ok(Member {
            path: path_of(path.unwrap_or_else(|| header.path_bytes().into_owned())),
            target: target.or_else(in_head).map(path_of),
            kind,
            mode: header.mode().ok(),
            mtime: header.mtime().unwrap_or(0),
            size,
            end: self.next,
        })
    }

    /// The next head; `None` at the end of the archive.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        let bytes = header.as_mut_bytes();
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.inner.read(rest) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    filled += read;
                    self.position += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if bytes.iter().all(|byte| *byte == 0) {
            self.next = self.position;
            return Ok(None);
        }
        let counted = |(index, byte): (usize, &u8)| match CHECKSUM.contains(&index) {
            true => u32::from(b' '),
            false => u32::from(*byte),
        };
        if bytes.iter().enumerate().map(counted).sum::<u32>()
            != header.cksum().map_err(wrong_number)?
        {
            return Err(TarFault::Checksum.into());
        }
        self.next = self.position;
        Ok(Some(header))
    }

    /// The content of a head that only speaks of the next one.
    fn extension<T>(
        &mut self,
        kind: &'static str,
        size: u64,
        earlier: &Option<T>,
    ) -> io::Result<Vec<u8>> {
        if earlier.is_some() {
            return Err(TarFault::Twice(kind).into());
        }
        if size > MAX_EXTENSION {
            return Err(TarFault::LongExtension { kind, size }.into());
        }
        self.announce(size)?;
        let mut content = Vec::new();
        self.read_to_end(&mut content)?;
        Ok(content)
    }

    /// Content of so many bytes follows.
    fn announce(&mut self, size: u64) -> io::Result<()> {
        let padded = size.checked_next_multiple_of(RECORD);
        let next = padded.and_then(|padded| self.position.checked_add(padded));
        self.next = next.ok_or(TarFault::Size)?;
        self.content = size;
        Ok(())
    }

    fn raw(&mut self, length: u64) -> impl Read {
        Counted(self).take(length)
    }
}

/// Reads the content of the member. An archive that ends in it is an error.
impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.content).map_or(buffer.len(), |c| c.min(buffer.len()));
        let Some(buffer) = buffer.get_mut(..wanted).filter(|rest| !rest.is_empty()) else {
            return Ok(0);
        };
        let read = self.inner.read(buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += read as u64;
        self.content -= read as u64;
        Ok(read)
    }
}

/// Reads on whatever it is, and counts.
struct Counted<'a, R>(&'a mut TarReader<R>);

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.inner.read(buffer)?;
        self.0.position += read as u64;
        Ok(read)
    }
}

/// What heads before a member say about it.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    pax: Option<Pax>,
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.path.is_none() && self.target.is_none() && self.pax.is_none()
    }
}

fn one_of<T>(what: &'static str, one: Option<T>, other: Option<T>) -> Result<Option<T>, TarFault> {
    match (one, other) {
        (Some(_), Some(_)) => Err(TarFault::Twice(what)),
        (one, other) => Ok(one.or(other)),
    }
}

fn without_nul(mut text: Vec<u8>) -> Vec<u8> {
    if text.last() == Some(&0) {
        text.pop();
    }
    text
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}
