//! Brings what instances print to the master, each byte once: the master says how much of each it has.

use super::Supervisor;
use crate::instances::Placement;
use crate::keeper::{log_directory, piece_of};
use crate::master::api::MasterApi;
use crate::master::registration::Registration;
use crate::master::retrying::Backoff;
use clusterrunner_common::api::instances::{LogPiece, LogsReport, MAX_LOGS_REPORT};
use clusterrunner_common::disk::beneath::remove_all;
use clusterrunner_common::lock::lock;
use reqwest::StatusCode;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How much goes into a report.
const MOST: u64 = MAX_LOGS_REPORT;

/// Pause between two reports: what is printed meanwhile goes together.
const TOGETHER: Duration = Duration::from_millis(100);

/// Of how many instances that are over what they printed waits for the master.
const MOST_OVER: usize = 256;

/// How long the rest may take to be told when the slave ends.
const LAST: Duration = Duration::from_secs(1);

/// What instances printed and the master may not have.
#[derive(Debug, Default)]
pub(super) struct Logs {
    kept: Mutex<BTreeMap<Placement, Log>>,
    /// The instance with which the next report begins, so that a loud one does not keep the others from being heard.
    next: Mutex<Option<Placement>>,
    more: Notify,
    ending: CancellationToken,
}

#[derive(Clone, Debug)]
struct Log {
    directory: PathBuf,
    printed: u64,
    /// How much the master has; not known at first.
    sent: Option<u64>,
    /// Nothing more comes.
    is_over: bool,
    /// The master does not want it.
    is_unwanted: bool,
}

impl Log {
    fn has_more(&self) -> bool {
        !self.is_unwanted && self.sent.is_none_or(|sent| sent < self.printed) || self.is_over
    }
}

impl Logs {
    /// Canceled at the end of the slave.
    pub(super) fn ending(&self) -> CancellationToken {
        self.ending.clone()
    }

    /// An instance prints to this directory.
    pub(super) fn begin(&self, placement: Placement, directory: PathBuf) {
        let mut kept = lock(&self.kept);
        let log = kept.entry(placement).or_insert(Log {
            directory,
            printed: 0,
            sent: None,
            is_over: false,
            is_unwanted: false,
        });
        log.is_over = false;
    }

    pub(super) fn has_printed(&self, placement: Placement, printed: u64) {
        if let Some(log) = lock(&self.kept).get_mut(&placement)
            && log.printed != printed
        {
            log.printed = printed;
            self.more.notify_one();
        }
    }

    /// Nothing more comes of it; its directory goes when the master has all.
    pub(super) fn is_over(&self, placement: Placement) {
        let mut kept = lock(&self.kept);
        if let Some(log) = kept.get_mut(&placement) {
            log.is_over = true;
        }
        let over = kept.iter().filter(|(_, log)| log.is_over);
        let mut over: Vec<Placement> = over.map(|(placement, _)| *placement).collect();
        // A master that has gone for good must not fill the disk.
        over.truncate(over.len().saturating_sub(MOST_OVER));
        for placement in over {
            if let Some(log) = kept.remove(&placement) {
                remove(&log);
            }
        }
        self.more.notify_one();
    }

    /// The next pieces. Blocks.
    fn pieces(&self) -> Vec<(Placement, LogPiece)> {
        let mut pieces = Vec::new();
        let mut left = MOST;
        let mut kept: Vec<(Placement, Log)> = {
            let kept = lock(&self.kept);
            kept.iter().map(|(at, log)| (*at, log.clone())).collect()
        };
        let next = lock(&self.next).take();
        let before = kept.partition_point(|(placement, _)| Some(*placement) < next);
        kept.rotate_left(before);
        for (placement, log) in kept {
            if left == 0 {
                *lock(&self.next) = Some(placement);
                break;
            }
            if !log.has_more() {
                continue;
            }
            let Some(sent) = log.sent else {
                // Only a question: how much of it is there already?
                pieces.push((placement, piece(placement, 0, Vec::new())));
                continue;
            };
            let read = piece_of(&log_directory(&log.directory), sent, left);
            match read {
                Ok(read) if read.bytes.is_empty() => self.is_whole(placement),
                Ok(mut read) => {
                    let is_last =
                        log.is_over && read.offset + read.bytes.len() as u64 >= log.printed;
                    if !is_last {
                        cut_at_character(&mut read.bytes);
                    }
                    left = left.saturating_sub(read.bytes.len() as u64);
                    pieces.push((placement, piece(placement, read.offset, read.bytes)));
                }
                // It has been removed.
                Err(_) => self.is_whole(placement),
            }
        }
        pieces
    }

