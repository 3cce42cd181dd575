//! The master as the place where a build's project comes from.

use crate::master::api::MasterApi;
use crate::master::registration::Registration;
use axum::body::Bytes;
use clusterrunner_common::caller::CallError;
use clusterrunner_common::git::{PackError, PackRequest, PackSource};
use clusterrunner_common::ids::BuildId;
use reqwest::{Response, StatusCode};
use std::io::{self, Read};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// How often a master that answers may fail to bring a project. One that does not answer is waited for.
const ANSWERS: u32 = 10;

/// The master, for one build. Its calls block, and end soon after `stop`.
#[derive(Debug)]
pub(crate) struct MasterSource {
    api: MasterApi,
    registration: Registration,
    build: BuildId,
    stop: CancellationToken,
    runtime: Handle,
    answers: AtomicU32,
}

impl MasterSource {
    /// To be called where there is a runtime.
    pub(crate) fn new(
        api: MasterApi,
        registration: Registration,
        build: BuildId,
        stop: CancellationToken,
    ) -> Self {
        Self {
            api,
            registration,
            build,
            stop,
            runtime: Handle::current(),
            answers: AtomicU32::new(0),
        }
    }

    /// Whether it has answered so often that it is of no use to ask it again.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.answers.load(Ordering::Relaxed) >= ANSWERS
    }

    async fn ask(&self, request: &PackRequest) -> Result<Response, PackError> {
        let id = self.registration.some_id().await;
        let asked = self.api.source(id, self.build, request).await;
        if !matches!(&asked, Err(error) if error.status().is_none()) {
            self.answers.fetch_add(1, Ordering::Relaxed);
        }
        asked.map_err(|error| match error.status() {
            // It does not know us, or our life: perhaps it was started anew, and we meet it again.
            Some(StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED) => {
                self.registration.doubt();
                PackError::Interrupted(error.to_string())
            }
            // Our clocks may disagree for a while; and so on.
            Some(StatusCode::UNAUTHORIZED) | None => PackError::Interrupted(error.to_string()),
            Some(_) if error.is_passing() => PackError::Interrupted(error.to_string()),
            Some(_) => PackError::Refused(match error {
                CallError::Refused { error, .. } => error,
                other => other.to_string(),
            }),
        })
    }
}

impl PackSource for MasterSource {
    fn open(&self, request: &PackRequest) -> Result<Box<dyn Read + '_>, PackError> {
        let response = self.runtime.block_on(async {
            tokio::select! {
                () = self.stop.cancelled() => Err(PackError::Interrupted("canceled".to_owned())),
                response = self.ask(request) => response,
            }
        })?;
        Ok(Box::new(Stream {
            source: self,
            response,
            left: Bytes::new(),
        }))
    }
}

/// What the master sends. The caller's timeout bounds each wait for more.
struct Stream<'a> {
    source: &'a MasterSource,
    response: Response,
    left: Bytes,
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left.is_empty() {
            let next = self.source.runtime.block_on(async {
                tokio::select! {
                    () = self.source.stop.cancelled() => Err(io::Error::other("canceled")),
                    chunk = self.response.chunk() => chunk.map_err(io::Error::other),
                }
            });
            match next? {
                Some(chunk) => self.left = chunk,
                None => return Ok(0),
            }
        }
        let length = self.left.len().min(buffer.len());
        let read = self.left.split_to(length);
        if let Some(place) = buffer.get_mut(..length) {
            place.copy_from_slice(&read);
        }
        Ok(length)
    }
}
