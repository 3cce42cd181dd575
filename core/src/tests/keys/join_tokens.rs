//! Tokens to join with.

use super::*;

#[test]
fn a_join_token_takes_nobodys_address() {
    let mut farm = Scenario::with_slaves(&[("c:1", 1)]);
    let token = Some(make_token(&mut farm));
    farm.tell(connects("a:1", "life 1", 1, SECRET));
    farm.tell(connects("b:1", "life 1", 2, token));
    farm.lose(3);
    let taken = |address: &str, owner: String| {
        let address = address.to_owned();
        Refusal::Key(KeyRefused::AddressOfOther { address, owner })
    };
    // Neither of one that lives, nor of one that is away, nor of one of a version before keys.
    let (a, b) = (key(1).fingerprint(), key(2).fingerprint());
    farm.check_refused(connects("a:1", "life 2", 3, token), &taken("a:1", a));
    farm.check_refused(connects("b:1", "life 2", 3, token), &taken("b:1", b));
    let none = "none of its own".to_owned();
    farm.check_refused(connects("c:1", "life 2", 3, token), &taken("c:1", none));
    // What the refusal names helps.
    let connected = KeyRefused::Connected("a:1".to_owned());
    let forget = |number| Command::SlaveKey {
        by: Actor::SecretHolder,
        command: KeyCommand::Forget(key(number)),
    };
    farm.check_refused(forget(1), &connected.into());
    farm.tell(forget(2));
    farm.tell(connects("b:1", "life 2", 3, token));
    order(&mut farm, KeyCommand::Revoke(key(1)));
    farm.tell(connects("a:1", "life 2", 4, token));
    assert_eq!(good_keys(&farm), [(3, "b:1"), (4, "a:1")]);
    farm.check_refused(forget(2), &KeyRefused::UnknownKey.into());
}

#[test]
fn a_join_token_is_good_so_often_and_for_such_addresses() {
    let mut farm = Scenario::default();
    let new = |address: Option<&str>, uses| {
        KeyCommand::CreateToken(NewJoinToken {
            name: "image".to_owned(),
            seed: "seed".to_owned(),
            expires: None,
            address: address.map(str::to_owned),
            uses,
        })
    };
    let refused = |command| Command::SlaveKey {
        by: Actor::SecretHolder,
        command,
    };
    for uses in [0, 10_001] {
        let command = refused(new(None, Some(uses)));
        farm.check_refused(command, &KeyRefused::InvalidUses.into());
    }
    let command = refused(new(Some("a b"), None));
    farm.check_refused(command, &KeyRefused::InvalidAddress.into());
    order(&mut farm, new(Some("pool-*"), Some(2)));
    let token = Some(Joining::Token(TokenId(1)));
    let elsewhere = KeyRefused::OtherAddress {
        token: TokenId(1),
        address: "farm-1:1".to_owned(),
        pattern: "pool-*".to_owned(),
    };
    farm.check_refused(connects("farm-1:1", "life 1", 1, token), &elsewhere.into());
    farm.tell(connects("pool-1:1", "life 1", 1, token));
    // The same slave shows it again: it has joined already.
    farm.tell(connects("pool-1:1", "life 2", 1, token));
    farm.tell(connects("pool-2:1", "life 1", 2, token));
    let used_up = KeyRefused::TokenUsedUp(TokenId(1), 2);
    farm.check_refused(connects("pool-3:1", "life 1", 3, token), &used_up.into());
    farm.tell(connects("pool-1:1", "life 3", 1, token));
}

#[test]
fn join_tokens_have_numbers_of_their_own_and_end() {
    let mut farm = Scenario::default();
    let new = |name: &str| NewJoinToken {
        name: name.to_owned(),
        seed: "seed".to_owned(),
        expires: None,
        address: None,
        uses: None,
    };
    for _ in 0..2 {
        order(&mut farm, KeyCommand::CreateToken(new("image")));
    }
    let ids: Vec<TokenId> = farm
        .cluster
        .slave_keys()
        .tokens()
        .map(|(id, _)| id)
        .collect();
    assert_eq!(ids, [TokenId(1), TokenId(2)]);
    assert_eq!(farm.cluster.accounts().next_token_id(), TokenId(3));
    let by = Some(Joining::Token(TokenId(2)));
    farm.tell(connects("a:1", "life 1", 1, by));
    assert_eq!(
        farm.journal.last().unwrap().by,
        Actor::JoinToken(TokenId(2))
    );
    order(&mut farm, KeyCommand::RevokeToken(TokenId(2)));
    assert_eq!(good_keys(&farm), [(1, "a:1")], "who has joined stays");
    let ended = KeyRefused::UnknownToken(TokenId(2));
    farm.check_refused(connects("b:1", "life 1", 2, by), &ended.into());
    let unnamed = Command::SlaveKey {
        by: Actor::SecretHolder,
        command: KeyCommand::CreateToken(new("")),
    };
    farm.check_refused(unnamed, &KeyRefused::InvalidName.into());
}

#[test]
fn joins_with_tokens_push_no_key_out() {
    let mut farm = Scenario::default();
    let token = make_token(&mut farm);
    farm.tell(connects("a:1", "life 1", 1, SECRET));
    farm.lose(1);
    let crowded = crowded(&farm, Joining::Token(TokenId(77)));
    let full = Refusal::Key(KeyRefused::TooManyKeys);
    let connect = |address, number, joins| {
        let command = connects(address, "life 2", number, joins);
        crowded.decide(command, Timestamp(9))
    };
    assert_eq!(connect("c:1", 3, Some(token)).unwrap_err(), full);
    // One that joined with the secret makes room for one with the secret; until then it comes back.
    assert!(connect("c:1", 3, SECRET).is_ok());
    assert!(connect("a:1", 1, None).is_ok());
}
