//! Follows the journal: what builds come to goes into the queues of those who want to know it.

use super::queue::{Notice, Queue};
use super::reached;
use super::target::Target;
use crate::read::receivers::{Receivers, Record, Standing};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::lock;
use clusterrunner_common::work::BuildEvent;
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::event::{Event, Fact};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A queue, and who is told when there is something in it. Clones share both.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) queue: Arc<Mutex<Queue>>,
    pub(super) news: Arc<Notify>,
    /// How it went so far.
    pub(super) record: Arc<Mutex<Record>>,
    /// From here on the queue counts time.
    started: Instant,
}

impl Waiting {
    pub(super) fn new(queue: Queue) -> Self {
        Self {
            queue: Arc::new(Mutex::new(queue)),
            news: Arc::new(Notify::new()),
            record: Arc::default(),
            started: Instant::now(),
        }
    }

    /// The present moment, as the queue counts it.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Is told of each fact once it is on disk.
#[derive(Debug)]
pub struct Watcher {
    targets: Vec<(Arc<Target>, Waiting)>,
    /// What builds in memory had come to when they were looked at last.
    seen: HashMap<BuildId, BuildEvent>,
}

impl Watcher {
    pub(super) fn new(
        targets: Vec<(Arc<Target>, Waiting)>,
        seen: HashMap<BuildId, BuildEvent>,
    ) -> Self {
        Self { targets, seen }
    }

    /// How it goes with the receivers.
    #[must_use]
    pub(crate) fn receivers(&self) -> Receivers {
        let targets = self.targets.clone();
        Receivers::new(move || {
            let targets = targets.iter();
            targets
                .map(|(target, waiting)| standing(target, waiting))
                .collect()
        })
    }

    /// Takes in events that are on disk, the last ones that `cluster` has taken in. Most are of no interest, and cost a
    /// look at their build.
    pub fn take_in(&mut self, cluster: &Cluster, events: &[Event]) {
        if self.targets.is_empty() {
            return;
        }
        let mut changed = BTreeSet::new();
        let mut now = Timestamp(0);
        for event in events {
            if let Fact::Build(build, _) = event.fact {
                changed.insert(build);
                // How far it is shows on its parent, too.
                changed.extend(cluster.build(build).and_then(Build::parent));
                now = now.max(event.at);
            }
        }
        for id in changed {
            let Some(build) = cluster.build(id) else {
                self.seen.remove(&id);
                continue;
            };
            let latest = reached::latest(build);
            let before = self.seen.get(&id).copied();
            if before.is_some_and(|before| before >= latest) {
                continue;
            }
            self.seen.insert(id, latest);
            for (target, waiting) in &self.targets {
                push(target, waiting, build, before, now);
            }
        }
    }
}

fn standing(target: &Target, waiting: &Waiting) -> Standing {
    let (length, next_try) = {
        let queue = lock(&waiting.queue);
        (queue.length(), queue.pause(waiting.now()))
    };
    Standing {
        name: target.name.clone(),
        kind: target.kind(),
        events: target.events().collect(),
        projects: target.projects().to_vec(),
        waiting: length,
        next_try,
        record: lock(&waiting.record).clone(),
    }
}

/// Puts what a build has come to after `before` into a queue.
pub(super) fn push(
    target: &Target,
    waiting: &Waiting,
    build: &Build,
    before: Option<BuildEvent>,
    now: Timestamp,
) {
    let reached = reached::events(build, now).into_iter();
    let is_new = |event: &BuildEvent| before.is_none_or(|before| before < *event);
    let new: Vec<_> = reached.filter(|(event, _)| is_new(event)).collect();
    let end = new.last().map(|(event, _)| *event);
    let end = end.filter(|event| event.is_end());
    let is_wanted = |event: &BuildEvent| target.wants(*event);
    let is_any_wanted = new.iter().any(|(event, _)| is_wanted(event));
    let wanted = match is_any_wanted && target.wants_build(&build.request) {
        true => {
            let wanted = new.into_iter().filter(|(event, _)| is_wanted(event));
            let notice = |(event, at)| Notice {
                build: build.id,
                event,
                at,
            };
            wanted.map(notice).collect()
        }
        false => Vec::new(),
    };
    if wanted.is_empty() && end.is_none() {
        return;
    }
    let moment = (now, waiting.now());
    lock(&waiting.queue).push(build.id, &wanted, end, moment);
    waiting.news.notify_one();
}
