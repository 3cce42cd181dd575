//! Bringing a snapshot from the master: what is there already is not asked for again, and the whole is checked.

use super::{TemplateError, disk};
use crate::master::api::MasterApi;
use crate::master::registration::Registration;
use crate::master::retrying::Backoff;
use clusterrunner_common::api::instances::SnapshotRequest;
use clusterrunner_common::caller::CallError;
use clusterrunner_common::disk::regular_file::open_itself;
use clusterrunner_common::templates::TemplateContent;
use reqwest::{Response, StatusCode};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// How often a master that answers may fail to bring a snapshot, or bring a wrong one.
const ANSWERS: u32 = 10;

/// How much is read at a time.
const PIECE: usize = 64 << 10;

/// The master as the place where snapshots come from.
#[derive(Clone, Debug)]
pub(crate) struct Fetching {
    pub(crate) api: MasterApi,
    pub(crate) registration: Registration,
}

/// What is there of a snapshot.
struct Part {
    file: File,
    length: u64,
    digest: Sha256,
}

impl Part {
    /// Opens what an earlier try has left. Blocks.
    fn open(path: &Path) -> io::Result<Self> {
        let mut digest = Sha256::new();
        let mut length = 0;
        if let Ok(mut file) = open_itself(path) {
            let mut piece = vec![0; PIECE];
            loop {
                match file.read(&mut piece)? {
                    0 => break,
                    read => {
                        digest.update(piece.get(..read).unwrap_or_default());
                        length += read as u64;
                    }
                }
            }
        }
        let mut options = File::options();
        let file = options.append(true).create(true).open(path)?;
        Ok(Self {
            file,
            length,
            digest,
        })
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.digest.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }
}

impl Fetching {
    /// Brings a snapshot whole to `path`.
    pub(super) async fn bring(
        &self,
        snapshot: &TemplateContent,
        path: &Path,
        stop: &CancellationToken,
    ) -> Result<(), TemplateError> {
        let mut backoff = Backoff::quick();
        let (mut answers, mut is_damaged) = (0, false);
        loop {
            let tried = tokio::select! {
                tried = self.try_once(snapshot, path, is_damaged) => tried?,
                () = stop.cancelled() => return Err(TemplateError::Canceled),
            };
            let trouble = match tried {
                Tried::Whole => return Ok(()),
                Tried::Interrupted(trouble) => trouble,
                Tried::Answered(trouble) => {
                    answers += 1;
                    trouble
                }
                Tried::Refused(trouble) => return Err(not_brought(&trouble)),
                Tried::Damaged => {
                    answers += 1;
                    is_damaged = true;
                    "it arrived damaged: it is not what its digest says".to_owned()
                }
            };
            if answers >= ANSWERS {
                return Err(not_brought(&trouble));
            }
            tracing::warn!(
                snapshot = snapshot.digest,
                "could not fetch a snapshot, trying again: {trouble}"
            );
            tokio::select! {
                () = backoff.pause() => {}
                () = stop.cancelled() => return Err(TemplateError::Canceled),
            }
        }
    }

    async fn try_once(
        &self,
        snapshot: &TemplateContent,
        path: &Path,
        is_damaged: bool,
    ) -> Result<Tried, TemplateError> {
        let mut part = open(path).await?;
        if part.length > snapshot.bytes {
            start_over(path)?;
            part = open(path).await?;
        }
        if part.length < snapshot.bytes {
            let mut response = match self.ask(snapshot, part.length, is_damaged).await {
                Ok(response) => response,
                Err(tried) => return Ok(tried),
            };
            loop {
                match response.chunk().await {
                    Ok(Some(bytes)) if part.length + bytes.len() as u64 > snapshot.bytes => {
                        start_over(path)?;
                        let trouble = "it sends more than the snapshot has".to_owned();
                        return Ok(Tried::Answered(trouble));
                    }
                    Ok(Some(bytes)) => part.add(&bytes).map_err(disk("store a snapshot"))?,
                    Ok(None) => break,
                    Err(error) => return Ok(Tried::Interrupted(error.to_string())),
                }
            }
        }
        if part.length < snapshot.bytes {
            return Ok(Tried::Interrupted("it ends too early".to_owned()));
        }
        if hex::encode(part.digest.finalize()) == snapshot.digest {
            part.file.sync_data().map_err(disk("store a snapshot"))?;
            return Ok(Tried::Whole);
        }
        start_over(path)?;
        Ok(Tried::Damaged)
    }

    async fn ask(
        &self,
        snapshot: &TemplateContent,
        offset: u64,
        is_damaged: bool,
    ) -> Result<Response, Tried> {
        let request = SnapshotRequest {
            slave_id: self.registration.some_id().await,
            session_id: self.api.session.clone(),
            digest: snapshot.digest.clone(),
            offset,
            is_damaged,
        };
        let asked = self.api.snapshot(&request).await;
        asked.map_err(|error| match error.status() {
            // It may not know us, or our life: we meet it again.
            Some(StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED) => {
                self.registration.doubt();
                Tried::Answered(told(error))
            }
            Some(StatusCode::CONFLICT) => Tried::Refused(told(error)),
            None | Some(StatusCode::UNAUTHORIZED) => Tried::Interrupted(error.to_string()),
            Some(_) if error.is_passing() => Tried::Interrupted(error.to_string()),
            Some(_) => Tried::Answered(told(error)),
        })
    }
}

/// What came of one try.
enum Tried {
    Whole,
    /// As often as it likes.
    Interrupted(String),
    /// A few times.
    Answered(String),
    /// Not again: the master's own is damaged.
    Refused(String),
    /// All of it came, and is not what its digest says. A few times: the master looks at its own.
    Damaged,
}

fn not_brought(trouble: &str) -> TemplateError {
    TemplateError::Refused(format!("the master can not bring the snapshot: {trouble}"))
}

fn told(error: CallError) -> String {
    match error {
        CallError::Refused { error, .. } => error,
        other => other.to_string(),
    }
}

async fn open(path: &Path) -> Result<Part, TemplateError> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || Part::open(&path)).await;
    let opened = opened.map_err(io::Error::other).and_then(|opened| opened);
    opened.map_err(disk("open a snapshot"))
}

fn start_over(path: &Path) -> Result<(), TemplateError> {
    std::fs::remove_file(path).map_err(disk("remove a damaged snapshot"))
}
