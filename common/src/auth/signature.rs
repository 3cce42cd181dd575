//! Signing bytes and checking signatures: the two schemes of this farm, without I/O.
//!
//! * The *body digest*, the documented API of the original: lower-case hex HMAC-SHA512 of the raw
//!   body under the shared secret. It binds nothing but the body, so it opens two routes only.
//! * The *bound signature*, ours: binds method, path, time, a nonce, the receiver's session and the body, and is
//!   good once, there, for a while. It is made with the secret, with a join token, or with a key of one's own.

mod digest;
mod seen;
#[cfg(test)]
mod tests;

pub use digest::{
    BODY_DIGEST_HEADER, CONTENT_DIGEST_HEADER, body_digest, content_digest, content_digest_of,
};
pub(crate) use digest::{body_digest_matches, is_body_digest};
pub(crate) use seen::SeenSignatures;

use crate::auth::keys::{JoinToken, KeyRefusal, Keys, OwnKey};
use crate::auth::secret::Secret;
use crate::clock::Timestamp;
use crate::ids::{PublicKey, TokenId};
use digest::{is_lower_hex, keyed};
use hmac::{Hmac, Mac as _};
use sha2::Sha512;

/// Header of the bound signature: `v3;t=<unix ms>;n=<32 hex digits>;s=<receiver's session>;d=<hex>`, with
/// `k=<public key>` or `j=<number of a join token>` before the `d` where it is not made with the secret.
pub const SIGNATURE_HEADER: &str = "clusterrunner-signature";
/// What a bound signature covers besides time and nonce.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Upper-case HTTP method.
    pub method: &'a str,
    /// Path and query exactly as on the request line.
    pub path_and_query: &'a str,
    /// The session of the daemon that the request is for, which each of its answers names in `Session-Id`. It is
    /// new with each start, so that what was signed for another daemon, or another life of it, is of no use.
    pub receiver: &'a str,
    /// [`content_digest`] of the body.
    pub content_digest: &'a str,
}

/// With what a caller signs.
pub trait Signer: std::fmt::Debug + Send + Sync {
    /// The value of [`SIGNATURE_HEADER`] for a request; none where the signer has nothing to sign with now. `nonce` must
    /// never be used again.
    fn sign(&self, signed: &Signed<'_>, time: Timestamp, nonce: [u8; 16]) -> Option<String>;
}

impl Signed<'_> {
    /// What is signed.
    fn lines(&self, time: Timestamp, nonce: &str) -> Vec<u8> {
        format!(
            "v3\n{}\n{}\n{}\n{nonce}\n{}\n{}",
            self.method, self.path_and_query, time.0, self.receiver, self.content_digest
        )
        .into_bytes()
    }

    fn mac(&self, secret: &Secret, time: Timestamp, nonce: &str) -> Hmac<Sha512> {
        let mut mac = keyed(secret);
        mac.update(&self.lines(time, nonce));
        mac
    }

    /// As [`Signed::sign`], with a key of one's own.
    #[must_use]
    pub fn sign_with_key(&self, key: &OwnKey, time: Timestamp, nonce: [u8; 16]) -> String {
        let nonce = hex::encode(nonce);
        let digest = key.sign(&self.lines(time, &nonce));
        let (receiver, key) = (self.receiver, key.public());
        format!("v3;t={};n={nonce};s={receiver};k={key};d={digest}", time.0)
    }

    /// As [`Signed::sign`], under a join token.
    #[must_use]
    pub fn sign_with_token(&self, token: &JoinToken, time: Timestamp, nonce: [u8; 16]) -> String {
        let nonce = hex::encode(nonce);
        let mac = self.mac(&token.secret, time, &nonce);
        let digest = hex::encode(mac.finalize().into_bytes());
        let (receiver, id) = (self.receiver, token.id);
        format!("v3;t={};n={nonce};s={receiver};j={id};d={digest}", time.0)
    }

