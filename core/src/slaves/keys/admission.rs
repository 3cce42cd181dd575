//! Who may be where: what a slave that connects must show for its address, and how many keys there may be.

use super::{KEYS_KEPT, KeyRefused, OfferedKey, StoredJoinToken};
use crate::Cluster;
use crate::event::Fact;
use crate::slaves::address_pattern;
use crate::slaves::key_facts::{Joining, KeyFact};
use clusterrunner_common::ids::{PublicKey, TokenId};
use std::collections::BTreeSet;

impl StoredJoinToken {
    /// Whether one more slave may join with it.
    fn check_uses(&self, id: TokenId) -> Result<(), KeyRefused> {
        match self.is_used_up() {
            true => Err(KeyRefused::TokenUsedUp(id, self.said.uses())),
            false => Ok(()),
        }
    }

    /// Whether a slave at an address may join with it.
    fn check_address(&self, id: TokenId, address: &str) -> Result<(), KeyRefused> {
        match &self.said.address {
            Some(pattern) if !address_pattern::matches(pattern, address) => {
                Err(KeyRefused::OtherAddress {
                    token: id,
                    address: address.to_owned(),
                    pattern: pattern.clone(),
                })
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Cluster {
    /// What becomes of a key with which a slave connects from an address; an error where it may not be there.
    pub(in crate::slaves) fn admitted_key(
        &self,
        address: &str,
        OfferedKey { key, joins }: OfferedKey,
    ) -> Result<Option<Fact>, KeyRefused> {
        let known = self.slave_keys.key(&key);
        if known.is_some_and(|known| known.revoked.is_some()) {
            return Err(KeyRefused::RevokedKey);
        }
        // It may have been revoked since the request was let in.
        let token = match joins {
            Some(Joining::Token(id)) => {
                let token = self.slave_keys.tokens.get(&id);
                Some((id, token.ok_or(KeyRefused::UnknownToken(id))?))
            }
            Some(Joining::Secret) | None => None,
        };
        let mut alive = self.slaves.values().filter(|slave| slave.is_alive());
        if let Some(slave) = alive.find(|slave| slave.key == Some(key) && slave.url != address) {
            return Err(KeyRefused::InUse(slave.url.clone()));
        }
        match (known, joins) {
            (None, None) => return Err(KeyRefused::UnknownKey),
            (Some(known), _) if known.address == address => return Ok(None),
            // Who has the secret may put a slave in another's place.
            (_, Some(Joining::Secret)) => {}
            (_, Some(Joining::Token(_)) | None) => self.check_free(address, key)?,
        }
        // A slave that did not hear the answer asks again, maybe from another address: it has joined with that token.
        let has_joined = known.is_some_and(|known| Some(known.by) == joins);
        if let Some((id, token)) = token {
            token.check_address(id, address)?;
            if !has_joined {
                token.check_uses(id)?;
            }
        }
        let address = address.to_owned();
        let fact = match joins {
            Some(Joining::Token(_)) if has_joined => KeyFact::Moved { key, address },
            Some(by) => {
                if known.is_none() {
                    self.check_room(&address, by)?;
                }
                KeyFact::Joined { key, address, by }
            }
            None => KeyFact::Moved { key, address },
        };
        Ok(Some(Fact::SlaveKey(fact)))
    }

    /// Whether no other slave is at an address, or was when it was heard of last.
    fn check_free(&self, address: &str, key: PublicKey) -> Result<(), KeyRefused> {
        let owner = self.slave_keys.owner_of(address);
        let owner = owner.filter(|owner| **owner != key);
        // One of an older version, or one that is just ending: nobody's key says that it is there.
        let there = self.latest_at(address);
        let there = there.filter(|slave| slave.is_called() && slave.key != Some(key));
        let owner = match (owner, there) {
            (Some(owner), _) => owner.fingerprint(),
            (None, Some(_)) => "none of its own".to_owned(),
            (None, None) => return Ok(()),
        };
        let address = address.to_owned();
        Err(KeyRefused::AddressOfOther { address, owner })
    }

    /// Whether one more key can be remembered, of a slave that joins from an address.
    fn check_room(&self, address: &str, by: Joining) -> Result<(), KeyRefused> {
        let keys = &self.slave_keys;
        let has_room = keys.keys.len() < KEYS_KEPT
            || keys.owner_of(address).is_some()
            || (by == Joining::Secret && self.unused_key().is_some());
        has_room.then_some(()).ok_or(KeyRefused::TooManyKeys)
    }

    /// The key that joined first of those that joined with the secret, that no living slave has, and that are not revoked.
    fn unused_key(&self) -> Option<PublicKey> {
        let called = self.called_slaves().filter_map(|slave| slave.key);
        let used: BTreeSet<PublicKey> = called.collect();
        let keys = self.slave_keys.keys.iter();
        let unused = keys.filter(|(key, known)| {
            known.revoked.is_none() && known.by == Joining::Secret && !used.contains(key)
        });
        let oldest = unused.min_by_key(|(key, known)| (known.joined, **key));
        oldest.map(|(key, _)| *key)
    }

    /// A slave has joined. Where there are too many keys now, one goes that nobody needs.
    pub(super) fn count_join(&mut self, by: Joining) {
        match by {
            Joining::Token(token) => {
                if let Some(token) = self.slave_keys.tokens.get_mut(&token) {
                    token.used = token.used.saturating_add(1);
                }
            }
            Joining::Secret if self.slave_keys.keys.len() > KEYS_KEPT => {
                if let Some(unused) = self.unused_key() {
                    self.slave_keys.keys.remove(&unused);
                }
            }
            Joining::Secret => {}
        }
    }
}
