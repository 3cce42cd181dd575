//! Keys of slaves: who may be where, what a revocation does, and what an older journal knows.

mod join_tokens;

use super::scenario::{Scenario, Turn, big_plan, finished, hand_out, stale};
use crate::Cluster;
use crate::actor::Actor;
use crate::command::Command;
use crate::event::{Event, Fact, KeyFact};
use crate::lifetime::testimony::Testimony;
use crate::refusal::Refusal;
use crate::slaves::key_facts::{Joining, NewJoinToken};
use crate::slaves::keys::{KEYS_KEPT, KeyCommand, KeyRefused, OfferedKey};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{
    Attempt, BuildId, Incarnation, PublicKey, SessionId, SlaveId, SubjobId, TokenId,
};
use clusterrunner_common::work::{FinishedAttempt, MasterMark, Seen};
use std::collections::BTreeSet;

const SECRET: Option<Joining> = Some(Joining::Secret);

fn key(number: u8) -> PublicKey {
    PublicKey([number; 32])
}

/// A slave that connects from an address in a life, with a key and what it joins with.
fn connects(url: &str, life: &str, number: u8, joins: Option<Joining>) -> Command {
    Command::ConnectSlave {
        url: url.to_owned(),
        session: SessionId(life.to_owned()),
        num_executors: 1,
        labels: BTreeSet::new(),
        known_as: None,
        finished: Vec::new(),
        seen: Vec::new(),
        fresh: Incarnation("fresh".to_owned()),
        key: Some(OfferedKey {
            key: key(number),
            joins,
        }),
    }
}

fn order(farm: &mut Scenario, command: KeyCommand) -> Turn {
    let by = Actor::SecretHolder;
    farm.tell(Command::SlaveKey { by, command })
}

/// The first join token of a farm.
fn make_token(farm: &mut Scenario) -> Joining {
    let new = NewJoinToken {
        name: "image".to_owned(),
        seed: "seed".to_owned(),
        expires: None,
        address: None,
        uses: None,
    };
    order(farm, KeyCommand::CreateToken(new));
    Joining::Token(TokenId(1))
}

fn joined(number: u8, address: &str) -> String {
    let key = key(number).fingerprint();
    format!("key {key} joined with the secret, for the slave at {address}")
}

fn good_keys(farm: &Scenario) -> Vec<(u8, &str)> {
    let keys = farm.cluster.slave_keys().keys();
    let good = keys.filter(|(_, known)| known.revoked.is_none());
    good.map(|(key, known)| (key.0[0], known.address.as_str()))
        .collect()
}

#[test]
fn a_slave_joins_once_and_then_connects_by_its_key() {
    let mut farm = Scenario::default();
    let unknown = Refusal::Key(KeyRefused::UnknownKey);
    farm.check_refused(connects("a:1", "life 1", 1, None), &unknown);
    farm.tell(connects("a:1", "life 1", 1, SECRET))
        .check_facts(&[
            &joined(1, "a:1"),
            "slave 1 connected: a:1, life 1, 1 executor",
        ]);
    // Its next life needs nothing but the key; to show more changes nothing.
    for (life, joins) in [("life 2", None), ("life 3", SECRET)] {
        let turn = farm.tell(connects("a:1", life, 1, joins));
        let is_key = |event: &Event| matches!(event.fact, Fact::SlaveKey(_));
        assert!(!turn.events.iter().any(is_key), "{life}");
    }
    let event = farm.journal.last().unwrap();
    assert_eq!(event.by, Actor::SecretHolder);
    farm.tell(connects("a:1", "life 4", 1, None));
    assert_eq!(farm.journal.last().unwrap().by, Actor::SlaveKey);
    assert_eq!(good_keys(&farm), [(1, "a:1")]);
}

#[test]
fn a_slave_that_lost_its_key_joins_with_another_in_its_place() {
    let mut farm = Scenario::default();
    farm.tell(connects("a:1", "life 1", 1, SECRET));
    farm.tell(connects("a:1", "life 2", 2, SECRET))
        .check_facts(&[
            "slave 1 lost: it was started again",
            &joined(2, "a:1"),
            "slave 2 connected: a:1, life 2, 1 executor",
        ]);
    assert_eq!(good_keys(&farm), [(2, "a:1")]);
    let unknown = Refusal::Key(KeyRefused::UnknownKey);
    farm.check_refused(connects("a:1", "life 3", 1, None), &unknown);
}

