//! How libgit2 reaches other machines: our own transports for http, https, ssh and `git://`.
//!
//! libgit2 is built without OpenSSL and libssh2, so it knows neither https nor ssh; and its own http and `git://` can
//! not be interrupted while a server is silent. Here all four go through one [`Wire`], on which every wait ends when
//! the caller cancels or the time is up.
//!
//! libgit2 only hands a URL to a transport. Options, cancellation and the exact failure therefore travel beside it, in a
//! thread-local set by [`FetchScope`]: libgit2 calls a transport on the thread that called it.

mod advertisement;
mod http;
mod stream;
mod wire;

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};
use git2::{ErrorClass, ErrorCode};
use tokio_util::sync::CancellationToken;

use super::GitOptions;
use super::url::{GitUrl, RepositoryPlace};
use wire::{Failure, Wire};

thread_local! {
    static FETCH: RefCell<Option<FetchState>> = const { RefCell::new(None) };
}

struct FetchState {
    options: Arc<GitOptions>,
    cancel: CancellationToken,
    failure: Option<String>,
}

/// What the transports used by this thread go by until the value is dropped.
pub(super) struct FetchScope {
    /// The state belongs to the thread that made it.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl FetchScope {
    /// Makes the transports known to libgit2 if they are not yet.
    pub(super) fn begin(
        options: &Arc<GitOptions>,
        cancel: &CancellationToken,
    ) -> Result<Self, git2::Error> {
        register_transports()?;
        FETCH.set(Some(FetchState {
            options: options.clone(),
            cancel: cancel.clone(),
            failure: None,
        }));
        Ok(Self {
            _not_send: std::marker::PhantomData,
        })
    }

    /// What a transport could not do, in words for users; libgit2 hands on only part of it.
    pub(super) fn failure(&self) -> Option<String> {
        FETCH.with_borrow(|fetch| fetch.as_ref().and_then(|fetch| fetch.failure.clone()))
    }
}

impl Drop for FetchScope {
    fn drop(&mut self) {
        FETCH.set(None);
    }
}

/// Remembers why a fetch is given up, as [`note_failure`] does.
pub(super) fn note(reason: &str) {
    note_failure(&Failure::new(reason));
}

/// Remembers the first failure of a fetch; later ones only follow from it.
fn note_failure(failure: &Failure) {
    FETCH.with_borrow_mut(|fetch| {
        if let Some(fetch) = fetch {
            fetch.failure.get_or_insert_with(|| failure.to_string());
        }
    });
}

/// Registers the transports with libgit2, once in the life of the process.
fn register_transports() -> Result<(), git2::Error> {
    static REGISTERED: OnceLock<Result<(), (ErrorCode, String)>> = OnceLock::new();
    let outcome = REGISTERED.get_or_init(|| {
        // Fails if the program has chosen a provider before, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        ["http", "https", "ssh", "git"]
            .into_iter()
            .try_for_each(register)
            .map_err(|error| (error.code(), error.message().to_owned()))
    });
    outcome
        .clone()
        .map_err(|(code, message)| git2::Error::new(code, ErrorClass::Net, message))
}

#[expect(
    unsafe_code,
    reason = "registration is only safe while no transport is being made, see below"
)]
fn register(scheme: &'static str) -> Result<(), git2::Error> {
    // http sends each question as a request of its own; the others keep one connection.
    let stateless = scheme.starts_with("http");
    // SAFETY: libgit2 wants no transport to be made at the same time. Transports are made only while a remote connects,
    // which in this program happens only after `FetchScope::begin`, that is after the `OnceLock` around this call has been
    // filled; threads that come meanwhile wait for it.
    unsafe {
        git2::transport::register(scheme, move |remote| {
            Transport::smart(remote, stateless, Subtransport::default())
        })
    }
}

/// One connection to one repository.
#[derive(Default)]
struct Subtransport {
    /// http only: the client, and where the repository turned out to be after redirects.
    http: RefCell<Option<http::Conversation>>,
}

impl SmartSubtransport for Subtransport {
    fn action(
        &self,
        url: &str,
        action: Service,
    ) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        self.open(url, action).map_err(|failure| {
            note_failure(&failure);
            git2::Error::new(
                ErrorCode::GenericError,
                ErrorClass::Net,
                failure.to_string(),
            )
        })
    }

    fn close(&self) -> Result<(), git2::Error> {
        self.http.take();
        Ok(())
    }
}

impl Subtransport {
    fn open(
        &self,
        url: &str,
        action: Service,
    ) -> Result<Box<dyn SmartSubtransportStream>, Failure> {
        let (options, cancel) = FETCH
            .with_borrow(|fetch| {
                fetch
                    .as_ref()
                    .map(|fetch| (fetch.options.clone(), fetch.cancel.clone()))
            })
            .unwrap_or_default();
        // Checked again: the operator's git configuration may have replaced the URL (`url.<base>.insteadOf`).
        let url = GitUrl::parse(url, false).map_err(|error| Failure::new(error.to_string()))?;
        match (url.place(), action) {
            (RepositoryPlace::Http(url), Service::UploadPackLs) => {
                let wire = Wire::new(&options, cancel)?;
                let (conversation, stream) = http::Conversation::begin(wire, url, &options)?;
                self.http.replace(Some(conversation));
                Ok(Box::new(stream))
            }
            (RepositoryPlace::Http(_), Service::UploadPack) => match self.http.borrow().as_ref() {
                Some(conversation) => Ok(Box::new(conversation.request())),
                None => Err(Failure::new(
                    "the server was asked for objects before its refs",
                )),
            },
            (RepositoryPlace::Ssh(address), Service::UploadPackLs) => Ok(Box::new(
                stream::open_ssh(Wire::new(&options, cancel)?, address, &options)?,
            )),
            (
                RepositoryPlace::Daemon {
                    host, port, path, ..
                },
                Service::UploadPackLs,
            ) => Ok(Box::new(stream::open_daemon(
                Wire::new(&options, cancel)?,
                host,
                *port,
                path,
                options.limits.refs,
            )?)),
            (
                RepositoryPlace::Ssh(_)
                | RepositoryPlace::Daemon { .. }
                | RepositoryPlace::Local(_)
                | RepositoryPlace::Sent(_)
                | RepositoryPlace::Own(_),
                _,
            )
            | (RepositoryPlace::Http(_), Service::ReceivePack | Service::ReceivePackLs) => {
                Err(Failure::new("nothing is ever pushed from here"))
            }
        }
    }
}
