//! The answer to one call, as it comes in pieces: each once, in their order, and no faster than it is read.

use bytes::Bytes;
use clusterrunner_common::api::AnswerHead;
use clusterrunner_common::lock::lock;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a piece waits for whoever reads the answer.
const READING: Duration = Duration::from_secs(5);

/// A piece of an answer.
#[derive(Debug)]
pub(crate) struct Piece {
    /// From 0 on.
    pub(crate) number: u64,
    /// Whether no further one follows.
    pub(crate) last: bool,
    /// Of the first piece.
    pub(crate) head: Option<AnswerHead>,
    pub(crate) bytes: Bytes,
}

/// Why a piece is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// Nobody waits for this answer any more.
    NotWanted,
    /// Whoever reads it is slow: the same piece is to come again.
    NotYet,
    /// One before it is missing.
    Skips,
}

/// Where the pieces of an answer go.
#[derive(Debug)]
pub(super) struct Answering {
    /// None when it has ended or broken off.
    reader: Mutex<Option<mpsc::Sender<Piece>>>,
    /// The number of the next piece.
    next: tokio::sync::Mutex<u64>,
}

impl Answering {
    pub(super) fn new(reader: mpsc::Sender<Piece>) -> Self {
        Self {
            reader: Mutex::new(Some(reader)),
            next: tokio::sync::Mutex::new(0),
        }
    }

    /// The call did not get to the slave: there will be no answer.
    pub(super) fn break_off(&self) {
        lock(&self.reader).take();
    }

    pub(super) async fn take(&self, piece: Piece) -> Result<(), NotTaken> {
        let mut next = self.next.lock().await;
        match piece.number {
            number if number < *next => return Ok(()),
            number if number > *next => return Err(NotTaken::Skips),
            _ => {}
        }
        let reader = lock(&self.reader).clone();
        let reader = reader.ok_or(NotTaken::NotWanted)?;
        let place = tokio::time::timeout(READING, reader.reserve()).await;
        let place = place.map_err(|_| NotTaken::NotYet)?;
        let place = place.map_err(|_| NotTaken::NotWanted)?;
        *next += 1;
        if piece.last {
            lock(&self.reader).take();
        }
        place.send(piece);
        Ok(())
    }
}