#[test]
fn a_key_alone_takes_nobodys_address() {
    let mut farm = Scenario::default();
    farm.tell(connects("a:1", "life 1", 1, SECRET));
    farm.tell(connects("b:1", "life 1", 2, SECRET));
    farm.lose(2);
    // Neither that of a living slave, nor that of one that is away.
    farm.lose(1);
    for (number, address) in [(2, "a:1"), (1, "b:1")] {
        let owner = key(3 - number).fingerprint();
        let address = address.to_owned();
        let taken = KeyRefused::AddressOfOther {
            address: address.clone(),
            owner,
        };
        farm.check_refused(connects(&address, "life 2", number, None), &taken.into());
    }
    // An operator's secret on the machine is enough, and the key of before is gone.
    farm.tell(connects("a:1", "life 2", 2, SECRET));
    assert_eq!(good_keys(&farm), [(2, "a:1")]);
}

#[test]
fn a_key_alone_takes_no_address_of_a_living_slave_without_one() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.tell(connects("b:1", "life 1", 1, SECRET));
    farm.lose(2);
    let taken = KeyRefused::AddressOfOther {
        address: "a:1".to_owned(),
        owner: "none of its own".to_owned(),
    };
    farm.check_refused(connects("a:1", "life 2", 1, None), &taken.into());
    farm.lose(1);
    farm.tell(connects("a:1", "life 2", 1, None));
    assert_eq!(good_keys(&farm), [(1, "a:1")]);
}

#[test]
fn without_the_secret_nobody_uses_up_the_ids() {
    let mut farm = Scenario::default();
    farm.tell(connects("a:1", "life 1", 1, SECRET));
    let far = |build, slave, attempt, joins| {
        let mut one = Seen::first(MasterMark {
            incarnation: Incarnation("another".to_owned()),
            session_id: SessionId("of another".to_owned()),
            position: 7,
            proof: None,
        });
        one.build = BuildId(build);
        one.slave = SlaveId(slave);
        one.attempt = Attempt(attempt);
        let mut command = connects("a:1", "life 2", 1, joins);
        if let Command::ConnectSlave { seen, .. } = &mut command {
            seen.push(Testimony::proved(one));
        }
        command
    };
    let refused = Refusal::Key(KeyRefused::TooFarAhead);
    let token = Some(make_token(&mut farm));
    for joins in [None, token] {
        for (build, slave, attempt) in [(1 << 40, 0, 0), (0, 1 << 40, 0), (0, 0, 1 << 24)] {
            farm.check_refused(far(build, slave, attempt, joins), &refused);
        }
    }
    farm.tell(far(7, 7, 7, None));
    assert!(farm.cluster.slave(SlaveId(8)).is_some());
    farm.tell(far(1 << 40, 7, 7, SECRET));
}

/// A farm whose slave 2, at b:1, runs something, and what one has seen of its master that saw more.
fn busy_and_beyond() -> (Scenario, Seen) {
    let mut farm = Scenario::default();
    farm.restart();
    farm.tell(connects("a:1", "life 1", 1, SECRET));
    farm.tell(connects("b:1", "life 1", 2, SECRET));
    farm.build(big_plan(1, 0, 0));
    farm.set_up(2, 1);
    farm.check_running(&[1]);
    let mut beyond = farm.seen().remove(0);
    beyond.last.position += 100;
    (beyond.build, beyond.slave) = (BuildId(900), SlaveId(900));
    (farm, beyond)
}