    /// The value of [`SIGNATURE_HEADER`] for this request. `nonce` must never be used again.
    #[must_use]
    pub fn sign(&self, secret: &Secret, time: Timestamp, nonce: [u8; 16]) -> String {
        let nonce = hex::encode(nonce);
        let digest = hex::encode(self.mac(secret, time, &nonce).finalize().into_bytes());
        let receiver = self.receiver;
        format!("v3;t={};n={nonce};s={receiver};d={digest}", time.0)
    }
}

/// Why a request was not taken for one of ours. The text goes to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Neither header was there, or the route does not take the one that was.
    #[error(
        "this request must be signed: header ClusterRunner-Signature is missing (see docs/security.md)"
    )]
    Missing,
    /// The documented scheme's digest does not fit; the original's words.
    #[error("Message digest does not match header, message not authenticated.")]
    WrongBodyDigest,
    /// The header is not of the form `v3;t=...;n=...;s=...;d=...`.
    #[error(
        "ClusterRunner-Signature is malformed: expected v3;t=<unix ms>;n=<32 hex digits>;s=<session>;d=<128 hex \
         digits>, with k=<public key> or j=<join token> before the d where it is made with one (see docs/security.md)"
    )]
    Malformed,
    /// It was made for another daemon, or for an earlier life of this one.
    #[error(
        "ClusterRunner-Signature is for another session: sign for the one that the header Session-Id of this \
         answer names"
    )]
    OtherSession,
    /// The digest belongs to another request or another secret.
    #[error(
        "ClusterRunner-Signature does not match this request: wrong secret, or made for another one"
    )]
    Wrong,
    /// The body is not the one whose digest was signed.
    #[error("the body does not match its signed digest")]
    WrongBody,
    /// Signed too long ago.
    #[error("ClusterRunner-Signature is too old: sign each request anew, and check both clocks")]
    TooOld,
    /// Signed in the future.
    #[error("ClusterRunner-Signature lies in the future: check both clocks")]
    TooNew,
    /// This very signature was used before.
    #[error("ClusterRunner-Signature was used before: sign each request anew")]
    Replayed,
    /// The key or the join token that it names opens nothing.
    #[error(transparent)]
    Key(#[from] KeyRefusal),
}

/// The longest session that a signature names.
const LONGEST_SESSION: usize = 128;

/// Whether a signature can name this session: printable ASCII without the sign that ends it there.
#[must_use]
pub fn is_session(text: &str) -> bool {
    (1..=LONGEST_SESSION).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b';')
}

/// With what a bound signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedBy {
    /// The secret of the farm.
    Secret,
    /// The key of a daemon.
    Key(PublicKey),
    /// A token with which slaves join.
    JoinToken(TokenId),
}

/// A bound signature as it came with a request; nothing about it is known to be true yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedSignature {
    time: Timestamp,
    nonce: String,
    receiver: String,
    by: SignedBy,
    digest: Vec<u8>,
}

impl ClaimedSignature {
    /// Reads a header value.
    ///
    /// # Errors
    /// [`SignatureError::Malformed`].
    pub fn parse(header: &str) -> Result<Self, SignatureError> {
        let mut parts = header.split(';');
        let (Some("v3"), Some(time), Some(nonce), Some(receiver), Some(last), after, None) = (
            parts.next(),
            parts.next().and_then(|p| p.strip_prefix("t=")),
            parts.next().and_then(|p| p.strip_prefix("n=")),
            parts.next().and_then(|p| p.strip_prefix("s=")),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(SignatureError::Malformed);
        };
        let (by, digest) = match after {
            None => (SignedBy::Secret, last),
            Some(digest) => (read_signer(last)?, digest),
        };
        let digest = digest.strip_prefix("d=").ok_or(SignatureError::Malformed)?;
        let is_digest = is_body_digest(digest);
        if nonce.len() != 32 || !is_lower_hex(nonce) || !is_session(receiver) || !is_digest {
            return Err(SignatureError::Malformed);
        }
        Ok(Self {
            time: Timestamp(number(time)?),
            nonce: nonce.to_owned(),
            receiver: receiver.to_owned(),
            by,
            digest: hex::decode(digest).map_err(|_| SignatureError::Malformed)?,
        })
    }

