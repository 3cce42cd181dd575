//! What owns projects, and so builds, instances and apps.

use crate::actor::Actor;
use clusterrunner_common::ids::UserId;
use serde::{Deserialize, Serialize};

/// The name of the built-in owner.
pub const BUILT_IN: &str = "clusterrunner";

/// The name of the owner of what is asked for with the Binder key.
pub const BINDER: &str = "binder";

/// The owner of projects and of their builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The built-in owner of what is asked for with the farm's secret. It can not log in.
    ClusterRunner,
    /// The built-in owner of what is asked for with the Binder key. It can not log in.
    Binder,
    /// A user.
    User(UserId),
}

impl Owner {
    /// The owner of what an actor asks for.
    #[must_use]
    pub fn of(actor: Actor) -> Self {
        match actor {
            Actor::User(user) => Self::User(user),
            Actor::Binder => Self::Binder,
            Actor::SecretHolder
            | Actor::Master
            | Actor::Slave(_)
            | Actor::Nobody
            | Actor::JoinToken(_)
            | Actor::SlaveKey => Self::ClusterRunner,
        }
    }
}
