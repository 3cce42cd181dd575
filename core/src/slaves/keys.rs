//! The keys that slaves have joined with, and the tokens with which they join: who may be at which address, and who may
//! act for a registration.

mod admission;

use crate::Cluster;
use crate::check::{Inconsistency, must};
use crate::event::{Fact, Loss, SlaveFact};
use crate::slaves::address_pattern;
use crate::slaves::key_facts::{Joining, KeyFact, NewJoinToken};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, PublicKey, SlaveId, TokenId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How many keys are remembered. Then nobody joins with a token. Where a slave joins with the secret, the oldest goes of
/// those that joined with that, too, and that no living slave has: a slave whose port the system chooses has another at
/// each start.
pub const KEYS_KEPT: usize = 10_000;

/// How many join tokens there may be with which slaves can still join; of used ones, as many as there are keys.
pub const MOST_JOIN_TOKENS: usize = 1000;

/// How many characters the name of a join token may have.
const LONGEST_NAME: usize = 100;

/// How far the ids that a slave without the secret has seen may be ahead of those that the journal knows: ids go on
/// behind them, and there must always be some left.
const IDS_AHEAD: u64 = 1 << 20;

/// The highest attempt that a slave without the secret may have seen.
const HIGHEST_ATTEMPT: u32 = 1 << 20;

/// A key as a slave shows it when it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferedKey {
    /// The key. That the slave has it is proved.
    pub key: PublicKey,
    /// What it proves beside the key; none where the key is all that it shows.
    pub joins: Option<Joining>,
}

impl OfferedKey {
    /// Whether it shows no more than a key or a join token: it may speak for its own slave, and for no other.
    pub(crate) fn is_without_secret(self) -> bool {
        self.joins != Some(Joining::Secret)
    }
}

/// A key that a slave has joined with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedKey {
    /// Where its slave is, or was last.
    pub address: String,
    /// When it joined, the last time.
    pub joined: Timestamp,
    /// What it joined with.
    pub by: Joining,
    /// Since when it opens nothing, if it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
}

/// A token with which slaves join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredJoinToken {
    /// What was said of it.
    pub said: NewJoinToken,
    /// When it was created.
    pub created: Timestamp,
    /// How often slaves have joined with it.
    #[serde(default)]
    pub used: u32,
}

impl StoredJoinToken {
    /// Whether as many slaves have joined with it as may.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.used >= self.said.uses()
    }

    /// Whether no slave joins with it any more.
    #[must_use]
    pub fn is_expired(&self, at: Timestamp) -> bool {
        self.said.expires.is_some_and(|expires| expires <= at)
    }
}

/// What is asked for about keys and join tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyCommand {
    /// A key is to open nothing any more; whoever has it is lost.
    Revoke(PublicKey),
    /// A key that was revoked is to be good again.
    Restore(PublicKey),
    /// A key is not to be known any more.
    Forget(PublicKey),
    /// Slaves are to be able to join with another token.
    CreateToken(NewJoinToken),
    /// No slave is to join with a token any more.
    RevokeToken(TokenId),
}

/// Why a key or a join token is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefused {
    /// No slave has joined with it, as far as this journal knows.
    #[error("no slave has joined with this key")]
    UnknownKey,
    /// An operator has revoked it.
    #[error("this slave's key was revoked")]
    RevokedKey,
    /// A living slave has the same key at another address.
    #[error(
        "a living slave at {0} has the same key: if it is this one, wait until it is counted as lost; if its data directory was copied, remove the folder identity in one of the copies and let that slave join again"
    )]
    InUse(String),
    /// Another slave has joined from this address, with another key.
    #[error(
        "the address {address} is that of the slave with key {owner}: `clusterrunner slaves revoke {address}` or, if that slave is gone, `clusterrunner slaves forget {address}` makes it free; a slave that joins with the secret takes it"
    )]
    AddressOfOther {
        /// The address.
        address: String,
        /// The beginning of that slave's key.
        owner: String,
    },
    /// What a registration may not do is asked for in its name.
    #[error("slave {0} acts with a key of its own, and this request is not signed with it")]
    OtherSlaves(SlaveId),
    /// There is no such join token.
    #[error("there is no join token {0}")]
    UnknownToken(TokenId),
    /// A join token can not be made like this.
    #[error("field 'name' must have from 1 to {LONGEST_NAME} characters")]
    InvalidName,
    /// So many slaves have joined with a token as may.
    #[error("{1} slaves have joined with join token {0}, and no more may: make another")]
    TokenUsedUp(TokenId, u32),
    /// A join token is for other addresses.
    #[error("join token {token} is for slaves at {pattern}, not at {address}: make another")]
    OtherAddress {
        /// The token.
        token: TokenId,
        /// Where the slave says it is.
        address: String,
        /// Where slaves with the token are.
        pattern: String,
    },
    /// A join token can not be for such addresses.
    #[error("field 'address' must be HOST or HOST:PORT, in which * stands for any characters")]
    InvalidAddress,
    /// A join token can not be used so often.
    #[error("field 'uses' must be from 1 to {KEYS_KEPT}")]
    InvalidUses,
    /// The journal has as many keys as it may.
    #[error(
        "the farm has {KEYS_KEPT} keys of slaves already: `clusterrunner slaves forget` those of slaves that are gone"
    )]
    TooManyKeys,
    /// A slave that has the key is connected.
    #[error(
        "the slave at {0} has this key and is connected: shut it down first, or revoke the key"
    )]
    Connected(String),
    /// What a slave says it has seen is too far ahead, and nobody vouches for it with the secret.
    #[error(
        "the ids in field 'seen' are more than {IDS_AHEAD} ahead of this master's, or attempts above {HIGHEST_ATTEMPT}: a \
         key or a join token is not enough for that"
    )]
    TooFarAhead,
    /// There are too many.
    #[error(
        "there are {MOST_JOIN_TOKENS} join tokens already with which slaves can join, or {KEYS_KEPT} in all: revoke some"
    )]
    TooManyTokens,
}

