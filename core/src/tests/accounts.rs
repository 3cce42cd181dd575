//! Users and their tokens.

mod tokens;

use super::projects::new_project;
use super::scenario::{Scenario, Turn, request};
use crate::accounts::bookmarks::Markable;
use crate::accounts::command::{AccountCommand, ProjectCommand, UserOrder};
use crate::accounts::owner::Owner;
use crate::accounts::refusal::AccountRefusal;
use crate::accounts::users::{
    ApiToken, NewToken, NewUser, PasswordHash, Role, TokenDigest, User, UserChange,
};
use crate::actor::Actor;
use crate::command::Command;
use crate::refusal::Refusal;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, ProjectId, TokenId, UserId};

const ANN: UserId = UserId(1);

const BOB: UserId = UserId(2);

fn api_token(text: &str) -> ApiToken {
    ApiToken {
        seed: format!("seed of {text}"),
        digest: digest(text),
    }
}

fn digest(text: &str) -> TokenDigest {
    TokenDigest(format!("digest of {text}"))
}

fn new_user(name: &str) -> NewUser {
    NewUser {
        name: name.to_owned(),
        email: String::new(),
        first_name: String::new(),
        last_name: String::new(),
        is_superuser: false,
        password: PasswordHash(format!("password of {name}")),
        api_token: api_token(name),
    }
}

fn new_token(name: &str, role: Role, expires: Option<u64>) -> Box<NewToken> {
    Box::new(NewToken {
        name: name.to_owned(),
        role,
        digest: digest(name),
        expires: expires.map(Timestamp),
    })
}

/// Gives an order about users.
fn order(farm: &mut Scenario, by: Actor, command: AccountCommand) -> Result<Turn, AccountRefusal> {
    match farm.try_tell(Command::Account { by, command }) {
        Ok(turn) => Ok(turn),
        Err(Refusal::Account(refusal)) => Err(refusal),
        Err(other) => panic!("{other}"),
    }
}

fn done(farm: &mut Scenario, command: AccountCommand) -> Turn {
    order(farm, Actor::SecretHolder, command).unwrap()
}

fn refused(farm: &mut Scenario, command: AccountCommand) -> AccountRefusal {
    let before = farm.cluster.clone();
    let refusal = order(farm, Actor::SecretHolder, command).unwrap_err();
    assert!(farm.cluster == before, "{refusal}");
    refusal
}

fn create(user: NewUser) -> AccountCommand {
    AccountCommand::Create(Box::new(user))
}

fn change(user: UserId, order: UserOrder) -> AccountCommand {
    let order = Box::new(order);
    AccountCommand::Change { user, order }
}

fn with_users(names: &[&str]) -> Scenario {
    let mut farm = Scenario::default();
    for name in names {
        done(&mut farm, create(new_user(name)));
    }
    farm
}

fn user(farm: &Scenario, id: UserId) -> &User {
    farm.cluster.accounts().user(id).unwrap()
}

/// The name and the role that a token stands for at a time.
fn holder(farm: &Scenario, token: &str, at: u64) -> Option<(String, Role)> {
    let found = farm
        .cluster
        .accounts()
        .holder(&digest(token), Timestamp(at));
    found.map(|(user, role)| (user.name.clone(), role))
}

#[test]
fn a_user_is_found_by_name_and_token_and_none_has_the_name_of_another() {
    let mut farm = Scenario::default();
    done(&mut farm, create(new_user("ann"))).check_facts(&["user 1 created: ann"]);
    done(&mut farm, create(new_user("Bob-2_x"))).check_facts(&["user 2 created: Bob-2_x"]);
    for name in ["ann", "ANN", "bob-2_X"] {
        let refusal = refused(&mut farm, create(new_user(name)));
        assert_eq!(refusal, AccountRefusal::UserNameTaken(name.to_owned()));
    }
    let named = |name| farm.cluster.accounts().named(name).map(|user| user.id);
    assert_eq!(
        (named("Ann"), named("bob-2_x"), named("an")),
        (Some(ANN), Some(BOB), None)
    );
    assert_eq!(
        holder(&farm, "ann", 0),
        Some(("ann".to_owned(), Role::Admin))
    );
    assert_eq!(holder(&farm, "nobody", 0), None);
}

