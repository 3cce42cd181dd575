//! Bringing a packed result to the master, however often that takes.

use crate::connection::Registration;
use crate::data_directory::DataDirectory;
use crate::master_api::{Backoff, Failures, MasterApi};
use crate::work::{DeliveryOutcome, HandOut};
use bytes::Bytes;
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
            outcome = self.keep_trying(&archive, hand_out, executor) => outcome,
        };
        if let Err(error) = tokio::fs::remove_file(&archive).await {
            tracing::warn!(path = %archive.display(), %error, "could not remove a result");
        }
        outcome
    }

    async fn keep_trying(
        &self,
        archive: &Path,
        hand_out: HandOut,
        executor: ExecutorIndex,
    ) -> DeliveryOutcome {
        let mut backoff = Backoff::quick();
        let mut failures = Failures::default();
        let mut refused = 0;
        loop {
            let id = self.registration.some_id().await;
            let error = match self.deliver_once(archive, hand_out, executor, id).await {
                Ok(Ok(())) => return DeliveryOutcome::Over,
                Ok(Err(error)) => error,
                Err(error) => {
                    let file = archive.display();
                    return DeliveryOutcome::Rejected(format!("could not read {file}: {error}"));
                }
            };
            // A master of the original counts each upload that it refuses, and may never take it.
            refused += u32::from(error.status().is_some());
            if self.api.dialect.is_original() && refused >= TRIES_OF_THE_ORIGINAL {
                tracing::error!(
                    build.id = %hand_out.build, subjob.id = %hand_out.subjob, %error,
                    "the master refused a result again and again; it is dropped, as the original does"
                );
                return DeliveryOutcome::Over;
            }
            match verdict(&error) {
                Verdict::TryAgain => {
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
                    return DeliveryOutcome::Over;
                }
                Verdict::Rejected => {
                    let subjob = hand_out.subjob;
                    let reason =
                        format!("the result of subjob {subjob} can not be delivered: {error}");
                    return DeliveryOutcome::Rejected(reason);
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
        executor: ExecutorIndex,
        id: SlaveId,
    ) -> io::Result<Result<(), CallError>> {
        // The semaphore is never closed; were it, the bound would be all that is lost.
        let _slot = self.slots.acquire().await;
        let report = self.api.result_report(id, hand_out, executor);
        let frame = Frame::new(&serde_json::to_string(&report)?);
        let (archive, head, tail) = (archive.to_owned(), frame.head, frame.tail);
        let read = spawn_blocking(move || Upload::read(&archive, head, tail)).await;
        let Upload {
            length,
            digest,
            content,
        } = read.map_err(io::Error::other)??;
        let body = content.into_body();
        let uploaded = self
            .api
            .upload(hand_out, &frame.content_type, length, &digest, body);
        Ok(uploaded.await)
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
            tail: format!("\r\n--{boundary}--\r\n").into(),
        }
    }
}

/// A body that is ready to be sent.
struct Upload {
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
    /// Reads the file once for the digest. Blocks.
    fn read(archive: &Path, head: Bytes, tail: Bytes) -> io::Result<Self> {
        let mut file = File::open(archive)?;
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
