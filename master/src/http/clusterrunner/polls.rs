//! The polls of slaves that can not be called, and the answers that they bring.

use super::error::ApiError;
use super::sender::Sender;
use super::{Api, Path};
use crate::polls::{Line, NotTaken, Piece};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use clusterrunner_common::api::{
    AnswerHead, AnswerPart, LONGEST_HEAD, LONGEST_PIECE, PieceAnswer, PollRequest, end_of_head,
};
use clusterrunner_common::auth::gate::{Signed, SignedUpload};
use clusterrunner_common::ids::{SessionId, SlaveId};
use clusterrunner_core::refusal::Refusal;
use std::sync::Arc;
use std::time::Duration;

/// How long a poll is kept open at most, whatever the slave asks for.
const LONGEST_POLL: Duration = Duration::from_secs(60);

/// A slave asks for its next call.
pub(super) async fn next_call(
    State(api): State<Arc<Api>>,
    Path(slave): Path<SlaveId>,
    sender: Sender,
    Signed(request): Signed<PollRequest>,
) -> Result<Response, ApiError> {
    let line = line_of(&api, &sender, (slave, Some(&request.session_id)))?;
    let wait = Duration::from_millis(request.wait_ms).min(LONGEST_POLL);
    let stopped = api.live.stop.cancelled();
    let call = tokio::select! {
        call = tokio::time::timeout(wait, line.next_call()) => call.ok().flatten(),
        () = stopped => None,
    };
    Ok(match call {
        Some(call) => {
            let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
            (kind, Body::from_stream(call)).into_response()
        }
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// A slave brings a piece of an answer.
pub(super) async fn answer(
    State(api): State<Arc<Api>>,
    Path((slave, call)): Path<(SlaveId, u64)>,
    part: Result<Query<AnswerPart>, QueryRejection>,
    sender: Sender,
    SignedUpload { request, verdict }: SignedUpload,
) -> Result<Json<PieceAnswer>, ApiError> {
    let line = line_of(&api, &sender, (slave, None))?;
    let Query(part) = part.map_err(|error| {
        let error = error.body_text();
        ApiError::Invalid(format!(
            "The query must be piece=NUMBER&last=true or last=false: {error}."
        ))
    })?;
    let bytes = axum::body::to_bytes(request.into_body(), LONGEST_HEAD + LONGEST_PIECE).await;
    let bytes = bytes.map_err(|_| ApiError::TooLarge(too_large()))?;
    if !verdict.is_genuine() {
        return Err(ApiError::BrokenOff);
    }
    let (head, bytes) = match part.piece {
        0 => split(bytes)?,
        _ => (None, bytes),
    };
    let piece = Piece {
        number: part.piece,
        last: part.last,
        head,
        bytes,
    };
    let (is_wanted, is_taken) = match line.take(call, piece).await {
        Ok(()) => (true, true),
        Err(NotTaken::NotYet) => (true, false),
        Err(NotTaken::NotWanted) => (false, false),
        Err(NotTaken::Skips) => {
            let error =
                "Parameter 'piece' skips pieces of this answer: they come one after the other.";
            return Err(ApiError::invalid(error));
        }
    };
    Ok(Json(PieceAnswer {
        is_wanted,
        is_taken,
    }))
}

/// The line to the slave that sends this.
fn line_of(
    api: &Api,
    sender: &Sender,
    (slave, session): (SlaveId, Option<&SessionId>),
) -> Result<Arc<Line>, ApiError> {
    sender.check(slave)?;
    let polling = api.slave_keys.polling(slave);
    let (life, address) = polling.ok_or(Refusal::NoSuchSlave(slave))?;
    match session.filter(|session| **session != life) {
        Some(expired) => Err(Refusal::SessionExpired(expired.clone()).into()),
        None => Ok(api.lines.of(&address)),
    }
}

fn too_large() -> String {
    format!("A piece of an answer may have {LONGEST_PIECE} bytes, and {LONGEST_HEAD} of a head.")
}

/// The head of an answer and the bytes that follow it.
fn split(mut bytes: Bytes) -> Result<(Option<AnswerHead>, Bytes), ApiError> {
    let invalid = || {
        let error = "The first piece of an answer begins with its head, a line of JSON with 'status' and 'headers'.";
        ApiError::invalid(error)
    };
    let end = end_of_head(&bytes).ok_or_else(invalid)?;
    let head = bytes.split_to(end);
    let head = clusterrunner_common::text::json::from_slice(&head).map_err(|_| invalid())?;
    Ok((Some(head), bytes))
}
