//! Signing bytes and checking signatures: the two schemes of this farm, without I/O.
//!
//! * The *body digest*, the documented API of the original: lower-case hex HMAC-SHA512 of the raw
//!   body under the shared secret. It binds nothing but the body, so it opens two routes only.
//! * The *bound signature*, ours: binds method, path, time, a nonce, the receiver's session and the body, and is
//!   good once, there, for a while.

use crate::auth::secret::Secret;
use crate::clock::Timestamp;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha512};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// Header of the body digest. Header names are compared without regard to case.
pub const BODY_DIGEST_HEADER: &str = "clusterrunner-message-authentication-digest";
/// Header of the bound signature: `v3;t=<unix ms>;n=<32 hex digits>;s=<receiver's session>;d=<hex>`.
pub const SIGNATURE_HEADER: &str = "clusterrunner-signature";
/// Header that states the SHA-512 of a body before the body is sent (lower-case hex), so that a
/// large upload can be refused before its first byte. The signature covers it.
pub const CONTENT_DIGEST_HEADER: &str = "clusterrunner-content-sha512";

fn keyed(secret: &Secret) -> Hmac<Sha512> {
    <Hmac<Sha512> as hmac::KeyInit>::new_from_slice(secret.as_bytes())
        .expect("HMAC takes a key of any length")
}