    /// The master has all that is there of it.
    fn is_whole(&self, placement: Placement) {
        let mut kept = lock(&self.kept);
        let is_over = kept.get(&placement).is_some_and(|log| log.is_over);
        if is_over && let Some(log) = kept.remove(&placement) {
            remove(&log);
        }
    }

    /// The master has said how much it has of one. Says whether that is more than before.
    fn is_at(&self, placement: Placement, end: Option<u64>) -> bool {
        let mut kept = lock(&self.kept);
        let Some(log) = kept.get_mut(&placement) else {
            return true;
        };
        match end {
            Some(end) => {
                let is_news = log.sent != Some(end);
                log.sent = Some(end);
                is_news
            }
            None if log.is_over => {
                if let Some(log) = kept.remove(&placement) {
                    remove(&log);
                }
                true
            }
            None => {
                log.is_unwanted = true;
                true
            }
        }
    }
}

fn remove(log: &Log) {
    if let Err(error) = remove_all(&log.directory) {
        let directory = log.directory.display();
        tracing::warn!(%directory, %error, "could not remove what an instance printed");
    }
}

fn piece(placement: Placement, offset: u64, bytes: Vec<u8>) -> LogPiece {
    LogPiece {
        id: placement.id,
        generation: placement.generation,
        offset,
        length: bytes.len() as u64,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// Leaves the beginning of a character at the end for the next piece.
fn cut_at_character(bytes: &mut Vec<u8>) {
    let tail = bytes.len().saturating_sub(3);
    for at in (tail..bytes.len()).rev() {
        let Some(&byte) = bytes.get(at) else {
            return;
        };
        let length = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return,
        };
        // One that is alone is no beginning of anything.
        if at + length > bytes.len() && at > 0 {
            bytes.truncate(at);
        }
        return;
    }
}

impl Supervisor {
    /// Brings all that is printed to the master until `stop`, and a little longer.
    pub(crate) async fn push_logs(
        &self,
        api: &MasterApi,
        registration: &Registration,
        stop: &CancellationToken,
    ) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_pushing(api, registration) => {}
        }
        self.0.logs.ending.cancel();
    }

    /// Brings what is left, if that does not take long.
    pub(crate) async fn push_last_logs(&self, api: &MasterApi, registration: &Registration) {
        let rest =
            async { while let Pushed::Some { .. } = self.push_once(api, registration).await {} };
        tokio::time::timeout(LAST, rest).await.ok();
    }

    async fn keep_pushing(&self, api: &MasterApi, registration: &Registration) {
        let mut backoff = Backoff::quick();
        loop {
            match self.push_once(api, registration).await {
                Pushed::Some { is_full } => {
                    backoff = Backoff::quick();
                    if !is_full {
                        tokio::time::sleep(TOGETHER).await;
                    }
                }
                Pushed::Nothing => {
                    self.0.logs.more.notified().await;
                    tokio::time::sleep(TOGETHER).await;
                }
                Pushed::Failed => backoff.pause().await,
            }
        }
    }

    async fn push_once(&self, api: &MasterApi, registration: &Registration) -> Pushed {
        let id = registration.some_id().await;
        if api.dialect.is_original() {
            return Pushed::Nothing;
        }
        let logs = self.clone();
        let pieces = tokio::task::spawn_blocking(move || logs.0.logs.pieces()).await;
        let pieces = pieces.unwrap_or_default();
        if pieces.is_empty() {
            return Pushed::Nothing;
        }
        let length: u64 = pieces.iter().map(|(_, piece)| piece.length).sum();
        // What is cut off at a character is missing in a full one.
        let is_full = length >= MOST / 2;
        let (placements, pieces): (Vec<Placement>, Vec<LogPiece>) = pieces.into_iter().unzip();
        let report = LogsReport {
            session_id: api.session.clone(),
            logs: pieces,
        };
        match api.report_logs(id, &report).await {
            Ok(answer) if answer.ends.len() == placements.len() => {
                let mut is_news = false;
                for (placement, end) in placements.into_iter().zip(answer.ends) {
                    is_news |= self.0.logs.is_at(placement, end);
                }
                match is_news {
                    true => Pushed::Some { is_full },
                    // It does not take what it is given.
                    false => Pushed::Failed,
                }
            }
            Ok(_) => Pushed::Failed,
            Err(error) => {
                if error.status() == Some(StatusCode::PRECONDITION_FAILED) {
                    registration.doubt();
                }
                tracing::debug!(%error, "could not report what instances print; retrying");
                Pushed::Failed
            }
        }
    }
}

