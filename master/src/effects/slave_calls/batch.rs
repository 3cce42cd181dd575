//! What goes to a slave in one call: one order, or several hand-outs of one build in a row, which may
//! follow its set-up.

use super::{Order, set_up};
use clusterrunner_common::api::SetupRequest;
use clusterrunner_common::caller::CallError;
use clusterrunner_common::http::MAX_BUFFERED_BODY;
use clusterrunner_common::ids::{Attempt, SubjobId};
use clusterrunner_common::work::{BatchTerms, MasterMark};
use clusterrunner_core::effect::{SetUp, SlaveCall};
use serde::Serialize;

/// How many hand-outs go in one call at most.
const MAX_SUBJOBS: usize = 512;

/// What the body of a set-up has beside the request: which moment of the master it is of, marks, and that
/// the project is at the master.
const AROUND_SETUP: usize = 256 + AROUND_MASTER;

/// How a body says which moment of the master it is of.
const AROUND_MASTER: usize = 192;

/// What a hand-out takes in a body beside its atoms, and an atom beside its text: names, numbers,
/// marks.
const AROUND_SUBJOB: usize = 160;
const AROUND_ATOM: usize = 3;

/// Never empty; more than one order only where all are of one build, and all but the first are hand-outs.
#[derive(Debug)]
pub(super) struct Batch {
    first: Order,
    more: Vec<Order>,
    /// How long the body is at most.
    length: usize,
}

/// [`clusterrunner_common::api::SubjobsRequest`] without owning what it says.
#[derive(Serialize)]
pub(super) struct SubjobsBody<'a> {
    command: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_s: Option<u64>,
    subjobs: Vec<SubjobBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    master: Option<MasterMark>,
}

/// [`clusterrunner_common::api::SubjobOrder`] without owning its atoms.
#[derive(Serialize)]
struct SubjobBody<'a> {
    subjob_id: SubjobId,
    attempt: Attempt,
    atoms: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<BatchTerms>,
}

/// [`SetupRequest`] with what the call adds to it.
#[derive(Serialize)]
pub(super) struct SetupBody<'a> {
    #[serde(flatten)]
    pub(super) request: &'a SetupRequest,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subjobs: Option<SubjobsBody<'a>>,
    pub(super) wait_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) master: Option<MasterMark>,
}

impl Batch {
    pub(super) fn new(first: Order) -> Self {
        let length = match &first {
            Order::About(_, SlaveCall::Start { atoms, command, .. }) => {
                AROUND_MASTER + AROUND_SUBJOB + escaped(command) + length_of(atoms)
            }
            Order::About(_, SlaveCall::SetUp(set_up)) => AROUND_SETUP + length_of_setup(set_up),
            Order::About(..) | Order::End => 0,
        };
        Self {
            first,
            more: Vec::new(),
            length,
        }
    }

    /// Takes one more order in, or gives it back if it must have a call of its own.
    pub(super) fn take(&mut self, next: Order) -> Option<Order> {
        let (
            Order::About(build, SlaveCall::Start { .. } | SlaveCall::SetUp(_)),
            Order::About(next_build, SlaveCall::Start { atoms, command, .. }),
        ) = (&self.first, &next)
        else {
            return Some(next);
        };
        let length = self.length + length_of(atoms);
        let length = match (&self.first, self.more.is_empty()) {
            (Order::About(_, SlaveCall::SetUp(_)), true) => length + escaped(command),
            _ => length,
        };
        if build != next_build || self.more.len() + 1 >= MAX_SUBJOBS || length > MAX_BUFFERED_BODY {
            return Some(next);
        }
        self.length = length;
        self.more.push(next);
        None
    }

    pub(super) fn first(&self) -> &Order {
        &self.first
    }

    /// The body of a call with its hand-outs, if it has any. Where it is part of another body, that one says
    /// which moment of the master it is of.
    pub(super) fn subjobs(&self, master: Option<MasterMark>) -> Option<SubjobsBody<'_>> {
        let orders = std::iter::once(&self.first).chain(&self.more);
        let mut calls = orders.filter_map(|order| match order {
            Order::About(
                _,
                SlaveCall::Start {
                    subjob,
                    attempt,
                    atoms,
                    command,
                    timeout_s,
                    batch,
                    is_followed: _,
                },
            ) => {
                let subjob = SubjobBody {
                    subjob_id: *subjob,
                    attempt: *attempt,
                    atoms,
                    batch: *batch,
                };
                Some((subjob, command, *timeout_s))
            }
            Order::About(..) | Order::End => None,
        });
        let (first, command, timeout_s) = calls.next()?;
        let more = calls.map(|(subjob, ..)| subjob);
        Some(SubjobsBody {
            command,
            timeout_s,
            subjobs: std::iter::once(first).chain(more).collect(),
            master,
        })
    }
}

/// One that can not be written is not sent either.
fn length_of_setup(set_up: &SetUp) -> usize {
    serde_json::to_vec(&set_up::request(set_up)).map_or(MAX_BUFFERED_BODY, |body| body.len())
}

fn length_of(atoms: &[String]) -> usize {
    let atoms: usize = atoms.iter().map(|atom| escaped(atom) + AROUND_ATOM).sum();
    AROUND_SUBJOB + atoms
}

/// The length of a text in JSON.
fn escaped(text: &str) -> usize {
    let length = |byte| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => r"\u0000".len(),
        _ => 1,
    };
    text.bytes().map(length).sum()
}

