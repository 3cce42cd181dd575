//! Users, and how they are found: by name, and by the tokens that stand for them. Passwords are hashed and tokens made
//! outside of the core.

pub use super::tokens::{ApiToken, NewToken, Role, Token, TokenDigest};

use super::ssh_keys::{self, NewSshKey, SshKey};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{TokenId, UserId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What is said of a user that is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewUser {
    /// The name, unique on the farm whatever its case.
    pub name: String,
    /// May be empty.
    #[serde(default)]
    pub email: String,
    /// May be empty.
    #[serde(default)]
    pub first_name: String,
    /// May be empty.
    #[serde(default)]
    pub last_name: String,
    /// Whether the user may do everything.
    #[serde(default)]
    pub is_superuser: bool,
    /// What a password is checked against.
    pub password: PasswordHash,
    /// What the user's API token is derived from.
    pub api_token: ApiToken,
}

/// What is said anew of a user; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserChange {
    /// The e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The first name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// The last name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
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

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// The name, unique on the farm whatever its case.
    pub name: String,
    /// May be empty.
    pub email: String,
    /// May be empty.
    #[serde(default)]
    pub first_name: String,
    /// May be empty.
    #[serde(default)]
    pub last_name: String,
    /// Whether the user may do everything.
    pub is_superuser: bool,
    /// Whether the user can not log in, and its tokens open nothing.
    #[serde(default)]
    pub is_deactivated: bool,
    /// What a password is checked against.
    pub password: PasswordHash,
    /// The token that log-ins answer.
    pub api_token: ApiToken,
    /// The named tokens, also those that have expired.
    #[serde(default)]
    pub tokens: BTreeMap<TokenId, Token>,
    /// The SSH keys, by their ids.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ssh_keys: BTreeMap<String, SshKey>,
    /// When the user was created.
    pub joined: Timestamp,
    /// When the user logged in last.
    #[serde(default)]
    pub last_login: Option<Timestamp>,
}

/// Whom a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    by: UserId,
    /// The named token; the user's API token where there is none.
    token: Option<TokenId>,
}

/// All users. Names and tokens are indexes, derived from the users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Accounts {
    /// Ids go on from here, whoever was deleted since.
    last_user: u64,
    last_token: u64,
    users: BTreeMap<UserId, User>,
    #[serde(skip)]
    by_name: BTreeMap<String, UserId>,
    #[serde(skip)]
    by_token: BTreeMap<TokenDigest, Held>,
    /// By the keys themselves, as base64.
    #[serde(skip)]
    by_ssh_key: BTreeMap<String, UserId>,
}

