//! A journal that is older than what slaves or stored results have seen.

use super::scenario::{Scenario, finished, hand_out, plan, proved, stale};
use crate::command::{Command, StoredResults};
use crate::refusal::Refusal;
use clusterrunner_common::ids::{Attempt, BuildId, Incarnation, SessionId, SlaveId, SubjobId};
use clusterrunner_common::work::{FinishedAttempt, MasterMark, Seen};
use std::collections::{BTreeMap, BTreeSet};

fn stored(last_build: u64, results: &[(u64, u32, u32)]) -> StoredResults {
    let mut of_open_builds: BTreeMap<BuildId, Vec<_>> = BTreeMap::new();
    for (build, subjob, attempt) in results {
        let of_build = of_open_builds.entry(BuildId(*build)).or_default();
        of_build.push((SubjobId(*subjob), Attempt(*attempt)));
    }
    StoredResults {
        last_build: BuildId(last_build),
        of_open_builds,
    }
}

/// A farm whose slave runs both subjobs of build 1.
fn busy() -> Scenario {
    let mut farm = Scenario::default();
    farm.restart();
    farm.connect("s1:1", "life 1", 2);
    farm.build(plan(&["a", "b"]));
    farm.set_up(1, 1);
    farm.check_running(&[2]);
    farm
}

fn connect(url: &str, known_as: Option<u64>, seen: Vec<Seen>) -> Command {
    Command::ConnectSlave {
        url: url.to_owned(),
        session: SessionId("life 1".to_owned()),
        num_executors: 2,
        labels: BTreeSet::new(),
        known_as: known_as.map(SlaveId),
        finished: Vec::new(),
        seen: proved(seen),
        fresh: super::scenario::fresh(),
        key: None,
    }
}

fn foreign(build: u64, slave: u64) -> Seen {
    let mut seen = Seen::first(MasterMark {
        incarnation: Incarnation("another".to_owned()),
        session_id: SessionId("of another".to_owned()),
        position: 7,
        proof: None,
    });
    seen.build = BuildId(build);
    seen.slave = SlaveId(slave);
    seen
}

#[test]
fn a_journal_begins_with_an_incarnation_and_keeps_it() {
    let mut farm = Scenario::default();
    farm.start(stored(0, &[])).check_facts(&[
        "incarnation begun behind build 0, attempt 0, slave 0: there was none before",
        "master started",
    ]);
    farm.start(stored(0, &[])).check_facts(&["master started"]);
}

#[test]
fn ids_go_on_behind_the_results_that_a_new_journal_finds() {
    let mut farm = Scenario::default();
    farm.start(stored(7, &[]));
    farm.queue("p").check_facts(&["8 queued", "8 preparing"]);
}

#[test]
fn results_that_the_journal_does_not_know_begin_another() {
    for (found, said) in [
        (stored(4, &[]), "there are results of build 4"),
        (
            stored(1, &[(1, 0, 2)]),
            "there is a result of attempt 2 of subjob 0 of build 1",
        ),
        (
            stored(1, &[(1, 9, 1)]),
            "there is a result of attempt 1 of subjob 9 of build 1",
        ),
    ] {
        let mut farm = busy();
        let turn = farm.start(found);
        let lost = turn.events.iter().map(super::scenario::fact_text);
        let lost: Vec<String> = lost.collect();
        assert!(
            lost[0].starts_with("slave 1 lost: a new incarnation"),
            "{lost:?}"
        );
        assert!(
            lost[1].starts_with("incarnation begun") && lost[1].contains(said),
            "{lost:?}"
        );
        assert_eq!(lost[2..], ["master started"]);
        assert!(
            turn.effects
                .iter()
                .all(|e| super::texts::effect_text(e) == "close slave 1")
        );
        farm.check_running(&[0]);
    }
    let mut farm = busy();
    farm.finish(hand_out(1, 1, 0, 1));
    farm.start(stored(1, &[(1, 0, 1), (1, 1, 1)]))
        .check_facts(&["master started"]);
}

#[test]
fn builds_under_way_go_on_with_numbers_that_nobody_knows() {
    let mut farm = busy();
    farm.finish(hand_out(1, 1, 0, 1));
    farm.start(stored(1, &[(1, 1, 30)]));
    farm.check_refused(
        finished(hand_out(1, 1, 1, 1), &[0]),
        &stale(hand_out(1, 1, 1, 1)),
    );
    farm.tell(connect("s1:1", Some(1), farm.seen()));
    farm.set_up(2, 1)
        .check_facts(&["1 ready on slave 2", "1.1 to slave 2, attempt 32"]);
    farm.finish(hand_out(2, 1, 1, 32));
    farm.archived(1);
    assert!(farm.cluster.build(BuildId(1)).unwrap().is_over());
}

