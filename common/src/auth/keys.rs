//! Keys that daemons have for themselves, and what a gate must know of those of others. No I/O: who has a key keeps it.

use crate::api::ErrorCode;
use crate::auth::secret::Secret;
use crate::clock::Timestamp;
use crate::ids::{PublicKey, TokenId};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha512;
use std::fmt;
use std::pin::Pin;
use std::str::FromStr;

/// A key of one's own. It never shows in `Debug`.
#[derive(Clone)]
pub struct OwnKey(SigningKey);

/// A text is no key. The message does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is 64 hexadecimal digits")]
pub struct NoKey;

impl OwnKey {
    /// The key of 32 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&bytes))
    }

    /// The key that [`OwnKey::to_text`] gave.
    ///
    /// # Errors
    /// It is no such text.
    pub fn from_text(text: &str) -> Result<Self, NoKey> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| NoKey)?;
        Ok(Self::from_random(bytes))
    }

    /// All of it, for the file that keeps it and nothing else.
    #[must_use]
    pub fn to_text(&self) -> String {
        hex::encode(self.0.to_bytes())
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The signature of some bytes: 128 hexadecimal digits.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> String {
        hex::encode(self.0.sign(bytes).to_bytes())
    }

    /// Another secret that only the holder of this key can make.
    ///
    /// # Panics
    /// Never: HMAC takes a key of any length, and its result is a secret.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "HMAC takes a key of any length, and 128 hexadecimal digits are no weak secret"
    )]
    pub fn derived(&self, purpose: &str) -> Secret {
        let mac = <Hmac<Sha512>>::new_from_slice(&self.0.to_bytes());
        let mac = mac.expect("HMAC takes a key of any length");
        let digest = mac.chain_update(purpose).finalize().into_bytes();
        Secret::new(hex::encode(digest)).expect("128 hexadecimal digits")
    }
}

impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnKey({})", self.public().fingerprint())
    }
}

/// The key of somebody else, ready to verify with: parsing it costs as much as a good part of a verification.
#[derive(Clone, Debug)]
pub struct Verifier(VerifyingKey);

impl Verifier {
    /// The key with this public half; none where that is no point of the curve, or one of a small group, with which
    /// strangers could sign.
    #[must_use]
    pub fn of(key: &PublicKey) -> Option<Self> {
        let key = VerifyingKey::from_bytes(&key.0).ok()?;
        (!key.is_weak()).then_some(Self(key))
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.to_bytes())
    }

    /// Whether the holder of the key has signed these bytes.
    #[must_use]
    pub fn has_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let signature = Signature::from_slice(signature);
        signature.is_ok_and(|signature| self.0.verify_strict(bytes, &signature).is_ok())
    }

    /// As [`Verifier::has_signed`], for a signature in hexadecimal digits.
    #[must_use]
    pub fn has_signed_text(&self, bytes: &[u8], signature: &str) -> bool {
        hex::decode(signature).is_ok_and(|signature| self.has_signed(bytes, &signature))
    }
}

/// A token with which slaves join: a number, by which the master finds it, and a secret. It never shows in `Debug`.
#[derive(Clone, Debug)]
pub struct JoinToken {
    /// Its number.
    pub id: TokenId,
    /// What only its holders and the master know.
    pub secret: Secret,
}

/// A text is no join token. The message does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a join token is a number, a hyphen and 40 hexadecimal digits, as `clusterrunner token create --role slave` prints it"
)]
pub struct NoJoinToken;

impl FromStr for JoinToken {
    type Err = NoJoinToken;

    fn from_str(text: &str) -> Result<Self, NoJoinToken> {
        let (id, secret) = text.trim().split_once('-').ok_or(NoJoinToken)?;
        let id = TokenId(id.parse().map_err(|_| NoJoinToken)?);
        let is_hex = secret.len() == 40 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
        let secret = is_hex
            .then(|| Secret::new(secret.to_owned()).ok())
            .flatten();
        secret.map(|secret| Self { id, secret }).ok_or(NoJoinToken)
    }
}