#[test]
fn names_and_fields_have_rules() {
    let mut farm = Scenario::default();
    let long = "x".repeat(157);
    for name in ["", "a b", "ü", "a/b", ".", "..", long.as_str(), "a\n"] {
        let refusal = refused(&mut farm, create(new_user(name)));
        assert!(
            matches!(refusal, AccountRefusal::InvalidField { field: "name", .. }),
            "{name}"
        );
    }
    for name in [
        "users",
        "Projects",
        "log_handler",
        "nobody",
        "clusterrunner",
        "BINDER",
    ] {
        let refusal = refused(&mut farm, create(new_user(name)));
        assert_eq!(refusal, AccountRefusal::ReservedUserName(name.to_owned()));
    }
    for email in [
        "ann",
        "@",
        "a@",
        "@b",
        "a@b@c",
        "a b@c",
        "a@b\n",
        &format!("a@{long}{long}"),
    ] {
        let email = email.to_owned();
        let refusal = refused(
            &mut farm,
            create(NewUser {
                email,
                ..new_user("ann")
            }),
        );
        assert!(matches!(
            refusal,
            AccountRefusal::InvalidField { field: "email", .. }
        ));
    }
    let first_name = "two\nlines".to_owned();
    let refusal = refused(
        &mut farm,
        create(NewUser {
            first_name,
            ..new_user("ann")
        }),
    );
    assert!(matches!(
        refusal,
        AccountRefusal::InvalidField {
            field: "first_name",
            ..
        }
    ));
    for name in [&"x".repeat(156), "ann.lee+x@example.org", "..x"] {
        done(&mut farm, create(new_user(name)));
    }
}

#[test]
fn the_first_user_of_a_farm_can_be_its_superuser_and_the_last_can_leave() {
    let mut farm = Scenario::default();
    for name in ["ann", "bob"] {
        let user = Box::new(NewUser {
            is_superuser: name == "bob",
            ..new_user(name)
        });
        done(&mut farm, AccountCommand::CreateFirstAsSuperuser(user));
    }
    assert!(user(&farm, ANN).is_superuser && !user(&farm, BOB).is_superuser);
    let leave = |user| (Actor::User(user), AccountCommand::Delete { user });
    let (by, delete) = leave(BOB);
    order(&mut farm, by, delete).unwrap();
    let (by, delete) = leave(ANN);
    order(&mut farm, by, delete).unwrap();
    assert_eq!(farm.cluster.accounts().users().len(), 0);
}

#[test]
fn a_change_is_all_that_is_another_than_before() {
    let mut farm = with_users(&["ann"]);
    let said = |email: &str| UserChange {
        email: Some(email.to_owned()),
        last_name: Some("Lee".to_owned()),
        ..UserChange::default()
    };
    let all = || UserOrder {
        said: said("ann@example.org"),
        is_superuser: Some(true),
        is_active: Some(true),
        password: Some(PasswordHash("another".to_owned())),
    };
    done(&mut farm, change(ANN, all())).check_facts(&[
        "user 1 changed",
        "user 1 is a superuser",
        "user 1 has another password",
    ]);
    let ann = user(&farm, ANN);
    assert_eq!(
        (
            ann.email.as_str(),
            ann.first_name.as_str(),
            ann.last_name.as_str()
        ),
        ("ann@example.org", "", "Lee")
    );
    assert!(ann.is_superuser && ann.password.0 == "another");
    let again = UserOrder {
        password: None,
        ..all()
    };
    done(&mut farm, change(ANN, again)).check_facts(&[]);
    // Nothing of it where one part is wrong.
    let wrong = UserOrder {
        said: said("no address"),
        is_superuser: Some(false),
        ..all()
    };
    refused(&mut farm, change(ANN, wrong));
    assert_eq!(
        refused(&mut farm, change(BOB, all())),
        AccountRefusal::UnknownUser(BOB)
    );
}

