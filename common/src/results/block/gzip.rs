//! Writing gzip members. A compressor is a quarter of a megabyte of tables, which for a small result
//! takes far longer to come by than all the rest, so compressors are used again.

use super::LEVEL;
use crate::lock::lock;
use flate2::Crc;
use flate2::write::DeflateEncoder;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard};

/// How many unused compressors are kept.
const MOST_IDLE: usize = 4;

/// After how many compressed bytes they are passed on.
const PIECE: usize = 32 << 10;

/// Magic number, deflate.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// The flag for a comment.
const HAS_COMMENT: u8 = 0x10;
/// No time, compressed for speed, on an unknown system.
const REST_OF_HEADER: [u8; 6] = [0, 0, 0, 0, 4, 255];

type Compressor = DeflateEncoder<Vec<u8>>;

static IDLE: Mutex<Vec<Compressor>> = Mutex::new(Vec::new());

/// A member (RFC 1952, 2.3) that is being written; it is whole when it is finished.
#[derive(Debug)]
pub(super) struct Gzip<W: Write> {
    out: W,
    compressor: Compressor,
    crc: Crc,
}

impl<W: Write> Gzip<W> {
    pub(super) fn new(out: W) -> Self {
        Self::begun(out, 0)
    }

    /// A comment must not hold NUL.
    pub(super) fn with_comment(comment: &str, out: W) -> Self {
        let mut gzip = Self::begun(out, HAS_COMMENT);
        let header = gzip.compressor.get_mut();
        header.extend_from_slice(comment.as_bytes());
        header.push(0);
        gzip
    }

    fn begun(out: W, flags: u8) -> Self {
        let idle = idle().pop();
        let mut compressor = idle.unwrap_or_else(|| Compressor::new(Vec::new(), LEVEL));
        // What is compressed comes after it only when something is written.
        let header = compressor.get_mut();
        header.extend_from_slice(&MAGIC);
        header.push(flags);
        header.extend_from_slice(&REST_OF_HEADER);
        Self {
            out,
            compressor,
            crc: Crc::new(),
        }
    }

    /// Ends the member. The length of what it holds is there modulo 2^32, as the format has it.
    ///
    /// # Errors
    /// It can not be written.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let mut rest = self.compressor.reset(Vec::new())?;
        rest.extend_from_slice(&self.crc.sum().to_le_bytes());
        rest.extend_from_slice(&self.crc.amount().to_le_bytes());
        self.out.write_all(&rest)?;
        let mut idle = idle();
        if idle.len() < MOST_IDLE {
            idle.push(self.compressor);
        }
        Ok(self.out)
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let ready = self.compressor.get_mut();
        self.out.write_all(ready)?;
        ready.clear();
        Ok(())
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.compressor.write(bytes)?;
        self.crc.update(bytes.get(..written).unwrap_or(bytes));
        if self.compressor.get_ref().len() >= PIECE {
            self.pass_on()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.compressor.flush()?;
        self.pass_on()?;
        self.out.flush()
    }
}

fn idle() -> MutexGuard<'static, Vec<Compressor>> {
    lock(&IDLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::io::Read as _;

    fn compressed(comment: Option<&str>, text: &[u8]) -> Vec<u8> {
        let mut gzip = match comment {
            Some(comment) => Gzip::with_comment(comment, Vec::new()),
            None => Gzip::new(Vec::new()),
        };
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn a_member_is_what_flate2_makes_of_it_however_often() {
        let large: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        for text in [&b""[..], b"small", &large, b"small again"] {
            for comment in [None, Some("whose it is")] {
                let mut builder = flate2::GzBuilder::new();
                if let Some(comment) = comment {
                    builder = builder.comment(comment);
                }
                let mut theirs = builder.write(Vec::new(), LEVEL);
                theirs.write_all(text).unwrap();
                assert_eq!(compressed(comment, text), theirs.finish().unwrap());
            }
        }
    }

    #[test]
    fn one_that_was_given_up_leaves_nothing_to_the_next() {
        let mut given_up = Gzip::with_comment("never seen", Vec::new());
        given_up.write_all(b"not to be seen").unwrap();
        given_up.flush().unwrap();
        drop(given_up);
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut failing = Gzip::new(Full);
        failing.write_all(b"small").unwrap();
        assert!(failing.finish().is_err());
        let mut text = String::new();
        let member = compressed(None, b"seen");
        GzDecoder::new(&*member).read_to_string(&mut text).unwrap();
        assert_eq!(text, "seen");
    }
}
