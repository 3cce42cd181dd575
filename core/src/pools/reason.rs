//! Why a pool does what it does, in words.

use clusterrunner_common::clock::Timestamp;
use std::fmt;

/// Why a pool has and wants what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its provider has not said yet what runs: nothing is started before that.
    NotListed,
    /// Something failed, and the next attempt waits.
    Paused {
        /// How often in a row.
        failures: u32,
        /// In how many milliseconds the next attempt is.
        left_ms: u64,
        /// What failed last.
        what: String,
    },
    /// What was started waits in the provider's queue for long.
    QueueStands {
        /// How many wait there.
        queued: u64,
        /// Since when the first of them does.
        for_ms: u64,
        /// What the provider says of that.
        why: Option<String>,
    },
    /// Something is in the way of what is to start.
    Hindered {
        /// Of how many slaves.
        slaves: u64,
        /// What, in the provider's words.
        why: String,
    },
    /// More is wanted than it may have.
    AtMaximum {
        /// How many slaves it may have.
        max: u32,
        /// How many executors more are wanted.
        lacking: u64,
    },
    /// Slaves are started.
    Starting {
        /// How many.
        slaves: u64,
        /// How many subjobs wait.
        waiting: u64,
    },
    /// What is there, and comes, is enough for what waits.
    Enough {
        /// How many subjobs wait.
        waiting: u64,
    },
    /// Nothing waits, and something runs.
    Working {
        /// How many executors.
        busy: u64,
    },
    /// Nothing waits, and slaves are idle until they are ended.
    Idle {
        /// How many.
        slaves: u64,
    },
    /// Nothing waits.
    Nothing,
}

impl Standing {
    /// Its name for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotListed => "not_listed",
            Self::Paused { .. } => "paused",
            Self::QueueStands { .. } => "queue_stands",
            Self::Hindered { .. } => "hindered",
            Self::AtMaximum { .. } => "at_maximum",
            Self::Starting { .. } => "starting",
            Self::Enough { .. } => "enough",
            Self::Working { .. } => "working",
            Self::Idle { .. } => "idle",
            Self::Nothing => "nothing",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed => f.write_str("the provider has not said yet what runs"),
            Self::Paused {
                failures,
                left_ms,
                what,
            } => write!(
                f,
                "{} in a row, the next attempt in {}: {what}",
                several(u64::from(*failures), "failure"),
                lasting(*left_ms)
            ),
            Self::QueueStands {
                queued,
                for_ms,
                why,
            } => {
                write!(
                    f,
                    "{} in the provider's queue, the first for {}",
                    several(*queued, "slave"),
                    lasting(*for_ms)
                )?;
                match why {
                    Some(why) => write!(f, " ({why})"),
                    None => Ok(()),
                }
            }
            Self::Hindered { slaves, why } => {
                write!(f, "{} can not start ({why})", several(*slaves, "slave"))
            }
            Self::AtMaximum { max, lacking } => write!(
                f,
                "max_slaves = {max} is reached; {} more would be needed",
                several(*lacking, "executor")
            ),
            Self::Starting { slaves, waiting } => write!(
                f,
                "{} started for {} that {}",
                match slaves {
                    1 => "1 slave is".to_owned(),
                    slaves => format!("{slaves} slaves are"),
                },
                several(*waiting, "subjob"),
                if *waiting == 1 { "waits" } else { "wait" }
            ),
            Self::Enough { waiting } => write!(
                f,
                "what is there is enough for {} that {}",
                several(*waiting, "subjob"),
                if *waiting == 1 { "waits" } else { "wait" }
            ),
            Self::Working { busy } => write!(f, "nothing waits; {} busy", are(*busy, "executor")),
            Self::Idle { slaves } => write!(f, "nothing waits; {} idle", are(*slaves, "slave")),
            Self::Nothing => f.write_str("nothing waits"),
        }
    }
}

/// Why something that was started is ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its slave is idle for long enough.
    Idle {
        /// For how long.
        for_ms: u64,
    },
    /// Its slave is quarantined, and idle.
    Sick,
    /// It waits in the provider's queue, and nobody needs it any more.
    Unneeded,
    /// No slave has joined for too long.
    NeverAppeared {
        /// For how long.
        for_ms: u64,
    },
    /// Its slave has ended, and the provider still lists it.
    SlaveEnded,
    /// Its slave was lost.
    SlaveLost {
        /// For how long.
        for_ms: u64,
    },
    /// It is of another journal, or its token was revoked: its slave can not join.
    Unknown,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle { for_ms } => write!(f, "its slave was idle for {}", lasting(*for_ms)),
            Self::Sick => f.write_str("its slave is quarantined"),
            Self::Unneeded => f.write_str("it still waits in the queue and is not needed any more"),
            Self::NeverAppeared { for_ms } => {
                write!(f, "no slave of it has joined within {}", lasting(*for_ms))
            }
            Self::SlaveEnded => f.write_str("its slave has ended"),
            Self::SlaveLost { for_ms } => {
                write!(f, "its slave is lost for {}", lasting(*for_ms))
            }
            Self::Unknown => f.write_str(
                "this master does not know it: it is of another journal, or its join token was revoked",
            ),
        }
    }
}

/// How long it is from then to now.
pub(super) fn since(then: Timestamp, now: Timestamp) -> u64 {
    now.0.saturating_sub(then.0)
}

fn several(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

fn are(number: u64, what: &str) -> String {
    let verb = if number == 1 { "is" } else { "are" };
    format!("{} {verb}", several(number, what))
}

/// A span of time as people say it.
fn lasting(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
