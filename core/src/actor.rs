//! Who causes facts and gives commands.

use clusterrunner_common::ids::{SlaveId, TokenId, UserId};
use serde::{Deserialize, Serialize};

/// What can cause a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The master: what follows from its state, from the passing of time, and from its own work.
    Master,
    /// A caller that has proved that it knows the farm's secret.
    SecretHolder,
    /// A user, by a token or a log-in.
    User(UserId),
    /// A caller that has proved that it knows the Binder key.
    Binder,
    /// A slave, under this registration.
    Slave(SlaveId),
    /// A caller that has proved nothing, where slaves of the original are accepted.
    Nobody,
    /// A slave that joins with this token.
    JoinToken(TokenId),
    /// A slave that connects by a key of its own, under which it has joined before.
    SlaveKey,
}

impl Actor {
    /// The user, if it is one.
    #[must_use]
    pub fn user(self) -> Option<UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::Master
            | Self::SecretHolder
            | Self::Binder
            | Self::Slave(_)
            | Self::Nobody
            | Self::JoinToken(_)
            | Self::SlaveKey => None,
        }
    }
}