/// The keys of slaves, and the tokens with which they join.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlaveKeys {
    /// Those that are not revoked have different addresses.
    keys: BTreeMap<PublicKey, JoinedKey>,
    tokens: BTreeMap<TokenId, StoredJoinToken>,
}

impl SlaveKeys {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.tokens.is_empty()
    }

    /// All keys, revoked ones too.
    pub fn keys(&self) -> impl Iterator<Item = (&PublicKey, &JoinedKey)> {
        self.keys.iter()
    }

    /// A key.
    #[must_use]
    pub fn key(&self, key: &PublicKey) -> Option<&JoinedKey> {
        self.keys.get(key)
    }

    /// All join tokens, expired ones too.
    pub fn tokens(&self) -> impl Iterator<Item = (TokenId, &StoredJoinToken)> {
        self.tokens.iter().map(|(id, token)| (*id, token))
    }

    /// The good key of the slave at an address.
    fn owner_of(&self, address: &str) -> Option<&PublicKey> {
        let is_good = |known: &JoinedKey| known.revoked.is_none() && known.address == address;
        let mut keys = self.keys.iter();
        keys.find_map(|(key, known)| is_good(known).then_some(key))
    }

    #[expect(
        clippy::expect_used,
        reason = "events name what exists; a journal that does not is damaged"
    )]
    fn key_mut(&mut self, key: &PublicKey) -> &mut JoinedKey {
        let known = self.keys.get_mut(key);
        known.expect("events name keys that exist")
    }
}

impl Cluster {
    /// The keys of slaves, and the tokens with which they join.
    #[must_use]
    pub fn slave_keys(&self) -> &SlaveKeys {
        &self.slave_keys
    }

    /// Whether a registration may be acted for with what was proved: a key, or the secret where there is none. That is
    /// what the registration was made with, and nothing else. A registration that is not there is the same to all.
    ///
    /// # Errors
    /// It may not.
    pub fn check_sender(&self, slave: SlaveId, key: Option<PublicKey>) -> Result<(), KeyRefused> {
        match self.slave(slave) {
            Some(registered) if registered.key != key => Err(KeyRefused::OtherSlaves(slave)),
            Some(_) | None => Ok(()),
        }
    }

    /// Looks at the highest numbers that a slave names which may not have the secret.
    pub(crate) fn check_named(
        &self,
        key: Option<OfferedKey>,
        (build, slave, attempt): (BuildId, SlaveId, Attempt),
    ) -> Result<(), KeyRefused> {
        let is_near = build.0 <= self.last_build.saturating_add(IDS_AHEAD)
            && slave.0 <= self.last_slave.saturating_add(IDS_AHEAD)
            && attempt.0 <= HIGHEST_ATTEMPT;
        let is_without_secret = key.is_some_and(|key| key.is_without_secret());
        match is_near || !is_without_secret {
            true => Ok(()),
            false => Err(KeyRefused::TooFarAhead),
        }
    }

