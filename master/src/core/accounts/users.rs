//! Users, and the tokens that stand for them. Passwords are hashed and tokens made outside of the core.

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::UserId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What is said of a user that is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewUser {
    /// The name, unique on the farm.
    pub name: String,
    /// May be empty.
    #[serde(default)]
    pub email: String,
    /// Whether the user may do everything.
    #[serde(default)]
    pub is_superuser: bool,
    /// What a password is checked against.
    pub password: PasswordHash,
    /// What the user's API token is derived from.
    pub api_token: ApiToken,
}

/// A password as it is stored: a PHC string, which says how it was hashed. Never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Random; another one makes another token.
    pub seed: String,
    /// By which the token is found.
    pub digest: TokenDigest,
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

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// The name, unique on the farm.
    pub name: String,
    /// May be empty.
    pub email: String,
    /// Whether the user may do everything.
    pub is_superuser: bool,
    /// What a password is checked against.
    pub password: PasswordHash,
    /// The token that log-ins answer.
    pub api_token: ApiToken,
    /// When the user was created.
    pub joined: Timestamp,
}

/// All users. Names and tokens are indexes, derived from the users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Accounts {
    /// Ids go on from here, whoever was deleted since.
    last_user: u64,
    users: BTreeMap<UserId, User>,
    #[serde(skip)]
    by_name: BTreeMap<String, UserId>,
    #[serde(skip)]
    by_token: BTreeMap<TokenDigest, UserId>,
}

impl Accounts {
    /// A user.
    #[must_use]
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.get(&id)
    }

    /// The user with a name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&User> {
        self.user(*self.by_name.get(name)?)
    }

    /// All users, in the order of their ids.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// The user that a token stands for, and what the token lets the user do.
    #[must_use]
    pub fn holder(&self, token: &TokenDigest, _at: Timestamp) -> Option<(&User, Role)> {
        let user = self.user(*self.by_token.get(token)?)?;
        Some((user, Role::Admin))
    }

    pub(super) fn next_user_id(&self) -> UserId {
        UserId(self.last_user + 1)
    }

    pub(super) fn add(&mut self, id: UserId, new: NewUser, at: Timestamp) {
        self.last_user = self.last_user.max(id.0);
        let user = User {
            id,
            name: new.name,
            email: new.email,
            is_superuser: new.is_superuser,
            password: new.password,
            api_token: new.api_token,
            joined: at,
        };
        self.index(&user);
        self.users.insert(id, user);
    }

    fn index(&mut self, user: &User) {
        self.by_name.insert(user.name.clone(), user.id);
        let token = user.api_token.digest.clone();
        self.by_token.insert(token, user.id);
    }

    /// The same with its indexes made anew.
    #[must_use]
    pub(in crate::core) fn restored(mut self) -> Self {
        self.by_name.clear();
        self.by_token.clear();
        let users: Vec<User> = self.users.values().cloned().collect();
        for user in &users {
            self.index(user);
        }
        self
    }
}
