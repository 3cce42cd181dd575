//! Log-ins, and the tokens of users.

use super::*;

#[tokio::test]
async fn log_ins_bring_one_token_until_it_is_renewed() {
    let master = Master::start_closed();
    master.create_user("ann", false).await;
    let log_in = async || {
        let logged_in = master
            .accounts
            .log_in("ann", PASSWORD.to_owned(), None)
            .await;
        logged_in.unwrap().token
    };
    let first = log_in().await;
    assert_eq!(log_in().await, first);
    assert_eq!(
        master
            .as_user(&first, "GET", "/v2/users/ann", &Value::Null)
            .await
            .0,
        200
    );
    let (status, renewed) = master
        .as_user(&first, "POST", "/v2/users/ann/token", &json!({}))
        .await;
    assert_eq!(status, 200);
    assert_eq!(
        master
            .as_user(&first, "GET", "/v2/users/ann", &Value::Null)
            .await
            .0,
        401
    );
    assert_eq!(renewed["token"], json!(log_in().await));
    // Who is deactivated is told nothing else than who is wrong.
    let order = UserOrder {
        is_active: Some(false),
        ..UserOrder::default()
    };
    let command = AccountCommand::Change {
        user: UserId(1),
        order: Box::new(order),
    };
    let by = Actor::SecretHolder;
    master
        .cluster
        .command(Command::Account { by, command })
        .await
        .unwrap();
    let mut said = Vec::new();
    for (name, password) in [
        ("ann", PASSWORD),
        ("ann", "wrong one"),
        ("nobody", PASSWORD),
    ] {
        let tried = master
            .accounts
            .log_in(name, password.to_owned(), None)
            .await;
        said.push(tried.unwrap_err().to_string());
    }
    assert_eq!(said, ["The name or the password is wrong."; 3]);
    let renewed = renewed["token"].as_str().unwrap();
    assert_eq!(
        master
            .as_user(renewed, "GET", "/v2/users/ann", &Value::Null)
            .await
            .0,
        401
    );
}