    pub(crate) fn key_facts(&self, command: KeyCommand) -> Result<Vec<Fact>, KeyRefused> {
        let known = |key| self.slave_keys.key(key).ok_or(KeyRefused::UnknownKey);
        let fact = match command {
            KeyCommand::Revoke(key) if known(&key)?.revoked.is_some() => return Ok(Vec::new()),
            KeyCommand::Revoke(key) => return Ok(self.revoked(key)),
            KeyCommand::Restore(key) => {
                let known = known(&key)?;
                if known.revoked.is_none() {
                    return Ok(Vec::new());
                }
                if let Some(owner) = self.slave_keys.owner_of(&known.address) {
                    let (address, owner) = (known.address.clone(), owner.fingerprint());
                    return Err(KeyRefused::AddressOfOther { address, owner });
                }
                KeyFact::Restored { key }
            }
            KeyCommand::Forget(key) => {
                known(&key)?;
                // Also one that ends still says so, by its key.
                let mut called = self.called_slaves();
                if let Some(slave) = called.find(|slave| slave.key == Some(key)) {
                    return Err(KeyRefused::Connected(slave.url.clone()));
                }
                KeyFact::Forgotten { key }
            }
            KeyCommand::CreateToken(new) => {
                let characters = new.name.chars().count();
                if !(1..=LONGEST_NAME).contains(&characters) || new.name.contains(char::is_control)
                {
                    return Err(KeyRefused::InvalidName);
                }
                let is_pattern = |address: &String| address_pattern::is_pattern(address);
                if !new.address.iter().all(is_pattern) {
                    return Err(KeyRefused::InvalidAddress);
                }
                let most = u32::try_from(KEYS_KEPT).unwrap_or(u32::MAX);
                if !(1..=most).contains(&new.uses()) {
                    return Err(KeyRefused::InvalidUses);
                }
                let tokens = &self.slave_keys.tokens;
                // Each slave of a pool keeps its own, which is used.
                let unused = tokens.values().filter(|token| !token.is_used_up()).count();
                if unused >= MOST_JOIN_TOKENS || tokens.len() >= KEYS_KEPT {
                    return Err(KeyRefused::TooManyTokens);
                }
                let token = self.accounts.next_token_id();
                KeyFact::TokenCreated { token, new }
            }
            KeyCommand::RevokeToken(token) => {
                if !self.slave_keys.tokens.contains_key(&token) {
                    return Err(KeyRefused::UnknownToken(token));
                }
                KeyFact::TokenRevoked { token }
            }
        };
        Ok(vec![Fact::SlaveKey(fact)])
    }

    /// What a slave with a revoked key runs goes back to the queues, and no atom is blamed for it.
    fn revoked(&self, key: PublicKey) -> Vec<Fact> {
        let holders = self.called_slaves().filter(|slave| slave.key == Some(key));
        let lost = holders.map(|slave| {
            let reason = Loss::Trouble("its key was revoked".to_owned());
            Fact::Slave(slave.id, SlaveFact::Lost { reason })
        });
        let revoked = Fact::SlaveKey(KeyFact::Revoked { key });
        lost.chain([revoked]).collect()
    }

    pub(crate) fn apply_to_key(&mut self, fact: &KeyFact, at: Timestamp) {
        match fact {
            KeyFact::Joined { key, address, by } => {
                let before = self.slave_keys.owner_of(address).copied();
                if let Some(before) = before {
                    self.slave_keys.keys.remove(&before);
                }
                let joined = JoinedKey {
                    address: address.clone(),
                    joined: at,
                    by: *by,
                    revoked: None,
                };
                self.slave_keys.keys.insert(*key, joined);
                self.count_join(*by);
            }
            KeyFact::Moved { key, address } => {
                self.slave_keys.key_mut(key).address.clone_from(address);
            }
            KeyFact::Revoked { key } => self.slave_keys.key_mut(key).revoked = Some(at),
            KeyFact::Restored { key } => self.slave_keys.key_mut(key).revoked = None,
            KeyFact::Forgotten { key } => {
                self.slave_keys.keys.remove(key);
            }
            KeyFact::TokenCreated { token, new } => {
                self.accounts.reserve_token(*token);
                let created = StoredJoinToken {
                    said: new.clone(),
                    created: at,
                    used: 0,
                };
                self.slave_keys.tokens.insert(*token, created);
            }
            KeyFact::TokenRevoked { token } => {
                self.slave_keys.tokens.remove(token);
            }
        }
    }

    /// Each good key has an address of its own, and each living slave that has a key a good one, at its address.
    pub(crate) fn check_keys(&self) -> Result<(), Inconsistency> {
        let mut addresses = BTreeSet::new();
        for (key, known) in self.slave_keys.keys() {
            let is_alone = known.revoked.is_some() || addresses.insert(&known.address);
            must(is_alone, || {
                format!("{key:?}: its address is another's, too")
            })?;
        }
        for slave in self.slaves.values().filter(|slave| slave.is_alive()) {
            let Some(key) = &slave.key else { continue };
            let known = self.slave_keys.key(key);
            let is_good = known.is_some_and(|k| k.revoked.is_none() && k.address == slave.url);
            must(is_good, || {
                format!("slave {}: its key is not good", slave.id)
            })?;
        }
        Ok(())
    }
}
