//! Users who want what is another's, and callers who know how the farm's own programs talk.

use super::callers::{Scene, closed_farm};
use super::wire::{first_of, held};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn nobody_gets_what_is_anothers() {
    let victim = closed_farm().await;
    let scene = Scene::set(&victim).await;
    suffer!(
        victim with scene,
        what_another_user_has,
        what_only_operators_may,
        names_that_are_paths,
        fetches_of_code_by_others,
        guesses_of_links,
        packs_that_lie_about_their_length,
        entries_of_the_setup_cache_by_strangers,
    );
    victim.lives().await;
}

/// Bob asks for all that ann has, by its name.
async fn what_another_user_has(scene: &Scene<'_>) {
    for path in [
        "ann/hidden",
        "ann/hidden/builds",
        "ann/hidden/repo/download",
    ] {
        let (status, body) = scene.bob.ask(Method::GET, path, None).await;
        assert!(matches!(status.as_u16(), 403 | 404), "{path}: {body}");
        let (status, _) = scene.ann.ask(Method::GET, path, None).await;
        assert_ne!(status.as_u16(), 403, "{path}");
    }
    let (status, body) = scene.bob.upload("ann/hidden", b"x").await;
    assert!(matches!(status.as_u16(), 403 | 404), "{body}");
    let token = format!("token {}", scene.bob.token());
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
    ];
    for (method, path) in [
        ("GET", "/v1/apps/hill"),
        ("GET", "/v1/apps/hill/config"),
        ("POST", "/v1/apps/hill/config"),
        ("GET", "/v1/apps/hill/logs"),
        ("POST", "/v1/apps/hill/run"),
        ("POST", "/v1/apps/hill/scale"),
        ("POST", "/v1/apps/hill/perms"),
        ("POST", "/v1/apps/hill/builds"),
        ("POST", "/v1/apps/hill/releases/rollback"),
        ("DELETE", "/v1/apps/hill"),
    ] {
        let body = b"{\"values\": {\"A\": \"b\"}, \"command\": \"id\", \"web\": 1, \"username\": \"bob\", \"version\": 1}";
        let answer = scene.victim.asks(method, path, &headers, body).await;
        assert!(
            matches!(answer.status, 403 | 404),
            "{method} {path}: {answer:?}"
        );
    }
    let apps = scene.victim.asks("GET", "/v1/apps", &headers, b"").await;
    assert!(!apps.body.to_string().contains("hill"), "{apps:?}");
}

async fn what_only_operators_may(scene: &Scene<'_>) {
    let token = format!("Bearer {}", scene.bob.token());
    let headers = [("authorization", token.as_str())];
    for (method, path, body) in [
        (
            "POST",
            "/v2/users",
            json!({"name": "eve", "password": "a long password", "is_superuser": true}),
        ),
        ("PUT", "/v2/users/bob", json!({"is_superuser": true})),
        (
            "PUT",
            "/v2/users/ann",
            json!({"password": "a long password"}),
        ),
        ("DELETE", "/v2/users/ann", json!({})),
        ("POST", "/v2/users/ann/token", json!({})),
        (
            "POST",
            "/v2/tokens",
            json!({"name": "x", "role": "admin", "user": "ann"}),
        ),
        ("POST", "/v2/slaves/1/shutdown", json!({})),
        ("POST", "/v2/slaves/1/drain", json!({})),
        ("POST", "/v2/slaves/shutdown", json!({"shutdown_all": true})),
        ("PUT", "/v2/builds/1", json!({"status": "canceled"})),
        ("GET", "/v2/audit", Value::Null),
        ("GET", "/v2/audit/verification", Value::Null),
    ] {
        let body = body.to_string();
        let answer = scene
            .victim
            .asks(method, path, &headers, body.as_bytes())
            .await;
        assert!(
            (400..500).contains(&answer.status),
            "{method} {path}: {answer:?}"
        );
    }
    for (method, path) in [
        (Method::POST, "superusers/grant/bob"),
        (Method::POST, "superusers/revoke/ann"),
        (Method::DELETE, "users/delete/ann"),
        (Method::POST, "users/activate/ann"),
    ] {
        let (status, body) = scene.bob.ask(method, path, None).await;
        assert!(status.is_client_error(), "{path}: {body}");
    }
}

