//! Tokens: what stands for a user in requests. The tokens themselves are made outside of the core and stored nowhere.

use clusterrunner_common::clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The SHA-256 of a token, in lower-case hex. The token itself is nowhere stored.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenDigest(pub String);

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

/// The token that every log-in of a user answers. It is made of the farm's secret and of this seed, so that what is
/// stored is no token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Random; another one makes another token.
    pub seed: String,
    /// By which the token is found.
    pub digest: TokenDigest,
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(..)")
    }
}

/// What a token lets its user do; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See what the user sees.
    Read,
    /// Start builds, and change what the user may change; not delete.
    Submit,
    /// Everything that the user may do.
    Admin,
}

/// What is said of a named token that is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// What it is for, unique among the tokens of its user.
    pub name: String,
    /// What it lets its user do.
    pub role: Role,
    /// By which it is found.
    pub digest: TokenDigest,
    /// From when on it opens nothing.
    #[serde(default)]
    pub expires: Option<Timestamp>,
}

/// A named token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What was said of it.
    pub said: NewToken,
    /// When it was created.
    pub created: Timestamp,
}

impl Token {
    /// Whether it opens nothing any more.
    #[must_use]
    pub fn is_expired(&self, at: Timestamp) -> bool {
        self.said.expires.is_some_and(|expires| expires <= at)
    }
}
