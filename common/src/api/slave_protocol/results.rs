//! How results come to the master.

use super::connecting::RunningAtom;
use crate::api::lenient;
use crate::clock::Timestamp;
use crate::ids::{AtomId, Attempt, ExecutorIndex, Incarnation, SessionId, SlaveId, SubjobId};
use crate::work::{AtomUsage, LimitHit};
use serde::{Deserialize, Serialize};

/// The field `__encoded_body__` of a result upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultReport {
    /// The slave's address exactly as at connect.
    pub slave: String,
    /// Which executor ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric_data: Option<ResultMetrics>,
    /// Ours: the slave's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slave_id: Option<SlaveId>,
    /// Ours: the life of the slave's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Ours: the incarnation of the master that handed it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// Ours: the hand-out that this is the result of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Ours: what the archive does not say about its atoms; those of which there is nothing to say
    /// are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub atoms: Vec<AtomReport>,
}

/// Part of [`ResultReport`]: about one atom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtomReport {
    /// Its number.
    pub id: AtomId,
    /// It was ended since it ran longer than this; its exit code is [`TIMED_OUT_EXIT_CODE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timed_out_after_s: Option<u64>,
    /// The limit that it failed at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hit: Option<LimitHit>,
}

/// The exit code of an atom that ran longer than it may, as that of timeout(1).
pub const TIMED_OUT_EXIT_CODE: i32 = 124;

/// Part of [`ResultReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultMetrics {
    /// Which executor ran the subjob.
    #[serde(
        default,
        deserialize_with = "lenient::executor",
        skip_serializing_if = "Option::is_none"
    )]
    pub executor_id: Option<ExecutorIndex>,
}

/// The field `__encoded_body__` of the master's `POST /v1/build/<id>/results`: ours. Its file is a block
/// ([`crate::results::block`]) with exactly these results, in this order. Each is judged by itself; the
/// answer is 200 [`ResultsAnswer`] once those that count are on the master's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultsReport {
    /// Who ran them.
    pub slave_id: SlaveId,
    /// The life of the slave's process.
    pub session_id: SessionId,
    /// The incarnation of the master that handed them out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// At least one.
    pub results: Vec<ResultEntry>,
    /// What a heartbeat says of them; none where there is nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Vec<RunningAtom>>,
}

/// Part of [`ResultsReport`]: the result of one hand-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultEntry {
    /// Of which subjob.
    pub subjob_id: SubjobId,
    /// The number of the hand-out.
    pub attempt: Attempt,
    /// Which executor ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_id: Option<ExecutorIndex>,
    /// What the block does not say about its atoms; those of which there is nothing to say are left
    /// out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub atoms: Vec<AtomReport>,
    /// When its atoms started.
    #[serde(default, skip_serializing_if = "Starts::is_empty")]
    pub starts: Starts,
    /// What its atoms used, of the first ones where there are very many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usages: Vec<AtomUsage>,
}

/// When the atoms of a subjob started, by the master's clock as far as the slave knows it. The first is in
/// milliseconds since 1970, each other in milliseconds since the one before, as that is short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Starts(Vec<u64>);

impl Starts {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The moments themselves.
    pub fn times(&self) -> impl Iterator<Item = Timestamp> {
        let mut last = 0_u64;
        self.0.iter().map(move |after| {
            last = last.saturating_add(*after);
            Timestamp(last)
        })
    }
}

impl FromIterator<Timestamp> for Starts {
    fn from_iter<T: IntoIterator<Item = Timestamp>>(times: T) -> Self {
        let mut last = 0;
        let after = |time: Timestamp| {
            let after = time.0.saturating_sub(last);
            last += after;
            after
        };
        Self(times.into_iter().map(after).collect())
    }
}

/// Answer to [`ResultsReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultsAnswer {
    /// `SUCCESS`.
    pub status: String,
    /// How many events the journal of this life of the master has, those results among them. A journal that has
    /// fewer later has lost them, and the slave is the only one left that can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// The proof of the mark with that position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// Those that were not recorded; all others are on disk now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<RejectedResult>,
}

/// Part of [`ResultsAnswer`]: a result that the master does not take, now or ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedResult {
    /// Of which subjob.
    pub subjob_id: SubjobId,
    /// The number of the hand-out.
    pub attempt: Attempt,
    /// The HTTP status that it alone would have been answered with, such as 409 for a hand-out that
    /// does not count any more.
    pub status: u16,
    /// What went wrong.
    pub error: String,
}
