//! What atoms and set-ups print, and archives of results.

use super::Client;
use crate::error::ClientError;
use clusterrunner_common::api::{ConsoleBody, StepView, StepsBody};
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SlaveId, SubjobId};
use reqwest::{Response, StatusCode};
use std::fmt;
use std::path::Path;
use tokio::io::AsyncWriteExt as _;

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

/// The end of a query that asks for one attempt.
fn of_attempt(attempt: Option<Attempt>) -> String {
    attempt.map_or_else(String::new, |attempt| format!("&attempt={attempt}"))
}

impl Client {
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
        let atom = (build, subjob, atom);
        self.console_of(atom, None, max_lines, offset_line).await
    }

    /// As [`Self::console`], of one attempt at the atom, or of the last one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn console_of(
        &self,
        (build, subjob, atom): (BuildId, SubjobId, AtomId),
        attempt: Option<Attempt>,
        max_lines: u64,
        offset_line: Option<u64>,
    ) -> Result<ConsoleBody, ClientError> {
        let mut path =
            format!("/v1/build/{build}/subjob/{subjob}/atom/{atom}/console?max_lines={max_lines}");
        path.push_str(&of_attempt(attempt));
        if let Some(offset) = offset_line {
            path.push_str(&format!("&offset_line={offset}"));
        }
        self.read(&path).await
    }

    /// Begins to read all that an ended atom printed, from byte `offset` on, as it is. `None` where the master has only
    /// lines of it to give: the atom has not ended, or the master does not know of bytes. Of one attempt, or of the last
    /// one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn console_text(
        &self,
        build: BuildId,
        subjob: SubjobId,
        atom: AtomId,
        attempt: Option<Attempt>,
        offset: u64,
    ) -> Result<Option<Response>, ClientError> {
        let attempt = of_attempt(attempt);
        let url = self.url(&format!(
            "/v1/build/{build}/subjob/{subjob}/atom/{atom}/console?offset_byte={offset}{attempt}"
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

    /// What was and is done of a build beside its atoms.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn steps(&self, build: BuildId) -> Result<Vec<StepView>, ClientError> {
        let StepsBody { steps } = self.read(&format!("/v1/build/{build}/steps")).await?;
        Ok(steps)
    }

    /// At most `max_lines` lines of what a step of a build prints, from line `offset_line` on.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn step_output(
        &self,
        build: BuildId,
        step: u64,
        max_lines: u64,
        offset_line: u64,
    ) -> Result<ConsoleBody, ClientError> {
        let lines = format!("max_lines={max_lines}&offset_line={offset_line}");
        self.read(&format!("/v1/build/{build}/steps/{step}/console?{lines}"))
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

    pub(super) async fn download_once(
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
}
