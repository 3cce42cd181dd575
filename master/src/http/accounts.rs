//! Logging in, creating and changing users, for all APIs: passwords are hashed, tokens are made, and strangers are kept
//! from trying too often. What an order means is decided in the core.

mod attempts;
mod log_in;
mod passwords;
mod sign_ins;

pub(crate) use attempts::TooMany;
pub(crate) use passwords::{Demand, WrongPassword};

use crate::coordinator::{ClusterHandle, CommandFailure, Gone};
use crate::http::tokens;
use attempts::Attempts;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_common::ids::{TokenId, UserId};
use clusterrunner_common::settings::Registration;
use clusterrunner_core::Cluster;
use clusterrunner_core::accounts::command::{AccountCommand, UserOrder};
use clusterrunner_core::accounts::facts::AccountFact;
use clusterrunner_core::accounts::refusal::AccountRefusal;
use clusterrunner_core::accounts::users::{ApiToken, NewToken, NewUser, PasswordHash, Role};
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::{Event, Fact};
use clusterrunner_core::refusal::Refusal;
use passwords::{HashingError, Password, Passwords};
use sign_ins::Failures;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// The way to users for handlers. Clones share the bounds of what strangers may try.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    cluster: ClusterHandle,
    /// API tokens are derived from it.
    secret: Secret,
    registration: Registration,
    passwords: Passwords,
    attempts: Attempts,
    failures: Failures,
}

/// A user that is to be created. Its password does not show.
#[derive(Clone, Default)]
pub(crate) struct Registrant {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
    /// May be empty.
    pub email: String,
    /// May be empty.
    pub first_name: String,
    /// May be empty.
    pub last_name: String,
    /// Whether the user is to do everything.
    pub is_superuser: bool,
    /// What the API demands of the password.
    pub demand: Demand,
}

/// What the first user of a farm becomes who registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// A user like others.
    LikeOthers,
    /// A superuser.
    Superuser,
}

impl fmt::Debug for Registrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registrant({:?})", self.name)
    }
}

/// Why nothing was done. The sentences are for those who asked; an API may have its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    /// Name or password is wrong, or the user is deactivated; which is not said.
    #[error("The name or the password is wrong.")]
    WrongCredentials,
    /// The present password of the user is another.
    #[error("The present password is wrong: field 'old_password' must have it.")]
    WrongPresent,
    /// A new password is none.
    #[error(transparent)]
    Password(#[from] WrongPassword),
    /// Too often.
    #[error("Too many tries: the next one may come in {} s.", .0.seconds())]
    TooManyTries(#[from] TooMany),
    /// Too many at a time.
    #[error("Too many passwords are being checked: try again in a moment.")]
    Busy,
    /// Strangers can not register here.
    #[error(
        "Registration is closed on this farm: an operator creates accounts with `clusterrunner user create`, or opens \
         it with the setting `registration = open` in [master] of clusterrunner.conf."
    )]
    RegistrationClosed,
    /// A browser asks on behalf of some web page.
    #[error("Web pages can not register users.")]
    WebPage,
    /// The core refuses it.
    #[error(transparent)]
    Refused(#[from] AccountRefusal),
    /// The master is going down.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The library failed.
    #[error("{0}")]
    Hashing(String),
}

impl From<HashingError> for AccountError {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Busy => Self::Busy,
            HashingError::Failed(error) => Self::Hashing(error),
        }
    }
}

impl Accounts {
    /// The users of a cluster, whose farm has this secret.
    #[must_use]
    pub(crate) fn new(cluster: ClusterHandle, secret: Secret, registration: Registration) -> Self {
        Self {
            cluster,
            secret,
            registration,
            passwords: Passwords::default(),
            attempts: Attempts::default(),
            failures: Failures::default(),
        }
    }

