//! What happens to keys of slaves, and to the tokens with which slaves join.

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{PublicKey, TokenId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a slave has joined with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Joining {
    /// The secret of the farm.
    Secret,
    /// A join token.
    Token(TokenId),
}

impl fmt::Display for Joining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret => f.write_str("the secret"),
            Self::Token(token) => write!(f, "join token {token}"),
        }
    }
}

/// What is said of a join token that is created.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewJoinToken {
    /// What it is for, for people.
    pub name: String,
    /// Random. The token is made of it and of the farm's secret, so that what is stored is no token.
    pub seed: String,
    /// From when on no slave joins with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// How many slaves may join with it; none for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_slaves: Option<u32>,
}

impl fmt::Debug for NewJoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewJoinToken({})", self.name)
    }
}

/// What happens to keys of slaves and to join tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyFact {
    /// A slave joined with a key of its own. Whatever key its address had before is gone.
    Joined {
        /// The key.
        key: PublicKey,
        /// `host:port` of the slave.
        address: String,
        /// What it proved beside the key.
        by: Joining,
    },
    /// The slave with this key is at another address now.
    Moved {
        /// The key.
        key: PublicKey,
        /// The new address.
        address: String,
    },
    /// A key opens nothing any more.
    Revoked {
        /// The key.
        key: PublicKey,
    },
    /// A key that was revoked is good again.
    Restored {
        /// The key.
        key: PublicKey,
    },
    /// Slaves can join with another token.
    TokenCreated {
        /// Its number, which no token of a user has.
        token: TokenId,
        /// What was said of it.
        new: NewJoinToken,
    },
    /// No slave joins with a token any more. Those that have stay.
    TokenRevoked {
        /// The token.
        token: TokenId,
    },
}

impl fmt::Display for KeyFact {
    /// Nothing secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { key, address, by } => write!(
                f,
                "key {} joined with {by}, for the slave at {address}",
                key.fingerprint()
            ),
            Self::Moved { key, address } => {
                write!(f, "key {} is now at {address}", key.fingerprint())
            }
            Self::Revoked { key } => write!(f, "key {} revoked", key.fingerprint()),
            Self::Restored { key } => write!(f, "key {} restored", key.fingerprint()),
            Self::TokenCreated { token, new } => {
                write!(f, "join token {token} created: {}", new.name)
            }
            Self::TokenRevoked { token } => write!(f, "join token {token} revoked"),
        }
    }
}
