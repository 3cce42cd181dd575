//! The bound signature: what it is good for, and its texts.

use super::*;
use crate::auth::keys::Verifier;

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

/// Knows one key and one token.
#[derive(Debug)]
struct Known(OwnKey, JoinToken);

impl Keys for Known {
    fn key(&self, key: &PublicKey) -> Result<Verifier, KeyRefusal> {
        let known = *key == self.0.public();
        known
            .then(|| Verifier::of(key))
            .flatten()
            .ok_or(KeyRefusal::UnknownKey(self.0.public()))
    }

    fn join_token(&self, token: TokenId, now: Timestamp) -> Result<Secret, KeyRefusal> {
        match (token == self.1.id, now <= NOW) {
            (false, _) => Err(KeyRefusal::UnknownToken(self.0.public())),
            (true, false) => Err(KeyRefusal::ExpiredToken),
            (true, true) => Ok(self.1.secret.clone()),
        }
    }
}

fn token(number: u64) -> JoinToken {
    let text = format!("{number}-{}", "0123456789abcdef0123".repeat(2));
    text.parse().unwrap()
}

#[test]
fn a_key_and_a_join_token_sign_the_same_lines() {
    let (key, token_7) = (OwnKey::from_random([1; 32]), token(7));
    let digest = content_digest(b"{}");
    let by_key = request(&digest).sign_with_key(&key, NOW, [1; 16]);
    let by_token = request(&digest).sign_with_token(&token_7, NOW, [1; 16]);
    let known = Known(key.clone(), token_7);
    let later = Timestamp(NOW.0 + 1);
    let other = OwnKey::from_random([2; 32]);
    let by_stranger = request(&digest).sign_with_key(&other, NOW, [1; 16]);
    let by_other_token = request(&digest).sign_with_token(&token(8), NOW, [1; 16]);
    let pretended = by_stranger.replace(&other.public().to_string(), &key.public().to_string());
    let (unknown, wrong) = (
        Err(SignatureError::Key(KeyRefusal::UnknownKey(key.public()))),
        Err(SignatureError::Wrong),
    );
    let no_token = Err(SignatureError::Key(KeyRefusal::UnknownToken(key.public())));
    let expired = Err(SignatureError::Key(KeyRefusal::ExpiredToken));
    for (header, now, expected) in [
        (&by_key, NOW, Ok(())),
        (&by_key, later, Ok(())),
        (&by_token, NOW, Ok(())),
        (&by_token, later, expired),
        (&by_stranger, NOW, unknown),
        (&pretended, NOW, wrong),
        (&by_other_token, NOW, no_token),
    ] {
        let claimed = ClaimedSignature::parse(header).unwrap();
        let verify = |keys| claimed.verify_with(&secret(), keys, request(&digest), now);
        assert_eq!(verify(Some(&known as &dyn Keys)), expected, "{header}");
        assert_eq!(verify(None), wrong, "a gate without keys");
        let of_secret = claimed.verify(&secret(), request(&digest));
        assert_eq!(of_secret, wrong, "it is not made with the secret");
        let other = content_digest(b"other");
        let of_other = claimed.verify_with(&secret(), Some(&known), request(&other), NOW);
        assert!(of_other.is_err(), "{header}");
    }
}

#[test]
fn the_texts_of_all_three_forms_stay_as_they_are() {
    let (key, digest) = (OwnKey::from_random([1; 32]), content_digest(b"{}"));
    let request = request(&digest);
    let begin = format!("v3;t={};n={};s=this-life;", NOW.0, "07".repeat(16));
    let by_secret = request.sign(&secret(), NOW, [7; 16]);
    assert!(by_secret.starts_with(&format!("{begin}d=")), "{by_secret}");
    let by_token = request.sign_with_token(&token(7), NOW, [7; 16]);
    assert!(
        by_token.starts_with(&format!("{begin}j=7;d=")),
        "{by_token}"
    );
    let by_key = request.sign_with_key(&key, NOW, [7; 16]);
    // Ed25519 signs the same twice.
    let public = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
    assert!(
        by_key.starts_with(&format!("{begin}k={public};d=")),
        "{by_key}"
    );
    let (_, given) = by_key.rsplit_once("d=").unwrap();
    assert_eq!(given, GOLDEN);
    for bad in [
        by_key.replace("k=8", "k="),
        by_key.replace("k=8a", "k=8A"),
        by_key.replace(";k=", ";x="),
        by_key.replace(";d=", ";e="),
        by_token.replace("j=7", "j=07"),
        by_token.replace("j=7", "j="),
        format!("{by_key};"),
    ] {
        let parsed = ClaimedSignature::parse(&bad);
        assert_eq!(parsed, Err(SignatureError::Malformed), "{bad}");
    }
}

/// An Ed25519 signature, computed apart with Python's `cryptography` over the lines that docs/security.md names.
const GOLDEN: &str = "af28ae9b2f2a56c988ccfbaec9eb18bc60090b013868ac76f8b2115458582100e67dd624ca5f1a4aef45a027a29c0154d440fdadab83c9a4c7368186be8e2f09";
