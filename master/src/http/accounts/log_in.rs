//! Logging in with name and password.

use super::passwords::Password;
use super::{AccountError, Accounts, now};
use crate::http::tokens;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::UserId;
use clusterrunner_core::Cluster;
use clusterrunner_core::accounts::command::AccountCommand;
use clusterrunner_core::accounts::refusal::AccountRefusal;
use clusterrunner_core::accounts::users::{ApiToken, PasswordHash};
use clusterrunner_core::actor::Actor;
use std::fmt;
use std::net::IpAddr;

/// A user that has logged in. The token does not show.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LoggedIn {
    /// The user.
    pub user: UserId,
    /// The user's API token: the same at every log-in until it is renewed.
    pub token: String,
}

impl fmt::Debug for LoggedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoggedIn({})", self.user)
    }
}

/// What a log-in needs of a user.
struct Known {
    id: UserId,
    password: PasswordHash,
    api_token: ApiToken,
}

impl Accounts {
    /// Logs a user in. A user that does not exist, or is deactivated, costs as much as a wrong password and is told the
    /// same.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub(crate) async fn log_in(
        &self,
        name: &str,
        password: String,
        from: Option<IpAddr>,
    ) -> Result<LoggedIn, AccountError> {
        let attempt = self.attempts.begin(name, from, now())?;
        let known = self.known(name).await?;
        let user = known.as_ref().map(|known| known.id);
        let is_right = self.is_right(known.as_ref(), password).await;
        if matches!(is_right, Err(AccountError::Busy)) {
            // Nobody has learned anything of the password.
            attempt.forgive();
            return Err(AccountError::Busy);
        }
        let Some(known) = known.filter(|_| matches!(is_right, Ok(true))) else {
            is_right?;
            self.note_failure(user, from).await?;
            return Err(AccountError::WrongCredentials);
        };
        let logged_in = self.note_log_in(known).await?;
        attempt.forgive();
        Ok(logged_in)
    }

    /// Whether a password is the present one of a user; each try counts as a log-in.
    ///
    /// # Errors
    /// See [`AccountError`]; [`AccountError::WrongPresent`] where it is another.
    pub(crate) async fn check_present(
        &self,
        name: &str,
        password: String,
        from: Option<IpAddr>,
    ) -> Result<(), AccountError> {
        let attempt = self.attempts.begin(name, from, now())?;
        let known = self.known(name).await?;
        match self.is_right(known.as_ref(), password).await {
            Ok(true) => {
                attempt.forgive();
                Ok(())
            }
            Ok(false) => {
                self.note_failure(known.map(|known| known.id), from).await?;
                Err(AccountError::WrongPresent)
            }
            Err(error) => {
                attempt.forgive();
                Err(error)
            }
        }
    }

    /// Whether a token that somebody brings to sign in is one; each wrong one counts as a log-in.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub(crate) async fn is_token(
        &self,
        token: &str,
        from: Option<IpAddr>,
    ) -> Result<bool, AccountError> {
        let attempt = self.attempts.begin(token, from, now())?;
        let holder = tokens::holder(token, &self.cluster, Timestamp::now()).await?;
        match holder {
            Some(_) => attempt.forgive(),
            None => self.note_failure(None, from).await?,
        }
        Ok(holder.is_some())
    }

    /// What somebody gets for a text that must not be guessed; each one that brings nothing counts as a log-in.
    ///
    /// # Errors
    /// There were too many, or the master is going down.
    pub(crate) async fn trying<T>(
        &self,
        text: &str,
        from: Option<IpAddr>,
        get: impl FnOnce() -> Option<T>,
    ) -> Result<Option<T>, AccountError> {
        let attempt = self.attempts.begin(text, from, now())?;
        let got = get();
        match got {
            Some(_) => attempt.forgive(),
            None => self.note_failure(None, from).await?,
        }
        Ok(got)
    }

    async fn known(&self, name: &str) -> Result<Option<Known>, AccountError> {
        let name = name.to_owned();
        let look = move |cluster: &Cluster| {
            let user = cluster.accounts().named(&name)?;
            (!user.is_deactivated).then(|| Known {
                id: user.id,
                password: user.password.clone(),
                api_token: user.api_token.clone(),
            })
        };
        Ok(self.cluster.read(look).await?)
    }

    async fn is_right(
        &self,
        known: Option<&Known>,
        password: String,
    ) -> Result<bool, AccountError> {
        let hash = known.map(|known| known.password.0.clone());
        let password = Password::tried(password);
        Ok(self.passwords.is_right(password, hash).await?)
    }

    /// The token is derived anew, so it is another one where the farm's secret is.
    async fn note_log_in(&self, known: Known) -> Result<LoggedIn, AccountError> {
        let (api_token, token) = self.api_token(known.api_token.seed);
        let user = known.id;
        let log_in = AccountCommand::LogIn {
            user,
            password: known.password,
            api_token,
        };
        match self.tell(Actor::User(user), log_in).await {
            Ok(_) => Ok(LoggedIn { user, token }),
            // Something changed while the password was checked.
            Err(AccountError::Refused(
                AccountRefusal::UnknownUser(_)
                | AccountRefusal::Deactivated(_)
                | AccountRefusal::PasswordChanged(_),
            )) => Err(AccountError::WrongCredentials),
            Err(error) => Err(error),
        }
    }
}
