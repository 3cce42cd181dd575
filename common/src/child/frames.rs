//! What a parent and its child say to each other: pieces with their length before them. A child's input has the order,
//! and then parts of packs; its output what it wants to have logged, what it asks for, and its answer.

use crate::git::{PackError, PackRequest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{self, Read, Write};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest frame: an answer has all atoms of a build, which are 256 MiB at most, and JSON writes some characters
/// with six.
const LONGEST: usize = 1 << 30;

/// What an order begins with, and what it is about.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// What is logged here: the child need not say more.
    pub(super) level: String,
    /// The child's mark.
    pub(super) mark: String,
    /// The umask of the commands that it runs, if it is another than its own.
    pub(super) umask: Option<u32>,
    pub(super) order: Value,
}

/// What stands before a piece to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ToChild {
    Order = 0,
    /// A part of the packs that it asked for.
    Piece = 1,
    /// No more of them; if there is something in it, why.
    End = 2,
}

impl ToChild {
    fn frame(self, bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        [&[self as u8][..], &length.to_be_bytes(), bytes].concat()
    }

    pub(super) fn order(head: &Head) -> serde_json::Result<Vec<u8>> {
        Ok(Self::Order.frame(&serde_json::to_vec(head)?))
    }

    pub(super) fn piece(bytes: &[u8]) -> Vec<u8> {
        Self::Piece.frame(bytes)
    }

    pub(super) fn end(error: Option<PackError>) -> Vec<u8> {
        let error = error.map(|error| match error {
            PackError::Refused(text) => (true, text),
            PackError::Interrupted(text) => (false, text),
        });
        Self::End.frame(&serde_json::to_vec(&error).unwrap_or_default())
    }

    /// Reads what [`end`](Self::end) has written.
    pub(super) fn ended(bytes: &[u8]) -> Result<(), PackError> {
        match serde_json::from_slice(bytes) {
            Ok(None) => Ok(()),
            Ok(Some((true, text))) => Err(PackError::Refused(text)),
            Ok(Some((false, text))) => Err(PackError::Interrupted(text)),
            Err(error) => Err(PackError::Interrupted(error.to_string())),
        }
    }

    /// The next piece from the parent; `None` when that is gone. Blocks.
    pub(super) fn read(input: &mut impl Read) -> io::Result<Option<(Self, Vec<u8>)>> {
        let mut kind = [0];
        loop {
            match input.read(&mut kind) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                // A signal, from whomever.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let kind = match kind {
            [0] => Self::Order,
            [1] => Self::Piece,
            [2] => Self::End,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let mut bytes = Vec::new();
        let length = u64::from(u32::from_be_bytes(length));
        if input.take(length).read_to_end(&mut bytes)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((kind, bytes)))
    }
}

/// What a child says.
#[derive(Debug)]
pub(super) enum FromChild {
    /// To be logged: level and text.
    Log(String, String),
    /// These packs are wanted.
    Ask(PackRequest),
    /// The work is done; the answer in JSON.
    Done(Vec<u8>),
}

impl FromChild {
    /// Writes the frame. Blocks.
    pub(super) fn write(&self, output: &mut impl Write) -> io::Result<()> {
        let (kind, bytes) = match self {
            Self::Log(level, text) => (0, &serde_json::to_vec(&(level, text))?),
            Self::Ask(request) => (1, &serde_json::to_vec(request)?),
            Self::Done(answer) => (2, answer),
        };
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        output.write_all(&[kind])?;
        output.write_all(&length.to_be_bytes())?;
        output.write_all(bytes)?;
        output.flush()
    }
}

/// The next frame of a child; `None` at its end. It is an untrusted stream: commands that run beside it may write to it.
pub(super) async fn read_frame(
    output: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<FromChild>> {
    let mut head = [0; 5];
    match output.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let [kind, length @ ..] = head;
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    let mut frame = output.take(length as u64);
    if frame.read_to_end(&mut bytes).await? < length {
        return Ok(None);
    }
    Ok(Some(match kind {
        0 => {
            let (level, text) = serde_json::from_slice(&bytes)?;
            FromChild::Log(level, text)
        }
        1 => FromChild::Ask(serde_json::from_slice(&bytes)?),
        2 => FromChild::Done(bytes),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_child_says_is_read_frame_by_frame() {
        let mut said = Vec::new();
        let request = PackRequest {
            submodule: vec!["s".to_owned()],
            have: Vec::new(),
        };
        let frames = [
            FromChild::Log("WARN".to_owned(), "a\nb".to_owned()),
            FromChild::Ask(request),
            FromChild::Done(b"[1]".to_vec()),
        ];
        for frame in &frames {
            frame.write(&mut said).unwrap();
        }
        let mut stream = said.as_slice();
        for frame in &frames {
            let read = read_frame(&mut stream).await.unwrap().unwrap();
            assert_eq!(format!("{read:?}"), format!("{frame:?}"));
        }
        assert!(read_frame(&mut stream).await.unwrap().is_none());
        // Cut off, too long, of no kind, and no JSON.
        assert!(read_frame(&mut &said[..19]).await.unwrap().is_none());
        for odd in [
            &b"\x02\xff\xff\xff\xff"[..],
            b"\x07\0\0\0\x00",
            b"\0\0\0\0\x01x",
        ] {
            assert!(read_frame(&mut &*odd).await.is_err(), "{odd:?}");
        }
    }

    #[test]
    fn what_a_parent_says_is_read_piece_by_piece() {
        let refused = PackError::Refused("no".to_owned());
        let said = [
            ToChild::piece(b"pack"),
            ToChild::end(None),
            ToChild::end(Some(refused)),
        ];
        let said = said.concat();
        let mut stream = said.as_slice();
        let mut read = || ToChild::read(&mut stream).unwrap();
        assert_eq!(read(), Some((ToChild::Piece, b"pack".to_vec())));
        let (_, end) = read().unwrap();
        assert!(ToChild::ended(&end).is_ok());
        let (_, end) = read().unwrap();
        assert!(matches!(ToChild::ended(&end), Err(PackError::Refused(text)) if text == "no"));
        assert_eq!(read(), None);
        assert!(ToChild::read(&mut &said[..7]).is_err());
    }
}