impl Accounts {
    /// A user.
    #[must_use]
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.get(&id)
    }

    /// The user with a name, in whatever case.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&User> {
        self.user(*self.by_name.get(&key(name))?)
    }

    /// All users, in the order of their ids.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &User> {
        self.users.values()
    }

    /// The user that has a named token.
    #[must_use]
    pub fn owner_of(&self, token: TokenId) -> Option<&User> {
        self.users().find(|user| user.tokens.contains_key(&token))
    }

    /// The user that a token stands for, and what the token lets the user do: nothing where the user is deactivated
    /// or the token has expired.
    #[must_use]
    pub fn holder(&self, token: &TokenDigest, at: Timestamp) -> Option<(&User, Role)> {
        let held = self.by_token.get(token)?;
        let user = self.user(held.by).filter(|user| !user.is_deactivated)?;
        let Some(token) = held.token else {
            return Some((user, Role::Admin));
        };
        let token = user.tokens.get(&token)?;
        (!token.is_expired(at)).then_some((user, token.said.role))
    }

    /// The SSH keys of a user, the oldest first.
    #[must_use]
    pub fn keys_of(&self, user: UserId) -> Vec<&SshKey> {
        let keys = self.user(user).into_iter();
        let mut keys: Vec<&SshKey> = keys.flat_map(|user| user.ssh_keys.values()).collect();
        keys.sort_by_key(|key| key.created);
        keys
    }

    /// The SSH key of a user with an id.
    #[must_use]
    pub fn key_named(&self, user: UserId, id: &str) -> Option<&SshKey> {
        self.user(user)?.ssh_keys.get(id)
    }

    /// The user that has an SSH key, given as base64 with padding.
    #[must_use]
    pub fn owner_of_key(&self, key: &str) -> Option<&User> {
        self.user(*self.by_ssh_key.get(key)?)
    }

    pub(super) fn next_user_id(&self) -> UserId {
        UserId(self.last_user + 1)
    }

    pub(crate) fn next_token_id(&self) -> TokenId {
        TokenId(self.last_token + 1)
    }

    /// Gives no token of a user this number: a join token has it.
    pub(crate) fn reserve_token(&mut self, id: TokenId) {
        self.last_token = self.last_token.max(id.0);
    }

    pub(super) fn has_token(&self, digest: &TokenDigest) -> bool {
        self.by_token.contains_key(digest)
    }

    pub(super) fn add(&mut self, id: UserId, new: NewUser, at: Timestamp) {
        self.last_user = self.last_user.max(id.0);
        let user = User {
            id,
            name: new.name,
            email: new.email,
            first_name: new.first_name,
            last_name: new.last_name,
            is_superuser: new.is_superuser,
            is_deactivated: false,
            password: new.password,
            api_token: new.api_token,
            tokens: BTreeMap::new(),
            ssh_keys: BTreeMap::new(),
            joined: at,
            last_login: None,
        };
        self.index(&user);
        self.users.insert(id, user);
    }

    /// # Panics
    /// There is no such user, which only a damaged journal can cause.
    #[expect(
        clippy::expect_used,
        reason = "events name what exists; a journal that does not is damaged"
    )]
    pub(super) fn user_mut(&mut self, id: UserId) -> &mut User {
        let user = self.users.get_mut(&id);
        user.expect("events name users that exist")
    }

    pub(super) fn renew_api_token(&mut self, id: UserId, token: ApiToken) {
        let digest = token.digest.clone();
        let before = std::mem::replace(&mut self.user_mut(id).api_token, token);
        self.by_token.remove(&before.digest);
        let held = Held {
            by: id,
            token: None,
        };
        self.by_token.insert(digest, held);
    }

    pub(super) fn add_token(&mut self, by: UserId, id: TokenId, said: NewToken, at: Timestamp) {
        self.last_token = self.last_token.max(id.0);
        let digest = said.digest.clone();
        let token = Token { said, created: at };
        self.user_mut(by).tokens.insert(id, token);
        let token = Some(id);
        self.by_token.insert(digest, Held { by, token });
    }

    pub(super) fn remove_token(&mut self, of: UserId, id: TokenId) {
        if let Some(token) = self.user_mut(of).tokens.remove(&id) {
            self.by_token.remove(&token.said.digest);
        }
    }

    pub(super) fn add_key(&mut self, owner: UserId, new: NewSshKey, at: Timestamp) {
        let key = SshKey::made(owner, new, at);
        if let Some(itself) = ssh_keys::key_in(&key.public) {
            self.by_ssh_key.insert(itself, owner);
        }
        let user = self.user_mut(owner);
        user.ssh_keys.insert(key.id.clone(), key);
    }

    pub(super) fn remove_key(&mut self, owner: UserId, id: &str) {
        let removed = self.user_mut(owner).ssh_keys.remove(id);
        let itself = removed.and_then(|key| ssh_keys::key_in(&key.public));
        if let Some(itself) = itself {
            self.by_ssh_key.remove(&itself);
        }
    }

    pub(super) fn remove(&mut self, id: UserId) {
        let Some(user) = self.users.remove(&id) else {
            return;
        };
        self.by_name.remove(&key(&user.name));
        self.by_token.remove(&user.api_token.digest);
        for token in user.tokens.values() {
            self.by_token.remove(&token.said.digest);
        }
        let keys = user.ssh_keys.values();
        for itself in keys.filter_map(|key| ssh_keys::key_in(&key.public)) {
            self.by_ssh_key.remove(&itself);
        }
    }

    fn index(&mut self, user: &User) {
        self.by_name.insert(key(&user.name), user.id);
        let mut hold = |digest: &TokenDigest, token| {
            let held = Held { by: user.id, token };
            self.by_token.insert(digest.clone(), held);
        };
        hold(&user.api_token.digest, None);
        for (id, token) in &user.tokens {
            hold(&token.said.digest, Some(*id));
        }
        let keys = user.ssh_keys.values();
        for itself in keys.filter_map(|key| ssh_keys::key_in(&key.public)) {
            self.by_ssh_key.insert(itself, user.id);
        }
    }

    /// The same with its indexes made anew.
    #[must_use]
    pub(crate) fn restored(mut self) -> Self {
        self.by_name.clear();
        self.by_token.clear();
        self.by_ssh_key.clear();
        let users = std::mem::take(&mut self.users);
        for user in users.values() {
            self.index(user);
        }
        self.users = users;
        self
    }
}

/// By which a user is found: upper and lower case make no difference, so that nobody is taken for somebody else.
pub(super) fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}