pub(super) fn encode<T: serde::Serialize>(body: &T) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(body).map_err(CallError::Body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::api::SubjobsRequest;
    use clusterrunner_common::ids::{BuildId, Incarnation, SessionId};

    /// As long as they come.
    fn mark() -> MasterMark {
        MasterMark {
            incarnation: Incarnation::from_random([7; 16]),
            session_id: SessionId::from_random([7; 16]),
            position: u64::MAX,
            proof: None,
        }
    }

    fn start(build: u64, subjob: u32, atom: &str) -> Order {
        let call = SlaveCall::Start {
            subjob: SubjobId(subjob),
            attempt: Attempt(7),
            atoms: vec![atom.to_owned()],
            command: "the \"command\"".into(),
            timeout_s: Some(9),
            batch: Some(BatchTerms {
                expected_ms: Some(u64::MAX),
            }),
            is_followed: false,
        };
        Order::About(BuildId(build), call)
    }

    /// How many of these orders the first call takes, and the body of that call.
    fn batch(orders: impl IntoIterator<Item = Order>) -> (usize, Vec<u8>) {
        let mut orders = orders.into_iter();
        let mut batch = Batch::new(orders.next().unwrap());
        let number = 1 + orders
            .map_while(|next| batch.take(next).is_none().then_some(()))
            .count();
        let body = serde_json::to_vec(&batch.subjobs(Some(mark())).unwrap()).unwrap();
        assert!(
            body.len() <= batch.length,
            "{} > {}",
            body.len(),
            batch.length
        );
        (number, body)
    }

    #[test]
    fn hand_outs_of_one_build_in_a_row_go_together() {
        let (number, body) = batch([start(1, 0, "a"), start(1, 1, "b\n\u{1}"), start(2, 0, "c")]);
        assert_eq!(number, 2);
        let request: SubjobsRequest = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&*request.command, request.timeout_s),
            ("the \"command\"", Some(9))
        );
        let found: Vec<_> = request
            .subjobs
            .iter()
            .map(|s| (s.subjob_id.0, &*s.atoms[0]))
            .collect();
        assert_eq!(found, [(0, "a"), (1, "b\n\u{1}")]);
        let tear_down = || Order::About(BuildId(1), SlaveCall::TearDown);
        for orders in [
            [tear_down(), start(1, 0, "a")],
            [start(1, 0, "a"), tear_down()],
            [start(1, 0, "a"), Order::End],
        ] {
            let mut orders = orders.into_iter();
            let mut batch = Batch::new(orders.next().unwrap());
            assert!(batch.take(orders.next().unwrap()).is_some());
        }
    }

    #[test]
    fn hand_outs_go_with_the_set_up_that_they_follow() {
        let set_up = || Order::About(BuildId(1), set_up::tests::directory("/p", None));
        let mut batch = Batch::new(set_up());
        assert!(batch.subjobs(None).is_none());
        assert!(batch.take(start(2, 0, "a")).is_some());
        assert!(batch.take(start(1, 0, "a")).is_none());
        assert!(batch.take(start(1, 1, "b")).is_none());
        assert!(batch.take(set_up()).is_some());
        let Order::About(_, SlaveCall::SetUp(request)) = batch.first() else {
            panic!("{batch:?}");
        };
        let body = SetupBody {
            request: &set_up::request(request),
            subjobs: batch.subjobs(None),
            wait_ms: 5,
            master: None,
        };
        let body = serde_json::to_vec(&body).unwrap();
        let body: SetupRequest = serde_json::from_slice(&body).unwrap();
        assert_eq!(body.wait_ms, Some(5));
        let subjobs = body.subjobs.unwrap();
        assert_eq!(subjobs.command, "the \"command\"");
        assert_eq!(subjobs.timeout_s, Some(9));
        assert_eq!(subjobs.subjobs.len(), 2);
    }

    #[test]
    fn a_large_set_up_goes_alone() {
        let long = "\"".repeat(MAX_BUFFERED_BODY / 2 - 500);
        let set_up = Order::About(BuildId(1), set_up::tests::directory(&long, Some("0123")));
        let mut batch = Batch::new(set_up);
        assert!(batch.take(start(1, 0, &"a".repeat(1000))).is_some());
        assert!(batch.take(start(1, 0, "a")).is_none());
        let Order::About(_, SlaveCall::SetUp(request)) = batch.first() else {
            panic!("{batch:?}");
        };
        let body = SetupBody {
            request: &set_up::from_master(set_up::request(request)),
            subjobs: batch.subjobs(None),
            wait_ms: u64::MAX,
            master: Some(mark()),
        };
        let body = serde_json::to_vec(&body).unwrap();
        assert!(body.len() <= MAX_BUFFERED_BODY, "{}", body.len());
        assert!(body.len() > MAX_BUFFERED_BODY - 1000, "{}", body.len());
    }

    #[test]
    fn a_call_is_bounded_in_number_and_length() {
        let many = (0..2000).map(|subjob| start(1, subjob, "a"));
        assert_eq!(batch(many).0, MAX_SUBJOBS);
        let long = "\u{1}".repeat(50_000);
        let (number, body) = batch((0..10).map(|subjob| start(1, subjob, &long)));
        assert_eq!(number, 3);
        assert!(body.len() <= MAX_BUFFERED_BODY);
    }
}
