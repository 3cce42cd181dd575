//! Who may log in, and the tokens of users.

use super::*;

#[test]
fn who_is_deactivated_has_no_token_until_activated_again() {
    let mut farm = with_users(&["ann"]);
    done(
        &mut farm,
        AccountCommand::CreateToken {
            user: ANN,
            token: new_token("ci", Role::Submit, None),
        },
    );
    let active = |is_active| UserOrder {
        is_active: Some(is_active),
        ..UserOrder::default()
    };
    done(&mut farm, change(ANN, active(false))).check_facts(&["user 1 deactivated"]);
    done(&mut farm, change(ANN, active(false))).check_facts(&[]);
    assert_eq!(
        (holder(&farm, "ann", 0), holder(&farm, "ci", 0)),
        (None, None)
    );
    let log_in = || AccountCommand::LogIn {
        user: ANN,
        password: PasswordHash("password of ann".to_owned()),
        api_token: api_token("ann"),
    };
    assert_eq!(
        refused(&mut farm, log_in()),
        AccountRefusal::Deactivated(ANN)
    );
    done(&mut farm, change(ANN, active(true))).check_facts(&["user 1 activated"]);
    assert_eq!(
        holder(&farm, "ci", 0),
        Some(("ann".to_owned(), Role::Submit))
    );
    done(&mut farm, log_in()).check_facts(&["user 1 logged in"]);
    assert!(user(&farm, ANN).last_login.is_some());
}

#[test]
fn a_log_in_is_of_the_present_password_and_brings_the_token_of_the_present_secret() {
    let mut farm = with_users(&["ann"]);
    let log_in = |password: &str, token: &str| AccountCommand::LogIn {
        user: ANN,
        password: PasswordHash(password.to_owned()),
        api_token: ApiToken {
            digest: digest(token),
            ..api_token("ann")
        },
    };
    let another = UserOrder {
        password: Some(PasswordHash("new".to_owned())),
        ..UserOrder::default()
    };
    done(&mut farm, change(ANN, another));
    let late = refused(&mut farm, log_in("password of ann", "ann"));
    assert_eq!(late, AccountRefusal::PasswordChanged(ANN));
    done(&mut farm, log_in("new", "ann under another secret"))
        .check_facts(&["user 1 logged in", "user 1 has another API token"]);
    assert_eq!(holder(&farm, "ann", 0), None);
    assert!(holder(&farm, "ann under another secret", 0).is_some());
    let renew = AccountCommand::RenewApiToken {
        user: ANN,
        token: api_token("ann again"),
    };
    done(&mut farm, renew);
    let late = refused(&mut farm, log_in("new", "ann"));
    assert_eq!(late, AccountRefusal::PasswordChanged(ANN));
    assert!(holder(&farm, "ann", 0).is_none() && holder(&farm, "ann again", 0).is_some());
}

#[test]
fn a_named_token_has_a_role_an_end_and_a_name_of_its_own() {
    let mut farm = with_users(&["ann", "bob"]);
    let create = |user, token| AccountCommand::CreateToken { user, token };
    done(
        &mut farm,
        create(ANN, new_token("ci", Role::Read, Some(1_000))),
    )
    .check_facts(&["user 1: token 1 created, role Read"]);
    assert_eq!(
        holder(&farm, "ci", 999),
        Some(("ann".to_owned(), Role::Read))
    );
    assert_eq!(holder(&farm, "ci", 1_000), None);
    let taken = refused(&mut farm, create(ANN, new_token("ci", Role::Admin, None)));
    assert_eq!(taken, AccountRefusal::TokenNameTaken("ci".to_owned()));
    assert_eq!(
        refused(
            &mut farm,
            create(ANN, new_token("late", Role::Read, Some(1)))
        ),
        AccountRefusal::ExpiredToken
    );
    for name in ["", " ", "two\nlines", &"x".repeat(101)] {
        refused(&mut farm, create(ANN, new_token(name, Role::Read, None)));
    }
    // One that has ended makes room for another.
    farm.set_clock(2_000);
    let mut another = new_token("ci", Role::Submit, None);
    another.digest = digest("another");
    done(&mut farm, create(ANN, another)).check_facts(&[
        "user 1: token 1 revoked",
        "user 1: token 2 created, role Submit",
    ]);
    let revoke = |user, token| AccountCommand::RevokeToken {
        user,
        token: TokenId(token),
    };
    assert_eq!(
        refused(&mut farm, revoke(BOB, 2)),
        AccountRefusal::UnknownToken(TokenId(2))
    );
    done(&mut farm, revoke(ANN, 2)).check_facts(&["user 1: token 2 revoked"]);
    assert_eq!(holder(&farm, "another", 0), None);
    refused(&mut farm, revoke(ANN, 2));
    done(&mut farm, create(BOB, new_token("ci", Role::Read, None)))
        .check_facts(&["user 2: token 3 created, role Read"]);
}

#[test]
fn tokens_of_a_user_are_bounded() {
    let mut farm = with_users(&["ann"]);
    for number in 0..200 {
        let token = new_token(&number.to_string(), Role::Read, None);
        done(&mut farm, AccountCommand::CreateToken { user: ANN, token });
    }
    let token = new_token("one more", Role::Read, None);
    let refusal = refused(&mut farm, AccountCommand::CreateToken { user: ANN, token });
    assert_eq!(refusal, AccountRefusal::TooManyTokens(200));
}

#[test]
fn a_renewed_token_opens_in_place_of_the_one_before() {
    let mut farm = with_users(&["ann"]);
    let token = api_token("fresh");
    done(
        &mut farm,
        AccountCommand::RenewApiToken { user: ANN, token },
    )
    .check_facts(&["user 1 has another API token"]);
    assert_eq!(
        (holder(&farm, "ann", 0), holder(&farm, "fresh", 0).is_some()),
        (None, true)
    );
}
