//! What only this master can make of its marks, so that a slave that brings one back proves that there was such a moment:
//! a slave with a key speaks for itself, and must not end the work of others by a mark that it made up.

use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::work::MasterMark;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Seals marks. Made of the master's own key, so that marks of before a restart and of a journal that is gone count.
#[derive(Clone, Debug)]
pub(crate) struct MarkSeal(Secret);

impl MarkSeal {
    pub(crate) fn new(secret: Secret) -> Self {
        Self(secret)
    }

    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    fn mac(&self, mark: &MasterMark) -> Hmac<Sha256> {
        let mac = <Hmac<Sha256>>::new_from_slice(self.0.as_bytes());
        let mac = mac.expect("HMAC takes a key of any length");
        let MasterMark {
            incarnation,
            session_id,
            position,
            proof: _,
        } = mark;
        mac.chain_update(format!("mark\n{incarnation}\n{session_id}\n{position}"))
    }

    /// The mark with its proof.
    pub(super) fn seal(&self, mut mark: MasterMark) -> MasterMark {
        mark.proof = Some(hex::encode(self.mac(&mark).finalize().into_bytes()));
        mark
    }

    /// Whether this master made the mark; in constant time.
    pub(super) fn has_sealed(&self, mark: &MasterMark) -> bool {
        let proof = mark
            .proof
            .as_ref()
            .and_then(|proof| hex::decode(proof).ok());
        proof.is_some_and(|proof| self.mac(mark).verify_slice(&proof).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::{Incarnation, SessionId};

    fn mark(incarnation: &str, life: &str, position: u64) -> MasterMark {
        MasterMark {
            incarnation: Incarnation(incarnation.to_owned()),
            session_id: SessionId(life.to_owned()),
            position,
            proof: None,
        }
    }

    #[test]
    fn a_mark_is_believed_as_it_was_made_and_not_otherwise() {
        let seal = MarkSeal::new(Secret::new("of a master, and long enough".to_owned()).unwrap());
        let sealed = seal.seal(mark("i", "a", 7));
        assert!(seal.has_sealed(&sealed));
        for other in [mark("j", "a", 7), mark("i", "b", 7), mark("i", "a", 8)] {
            let proof = sealed.proof.clone();
            assert!(!seal.has_sealed(&MasterMark {
                proof,
                ..other.clone()
            }));
            assert!(!seal.has_sealed(&other));
        }
        let other = MarkSeal::new(Secret::new("of another, and as long".to_owned()).unwrap());
        assert!(!other.has_sealed(&sealed));
        for proof in ["", "00", "no hexadecimal digits"] {
            let proof = Some(proof.to_owned());
            assert!(!seal.has_sealed(&MasterMark {
                proof,
                ..sealed.clone()
            }));
        }
    }
}
