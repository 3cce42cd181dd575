//! Users: registering, logging in, changing a password, leaving; their SSH keys, and superusers.

use super::farm::{Farm, detail, nothing};
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use clusterrunner_common::settings::Registration;
use serde_json::{Value, json};

const FORM: &str = "application/x-www-form-urlencoded";

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFhSFLbrc0LmtYIBStx6PExvvp0vZ9y1Xk4TUbdwqQlR";

#[tokio::test]
async fn forms_register_and_log_in_as_the_command_line_sends_them() {
    let farm = Farm::start();
    let send = async |path: &str, content_type: &str, body: &str| {
        let request = Request::builder().method("POST").uri(path);
        let request = request.header(CONTENT_TYPE, content_type);
        farm.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    };
    let body = "username=ann%40example.org&password=a+b&email=ann%40example.org";
    let registered = send("/v1/auth/register", FORM, body).await;
    assert_eq!(registered.status, 201, "{registered:?}");
    assert_eq!(registered.body["username"], "ann@example.org");
    let parts = "--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nann@example.org\r\n\
                 --x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\na b\r\n--x--\r\n";
    let mut tokens = Vec::new();
    for (path, content_type, body) in [
        (
            "/v1/auth/login",
            FORM,
            "username=ann%40example.org&password=a+b",
        ),
        ("/v1/auth/login/", "multipart/form-data; boundary=x", parts),
        (
            "/v1/auth/login/",
            "text/plain",
            r#"{"username": "ANN@example.org", "password": "a b"}"#,
        ),
    ] {
        let answer = send(path, content_type, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        tokens.push(answer.body["token"].as_str().unwrap().to_owned());
    }
    assert_eq!(tokens[0].len(), 40);
    assert!(tokens.iter().all(|token| *token == tokens[0]));
}

#[tokio::test]
async fn names_and_passwords_have_rules() {
    let farm = Farm::with_users(&["root"]).await;
    let required = "This field is required.";
    let invalid = json!({"username": ["Enter a valid username."]});
    let taken = json!({"username": ["User with this Username already exists."]});
    let long = json!({"username": "x".repeat(31), "password": "x"}).to_string();
    for (body, expected) in [
        ("", json!({"username": [required], "password": [required]})),
        (r#"{"username": "ann"}"#, json!({"password": [required]})),
        (
            r#"{"username": "ann", "password": ""}"#,
            json!({"password": [required]}),
        ),
        (r#"{"username": "a b", "password": "x"}"#, invalid.clone()),
        (r#"{"username": "..", "password": "x"}"#, invalid.clone()),
        (&long, invalid.clone()),
        (r#"{"username": "ROOT", "password": "x"}"#, taken.clone()),
        (
            r#"{"username": "clusterrunner", "password": "x"}"#,
            taken.clone(),
        ),
        (
            r#"{"username": "ann", "password": "x", "email": "nowhere"}"#,
            json!({"email": ["Enter a valid email address."]}),
        ),
        (r#"["ann"]"#, json!({"non_field_errors": ["Invalid data"]})),
    ] {
        farm.check("", ("POST", "/v1/auth/register", body), (400, expected))
            .await;
    }
    let asked = r#"{"username": "ann", "password": "x", "is_superuser": true, "is_staff": true}"#;
    let ann = farm.post("", "/v1/auth/register", asked).await;
    assert_eq!(ann.status, 201, "{ann:?}");
    assert_eq!(
        (&ann.body["is_superuser"], &ann.body["is_staff"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(ann.body["id"], 2);
}

#[tokio::test]
async fn strangers_register_only_where_they_may() {
    let farm = Farm::with(Registration::Closed);
    let body = r#"{"username": "ann", "password": "x"}"#;
    let answer = farm.post("", "/v1/auth/register", body).await;
    assert_eq!(answer.status, 403);
    let sentence = answer.body["detail"].as_str().unwrap();
    assert!(sentence.contains("registration = open"), "{sentence}");
    let farm = Farm::start();
    let of_page = farm.request("", "POST", "/v1/auth/register");
    let of_page = of_page.header("origin", "https://elsewhere.example");
    let answer = farm.send(of_page.body(Body::from(body)).unwrap()).await;
    assert_eq!(answer.status, 403, "{answer:?}");
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it() {
    let farm = Farm::with_users(&["ann"]).await;
    let required = json!({"new_password": ["This field is required."]});
    let wrong = json!("Current password did not match");
    for (body, status, expected) in [
        (r#"{"password": "ann"}"#, 400, required),
        (r#"{"password": "bad", "new_password": "y"}"#, 400, wrong),
        (
            r#"{"password": "ann", "new_password": "y"}"#,
            200,
            json!({"status": "password set"}),
        ),
    ] {
        farm.check(
            "ann",
            ("POST", "/v1/auth/passwd/", body),
            (status, expected),
        )
        .await;
    }
    let token = farm.token("ann");
    farm.log_in("ann", "y").await;
    assert_eq!(farm.token("ann"), token);
    let unable = json!({"non_field_errors": ["Unable to log in with provided credentials."]});
    let old = r#"{"username": "ann", "password": "ann"}"#;
    farm.check("", ("POST", "/v1/auth/login", old), (400, unable))
        .await;
}

#[tokio::test]
async fn who_leaves_is_gone_and_a_superuser_stays() {
    let farm = Farm::with_users(&["root", "ann"]).await;
    farm.check("ann", ("DELETE", "/v1/auth/cancel/", ""), (204, nothing()))
        .await;
    let invalid = detail("Invalid token");
    farm.check("ann", ("GET", "/v1/keys", ""), (401, invalid.clone()))
        .await;
    farm.register("bob").await;
    let last = farm.call("root", "DELETE", "/v1/auth/cancel", "").await;
    assert_eq!(last.status, 400, "{last:?}");
    assert!(
        last.body
            .as_str()
            .unwrap()
            .contains("last active superuser")
    );
    farm.check("bob", ("DELETE", "/v1/auth/cancel", ""), (204, nothing()))
        .await;
    farm.check("root", ("DELETE", "/v1/auth/cancel", ""), (204, nothing()))
        .await;
}

#[tokio::test]
async fn keys_are_their_owners() {
    let farm = Farm::with_users(&["root", "ann"]).await;
    let body = json!({"id": "ann@my.box:2", "public": format!("{KEY} ann@box\n")}).to_string();
    let mut added = farm.post("ann", "/v1/keys/", &body).await;
    assert_eq!(added.status, 201, "{added:?}");
    let uuid = added.body["uuid"].as_str().unwrap().to_owned();
    let shown = farm.get("ann", "/v1/keys/ann@my.box:2/").await;
    assert_eq!(shown, added.body);
    assert_eq!(farm.get("ann", "/v1/keys").await["results"], json!([shown]));
    for field in ["created", "updated", "uuid"] {
        added.body[field] = Value::Null;
    }
    let expected = json!({
        "owner": "ann", "created": null, "updated": null, "uuid": null,
        "id": "ann@my.box:2", "public": format!("{KEY} ann@box"),
    });
    assert_eq!((added.body, uuid.len()), (expected, 36));
    let taken = json!({"public": ["SSH Key with this Public already exists."]});
    let same = json!({"id": "other", "public": format!("{KEY} another comment")}).to_string();
    for user in ["ann", "root"] {
        farm.check(user, ("POST", "/v1/keys", &same), (400, taken.clone()))
            .await;
    }
    let no_key = r#"{"id": "x", "public": "not a key"}"#;
    let refused = farm.post("ann", "/v1/keys", no_key).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.body["public"][0]
            .as_str()
            .unwrap()
            .contains("OpenSSH")
    );
    let not_found = detail("Not found");
    for (user, method) in [("root", "GET"), ("root", "DELETE")] {
        farm.check(
            user,
            (method, "/v1/keys/ann@my.box:2", ""),
            (404, not_found.clone()),
        )
        .await;
    }
    farm.check(
        "ann",
        ("DELETE", "/v1/keys/ann%40my.box:2/", ""),
        (204, nothing()),
    )
    .await;
    farm.check(
        "ann",
        ("DELETE", "/v1/keys/ann@my.box:2", ""),
        (404, not_found),
    )
    .await;
}

#[tokio::test]
async fn superusers_make_superusers_and_one_stays() {
    let farm = Farm::with_users(&["root", "ann"]).await;
    let forbidden = detail("You do not have permission to perform this action.");
    for (method, path, body) in [
        ("GET", "/v1/admin/perms", ""),
        ("POST", "/v1/admin/perms", r#"{"username": "ann"}"#),
        ("DELETE", "/v1/admin/perms/root", ""),
    ] {
        farm.check("ann", (method, path, body), (403, forbidden.clone()))
            .await;
    }
    let not_found = detail("Not found");
    let required = json!({"username": ["This field is required."]});
    for (method, path, body, status, expected) in [
        (
            "POST",
            "/v1/admin/perms/",
            r#"{"username": "ghost"}"#,
            404,
            not_found.clone(),
        ),
        ("POST", "/v1/admin/perms/", "{}", 400, required),
        ("DELETE", "/v1/admin/perms/ghost", "", 404, not_found),
        (
            "POST",
            "/v1/admin/perms/",
            r#"{"username": "ann"}"#,
            201,
            nothing(),
        ),
        ("DELETE", "/v1/admin/perms/root/", "", 204, nothing()),
    ] {
        farm.check("root", (method, path, body), (status, expected))
            .await;
    }
    let superusers = farm.get("ann", "/v1/admin/perms").await;
    assert_eq!(
        superusers["results"],
        json!([{"username": "ann", "is_superuser": true}])
    );
    let last = farm.call("ann", "DELETE", "/v1/admin/perms/ann", "").await;
    assert_eq!(last.status, 400, "{last:?}");
}
