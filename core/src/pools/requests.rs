//! What was started for a pool: its join tokens and what its provider lists, put together by their names.

use super::scene::{PoolPresence, Scene, SlaveSeen, TokenSeen};
use super::terms::ms;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{SlaveId, TokenId};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a provider may take to list what it was asked to start: lists of clouds lag behind.
pub const LIST_LAG: Duration = Duration::from_secs(30);

/// How long something may still be listed whose slave has ended.
pub const END_GRACE: Duration = Duration::from_secs(60);

/// A slave that is lost so soon after it joined speaks against what the pool starts.
pub const YOUNG: Duration = Duration::from_secs(60);

/// What a provider says of something that it was asked to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name that it was given.
    pub name: String,
    /// How the provider calls it.
    pub id: String,
    /// How far it is.
    pub state: ListedState,
}

/// How far the provider is with something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListedState {
    /// It waits in a queue of the provider.
    Queued {
        /// For what, if the provider says so.
        why: Option<String>,
    },
    /// The machine or process is there, or is being made.
    Running,
    /// It is to start, and something is in the way.
    Hindered {
        /// What is in the way, in the provider's words.
        why: String,
    },
    /// It is over, and the provider still says how it ended.
    Ended {
        /// What went wrong, if something did.
        why: Option<String>,
    },
}

impl Listed {
    /// Whether it is not over.
    #[must_use]
    pub fn is_there(&self) -> bool {
        !matches!(self.state, ListedState::Ended { .. })
    }

    /// What is wrong with it, in the provider's words.
    fn complaint(&self) -> Option<String> {
        match &self.state {
            ListedState::Queued { .. } | ListedState::Running => None,
            ListedState::Hindered { why } => Some(why.clone()),
            ListedState::Ended { why } => why.clone(),
        }
    }
}

/// Something that was started for a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its name.
    pub name: String,
    /// What its slave joins with; none where nobody knows it any more.
    pub token: Option<TokenId>,
    /// When it was asked for.
    pub created: Timestamp,
    /// Whether the provider lists it as something that is not over.
    pub is_listed: bool,
    /// What is wrong with it, in the provider's words.
    pub complaint: Option<String>,
    /// How far it is.
    pub place: Place,
}

/// How far something is that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It waits in the provider's queue.
    Queued {
        /// For what, if the provider says so.
        why: Option<String>,
    },
    /// Its slave has not joined yet.
    Starting,
    /// Its slave is there.
    Joined(SlaveId),
    /// Its slave finishes what it runs, and then ends: however long that takes, it is left alone.
    Finishing,
    /// Its slave ends or has ended.
    Leaving,
    /// Its slave was lost.
    Lost(Timestamp),
    /// It ended before a slave joined.
    Vanished,
    /// Its slave was lost soon after it had joined, and it is not listed any more.
    DiedYoung,
    /// It is over.
    Over,
    /// Nobody knows what its slave joins with: it is of another journal, or its token was revoked.
    Unknown,
}

impl Request {
    /// Whether it is there or may come: what a pool is limited by.
    #[must_use]
    pub fn counts(&self) -> bool {
        match self.place {
            Place::Queued { .. } | Place::Starting | Place::Joined(_) | Place::Finishing => true,
            Place::Lost(_) | Place::Unknown | Place::Leaving => self.is_listed,
            Place::Vanished | Place::DiedYoung | Place::Over => false,
        }
    }

    /// Whether its slave is to come.
    #[must_use]
    pub fn is_coming(&self) -> bool {
        matches!(self.place, Place::Queued { .. } | Place::Starting)
    }
}

/// What was started under names that begin with `prefix`, in the order of the names. `listed` is what the provider said
/// when it was asked at `listed_at`, however long it took for the answer.
#[must_use]
pub fn requests(
    prefix: &str,
    scene: &Scene,
    (listed, listed_at): (&[Listed], Timestamp),
) -> Vec<Request> {
    let listed = listed.iter().filter(|one| one.name.starts_with(prefix));
    let listed: BTreeMap<&str, &Listed> = listed.map(|one| (one.name.as_str(), one)).collect();
    let tokens = scene.tokens.iter();
    let tokens = tokens.filter(|(_, token)| token.name.starts_with(prefix));
    let mut all: BTreeMap<&str, Request> = tokens
        .map(|(id, token)| {
            let listed = listed.get(token.name.as_str()).copied();
            let request = Request {
                name: token.name.clone(),
                token: Some(*id),
                created: token.created,
                is_listed: listed.is_some_and(Listed::is_there),
                complaint: listed.and_then(Listed::complaint),
                place: place(token, listed, listed_at),
            };
            (token.name.as_str(), request)
        })
        .collect();
    for (name, _) in listed.into_iter().filter(|(_, one)| one.is_there()) {
        all.entry(name).or_insert_with(|| Request {
            name: name.to_owned(),
            token: None,
            created: scene.now,
            is_listed: true,
            complaint: None,
            place: Place::Unknown,
        });
    }
    all.into_values().collect()
}

fn place(token: &TokenSeen, listed: Option<&Listed>, listed_at: Timestamp) -> Place {
    let Some(joined) = token.joined else {
        return match listed.map(|listed| &listed.state) {
            Some(ListedState::Queued { why }) => Place::Queued { why: why.clone() },
            Some(ListedState::Running | ListedState::Hindered { .. }) => Place::Starting,
            Some(ListedState::Ended { .. }) => Place::Vanished,
            None if listed_at.0.saturating_sub(token.created.0) < ms(LIST_LAG) => Place::Starting,
            None => Place::Vanished,
        };
    };
    match (joined.slave, listed.is_some_and(Listed::is_there)) {
        (Some((slave, PoolPresence::Alive)), _) => Place::Joined(slave),
        (Some((_, PoolPresence::Finishing)), _) => Place::Finishing,
        (Some((_, PoolPresence::Ending)), _) | (Some((_, PoolPresence::Leaving)), true) => {
            Place::Leaving
        }
        (Some((_, PoolPresence::Lost(at))), true) => Place::Lost(at),
        (Some((_, PoolPresence::Lost(at))), false)
            if at.0.saturating_sub(joined.at.0) < ms(YOUNG) =>
        {
            Place::DiedYoung
        }
        (Some((_, PoolPresence::Leaving | PoolPresence::Lost(_))), false) => Place::Over,
        (None, true) => Place::Lost(joined.at),
        (None, false) => Place::Over,
    }
}

/// Where something stands, as far as it matters since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Coming,
    /// Its slave has not come in time.
    GivenUp,
    Queued,
    Idle,
    Busy,
    Leaving,
    Lost,
    Over,
}

impl Stage {
    pub(super) fn of(place: &Place, slave: Option<&SlaveSeen>) -> Self {
        match place {
            Place::Queued { .. } => Self::Queued,
            Place::Starting => Self::Coming,
            Place::Joined(_) if slave.is_some_and(|slave| slave.is_idle) => Self::Idle,
            Place::Joined(_) | Place::Finishing => Self::Busy,
            Place::Leaving => Self::Leaving,
            Place::Lost(_) | Place::Unknown => Self::Lost,
            Place::Vanished | Place::DiedYoung | Place::Over => Self::Over,
        }
    }
}
