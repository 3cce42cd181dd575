//! Tokens of users: whom one stands for, whatever the API that it came through.

use crate::coordinator::{ClusterHandle, Gone};
use crate::core::access::UserCaller;
use crate::core::accounts::users::TokenDigest;
use clusterrunner_common::clock::Timestamp;
use sha2::{Digest as _, Sha256};

/// The longest text that is looked up.
const LONGEST: usize = 256;

/// The digest by which a token is found.
#[must_use]
pub fn digest(token: &str) -> TokenDigest {
    TokenDigest(hex::encode(Sha256::digest(token)))
}

/// The user that a token stands for; none for a text that is no token of this farm.
///
/// # Errors
/// The master is going down.
pub async fn holder(
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
