//! A page of events as an answer, made while it is sent: a slow reader holds a piece of it and no more.

use super::EventLog;
use crate::http::clusterrunner::rules::{Streamed, etag_of, whole};
use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::stream;
use std::convert::Infallible;
use std::ops::Range;

/// How much is made at a time. A page that is not longer is whole at once, and has an ETag.
const PIECE: usize = 32 << 10;

/// What is still to be written of a page.
pub(super) struct Page {
    log: EventLog,
    /// None where there are no events to ask for.
    ids: Option<Range<u64>>,
    /// Whether an event was written.
    is_begun: bool,
}

impl Page {
    pub(super) fn new(log: EventLog, ids: Option<Range<u64>>) -> Self {
        Self {
            log,
            ids,
            is_begun: false,
        }
    }

    /// The whole answer, with what is below the route.
    pub(super) async fn answer(mut self, children: &str) -> Response {
        let end = format!("],\"child_routes\":{children}}}");
        let mut first = r#"{"events":["#.to_owned();
        if self.ids.is_none() {
            first = r#"{"events":null"#.to_owned();
            first.push_str(&end[1..]);
        } else if !self.write_in_turn(&mut first).await {
            first.push_str(&end);
        } else {
            let rest = stream::unfold(Some((self, end)), |state| async {
                let (mut page, end) = state?;
                let mut piece = String::new();
                if page.write_in_turn(&mut piece).await {
                    return Some((piece, Some((page, end))));
                }
                piece.push_str(&end);
                Some((piece, None))
            });
            let pieces = stream::StreamExt::chain(stream::iter([first]), rest);
            let pieces =
                stream::StreamExt::map(pieces, |piece| Ok::<_, Infallible>(Bytes::from(piece)));
            let mut response = Response::new(Body::from_stream(pieces));
            response.extensions_mut().insert(Streamed);
            return response;
        }
        let body = Bytes::from(first);
        let etag = etag_of(&body);
        whole(body, etag)
    }

    async fn write_in_turn(&mut self, text: &mut String) -> bool {
        let _turn = self.log.turns.take().await;
        self.write(text)
    }

    /// Writes the next events; whether there are more. Those that have left memory meanwhile end the page: whoever
    /// asks for what comes after the last one gets what there is.
    fn write(&mut self, text: &mut String) -> bool {
        let Some(ids) = &mut self.ids else {
            return false;
        };
        if ids.is_empty() {
            return false;
        }
        let mut events = String::new();
        while events.len() < PIECE && !ids.is_empty() {
            let chunk = self.log.lock().kept.chunk(ids.start);
            // Events go on meanwhile.
            let next = chunk.map(|chunk| chunk.append_to(&mut events, ids, PIECE));
            ids.start = next.unwrap_or(ids.end);
        }
        if !events.is_empty() {
            if self.is_begun {
                text.push(',');
            }
            self.is_begun = true;
            text.push_str(&events);
        }
        !ids.is_empty()
    }
}