enum Pushed {
    /// Where the report was full there is more.
    Some {
        is_full: bool,
    },
    Nothing,
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::{Generation, InstanceId};

    #[test]
    fn a_loud_instance_does_not_keep_others_from_being_heard() {
        let directory = tempfile::tempdir().unwrap();
        let logs = Logs::default();
        let placement = |id| Placement {
            id: InstanceId(id),
            generation: Generation(1),
        };
        for (id, bytes) in [(1, 3 * MOST), (2, 10), (3, 10)] {
            let own = directory.path().join(id.to_string());
            std::fs::create_dir_all(log_directory(&own)).unwrap();
            let text = vec![b'x'; usize::try_from(bytes).unwrap()];
            std::fs::write(log_directory(&own).join(format!("{:020}", 0)), text).unwrap();
            logs.begin(placement(id), own);
            logs.has_printed(placement(id), bytes);
            logs.is_at(placement(id), Some(0));
        }
        let lengths = || {
            let pieces = logs.pieces().into_iter();
            let lengths: Vec<(u64, u64)> = pieces
                .map(|(placement, piece)| (placement.id.0, piece.length))
                .collect();
            for (id, length) in &lengths {
                let sent = lock(&logs.kept)[&placement(*id)].sent.unwrap();
                logs.is_at(placement(*id), Some(sent + length));
            }
            lengths
        };
        assert_eq!(lengths(), [(1, MOST)]);
        assert_eq!(lengths(), [(2, 10), (3, 10), (1, MOST - 20)]);
        assert_eq!(lengths(), [(1, MOST)]);
        assert_eq!(lengths(), [(1, 20)]);
        assert_eq!(lengths(), []);
    }

    #[test]
    fn no_character_is_cut_in_two() {
        let cut = |text: &[u8]| {
            let mut bytes = text.to_vec();
            cut_at_character(&mut bytes);
            bytes
        };
        for whole in ["", "abc", "aé", "a€", "a🦀"] {
            assert_eq!(cut(whole.as_bytes()), whole.as_bytes(), "{whole}");
        }
        for (text, bytes) in [("aé", 1), ("a€", 1), ("a€", 2), ("a🦀", 1), ("a🦀", 3)] {
            let text = text.as_bytes();
            assert_eq!(cut(&text[..text.len() - bytes]), b"a");
        }
        assert_eq!(cut(b"a\xff\x80\x80\x80"), b"a\xff\x80\x80\x80");
        assert_eq!(cut(b"\xf0\x9f"), b"\xf0\x9f", "nothing else is there");
    }
}
