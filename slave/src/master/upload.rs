//! The body of an upload: a form with a report and a file of packed results.

use bytes::Bytes;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::disk::regular_file;
use futures_util::{StreamExt as _, stream};
use sha2::{Digest as _, Sha512};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use tokio_util::io::ReaderStream;

/// Files up to this size are read once and sent from memory.
const SMALL_FILE: u64 = 1 << 20;

/// How much of a large one is read at a time.
const CHUNK: usize = 1 << 17;

/// What is around the file in a `multipart/form-data` body.
struct Frame {
    content_type: String,
    head: Bytes,
    tail: Bytes,
}

impl Frame {
    fn new(report: &str) -> Self {
        // 128 random bits do not occur in the file.
        let boundary = u128::from_be_bytes(random_bytes());
        let boundary = format!("clusterrunner-{boundary:032x}");
        let head = format!(
            "--{boundary}\r\n\
             Content-Disposition: form-data; name=\"__encoded_body__\"\r\n\r\n\
             {report}\r\n\
             --{boundary}\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"payload\"\r\n\
             Content-Type: application/x-compressed\r\n\r\n"
        );
        Self {
            content_type: format!("multipart/form-data; boundary={boundary}"),
            head: head.into(),
            // Nothing behind it: a master that has read the last part has read everything.
            tail: format!("\r\n--{boundary}--").into(),
        }
    }
}

/// A body that is ready to be sent.
pub(crate) struct Upload {
    pub(crate) content_type: String,
    pub(crate) length: u64,
    /// Hex SHA-512 of the whole body.
    pub(crate) digest: String,
    pub(crate) content: Content,
}

/// The bytes of it.
pub(crate) enum Content {
    Memory(Bytes),
    Disk {
        head: Bytes,
        file: File,
        tail: Bytes,
    },
}

impl Upload {
    /// A body with a file that is in memory.
    pub(crate) fn of_bytes(report: &str, file: &[u8]) -> Self {
        let Frame {
            content_type,
            head,
            tail,
        } = Frame::new(report);
        let body = [&head, file, &tail].concat();
        Self {
            content_type,
            length: body.len() as u64,
            digest: hex::encode(Sha512::digest(&body)),
            content: Content::Memory(body.into()),
        }
    }

    /// A body with a file, which is read once for the digest. Blocks.
    pub(crate) fn of_file(report: &str, path: &Path) -> io::Result<Self> {
        let mut file = regular_file::open_itself(path)?;
        let file_length = file.metadata()?.len();
        if file_length <= SMALL_FILE {
            let mut content = Vec::new();
            file.read_to_end(&mut content)?;
            return Ok(Self::of_bytes(report, &content));
        }
        let Frame {
            content_type,
            head,
            tail,
        } = Frame::new(report);
        let mut hasher = Sha512::new();
        hasher.update(&head);
        let mut chunk = vec![0; CHUNK];
        loop {
            match file.read(&mut chunk)? {
                0 => break,
                read => hasher.update(&chunk[..read]),
            }
        }
        hasher.update(&tail);
        io::Seek::rewind(&mut file)?;
        Ok(Self {
            content_type,
            length: head.len() as u64 + file_length + tail.len() as u64,
            digest: hex::encode(hasher.finalize()),
            content: Content::Disk { head, file, tail },
        })
    }
}

impl Content {
    pub(crate) fn into_body(self) -> reqwest::Body {
        match self {
            Self::Memory(body) => body.into(),
            Self::Disk { head, file, tail } => {
                let file = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK);
                let around = |part: Bytes| stream::iter([io::Result::Ok(part)]);
                reqwest::Body::wrap_stream(around(head).chain(file).chain(around(tail)))
            }
        }
    }
}
