//! Signing bytes and checking signatures: the two schemes of this farm, without I/O.
//!
//! * The *body digest*, the documented API of the original: lower-case hex HMAC-SHA512 of the raw
//!   body under the shared secret. It binds nothing but the body, so it opens two routes only.
//! * The *bound signature*, ours: binds method, path, time, a nonce, the receiver's session and the body, and is
//!   good once, there, for a while.

mod digest;
mod seen;

pub use digest::{
    BODY_DIGEST_HEADER, CONTENT_DIGEST_HEADER, body_digest, content_digest, content_digest_of,
};
pub(crate) use digest::{body_digest_matches, is_body_digest};
pub(crate) use seen::SeenSignatures;

use crate::auth::secret::Secret;
use crate::clock::Timestamp;
use digest::{is_lower_hex, keyed};
use hmac::{Hmac, Mac as _};
use sha2::Sha512;

/// Header of the bound signature: `v3;t=<unix ms>;n=<32 hex digits>;s=<receiver's session>;d=<hex>`.
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
    #[expect(
        clippy::expect_used,
        reason = "the nonce was parsed: it is 32 hex digits"
    )]
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

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const NOW: Timestamp = Timestamp(1_000_000_000);
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

    pub(super) fn signature_at(time: Timestamp, nonce: u8) -> ClaimedSignature {
        let digest = content_digest(b"{}");
        let header = request(&digest).sign(&secret(), time, [nonce; 16]);
        ClaimedSignature::parse(&header).unwrap()
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