/// Names of users, apps, projects and templates become parts of paths and of host names.
async fn names_that_are_paths(scene: &Scene<'_>) {
    let token = format!("token {}", scene.bob.token());
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
    ];
    for name in [
        "../x",
        "a/b",
        ".",
        "..",
        "a b",
        "a\n",
        "a\0",
        "deis",
        "\u{e4}",
        "A",
        "",
        &"x".repeat(1000),
        "<b>",
        "a.git",
        "$(id)",
    ] {
        let app = json!({"id": name}).to_string();
        let answer = scene
            .victim
            .asks("POST", "/v1/apps", &headers, app.as_bytes())
            .await;
        // An app without a name gets one.
        let is_nameless = name.is_empty();
        assert!(
            answer.status == 400 || is_nameless,
            "{name:.50?}: {answer:?}"
        );
        if is_nameless && answer.status == 201 {
            let id = answer.body["id"].as_str().unwrap();
            let path = format!("/v1/apps/{id}");
            scene.victim.asks("DELETE", &path, &headers, b"").await;
        }
        let user = json!({"name": name, "password": "a long password"}).to_string();
        let made = scene
            .victim
            .asks_signed("POST", "/v2/users", user.as_bytes())
            .await;
        match name {
            // A user may be called so.
            "A" | "a.git" => {
                let path = format!("/v2/users/{name}");
                scene.victim.asks_signed("DELETE", &path, b"{}").await;
            }
            _ => assert_eq!(made.status, 400, "{name:.50?}: {made:?}"),
        }
    }
}

async fn fetches_of_code_by_others(scene: &Scene<'_>) {
    let basic =
        |name: &str, token: &str| format!("Basic {}", STANDARD.encode(format!("{name}:{token}")));
    for proof in [
        basic("bob", scene.bob.token()),
        basic("ann", scene.bob.token()),
        basic("ann", ""),
        basic("", ""),
        "Basic !!!".to_owned(),
    ] {
        for path in [
            "/hill.git/info/refs?service=git-upload-pack",
            "/hill.git/info/refs?service=git-receive-pack",
            "/hill.git/info/refs?service=git-upload-archive",
            "/hill.git/info/refs?service=../../bin/sh",
            "/hill.git/info/refs",
            "/hill.git/HEAD",
            "/hill.git/config",
            "/hill.git/objects/info/packs",
            "/hill.git/../../own/1/config",
            "/..%2fhill.git/info/refs?service=git-upload-pack",
            "/1.git/info/refs?service=git-upload-pack",
        ] {
            let headers = [("authorization", proof.as_str())];
            let answer = scene.victim.asks("GET", path, &headers, b"").await;
            assert!(
                (400..500).contains(&answer.status),
                "{proof} {path}: {answer:?}"
            );
        }
    }
}

async fn guesses_of_links(scene: &Scene<'_>) {
    let mut refused = 0;
    for number in 0..40 {
        let guess = json!({"link": format!("{number:040x}")}).to_string();
        let answer = scene
            .victim
            .asks("POST", "/v2/session", &[], guess.as_bytes())
            .await;
        assert!(matches!(answer.status, 401 | 429), "{answer:?}");
        refused += u32::from(answer.status == 429);
    }
    assert!(refused > 0, "one may guess as often as one likes");
}

/// The head says another length or digest than the body has.
async fn packs_that_lie_about_their_length(scene: &Scene<'_>) {
    let token = format!("Bearer {}", scene.bob.token());
    let commit = "1".repeat(40);
    let path = format!("/v2/working_trees?url=sent://x&commit={commit}");
    for (length, body) in [
        (10, "PACK".repeat(1000)),
        (1_u64 << 40, "PACK".to_owned()),
        (4, "PACK".to_owned()),
    ] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let mut stream = held(&scene.victim.master(), request.as_bytes()).await;
        stream.shutdown().await.ok();
        let answer = first_of(&mut stream, "\r\n\r\n").await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{length}: {answer}");
    }
}

/// What one slave keeps of set-ups another one unpacks: nobody else brings or gets any.
async fn entries_of_the_setup_cache_by_strangers(scene: &Scene<'_>) {
    let token = format!("Bearer {}", scene.bob.token());
    for proof in [&[][..], &[("authorization", token.as_str())]] {
        for path in [
            "/v1/kept_setup",
            "/v1/kept_setups",
            "/v2/kept_setup",
            "/v1/snapshot",
            "/v1/build/1/source",
            "/v1/slave/1/instances",
            "/v1/slave/1/instance_logs",
        ] {
            let answer = scene
                .victim
                .asks(
                    "POST",
                    path,
                    proof,
                    b"{\"slave_id\": 1, \"session_id\": \"x\"}",
                )
                .await;
            assert!(matches!(answer.status, 401 | 403), "{path}: {answer:?}");
        }
    }
    // Nor does a holder of the secret who is no slave that the master knows.
    for path in [
        "/v1/kept_setup",
        "/v1/kept_setups",
        "/v1/snapshot",
        "/v1/build/1/source",
    ] {
        let body = b"{\"slave_id\": 1, \"session_id\": \"of another life\"}";
        let answer = scene.victim.asks_signed("POST", path, body).await;
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
    }
}