    /// The nonce, of which there is one spelling for each number.
    #[expect(
        clippy::expect_used,
        reason = "the nonce was parsed: it is 32 hex digits"
    )]
    fn nonce_number(&self) -> u128 {
        u128::from_str_radix(&self.nonce, 16).expect("32 hex digits: it was parsed")
    }

    /// With what it says it is made.
    #[must_use]
    pub fn by(&self) -> SignedBy {
        self.by
    }

    /// The session that it says it is for.
    #[must_use]
    pub fn receiver(&self) -> &str {
        &self.receiver
    }

    /// Whether it says that it is for the daemon with this session.
    ///
    /// # Errors
    /// [`SignatureError::OtherSession`].
    pub(crate) fn check_receiver(&self, session: &str) -> Result<(), SignatureError> {
        if self.receiver != session {
            return Err(SignatureError::OtherSession);
        }
        Ok(())
    }

    /// Whether the holder of `secret` signed exactly this, or the holder of one of the `keys` or of their join tokens; in
    /// constant time.
    ///
    /// # Errors
    /// [`SignatureError::OtherSession`], [`SignatureError::Wrong`] or [`SignatureError::Key`].
    pub(crate) fn verify_with(
        &self,
        secret: &Secret,
        keys: Option<&dyn Keys>,
        signed: Signed<'_>,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        match (self.by, keys) {
            (SignedBy::Secret, _) => self.verify(secret, signed),
            (_, None) => Err(SignatureError::Wrong),
            (SignedBy::Key(key), Some(keys)) => {
                self.check_receiver(signed.receiver)?;
                let lines = signed.lines(self.time, &self.nonce);
                match keys.key(&key)?.has_signed(&lines, &self.digest) {
                    true => Ok(()),
                    false => Err(SignatureError::Wrong),
                }
            }
            (SignedBy::JoinToken(token), Some(keys)) => {
                self.verify_mac(&keys.join_token(token, now)?, signed)
            }
        }
    }

    /// Whether the holder of `secret` signed exactly this; in constant time.
    ///
    /// # Errors
    /// [`SignatureError::OtherSession`] or [`SignatureError::Wrong`].
    pub fn verify(&self, secret: &Secret, signed: Signed<'_>) -> Result<(), SignatureError> {
        match self.by {
            SignedBy::Secret => self.verify_mac(secret, signed),
            SignedBy::Key(_) | SignedBy::JoinToken(_) => Err(SignatureError::Wrong),
        }
    }

    fn verify_mac(&self, secret: &Secret, signed: Signed<'_>) -> Result<(), SignatureError> {
        self.check_receiver(signed.receiver)?;
        signed
            .mac(secret, self.time, &self.nonce)
            .verify_slice(&self.digest)
            .map_err(|_| SignatureError::Wrong)
    }
}

/// With what a signature is made that is not made with the secret.
fn read_signer(part: &str) -> Result<SignedBy, SignatureError> {
    if let Some(key) = part.strip_prefix("k=") {
        let key = key.parse().map_err(|_| SignatureError::Malformed)?;
        return Ok(SignedBy::Key(key));
    }
    let token = part.strip_prefix("j=").ok_or(SignatureError::Malformed)?;
    Ok(SignedBy::JoinToken(TokenId(number(token)?)))
}

/// One number has one spelling, so one signature has one text.
fn number(text: &str) -> Result<u64, SignatureError> {
    let parsed: u64 = text.parse().map_err(|_| SignatureError::Malformed)?;
    match parsed.to_string() == text {
        true => Ok(parsed),
        false => Err(SignatureError::Malformed),
    }
}
