//! Users, their tokens, and what a token opens.

mod tokens;

use super::*;
use clusterrunner_common::ids::{ProjectId, UserId};
use clusterrunner_core::accounts::command::{AccountCommand, ProjectCommand, UserOrder};
use clusterrunner_core::accounts::projects::ProjectChange;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::builds::details::Merge;
use clusterrunner_core::command::Command;

const PASSWORD: &str = "correct horse";

impl Master {
    /// As a user, by a token.
    pub(super) async fn as_user(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        let bearer = format!("Bearer {token}");
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        self.call(method, path, &[("authorization", &bearer)], &body)
            .await
    }

    /// As the holder of the secret.
    pub(super) async fn signed_read(&self, path: &str) -> (u16, Value) {
        let parts = SignedParts {
            method: "GET",
            path_and_query: path,
            receiver: &self.session.0,
            content_digest: &content_digest(b""),
        };
        let signature = parts.sign(&self.secret, Timestamp::now(), random_bytes());
        self.call("GET", path, &[(SIGNATURE_HEADER, &signature)], "")
            .await
    }

    /// Creates a user, as the holder of the secret.
    pub(super) async fn create_user(&self, name: &str, is_superuser: bool) {
        let body = json!({"name": name, "password": PASSWORD, "is_superuser": is_superuser});
        let (status, answer) = self.signed("POST", "/v2/users", &body).await;
        assert_eq!(status, 201, "{answer}");
    }