/// Why a signature by a key or under a join token does not pass. The text goes to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// Nobody has joined the daemon with the key that is named here with this one.
    #[error(
        "this master (its key is {}) does not know the slave's key: join with the secret or a join token (see docs/slaves.md, \
         Keys)",
        .0.fingerprint()
    )]
    UnknownKey(PublicKey),
    /// An operator has revoked it.
    #[error("this slave's key was revoked (see docs/slaves.md, Keys)")]
    RevokedKey,
    /// The token was never given by the daemon with this key, or was revoked.
    #[error(
        "the join token was revoked, or is not one of this master (its key is {}): `clusterrunner token create --role slave` \
         makes one",
        .0.fingerprint()
    )]
    UnknownToken(PublicKey),
    /// The token has ended.
    #[error("the join token has expired: `clusterrunner token create --role slave` makes another")]
    ExpiredToken,
    /// The key is not that of the master whose slave this is.
    #[error(
        "this slave takes orders from the master that it joined only, and the key is not that master's"
    )]
    OtherMaster,
    /// The slave is just connecting, and does not know its master's key yet; the same call succeeds later.
    #[error("this slave has not met its master yet; retry")]
    NotMet,
}

impl KeyRefusal {
    /// By which programs tell it apart.
    #[must_use]
    pub fn code(self) -> Option<ErrorCode> {
        match self {
            Self::UnknownKey(_) => Some(ErrorCode::UnknownSlaveKey),
            Self::RevokedKey => Some(ErrorCode::RevokedSlaveKey),
            Self::UnknownToken(_) | Self::ExpiredToken => Some(ErrorCode::InvalidJoinToken),
            Self::OtherMaster | Self::NotMet => None,
        }
    }
}

/// The keys and join tokens that a daemon knows, for its gate. Asked at each request that shows one.
pub trait Keys: fmt::Debug + Send + Sync {
    /// A key that may sign.
    ///
    /// # Errors
    /// Why it may not.
    fn key(&self, key: &PublicKey) -> Result<Verifier, KeyRefusal>;

    /// Where a daemon is about to learn its peer's key, waits for that, but not for long: the peer may call at once.
    fn settled(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> {
        None
    }

    /// What was signed under a join token is verified with.
    ///
    /// # Errors
    /// Why slaves can not join with it.
    fn join_token(&self, token: TokenId, now: Timestamp) -> Result<Secret, KeyRefusal>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_for_itself_alone_and_does_not_show() {
        let (one, other) = (OwnKey::from_random([1; 32]), OwnKey::from_random([2; 32]));
        let signature = one.sign(b"words");
        let of = |key: &OwnKey| Verifier::of(&key.public()).unwrap();
        assert!(of(&one).has_signed_text(b"words", &signature));
        assert!(!of(&one).has_signed_text(b"other words", &signature));
        assert!(!of(&other).has_signed_text(b"words", &signature));
        assert!(!of(&one).has_signed_text(b"words", "00"));
        let again = OwnKey::from_text(&format!("{}\n", one.to_text())).unwrap();
        assert_eq!(again.public(), one.public());
        assert!(!format!("{one:?}").contains(&one.to_text()));
        assert_ne!(one.derived("a").as_bytes(), one.derived("b").as_bytes());
        assert_ne!(one.derived("a").as_bytes(), other.derived("a").as_bytes());
    }

    #[test]
    fn a_key_with_which_everybody_can_sign_is_none() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert!(Verifier::of(&PublicKey(neutral)).is_none());
        assert!(Verifier::of(&PublicKey([0; 32])).is_none());
    }

    #[test]
    fn a_join_token_has_a_number_and_does_not_show() {
        let text = format!("7-{}", "0123456789abcdef0123".repeat(2));
        let token: JoinToken = text.parse().unwrap();
        assert_eq!(token.id, TokenId(7));
        assert!(!format!("{token:?}").contains("0123"));
        for wrong in [
            "",
            "7",
            "7-",
            "x-0123",
            "7-zz",
            &text[2..],
            &format!("{text}0"),
        ] {
            assert!(wrong.parse::<JoinToken>().is_err(), "{wrong}");
        }
    }
}