#[tokio::test]
async fn wrong_passwords_are_limited() {
    let master = Master::start_closed();
    master.create_user("ann", false).await;
    let from = Some("10.0.0.1".parse().unwrap());
    let mut last = String::new();
    for _ in 0..11 {
        let tried = master
            .accounts
            .log_in("ann", "wrong one".to_owned(), from)
            .await;
        last = tried.unwrap_err().to_string();
    }
    assert!(last.starts_with("Too many tries"), "{last}");
    let right = master
        .accounts
        .log_in("ann", PASSWORD.to_owned(), from)
        .await;
    assert!(right.is_err(), "not even the right one");
    let elsewhere = Some("10.0.0.2".parse().unwrap());
    master
        .accounts
        .log_in("ann", PASSWORD.to_owned(), elsewhere)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_token_starts_and_cancels_builds_of_its_user() {
    let master = Master::start_closed();
    master.create_user("ann", false).await;
    master.create_user("bob", false).await;
    master.create_user("root", true).await;
    let submit = master.create_token("ann", "submit").await;
    let read = master.create_token("ann", "read").await;
    let bob = master.create_token("bob", "admin").await;
    let root = master.create_token("root", "admin").await;
    let build: Value = serde_json::from_str(BUILD).unwrap();
    let cancel = json!({"status": "canceled"});
    assert_eq!(
        master.as_user(&read, "POST", "/v1/build", &build).await.0,
        403
    );
    assert_eq!(
        master.as_user("0123", "POST", "/v1/build", &build).await.0,
        401
    );
    for id in 1..=2 {
        let (status, answer) = master.as_user(&submit, "POST", "/v1/build", &build).await;
        assert_eq!((status, &answer["build_id"]), (202, &json!(id)));
    }
    master.documented("POST", "/v1/build", BUILD).await;
    for (token, path, expected) in [
        (&read, "/v1/build/1", 403),
        (&bob, "/v1/build/1", 403),
        (&submit, "/v1/build/1", 200),
        (&root, "/v2/builds/2", 200),
        // It is the farm's.
        (&submit, "/v1/build/3", 403),
        (&root, "/v1/build/3", 200),
        (&submit, "/v1/build/9", 404),
    ] {
        let (status, answer) = master.as_user(token, "PUT", path, &cancel).await;
        assert_eq!(status, expected, "{path}: {answer}");
    }
    let owners = master.cluster.read(|cluster| {
        let owner = |build| cluster.project_of(build).map(|project| project.owner);
        [1, 2, 3].map(|build| owner(clusterrunner_common::ids::BuildId(build)).unwrap())
    });
    let owners = owners.await.unwrap().map(|owner| format!("{owner:?}"));
    assert_eq!(
        owners,
        ["User(UserId(1))", "User(UserId(1))", "ClusterRunner"]
    );
    for (path, expected) in [
        ("/v2/builds/1", json!("ann")),
        ("/v2/builds/3", Value::Null),
        // The first version tells nothing that the original did not.
        ("/v1/build/1", Value::Null),
    ] {
        let (_, answer) = master.get(path).await;
        assert_eq!(answer["build"]["started_by"], expected, "{path}: {answer}");
    }
}

#[tokio::test]
async fn named_tokens_are_listed_without_themselves_and_revoked() {
    let master = Master::start_closed();
    master.create_user("ann", false).await;
    master.create_user("bob", false).await;
    let (ann, bob) = (
        master.create_token("ann", "admin").await,
        master.create_token("bob", "submit").await,
    );
    let (_, seen) = master
        .as_user(&ann, "GET", "/v2/tokens", &Value::Null)
        .await;
    let tokens = seen["tokens"].as_array().unwrap();
    assert_eq!(
        (tokens.len(), &tokens[0]["user"], &tokens[0]["role"]),
        (1, &json!("ann"), &json!("admin"))
    );
    let (_, all) = master.signed_read("/v2/tokens").await;
    assert_eq!(all["tokens"].as_array().unwrap().len(), 2);
    assert!(!all.to_string().contains(&ann) && !all.to_string().contains(&bob));
    let own = json!({"name": "own", "role": "read", "expires_in": 3600});
    let (status, made) = master.as_user(&ann, "POST", "/v2/tokens", &own).await;
    assert_eq!((status, &made["token"]["user"]), (201, &json!("ann")));
    let made = made["text"].as_str().unwrap();
    assert_eq!(
        master
            .as_user(made, "GET", "/v2/users/ann", &Value::Null)
            .await
            .0,
        200
    );
    for (token, method, path, body, expected) in [
        // A role below admin makes no tokens and ends none.
        (
            made,
            "POST",
            "/v2/tokens",
            json!({"name": "more", "role": "read"}),
            403,
        ),
        (made, "DELETE", "/v2/tokens/1", json!({}), 403),
        (
            &ann,
            "POST",
            "/v2/tokens",
            json!({"user": "bob", "name": "x", "role": "read"}),
            403,
        ),
        (
            &ann,
            "POST",
            "/v2/tokens",
            json!({"name": "own", "role": "read"}),
            409,
        ),
        (
            &ann,
            "POST",
            "/v2/tokens",
            json!({"name": "x", "role": "king"}),
            400,
        ),
        (
            &ann,
            "POST",
            "/v2/tokens",
            json!({"name": "x", "role": "read", "expires_in": 0}),
            400,
        ),
        (&ann, "DELETE", "/v2/tokens/2", json!({}), 403),
        (&ann, "DELETE", "/v2/tokens/9", json!({}), 403),
        (&ann, "DELETE", "/v2/tokens/3", json!({}), 200),
        (made, "GET", "/v2/users/ann", Value::Null, 401),
    ] {
        let (status, answer) = master.as_user(token, method, path, &body).await;
        assert_eq!(status, expected, "{method} {path} {body}: {answer}");
    }
    let (status, answer) = master
        .signed("POST", "/v2/tokens", &json!({"name": "x", "role": "read"}))
        .await;
    assert!(
        status == 400 && answer["error"].as_str().unwrap().contains("'user'"),
        "{answer}"
    );
    let (status, _) = master.signed("DELETE", "/v2/tokens/9", &json!({})).await;
    assert_eq!(status, 404);
}
