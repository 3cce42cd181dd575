//! Signing in to the page.

use super::*;
use clusterrunner_common::auth::gate::{CSRF_HEADER, SESSION_COOKIE};
use clusterrunner_common::ids::UserId;
use clusterrunner_core::accounts::command::{AccountCommand, UserOrder};
use clusterrunner_core::actor::Actor;
use std::time::Duration;

/// What a browser has of a session.
struct Browser {
    cookie: String,
    csrf: String,
}

impl Browser {
    fn headers(&self) -> Vec<(&str, &str)> {
        vec![("cookie", &self.cookie), (CSRF_HEADER, &self.csrf)]
    }
}

impl Master {
    async fn with_ann() -> Self {
        let master = Self::start();
        let ann = json!({"name": "ann", "password": "a long password"});
        let (status, answer) = master.signed("POST", "/v2/users", &ann).await;
        assert_eq!(status, 201, "{answer}");
        master
    }

    async fn sign_in(&self, proof: &Value) -> Result<Browser, (u16, Value)> {
        let path = "/v2/session";
        let (status, headers, body) = self.exchange("POST", path, &[], &proof.to_string()).await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        if status != 200 {
            return Err((status, body));
        }
        let cookie = headers[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
        assert!(
            cookie.contains("; Path=/;") && !cookie.contains("Domain"),
            "{cookie}"
        );
        Ok(Browser {
            cookie: cookie.split(';').next().unwrap().to_owned(),
            csrf: body["csrf_token"].as_str().unwrap().to_owned(),
        })
    }

    async fn with_password(&self) -> Browser {
        let proof = json!({"username": "ann", "password": "a long password"});
        self.sign_in(&proof).await.unwrap()
    }

    async fn who(&self, browser: &Browser) -> Value {
        let headers = [("cookie", browser.cookie.as_str())];
        let (status, body) = self.call("GET", "/v2/session", &headers, "").await;
        assert_eq!(status, 200, "{body}");
        body["user"].clone()
    }
}

const SUBMIT: &str = r#"{"type": "git", "url": "https://example.org/a.git"}"#;

#[tokio::test]
async fn a_user_signs_in_and_out() {
    let master = Master::with_ann().await;
    let (status, nobody) = master.get("/v2/session").await;
    assert_eq!(
        (status, &nobody["user"], &nobody["csrf_token"]),
        (200, &Value::Null, &Value::Null)
    );
    let browser = master.with_password().await;
    let ann = json!({"name": "ann", "is_superuser": false, "role": "admin", "is_operator": false});
    assert_eq!(master.who(&browser).await, ann);
    let (status, answer) = master
        .call("POST", "/v2/builds", &browser.headers(), SUBMIT)
        .await;
    assert_eq!(status, 202, "{answer}");
    let project = master.cluster.read(|cluster| {
        let project = cluster.project_of(clusterrunner_common::ids::BuildId(1));
        project.map(|project| project.owner)
    });
    let owner = project.await.unwrap().unwrap();
    assert_eq!(
        owner,
        clusterrunner_core::accounts::owner::Owner::User(UserId(1))
    );
    let (status, users) = master
        .call("GET", "/v2/users", &browser.headers(), "")
        .await;
    assert_eq!((status, &users["caller"]), (200, &json!("ann")));
    let (status, headers, _) = master
        .exchange("DELETE", "/v2/session", &browser.headers(), "{}")
        .await;
    let cookie = headers[header::SET_COOKIE].to_str().unwrap();
    assert!(
        cookie.starts_with(&format!("{SESSION_COOKIE}=; ")),
        "{cookie}"
    );
    assert!(status == 200 && cookie.contains("Max-Age=0"), "{cookie}");
    assert_eq!(
        master.who(&browser).await,
        Value::Null,
        "a copy opens nothing"
    );
}

#[tokio::test]
async fn a_change_must_come_from_the_page() {
    let master = Master::with_ann().await;
    let browser = master.with_password().await;
    let cookie = ("cookie", browser.cookie.as_str());
    let csrf = (CSRF_HEADER, browser.csrf.as_str());
    let host = ("host", "farm:43000");
    for (headers, expected) in [
        (&[cookie][..], 403),
        (&[cookie, (CSRF_HEADER, "other")], 403),
        (
            &[cookie, csrf, host, ("origin", "http://evil.example")],
            403,
        ),
        (&[cookie, csrf, ("sec-fetch-site", "cross-site")], 403),
        (&[cookie, csrf, host, ("origin", "http://farm:43000")], 202),
        // Only below /v2, and nothing without a proof that is right.
        (&[("cookie", "clusterrunner_session=1.2.s.3.4"), csrf], 401),
    ] {
        let (status, answer) = master.call("POST", "/v2/builds", headers, SUBMIT).await;
        assert_eq!(status, expected, "{headers:?} {answer}");
    }
    for path in ["/v1/build", "/builds"] {
        let (status, _) = master.call("POST", path, &[cookie, csrf], SUBMIT).await;
        assert_eq!(status, 401, "{path}");
    }
    // What a user's token does not open, its session does not either.
    let (status, _) = master
        .call("POST", "/v2/slaves/1/drain", &[cookie, csrf], "{}")
        .await;
    assert_eq!(status, 403);
    // Another page can not sign somebody in or out.
    let proof = r#"{"username": "ann", "password": "a long password"}"#;
    let elsewhere = [host, ("origin", "http://evil.example")];
    let (status, _) = master.call("POST", "/v2/session", &elsewhere, proof).await;
    assert_eq!(status, 403);
    let (status, _) = master.call("DELETE", "/v2/session", &[cookie], "{}").await;
    assert_eq!(status, 200);
    assert_eq!(master.who(&browser).await["name"], "ann");
}

#[tokio::test]
async fn a_session_ends_with_what_it_stands_on() {
    let master = Master::with_ann().await;
    let user = UserId(1);
    let by = Actor::SecretHolder;
    let token = master.accounts.create_token(
        by,
        user,
        "laptop".to_owned(),
        clusterrunner_core::accounts::users::Role::Read,
        Some(Duration::from_secs(60)),
    );
    let (id, token) = token.await.unwrap();
    let by_token = master.sign_in(&json!({ "token": token })).await.unwrap();
    assert_eq!(master.who(&by_token).await["role"], "read");
    let (status, _) = master
        .call("POST", "/v2/builds", &by_token.headers(), SUBMIT)
        .await;
    assert_eq!(status, 403, "the token only reads");
    let by_password = master.with_password().await;
    let revoke = AccountCommand::RevokeToken { user, token: id };
    master.accounts.tell(by, revoke).await.unwrap();
    assert_eq!(master.who(&by_token).await, Value::Null);
    let password = Some((
        "another password".to_owned(),
        crate::http::accounts::Demand::Long,
    ));
    let change = master
        .accounts
        .change(by, user, UserOrder::default(), password);
    change.await.unwrap();
    assert_eq!(master.who(&by_password).await, Value::Null);
    let proof = json!({"username": "ann", "password": "another password"});
    let browser = master.sign_in(&proof).await.unwrap();
    let deactivated = UserOrder {
        is_active: Some(false),
        ..UserOrder::default()
    };
    master
        .accounts
        .change(by, user, deactivated, None)
        .await
        .unwrap();
    assert_eq!(master.who(&browser).await, Value::Null);
}

#[tokio::test]
async fn a_link_signs_in_once_with_the_rights_of_who_made_it() {
    let master = Master::with_ann().await;
    let (status, made) = master.signed("POST", "/v2/session/link", &json!({})).await;
    assert_eq!((status, &made["expires_in"]), (200, &json!(60)));
    let proof = json!({"link": made["link"]});
    let browser = master.sign_in(&proof).await.unwrap();
    let operator = json!({
        "name": "clusterrunner", "is_superuser": true, "role": "admin", "is_operator": true,
    });
    assert_eq!(master.who(&browser).await, operator);
    let (status, _) = master.sign_in(&proof).await.err().unwrap();
    assert_eq!(status, 401);
    master.connect("a-life", None).await;
    let (status, answer) = master
        .call("POST", "/v2/slaves/1/drain", &browser.headers(), "{}")
        .await;
    assert_eq!(status, 200, "{answer}");
    let (_, slave) = master.get("/v2/slaves/1").await;
    assert_eq!(slave["slave"]["is_drained"], true);
    // A session is no slave, and makes no further links.
    for path in ["/v2/slaves", "/v2/slaves/1/heartbeat", "/v2/session/link"] {
        let (status, _) = master.call("POST", path, &browser.headers(), "{}").await;
        assert_eq!(status, 403, "{path}");
    }
    for (headers, body, expected) in [
        (&[][..], "{}", 401),
        (&[("authorization", "Bearer nobodys")], "{}", 401),
    ] {
        let (status, _) = master.call("POST", "/v2/session/link", headers, body).await;
        assert_eq!(status, expected);
    }
}

/// Whoever may do everything with the farm's users and projects may drain slaves, too, by a full proof.
#[tokio::test]
async fn a_superuser_that_is_signed_in_is_an_operator() {
    let master = Master::with_ann().await;
    master.create_user("root", true).await;
    master.connect("a-life", None).await;
    let mut browsers = Vec::new();
    for (user, role, is_operator) in [
        ("root", "admin", true),
        ("root", "submit", false),
        ("root", "read", false),
        ("ann", "admin", false),
    ] {
        let proof = json!({"token": master.create_token(user, role).await});
        let browser = master.sign_in(&proof).await.unwrap();
        assert_eq!(master.who(&browser).await["is_operator"], is_operator);
        browsers.push((browser, is_operator));
    }
    for (browser, is_operator) in browsers {
        for path in [
            "/v2/slaves/1/drain",
            "/v2/slaves/1/undrain",
            "/v2/slaves/1/shutdown",
        ] {
            let (status, answer) = master.call("POST", path, &browser.headers(), "{}").await;
            let expected = if is_operator { 200 } else { 403 };
            assert_eq!(status, expected, "{path}: {answer}");
        }
        let path = "/v2/slaves/1/heartbeat";
        let (status, _) = master.call("POST", path, &browser.headers(), "{}").await;
        assert_eq!(status, 403, "it is no slave");
    }
}

#[tokio::test]
async fn what_does_not_sign_in_is_told_why() {
    let master = Master::with_ann().await;
    for (proof, expected) in [
        (json!({}), 400),
        (json!({"username": "ann"}), 400),
        (json!({"token": "x", "link": "y"}), 400),
        (json!({"user": "ann"}), 400),
        (json!({"username": "ann", "password": "a wrong one"}), 401),
        (json!({"username": "bob", "password": "a wrong one"}), 401),
        (json!({"token": "0123"}), 401),
        (json!({"link": "0123"}), 401),
    ] {
        let (status, answer) = master.sign_in(&proof).await.err().unwrap();
        assert_eq!(status, expected, "{proof}");
        assert!(answer["error"].is_string(), "{answer}");
    }
}

#[tokio::test]
async fn the_audit_log_tells_who_signed_in_and_out_and_that_others_tried() {
    let master = Master::with_ann().await;
    let token = master.create_token("ann", "read").await;
    master.with_password().await;
    let browser = master.sign_in(&json!({"token": token})).await.unwrap();
    let (status, _) = master
        .call("DELETE", "/v2/session", &browser.headers(), "{}")
        .await;
    assert_eq!(status, 200);
    let (status, link) = master.signed("POST", "/v2/session/link", &json!({})).await;
    assert_eq!(status, 200, "{link}");
    master
        .sign_in(&json!({"link": link["link"]}))
        .await
        .unwrap();
    // All that fail count together, whatever they show. None names what was shown.
    let wrong = [
        json!({"username": "ann", "password": "a guess"}),
        json!({"username": "a stranger", "password": "a guess"}),
        json!({"token": "0".repeat(40)}),
        json!({"link": link["link"]}),
    ];
    for number in 0..12 {
        master.sign_in(&wrong[number % 4]).await.err().unwrap();
    }
    let (_, all) = master.signed_read("/v2/audit").await;
    let told: Vec<String> = all["entries"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .skip(2)
        .map(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap().to_owned();
            format!("{}: {}", text("by"), text("what"))
        })
        .collect();
    assert_eq!(
        told,
        [
            "ann: user 1 logged in",
            "ann: signed in with a token",
            "ann: signed out",
            "the secret: made a link that signs in once",
            "the secret: signed in with a link",
            "nobody: 1 sign-in failed from many addresses together, the latest as user 1",
            "nobody: 10 sign-ins have failed within an hour from many addresses together",
        ]
    );
}
