//! Why a master does not run.

use crate::journal::JournalError;
use crate::notify::NotifyError;
use crate::ssh::HostKeyError;
use clusterrunner_common::caller::CallError;
use clusterrunner_common::daemon::{ListenError, LockError};
use clusterrunner_common::http::cors::InvalidPattern;
use clusterrunner_common::http::tls::TlsError;
use clusterrunner_common::logs::event_log::EventLogError;

/// Why a master could not start, or ended too early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its data directory can not be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The base directory has no absolute path.
    #[error("could not find the base directory: {0}")]
    Directory(#[source] std::io::Error),
    /// Its own key can not be read or made.
    #[error("could not read or make the master's key (master.key in its data directory): {0}")]
    MasterKey(#[source] std::io::Error),
    /// Its facts can not be read or stored.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// One of its further ports can not be taken.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// It can not speak HTTPS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its event log can not be written.
    #[error(transparent)]
    EventLog(#[from] EventLogError),
    /// It can not call slaves.
    #[error(transparent)]
    Caller(#[from] CallError),
    /// A setting can not be used.
    #[error(transparent)]
    Origins(#[from] InvalidPattern),
    /// What an earlier process left can not be cleared away.
    #[error("could not remove leftovers of an earlier process: {0}")]
    Leftovers(#[source] std::io::Error),
    /// What results there are can not be looked through.
    #[error("could not scan the stored results: {0}")]
    Stored(#[source] std::io::Error),
    /// Nothing can be written by a thread of its own.
    #[error("could not begin to store results: {0}")]
    Results(#[source] std::io::Error),
    /// Templates, and what instances print, can not be stored.
    #[error("could not open the store of templates and instances: {0}")]
    Launched(#[source] std::io::Error),
    /// The code of projects can not be stored.
    #[error("could not open the repositories of projects: {0}")]
    OwnRepositories(#[source] std::io::Error),
    /// What clients send can not be stored.
    #[error("could not open the directory of working trees that were sent: {0}")]
    WorkingTrees(#[source] std::io::Error),
    /// The key of the Binder API can not be read or made.
    #[error(
        "could not read or make the key of the Binder API (binder_api_key in the data directory): {0}"
    )]
    BinderKey(#[source] std::io::Error),
    /// Pushes can not be taken.
    #[error("could not get ready for pushes (pushes in the data directory): {0}")]
    Pushes(#[source] std::io::Error),
    /// Receivers of notifications can not be told.
    #[error(transparent)]
    Notify(#[from] NotifyError),
    /// There is no key by which SSH clients know the master.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// The address that it listens on is not known.
    #[error("could not determine the listening address: {0}")]
    Address(#[source] std::io::Error),
    /// One of its parts panicked.
    #[error("a part of the master failed: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
}

impl ServeError {
    /// Whether a setting is wrong, and not this machine.
    #[must_use]
    pub fn is_wrong_setting(&self) -> bool {
        matches!(
            self,
            Self::Tls(_)
                | Self::Origins(_)
                | Self::Caller(CallError::Tls(_))
                | Self::Notify(NotifyError::Sender { .. })
        )
    }
}