#[test]
fn a_key_does_not_void_the_work_of_others_by_what_it_claims_to_have_seen() {
    let claim = |is_proved, joins| {
        let (mut farm, seen) = busy_and_beyond();
        let mut command = connects("a:1", "life 2", 1, joins);
        if let Some(token) = joins.filter(|joins| *joins != Joining::Secret) {
            assert_eq!(make_token(&mut farm), token);
        }
        if let Command::ConnectSlave { seen: told, .. } = &mut command {
            told.push(Testimony { seen, is_proved });
        }
        farm.tell(command);
        let goes_on = farm.cluster.slave_at("b:1").is_some();
        farm.queue("another");
        let next = farm.cluster.builds().map(|build| build.id).max();
        (goes_on, next.unwrap() > BuildId(900))
    };
    let token = Some(Joining::Token(TokenId(1)));
    // Nobody else notices; but ids that one names that joins are not given again.
    assert_eq!(claim(false, None), (true, false));
    assert_eq!(claim(false, token), (true, true));
    // What this master itself has said in a journal that is gone, and what holders of the secret say, begins another.
    assert_eq!(claim(true, None), (false, true));
    assert_eq!(claim(true, token), (false, true));
    assert_eq!(claim(false, SECRET), (false, true));
}

#[test]
fn kept_results_are_taken_from_the_key_that_had_the_work() {
    let cases = [
        (1, false, None, 1),
        (2, false, SECRET, 1),
        (2, true, None, 0),
    ];
    for (number, has_token, joins, kept) in cases {
        let mut farm = Scenario::default();
        farm.tell(connects("a:1", "life 1", 1, SECRET));
        farm.build(big_plan(1, 0, 0));
        farm.set_up(1, 1);
        let joins = if has_token {
            farm.lose(1);
            order(&mut farm, KeyCommand::Forget(key(1)));
            Some(make_token(&mut farm))
        } else {
            joins
        };
        let claim = FinishedAttempt {
            build_id: BuildId(1),
            subjob_id: SubjobId(0),
            attempt: Attempt(1),
            session_id: SessionId("life 1".to_owned()),
            incarnation: farm.cluster.lineage().incarnation().cloned(),
        };
        let mut offer = connects("a:1", "life 2", number, joins);
        if let Command::ConnectSlave { finished, .. } = &mut offer {
            finished.push(claim);
        }
        farm.tell(offer);
        let slave = farm.cluster.slave_at("a:1").unwrap().id;
        let delivered = farm.cluster.to_be_delivered(slave);
        assert_eq!(delivered.len(), kept, "key {number}, {joins:?}");
    }
}

#[test]
fn a_slave_moves_when_nobody_lives_where_it_was() {
    let mut farm = Scenario::default();
    farm.tell(connects("a:1", "life 1", 1, SECRET));
    // The copy of a directory, or the very same slave, which is not known to have ended yet.
    let in_use = Refusal::Key(KeyRefused::InUse("a:1".to_owned()));
    for joins in [None, SECRET] {
        farm.check_refused(connects("a:2", "life 2", 1, joins), &in_use);
    }
    farm.lose(1);
    let key = key(1).fingerprint();
    farm.tell(connects("a:2", "life 2", 1, None)).check_facts(&[
        &format!("key {key} is now at a:2"),
        "slave 2 connected: a:2, life 2, 1 executor",
    ]);
    assert_eq!(good_keys(&farm), [(1, "a:2")]);
}

#[test]
fn a_registration_is_acted_for_with_what_it_was_made_with() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.tell(connects("b:1", "life 1", 1, SECRET));
    let check = |slave, with| farm.cluster.check_sender(SlaveId(slave), with);
    let others = |slave| Err(KeyRefused::OtherSlaves(SlaveId(slave)));
    assert_eq!(check(1, None), Ok(()));
    assert_eq!(check(1, Some(key(1))), others(1));
    assert_eq!(check(2, Some(key(1))), Ok(()));
    assert_eq!(check(2, Some(key(2))), others(2));
    assert_eq!(check(2, None), others(2), "not even the secret");
}

#[test]
fn anothers_hand_out_is_nobody_elses() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1), ("b:1", 1)]);
    farm.build(big_plan(2, 0, 0));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    let (build, subjob) = (BuildId(1), SubjobId(0));
    let running = farm.cluster.build(build).unwrap().progress().unwrap();
    let (holder, attempt) = running.running[&subjob];
    let other = if holder == SlaveId(1) { 2 } else { 1 };
    let others = hand_out(other, 1, 0, attempt.0);
    let refusal = Refusal::OthersHandOut {
        build,
        subjob,
        attempt,
    };
    farm.check_refused(finished(others, &[0]), &refusal);
    farm.finish(hand_out(holder.0, 1, 0, attempt.0));
}

