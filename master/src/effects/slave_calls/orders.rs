//! What one slave is still to be told: of each build one call after the other, of several builds side
//! by side.

use super::Order;
use super::batch::Batch;
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::effect::SlaveCall;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many calls to a slave are under way at a time.
const AT_A_TIME: usize = 8;

/// How many tear-downs are beside them. Slaves take their time with these, and no build waits for them.
const TEAR_DOWNS_AT_A_TIME: usize = 32;

/// What is told one after the other.
pub(super) type Subject = Option<BuildId>;

/// Orders that wait, and the builds that calls under way are about.
#[derive(Debug)]
pub(super) struct Orders {
    /// The original's slaves know one build at a time and one subjob in a call.
    is_legacy: bool,
    waiting: BTreeMap<Subject, VecDeque<Order>>,
    /// What has orders that wait and no call under way, the one that waits longest first.
    ready: VecDeque<Subject>,
    /// The same where the next order is to tear down.
    ready_to_tear_down: VecDeque<Subject>,
    under_way: BTreeSet<Subject>,
    tearing_down: BTreeSet<Subject>,
    /// The builds of which more hand-outs come at once.
    followed: BTreeSet<BuildId>,
    /// The slave is told to end after all that came before.
    end: Option<Order>,
}

impl Orders {
    pub(super) fn new(is_legacy: bool) -> Self {
        Self {
            is_legacy,
            waiting: BTreeMap::new(),
            ready: VecDeque::new(),
            ready_to_tear_down: VecDeque::new(),
            under_way: BTreeSet::new(),
            tearing_down: BTreeSet::new(),
            followed: BTreeSet::new(),
            end: None,
        }
    }

    /// Whether more may be added: what comes after an order to end waits for it.
    pub(super) fn takes_more(&self) -> bool {
        self.end.is_none()
    }

    pub(super) fn add(&mut self, order: Order) {
        let subject = match &order {
            Order::End => {
                self.end = Some(order);
                return;
            }
            Order::About(..) if self.is_legacy => None,
            Order::About(build, _) => Some(*build),
        };
        if let Order::About(build, SlaveCall::Start { is_followed, .. }) = &order {
            match is_followed {
                true => self.followed.insert(*build),
                false => self.followed.remove(build),
            };
        }
        let waiting = self.waiting.entry(subject).or_default();
        let is_first = waiting.is_empty();
        waiting.push_back(order);
        if is_first && !self.is_called_about(subject) {
            self.make_ready(subject);
        }
    }

    fn is_called_about(&self, subject: Subject) -> bool {
        self.under_way.contains(&subject) || self.tearing_down.contains(&subject)
    }

    fn make_ready(&mut self, subject: Subject) {
        let waiting = self.waiting.get(&subject);
        match waiting.and_then(VecDeque::front) {
            Some(Order::About(_, SlaveCall::TearDown)) => {
                self.ready_to_tear_down.push_back(subject);
            }
            Some(_) => self.ready.push_back(subject),
            None => {}
        }
    }

    /// Whether orders are sure to come that go into one call with some that are here.
    pub(super) fn are_followed(&self) -> bool {
        !self.followed.is_empty()
    }

    /// The next call, which is under way from now on.
    pub(super) fn next(&mut self) -> Option<(Subject, Batch)> {
        if self.under_way.len() < AT_A_TIME
            && let Some(subject) = self.ready.pop_front()
        {
            self.under_way.insert(subject);
            return Some((subject, self.batch(subject)?));
        }
        if self.tearing_down.len() < TEAR_DOWNS_AT_A_TIME
            && let Some(subject) = self.ready_to_tear_down.pop_front()
        {
            self.tearing_down.insert(subject);
            return Some((subject, self.batch(subject)?));
        }
        if !self.waiting.is_empty() || !self.under_way.is_empty() || !self.tearing_down.is_empty() {
            return None;
        }
        let end = self.end.take()?;
        self.under_way.insert(None);
        Some((None, Batch::new(end)))
    }

    /// The first of what waits, with what goes along with it.
    fn batch(&mut self, subject: Subject) -> Option<Batch> {
        let waiting = self.waiting.get_mut(&subject)?;
        let mut batch = Batch::new(waiting.pop_front()?);
        while !self.is_legacy
            && let Some(next) = waiting.pop_front()
        {
            if let Some(next) = batch.take(next) {
                waiting.push_front(next);
                break;
            }
        }
        if waiting.is_empty() {
            self.waiting.remove(&subject);
        }
        Some(batch)
    }

