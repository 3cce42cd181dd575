//! SSH keys of users.

use super::projects::new_user;
use super::scenario::{Scenario, Turn};
use crate::accounts::command::AccountCommand;
use crate::accounts::refusal::AccountRefusal;
use crate::accounts::ssh_keys::NewSshKey;
use crate::actor::Actor;
use crate::command::Command;
use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clusterrunner_common::ids::UserId;

const ANN: UserId = UserId(1);
const BOB: UserId = UserId(2);

const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIFhSFLbrc0LmtYIBStx6PExvvp0vZ9y1Xk4TUbdwqQlR";
const OTHER: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIPMCHv5sRh8I5KNzVq8M4Jf7TGT2VFPKgu2y1TxTe2Ml";

fn order(farm: &mut Scenario, command: AccountCommand) -> Result<Turn, AccountRefusal> {
    let by = Actor::Master;
    match farm.try_tell(Command::Account { by, command }) {
        Ok(turn) => Ok(turn),
        Err(Refusal::Account(refusal)) => Err(refusal),
        Err(other) => panic!("{other}"),
    }
}

fn add(farm: &mut Scenario, user: UserId, id: &str, key: &str) -> Result<Turn, AccountRefusal> {
    let key = Box::new(NewSshKey {
        id: id.to_owned(),
        public: format!("ssh-ed25519 {key} {id}"),
    });
    order(farm, AccountCommand::AddKey { user, key })
}

fn remove(farm: &mut Scenario, user: UserId, id: &str) -> Result<Turn, AccountRefusal> {
    let id = id.to_owned();
    order(farm, AccountCommand::RemoveKey { user, id })
}

fn with_users() -> Scenario {
    let mut farm = Scenario::default();
    for name in ["ann", "bob"] {
        order(&mut farm, AccountCommand::Create(Box::new(new_user(name)))).unwrap();
    }
    farm
}

fn owner(farm: &Scenario, key: &str) -> Option<UserId> {
    Some(farm.cluster.accounts().owner_of_key(key)?.id)
}

#[test]
fn a_key_has_one_owner_and_one_id() {
    let mut farm = with_users();
    add(&mut farm, ANN, "ann@box", KEY)
        .unwrap()
        .check_facts(&["user 1 has SSH key ann@box"]);
    assert_eq!(owner(&farm, KEY), Some(ANN));
    for (user, id) in [(ANN, "again"), (BOB, "ann@box"), (ANN, "ann@box")] {
        let taken = add(&mut farm, user, id, KEY).unwrap_err();
        assert_eq!(taken, AccountRefusal::KeyTaken);
    }
    let taken = add(&mut farm, ANN, "ann@box", OTHER).unwrap_err();
    assert_eq!(taken, AccountRefusal::KeyIdTaken("ann@box".to_owned()));
    add(&mut farm, BOB, "ann@box", OTHER).unwrap();
    let accounts = farm.cluster.accounts();
    let ids = accounts.keys_of(BOB).into_iter().map(|key| &key.id);
    assert_eq!(ids.collect::<Vec<_>>(), ["ann@box"]);
    assert!(accounts.key_named(ANN, "ann@box").is_some());
    assert!(accounts.key_named(ANN, "box").is_none());
}

#[test]
fn a_removed_key_is_nobodys_and_can_be_added_again() {
    let mut farm = with_users();
    add(&mut farm, ANN, "box", KEY).unwrap();
    let unknown = AccountRefusal::UnknownKey("box".to_owned());
    assert_eq!(remove(&mut farm, BOB, "box").unwrap_err(), unknown);
    remove(&mut farm, ANN, "box")
        .unwrap()
        .check_facts(&["user 1 has SSH key box no more"]);
    assert_eq!(remove(&mut farm, ANN, "box").unwrap_err(), unknown);
    assert_eq!(owner(&farm, KEY), None);
    add(&mut farm, BOB, "box", KEY).unwrap();
    assert_eq!(owner(&farm, KEY), Some(BOB));
}

#[test]
fn keys_go_with_their_user_and_are_found_after_a_restart() {
    let mut farm = with_users();
    add(&mut farm, ANN, "box", KEY).unwrap();
    add(&mut farm, BOB, "box", OTHER).unwrap();
    order(&mut farm, AccountCommand::Delete { user: ANN }).unwrap();
    assert_eq!(owner(&farm, KEY), None);
    let stored = serde_json::to_string(farm.cluster.accounts()).unwrap();
    let restored: crate::accounts::users::Accounts = serde_json::from_str(&stored).unwrap();
    let restored = restored.restored();
    assert_eq!(&restored, farm.cluster.accounts());
    assert_eq!(restored.owner_of_key(OTHER).map(|user| user.id), Some(BOB));
}

#[test]
fn a_user_has_a_bounded_number_of_keys() {
    let mut farm = with_users();
    let mut key_of = |number: u8| {
        let key = [b"\0\0\0\x0bssh-ed25519", &[number][..]].concat();
        add(&mut farm, ANN, &number.to_string(), &STANDARD.encode(key))
    };
    for number in 0..200 {
        key_of(number).unwrap();
    }
    assert_eq!(key_of(200).unwrap_err(), AccountRefusal::TooManyKeys(200));
}
