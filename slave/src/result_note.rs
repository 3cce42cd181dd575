//! What a packed result says about itself: whose it is, and what its files do not tell.
//!
//! It stands in the comment of its gzip header, so that it can not get lost or be taken for
//! another's, and costs no file of its own. Whoever unpacks the archive does not see it.

use crate::work::HandOut;
use clusterrunner_common::api::AtomReport;
use clusterrunner_common::ids::{Attempt, BuildId, SessionId, SubjobId};
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};

/// How many atoms are reported at most: readers of gzip take no comment longer than 64 KiB. The
/// others say by exit code and console that they ran too long.
const MAX_REPORTS: usize = 1000;

/// Whose result it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResultNote {
    build: BuildId,
    subjob: SubjobId,
    attempt: Attempt,
    /// The life of the slave that ran it.
    pub(crate) session: SessionId,
    /// What there is to say about its atoms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) atoms: Vec<AtomReport>,
}

impl ResultNote {
    pub(crate) fn new(hand_out: HandOut, session: SessionId, mut atoms: Vec<AtomReport>) -> Self {
        let HandOut {
            build,
            subjob,
            attempt,
        } = hand_out;
        atoms.truncate(MAX_REPORTS);
        Self {
            build,
            subjob,
            attempt,
            session,
            atoms,
        }
    }

    pub(crate) fn hand_out(&self) -> HandOut {
        HandOut {
            build: self.build,
            subjob: self.subjob,
            attempt: self.attempt,
        }
    }

    /// As the comment of a gzip header.
    pub(crate) fn to_comment(&self) -> io::Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// Reads the note of an archive; what follows the header is not looked at.
    pub(crate) fn read(archive: impl Read) -> io::Result<Self> {
        Self::of(&GzDecoder::new(archive))
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
