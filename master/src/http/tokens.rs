//! Tokens of users: whom one stands for, whatever the API that it came through.

use crate::coordinator::{ClusterHandle, Gone};
use axum::http::Extensions;
use clusterrunner_common::auth::gate::{Tokens, UnknownToken};
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_core::access::UserCaller;
use clusterrunner_core::accounts::users::TokenDigest;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use std::pin::Pin;

/// How many hexadecimal digits a token has.
const DIGITS: usize = 40;

/// The longest text that is looked up.
const LONGEST: usize = 256;

/// The digest by which a token is found.
#[must_use]
pub(crate) fn digest(token: &str) -> TokenDigest {
    TokenDigest(hex::encode(Sha256::digest(token)))
}

/// A new token of 160 random bits, in lower-case hex.
#[must_use]
pub(crate) fn random() -> String {
    hex::encode(random_bytes::<20>())
}

/// The API token that a farm with this secret makes of a seed, in the form of [`random`].
#[must_use]
#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
pub(crate) fn of_seed(secret: &Secret, seed: &str) -> String {
    let key = <Hmac<Sha256>>::new_from_slice(secret.as_bytes());
    let key = key.expect("a key may have any length");
    let digest = key.chain_update(b"api token").chain_update(seed).finalize();
    let mut text = hex::encode(digest.into_bytes());
    text.truncate(DIGITS);
    text
}

/// The user that a token stands for; none for a text that is no token of this farm.
///
/// # Errors
/// The master is going down.
pub(crate) async fn holder(
    token: &str,
    cluster: &ClusterHandle,
    now: Timestamp,
) -> Result<Option<UserCaller>, Gone> {
    if token.len() > LONGEST {
        return Ok(None);
    }
    let digest = digest(token);
    let found = cluster.read(move |cluster| {
        let (user, role) = cluster.accounts().holder(&digest, now)?;
        Some(UserCaller {
            id: user.id,
            is_superuser: user.is_superuser,
            role,
        })
    });
    found.await
}

/// The tokens of a cluster's users, for a gate: a request that shows one names its [`UserCaller`] from then on.
#[derive(Clone, Debug)]
pub(crate) struct TokensOf(pub ClusterHandle);

impl Tokens for TokensOf {
    fn note_holder<'a>(
        &'a self,
        token: &'a str,
        extensions: &'a mut Extensions,
    ) -> Pin<Box<dyn Future<Output = Result<(), UnknownToken>> + Send + 'a>> {
        Box::pin(async move {
            let found = holder(token, &self.0, Timestamp::now()).await;
            let found = found.map_err(|gone| UnknownToken::Unavailable(gone.to_string()))?;
            extensions.insert(found.ok_or(UnknownToken::Nobodys)?);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_one_form_and_depend_on_secret_and_seed() {
        let secret = |text: &str| Secret::new(text.to_owned()).unwrap();
        let (one, other) = (secret("a secret for tests"), secret("another for tests"));
        let token = of_seed(&one, "seed");
        assert_eq!(token, of_seed(&one, "seed"));
        assert_ne!(token, of_seed(&one, "other seed"));
        assert_ne!(token, of_seed(&other, "seed"));
        for token in [token, random()] {
            let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            assert!(
                token.len() == DIGITS && token.bytes().all(is_digit),
                "{token}"
            );
            assert_eq!(digest(&token).0.len(), 64);
        }
    }
}
