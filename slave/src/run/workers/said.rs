//! What a worker prints beside its answers: it is shown where the worker breaks.

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::fs::File;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

/// How much a worker may print there before that is thrown away.
const MOST: u64 = 1 << 20;

/// How much of that is read.
const MOST_READ: usize = 16 << 10;

/// Where that goes.
#[derive(Debug)]
pub(super) enum Said {
    /// It may be much.
    File(File),
    /// It is little, and what is forked from the worker prints into a pipe: what the worker has found out of its streams when it
    /// started is to be true there.
    Pipe(PipeReader),
}

impl Said {
    /// To this file, and what the worker gets.
    pub(super) fn in_file(file: File) -> io::Result<(Self, File)> {
        let errors = file.try_clone()?;
        Ok((Self::File(file), errors))
    }

    /// Through a pipe, and what the worker gets.
    pub(super) fn in_pipe() -> io::Result<(Self, File)> {
        let (from, to) = io::pipe()?;
        fcntl_setfl(&from, fcntl_getfl(&from)? | OFlags::NONBLOCK)?;
        Ok((Self::Pipe(from), OwnedFd::from(to).into()))
    }

    /// Throws it away where it is too much.
    pub(super) fn trim(&self) {
        if let Self::File(file) = self
            && file.metadata().is_ok_and(|found| found.len() > MOST)
        {
            // It is looked at again: one that can not be emptied now is so later.
            file.set_len(0).ok();
        }
    }

    /// The end of it.
    pub(super) fn text(&mut self) -> String {
        let mut bytes = vec![0; MOST_READ];
        let read = match self {
            Self::File(file) => {
                let length = file.metadata().map_or(0, |found| found.len());
                file.read_at(&mut bytes, length.saturating_sub(MOST_READ as u64))
            }
            Self::Pipe(from) => from.read(&mut bytes),
        };
        bytes.truncate(read.unwrap_or(0));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