    /// Creates a user for a stranger, if strangers may register. `first`: what the first user of the farm becomes. `is_of_page`: a browser says that a web page asks. A
    /// page from elsewhere must not make accounts on a farm that only its user's machine reaches.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub(crate) async fn register(
        &self,
        new: Registrant,
        from: Option<IpAddr>,
        is_of_page: bool,
        first: First,
    ) -> Result<UserId, AccountError> {
        match self.registration {
            Registration::Open if is_of_page => return Err(AccountError::WebPage),
            Registration::Open => {}
            Registration::Closed => return Err(AccountError::RegistrationClosed),
        }
        // Each costs as much as a log-in, and counts.
        let _attempt = self.attempts.begin(&new.name, from, now())?;
        let new = Registrant {
            is_superuser: false,
            ..new
        };
        let order = match first {
            First::LikeOthers => AccountCommand::Create,
            First::Superuser => AccountCommand::CreateFirstAsSuperuser,
        };
        self.create_by(Actor::Nobody, new, order).await
    }

    /// Creates a user for an actor who may do so.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub(crate) async fn create(&self, by: Actor, new: Registrant) -> Result<UserId, AccountError> {
        self.create_by(by, new, AccountCommand::Create).await
    }

    async fn create_by(
        &self,
        by: Actor,
        new: Registrant,
        order: fn(Box<NewUser>) -> AccountCommand,
    ) -> Result<UserId, AccountError> {
        let password = Password::new(new.password, new.demand)?;
        // It is decided again with all else; this spares the work.
        let name = new.name.clone();
        let is_taken = move |cluster: &Cluster| cluster.accounts().named(&name).is_some();
        if self.cluster.read(is_taken).await? {
            return Err(AccountRefusal::UserNameTaken(new.name).into());
        }
        let user = NewUser {
            name: new.name,
            email: new.email,
            first_name: new.first_name,
            last_name: new.last_name,
            is_superuser: new.is_superuser,
            password: PasswordHash(self.passwords.hash(password).await?),
            api_token: self.new_api_token().0,
        };
        let events = self.tell(by, order(Box::new(user))).await?;
        let created = events.iter().find_map(|event| match &event.fact {
            Fact::Account(user, AccountFact::Created(_)) => Some(*user),
            _ => None,
        });
        Ok(created.ok_or(Gone)?)
    }

    /// Changes a user: `order`, and the password where there is a new one. All of it happens, or nothing.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub(crate) async fn change(
        &self,
        by: Actor,
        user: UserId,
        order: UserOrder,
        password: Option<(String, Demand)>,
    ) -> Result<(), AccountError> {
        let password = match password {
            Some((password, demand)) => {
                let password = Password::new(password, demand)?;
                Some(PasswordHash(self.passwords.hash(password).await?))
            }
            None => None,
        };
        let order = Box::new(UserOrder { password, ..order });
        self.tell(by, AccountCommand::Change { user, order })
            .await?;
        Ok(())
    }

    /// Gives a user another API token, which is returned; the one before opens nothing any more.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub(crate) async fn renew_api_token(
        &self,
        by: Actor,
        user: UserId,
    ) -> Result<String, AccountError> {
        let (token, text) = self.new_api_token();
        let renew = AccountCommand::RenewApiToken { user, token };
        self.tell(by, renew).await?;
        Ok(text)
    }

    /// Gives a user a named token: its number, and the token itself, which nothing shows again.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub(crate) async fn create_token(
        &self,
        by: Actor,
        user: UserId,
        name: String,
        role: Role,
        expires_in: Option<Duration>,
    ) -> Result<(TokenId, String), AccountError> {
        let text = tokens::random();
        let expires = expires_in.map(|time| {
            let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            Timestamp(Timestamp::now().0.saturating_add(time))
        });
        let token = Box::new(NewToken {
            name,
            role,
            digest: tokens::digest(&text),
            expires,
        });
        let create = AccountCommand::CreateToken { user, token };
        let events = self.tell(by, create).await?;
        let created = events.iter().find_map(|event| match &event.fact {
            Fact::Account(_, AccountFact::TokenCreated(token, _)) => Some(*token),
            _ => None,
        });
        Ok((created.ok_or(Gone)?, text))
    }

    /// Gives an order that is about users, and waits until what follows is on disk.
    ///
    /// # Errors
    /// The core refuses it, or the master is going down.
    pub(crate) async fn tell(
        &self,
        by: Actor,
        command: AccountCommand,
    ) -> Result<Vec<Event>, AccountError> {
        match self.cluster.command(Command::Account { by, command }).await {
            Ok(events) => Ok(events),
            Err(CommandFailure::Refused(Refusal::Account(refusal))) => Err(refusal.into()),
            // No other is about users.
            Err(CommandFailure::Refused(_)) => Err(Gone.into()),
            Err(CommandFailure::Gone(gone)) => Err(gone.into()),
        }
    }

    /// A new API token, and its text.
    fn new_api_token(&self) -> (ApiToken, String) {
        let seed = hex::encode(random_bytes::<16>());
        self.api_token(seed)
    }

    /// The API token that this farm makes of a seed, and its text.
    fn api_token(&self, seed: String) -> (ApiToken, String) {
        let text = tokens::of_seed(&self.secret, &seed);
        let digest = tokens::digest(&text);
        (ApiToken { seed, digest }, text)
    }
}

/// The time for counting tries, which no change of the wall clock moves.
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
