//! Users: logging in, and what superusers do about others.

use super::farm::{Answer, Farm};
use crate::http::accounts::Registrant;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use clusterrunner_core::actor::Actor;
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse";

const FORM: &str = "application/x-www-form-urlencoded";

impl Farm {
    async fn registered(&self, name: &str) {
        let new = Registrant {
            name: name.to_owned(),
            password: PASSWORD.to_owned(),
            email: format!("{name}@example.org"),
            ..Registrant::default()
        };
        self.accounts
            .create(Actor::SecretHolder, new)
            .await
            .unwrap();
    }

    /// Without a token.
    async fn log_in(&self, content_type: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method("POST")
            .uri("/api/v1/users/token/")
            .header(CONTENT_TYPE, content_type);
        self.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }
}

#[tokio::test]
async fn a_log_in_answers_the_token_in_both_forms() {
    let farm = Farm::start();
    farm.registered("ann").await;
    let form = farm
        .log_in(FORM, "username=ann&password=correct%20horse")
        .await;
    let body = json!({"username": "ann", "password": PASSWORD}).to_string();
    let json = farm.log_in("application/json", &body).await;
    assert_eq!((form.status, json.status), (200, 200), "{form:?}");
    assert_eq!(form.body, json.body);
    let token = form.body["token"].as_str().unwrap();
    assert_eq!(token.len(), 40);
    let ann = json!({"username": "ann", "email": "ann@example.org", "is_superuser": false});
    for path in ["/api/v1/users/", "/api/v1/users", "/api/v1//users/"] {
        farm.check(token, ("GET", path, ""), (200, ann.clone()))
            .await;
    }
    farm.user("bob", false).await;
    let bob = json!({"username": "bob", "email": null, "is_superuser": false});
    farm.check("bob", ("GET", "/api/v1/users", ""), (200, bob))
        .await;
    let nothing = (200, Value::String(String::new()));
    farm.check(token, ("GET", "/api/v1/users/logout/", ""), nothing)
        .await;
}

#[tokio::test]
async fn a_wrong_log_in_is_told_in_the_words_of_the_platform_and_limited() {
    let farm = Farm::start();
    farm.registered("ann").await;
    let unable = json!({"non_field_errors": ["Unable to log in with provided credentials."]});
    let required = json!({"password": ["This field is required."]});
    let blank = json!({"username": ["This field may not be blank."]});
    for (body, expected) in [
        ("username=ann&password=wrong", &unable),
        ("username=nobody&password=correct%20horse", &unable),
        ("username=ann", &required),
        ("username=&password=x", &blank),
    ] {
        let answer = farm.log_in(FORM, body).await;
        assert_eq!((answer.status, &answer.body), (400, expected), "{body}");
    }
    let broken = farm.log_in("application/json", "{").await;
    assert_eq!(broken.status, 400);
    let mut answer = farm.log_in(FORM, "username=ann&password=wrong").await;
    for _ in 0..20 {
        answer = farm.log_in(FORM, "username=ann&password=wrong").await;
    }
    assert_eq!(answer.status, 429);
    let wait: u64 = answer.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let detail = format!("Request was throttled. Expected available in {wait} seconds.");
    assert_eq!(answer.body, json!({"detail": detail}));
}

#[tokio::test]
async fn superusers_manage_others() {
    let farm = Farm::with_root().await;
    farm.registered("ann").await;
    farm.user("bob", false).await;
    let nothing = || Value::String(String::new());
    let forbidden = json!({"detail": "You do not have permission to perform this action."});
    for (method, path) in [
        ("POST", "/api/v1/superusers/grant/ann/"),
        ("POST", "/api/v1/superusers/revoke/root/"),
        ("POST", "/api/v1/users/activate/ann/"),
        ("DELETE", "/api/v1/users/delete/ann/"),
        // Not even whether there is such a user is told.
        ("DELETE", "/api/v1/users/delete/nobody/"),
    ] {
        farm.check("bob", (method, path, ""), (403, forbidden.clone()))
            .await;
    }
    let not_found = json!({"detail": "Not found."});
    for (method, path, expected) in [
        ("POST", "/api/v1/superusers/grant/ann/", (200, nothing())),
        ("POST", "/api/v1/superusers/grant/ann/", (200, nothing())),
        ("POST", "/api/v1/superusers/revoke/ann/", (200, nothing())),
        ("POST", "/api/v1/users/activate/ann/", (200, nothing())),
        (
            "POST",
            "/api/v1/users/activate/nobody/",
            (404, not_found.clone()),
        ),
        ("DELETE", "/api/v1/users/delete/ann/", (204, nothing())),
        ("DELETE", "/api/v1/users/delete/ann/", (404, not_found)),
    ] {
        farm.check("root", (method, path, ""), expected).await;
    }
    // Somebody must be able to make the next one.
    let last = farm
        .call("root", "POST", "/api/v1/superusers/revoke/root", "")
        .await;
    assert_eq!(last.status, 409, "{last:?}");
    let method = json!({"detail": "Method \"GET\" not allowed."});
    farm.check(
        "root",
        ("GET", "/api/v1/users/delete/bob/", ""),
        (405, method),
    )
    .await;
}