#[test]
fn a_slave_that_has_seen_more_begins_another() {
    // The journal is brought back as it was before the slave got its work, and the master starts.
    let mut farm = busy();
    let seen = farm.seen();
    farm.truncate(4);
    farm.cluster = farm.replayed();
    farm.start(stored(0, &[]));
    farm.connect("s2:1", "life 1", 1);
    let before = farm.seen();
    assert_ne!(seen[0].last.session_id, before[0].last.session_id);
    let turn = farm.tell(connect("s1:1", Some(1), seen));
    let facts = turn.events.iter().map(super::scenario::fact_text);
    let facts: Vec<String> = facts.collect();
    assert!(
        facts[0].starts_with("slave 1 lost: a new incarnation"),
        "{facts:?}"
    );
    assert!(
        facts[1].starts_with("slave 2 lost: a new incarnation"),
        "{facts:?}"
    );
    assert!(
        facts[2].contains("the slave at s1:1 has seen more"),
        "{facts:?}"
    );
    assert!(facts[3].starts_with("slave 3 connected: s1:1"), "{facts:?}");
    // The other comes back with what is void by now, and is told so.
    farm.tell(connect("s2:1", Some(2), before))
        .check_facts(&["slave 4 connected: s2:1, life 1, 2 executors"]);
}

#[test]
fn what_slaves_saw_in_every_life_of_the_master_is_known() {
    let mut farm = busy();
    let first = farm.seen();
    farm.restart();
    farm.restart();
    farm.tell(connect("s1:1", Some(1), first)).check_facts(&[]);
    let mut beyond = farm.seen();
    beyond[0].last.position += 1;
    farm.restart();
    let turn = farm.tell(connect("s1:1", Some(1), beyond));
    assert!(turn.events.len() > 1, "{turn:?}");
}

#[test]
fn a_slave_of_another_master_brings_nothing_but_its_ids() {
    let mut farm = busy();
    let mut seen = vec![foreign(57, 9)];
    farm.tell(connect("s2:1", Some(1), seen.clone()))
        .check_facts(&[
            "ids reserved up to build 57, slave 9",
            "slave 10 connected: s2:1, life 1, 2 executors",
        ]);
    farm.queue("p").check_facts(&["58 queued", "58 preparing"]);
    // One that was here before, and elsewhere since.
    seen[0].slave = SlaveId(1);
    let turn = farm.tell(connect("s1:1", Some(1), seen));
    let facts = turn.events.iter().map(super::scenario::fact_text);
    let facts: Vec<String> = facts.collect();
    assert_eq!(
        facts[..2],
        [
            "slave 1 lost: it connected anew",
            "slave 11 connected: s1:1, life 1, 2 executors"
        ]
    );
}

#[test]
fn results_of_another_incarnation_do_not_count() {
    let mut farm = busy();
    let current = farm.cluster.lineage().incarnation().cloned();
    let other = Some(Incarnation("another".to_owned()));
    let check = |given: &Option<Incarnation>| farm.cluster.check_incarnation(given.as_ref());
    assert_eq!(check(&current), Ok(()));
    let refused = |given: &str| {
        Err(Refusal::OtherIncarnation {
            current: "first".to_owned(),
            given: given.to_owned(),
        })
    };
    assert_eq!(check(&other), refused("another"));
    assert_eq!(check(&None), refused("none"));
    for (incarnation, kept) in [(other, 0), (None, 0), (current, 1)] {
        farm.restart();
        let claim = FinishedAttempt {
            build_id: BuildId(1),
            subjob_id: SubjobId(0),
            attempt: farm
                .cluster
                .build(BuildId(1))
                .unwrap()
                .last_attempt(SubjobId(0))
                .unwrap(),
            session_id: SessionId("life 1".to_owned()),
            incarnation,
        };
        let mut offer = connect("s1:1", None, farm.seen());
        if let Command::ConnectSlave {
            finished, session, ..
        } = &mut offer
        {
            finished.push(claim);
            session.0 = format!("life of {}", farm.journal.len());
        }
        // The holder is the one of the first life only.
        let mut tried = Scenario::default();
        std::mem::swap(&mut tried, &mut farm);
        let before = (tried.journal.len(), tried.cluster.clone());
        tried.tell(offer);
        let slave = tried.cluster.slave_at("s1:1").unwrap().id;
        assert_eq!(tried.cluster.to_be_delivered(slave).len(), kept);
        tried.truncate(before.0);
        tried.cluster = before.1;
        farm = tried;
    }
}

#[test]
fn a_repaired_journal_gives_nothing_that_a_slave_holds_again() {
    let mut farm = busy();
    let turn = farm.begin_incarnation(Incarnation("second".to_owned()));
    assert_eq!(turn.events.len(), 2, "{turn:?}");
    let named = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!(named.next_attempt(SubjobId(0)), Some(Attempt(27)));
    farm.restart();
    let held = hand_out(1, 1, 0, 1);
    farm.check_refused(finished(held, &[0]), &stale(held));
}
