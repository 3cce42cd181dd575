//! Bringing a packed result to the master, however often that takes.

use crate::connection::Registration;
use crate::data_directory::DataDirectory;
use crate::master_api::{Backoff, Failures, MasterApi};
use crate::result_note::ResultNote;
use crate::work::{DeliveryOutcome, HandOut};
use bytes::Bytes;
use clusterrunner_common::api::ResultReport;
use clusterrunner_common::caller::CallError;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::ids::{ExecutorIndex, SlaveId};
use futures_util::{StreamExt as _, stream};
use reqwest::StatusCode;
use sha2::{Digest as _, Sha512};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

/// Results up to this size are read once and sent from memory.
const SMALL_RESULT: u64 = 1 << 20;

/// How much of a large result is read at a time.
const CHUNK: usize = 1 << 17;

/// How often a result is offered to a master of the original that refuses it.
const TRIES_OF_THE_ORIGINAL: u32 = 5;

/// Everything that deliveries share.
#[derive(Debug)]
pub(crate) struct Deliveries {
    pub(crate) api: MasterApi,
    pub(crate) registration: Registration,
    /// How many uploads there may be at a time.
    pub(crate) slots: Semaphore,
    /// Told when the process is to end: results that are not delivered then are kept for the next.
    pub(crate) ending: CancellationToken,
}

/// How trying to deliver a result ended.
#[derive(Debug)]
pub(crate) enum DeliveryEnd {
    /// The master has it.
    Taken,
    /// The master does not want it from this registration.
    Unwanted(SlaveId),
    /// The master will never take it as it is.
    Rejected(String),
}

/// What becomes of a result after a failed try.
enum Verdict {
    TryAgain,
    Unwanted,
    Rejected,
}

fn verdict(error: &CallError) -> Verdict {
    match error.status() {
        // Another attempt counts, or the build is over.
        Some(StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::GONE) => Verdict::Unwanted,
        // The clock, or the registration, may come right.
        Some(StatusCode::UNAUTHORIZED | StatusCode::PRECONDITION_FAILED) | None => {
            Verdict::TryAgain
        }
        Some(_) if error.is_passing() => Verdict::TryAgain,
        Some(_) => Verdict::Rejected,
    }
}

impl Deliveries {
    /// Delivers a result and removes its file; gives up at `stop`.
    pub(crate) async fn deliver(
        &self,
        data: &DataDirectory,
        hand_out: HandOut,
        executor: ExecutorIndex,
        stop: &CancellationToken,
    ) -> DeliveryOutcome {
        let archive = data.result_file(hand_out);
        let outcome = tokio::select! {
            () = stop.cancelled() => DeliveryOutcome::Over,
            end = self.keep_trying(&archive, hand_out, Some(executor)) => match end {
                DeliveryEnd::Taken | DeliveryEnd::Unwanted(_) => DeliveryOutcome::Over,
                DeliveryEnd::Rejected(reason) => DeliveryOutcome::Rejected(reason),
            },
        };
        if stop.is_cancelled() && self.ending.is_cancelled() {
            match data.hold(hand_out) {
                Ok(()) => return outcome,
                Err(error) => {
                    tracing::warn!(path = %archive.display(), %error, "could not keep a result");
                }
            }
        }
        if let Err(error) = tokio::fs::remove_file(&archive).await {
            tracing::warn!(path = %archive.display(), %error, "could not remove a result");
        }
        outcome
    }

    /// Delivers a result of an earlier life; its file stays.
    pub(crate) async fn deliver_held(&self, archive: &Path, hand_out: HandOut) -> DeliveryEnd {
        self.keep_trying(archive, hand_out, None).await
    }

    async fn keep_trying(
        &self,
        archive: &Path,
        hand_out: HandOut,
        executor: Option<ExecutorIndex>,
    ) -> DeliveryEnd {
        let mut is_synced = false;
        let mut backoff = Backoff::quick();
        let mut failures = Failures::default();
        let mut refused = 0;
        loop {
            let id = self.registration.some_id().await;
            let error = match self.deliver_once(archive, hand_out, executor, id).await {
                Ok(Ok(())) => return DeliveryEnd::Taken,
                Ok(Err(error)) => error,
                Err(error) => {
                    let file = archive.display();
                    return DeliveryEnd::Rejected(format!("could not read {file}: {error}"));
                }
            };
            // A master of the original counts each upload that it refuses, and may never take it.
            refused += u32::from(error.status().is_some());
            if self.api.dialect.is_original() && refused >= TRIES_OF_THE_ORIGINAL {
                tracing::error!(
                    build.id = %hand_out.build, subjob.id = %hand_out.subjob, %error,
                    "the master refused a result again and again; it is dropped, as the original does"
                );
                return DeliveryEnd::Unwanted(id);
            }
            match verdict(&error) {
                Verdict::TryAgain => {
                    // Now that it has to wait it must survive the machine too. Results that are taken
                    // at once, nearly all, do not pay for that.
                    if !is_synced {
                        is_synced = true;
                        sync(archive).await;
                    }
                    if failures.is_new(&error) {
                        tracing::warn!(
                            build.id = %hand_out.build, subjob.id = %hand_out.subjob,
                            attempt = %hand_out.attempt, slave.id = %id, %error,
                            "a result was not delivered; trying on"
                        );
                    }
                    if error.status() == Some(StatusCode::PRECONDITION_FAILED) {
                        self.registration.doubt();
                    }
                }
                Verdict::Unwanted => {
                    tracing::info!(
                        build.id = %hand_out.build, subjob.id = %hand_out.subjob,
                        attempt = %hand_out.attempt, slave.id = %id, %error,
                        "the master does not want this result; it is dropped"
                    );
                    // If that is since it forgot us, connecting again sets things right.
                    self.registration.doubt();
                    return DeliveryEnd::Unwanted(id);
                }
                Verdict::Rejected => {
                    let subjob = hand_out.subjob;
                    let reason =
                        format!("the result of subjob {subjob} can not be delivered: {error}");
                    return DeliveryEnd::Rejected(reason);
                }
            }
            backoff.pause().await;
        }
    }