    /// Creates a named token, as the holder of the secret.
    pub(super) async fn create_token(&self, user: &str, role: &str) -> String {
        let body = json!({"user": user, "name": format!("a {role} token"), "role": role});
        let (status, answer) = self.signed("POST", "/v2/tokens", &body).await;
        assert_eq!(status, 201, "{answer}");
        answer["text"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_user_is_created_shown_changed_and_deleted() {
    let master = Master::start_closed();
    let body = json!({"name": "ann", "password": PASSWORD, "email": "ann@example.org"});
    let (status, answer) = master.signed("POST", "/v2/users", &body).await;
    assert_eq!(status, 201);
    let user = &answer["user"];
    assert_eq!(
        (
            &user["name"],
            &user["email"],
            &user["is_superuser"],
            &user["is_active"]
        ),
        (
            &json!("ann"),
            &json!("ann@example.org"),
            &json!(false),
            &json!(true)
        )
    );
    assert_eq!(user["last_login"], Value::Null);
    assert!(!answer.to_string().contains("password"), "{answer}");
    let change = json!({"is_superuser": true, "first_name": "Ann"});
    let (status, answer) = master.signed("PUT", "/v2/users/Ann", &change).await;
    assert_eq!(
        (status, &answer["user"]["is_superuser"]),
        (200, &json!(true))
    );
    let (_, listed) = master.signed_read("/v2/users").await;
    assert_eq!(listed["users"].as_array().unwrap().len(), 1, "{listed}");
    let (status, _) = master.signed("DELETE", "/v2/users/ann", &json!({})).await;
    assert_eq!(status, 200);
    let (status, answer) = master.signed("PUT", "/v2/users/ann", &change).await;
    assert_eq!(
        (status, &answer["error"]),
        (404, &json!("There is no user named ann."))
    );
}

#[tokio::test]
async fn what_is_wrong_about_a_user_is_named_and_changes_nothing() {
    let master = Master::start_closed();
    master.create_user("ann", false).await;
    let user = |name: &str, password: &str| json!({"name": name, "password": password});
    let long = "x".repeat(1025);
    for (body, status, named) in [
        (user("bob", "short"), 400, "at least 8"),
        (user("bob", &long), 400, "at most 1024"),
        (user("b b", PASSWORD), 400, "'name'"),
        (user("", PASSWORD), 400, "'name'"),
        (
            user("binder", PASSWORD),
            400,
            "The name binder is not for users",
        ),
        (user("ANN", PASSWORD), 409, "named ANN exists"),
        (json!({"name": "bob"}), 400, "password"),
        (json!({"name": 7, "password": PASSWORD}), 400, "string"),
        (
            json!({"name": "bob", "password": PASSWORD, "colour": 1}),
            400,
            "colour",
        ),
        (
            json!({"name": "bob", "password": PASSWORD, "email": "x"}),
            400,
            "'email'",
        ),
        (json!([]), 400, "invalid"),
    ] {
        let (found, answer) = master.signed("POST", "/v2/users", &body).await;
        let error = answer["error"].as_str().unwrap();
        assert_eq!(found, status, "{error}");
        assert!(
            error.to_lowercase().contains(&named.to_lowercase()),
            "{named}: {error}"
        );
        assert!(
            !error.contains(PASSWORD) && !error.contains(&long),
            "{error}"
        );
    }
    let (_, listed) = master.signed_read("/v2/users").await;
    assert_eq!(listed["users"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn strangers_register_where_registration_is_open() {
    let (open, closed) = (Master::start(), Master::start_closed());
    let body = json!({"name": "ann", "password": PASSWORD}).to_string();
    let (status, answer) = closed.call("POST", "/v2/users", &[], &body).await;
    assert_eq!(status, 403);
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("registration = open"),
        "{answer}"
    );
    let (status, _) = open.call("POST", "/v2/users", &[], &body).await;
    assert_eq!(status, 201);
    let admin = json!({"name": "bob", "password": PASSWORD, "is_superuser": true}).to_string();
    let (status, _) = open.call("POST", "/v2/users", &[], &admin).await;
    assert_eq!(status, 403);
    // A page that a browser shows must not, whatever address it gave itself.
    let other = json!({"name": "bob", "password": PASSWORD}).to_string();
    let page = [("origin", "http://farm.example.org")];
    let (status, answer) = open.call("POST", "/v2/users", &page, &other).await;
    assert_eq!(
        (status, &answer["error"]),
        (403, &json!("Web pages can not register users."))
    );
    for (method, path) in [
        ("GET", "/v2/users"),
        ("GET", "/v1/users/ann"),
        ("GET", "/tokens"),
        ("HEAD", "/users"),
    ] {
        let (status, _, body) = open.exchange(method, path, &[], "").await;
        assert_eq!(status, 401, "{method} {path}");
        assert!(!String::from_utf8(body).unwrap().contains("ann"));
    }
}

#[tokio::test]
async fn registration_is_limited() {
    let master = Master::start();
    let mut last = (0, Value::Null);
    for _ in 0..30 {
        let body = json!({"name": "ann", "password": "short"}).to_string();
        last = master.call("POST", "/v2/users", &[], &body).await;
    }
    assert_eq!(last.0, 429, "{last:?}");
    let body = json!({"name": "ann", "password": "short"}).to_string();
    let (_, headers, _) = master.exchange("POST", "/v2/users", &[], &body).await;
    let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..60).contains(&wait), "{wait}");
    // Not for those who need not register.
    master.create_user("ann", false).await;
}

#[tokio::test]
async fn a_user_manages_itself_and_a_superuser_everybody() {
    let master = Master::start_closed();
    master.create_user("ann", false).await;
    master.create_user("root", true).await;
    let ann = master.create_token("ann", "admin").await;
    let root = master.create_token("root", "admin").await;
    let (_, seen) = master.as_user(&ann, "GET", "/v2/users", &Value::Null).await;
    assert_eq!(
        (seen["users"].as_array().unwrap().len(), &seen["caller"]),
        (1, &json!("ann"))
    );
    let (_, seen) = master
        .as_user(&root, "GET", "/v2/users", &Value::Null)
        .await;
    assert_eq!(seen["users"].as_array().unwrap().len(), 2);
    let email = json!({"email": "a@b.org"});
    for (token, method, path, body, expected) in [
        (&ann, "PUT", "/v2/users/ann", email.clone(), 200),
        (&ann, "PUT", "/v2/users/root", email.clone(), 403),
        (&ann, "PUT", "/v2/users/nobody", email.clone(), 403),
        (&ann, "GET", "/v2/users/root", Value::Null, 403),
        (
            &ann,
            "PUT",
            "/v2/users/ann",
            json!({"is_superuser": true}),
            403,
        ),
        (
            &ann,
            "PUT",
            "/v2/users/ann",
            json!({"is_active": true}),
            403,
        ),
        (&ann, "DELETE", "/v2/users/root", json!({}), 403),
        (
            &ann,
            "POST",
            "/v2/users",
            json!({"name": "x", "password": PASSWORD}),
            403,
        ),
        (&ann, "POST", "/v2/users/root/token", json!({}), 403),
        (&root, "PUT", "/v2/users/ann", email.clone(), 200),
        (&root, "PUT", "/v2/users/nobody", email, 404),
        (
            &root,
            "POST",
            "/v2/users",
            json!({"name": "x", "password": PASSWORD}),
            201,
        ),
        (
            &root,
            "PUT",
            "/v2/users/root",
            json!({"is_superuser": false}),
            409,
        ),
        (&root, "DELETE", "/v2/users/ann", json!({}), 200),
        (&ann, "GET", "/v2/users", Value::Null, 401),
    ] {
        let (status, answer) = master.as_user(token, method, path, &body).await;
        assert_eq!(status, expected, "{method} {path} {body}: {answer}");
    }
}

#[tokio::test]
async fn users_change_their_password_with_the_present_one() {
    let master = Master::start_closed();
    master.create_user("ann", false).await;
    let token = master.create_token("ann", "admin").await;
    let change = |old: Value| json!({"password": "battery staple", "old_password": old});
    for (old, expected) in [
        (json!("wrong one"), 403),
        (Value::Null, 403),
        (json!(PASSWORD), 200),
    ] {
        let (status, answer) = master
            .as_user(&token, "PUT", "/v2/users/ann", &change(old))
            .await;
        assert_eq!(status, expected, "{answer}");
    }
    let tried = master
        .accounts
        .log_in("ann", PASSWORD.to_owned(), None)
        .await;
    assert!(tried.is_err());
    let tried = master
        .accounts
        .log_in("ANN", "battery staple".to_owned(), None)
        .await;
    assert_eq!(tried.unwrap().user, UserId(1));
    // The holder of the secret needs none.
    let (status, _) = master
        .signed("PUT", "/v2/users/ann", &json!({"password": PASSWORD}))
        .await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn what_is_not_about_builds_or_users_needs_the_secret() {
    let master = Master::start_closed();
    master.create_user("root", true).await;
    master.connect("a", None).await;
    let root = master.create_token("root", "admin").await;
    for path in [
        "/v1/slave/1/drain",
        "/v1/slave/shutdown",
        "/v1/slave",
        "/v1/build/1/source",
    ] {
        let (status, answer) = master.as_user(&root, "POST", path, &json!({})).await;
        assert_eq!(status, 403, "{path}");
        assert!(
            answer["error"].as_str().unwrap().contains("secret"),
            "{answer}"
        );
    }
    // A signature counts, whatever stands beside it.
    let (status, _) = master.signed("POST", "/v1/slave/1/drain", &json!({})).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn builds_of_a_private_project_are_for_its_users() {
    let master = Master::start();
    master.create_user("ann", false).await;
    master.create_user("bob", false).await;
    let ann = master.create_token("ann", "read").await;
    let bob = master.create_token("bob", "admin").await;
    let submit = master.create_token("ann", "submit").await;
    let build: Value = serde_json::from_str(BUILD).unwrap();
    master.as_user(&submit, "POST", "/v1/build", &build).await;
    master.documented("POST", "/v1/build", BUILD).await;
    assert_eq!(master.get("/v1/build/1").await.0, 200, "it is public yet");
    let change = ProjectCommand::Change {
        project: ProjectId(1),
        change: Box::new(ProjectChange {
            is_public: Some(false),
            ..ProjectChange::default()
        }),
        merge: Merge::Replace,
    };
    let by = Actor::User(UserId(1));
    let command = Command::Project {
        by,
        command: change,
    };
    master.cluster.command(command).await.unwrap();
    for path in [
        "/v1/build/1",
        "/v2/builds/1",
        "/build/1/subjob",
        "/v1/build/1/artifacts.zip",
        "/builds/1/subjobs/0/atoms/0/console",
    ] {
        let (status, answer) = master.get(path).await;
        assert_eq!(status, 401, "{path}: {answer}");
        let (status, answer) = master.as_user(&bob, "GET", path, &Value::Null).await;
        assert_eq!(
            (status, &answer["error"]),
            (404, &json!("Invalid build id: 1.")),
            "{path}"
        );
    }
    let shown = |answer: Value, name: &str| -> Vec<u64> {
        let builds = answer[name].as_array().unwrap().iter();
        builds.map(|build| build["id"].as_u64().unwrap()).collect()
    };
    for (path, name) in [
        ("/v1/build", "builds"),
        ("/v2/builds", "builds"),
        ("/v1/queue", "queue"),
    ] {
        let (_, all) = master.get(path).await;
        assert_eq!(shown(all, name), [2], "{path}");
        let (_, all) = master.as_user(&bob, "GET", path, &Value::Null).await;
        assert_eq!(shown(all, name), [2], "{path}");
        let (_, all) = master.as_user(&ann, "GET", path, &Value::Null).await;
        assert_eq!(shown(all, name), [1, 2], "{path}");
        let (_, all) = master.signed_read(path).await;
        assert_eq!(shown(all, name), [1, 2], "{path}");
    }
    assert_eq!(
        master
            .as_user(&ann, "GET", "/v1/build/1", &Value::Null)
            .await
            .0,
        200
    );
    assert_eq!(master.signed_read("/v1/build/1").await.0, 200);
    assert_eq!(master.get("/v1/build/2").await.0, 200);
}
