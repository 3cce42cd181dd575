//! What an order about users means now.

use super::command::{AccountCommand, UserOrder};
use super::facts::AccountFact;
use super::names::{check_change, check_token, check_user};
use super::ssh_keys::{self, NewSshKey};
use super::users::{ApiToken, NewToken, NewUser, PasswordHash, User, UserChange};
use crate::Cluster;
use crate::accounts::refusal::AccountRefusal;
use crate::actor::Actor;
use crate::event::Fact;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{TokenId, UserId};

/// The most users of a farm: strangers may be able to register.
const MOST_USERS: usize = 100_000;

/// The most named tokens of a user.
const MOST_TOKENS: usize = 200;

/// The most SSH keys of a user.
const MOST_KEYS: usize = 200;

impl Cluster {
    pub(crate) fn account_facts(
        &self,
        by: Actor,
        command: AccountCommand,
        at: Timestamp,
    ) -> Result<Vec<Fact>, AccountRefusal> {
        match command {
            AccountCommand::Create(user) => self.created_user(user),
            AccountCommand::CreateFirstAsSuperuser(mut user) => {
                user.is_superuser = self.accounts.users().len() == 0;
                self.created_user(user)
            }
            AccountCommand::Change { user, order } => self.changed_user(by, user, *order),
            AccountCommand::LogIn {
                user,
                password,
                api_token,
            } => self.logged_in(user, &password, api_token),
            AccountCommand::RenewApiToken { user, token } => {
                self.known_user(user)?;
                Ok(fact(user, AccountFact::ApiTokenRenewed(token)))
            }
            AccountCommand::CreateToken { user, token } => self.created_token(user, token, at),
            AccountCommand::RevokeToken { user, token } => self.revoked_token(user, token),
            AccountCommand::AddKey { user, key } => self.added_key(user, key),
            AccountCommand::RemoveKey { user, id } => self.removed_key(user, id),
            AccountCommand::Delete { user } => self.deleted_user(by, user),
        }
    }

    fn known_user(&self, id: UserId) -> Result<&User, AccountRefusal> {
        let user = self.accounts.user(id);
        user.ok_or(AccountRefusal::UnknownUser(id))
    }

    fn created_user(&self, user: Box<NewUser>) -> Result<Vec<Fact>, AccountRefusal> {
        check_user(&user)?;
        if self.accounts.named(&user.name).is_some() {
            return Err(AccountRefusal::UserNameTaken(user.name));
        }
        if self.accounts.users().len() >= MOST_USERS {
            return Err(AccountRefusal::TooManyUsers(MOST_USERS));
        }
        let id = self.accounts.next_user_id();
        Ok(fact(id, AccountFact::Created(user)))
    }

    /// Only what is another than before, which may be nothing.
    fn changed_user(
        &self,
        by: Actor,
        id: UserId,
        order: UserOrder,
    ) -> Result<Vec<Fact>, AccountRefusal> {
        let UserOrder {
            said,
            is_superuser,
            is_active,
            password,
        } = order;
        check_change(&said)?;
        let user = self.known_user(id)?;
        let said = UserChange {
            email: said.email.filter(|email| *email != user.email),
            first_name: said.first_name.filter(|name| *name != user.first_name),
            last_name: said.last_name.filter(|name| *name != user.last_name),
        };
        let is_superuser = is_superuser.filter(|new| *new != user.is_superuser);
        let is_active = is_active.filter(|new| *new == user.is_deactivated);
        if is_superuser == Some(false) || is_active == Some(false) {
            self.check_superusers_without(id, by)?;
        }
        let said = (said != UserChange::default()).then(|| AccountFact::Changed(Box::new(said)));
        let superuser = is_superuser.map(|is_superuser| match is_superuser {
            true => AccountFact::SuperuserGranted,
            false => AccountFact::SuperuserRevoked,
        });
        let active = is_active.map(|is_active| match is_active {
            true => AccountFact::Activated,
            false => AccountFact::Deactivated,
        });
        let password = password.map(AccountFact::PasswordChanged);
        let facts = [said, superuser, active, password].into_iter().flatten();
        Ok(facts.map(|fact| Fact::Account(id, fact)).collect())
    }