    /// Makes one try. The outer error says that the file can not be read.
    async fn deliver_once(
        &self,
        archive: &Path,
        hand_out: HandOut,
        executor: Option<ExecutorIndex>,
        id: SlaveId,
    ) -> io::Result<Result<(), CallError>> {
        // The semaphore is never closed; were it, the bound would be all that is lost.
        let _slot = self.slots.acquire().await;
        let report = self.api.result_report(id, hand_out, executor);
        let archive = archive.to_owned();
        let read = spawn_blocking(move || Upload::read(&archive, report)).await;
        let Upload {
            content_type,
            length,
            digest,
            content,
        } = read.map_err(io::Error::other)??;
        let body = content.into_body();
        let uploaded = self
            .api
            .upload(hand_out, &content_type, length, &digest, body);
        Ok(uploaded.await)
    }
}

/// Brings a result to the disk for good.
async fn sync(archive: &Path) {
    let path = archive.to_owned();
    let synced = spawn_blocking(move || {
        File::open(&path)?.sync_all()?;
        match path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    });
    let synced = synced.await.map_err(io::Error::other).and_then(|done| done);
    if let Err(error) = synced {
        tracing::warn!(path = %archive.display(), %error, "a result that waits could not be synced");
    }
}

/// What is around the file in a `multipart/form-data` body.
struct Frame {
    content_type: String,
    head: Bytes,
    tail: Bytes,
}

impl Frame {
    fn new(report: &str) -> Self {
        // 128 random bits do not occur in the file.
        let boundary = u128::from_be_bytes(random_bytes());
        let boundary = format!("clusterrunner-{boundary:032x}");
        let head = format!(
            "--{boundary}\r\n\
             Content-Disposition: form-data; name=\"__encoded_body__\"\r\n\r\n\
             {report}\r\n\
             --{boundary}\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"payload\"\r\n\
             Content-Type: application/x-compressed\r\n\r\n"
        );
        Self {
            content_type: format!("multipart/form-data; boundary={boundary}"),
            head: head.into(),
            // Nothing behind it: whoever has read the last part has read all there is.
            tail: format!("\r\n--{boundary}--").into(),
        }
    }
}

/// A body that is ready to be sent.
struct Upload {
    content_type: String,
    length: u64,
    /// Hex SHA-512 of the whole body.
    digest: String,
    content: Content,
}

enum Content {
    Memory(Bytes),
    Disk {
        head: Bytes,
        file: File,
        tail: Bytes,
    },
}

impl Upload {
    /// Adds to `report` what the archive says of itself, and reads the file once for the digest.
    /// Blocks.
    fn read(archive: &Path, mut report: ResultReport) -> io::Result<Self> {
        let mut file = File::open(archive)?;
        report.atoms = ResultNote::read(&file)?.atoms;
        io::Seek::rewind(&mut file)?;
        let Frame {
            content_type,
            head,
            tail,
        } = Frame::new(&serde_json::to_string(&report)?);
        let file_length = file.metadata()?.len();
        let length = head.len() as u64 + file_length + tail.len() as u64;
        let mut hasher = Sha512::new();
        let content = if file_length <= SMALL_RESULT {
            let mut body = Vec::from(head);
            file.read_to_end(&mut body)?;
            body.extend_from_slice(&tail);
            hasher.update(&body);
            Content::Memory(body.into())
        } else {
            hasher.update(&head);
            let mut chunk = vec![0; CHUNK];
            loop {
                match file.read(&mut chunk)? {
                    0 => break,
                    read => hasher.update(&chunk[..read]),
                }
            }
            hasher.update(&tail);
            io::Seek::rewind(&mut file)?;
            Content::Disk { head, file, tail }
        };
        Ok(Self {
            content_type,
            length,
            digest: hex::encode(hasher.finalize()),
            content,
        })
    }
}

impl Content {
    fn into_body(self) -> reqwest::Body {
        match self {
            Self::Memory(body) => body.into(),
            Self::Disk { head, file, tail } => {
                let file = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK);
                let around = |part: Bytes| stream::iter([io::Result::Ok(part)]);
                reqwest::Body::wrap_stream(around(head).chain(file).chain(around(tail)))
            }
        }
    }
}
