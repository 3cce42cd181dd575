//! The feed: what has happened, in order, each fact with its number, as soon as it is on disk. The event log takes
//! every fact from it at once. Other readers follow at their own pace, and begin after any number they name.
//!
//! The number of a fact is how many the journal has with it, so that numbers go on over a restart. The latest
//! facts are retained in memory. A reader that falls behind them is told so, and must look at the state anew.

use clusterrunner_common::lock::lock;
use clusterrunner_core::Cluster;
use clusterrunner_core::event::{BuildFact, Event, Fact};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// How much is retained, as [`weight`] counts it; some 10 MB at most, and the latest turn in any case.
const RETAINED: usize = 1 << 15;

/// What the coordinator tells the feed. Readers see the end of the feed when it is dropped.
#[derive(Debug)]
pub(crate) struct Source {
    feed: Feed,
    told: watch::Sender<()>,
}

/// Where readers find the feed. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    retained: Arc<Mutex<Retained>>,
    told: watch::Receiver<()>,
}

/// Follows the feed.
#[derive(Debug)]
pub(crate) struct Reader {
    feed: Feed,
    /// The number of the fact that it reads next.
    next: u64,
}

/// What a reader is given.
#[derive(Debug)]
pub(crate) enum News {
    /// The next facts.
    Facts(Facts),
    /// The facts before this number are not retained any more, or the journal has been replaced by one that never
    /// had them. The reader goes on here.
    Missed {
        /// The number of the next fact.
        next: u64,
    },
}

/// Facts that came to disk together, with consecutive numbers.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    events: Arc<[Event]>,
    /// The number of the first event.
    first: u64,
    /// How many events a reader has had already.
    skipped: usize,
}

#[derive(Debug)]
struct Retained {
    limit: usize,
    turns: VecDeque<Facts>,
    weight: usize,
    /// The number of the next fact.
    next: u64,
}

impl Source {
    /// A feed of a journal that has so many events.
    #[must_use]
    pub(crate) fn after(position: u64) -> Self {
        Self::retaining(RETAINED, position)
    }

    fn retaining(limit: usize, position: u64) -> Self {
        let (told, receiver) = watch::channel(());
        let retained = Retained {
            limit,
            turns: VecDeque::new(),
            weight: 0,
            next: position + 1,
        };
        let feed = Feed {
            retained: Arc::new(Mutex::new(retained)),
            told: receiver,
        };
        Self { feed, told }
    }

    /// Where readers find it.
    #[must_use]
    pub(crate) fn feed(&self) -> Feed {
        self.feed.clone()
    }

    /// Takes in events that are on disk, the last ones that `cluster` has taken in.
    pub(crate) fn take_in(&self, cluster: &Cluster, events: &Arc<[Event]>) -> Facts {
        self.add(cluster.lineage().position(), events)
    }

    fn add(&self, position: u64, events: &Arc<[Event]>) -> Facts {
        let facts = Facts {
            events: Arc::clone(events),
            first: (position + 1).saturating_sub(events.len() as u64),
            skipped: 0,
        };
        self.feed.lock().add(facts.clone());
        self.told.send_replace(());
        facts
    }
}

impl Feed {
    /// A reader of what comes after the fact with this number.
    #[must_use]
    pub(crate) fn reader_after(&self, id: u64) -> Reader {
        Reader {
            feed: self.clone(),
            next: id.saturating_add(1),
        }
    }

    /// The number of the latest fact.
    #[must_use]
    pub(crate) fn latest(&self) -> u64 {
        self.lock().next - 1
    }

    fn lock(&self) -> MutexGuard<'_, Retained> {
        lock(&self.retained)
    }
}

impl Reader {
    /// Waits for the next facts; `None` when there will be no more.
    pub(crate) async fn next(&mut self) -> Option<News> {
        loop {
            self.feed.told.borrow_and_update();
            if let Some(news) = self.ready() {
                return Some(news);
            }
            self.feed.told.changed().await.ok()?;
        }
    }

    /// The next facts that are there already, if there are any.
    pub(crate) fn ready(&mut self) -> Option<News> {
        let news = self.feed.lock().from(self.next)?;
        self.next = match &news {
            News::Facts(facts) => facts.end(),
            News::Missed { next } => *next,
        };
        Some(news)
    }
}

impl Facts {
    /// The facts with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Event)> {
        (self.first..).zip(&*self.events).skip(self.skipped)
    }

    /// The number of the fact after the last one.
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn weight(&self) -> usize {
        self.events.iter().map(weight).sum()
    }
}

impl Retained {
    fn add(&mut self, facts: Facts) {
        self.next = facts.end();
        self.weight += facts.weight();
        self.turns.push_back(facts);
        while self.weight > self.limit && self.turns.len() > 1 {
            let oldest = self.turns.pop_front();
            self.weight -= oldest.map_or(0, |facts| facts.weight());
        }
    }

