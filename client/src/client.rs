//! Typed calls to a master.
//!
//! Owns which call may be repeated and for how long; how a call is signed and sent is `common::caller`'s.

mod accounts;
mod apps;
mod artifacts;
mod audit;
mod builds;
mod consoles;
mod history;
mod instances;
mod pools;
mod receivers;
mod secrets;
mod slave_keys;
mod slaves;
mod tests;
mod working_trees;

pub use apps::{App, Config, ConfigChange, Container, Domain, Release, said_of_app};
pub use consoles::Archive;
pub use history::WantedJobs;
pub use tests::WantedTests;
pub use working_trees::SentPack;

use crate::error::ClientError;
use clusterrunner_common::api::{MasterBody, MasterView, VersionBody};
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::clock::Timestamp;
use reqwest::header::{DATE, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pause before the first repetition of a call; it doubles from one to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two repetitions, so that the end of an outage is noticed at once.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A client of one master. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    caller: Caller,
    master: String,
    patience: Duration,
    outages: Option<OutageListener>,
    originals: Option<OriginalListener>,
}

/// Is told before a master of the original is given the weaker proof that it asks for.
pub type OriginalListener = Arc<dyn Fn() + Send + Sync>;

/// Is told when the master stops answering and when it is back.
pub type OutageListener = Arc<dyn Fn(Outage<'_>) + Send + Sync>;

/// What an [`OutageListener`] is told.
#[derive(Clone, Copy, Debug)]
pub enum Outage<'a> {
    /// A call brought no answer and will be repeated.
    Began {
        /// What went wrong.
        error: &'a CallError,
        /// For how long at most, counted from the first try.
        patience: Duration,
    },
    /// The call was answered after all.
    Ended,
}

impl Client {
    /// A client of the master at `master` (`host:port`, or a URL when it speaks HTTPS). While the
    /// master does not answer, a call that may be repeated is, for `patience` at most.
    #[must_use]
    pub fn new(caller: Caller, master: &str, patience: Duration) -> Self {
        Self {
            caller,
            master: master.trim_end_matches('/').to_owned(),
            patience,
            outages: None,
            originals: None,
        }
    }

    /// The same client with another patience.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self {
            patience,
            ..self.clone()
        }
    }

    /// The same client; `listener` is told about each outage that a call rides through.
    #[must_use]
    pub fn with_outage_listener(self, listener: OutageListener) -> Self {
        Self {
            outages: Some(listener),
            ..self
        }
    }

    /// The same client, which signs by the body's digest alone where a master shows by its answer that it is one of
    /// the original; `listener` is told each time. A stranger who sees such a request can send it again.
    #[must_use]
    pub fn with_legacy_masters(self, listener: OriginalListener) -> Self {
        Self {
            originals: Some(listener),
            ..self
        }
    }

    /// The master's address as it was given.
    #[must_use]
    pub fn master(&self) -> &str {
        &self.master
    }

    /// The URL of a path of the master.
    #[must_use]
    pub fn url_of(&self, path: &str) -> String {
        self.caller.with_scheme(&self.url(path))
    }

    /// The URL of a host that leads to an app: the master's own, with another name.
    #[must_use]
    pub fn url_of_host(&self, host: &str) -> String {
        let master = self.caller.with_scheme(&self.master);
        let (scheme, address) = master.split_once("://").unwrap_or(("http", &master));
        let port = address.rsplit_once(':').map(|(_, port)| port);
        let port = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        match (scheme, port) {
            (_, None) | ("http", Some("80")) | ("https", Some("443")) => {
                format!("{scheme}://{host}")
            }
            (_, Some(port)) => format!("{scheme}://{host}:{port}"),
        }
    }

    /// The master's version.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn version(&self) -> Result<VersionBody, ClientError> {
        self.read("/v1/version").await
    }

    /// The master's clock as the headers of its answers tell it, in whole seconds; `None` where they do not.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn clock(&self) -> Result<Option<Timestamp>, ClientError> {
        let answer = self.caller.get_stream(&self.url("/v1/version")).await?;
        let date = answer.headers().get(DATE).map(HeaderValue::as_bytes);
        let date = date.and_then(|date| {
            jiff::fmt::rfc2822::DateTimeParser::new()
                .parse_timestamp(date)
                .ok()
        });
        Ok(date
            .and_then(|date| u64::try_from(date.as_millisecond()).ok())
            .map(Timestamp))
    }

    /// Whether the master takes what this client signs. Changes nothing there. One of the original is not asked further:
    /// it takes another kind of proof.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn is_trusted(&self) -> Result<bool, ClientError> {
        // The signature is looked at before the method, which this route does not take.
        let url = self.url("/v1/version");
        match self.caller.order(Method::POST, &url, &json!({})).await {
            Err(error) if error.is_from_original() => Ok(true),
            Err(CallError::Refused { status, .. }) => Ok(status != StatusCode::UNAUTHORIZED),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(true),
        }
    }

    /// The master about itself, which nothing but a master answers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn master_view(&self) -> Result<MasterView, ClientError> {
        let body: MasterBody = self.read("/v1").await?;
        Ok(body.master)
    }

    /// Any resource as the master gives it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let url = self.url(path);
        self.repeat(ClientError::is_passing, || async {
            Ok(self.caller.get(&url).await?)
        })
        .await
    }

    /// Sends JSON, signed, and reads JSON: what masters of the original take as well.
    async fn send<B: Serialize + Sync + ?Sized, T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        match self.caller.send(method.clone(), url, body).await {
            Err(error) if error.is_from_original() => {
                self.meet_original()?;
                let body = serde_json::to_vec(body).map_err(CallError::Body)?;
                let sent = self.caller.send_to_original(method, url, body, &[]);
                Ok(sent.await?)
            }
            sent => Ok(sent?),
        }
    }

    /// The master is one of the original: goes on only where that is allowed.
    fn meet_original(&self) -> Result<(), ClientError> {
        let Some(listener) = &self.originals else {
            return Err(ClientError::OriginalMaster {
                master: self.master.clone(),
            });
        };
        listener();
        Ok(())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.master)
    }

    /// Calls until there is an answer, an error that is not `worth_repeating`, or no patience left.
    async fn repeat<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        worth_repeating: fn(&ClientError) -> bool,
        // Not `AsyncFn`: a future that awaits one is not known to be `Send`, so nobody could spawn it.
        call: impl Fn() -> F,
    ) -> Result<T, ClientError> {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut outage = false;
        loop {
            let outcome = call().await;
            match &outcome {
                Err(error)
                    if worth_repeating(error) && started.elapsed() + pause < self.patience =>
                {
                    if let (false, ClientError::Call(error)) = (outage, error) {
                        outage = true;
                        self.tell(Outage::Began {
                            error,
                            patience: self.patience,
                        });
                    }
                }
                _ => {
                    if outage && outcome.is_ok() {
                        self.tell(Outage::Ended);
                    }
                    return outcome;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn tell(&self, outage: Outage<'_>) {
        if let Some(listener) = &self.outages {
            listener(outage);
        }
    }
}