    /// Whoever asks by a token may be unable to make another superuser afterwards, so one stays.
    fn check_superusers_without(&self, id: UserId, by: Actor) -> Result<(), AccountRefusal> {
        let is_able = |user: &&User| user.is_superuser && !user.is_deactivated;
        let user = self.known_user(id)?;
        let mut others = self.accounts.users().filter(|other| other.id != id);
        match by {
            Actor::User(_) if is_able(&user) && !others.any(|other| is_able(&other)) => {
                Err(AccountRefusal::LastSuperuser(user.name.clone()))
            }
            _ => Ok(()),
        }
    }

    fn logged_in(
        &self,
        id: UserId,
        password: &PasswordHash,
        api_token: ApiToken,
    ) -> Result<Vec<Fact>, AccountRefusal> {
        let user = self.known_user(id)?;
        if user.is_deactivated {
            return Err(AccountRefusal::Deactivated(id));
        }
        // A token that was renewed since must not come back. The same seed makes another token under another secret.
        if user.password != *password || user.api_token.seed != api_token.seed {
            return Err(AccountRefusal::PasswordChanged(id));
        }
        let mut facts = fact(id, AccountFact::LoggedIn);
        if user.api_token != api_token {
            facts.extend(fact(id, AccountFact::ApiTokenRenewed(api_token)));
        }
        Ok(facts)
    }

    /// A token of the same name that has expired makes room.
    fn created_token(
        &self,
        id: UserId,
        token: Box<NewToken>,
        at: Timestamp,
    ) -> Result<Vec<Fact>, AccountRefusal> {
        check_token(&token.name)?;
        let user = self.known_user(id)?;
        if token.expires.is_some_and(|expires| expires <= at) {
            return Err(AccountRefusal::ExpiredToken);
        }
        let mut facts = Vec::new();
        let same = user
            .tokens
            .iter()
            .find(|(_, known)| known.said.name == token.name);
        match same {
            Some((same, known)) if known.is_expired(at) => {
                facts.extend(fact(id, AccountFact::TokenRevoked(*same)));
            }
            Some(_) => return Err(AccountRefusal::TokenNameTaken(token.name)),
            None if user.tokens.len() >= MOST_TOKENS => {
                return Err(AccountRefusal::TooManyTokens(MOST_TOKENS));
            }
            None => {}
        }
        debug_assert!(!self.accounts.has_token(&token.digest), "tokens are random");
        let created = AccountFact::TokenCreated(self.accounts.next_token_id(), token);
        facts.extend(fact(id, created));
        Ok(facts)
    }

    fn revoked_token(&self, id: UserId, token: TokenId) -> Result<Vec<Fact>, AccountRefusal> {
        match self.known_user(id)?.tokens.contains_key(&token) {
            true => Ok(fact(id, AccountFact::TokenRevoked(token))),
            false => Err(AccountRefusal::UnknownToken(token)),
        }
    }

    fn added_key(&self, id: UserId, key: Box<NewSshKey>) -> Result<Vec<Fact>, AccountRefusal> {
        let itself = ssh_keys::check(&key)?;
        let user = self.known_user(id)?;
        if self.accounts.owner_of_key(&itself).is_some() {
            return Err(AccountRefusal::KeyTaken);
        }
        if user.ssh_keys.contains_key(&key.id) {
            return Err(AccountRefusal::KeyIdTaken(key.id));
        }
        if user.ssh_keys.len() >= MOST_KEYS {
            return Err(AccountRefusal::TooManyKeys(MOST_KEYS));
        }
        Ok(fact(id, AccountFact::KeyAdded(key)))
    }

    fn removed_key(&self, user: UserId, id: String) -> Result<Vec<Fact>, AccountRefusal> {
        match self.known_user(user)?.ssh_keys.contains_key(&id) {
            true => Ok(fact(user, AccountFact::KeyRemoved(id))),
            false => Err(AccountRefusal::UnknownKey(id)),
        }
    }

    fn deleted_user(&self, by: Actor, id: UserId) -> Result<Vec<Fact>, AccountRefusal> {
        // The last user of all leaves a farm that is as it was before the first one came.
        if self.accounts.users().len() > 1 {
            self.check_superusers_without(id, by)?;
        }
        self.known_user(id)?;
        let mut facts = self.deleted_projects_of(id);
        facts.extend(fact(id, AccountFact::Deleted));
        Ok(facts)
    }
}

fn fact(user: UserId, fact: AccountFact) -> Vec<Fact> {
    vec![Fact::Account(user, fact)]
}