    /// What there is from a number on, if there is something.
    fn from(&self, number: u64) -> Option<News> {
        let oldest = self.turns.front().map_or(self.next, |facts| facts.first);
        if number < oldest || number > self.next {
            let next = if number < oldest { oldest } else { self.next };
            return Some(News::Missed { next });
        }
        let turn = self.turns.partition_point(|facts| facts.end() <= number);
        let facts = self.turns.get(turn)?.clone();
        let skipped = usize::try_from(number - facts.first).unwrap_or(usize::MAX);
        Some(News::Facts(Facts { skipped, ..facts }))
    }
}

/// How much memory a fact takes, in units of some 300 bytes.
fn weight(event: &Event) -> usize {
    1 + match &event.fact {
        Fact::Build(_, BuildFact::Prepared { subjobs, .. }) => subjobs.iter().map(Vec::len).sum(),
        Fact::Build(_, BuildFact::Split { children, .. }) => children.len(),
        Fact::Build(
            _,
            BuildFact::SubjobFinished { outcomes, .. } | BuildFact::AttemptFailed { outcomes, .. },
        ) => outcomes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::clock::Timestamp;
    use clusterrunner_common::ids::BuildId;
    use clusterrunner_core::actor::Actor;

    fn canceled(builds: std::ops::RangeInclusive<u64>) -> Arc<[Event]> {
        let event = |build| Event {
            at: Timestamp(build),
            by: Actor::SecretHolder,
            fact: Fact::Build(BuildId(build), BuildFact::Canceled),
        };
        builds.map(event).collect()
    }

    /// Adds the cancellations of these builds as the facts with the same numbers.
    fn add(source: &Source, builds: std::ops::RangeInclusive<u64>) {
        let position = *builds.end();
        source.add(position, &canceled(builds));
    }

    /// The numbers of the next facts, which must be those of their builds; what was missed is negative.
    async fn read(reader: &mut Reader) -> Option<Vec<i64>> {
        let number = |number: u64| i64::try_from(number).unwrap();
        Some(match reader.next().await? {
            News::Missed { next } => vec![-number(next)],
            News::Facts(facts) => {
                let build = |(id, event): (u64, &Event)| {
                    assert_eq!(event.at, Timestamp(id));
                    number(id)
                };
                facts.iter().map(build).collect()
            }
        })
    }

    #[tokio::test]
    async fn a_reader_gets_each_fact_once_and_in_order() {
        let source = Source::after(0);
        let mut reader = source.feed().reader_after(0);
        add(&source, 1..=2);
        add(&source, 3..=3);
        assert_eq!(read(&mut reader).await, Some(vec![1, 2]));
        assert_eq!(read(&mut reader).await, Some(vec![3]));
        let (next, ()) = tokio::join!(read(&mut reader), async { add(&source, 4..=6) });
        assert_eq!(next, Some(vec![4, 5, 6]));
        let mut amid = source.feed().reader_after(5);
        assert_eq!(read(&mut amid).await, Some(vec![6]));
        assert_eq!(source.feed().latest(), 6);
        add(&source, 7..=7);
        drop(source);
        assert_eq!(read(&mut reader).await, Some(vec![7]));
        assert_eq!(read(&mut reader).await, None);
    }

    #[test]
    fn what_is_there_is_read_without_waiting() {
        let source = Source::after(0);
        let mut reader = source.feed().reader_after(0);
        assert!(reader.ready().is_none());
        add(&source, 1..=2);
        let news = reader.ready();
        assert!(matches!(news, Some(News::Facts(facts)) if facts.iter().count() == 2));
        assert!(reader.ready().is_none());
    }

    #[tokio::test]
    async fn numbers_go_on_over_a_restart() {
        let source = Source::after(40);
        let mut up_to_date = source.feed().reader_after(40);
        let mut behind = source.feed().reader_after(38);
        let mut of_another_journal = source.feed().reader_after(1000);
        add(&source, 41..=42);
        assert_eq!(read(&mut up_to_date).await, Some(vec![41, 42]));
        assert_eq!(read(&mut behind).await, Some(vec![-41]));
        assert_eq!(read(&mut behind).await, Some(vec![41, 42]));
        assert_eq!(read(&mut of_another_journal).await, Some(vec![-43]));
    }

    #[tokio::test]
    async fn memory_is_bounded_and_a_slow_reader_is_told() {
        let source = Source::retaining(10, 0);
        let mut slow = source.feed().reader_after(0);
        for turn in 0..100 {
            add(&source, 3 * turn + 1..=3 * turn + 3);
            assert!(source.feed().lock().turns.len() <= 3);
        }
        assert_eq!(read(&mut slow).await, Some(vec![-292]));
        assert_eq!(read(&mut slow).await, Some(vec![292, 293, 294]));
        // A turn that is too large by itself is there until the next one comes.
        add(&source, 301..=350);
        let mut reader = source.feed().reader_after(300);
        assert_eq!(read(&mut reader).await, Some((301..=350).collect()));
        add(&source, 351..=351);
        assert_eq!(source.feed().lock().weight, 1);
    }
}
