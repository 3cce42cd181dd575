//! What pools see of a cluster.

use super::scenario::Scenario;
use crate::actor::Actor;
use crate::command::Command;
use crate::event::{Event, Fact, KeyFact};
use crate::pools::Scene;
use crate::pools::requests::{Place, requests};
use crate::pools::scene::PoolPresence;
use crate::refusal::Refusal;
use crate::slaves::key_facts::{Joining, NewJoinToken};
use crate::slaves::keys::{KeyCommand, KeyRefused, MOST_JOIN_TOKENS, OfferedKey};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Incarnation, PublicKey, SessionId, SlaveId, TokenId};
use std::collections::BTreeSet;
use std::time::Duration;

fn connects(number: u8, token: u64) -> Command {
    Command::ConnectSlave {
        url: format!("a:{number}"),
        session: SessionId(format!("life {number}")),
        num_executors: 2,
        labels: BTreeSet::from(["big".to_owned()]),
        known_as: None,
        finished: Vec::new(),
        seen: Vec::new(),
        fresh: Incarnation("fresh".to_owned()),
        key: Some(OfferedKey {
            key: PublicKey([number; 32]),
            joins: Some(Joining::Token(TokenId(token))),
        }),
    }
}

fn order(farm: &mut Scenario, command: KeyCommand) {
    let by = Actor::Master;
    farm.tell(Command::SlaveKey { by, command });
}

fn new_token(name: &str) -> NewJoinToken {
    NewJoinToken {
        name: name.to_owned(),
        seed: "seed".to_owned(),
        expires: None,
        address: None,
        uses: Some(1),
    }
}

fn make_token(farm: &mut Scenario, name: &str) {
    order(farm, KeyCommand::CreateToken(new_token(name)));
}

fn scene(farm: &Scenario) -> Scene {
    Scene::of(&farm.cluster, "cr-", Duration::from_secs(60), Timestamp(1))
}

#[test]
fn a_slave_is_that_of_its_token_and_no_other_joins_with_it() {
    let mut farm = Scenario::default();
    make_token(&mut farm, "cr-a-1");
    make_token(&mut farm, "by hand");
    farm.tell(connects(1, 1));
    farm.tell(connects(2, 2));
    let used_up = Refusal::Key(KeyRefused::TokenUsedUp(TokenId(1), 1));
    farm.check_refused(connects(3, 1), &used_up);
    let seen = scene(&farm);
    let tokens: Vec<_> = seen.tokens.values().map(|token| &*token.name).collect();
    assert_eq!(tokens, ["cr-a-1"]);
    let joined = seen.tokens[&TokenId(1)].joined.unwrap();
    assert_eq!(joined.slave, Some((SlaveId(1), PoolPresence::Alive)));
    let slave = &seen.slaves[&SlaveId(1)];
    assert!(slave.is_idle && slave.takes_work && slave.executors == 2);
    assert!(!seen.has_strays);
    // Whose token is revoked by hand may be of any pool.
    order(&mut farm, KeyCommand::RevokeToken(TokenId(1)));
    let seen = scene(&farm);
    assert!(seen.tokens.is_empty() && seen.has_strays);
}

#[test]
fn tokens_of_slaves_that_have_joined_leave_room_for_others() {
    let mut farm = Scenario::default();
    make_token(&mut farm, "cr-a-1");
    let first = farm.journal.last().unwrap().clone();
    let mut cluster = farm.cluster.clone();
    let mut happen = |fact: KeyFact| {
        let fact = Fact::SlaveKey(fact);
        cluster.apply(&Event {
            fact,
            ..first.clone()
        });
        let command = Command::SlaveKey {
            by: Actor::Master,
            command: KeyCommand::CreateToken(new_token("cr-a-more")),
        };
        cluster.decide(command, Timestamp(9)).err()
    };
    let full = Some(Refusal::Key(KeyRefused::TooManyTokens));
    let most = MOST_JOIN_TOKENS as u64;
    for number in 2..=most {
        let token = TokenId(number);
        let new = new_token("cr-a");
        let refused = happen(KeyFact::TokenCreated { token, new });
        assert_eq!(refused, full.clone().filter(|_| number == most));
    }
    let joined = happen(KeyFact::Joined {
        key: PublicKey([1; 32]),
        address: "a:1".to_owned(),
        by: Joining::Token(TokenId(2)),
    });
    assert_eq!(joined, None);
}

#[test]
fn a_token_that_was_used_and_has_no_key_any_more_is_over() {
    let mut farm = Scenario::default();
    make_token(&mut farm, "cr-a-1");
    make_token(&mut farm, "cr-a-2");
    farm.tell(connects(1, 1));
    farm.lose(1);
    order(&mut farm, KeyCommand::Forget(PublicKey([1; 32])));
    let seen = scene(&farm);
    let found = requests("cr-", &seen, (&[], seen.now));
    let places: Vec<_> = found.iter().map(|request| &request.place).collect();
    assert_eq!(places, [&Place::Over, &Place::Starting]);
}

/// The answer to a slave that joined was lost, and the token was for one slave.
#[test]
fn who_asks_again_with_the_same_key_and_token_is_answered_again() {
    let mut farm = Scenario::default();
    make_token(&mut farm, "cr-a-1");
    farm.tell(connects(1, 1));
    let used = |farm: &Scenario| {
        let mut tokens = farm.cluster.slave_keys().tokens();
        tokens.next().unwrap().1.used
    };
    farm.tell(connects(1, 1));
    assert_eq!(used(&farm), 1);
    // Its next life is at another port.
    farm.lose(2);
    let mut again = connects(1, 1);
    if let Command::ConnectSlave { url, session, .. } = &mut again {
        url.push('7');
        session.0.push_str(" again");
    }
    let key = PublicKey([1; 32]).fingerprint();
    let moved = format!("key {key} is now at a:17");
    let connected = "slave 3 connected: a:17, life 1 again, 2 executors";
    farm.tell(again).check_facts(&[&moved, connected]);
    assert_eq!(used(&farm), 1);
    let used_up = Refusal::Key(KeyRefused::TokenUsedUp(TokenId(1), 1));
    farm.check_refused(connects(3, 1), &used_up);
}
