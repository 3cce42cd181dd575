//! What is to be told when the master starts: all that was not settled when it ended, however it ended.

use super::command::{self, CommandSurroundings};
use super::newest::Newest;
use super::queue::{Bounds, Queue};
use super::reached;
use super::sender::{Sender, SenderError};
use super::target::{How, Target};
use super::watcher::{self, Waiting, Watcher};
use super::worker::{Left, Means, Worker, Workers};
use crate::journal::{JournalError, Notified, Told};
use crate::read::builds::Builds;
use crate::read::metrics::Measured;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::lock;
use clusterrunner_common::settings::{NotifyTarget, OnFinish};
use clusterrunner_core::Cluster;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How many notices wait for one receiver, and for how long.
const BOUNDS: Bounds = Bounds {
    number: 10_000,
    age: Duration::from_secs(24 * 60 * 60),
};

/// Why notifications can not begin.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// What was told can not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No requests can be sent to a receiver.
    #[error("section [notify {name}]: {source}")]
    Sender {
        /// The name of the receiver.
        name: String,
        /// What its settings or certificates lack.
        #[source]
        source: SenderError,
    },
    /// The directory of the command can not be made.
    #[error("could not make the directory of the command on_finish: {0}")]
    Directory(#[source] io::Error),
}

/// What the tasks need beside the settings.
#[derive(Debug)]
pub struct Surroundings {
    /// The builds of the farm.
    pub builds: Builds,
    /// Where is counted what comes of it.
    pub measured: Measured,
    /// The beginning of the addresses of pages, without a slash at its end.
    pub public_url: String,
    /// The directory of the master.
    pub directory: PathBuf,
    /// Begins the mark of all processes of the master.
    pub mark: String,
    /// How long a command has to end by itself when it is ended.
    pub grace: Duration,
    /// Ends the tasks.
    pub stop: CancellationToken,
}

/// The receivers that wait for [`Begun::work`].
#[derive(Debug)]
pub struct Begun {
    receivers: Vec<Begin>,
    notified: Notified,
}

/// A receiver, what waits for it, and what an earlier life of the master has left to it.
#[derive(Debug)]
struct Begin {
    target: Arc<Target>,
    waiting: Waiting,
    left: Vec<Left>,
    newest: Newest,
}

/// Finds what is to be told, in a cluster that does not change meanwhile. Blocks.
///
/// # Errors
/// The journal can not be read or written.
pub fn begin(
    cluster: &Cluster,
    notified: &Notified,
    (notify, on_finish): (Vec<NotifyTarget>, Option<OnFinish>),
) -> Result<(Watcher, Begun), JournalError> {
    let targets = Target::all(notify, on_finish);
    let names: Vec<&str> = targets.iter().map(|target| &*target.name).collect();
    // One that comes back later is a new one.
    notified.keep_only(&names)?;
    let mut receivers = Vec::new();
    let mut watched = Vec::new();
    for target in targets {
        let waiting = Waiting::new(Queue::new(BOUNDS, target.is_only_latest()));
        let left = match notified.told(&target.name)? {
            Some(told) => take_in(cluster, &told, &target, &waiting),
            None => {
                notified.begin(&target.name, &all_told(cluster))?;
                Vec::new()
            }
        };
        let newest = Newest::of(notified.newest(&target.name)?);
        let target = Arc::new(target);
        watched.push((Arc::clone(&target), waiting.clone()));
        receivers.push(Begin {
            target,
            waiting,
            left,
            newest,
        });
    }
    let seen = cluster.builds();
    let seen = seen.map(|build| (build.id, reached::latest(build)));
    Ok((
        Watcher::new(watched, seen.collect()),
        Begun {
            receivers,
            notified: notified.clone(),
        },
    ))
}

/// A new receiver is told what happens from now on, also of builds under way.
fn all_told(cluster: &Cluster) -> Told {
    let archived = cluster.ended().map(|(id, _)| id);
    let in_memory = cluster.builds().map(|build| build.id);
    let open = cluster.builds().filter(|build| !build.is_over());
    Told {
        through: archived.chain(in_memory).max().unwrap_or(BuildId(0)),
        marks: open
            .map(|build| (build.id, reached::latest(build)))
            .collect(),
    }
}

/// Puts what is not settled into the queue; the archived builds, which lie on the disk, are returned.
fn take_in(cluster: &Cluster, told: &Told, target: &Target, waiting: &Waiting) -> Vec<Left> {
    let now = Timestamp::now();
    for build in cluster.builds() {
        let mark = told.marks.get(&build.id).copied();
        let is_settled = build.is_over() && build.id <= told.through && mark.is_none();
        if !is_settled && mark.is_none_or(|mark| !mark.is_end()) {
            watcher::push(target, waiting, build, mark, now);
        }
    }
    // Too old ones are of no use, however long the master was away.
    lock(&waiting.queue).expire(waiting.now());
    let archived = cluster.ended();
    let archived = archived.map(|(id, _)| (id, told.marks.get(&id).copied()));
    let is_left = |(id, mark): &Left| match mark {
        Some(mark) => !mark.is_end(),
        None => *id > told.through,
    };
    archived.filter(is_left).collect()
}

impl Begun {
    /// Starts the tasks that tell the receivers.
    ///
    /// # Errors
    /// See [`NotifyError`].
    pub fn work(self, surroundings: &Surroundings) -> Result<Workers, NotifyError> {
        let mut workers = Workers::default();
        for begin in self.receivers {
            let Begin {
                target,
                waiting,
                left,
                newest,
            } = begin;
            let worker = Worker {
                means: means(&target, surroundings)?,
                target,
                waiting,
                builds: surroundings.builds.clone(),
                notified: self.notified.clone(),
                measured: surroundings.measured.clone(),
                public_url: surroundings.public_url.as_str().into(),
                stop: surroundings.stop.clone(),
                newest,
                left,
            };
            workers.0.spawn(worker.run());
        }
        Ok(workers)
    }
}

fn means(target: &Target, surroundings: &Surroundings) -> Result<Means, NotifyError> {
    Ok(match &target.how {
        How::Request {
            receiver,
            authorities,
        } => {
            let sender = Sender::new(authorities);
            let sender = sender.map_err(|source| NotifyError::Sender {
                name: target.name.clone(),
                source,
            })?;
            Means::Request(receiver.clone(), sender)
        }
        How::Command(on_finish) => {
            let directory = command::directory(&surroundings.directory);
            let in_ = CommandSurroundings {
                directory: directory.map_err(NotifyError::Directory)?,
                mark: surroundings.mark.clone(),
                grace: surroundings.grace,
            };
            Means::Command(on_finish.clone(), in_)
        }
    })
}

#[cfg(test)]
mod tests;
