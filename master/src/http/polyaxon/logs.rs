//! The log of a build so far, as a text.

use super::Api;
use super::attachment::attachment;
use super::error::PolyaxonError;
use super::granted::{GrantedBuild, Reading};
use super::shapes::builds::unique_name;
use crate::consoles::{ConsoleFailure, Follower, Step};
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::turns::Turn;
use futures_util::StreamExt as _;
use std::io::{self, SeekFrom};
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;

/// How many logs are put together and sent at a time.
pub(super) const AT_A_TIME: usize = 64;

/// How much of a log is kept in memory while it is put together; what is longer goes to a file.
const IN_MEMORY: usize = 256 << 10;

/// How much of a file is sent at a time.
const CHUNK: usize = 128 << 10;

/// All that the set-up and the atoms have printed so far, in the order of the atoms, as whole lines. The clients take
/// nothing but UTF-8, so what is none is replaced.
pub(super) async fn so_far(
    State(api): State<Arc<Api>>,
    build: GrantedBuild<Reading>,
) -> Result<Response, PolyaxonError> {
    let turn = api.streams.logs.try_take().ok_or(PolyaxonError::Busy)?;
    let name = unique_name(&build.of.owner, build.of.project.name(), build.build);
    let mut log = Gathered::on(api.space.clone());
    let mut follower = Follower::so_far(api.streams.consoles.clone(), build.build);
    while let Step::Lines(lines) = follower.next().await? {
        log.add(&lines).await?;
    }
    let (length, body) = log.body(turn).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, attachment(&name)),
    ];
    Ok((headers, body).into_response())
}

impl From<ConsoleFailure> for PolyaxonError {
    fn from(failure: ConsoleFailure) -> Self {
        match failure {
            ConsoleFailure::Read(error) => error.into(),
            other => Self::Disk(io::Error::other(other)),
        }
    }
}

/// A log that is put together before it is sent, so that its length is known.
#[derive(Debug)]
struct Gathered {
    space: DiskSpace,
    /// Its end, or all of it.
    text: Vec<u8>,
    /// What comes before.
    file: Option<File>,
    length: u64,
}

impl Gathered {
    /// An empty one, whose file is where this space is.
    fn on(space: DiskSpace) -> Self {
        Self {
            space,
            text: Vec::new(),
            file: None,
            length: 0,
        }
    }

    async fn add(&mut self, lines: &[String]) -> Result<(), PolyaxonError> {
        for line in lines {
            self.text.extend_from_slice(line.as_bytes());
            self.text.push(b'\n');
            self.length += line.len() as u64 + 1;
            if self.text.len() >= IN_MEMORY {
                self.put_down().await?;
            }
        }
        Ok(())
    }

    async fn put_down(&mut self) -> Result<(), PolyaxonError> {
        self.space.check(self.text.len() as u64)?;
        let file = match &mut self.file {
            Some(file) => file,
            file @ None => {
                let space = self.space.clone();
                let made = tokio::task::spawn_blocking(move || space.unnamed_file()).await;
                let made = made.map_err(io::Error::other).flatten();
                file.insert(File::from_std(made.map_err(PolyaxonError::Disk)?))
            }
        };
        let written = file.write_all(&self.text).await;
        written.map_err(PolyaxonError::Disk)?;
        self.text.clear();
        Ok(())
    }

    /// What is sent, and its length. It has its turn until then.
    async fn body(mut self, turn: Turn) -> Result<(u64, Body), PolyaxonError> {
        if self.file.is_some() {
            self.put_down().await?;
        }
        let Some(mut file) = self.file else {
            return Ok((self.length, Body::from(self.text)));
        };
        file.flush().await.map_err(PolyaxonError::Disk)?;
        let begin = file.seek(SeekFrom::Start(0)).await;
        begin.map_err(PolyaxonError::Disk)?;
        let pieces = ReaderStream::with_capacity(file, CHUNK).inspect(move |_| {
            // It goes with the stream.
            let _ = &turn;
        });
        Ok((self.length, Body::from_stream(pieces)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::turns::Turns;

    #[tokio::test]
    async fn short_and_long_logs_are_sent_whole() {
        for lines in [0, 3, 100_000] {
            let turns = Turns::at_a_time(1);
            let directory = tempfile::tempdir().unwrap();
            let mut log = Gathered::on(DiskSpace::new(directory.path(), 0));
            let mut expected = String::new();
            for number in 0..lines {
                let line = format!("line {number}");
                expected.push_str(&line);
                expected.push('\n');
                log.add(&[line]).await.unwrap();
            }
            assert!(log.text.len() < IN_MEMORY);
            let turn = turns.try_take().unwrap();
            let (length, body) = log.body(turn).await.unwrap();
            assert_eq!(length, expected.len() as u64);
            let sent = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            assert!(sent == expected, "{lines} lines");
            assert!(turns.try_take().is_some());
        }
    }

    #[tokio::test]
    async fn a_long_log_leaves_the_reserve_of_the_disk_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Gathered::on(DiskSpace::new(directory.path(), u64::MAX));
        let line = ["x".repeat(IN_MEMORY / 2)];
        log.add(&line).await.unwrap();
        let refused = log.add(&line).await.unwrap_err();
        assert!(matches!(refused, PolyaxonError::NoSpace(_)), "{refused}");
    }
}
