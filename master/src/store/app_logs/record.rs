//! The form of an app's log on the disk: records one after the other, each a CRC-32 of the rest, a length, and JSON.

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Generation, InstanceId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a record has before its JSON.
const HEAD: usize = 4 + 4;

/// A record. All that a report of a slave says of one process is in one, so that it is there as a whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// How far the output of each process was taken in before the file began.
    Sources(BTreeMap<InstanceId, Source>),
    /// Lines about the app itself.
    Controller {
        /// When they came.
        at: Timestamp,
        /// The lines.
        lines: Vec<String>,
    },
    /// Lines that a process printed.
    Output {
        /// When they came.
        at: Timestamp,
        /// Of which instance.
        instance: InstanceId,
        /// How far its output is taken in with them.
        source: Source,
        /// The lines.
        lines: Vec<String>,
    },
}

/// How far the output of a process is taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    /// The process as users call it.
    pub(super) process: String,
    /// Its placement.
    pub(super) generation: Generation,
    /// How many bytes of the placement's output.
    pub(super) end: u64,
    /// What it printed after its last line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) begun: String,
    /// When it was heard last.
    pub(super) heard: Timestamp,
    /// How many bytes the log still takes of it; none where there is no such bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) left: Option<u64>,
}

impl Record {
    /// How many lines it has.
    pub(super) fn num_lines(&self) -> u64 {
        match self {
            Self::Sources(_) => 0,
            Self::Controller { lines, .. } | Self::Output { lines, .. } => lines.len() as u64,
        }
    }

    /// Its bytes; nothing for one that is too long.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; HEAD];
        serde_json::to_writer(&mut bytes, self).ok()?;
        let length = u32::try_from(bytes.len() - HEAD).ok()?;
        let (head, json) = bytes.split_at_mut(HEAD);
        let (sum, of_length) = head.split_at_mut(4);
        of_length.copy_from_slice(&length.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(of_length);
        hasher.update(json);
        sum.copy_from_slice(&hasher.finalize().to_le_bytes());
        Some(bytes)
    }
}

/// The records at the beginning of a file, up to where it is no more as it was written, each with its length in bytes.
pub(super) fn records(mut bytes: &[u8]) -> impl Iterator<Item = (Record, u64)> {
    std::iter::from_fn(move || {
        let (record, rest) = first(bytes)?;
        let length = bytes.len() - rest.len();
        bytes = rest;
        Some((record, length as u64))
    })
}

fn first(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (sum, checked) = bytes.split_first_chunk()?;
    let (length, rest) = checked.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (json, rest) = rest.split_at_checked(length)?;
    let checked = checked.get(..4 + length)?;
    if crc32fast::hash(checked) != u32::from_le_bytes(*sum) {
        return None;
    }
    Some((serde_json::from_slice(json).ok()?, rest))
}
