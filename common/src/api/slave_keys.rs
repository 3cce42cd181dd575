//! Keys of slaves, and the tokens with which they join.

use crate::ids::{PublicKey, SlaveId, TokenId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A key with which a slave has joined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaveKeyView {
    /// The key.
    pub key: PublicKey,
    /// Its beginning, which lists show.
    pub fingerprint: String,
    /// `host:port` of its slave, or where that was last.
    pub address: String,
    /// When it joined, in seconds since 1970.
    pub joined: f64,
    /// The join token that it joined with; none where it was the secret.
    pub join_token: Option<TokenId>,
    /// Since when it opens nothing, in seconds since 1970, if it was revoked.
    pub revoked: Option<f64>,
    /// The living slave that has it, if there is one.
    pub slave_id: Option<SlaveId>,
}

/// `GET /v2/slave_keys`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaveKeysBody {
    /// All keys, by address.
    pub keys: Vec<SlaveKeyView>,
}

/// Answer to `POST /v2/slave_keys/KEY/revoke` and `/restore`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaveKeyBody {
    /// The key as it is now.
    pub key: SlaveKeyView,
}

/// A token with which slaves join. Its text is shown once, when it is created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinTokenView {
    /// The token's number, which no token of a user has.
    pub id: TokenId,
    /// What it is for.
    pub name: String,
    /// When it was created, in seconds since 1970.
    pub created: f64,
    /// When it ends, in seconds since 1970.
    pub expires: Option<f64>,
    /// Whether it has ended.
    pub is_expired: bool,
    /// Where slaves that join with it must be; none where they may be anywhere.
    #[serde(default)]
    pub address: Option<String>,
    /// How often slaves may join with it.
    #[serde(default)]
    pub uses: u32,
    /// How often they have.
    #[serde(default)]
    pub used: u32,
}

/// `GET /v2/join_tokens`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinTokensBody {
    /// All join tokens, by number.
    pub tokens: Vec<JoinTokenView>,
}

/// `POST /v2/join_tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateJoinToken {
    /// What it is for.
    pub name: String,
    /// In how many seconds it ends; without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
    /// `HOST` or `HOST:PORT` of slaves that may join with it, with `*` for any characters; without it, all may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// How often slaves may join with it; without it, 1,000 times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
}

/// Answer to `POST /v2/join_tokens`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct CreatedJoinToken {
    /// The token as it is listed.
    pub token: JoinTokenView,
    /// The token itself, which nothing shows again.
    pub text: String,
}

impl fmt::Debug for CreatedJoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CreatedJoinToken({})", self.token.id)
    }
}
