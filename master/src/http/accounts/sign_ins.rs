//! What of signing in and out the audit log is told. Tries that fail are counted: strangers must not fill the log.

use super::Accounts;
use super::attempts::network;
use crate::coordinator::{CommandFailure, Gone, asked_from};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::UserId;
use clusterrunner_common::lock::lock;
use clusterrunner_core::accounts::sign_ins::{FailureCount, SignInFact};
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::Command;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// The count of tries that failed. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures(Arc<Mutex<FailureCount<IpAddr>>>);

impl Accounts {
    /// Notes that somebody signs in or out; on disk when this returns.
    ///
    /// # Errors
    /// The master is going down.
    pub(crate) async fn note_sign_in(&self, by: Actor, fact: SignInFact) -> Result<(), Gone> {
        match self.cluster.command(Command::SignIn { by, fact }).await {
            Ok(_) => Ok(()),
            // None is refused.
            Err(CommandFailure::Refused(_) | CommandFailure::Gone(_)) => Err(Gone),
        }
    }

    /// Notes a try to sign in that failed, as a user if there is one of that name, from an address if it is known.
    ///
    /// # Errors
    /// The master is going down.
    pub(super) async fn note_failure(
        &self,
        user: Option<UserId>,
        from: Option<IpAddr>,
    ) -> Result<(), Gone> {
        let whose = from.map(network);
        let told = lock(&self.failures.0).note(whose, user, Timestamp::now());
        let Some(failed) = told else {
            return Ok(());
        };
        let from = from.filter(|_| !failed.from_many);
        let noting = self.note_sign_in(Actor::Nobody, SignInFact::Failed(failed));
        asked_from(from, noting).await
    }
}