    /// A call is over.
    pub(super) fn over(&mut self, subject: Subject) {
        self.under_way.remove(&subject);
        self.tearing_down.remove(&subject);
        self.make_ready(subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::{Attempt, SubjobId};

    fn start(build: u64, subjob: u32) -> Order {
        let call = SlaveCall::Start {
            subjob: SubjobId(subjob),
            attempt: Attempt(1),
            atoms: vec!["a".to_owned()],
            command: "run".into(),
            timeout_s: None,
            batch: None,
            is_followed: false,
        };
        Order::About(BuildId(build), call)
    }

    fn tear_down(build: u64) -> Order {
        Order::About(BuildId(build), SlaveCall::TearDown)
    }

    /// The next call in few words.
    fn next(orders: &mut Orders) -> Option<String> {
        let (_, batch) = orders.next()?;
        Some(match batch.first() {
            Order::End => "end".to_owned(),
            Order::About(build, SlaveCall::TearDown) => format!("{build} down"),
            Order::About(build, _) => {
                let body = serde_json::to_value(batch.subjobs(None)).unwrap();
                format!("{build} x{}", body["subjobs"].as_array().unwrap().len())
            }
        })
    }

    fn all(orders: &mut Orders) -> Vec<String> {
        std::iter::from_fn(|| next(orders)).collect()
    }

    fn given(is_legacy: bool, given: impl IntoIterator<Item = Order>) -> Orders {
        let mut orders = Orders::new(is_legacy);
        given.into_iter().for_each(|order| orders.add(order));
        orders
    }

    #[test]
    fn builds_go_side_by_side_and_each_in_its_order() {
        let mut orders = given(
            false,
            [
                start(1, 0),
                start(1, 1),
                tear_down(1),
                start(2, 0),
                start(1, 2),
                start(2, 1),
            ],
        );
        assert_eq!(all(&mut orders), ["1 x2", "2 x2"]);
        orders.add(start(2, 2));
        orders.over(Some(BuildId(2)));
        assert_eq!(all(&mut orders), ["2 x1"]);
        orders.over(Some(BuildId(1)));
        assert_eq!(all(&mut orders), ["1 down"]);
        orders.over(Some(BuildId(1)));
        assert_eq!(all(&mut orders), ["1 x1"]);
    }

    #[test]
    fn an_order_to_end_waits_for_all_and_all_for_it() {
        let mut orders = given(false, [start(1, 0), Order::End]);
        assert!(!orders.takes_more());
        assert_eq!(all(&mut orders), ["1 x1"]);
        orders.over(Some(BuildId(1)));
        assert_eq!(all(&mut orders), ["end"]);
        assert!(orders.takes_more());
        orders.over(None);
        orders.add(start(2, 0));
        assert_eq!(all(&mut orders), ["2 x1"]);
    }

    #[test]
    fn a_slave_of_the_original_hears_one_thing_after_the_other() {
        let mut orders = given(true, [start(1, 0), start(1, 1), tear_down(1), start(2, 0)]);
        for expected in ["1 x1", "1 x1", "1 down", "2 x1"] {
            assert_eq!(all(&mut orders), [expected]);
            orders.over(None);
        }
        assert!(all(&mut orders).is_empty());
    }

    #[test]
    fn calls_are_bounded_and_whoever_waits_longest_is_next() {
        let mut orders = given(false, (1..=10).map(|build| start(build, 0)));
        assert_eq!(all(&mut orders).len(), AT_A_TIME);
        orders.add(tear_down(3));
        orders.over(Some(BuildId(3)));
        assert_eq!(all(&mut orders), ["9 x1", "3 down"]);
        orders.over(Some(BuildId(1)));
        orders.over(Some(BuildId(2)));
        assert_eq!(all(&mut orders), ["10 x1"]);
    }

    #[test]
    fn tear_downs_hold_up_nothing_else_but_the_end() {
        let mut orders = given(false, (1..=50).map(tear_down));
        assert_eq!(all(&mut orders).len(), TEAR_DOWNS_AT_A_TIME);
        orders.add(start(60, 0));
        orders.add(start(1, 0));
        orders.add(Order::End);
        assert_eq!(all(&mut orders), ["60 x1"]);
        orders.over(Some(BuildId(1)));
        assert_eq!(all(&mut orders), ["1 x1", "33 down"]);
        for build in (2..=50).chain([60]) {
            orders.over(Some(BuildId(build)));
            let next = all(&mut orders);
            assert!(next.iter().all(|next| next.ends_with("down")), "{next:?}");
        }
        orders.over(Some(BuildId(1)));
        assert_eq!(all(&mut orders), ["end"]);
    }

    #[test]
    fn hand_outs_that_follow_are_waited_for() {
        let mut orders = Orders::new(false);
        for (subjob, followed) in [(0, true), (1, true), (2, false)] {
            assert_eq!(orders.are_followed(), subjob > 0);
            let Order::About(build, mut call) = start(1, subjob) else {
                panic!("it is about a build");
            };
            if let SlaveCall::Start { is_followed, .. } = &mut call {
                *is_followed = followed;
            }
            orders.add(Order::About(build, call));
        }
        assert!(!orders.are_followed());
    }
}
