//! Passwords: hashed and checked with Argon2id, on threads of their own and few at a time, so that log-ins never keep the
//! farm's processors and memory. Which user a password is of, and how often one may be tried, is for others to know.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc};
use clusterrunner_common::clock::random_bytes;
use std::fmt;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

/// The fewest characters of a new password.
pub(super) const SHORTEST: usize = 8;

/// The most bytes of a password: more is no password, and would only be work.
pub(super) const LONGEST: usize = 1024;

/// How many are hashed at a time where there are processors enough; each takes 19 MiB for that time.
const MOST_AT_A_TIME: usize = 2;

/// How many may wait for their turn: at 20 to 50 ms each, the last waits for a second or two.
const MOST_WAITING: usize = 64;

/// Random bytes in a salt, as the specification of Argon2 recommends.
const SALT: usize = 16;

/// What passwords are checked against where there is no user: as much work as for one, and never right.
const OF_NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdA\
                         $AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What an API demands of new passwords.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Demand {
    /// At least `SHORTEST` characters.
    #[default]
    Long,
    /// At least one character, as in the older system whose clients the API serves.
    Any,
}

/// A password as somebody sent it. It never shows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Password(String);

/// Why a text is no password for a user. The messages never repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WrongPassword {
    /// It is empty.
    #[error("The password is empty: it must have at least one character.")]
    Empty,
    /// Fewer than `SHORTEST` characters.
    #[error("The password is too short: it must have at least {SHORTEST} characters.")]
    TooShort,
    /// More than `LONGEST` bytes.
    #[error("The password is too long: it must have at most {LONGEST} bytes.")]
    TooLong,
}

impl Password {
    /// A password that a user is to have.
    ///
    /// # Errors
    /// It is too short or too long.
    pub(super) fn new(text: String, demand: Demand) -> Result<Self, WrongPassword> {
        match demand {
            Demand::Long if text.chars().count() < SHORTEST => {
                return Err(WrongPassword::TooShort);
            }
            Demand::Any if text.is_empty() => return Err(WrongPassword::Empty),
            Demand::Long | Demand::Any => {}
        }
        if text.len() > LONGEST {
            return Err(WrongPassword::TooLong);
        }
        Ok(Self(text))
    }

    /// A password that may be a user's; one that is none is only wrong.
    #[must_use]
    pub(super) fn tried(text: String) -> Self {
        Self(text)
    }

    fn may_be_right(&self) -> bool {
        self.0.len() <= LONGEST
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Why a password was neither hashed nor checked.
#[derive(Debug, thiserror::Error)]
pub(super) enum HashingError {
    /// Too many wait already.
    #[error("too many passwords wait to be checked")]
    Busy,
    /// The library failed, for want of memory for example.
    #[error("a password could not be hashed: {0}")]
    Failed(String),
}

/// Hashes and checks passwords. Clones share the bounds.
#[derive(Clone, Debug)]
pub(super) struct Passwords {
    /// Those that wait, and those that have their turn.
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with((processors / 2).clamp(1, MOST_AT_A_TIME), MOST_WAITING)
    }
}

impl Passwords {
    fn with(at_a_time: usize, waiting: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(at_a_time + waiting)),
            turns: Arc::new(Semaphore::new(at_a_time)),
        }
    }

    /// Hashes a password with a new salt: the result is a PHC string.
    ///
    /// # Errors
    /// See [`HashingError`].
    pub(super) async fn hash(&self, password: Password) -> Result<String, HashingError> {
        let hashing = move || {
            let salt: [u8; SALT] = random_bytes();
            let hashed = Argon2::default().hash_password_with_salt(password.0.as_bytes(), &salt);
            Ok(hashed.map_err(failed)?.to_string())
        };
        self.in_turn(hashing).await
    }

    /// Whether a password is the one that `hash` is of. Without a hash it takes as long, and never is.
    ///
    /// # Errors
    /// See [`HashingError`].
    pub(super) async fn is_right(
        &self,
        password: Password,
        hash: Option<String>,
    ) -> Result<bool, HashingError> {
        if !password.may_be_right() {
            return Ok(false);
        }
        let checking = move || {
            let is_known = hash.is_some();
            let hash = hash.as_deref().unwrap_or(OF_NOBODY);
            let hash = phc::PasswordHash::new(hash).map_err(|error| failed(error.into()))?;
            match Argon2::default().verify_password(password.0.as_bytes(), &hash) {
                Ok(()) => Ok(is_known),
                Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(failed(error)),
            }
        };
        self.in_turn(checking).await
    }

    /// Does the work on a blocking thread when its turn comes. The turn lasts until the work is done, also where nobody
    /// waits for it any more.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashingError> + Send + 'static,
    ) -> Result<T, HashingError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| HashingError::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        // It is never closed.
        let held: [OwnedSemaphorePermit; 2] = [place, turn.map_err(|_| HashingError::Busy)?];
        let working = spawn_blocking(move || {
            let _held = held;
            work()
        });
        let done = working.await;
        done.map_err(|error| HashingError::Failed(error.to_string()))?
    }
}

fn failed(error: argon2::password_hash::Error) -> HashingError {
    HashingError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned(), Demand::Long).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_right_for_its_own_hash_only() {
        let passwords = Passwords::default();
        let hash = passwords.hash(password("correct horse")).await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(!hash.contains("correct"));
        let other = passwords.hash(password("correct horse")).await.unwrap();
        assert_ne!(hash, other, "each has a salt of its own");
        for (tried, of, expected) in [
            ("correct horse", Some(&hash), true),
            ("correct horse", Some(&other), true),
            ("correct horsf", Some(&hash), false),
            ("", Some(&hash), false),
            ("correct horse", None, false),
        ] {
            let tried = Password::tried(tried.to_owned());
            let found = passwords.is_right(tried, of.cloned()).await;
            assert_eq!(found.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn nobody_has_a_hash_that_is_checked() {
        let passwords = Passwords::default();
        // Were it no hash, this would be an error and take no time.
        let checked = passwords.is_right(password("a password"), Some(OF_NOBODY.to_owned()));
        assert!(!checked.await.unwrap());
        let broken = passwords.is_right(password("a password"), Some("plain".to_owned()));
        assert!(matches!(broken.await, Err(HashingError::Failed(_))));
    }

    #[test]
    fn a_password_has_bounds_and_does_not_show() {
        let refusal = |text: String| Password::new(text, Demand::Long).map(|_| ()).unwrap_err();
        assert_eq!(refusal("seven77".to_owned()), WrongPassword::TooShort);
        assert_eq!(refusal("ü".repeat(513)), WrongPassword::TooLong);
        let any = |text: &str| Password::new(text.to_owned(), Demand::Any).map(|_| ());
        assert_eq!((any("x"), any("")), (Ok(()), Err(WrongPassword::Empty)));
        assert_eq!(format!("{:?}", password("éèêëôóòõ")), "Password(..)");
        let too_long = Password::tried("x".repeat(LONGEST + 1));
        assert!(!too_long.may_be_right());
    }

    #[tokio::test]
    async fn those_beyond_the_bound_are_sent_away() {
        let passwords = Passwords::with(1, 2);
        let tries = (0..8).map(|_| passwords.is_right(password("a password"), None));
        let tried = join_all(tries).await;
        let busy = tried
            .iter()
            .filter(|tried| matches!(tried, Err(HashingError::Busy)));
        assert_eq!(busy.count(), 5);
        assert!(
            !passwords
                .is_right(password("a password"), None)
                .await
                .unwrap()
        );
    }
}
