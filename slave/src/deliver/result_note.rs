//! What a file of packed results says about itself: whose they are, and what its files do not tell.
//!
//! It stands in the comment of its gzip header, so that it can not get lost or be taken for
//! another's, and costs no file of its own. Programs that unpack the archive do not see it.

use crate::master::clock::MasterClock;
use crate::work::{AtomEnd, HandOut};
use clusterrunner_common::api::{AtomReport, ResultEntry, Starts};
use clusterrunner_common::ids::{
    AtomId, Attempt, BuildId, ExecutorIndex, Incarnation, SessionId, SubjobId,
};
use clusterrunner_common::work::{MasterMark, Seen};
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};

/// How many atoms are reported at most: readers of gzip take no comment longer than 64 KiB. The
/// others say by exit code and console that they ran too long.
const MAX_REPORTS: usize = 1000;

/// Of how many atoms of a result it is said when they started; the others start when the one before ends.
const MAX_STARTS: usize = 2000;

/// Of how many atoms of a result it is said what they used; of the others it is not known.
const MAX_USAGES: usize = 500;

/// Whose results they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub(crate) struct ResultNote {
    pub(crate) build: BuildId,
    /// The life of the slave that ran them.
    pub(crate) session: SessionId,
    /// The latest moment of the master that was seen when they were packed, of the incarnation that handed
    /// them out.
    pub(crate) master: Option<MasterMark>,
    /// In the order in which they were packed.
    pub(crate) results: Vec<ResultEntry>,
}

/// What may be found: an earlier version had one result in a file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Many {
        build: BuildId,
        session: SessionId,
        #[serde(default)]
        master: Option<MasterMark>,
        results: Vec<ResultEntry>,
    },
    One {
        build: BuildId,
        subjob: SubjobId,
        attempt: Attempt,
        session: SessionId,
        #[serde(default)]
        atoms: Vec<AtomReport>,
    },
}

impl From<Stored> for ResultNote {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Many {
                build,
                session,
                master,
                results,
            } => Self {
                build,
                session,
                master,
                results,
            },
            Stored::One {
                build,
                subjob,
                attempt,
                session,
                atoms,
            } => Self {
                build,
                session,
                master: None,
                results: vec![ResultEntry {
                    subjob_id: subjob,
                    attempt,
                    executor_id: None,
                    atoms,
                    starts: Starts::default(),
                    usages: Vec::new(),
                }],
            },
        }
    }
}

/// What there is to say of a result beside what its files tell.
pub(crate) fn entry(
    hand_out: HandOut,
    executor: ExecutorIndex,
    atoms: &[AtomEnd],
    clock: &MasterClock,
) -> ResultEntry {
    let starts = atoms.iter().map(|atom| clock.of_master(atom.started_at));
    let usages = atoms.iter().map(|atom| atom.usage);
    let reports = (0..).map(AtomId).zip(atoms).filter_map(|(id, atom)| {
        let is_usual = atom.timed_out.is_none() && atom.hit.is_none();
        (!is_usual).then(|| AtomReport {
            id,
            timed_out_after_s: atom.timed_out.map(|limit| limit.as_secs()),
            hit: atom.hit,
        })
    });
    ResultEntry {
        subjob_id: hand_out.subjob,
        attempt: hand_out.attempt,
        executor_id: Some(executor),
        atoms: reports.take(MAX_REPORTS).collect(),
        starts: starts.take(MAX_STARTS).collect(),
        usages: usages.take(MAX_USAGES).collect(),
    }
}

impl ResultNote {
    /// The hand-outs whose results they are.
    pub(crate) fn hand_outs(&self) -> impl Iterator<Item = HandOut> {
        self.results.iter().map(|result| HandOut {
            build: self.build,
            subjob: result.subjob_id,
            attempt: result.attempt,
        })
    }

    /// The incarnation of the master that handed them out.
    pub(crate) fn incarnation(&self) -> Option<&Incarnation> {
        self.master.as_ref().map(|master| &master.incarnation)
    }

    /// What they say of the master that handed them out.
    pub(crate) fn seen(&self) -> Option<Seen> {
        let mut seen = Seen::first(self.master.clone()?);
        seen.build = self.build;
        let attempts = self.results.iter().map(|result| result.attempt);
        seen.attempt = attempts.max().unwrap_or(seen.attempt);
        Some(seen)
    }

    /// The first of them, after which the file is named; no other file has it.
    pub(crate) fn first(&self) -> Option<HandOut> {
        self.hand_outs().next()
    }

    /// As the comment of a gzip header.
    pub(crate) fn to_comment(&self) -> io::Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// Reads the note and all of the archive, whose checksum thereby is checked: it may be half
    /// written, or damaged since.
    pub(crate) fn read_checked(archive: impl Read) -> io::Result<Self> {
        let mut decoder = GzDecoder::new(archive);
        let note = Self::of(&decoder)?;
        // Where the header ends the decoder takes for an end as well.
        match io::copy(&mut decoder, &mut io::sink())? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(note),
        }
    }

    fn of<R>(decoder: &GzDecoder<R>) -> io::Result<Self> {
        let comment = decoder.header().and_then(flate2::GzHeader::comment);
        let comment = comment.ok_or_else(|| io::Error::other("it does not say whose it is"))?;
        Ok(serde_json::from_slice(comment)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::clock::Timestamp;
    use clusterrunner_common::work::AtomUsage;

    fn note() -> ResultNote {
        let result = |subjob| ResultEntry {
            subjob_id: SubjobId(subjob),
            attempt: Attempt(2),
            executor_id: Some(ExecutorIndex(3)),
            atoms: Vec::new(),
            starts: [5, 7].into_iter().map(Timestamp).collect(),
            usages: vec![AtomUsage {
                output_bytes: 3,
                processes: None,
                in_vain_ms: 0,
                last_in_vain: None,
                worker: None,
            }],
        };
        ResultNote {
            build: BuildId(7),
            session: SessionId("s".to_owned()),
            master: Some(MasterMark {
                incarnation: Incarnation("i".to_owned()),
                session_id: SessionId("m".to_owned()),
                position: 9,
                proof: None,
            }),
            results: vec![result(4), result(1)],
        }
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let text = note().to_comment().unwrap();
        assert_eq!(serde_json::from_str::<ResultNote>(&text).unwrap(), note());
        let one = r#"{"build":7,"subjob":4,"attempt":2,"session":"s"}"#;
        let mut expected = note();
        expected.results.truncate(1);
        expected.results[0].executor_id = None;
        expected.results[0].starts = Starts::default();
        expected.results[0].usages = Vec::new();
        expected.master = None;
        assert_eq!(serde_json::from_str::<ResultNote>(one).unwrap(), expected);
    }
}
