//! The keys of slaves as gate and handlers look them up at each request, without asking the coordinator; and the
//! master's own key, with which it calls slaves that have one.

use crate::coordinator::MarkSeal;
use clusterrunner_common::api::MasterIdentity;
use clusterrunner_common::auth::joining::Meeting;
use clusterrunner_common::auth::keys::{KeyRefusal, Keys, OwnKey, Verifier};
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::auth::signature::{Signed, Signer};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{PublicKey, SessionId, SlaveId, TokenId};
use clusterrunner_common::text::slave_address;
use clusterrunner_core::Cluster;
use clusterrunner_core::event::{Event, Fact, SlaveFact};
use clusterrunner_core::slaves::key_facts::Joining;
use clusterrunner_core::slaves::keys::KeyRefused;
use clusterrunner_core::slaves::slave::Slave;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// How many hexadecimal digits the secret of a join token has.
const DIGITS: usize = 40;

/// Told of facts after the flush, as all that reads. Clones share it.
#[derive(Clone)]
pub(crate) struct SlaveKeys(Arc<Shared>);

struct Shared {
    secret: Secret,
    own: OwnKey,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    /// None where a key is of no use or was revoked.
    keys: HashMap<PublicKey, Option<Verifier>>,
    tokens: HashMap<TokenId, (Secret, Option<Timestamp>)>,
    /// What registrations that count were made with.
    registered: HashMap<SlaveId, Registered>,
    /// The lives of slaves that have a key, and so know the master's.
    keyed: HashSet<SessionId>,
}

/// What gate and handlers must know of a registration.
struct Registered {
    key: Option<PublicKey>,
    session: SessionId,
    /// Where it polls for its calls.
    polls: Option<String>,
}

impl fmt::Debug for SlaveKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlaveKeys({:?})", self.0.own)
    }
}

/// The secret of the join token that a farm with this secret makes of a seed.
#[must_use]
fn token_secret(secret: &Secret, seed: &str) -> Option<Secret> {
    let mac = <Hmac<Sha256>>::new_from_slice(secret.as_bytes()).ok()?;
    let digest = mac.chain_update(b"join token").chain_update(seed);
    let mut text = hex::encode(digest.finalize().into_bytes());
    text.truncate(DIGITS);
    Secret::new(text).ok()
}

impl SlaveKeys {
    /// Of a farm with this secret, whose master has this key.
    #[must_use]
    pub(crate) fn new(secret: Secret, own: OwnKey) -> Self {
        Self(Arc::new(Shared {
            secret,
            own,
            known: RwLock::default(),
        }))
    }

