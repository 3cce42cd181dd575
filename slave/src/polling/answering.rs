//! The answer to one call, sent piece by piece: as much at a time as there is, and no faster than the master takes it.

use crate::master::api::MasterApi;
use crate::master::registration::Registration;
use crate::master::retrying::Backoff;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use clusterrunner_common::api::{AnswerHead, AnswerPart, LONGEST_PIECE, PieceAnswer, written_head};
use clusterrunner_common::auth::signature::content_digest;
use clusterrunner_common::caller::{CallError, Caller};
use futures_util::{FutureExt as _, StreamExt as _};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long an answer of which nothing comes is silent before the master is asked whether anybody still waits for it.
const SILENCE: Duration = Duration::from_secs(10);

/// How long a piece is sent again that does not get there: by then whoever called has given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why an answer did not get there.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    #[error(transparent)]
    Call(#[from] CallError),
    /// It broke off where it is made.
    #[error("the answer broke off: {0}")]
    BrokenOff(axum::Error),
}

/// Sends the answer to a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answering<'a> {
    pub(super) api: &'a MasterApi,
    pub(super) caller: &'a Caller,
    pub(super) registration: &'a Registration,
    pub(super) call: u64,
}

impl Answering<'_> {
    /// Sends all of it, or as much as anybody waits for.
    pub(super) async fn send(&self, answer: Response) -> Result<(), AnswerError> {
        let (parts, body) = answer.into_parts();
        let head = AnswerHead {
            status: parts.status.as_u16(),
            headers: told(&parts.headers),
        };
        let mut piece = written_head(&head).map_err(CallError::Body)?;
        let mut body = Rest::of(body);
        let mut number = 0;
        loop {
            let last = body.fill(&mut piece).await?;
            let part = AnswerPart {
                piece: number,
                last,
            };
            let is_wanted = self.send_piece(part, piece.into()).await?;
            if last || !is_wanted {
                return Ok(());
            }
            piece = Vec::new();
            number += 1;
        }
    }

    /// Sends one piece until it is taken. Whether anybody waits for the rest.
    async fn send_piece(&self, part: AnswerPart, piece: Bytes) -> Result<bool, AnswerError> {
        let until = Instant::now() + PATIENCE;
        let mut backoff = Backoff::quick();
        let digest = content_digest(&piece);
        loop {
            let sent = self.send_once(part, &digest, piece.clone()).await;
            match sent {
                Ok(answer) if answer.is_taken || !answer.is_wanted => return Ok(answer.is_wanted),
                // Whoever reads it is slow.
                Ok(_) => {}
                Err(error) if error.is_passing() && Instant::now() < until => backoff.pause().await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn send_once(
        &self,
        AnswerPart { piece, last }: AnswerPart,
        digest: &str,
        bytes: Bytes,
    ) -> Result<PieceAnswer, CallError> {
        let id = self.registration.some_id().await;
        let url = format!(
            "{}/v1/slave/{id}/calls/{}?piece={piece}&last={last}",
            self.api.master, self.call
        );
        // Numbers of calls mean something in one life of the master.
        let session = self.api.lineage.session();
        let (kind, length) = ("application/octet-stream", bytes.len() as u64);
        self.caller
            .upload(&url, kind, length, digest, bytes.into(), session.as_ref())
            .await
    }
}

/// What is still to come of a body.
struct Rest {
    body: BodyDataStream,
    /// What did not go into the last piece.
    left: Bytes,
}

impl Rest {
    fn of(body: Body) -> Self {
        Self {
            body: body.into_data_stream(),
            left: Bytes::new(),
        }
    }

    /// Adds what there is to a piece, and waits if there is nothing, but not for ever. Whether that is the end.
    async fn fill(&mut self, piece: &mut Vec<u8>) -> Result<bool, AnswerError> {
        let longest = piece.len() + LONGEST_PIECE;
        let begin = piece.len();
        loop {
            let room = self.left.len().min(longest - piece.len());
            piece.extend_from_slice(&self.left.split_to(room));
            if !self.left.is_empty() {
                return Ok(false);
            }
            let has_some = piece.len() > begin;
            let next = match self.body.next().now_or_never() {
                Some(next) => next,
                // What is there goes at once: somebody may follow what an atom prints.
                None if has_some => return Ok(false),
                None => match timeout(SILENCE, self.body.next()).await {
                    Ok(next) => next,
                    Err(_) => return Ok(false),
                },
            };
            match next.transpose().map_err(AnswerError::BrokenOff)? {
                Some(bytes) => self.left = bytes,
                None => return Ok(true),
            }
        }
    }
}

/// The headers that say something of the answer, and nothing of a connection.
fn told(headers: &HeaderMap) -> Vec<(String, String)> {
    let told = headers
        .iter()
        .filter(|(name, _)| **name != header::CONNECTION && **name != header::TRANSFER_ENCODING);
    let told = told.filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    told.collect()
}
