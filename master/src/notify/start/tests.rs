use super::super::queue::Next;
use super::*;
use clusterrunner_common::settings::{NotifyReceiver, Webhook};
use clusterrunner_common::work::{BuildEvent, BuildRequest};
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::Event;
use std::collections::BTreeSet;
use tempfile::TempDir;

/// A cluster, and the marks of what was told.
struct Farm {
    cluster: Cluster,
    directory: TempDir,
}

impl Farm {
    fn new() -> Self {
        Self {
            cluster: Cluster::default(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn tell(&mut self, command: Command) -> Vec<Event> {
        let at = Timestamp::now();
        let mut events = self.cluster.decide(command, at).unwrap();
        for event in &events {
            self.cluster.apply(event);
        }
        while let Some(event) = self.cluster.follow_up(at) {
            self.cluster.apply(&event);
            events.push(event);
        }
        events
    }

    fn queue(&mut self, repository: &str) -> Vec<Event> {
        let request = serde_json::json!({"type": "git", "url": repository});
        let request: BuildRequest = serde_json::from_value(request).unwrap();
        self.tell(Command::QueueBuild {
            by: Actor::SecretHolder,
            request: Box::new(request),
        })
    }

    fn cancel(&mut self, build: u64) -> Vec<Event> {
        self.tell(Command::CancelBuild {
            by: Actor::SecretHolder,
            build: BuildId(build),
        })
    }

    fn notified(&self) -> Notified {
        crate::journal::tests::open(self.directory.path()).notified()
    }

    /// A life of the master: what it is to tell, after it has heard of all that `happens`.
    fn live(&mut self, happens: impl FnOnce(&mut Self) -> Vec<Event>) -> Told {
        let notified = self.notified();
        let all = BuildEvent::ALL.into_iter().collect();
        let (mut watcher, begun) =
            begin(&self.cluster, &notified, (vec![target(all)], None)).unwrap();
        let events = happens(self);
        watcher.take_in(&self.cluster, &events);
        let Begin { waiting, left, .. } = begun.receivers.into_iter().next().unwrap();
        assert!(left.is_empty());
        let mut queue = lock(&waiting.queue);
        let mut told = Vec::new();
        while let Next::Tell(notice, _) = queue.next(Duration::ZERO) {
            told.push((notice.build.0, notice.event));
            queue.settle(&notice);
        }
        let marks = queue.take_settled();
        Told {
            told,
            marks,
            notified,
        }
    }
}

struct Told {
    told: Vec<(u64, BuildEvent)>,
    marks: Vec<(BuildId, BuildEvent)>,
    notified: Notified,
}

impl Told {
    /// The receiver has it all.
    fn settle(self) -> Vec<(u64, BuildEvent)> {
        self.notified.settle("hook", &self.marks).unwrap();
        self.told
    }

    /// The master dies before it knows that.
    fn die(self) -> Vec<(u64, BuildEvent)> {
        self.told
    }
}

fn target(events: BTreeSet<BuildEvent>) -> NotifyTarget {
    NotifyTarget {
        name: "hook".to_owned(),
        events,
        projects: Vec::new(),
        authorities: Vec::new(),
        receiver: NotifyReceiver::Webhook(Webhook {
            url: "http://127.0.0.1:1/".parse().unwrap(),
            secret: None,
        }),
    }
}

#[test]
fn what_was_not_told_is_told_in_the_next_life() {
    use BuildEvent::{Canceled, Preparing, Queued};
    let mut farm = Farm::new();
    // What was before the receiver is not told; what becomes of it is.
    farm.queue("https://a/1");
    farm.queue("https://a/2");
    farm.cancel(2);
    let told = farm.live(|farm| {
        let mut events = farm.queue("https://a/3");
        events.extend(farm.cancel(1));
        events
    });
    let expected = [(1, Canceled), (3, Queued), (3, Preparing)];
    assert_eq!(told.die(), expected);
    // As if nothing had been told.
    let told = farm.live(|farm| farm.queue("https://a/4"));
    let expected = [&expected[..], &[(4, Queued), (4, Preparing)]].concat();
    assert_eq!(told.settle(), expected);
    // Nothing is told twice, and what ended in between is told.
    farm.cancel(3);
    let told = farm.live(|_| Vec::new());
    assert_eq!(told.settle(), [(3, Canceled)]);
    let told = farm.live(|farm| farm.cancel(4));
    assert_eq!(told.settle(), [(4, Canceled)]);
    assert_eq!(farm.live(|_| Vec::new()).settle(), []);
}

#[test]
fn a_receiver_that_comes_back_is_a_new_one() {
    let mut farm = Farm::new();
    farm.live(|farm| farm.queue("https://a/1")).settle();
    drop(begin(&farm.cluster, &farm.notified(), (Vec::new(), None)).unwrap());
    farm.queue("https://a/2");
    farm.cancel(1);
    assert_eq!(farm.live(|_| Vec::new()).settle(), []);
    let told = farm.live(|farm| farm.cancel(2));
    assert_eq!(told.settle(), [(2, BuildEvent::Canceled)]);
}

#[test]
fn the_latest_event_is_the_last_of_all() {
    let mut farm = Farm::new();
    farm.queue("https://a/1");
    farm.queue("https://a/1");
    farm.queue("https://a/2");
    farm.cancel(3);
    for build in farm.cluster.builds() {
        let events = reached::events(build, Timestamp(1));
        assert!(events.is_sorted_by_key(|(event, _)| *event), "{events:?}");
        let last = events.last().map(|(event, _)| *event);
        assert_eq!(last, Some(reached::latest(build)));
    }
}
