//! What a slave and its master sign to each other when the slave joins, so that each holds the key of the other and
//! nobody stands between them. Pure.

use crate::api::{MasterIdentity, SlaveIdentity};
use crate::auth::keys::{OwnKey, Verifier};
use crate::auth::secret::Secret;
use crate::ids::{PublicKey, SessionId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha512;

impl SlaveIdentity {
    /// The identity of the slave with this key, at this address and in this life, that has joined no master yet.
    #[must_use]
    pub fn new(key: &OwnKey, address: &str, session: &SessionId, challenge: [u8; 16]) -> Self {
        Self::joined(key, (address, session), challenge, None)
    }

    /// The same of one that has joined the master with this key, if any.
    #[must_use]
    pub fn joined(
        key: &OwnKey,
        (address, session): (&str, &SessionId),
        challenge: [u8; 16],
        master: Option<PublicKey>,
    ) -> Self {
        let public = key.public();
        Self {
            key: public,
            proof: key.sign(&own_lines(&public, address, session, master.as_ref())),
            challenge: hex::encode(challenge),
            master,
        }
    }

    /// Whether the slave at this address and in this life has the key.
    #[must_use]
    pub fn is_proved(&self, address: &str, session: &SessionId) -> bool {
        let lines = own_lines(&self.key, address, session, self.master.as_ref());
        Verifier::of(&self.key).is_some_and(|key| key.has_signed_text(&lines, &self.proof))
    }
}

/// What the life of a slave with this key is called: `random`, which is new with each start, and the key. The master
/// signs orders for the life that a slave names, so nobody may name one of another slave.
#[must_use]
pub fn life_with_key(random: &SessionId, key: &PublicKey) -> SessionId {
    SessionId(format!("{random}-{key}"))
}

/// Whether a life is called as one of a slave with this key.
#[must_use]
pub fn is_life_with_key(life: &SessionId, key: &PublicKey) -> bool {
    life.0.ends_with(&format!("-{key}"))
}

/// What a slave signs of itself.
fn own_lines(
    key: &PublicKey,
    address: &str,
    session: &SessionId,
    master: Option<&PublicKey>,
) -> Vec<u8> {
    let of = master.map_or_else(String::new, |master| format!("\nof {master}"));
    format!("clusterrunner slave v1\n{key}\n{address}\n{session}{of}").into_bytes()
}

/// What a master answers to, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Meeting<'a> {
    /// What the slave has shown.
    pub challenge: &'a str,
    /// Its key.
    pub slave: &'a PublicKey,
    /// The id that it gets.
    pub slave_id: &'a str,
    /// The life of the master.
    pub master_session: &'a str,
}

impl Meeting<'_> {
    fn lines(&self, master: &PublicKey) -> Vec<u8> {
        let Self {
            challenge,
            slave,
            slave_id,
            master_session,
        } = self;
        format!(
            "clusterrunner master v1\n{master}\n{slave}\n{slave_id}\n{master_session}\n{challenge}"
        )
        .into_bytes()
    }

    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    fn joined(&self, master: &PublicKey, with: &Secret) -> Hmac<Sha512> {
        let mac = <Hmac<Sha512>>::new_from_slice(with.as_bytes());
        let mac = mac.expect("HMAC takes a key of any length");
        mac.chain_update(b"clusterrunner joined v1\n")
            .chain_update(self.lines(master))
    }

    /// What the master with this key answers; `with`: what the slave joined with, if it did.
    #[must_use]
    pub fn answer(&self, key: &OwnKey, with: Option<&Secret>) -> MasterIdentity {
        let public = key.public();
        MasterIdentity {
            key: public,
            proof: key.sign(&self.lines(&public)),
            joined: with
                .map(|with| hex::encode(self.joined(&public, with).finalize().into_bytes())),
        }
    }

    /// Whether this answer is to this meeting, by the holder of the key that it names. It may be anybody's key.
    #[must_use]
    pub fn is_answered(&self, answer: &MasterIdentity) -> bool {
        let lines = self.lines(&answer.key);
        Verifier::of(&answer.key).is_some_and(|key| key.has_signed_text(&lines, &answer.proof))
    }

    /// Whether it also is by somebody who knows what the slave joined with; in constant time.
    #[must_use]
    pub fn is_answered_by_farm(&self, answer: &MasterIdentity, with: &Secret) -> bool {
        let joined = answer.joined.as_deref().unwrap_or_default();
        let joined = hex::decode(joined).unwrap_or_default();
        let expected = self.joined(&answer.key, with).verify_slice(&joined);
        expected.is_ok() && self.is_answered(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::signature::is_session;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned()).unwrap()
    }

    #[test]
    fn a_slave_shows_that_it_has_its_key_there_and_then() {
        let (key, life) = (OwnKey::from_random([1; 32]), SessionId("life".to_owned()));
        let identity = SlaveIdentity::new(&key, "a:1", &life, [7; 16]);
        assert!(identity.is_proved("a:1", &life));
        assert!(!identity.is_proved("a:2", &life));
        assert!(!identity.is_proved("a:1", &SessionId("other".to_owned())));
        let stolen = SlaveIdentity {
            key: OwnKey::from_random([2; 32]).public(),
            ..identity
        };
        assert!(!stolen.is_proved("a:1", &life));
    }

    #[test]
    fn a_slave_shows_whose_it_is_and_nobody_changes_that() {
        let (key, life) = (OwnKey::from_random([1; 32]), SessionId("life".to_owned()));
        let master = |number| Some(OwnKey::from_random([number; 32]).public());
        let identity = SlaveIdentity::joined(&key, ("a:1", &life), [7; 16], master(2));
        assert!(identity.is_proved("a:1", &life));
        for master in [master(3), None] {
            let changed = SlaveIdentity {
                master,
                ..identity.clone()
            };
            assert!(!changed.is_proved("a:1", &life));
        }
    }

    #[test]
    fn a_slaves_life_is_called_by_its_key_and_not_anothers() {
        let key = |number| OwnKey::from_random([number; 32]).public();
        let random = SessionId::from_random([3; 16]);
        let life = life_with_key(&random, &key(1));
        assert!(is_session(&life.0));
        assert!(is_life_with_key(&life, &key(1)));
        assert!(!is_life_with_key(&life, &key(2)));
        assert!(!is_life_with_key(&random, &key(1)));
    }

    #[test]
    fn only_the_farms_master_answers_one_that_joins() {
        let (slave, master) = (OwnKey::from_random([1; 32]), OwnKey::from_random([2; 32]));
        let farm = secret("a secret of a farm");
        let meeting = Meeting {
            challenge: "c",
            slave: &slave.public(),
            slave_id: "3",
            master_session: "life",
        };
        let answer = meeting.answer(&master, Some(&farm));
        assert!(meeting.is_answered_by_farm(&answer, &farm));
        assert!(!meeting.is_answered_by_farm(&answer, &secret("another secret of a farm")));
        let later = Meeting {
            challenge: "d",
            ..meeting
        };
        assert!(!later.is_answered(&answer) && !later.is_answered_by_farm(&answer, &farm));
        let without = meeting.answer(&master, None);
        assert!(meeting.is_answered(&without) && !meeting.is_answered_by_farm(&without, &farm));
        // A stranger who passes on what the master said, with a key of its own.
        let rogue = MasterIdentity {
            joined: answer.joined.clone(),
            ..meeting.answer(&OwnKey::from_random([3; 32]), None)
        };
        assert!(meeting.is_answered(&rogue) && !meeting.is_answered_by_farm(&rogue, &farm));
    }
}
