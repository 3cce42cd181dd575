//! The join tokens of what is started: one for each, good for one slave, and ended with it.

use crate::coordinator::{ClusterHandle, CommandFailure};
use crate::read::slave_keys::SlaveKeys;
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_common::ids::{PublicKey, TokenId};
use clusterrunner_core::Cluster;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::{Fact, KeyFact};
use clusterrunner_core::refusal::Refusal;
use clusterrunner_core::slaves::key_facts::{Joining, NewJoinToken};
use clusterrunner_core::slaves::keys::{KeyCommand, KeyRefused};
use std::time::Duration;

/// Makes and ends them.
#[derive(Clone, Debug)]
pub(super) struct JoinTokens {
    pub(super) cluster: ClusterHandle,
    pub(super) slave_keys: SlaveKeys,
}

impl JoinTokens {
    /// Another token, for what is started under this name. It is on disk when this returns.
    pub(super) async fn create(
        &self,
        name: String,
        good_for: Duration,
    ) -> Result<(TokenId, String), CommandFailure> {
        let good_for = u64::try_from(good_for.as_millis()).unwrap_or(u64::MAX);
        let new = NewJoinToken {
            name,
            seed: hex::encode(random_bytes::<16>()),
            expires: Some(Timestamp(Timestamp::now().0.saturating_add(good_for))),
            address: None,
            uses: Some(1),
        };
        let seed = new.seed.clone();
        let events = self.tell(KeyCommand::CreateToken(new)).await?;
        let created = events.iter().find_map(|event| match &event.fact {
            Fact::SlaveKey(KeyFact::TokenCreated { token, .. }) => Some(*token),
            _ => None,
        });
        let unknown = || Refusal::Key(KeyRefused::UnknownToken(TokenId(0)));
        let token = created.ok_or_else(unknown)?;
        let text = self.slave_keys.token_text(token, &seed);
        Ok((token, text.ok_or_else(unknown)?))
    }

    /// Ends a token; one that is gone already is as good. The key that a slave has joined with goes before it: another slave may
    /// get that one's address. The token of a slave that is still there stays, and goes with it at a later look.
    pub(super) async fn end(&self, token: TokenId) -> Result<(), CommandFailure> {
        for key in self.keys_of(token).await? {
            match self.tell(KeyCommand::Forget(key)).await {
                Ok(_) | Err(CommandFailure::Refused(Refusal::Key(KeyRefused::UnknownKey))) => {}
                Err(CommandFailure::Refused(Refusal::Key(KeyRefused::Connected(_)))) => {
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            }
        }
        match self.tell(KeyCommand::RevokeToken(token)).await {
            Ok(_) | Err(CommandFailure::Refused(Refusal::Key(KeyRefused::UnknownToken(_)))) => {
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    async fn keys_of(&self, token: TokenId) -> Result<Vec<PublicKey>, CommandFailure> {
        let look = move |cluster: &Cluster| {
            let keys = cluster.slave_keys().keys();
            let of_token = keys.filter(|(_, joined)| joined.by == Joining::Token(token));
            of_token.map(|(key, _)| *key).collect()
        };
        Ok(self.cluster.read(look).await?)
    }

    async fn tell(
        &self,
        command: KeyCommand,
    ) -> Result<Vec<clusterrunner_core::event::Event>, CommandFailure> {
        let by = Actor::Master;
        self.cluster
            .command(Command::SlaveKey { by, command })
            .await
    }
}
