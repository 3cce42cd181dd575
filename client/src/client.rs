//! Typed calls to a master.
//!
//! Owns which call may be repeated and for how long; how a call is signed and sent is `common::caller`'s.

use crate::error::ClientError;
use clusterrunner_common::api::build_request::BuildRequest;
use clusterrunner_common::api::{
    AtomBody, AtomView, BuildBody, BuildView, BuildsBody, ConsoleBody, DrainAnswer, MasterBody,
    MasterView, QueueBody, ShutdownRequest, SlaveView, SlavesBody, SubjobBody, SubjobFilter,
    SubjobView, SubjobsBody, VersionBody,
};
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::ids::{AtomId, BuildId, SlaveId, SubjobId};
use reqwest::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;

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

/// What counts of the answer to a submission; masters of the original send less than ours.
#[derive(Deserialize)]
struct Accepted {
    build_id: BuildId,
}

/// The two forms in which a master hands out a build's results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archive {
    /// `artifacts.zip`
    Zip,
    /// `artifacts.tar.gz`
    TarGz,
}

impl fmt::Display for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zip => "artifacts.zip",
            Self::TarGz => "artifacts.tar.gz",
        })
    }
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

    /// Submits a build. Repeated only while the connection itself is refused: otherwise nobody knows
    /// whether the master has the build already.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn submit(&self, request: &BuildRequest) -> Result<BuildId, ClientError> {
        self.submit_params(&request.to_body()).await
    }

    /// Submits a build described by the request's own fields, unchecked.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn submit_params(&self, params: &Map<String, Value>) -> Result<BuildId, ClientError> {
        let url = self.url("/v1/build");
        let accepted: Accepted = self
            .repeat(ClientError::never_arrived, || {
                self.send(Method::POST, &url, params)
            })
            .await?;
        Ok(accepted.build_id)
    }

    /// Cancels a build; does nothing to one that is over.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cancel(&self, build: BuildId) -> Result<(), ClientError> {
        let url = self.url(&format!("/v1/build/{build}"));
        let order = json!({"status": "canceled"});
        let _answer: Value = self
            .repeat(ClientError::is_passing, || {
                self.send(Method::PUT, &url, &order)
            })
            .await?;
        Ok(())
    }

    /// Leaves a message among the warnings of a build; does nothing to one that is over.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn note(&self, build: BuildId, note: &str) -> Result<(), ClientError> {
        let url = self.url(&format!("/v1/build/{build}"));
        let order = json!({"note": note});
        let _answer: Value = self
            .repeat(ClientError::is_passing, || {
                self.send(Method::PUT, &url, &order)
            })
            .await?;
        Ok(())
    }

    /// One build.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn build(&self, build: BuildId) -> Result<BuildView, ClientError> {
        let body: BuildBody = self.read(&format!("/v1/build/{build}")).await?;
        Ok(body.build)
    }

    /// All builds that the master remembers, in order of their ids.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn builds(&self) -> Result<Vec<BuildView>, ClientError> {
        let body: BuildsBody = self.read("/v1/build").await?;
        Ok(body.builds)
    }

    /// The builds that are not over, in order of their ids.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn queue(&self) -> Result<Vec<BuildView>, ClientError> {
        let body: QueueBody = self.read("/v1/queue").await?;
        Ok(body.queue)
    }

    /// A build's subjobs with their atoms.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn subjobs(&self, build: BuildId) -> Result<Vec<SubjobView>, ClientError> {
        let body: SubjobsBody = self.read(&format!("/v1/build/{build}/subjob")).await?;
        Ok(body.subjobs)
    }

    /// Those of a build's subjobs that a filter has. Masters that know no filters send all of them.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn filtered_subjobs(
        &self,
        build: BuildId,
        filter: SubjobFilter,
    ) -> Result<Vec<SubjobView>, ClientError> {
        let path = format!("/v1/build/{build}/subjob?state={}", filter.name());
        let body: SubjobsBody = self.read(&path).await?;
        let wanted = |subjob: &SubjobView| filter.has(subjob);
        Ok(body.subjobs.into_iter().filter(wanted).collect())
    }

    /// One subjob.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn subjob(
        &self,
        build: BuildId,
        subjob: SubjobId,
    ) -> Result<SubjobView, ClientError> {
        let path = format!("/v1/build/{build}/subjob/{subjob}");
        let body: SubjobBody = self.read(&path).await?;
        Ok(body.subjob)
    }

    /// One atom.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn atom(
        &self,
        build: BuildId,
        subjob: SubjobId,
        atom: AtomId,
    ) -> Result<AtomView, ClientError> {
        let path = format!("/v1/build/{build}/subjob/{subjob}/atom/{atom}");
        let body: AtomBody = self.read(&path).await?;
        Ok(body.atom)
    }

    /// At most `max_lines` lines of an atom's output: from line `offset_line` on, or the last ones.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn console(
        &self,
        build: BuildId,
        subjob: SubjobId,
        atom: AtomId,
        max_lines: u64,
        offset_line: Option<u64>,
    ) -> Result<ConsoleBody, ClientError> {
        let mut path =
            format!("/v1/build/{build}/subjob/{subjob}/atom/{atom}/console?max_lines={max_lines}");
        if let Some(offset) = offset_line {
            path.push_str(&format!("&offset_line={offset}"));
        }
        self.read(&path).await
    }

    /// Begins to read all that an ended atom printed, from byte `offset` on, as it is. `None` where the master has only
    /// lines of it to give: the atom has not ended, or the master does not know of bytes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn console_text(
        &self,
        build: BuildId,
        subjob: SubjobId,
        atom: AtomId,
        offset: u64,
    ) -> Result<Option<Response>, ClientError> {
        let url = self.url(&format!(
            "/v1/build/{build}/subjob/{subjob}/atom/{atom}/console?offset_byte={offset}"
        ));
        let is_text = |response: &Response| {
            let kind = response.headers().get(reqwest::header::CONTENT_TYPE);
            kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"))
        };
        self.repeat(ClientError::is_passing, || async {
            match self.caller.get_stream(&url).await {
                Ok(response) => Ok(Some(response).filter(is_text)),
                Err(error) if error.status() == Some(StatusCode::BAD_REQUEST) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// At most `max_lines` lines of what the set-up of a build prints, from line `offset_line` on: on a slave, or on one
    /// that sets the build up.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn setup_output(
        &self,
        build: BuildId,
        slave: Option<SlaveId>,
        max_lines: u64,
        offset_line: u64,
    ) -> Result<ConsoleBody, ClientError> {
        let slave = slave.map_or_else(String::new, |slave| format!("&slave={slave}"));
        let lines = format!("max_lines={max_lines}&offset_line={offset_line}");
        self.read(&format!("/v1/build/{build}/setup?{lines}{slave}"))
            .await
    }

    /// All slaves that the master knows.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn slaves(&self) -> Result<Vec<SlaveView>, ClientError> {
        let body: SlavesBody = self.read("/v1/slave").await?;
        Ok(body.slaves)
    }

    /// Has slaves end as soon as they have finished what they run. Repeated only while the connection
    /// itself is refused: a slave that is gone already is unknown the second time.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn shut_down_slaves(&self, slaves: &ShutdownRequest) -> Result<(), ClientError> {
        let url = self.url("/v1/slave/shutdown");
        self.repeat(ClientError::never_arrived, async || {
            match self.caller.order(Method::POST, &url, slaves).await {
                Err(error) if error.is_from_original() => {
                    self.meet_original()?;
                    let ordered = self.caller.order_original(Method::POST, &url, slaves);
                    Ok(ordered.await?)
                }
                ordered => Ok(ordered?),
            }
        })
        .await
    }

    /// Has a slave take no new work, or (`drain` is false) take work again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn drain_slave(
        &self,
        slave: SlaveId,
        drain: bool,
    ) -> Result<DrainAnswer, ClientError> {
        let order = if drain { "drain" } else { "undrain" };
        let url = self.url(&format!("/v1/slave/{slave}/{order}"));
        self.repeat(ClientError::is_passing, || async {
            Ok(self.caller.send(Method::POST, &url, &json!({})).await?)
        })
        .await
    }

    /// The master's version.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn version(&self) -> Result<VersionBody, ClientError> {
        self.read("/v1/version").await
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

    /// Streams a build's results into the file at `path`, which it makes or empties. A download that
    /// breaks off, or comes too early, begins anew.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn download(
        &self,
        build: BuildId,
        archive: Archive,
        path: &Path,
    ) -> Result<(), ClientError> {
        let url = self.url(&format!("/v1/build/{build}/{archive}"));
        self.repeat(ClientError::is_passing, || async {
            self.download_once(build, &url, path).await
        })
        .await
    }

    async fn download_once(
        &self,
        build: BuildId,
        url: &str,
        path: &Path,
    ) -> Result<(), ClientError> {
        let store = |source| ClientError::Store {
            path: path.to_owned(),
            source,
        };
        let mut response = self.caller.get_stream(url).await?;
        if response.status() != StatusCode::OK {
            return Err(ClientError::ArchiveNotReady { build });
        }
        let mut file = tokio::fs::File::create(path).await.map_err(store)?;
        loop {
            match response.chunk().await {
                Ok(Some(bytes)) => file.write_all(&bytes).await.map_err(store)?,
                Ok(None) => break,
                Err(source) => {
                    let source = source.without_url();
                    return Err(ClientError::Download { build, source });
                }
            }
        }
        file.flush().await.map_err(store)
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
