//! The bytes between a client and git. Both end with the answer: when the client leaves, git is given up.

use super::error::GitHttpError;
use crate::push::{Protocol, Service, Talk};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use flate2::read::GzDecoder;
use futures_util::stream::{self, Stream, StreamExt as _};
use std::io::{self, Read as _};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::task::AbortOnDropHandle;

/// The most bytes of a body that is packed, and of what is in it. Only the questions of a fetch are packed: ids of
/// commits.
const MOST_PACKED: usize = 4 << 20;
const MOST_UNPACKED: usize = 32 << 20;

/// How much is read of git at a time.
const CHUNK: usize = 64 << 10;

/// How long nothing may come from the client, or go to it.
const NOTHING_MOVES: Duration = Duration::from_secs(300);

/// How much of what git says besides is read for the log.
const SAID: u64 = 2000;

/// The body of a request, unpacked where it is packed.
pub(super) async fn unpacked(headers: &HeaderMap, body: Body) -> Result<Body, GitHttpError> {
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(body);
    };
    match encoding.as_bytes() {
        b"identity" => return Ok(body),
        b"gzip" | b"x-gzip" => {}
        _ => return Err(GitHttpError::Unpacking),
    }
    let packed = tokio::time::timeout(NOTHING_MOVES, axum::body::to_bytes(body, MOST_PACKED)).await;
    let packed = packed
        .ok()
        .and_then(Result::ok)
        .ok_or(GitHttpError::TooLarge(MOST_PACKED))?;
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut unpacked = Vec::new();
        let most = MOST_UNPACKED as u64 + 1;
        let mut reader = GzDecoder::new(&*packed).take(most);
        reader.read_to_end(&mut unpacked).map(|_| unpacked)
    });
    let unpacked = unpacking.await.map_err(|_| GitHttpError::Unpacking)?;
    let unpacked = unpacked.map_err(|_| GitHttpError::Unpacking)?;
    match unpacked.len() > MOST_UNPACKED {
        true => Err(GitHttpError::TooLarge(MOST_UNPACKED)),
        false => Ok(Body::from(unpacked)),
    }
}

/// What is there, as git says it. Clients of the first protocol want to hear first of which service it is.
pub(super) fn offer(
    talk: Talk,
    service: Service,
    protocol: Option<Protocol>,
) -> stream::BoxStream<'static, io::Result<Bytes>> {
    let is_new = protocol.is_some_and(|protocol| protocol.as_str() == "version=2");
    let heading = match is_new && service == Service::Upload {
        true => String::new(),
        false => {
            let line = format!("# service={}\n", service.name());
            format!("{:04x}{line}0000", line.len() + 4)
        }
    };
    let heading = stream::once(async move { Ok(Bytes::from(heading)) });
    heading.chain(output(talk, None)).boxed()
}

/// What git answers to a body.
pub(super) fn answer(mut talk: Talk, body: Body) -> stream::BoxStream<'static, io::Result<Bytes>> {
    let stdin = talk.git.stdin.take();
    let feeding = tokio::spawn(async move {
        let Some(mut stdin) = stdin else { return };
        let mut pieces = body.into_data_stream();
        while let Ok(Some(Ok(piece))) = tokio::time::timeout(NOTHING_MOVES, pieces.next()).await {
            if stdin.write_all(&piece).await.is_err() {
                // It has heard enough, and says why.
                return;
            }
        }
        // A body that broke off ends like one that is whole: git sees that the pack is not.
    });
    output(talk, Some(AbortOnDropHandle::new(feeding))).boxed()
}

/// What git says, to its end.
fn output(
    mut talk: Talk,
    feeding: Option<AbortOnDropHandle<()>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    talk.git.stdin = None;
    if let Some(mut stderr) = talk.git.stderr.take() {
        // To git's own end, which may be after the client's: a git that nobody listens to is ended before it has removed
        // what it has half stored.
        tokio::spawn(async move {
            let mut said = Vec::new();
            (&mut stderr).take(SAID).read_to_end(&mut said).await.ok();
            // All the rest is read, too, or git would wait.
            tokio::io::copy(&mut stderr, &mut tokio::io::sink())
                .await
                .ok();
            if !said.is_empty() {
                let said = String::from_utf8_lossy(&said);
                let said = clusterrunner_common::text::printable::plain(&said);
                tracing::debug!(%said, "git has said something to nobody");
            }
        });
    }
    let state = (talk, feeding);
    stream::unfold(Some(state), |state| async move {
        let (mut talk, feeding) = state?;
        let mut buffer = vec![0; CHUNK];
        let stdout = talk.git.stdout.as_mut()?;
        let read = tokio::time::timeout(NOTHING_MOVES, stdout.read(&mut buffer)).await;
        match read {
            Ok(Ok(0)) => {
                // What it was killed for is no whole answer.
                match talk.git.end().await {
                    Some(_) => None,
                    None => Some((Err(io::Error::other("git was ended")), None)),
                }
            }
            Ok(Ok(length)) => {
                buffer.truncate(length);
                Some((Ok(Bytes::from(buffer)), Some((talk, feeding))))
            }
            Ok(Err(error)) => Some((Err(error), None)),
            Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    })
}
