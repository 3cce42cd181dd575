//! What happens to slaves.

use crate::slaves::slave::Hosting;
use clusterrunner_common::ids::{Attempt, BuildId, PublicKey, SessionId, SubjobId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// What happens to a slave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlaveFact {
    /// It joined the farm.
    Connected {
        /// `host:port` at which it is called.
        url: String,
        /// The life of its process.
        session: SessionId,
        /// How many subjobs it runs at a time.
        num_executors: u32,
        /// Whether it speaks as the original's slaves do: one build at a time, no attempts.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_legacy: bool,
        /// What builds may ask for in a slave.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        labels: BTreeSet<String>,
        /// The key that it signs with; none of a slave that has but the secret.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<PublicKey>,
    },
    /// The master gave it up; the subjobs that it held go back to the queues of their builds.
    Lost {
        /// What shows it.
        reason: Loss,
    },
    /// Its registration leaves memory: it was replaced, shut down, or lost long ago.
    Forgotten,
    /// A user shuts it down: it takes no new work from now on.
    ShutdownRequested,
    /// It is in shutdown mode, has nothing left, and is told to end. It leaves the list.
    EndRequested,
    /// It was told to end, and is not called any more.
    Ended,
    /// A user drained it: its address takes no new work until a user undrains it, even after restarts.
    DrainRequested,
    /// Its address, which was drained, takes work again.
    DrainEnded,
    /// It is sick: it takes no new work for a while, and what it runs goes back to the queues.
    Quarantined {
        /// What speaks against it.
        reason: String,
    },
    /// A user says that it is healthy again.
    Released,
    /// Its quarantine is over for a trial: it runs one atom at a time until an atom clears it or speaks against it.
    ProbeStarted,
    /// It is kept free for the suspect subjobs of a build.
    Reserved {
        /// The build whose subjobs are suspects.
        build: BuildId,
    },
    /// It was lost, is back in another life, and still has results that nobody else was asked for since:
    /// they are waited for.
    HandOutsKept {
        /// The hand-outs whose results it has.
        hand_outs: Vec<KeptHandOut>,
    },
    /// It has reported its instances for the first time, or runs another number or kind of them.
    Hosts(Hosting),
    /// It has other snapshots of templates than before.
    HasSnapshots {
        /// The digests of all of them.
        digests: BTreeSet<String>,
    },
}

/// A hand-out whose result outlived the slave's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptHandOut {
    /// The build that the subjob is of.
    pub build: BuildId,
    /// The subjob that was handed out.
    pub subjob: SubjobId,
    /// The number that it was handed out under.
    pub attempt: Attempt,
}

/// Why a slave is not counted on any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// It said itself that it ends.
    Stopped,
    /// Another life of it answers at its address: it connects soon, and may still have what this one was given.
    StartedAgain,
    /// Something else, as this sentence about the slave tells.
    Trouble(String),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "it was stopped",
            Self::StartedAgain => "it was started again",
            Self::Trouble(reason) => reason,
        })
    }
}

impl fmt::Display for SlaveFact {
    /// What comes after the slave's id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected {
                url,
                session,
                num_executors,
                is_legacy,
                ..
            } => {
                let kind = if *is_legacy { ", a legacy one," } else { "" };
                let s = if *num_executors == 1 { "" } else { "s" };
                write!(
                    f,
                    "{kind} connected: {url}, {session}, {num_executors} executor{s}"
                )
            }
            Self::Lost { reason } => write!(f, " lost: {reason}"),
            Self::Forgotten => f.write_str(" forgotten"),
            Self::ShutdownRequested => f.write_str(" to shut down"),
            Self::EndRequested => f.write_str(" to end"),
            Self::Ended => f.write_str(" ended"),
            Self::DrainRequested => f.write_str(" drained"),
            Self::DrainEnded => f.write_str(" undrained"),
            Self::Quarantined { reason } => write!(f, " quarantined: {reason}"),
            Self::Released => f.write_str(" released"),
            Self::ProbeStarted => f.write_str(" on probe"),
            Self::Reserved { build } => write!(f, " kept for {build}"),
            Self::HandOutsKept { hand_outs } => {
                let kept = hand_outs
                    .iter()
                    .map(|kept| format!("{}/{}.{}", kept.build, kept.subjob, kept.attempt));
                let kept: Vec<_> = kept.collect();
                write!(f, " keeps {}", kept.join(", "))
            }
            Self::Hosts(Hosting {
                max_instances,
                runs_images,
            }) => {
                let images = if *runs_images { ", also of images" } else { "" };
                write!(f, " runs up to {max_instances} instances{images}")
            }
            Self::HasSnapshots { digests } => write!(f, " has {} snapshots", digests.len()),
        }
    }
}