#[test]
fn what_a_revoked_slave_ran_is_run_elsewhere_and_blamed_on_nothing() {
    let mut farm = Scenario::default();
    farm.tell(connects("a:1", "life 1", 1, SECRET));
    farm.build(big_plan(1, 0, 0));
    farm.set_up(1, 1);
    order(&mut farm, KeyCommand::Revoke(key(1))).check(
        &[
            "slave 1 lost: its key was revoked",
            &format!("key {} revoked", key(1).fingerprint()),
        ],
        &["close slave 1"],
    );
    order(&mut farm, KeyCommand::Revoke(key(1))).check_nothing();
    let late = hand_out(1, 1, 0, 1);
    farm.check_refused(finished(late, &[0]), &stale(late));
    let subjob = &farm.cluster.build(BuildId(1)).unwrap().subjobs[0];
    assert!(
        !subjob.is_suspect(),
        "the revocation ended it, not the atom"
    );
    let revoked = Refusal::Key(KeyRefused::RevokedKey);
    for joins in [None, SECRET] {
        for address in ["a:1", "a:2"] {
            farm.check_refused(connects(address, "life 2", 1, joins), &revoked);
        }
    }
    // An operator's act: another key.
    farm.tell(connects("a:1", "life 2", 2, SECRET));
    assert_eq!(good_keys(&farm), [(2, "a:1")]);
    let taken = KeyRefused::AddressOfOther {
        address: "a:1".to_owned(),
        owner: key(2).fingerprint(),
    };
    let restore = Command::SlaveKey {
        by: Actor::SecretHolder,
        command: KeyCommand::Restore(key(1)),
    };
    farm.check_refused(restore, &taken.into());
}

#[test]
fn a_revocation_can_be_taken_back() {
    let mut farm = Scenario::default();
    farm.tell(connects("a:1", "life 1", 1, SECRET));
    order(&mut farm, KeyCommand::Revoke(key(1)));
    order(&mut farm, KeyCommand::Restore(key(1)));
    order(&mut farm, KeyCommand::Restore(key(1))).check_nothing();
    farm.tell(connects("a:1", "life 1", 1, None));
    assert!(farm.cluster.slave_at("a:1").is_some());
}

/// A farm as it is after so many slaves more have joined and gone.
fn crowded(farm: &Scenario, by: Joining) -> Cluster {
    let mut cluster = farm.cluster.clone();
    let first = farm.journal.last().unwrap().clone();
    for number in 0..KEYS_KEPT {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let fact = Fact::SlaveKey(KeyFact::Joined {
            key: PublicKey(bytes),
            address: format!("b:{number}"),
            by,
        });
        let event = Event {
            fact,
            ..first.clone()
        };
        cluster.apply(&event);
    }
    cluster.check().unwrap();
    cluster
}

#[test]
fn keys_that_nobody_uses_do_not_pile_up() {
    let mut farm = Scenario::default();
    let token = Some(make_token(&mut farm));
    farm.tell(connects("a:1", "life 1", 1, token));
    farm.tell(connects("a:2", "life 1", 2, SECRET));
    farm.lose(1);
    let crowded = crowded(&farm, Joining::Secret);
    assert_eq!(crowded.slave_keys().keys().count(), KEYS_KEPT);
    // One is away and joined with a token; the other lives.
    for number in [1, 2] {
        assert!(crowded.slave_keys().key(&key(number)).is_some());
    }
}

/// Its last word is signed with its key.
#[test]
fn the_key_of_a_slave_that_ends_is_not_forgotten_before_it_has_ended() {
    let mut farm = Scenario::default();
    farm.tell(connects("a:1", "life 1", 1, SECRET));
    farm.shut_down(&[1]);
    let forget = Command::SlaveKey {
        by: Actor::SecretHolder,
        command: KeyCommand::Forget(key(1)),
    };
    let connected = KeyRefused::Connected("a:1".to_owned());
    farm.check_refused(forget.clone(), &connected.into());
    farm.lose(1);
    farm.tell(forget);
}