    /// What tells this farm from others: the beginning of its master's key.
    pub(crate) fn farm(&self) -> String {
        let mut farm = self.0.own.public().fingerprint();
        farm.truncate(8);
        farm
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        // Nothing panics while it writes.
        let known = self.0.known.read();
        known.unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes facts in, and what the cluster has become.
    pub(crate) fn take_in(&self, cluster: &Cluster, events: &[Event]) {
        // A master that starts may have had some before.
        let begins = |event: &Event| matches!(event.fact, Fact::Farm(_));
        let begins = events.iter().any(begins);
        let is_key = |event: &Event| matches!(event.fact, Fact::SlaveKey(_));
        let registered = |event: &Event| match event.fact {
            Fact::Slave(
                slave,
                SlaveFact::Connected { .. } | SlaveFact::Lost { .. } | SlaveFact::Forgotten,
            ) => Some(slave),
            _ => None,
        };
        let keys = begins || events.iter().any(is_key);
        let registered: Vec<SlaveId> = events.iter().filter_map(registered).collect();
        if !keys && !begins && registered.is_empty() {
            return;
        }
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        if keys {
            known.take_keys(cluster, &self.0.secret);
        }
        if begins {
            known.take_registrations(cluster);
        } else {
            for slave in registered {
                known.take_registration(cluster, slave);
            }
        }
    }

    /// See [`Cluster::check_sender`]. A registration that does not count is the same to all.
    pub(crate) fn check_sender(
        &self,
        slave: SlaveId,
        key: Option<PublicKey>,
    ) -> Result<(), KeyRefused> {
        match self.known().registered.get(&slave) {
            Some(registered) if registered.key != key => Err(KeyRefused::OtherSlaves(slave)),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a registration that counts was made with this key.
    pub(crate) fn is_of(&self, slave: SlaveId, key: PublicKey) -> bool {
        let known = self.known();
        let registered = known.registered.get(&slave);
        registered.is_some_and(|registered| registered.key == Some(key))
    }

    /// The address of a slave that polls for its calls.
    pub(crate) fn polling(&self, slave: SlaveId) -> Option<(SessionId, String)> {
        let known = self.known();
        let registered = known.registered.get(&slave)?;
        let address = registered.polls.clone()?;
        Some((registered.session.clone(), address))
    }

    /// The master's own key.
    pub(crate) fn own_key(&self) -> PublicKey {
        self.0.own.public()
    }

    /// What marks of this master are made with.
    pub(crate) fn mark_seal(&self) -> MarkSeal {
        MarkSeal::new(self.0.own.derived("marks of the journal"))
    }

    /// What the master shows of itself to a slave that joins or connects.
    pub(crate) fn answer(&self, meeting: &Meeting<'_>, joins: Option<Joining>) -> MasterIdentity {
        let with = joins.and_then(|joins| match joins {
            Joining::Secret => Some(self.0.secret.clone()),
            Joining::Token(token) => Some(self.known().tokens.get(&token)?.0.clone()),
        });
        meeting.answer(&self.0.own, with.as_ref())
    }

    /// The text of a join token, to be shown once.
    pub(crate) fn token_text(&self, token: TokenId, seed: &str) -> Option<String> {
        let secret = token_secret(&self.0.secret, seed)?;
        let secret = String::from_utf8_lossy(secret.as_bytes()).into_owned();
        Some(format!("{token}-{secret}"))
    }
}

impl Known {
    fn take_keys(&mut self, cluster: &Cluster, secret: &Secret) {
        let now = cluster.slave_keys();
        self.keys.retain(|key, _| now.key(key).is_some());
        for (key, joined) in now.keys() {
            let is_good = joined.revoked.is_none();
            let verifier = self.keys.entry(*key);
            let verifier = verifier.or_insert_with(|| Verifier::of(key));
            if !is_good {
                *verifier = None;
            } else if verifier.is_none() {
                *verifier = Verifier::of(key);
            }
        }
        let tokens = now.tokens().filter_map(|(id, token)| {
            let secret = token_secret(secret, &token.said.seed)?;
            Some((id, (secret, token.said.expires)))
        });
        self.tokens = tokens.collect();
    }

    fn take_registrations(&mut self, cluster: &Cluster) {
        self.registered.clear();
        self.keyed.clear();
        for slave in cluster.called_slaves() {
            self.register(slave);
        }
    }

    /// One slave has come or gone. A farm of thousands is not counted anew for that.
    fn take_registration(&mut self, cluster: &Cluster, slave: SlaveId) {
        if let Some(gone) = self.registered.remove(&slave) {
            // The life may be registered anew, and is named by that registration then.
            let mut others = self.registered.values();
            if !others.any(|other| other.session == gone.session) {
                self.keyed.remove(&gone.session);
            }
        }
        if let Some(slave) = cluster.slave(slave).filter(|slave| slave.is_called()) {
            self.register(slave);
        }
    }

    fn register(&mut self, slave: &Slave) {
        if slave.key.is_some() {
            self.keyed.insert(slave.session.clone());
        }
        let polls = slave_address::polls(&slave.url);
        let registered = Registered {
            key: slave.key,
            session: slave.session.clone(),
            polls: polls.then(|| slave.url.clone()),
        };
        self.registered.insert(slave.id, registered);
    }
}

impl Keys for SlaveKeys {
    fn key(&self, key: &PublicKey) -> Result<Verifier, KeyRefusal> {
        match self.known().keys.get(key) {
            Some(Some(verifier)) => Ok(verifier.clone()),
            Some(None) => Err(KeyRefusal::RevokedKey),
            None => Err(KeyRefusal::UnknownKey(self.own_key())),
        }
    }

    fn join_token(&self, token: TokenId, now: Timestamp) -> Result<Secret, KeyRefusal> {
        match self.known().tokens.get(&token) {
            None => Err(KeyRefusal::UnknownToken(self.own_key())),
            Some((_, Some(expires))) if *expires <= now => Err(KeyRefusal::ExpiredToken),
            Some((secret, _)) => Ok(secret.clone()),
        }
    }
}

/// The master signs with its key for slaves that know it.
impl Signer for SlaveKeys {
    fn sign(&self, signed: &Signed<'_>, time: Timestamp, nonce: [u8; 16]) -> Option<String> {
        let life = SessionId(signed.receiver.to_owned());
        let is_keyed = self.known().keyed.contains(&life);
        is_keyed.then(|| signed.sign_with_key(&self.0.own, time, nonce))
    }
}