/// The body digest of `body`: 128 lower-case hex digits.
#[must_use]
pub fn body_digest(secret: &Secret, body: &[u8]) -> String {
    let mut mac = keyed(secret);
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// Whether `given` has the form of a body digest; upper-case hex is refused as in the original.
#[must_use]
pub(crate) fn is_body_digest(given: &str) -> bool {
    given.len() == DIGEST_DIGITS && is_lower_hex(given)
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether `given` is the body digest of `body`; in constant time.
#[must_use]
pub(crate) fn body_digest_matches(secret: &Secret, body: &[u8], given: &str) -> bool {
    if !is_body_digest(given) {
        return false;
    }
    let mut mac = keyed(secret);
    mac.update(body);
    hex::decode(given).is_ok_and(|digest| mac.verify_slice(&digest).is_ok())
}

/// Lower-case hex SHA-512 of a body, the form in which a bound signature covers it.
#[must_use]
pub fn content_digest(body: &[u8]) -> String {
    hex::encode(Sha512::digest(body))
}

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

impl Signed<'_> {
    fn mac(&self, secret: &Secret, time: Timestamp, nonce: &str) -> Hmac<Sha512> {
        let mut mac = keyed(secret);
        mac.update(
            format!(
                "v3\n{}\n{}\n{}\n{nonce}\n{}\n{}",
                self.method, self.path_and_query, time.0, self.receiver, self.content_digest
            )
            .as_bytes(),
        );
        mac
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
         digits> (see docs/security.md)"
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
}

/// The length of a SHA-512 in hexadecimal.
const DIGEST_DIGITS: usize = 128;

/// How many milliseconds a second has.
const SECOND_MS: u64 = 1000;

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

/// A bound signature as it came with a request; nothing about it is known to be true yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedSignature {
    time: Timestamp,
    nonce: String,
    receiver: String,
    digest: Vec<u8>,
}

impl ClaimedSignature {
    /// Reads a header value.
    ///
    /// # Errors
    /// [`SignatureError::Malformed`].
    pub fn parse(header: &str) -> Result<Self, SignatureError> {
        let mut parts = header.split(';');
        let (Some("v3"), Some(time), Some(nonce), Some(receiver), Some(digest), None) = (
            parts.next(),
            parts.next().and_then(|p| p.strip_prefix("t=")),
            parts.next().and_then(|p| p.strip_prefix("n=")),
            parts.next().and_then(|p| p.strip_prefix("s=")),
            parts.next().and_then(|p| p.strip_prefix("d=")),
            parts.next(),
        ) else {
            return Err(SignatureError::Malformed);
        };
        let is_digest = is_body_digest(digest);
        if nonce.len() != 32 || !is_lower_hex(nonce) || !is_session(receiver) || !is_digest {
            return Err(SignatureError::Malformed);
        }
        // One number has one spelling, so one signature has one text.
        let parsed: u64 = time.parse().map_err(|_| SignatureError::Malformed)?;
        if parsed.to_string() != time {
            return Err(SignatureError::Malformed);
        }
        Ok(Self {
            time: Timestamp(parsed),
            nonce: nonce.to_owned(),
            receiver: receiver.to_owned(),
            digest: hex::decode(digest).map_err(|_| SignatureError::Malformed)?,
        })
    }

    /// The nonce, of which there is one spelling for each number.
    fn nonce_number(&self) -> u128 {
        u128::from_str_radix(&self.nonce, 16).expect("32 hex digits: it was parsed")
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

    /// Whether the holder of `secret` signed exactly this; in constant time.
    ///
    /// # Errors
    /// [`SignatureError::OtherSession`] or [`SignatureError::Wrong`].
    pub fn verify(&self, secret: &Secret, signed: Signed<'_>) -> Result<(), SignatureError> {
        self.check_receiver(signed.receiver)?;
        signed
            .mac(secret, self.time, &self.nonce)
            .verify_slice(&self.digest)
            .map_err(|_| SignatureError::Wrong)
    }
}

/// Remembers the signatures of the last while, so that each is good once.
///
/// The memory does not survive a restart, and need not: a new life has a new session, and what was signed for the
/// old one is refused for that.
#[derive(Debug)]
pub(crate) struct SeenSignatures {
    max_age: Duration,
    /// The end of what was forgotten: a clock that is set back makes nothing of it good again.
    forgotten_to: Timestamp,
    /// Nonces as numbers: there may be a million and more of them.
    seen: HashSet<u128>,
    /// The same, by the second in which they were made.
    by_second: BTreeMap<u64, Vec<u128>>,
}

impl SeenSignatures {
    /// Nothing seen yet.
    #[must_use]
    pub(crate) fn new(max_age: Duration) -> Self {
        Self {
            max_age,
            forgotten_to: Timestamp(0),
            seen: HashSet::new(),
            by_second: BTreeMap::new(),
        }
    }

    /// Whether a signature may still be used, if it is one. Changes nothing that counts, so that strangers may
    /// ask.
    ///
    /// # Errors
    /// Too old, too new, or used before.
    pub(crate) fn check(
        &mut self,
        signature: &ClaimedSignature,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        self.forget_before(now);
        let time = signature.time;
        if time < self.forgotten_to || time.until(now) > self.max_age {
            return Err(SignatureError::TooOld);
        }
        if now.until(time) > self.max_age {
            return Err(SignatureError::TooNew);
        }
        if self.seen.contains(&signature.nonce_number()) {
            return Err(SignatureError::Replayed);
        }
        Ok(())
    }

    /// Uses a *verified* signature up. Call only after [`ClaimedSignature::verify`], so that
    /// strangers can not fill the memory.
    ///
    /// # Errors
    /// Too old, too new, or used before.
    pub(crate) fn use_up(
        &mut self,
        signature: &ClaimedSignature,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        self.check(signature, now)?;
        let nonce = signature.nonce_number();
        self.seen.insert(nonce);
        self.by_second
            .entry(signature.time.0 / SECOND_MS)
            .or_default()
            .push(nonce);
        Ok(())
    }

    /// What is so old that its age alone has it refused.
    fn forget_before(&mut self, now: Timestamp) {
        while let Some(oldest) = self.by_second.first_entry() {
            let last = Timestamp(*oldest.key() * SECOND_MS + SECOND_MS - 1);
            if last.until(now) <= self.max_age {
                break;
            }
            self.forgotten_to = self.forgotten_to.max(Timestamp(last.0 + 1));
            for nonce in oldest.remove() {
                self.seen.remove(&nonce);
            }
            // What a rush needed is given back after it.
            if self.seen.len() < self.seen.capacity() / 8 {
                self.seen.shrink_to(self.seen.len() * 2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);
    const MAX_AGE: Duration = Duration::from_secs(300);

    fn secret() -> Secret {
        Secret::new("peersecret0123456789abcdef".to_owned()).unwrap()
    }

    fn request(digest: &str) -> Signed<'_> {
        Signed {
            method: "POST",
            path_and_query: "/v1/slave/1/heartbeat",
            receiver: "this-life",
            content_digest: digest,
        }
    }

    fn signature_at(time: Timestamp, nonce: u8) -> ClaimedSignature {
        let digest = content_digest(b"{}");
        let header = request(&digest).sign(&secret(), time, [nonce; 16]);
        ClaimedSignature::parse(&header).unwrap()
    }

    #[test]
    fn body_digests_are_those_of_the_original() {
        for (secret, body, hex) in [
            (
                "testsecret",
                "{}",
                "d7525986257a8dcdde3940443dfba2f0ee8d581348eb7e8dd9e5e38dca802e9516fca7f0d10a08a3e0a6dfbb850b4c1d031465b19d5991db5b41c4e8d20c99d6",
            ),
            (
                "testsecret",
                "",
                "2a4aa3be854966255e44e594a0e651a42980739c3e66249eea9e0707d87b9d7efff7ead17cdcaade6c780a3b80daf3c59b3c0fff78e0889a8ac38335a4fc180d",
            ),
            (
                "pässwört-é",
                "{\"n\": \"ü\\u00fc\"}",
                "f20469e5bc3b4e7882fc74ef2e71674781bcd80f5223073228fae38e1415a46af5c78e4a1d43af849025b1b57766b34cd257270255a63ceb880c930c3375b610",
            ),
        ] {
            let secret = Secret::of_the_original(secret.to_owned()).unwrap();
            assert_eq!(body_digest(&secret, body.as_bytes()), hex);
            assert!(body_digest_matches(&secret, body.as_bytes(), hex));
            assert!(!body_digest_matches(
                &secret,
                body.as_bytes(),
                &hex.to_uppercase()
            ));
            assert!(!body_digest_matches(&secret, b"{ }", hex));
        }
    }

    #[test]
    fn a_signature_is_good_for_its_own_request_only() {
        let digest = content_digest(b"{}");
        let signature = signature_at(NOW, 1);
        assert_eq!(signature.verify(&secret(), request(&digest)), Ok(()));
        let other_body = content_digest(b"{ }");
        let others = [
            Signed {
                method: "PUT",
                ..request(&digest)
            },
            Signed {
                path_and_query: "/v1/slave/2/heartbeat",
                ..request(&digest)
            },
            request(&other_body),
        ];
        for other in others {
            assert_eq!(
                signature.verify(&secret(), other),
                Err(SignatureError::Wrong)
            );
        }
        let other_receiver = Signed {
            receiver: "another-life",
            ..request(&digest)
        };
        assert_eq!(
            signature.verify(&secret(), other_receiver),
            Err(SignatureError::OtherSession)
        );
        // Nor does it help to say that it was made for that one.
        let renamed = ClaimedSignature {
            receiver: "another-life".to_owned(),
            ..signature.clone()
        };
        assert_eq!(
            renamed.verify(&secret(), other_receiver),
            Err(SignatureError::Wrong)
        );
        let stranger = Secret::new("another secret of a farm".to_owned()).unwrap();
        assert_eq!(
            signature.verify(&stranger, request(&digest)),
            Err(SignatureError::Wrong)
        );
    }

    #[test]
    fn a_signature_is_good_once_and_for_a_while() {
        let mut seen = SeenSignatures::new(MAX_AGE);
        assert_eq!(seen.use_up(&signature_at(NOW, 1), NOW), Ok(()));
        assert_eq!(
            seen.use_up(&signature_at(NOW, 1), NOW),
            Err(SignatureError::Replayed)
        );
        let old = Timestamp(NOW.0 - 300_001);
        assert_eq!(
            seen.use_up(&signature_at(old, 2), NOW),
            Err(SignatureError::TooOld)
        );
        let new = Timestamp(NOW.0 + 300_001);
        assert_eq!(
            seen.use_up(&signature_at(new, 3), NOW),
            Err(SignatureError::TooNew)
        );
        let later = Timestamp(NOW.0 + 301_000);
        assert_eq!(seen.use_up(&signature_at(later, 4), later), Ok(()));
        assert_eq!(seen.seen.len(), 1, "what is too old anyway is forgotten");
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_signature_good_again() {
        let mut seen = SeenSignatures::new(MAX_AGE);
        let early = signature_at(NOW, 1);
        assert_eq!(seen.use_up(&early, NOW), Ok(()));
        let later = Timestamp(NOW.0 + 400_000);
        assert_eq!(seen.use_up(&signature_at(later, 2), later), Ok(()));
        assert_eq!(seen.use_up(&early, NOW), Err(SignatureError::TooOld));
        let again = Timestamp(NOW.0 + 1000);
        assert_eq!(seen.use_up(&signature_at(again, 3), again), Ok(()));
    }

    #[test]
    fn who_only_asks_uses_nothing_up() {
        let mut seen = SeenSignatures::new(MAX_AGE);
        let signature = signature_at(NOW, 1);
        assert_eq!(seen.check(&signature, NOW), Ok(()));
        assert_eq!(seen.use_up(&signature, NOW), Ok(()));
        assert_eq!(seen.check(&signature, NOW), Err(SignatureError::Replayed));
    }

    #[test]
    fn malformed_signatures_are_refused() {
        let good = request(&content_digest(b"")).sign(&secret(), NOW, [7; 16]);
        assert!(ClaimedSignature::parse(&good).is_ok());
        let (_, rest) = good.split_at(2);
        for bad in [
            String::new(),
            "v3".to_owned(),
            format!("v2{rest}"),
            format!("v4{rest}"),
            good.to_uppercase(),
            format!("{good};"),
            good.replace("t=1", "t=01"),
            good.replace("t=1", "t=+1"),
            good.replace("n=0", "n="),
            good.replace("s=this-life;", ""),
            good.replace("s=this-life", "s="),
            good.replace("s=this-life", "s=this life"),
            good.replace("this-life", &"x".repeat(129)),
            good[..good.len() - 1].to_owned(),
        ] {
            assert_eq!(
                ClaimedSignature::parse(&bad),
                Err(SignatureError::Malformed),
                "{bad}"
            );
        }
    }
}