#[test]
fn superusers_keep_one_of_them_and_the_holder_of_the_secret_need_not() {
    let mut farm = with_users(&["ann", "bob"]);
    let superuser = |is_superuser| UserOrder {
        is_superuser: Some(is_superuser),
        ..UserOrder::default()
    };
    let inactive = || UserOrder {
        is_active: Some(false),
        ..UserOrder::default()
    };
    done(&mut farm, change(ANN, superuser(true)));
    let by = Actor::User(ANN);
    let last = AccountRefusal::LastSuperuser("ann".to_owned());
    for command in [
        change(ANN, superuser(false)),
        change(ANN, inactive()),
        AccountCommand::Delete { user: ANN },
    ] {
        assert_eq!(order(&mut farm, by, command).unwrap_err(), last);
    }
    // One that is deactivated can not help.
    done(&mut farm, change(BOB, superuser(true)));
    done(&mut farm, change(BOB, inactive()));
    assert_eq!(
        order(&mut farm, by, change(ANN, superuser(false))).unwrap_err(),
        last
    );
    done(
        &mut farm,
        change(
            BOB,
            UserOrder {
                is_active: Some(true),
                ..UserOrder::default()
            },
        ),
    );
    order(&mut farm, by, change(ANN, superuser(false))).unwrap();
    done(&mut farm, change(BOB, superuser(false)))
        .check_facts(&["user 2 is no superuser any more"]);
}

#[test]
fn nothing_is_left_of_a_deleted_user_and_the_name_is_free() {
    let mut farm = with_users(&["ann"]);
    done(
        &mut farm,
        AccountCommand::CreateToken {
            user: ANN,
            token: new_token("ci", Role::Admin, None),
        },
    );
    let delete = || AccountCommand::Delete { user: ANN };
    done(&mut farm, delete()).check_facts(&["user 1 deleted"]);
    assert_eq!(
        (holder(&farm, "ann", 0), holder(&farm, "ci", 0)),
        (None, None)
    );
    assert_eq!(
        refused(&mut farm, delete()),
        AccountRefusal::UnknownUser(ANN)
    );
    done(&mut farm, create(new_user("Ann"))).check_facts(&["user 2 created: Ann"]);
}

#[test]
fn users_survive_a_snapshot_and_secrets_do_not_show() {
    let mut farm = with_users(&["ann", "bob"]);
    done(
        &mut farm,
        AccountCommand::CreateToken {
            user: BOB,
            token: new_token("ci", Role::Submit, None),
        },
    );
    let before = farm.cluster.accounts().clone();
    let stored = serde_json::to_vec(&before).unwrap();
    let read: crate::accounts::users::Accounts = serde_json::from_slice(&stored).unwrap();
    assert_eq!(read.restored(), before);
    let shown = format!("{:?} {:?}", before, farm.journal);
    for secret in ["password of", "seed of", "digest of"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

#[test]
fn a_deleted_user_leaves_no_project_no_build_and_no_bookmark() {
    let mut farm = with_users(&["ann", "bob"]);
    let project = |farm: &mut Scenario, by, name: &str| {
        let command = ProjectCommand::Create(new_project(name));
        farm.try_tell(Command::Project {
            by: Actor::User(by),
            command,
        })
        .unwrap();
    };
    project(&mut farm, ANN, "hers");
    project(&mut farm, BOB, "his");
    let (hers, his) = (ProjectId(1), ProjectId(2));
    let mut say = |command| {
        farm.try_tell(Command::Project {
            by: Actor::User(BOB),
            command,
        })
    };
    say(ProjectCommand::AddCollaborator {
        project: his,
        user: ANN,
    })
    .unwrap();
    say(ProjectCommand::Bookmark {
        user: ANN,
        what: Markable::Project(his),
    })
    .unwrap();
    say(ProjectCommand::Bookmark {
        user: BOB,
        what: Markable::Project(hers),
    })
    .unwrap();
    // It waits to be prepared when its owner goes.
    let queue = Command::QueueBuild {
        by: Actor::User(ANN),
        request: Box::new(request("https://host/a.git")),
    };
    farm.try_tell(queue).unwrap();
    let turn = done(&mut farm, AccountCommand::Delete { user: ANN });
    let facts: Vec<String> = turn
        .events
        .iter()
        .map(|event| event.fact.to_string())
        .collect();
    let place = |text: &str| facts.iter().position(|fact| fact.contains(text));
    let (build, user) = (place("build 1 deleted"), place("user 1 deleted"));
    assert!(build.is_some() && build < user, "{facts:?}");
    assert!(farm.cluster.is_deleted(BuildId(1)) || farm.cluster.is_forgotten(BuildId(1)));
    let owned = farm.cluster.projects_of(Owner::User(ANN));
    assert_eq!(owned.count(), 0);
    let his = farm.cluster.project(his).unwrap();
    assert!(!his.has_collaborator(ANN));
    assert!(farm.cluster.bookmarked_projects(ANN).is_empty());
    assert!(farm.cluster.bookmarked_projects(BOB).is_empty());
}
