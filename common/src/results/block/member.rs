//! Members of a tar archive, written one by one: the `tar` crate's own builder takes the `./` away
//! that every name has in the original's archives, and ends the archive wherever it stops.

use crate::results::tar_reader::RECORD;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use tar::{EntryType, Header};

/// The size of a header's field for a name.
const SHORT_NAME: usize = 100;

/// Writes a member under exactly this name, with the `size` that its header states. Names and link
/// targets that do not fit the header go before it, in the form of GNU tar.
pub(super) fn write_member(
    out: &mut impl Write,
    header: Header,
    name: &[u8],
    target: Option<&OsStr>,
    content: impl Read,
) -> io::Result<()> {
    let header = write_names(out, header, name, target)?;
    write_raw(out, &header, content)
}

/// Writes what stands before the header of a member, and returns the header whole.
pub(super) fn write_names(
    out: &mut impl Write,
    mut header: Header,
    name: &[u8],
    target: Option<&OsStr>,
) -> io::Result<Header> {
    let target = target.map(OsStr::as_bytes);
    for (text, kind) in [
        (Some(name), EntryType::GNULongName),
        (target, EntryType::GNULongLink),
    ] {
        if let Some(text) = text.filter(|text| text.len() >= SHORT_NAME) {
            let mut long = Header::new_gnu();
            long.set_path("././@LongLink")?;
            long.set_entry_type(kind);
            long.set_size(text.len() as u64 + 1);
            long.set_cksum();
            write_raw(out, &long, text.chain(&[0][..]))?;
        }
    }
    let fields = header.as_old_mut();
    fill(&mut fields.name, name);
    fill(&mut fields.linkname, target.unwrap_or_default());
    header.set_cksum();
    Ok(header)
}

fn write_raw(out: &mut impl Write, header: &Header, content: impl Read) -> io::Result<()> {
    let size = header.entry_size()?;
    out.write_all(header.as_bytes())?;
    let copied = io::copy(&mut content.take(size), out)?;
    if copied != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let padding = size.next_multiple_of(RECORD) - size;
    io::copy(&mut io::repeat(0).take(padding), out).map(|_| ())
}

fn fill(field: &mut [u8; SHORT_NAME], text: &[u8]) {
    field.fill(0);
    for (to, from) in field.iter_mut().zip(text) {
        *to = *from;
    }
}

/// Counts what is written.
#[derive(Debug)]
pub(super) struct Counted<W> {
    pub(super) inner: W,
    pub(super) written: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
