//! How an atom ends.

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::work::{AtomUsage, InWorker, LimitHit};
use serde::{Deserialize, Serialize};

/// How one atom ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtomOutcome {
    /// Its exit code; `-N` for an end by signal N.
    pub exit_code: i32,
    /// How long it took.
    pub duration_ms: u64,
    /// When it started, where its slave has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// What its exit code does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<AtomTrouble>,
    /// What it used, where its slave has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<AtomUsage>,
}

impl AtomOutcome {
    /// The signal that ended it.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        let signal = self.exit_code.checked_neg();
        signal.filter(|signal| *signal > 0)
    }

    /// What a worker had to do with it.
    #[must_use]
    pub fn worker(&self) -> Option<InWorker> {
        self.usage?.worker
    }

    /// The limit that it was ended by, in seconds.
    #[must_use]
    pub fn timed_out_after(&self) -> Option<u64> {
        match self.trouble? {
            AtomTrouble::TimedOut { after_s, .. } => Some(after_s),
            AtomTrouble::Poison { .. } | AtomTrouble::Limit { .. } => None,
        }
    }
}

/// Why an atom has no end of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtomTrouble {
    /// It ran longer than it may.
    TimedOut {
        /// Its limit.
        after_s: u64,
        /// The limit of what it may use that it hit before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hit: Option<LimitHit>,
    },
    /// Slaves were lost whenever they ran it.
    Poison {
        /// How many.
        slaves_lost: u32,
    },
    /// It failed at a limit of what it may use.
    Limit {
        /// Which one.
        hit: LimitHit,
    },
}

impl std::fmt::Display for AtomTrouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Limit { hit } => write!(f, "{hit}"),
            Self::TimedOut { after_s, hit } => {
                write!(f, "timed out after {after_s} s")?;
                hit.map_or(Ok(()), |hit| write!(f, "; {hit}"))
            }
            Self::Poison { slaves_lost } => {
                write!(
                    f,
                    "poison: {slaves_lost} slaves were lost while they ran it"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_tells_which_limit_was_hit_before() {
        let timed_out = |hit| AtomTrouble::TimedOut { after_s: 7, hit };
        assert_eq!(timed_out(None).to_string(), "timed out after 7 s");
        let hit = Some(LimitHit::Processes { limit: 40 });
        let both = "timed out after 7 s; too many processes: limit 40";
        assert_eq!(timed_out(hit).to_string(), both);
        // Journals of before have the time alone.
        let before = r#"{"timed_out":{"after_s":7}}"#;
        assert_eq!(serde_json::to_string(&timed_out(None)).unwrap(), before);
        let read: AtomTrouble = serde_json::from_str(before).unwrap();
        assert_eq!(read, timed_out(None));
    }
}
