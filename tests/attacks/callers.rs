//! Callers who prove nothing, something old, or less than they ask for.

use super::victim::Victim;
use crate::farm::Extra;
use crate::polyaxon::Polyaxon;
use clusterrunner_common::auth::signature::{BODY_DIGEST_HEADER, SIGNATURE_HEADER, body_digest};
use reqwest::Method;
use serde_json::json;

/// Routes that need no proof, whatever they then say: to log in, to sign in and out, to register where that is open, to ask
/// for the page.
const FOR_ALL: [&str; 6] = [
    "/session",
    "/v1/auth/login",
    "/v1/auth/register",
    "/api/v1/users/token",
    "/api/v1/users/logout",
    "/log_handler",
];

/// A farm with two users, one of whom has a private project and an app.
pub(super) struct Scene<'v> {
    pub(super) victim: &'v Victim,
    pub(super) ann: Polyaxon,
    pub(super) bob: Polyaxon,
    /// A token of ann's that only reads.
    reader: String,
    binder_key: String,
}

/// A farm on which nobody launches without a key.
pub(super) async fn closed_farm() -> Victim {
    let master = "launch_without_key = False";
    Victim::with(&Extra {
        master,
        ..Extra::default()
    })
    .await
}

impl<'v> Scene<'v> {
    pub(super) async fn set(victim: &'v Victim) -> Self {
        let (ann, bob) = (
            victim.farm.polyaxon_user("ann").await,
            victim.farm.polyaxon_user("bob").await,
        );
        let hidden = json!({"name": "hidden", "is_public": false});
        let (status, made) = ann.ask(Method::POST, "projects/", Some(hidden)).await;
        assert!(status.is_success(), "{made}");
        ann_creates_an_app(victim, &ann).await;
        Self {
            victim,
            reader: victim.farm.token_of("ann", "read"),
            binder_key: victim.binder_key(),
            ann,
            bob,
        }
    }
}

#[tokio::test]
async fn nobody_does_more_than_may_be_done() {
    let victim = closed_farm().await;
    let scene = Scene::set(&victim).await;
    suffer!(
        victim with scene,
        changes_without_proof,
        changes_with_proofs_of_others,
        a_token_that_only_reads,
        keys_that_are_nearly_right,
        proofs_in_the_address,
        two_proofs_at_once,
        cookies_that_nobody_gave,
        pages_that_launch,
    );
    victim.lives().await;
}

async fn ann_creates_an_app(victim: &Victim, ann: &Polyaxon) {
    let token = format!("token {}", ann.token());
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
    ];
    let made = victim
        .asks("POST", "/v1/apps", &headers, b"{\"id\": \"hill\"}")
        .await;
    assert_eq!(made.status, 201, "{made:?}");
}

/// Each operation of all APIs that is no read, as the master itself describes them, with numbers and names in its path.
async fn changes(victim: &Victim) -> Vec<(&'static str, String)> {
    let described = victim.asks("GET", "/v2/openapi.json", &[], b"").await.body;
    let mut changes = Vec::new();
    for (path, operations) in described["paths"].as_object().unwrap() {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            if operations.get(method.to_ascii_lowercase()).is_some() {
                changes.push((method, filled(path)));
            }
        }
    }
    assert!(changes.len() > 50, "{changes:?}");
    changes
}

/// A path with something in the place of each parameter.
fn filled(path: &str) -> String {
    let mut parts =
        path.split('/').map(
            |part| match part.trim_matches(|found| found == '{' || found == '}') {
                same if same == part => part,
                "user" | "owner" | "username" | "name" => "ann",
                "project" => "hidden",
                "app" | "id" => "hill",
                _ => "1",
            },
        );
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |path, part| format!("{path}/{part}"))
}

fn is_for_all(path: &str) -> bool {
    FOR_ALL
        .iter()
        .any(|open| path.trim_end_matches('/').ends_with(open))
}

/// Nothing of that is done: each is refused, however the body looks.
async fn refused(scene: &Scene<'_>, proof: &[(&'static str, &str)]) {
    refused_but(scene, proof, |_| false).await;
}

/// [`refused`], but for the paths that this proof opens.
async fn refused_but(
    scene: &Scene<'_>,
    proof: &[(&'static str, &str)],
    opens: impl Fn(&str) -> bool,
) {
    for (method, path) in changes(scene.victim).await {
        if is_for_all(&path) || opens(&path) {
            continue;
        }
        let mut headers = proof.to_vec();
        headers.push(("content-type", "application/json"));
        for body in [&b"{}"[..], b""] {
            let answer = scene.victim.asks(method, &path, &headers, body).await;
            // Of what is not there Binder's protocol says so with 500.
            let is_no_record = answer.body["type"] == "noRecord";
            assert!(
                (400..500).contains(&answer.status) || is_no_record,
                "{method} {path}: {answer:?}"
            );
        }
    }
}

async fn changes_without_proof(scene: &Scene<'_>) {
    refused(scene, &[]).await;
}

async fn changes_with_proofs_of_others(scene: &Scene<'_>) {
    let old = "v3;t=1;n=0123456789abcdef0123456789abcdef;s=00000000-0000-4000-8000-000000000000;d=";
    let signature = format!("{old}{}", "0".repeat(128));
    for proof in [
        (
            "authorization",
            "token 0123456789abcdef0123456789abcdef01234567",
        ),
        ("authorization", "Bearer null"),
        ("authorization", "Basic YWRtaW46YWRtaW4="),
        ("cookie", "clusterrunner_session=0.0.0.0.0"),
        (SIGNATURE_HEADER, &*signature),
    ] {
        refused(scene, &[proof]).await;
    }
}

/// It may make a link for a browser, which then reads as well.
async fn a_token_that_only_reads(scene: &Scene<'_>) {
    let token = format!("Bearer {}", scene.reader);
    let is_link = |path: &str| path.ends_with("/session/link");
    refused_but(scene, &[("authorization", &token)], is_link).await;
}

async fn keys_that_are_nearly_right(scene: &Scene<'_>) {
    let key = &scene.binder_key;
    let longer = format!("{key}x");
    let upper = key.to_ascii_uppercase();
    let quoted = format!("\"{key}\"");
    for wrong in [
        "",
        " ",
        "null",
        &key[..key.len() - 1],
        &key[1..],
        &longer,
        &upper,
        &quoted,
    ] {
        for (method, path) in [
            ("GET", "/health/"),
            ("POST", "/builds/"),
            ("GET", "/applications/"),
            ("POST", "/applications/x"),
        ] {
            let headers = [("authorization", wrong)];
            let body = b"{\"repository\": \"https://example.org/a/b\"}";
            let body = if method == "GET" { &b""[..] } else { body };
            let answer = scene.victim.asks(method, path, &headers, body).await;
            // Without any key `/builds/` may be ClusterRunner's.
            assert!(
                matches!(answer.status, 401 | 403),
                "{wrong} {path}: {answer:?}"
            );
        }
    }
}

/// What is in an address is in logs and histories, so it proves nothing.
async fn proofs_in_the_address(scene: &Scene<'_>) {
    let token = scene.bob.token();
    for path in [
        format!("/v2/users?token={token}"),
        format!("/v2/users?access_token={token}"),
        format!("/v2/users?Authorization=Bearer%20{token}"),
        format!("/health/?api-key={}", scene.binder_key),
        format!("/api/v1/users?token={token}"),
        format!("/v1/apps?token={token}"),
    ] {
        let answer = scene.victim.asks("GET", &path, &[], b"").await;
        assert!(matches!(answer.status, 401 | 403), "{path}: {answer:?}");
    }
}

/// A good proof for little beside a bad one for much, and the other way round: the request is not more than either.
async fn two_proofs_at_once(scene: &Scene<'_>) {
    let reader = format!("Bearer {}", scene.reader);
    let body = b"{}";
    let digest = body_digest(&scene.victim.farm.secret(), body);
    for proof in [
        &[
            ("authorization", reader.as_str()),
            (BODY_DIGEST_HEADER, digest.as_str()),
        ][..],
        &[("authorization", reader.as_str()), (SIGNATURE_HEADER, "v3")],
        &[
            ("authorization", reader.as_str()),
            ("authorization", scene.binder_key.as_str()),
        ],
        &[
            (BODY_DIGEST_HEADER, digest.as_str()),
            ("cookie", "clusterrunner_session=x"),
        ],
    ] {
        for path in [
            "/v2/slaves/1/drain",
            "/v1/slave/shutdown",
            "/v2/users",
            "/v2/tokens",
        ] {
            let answer = scene.victim.asks("POST", path, proof, body).await;
            assert!(
                (400..500).contains(&answer.status),
                "{path} {proof:?}: {answer:?}"
            );
        }
    }
}

async fn cookies_that_nobody_gave(scene: &Scene<'_>) {
    let years = "9999999999999";
    let zeros = "0".repeat(64);
    for value in [
        String::new(),
        "null".to_owned(),
        format!("{years}.1.s.x.{zeros}"),
        format!("1.{years}.{zeros}.secret.{zeros}"),
        format!("s.{years}.{}.{zeros}", "a".repeat(32)),
        "a".repeat(20_000),
        "%00".to_owned(),
    ] {
        let cookie = format!("clusterrunner_session={value}");
        let headers = [("cookie", cookie.as_str()), ("x-csrf-token", "x")];
        let answer = scene
            .victim
            .asks("POST", "/v2/slaves/1/drain", &headers, b"{}")
            .await;
        assert!(
            (400..500).contains(&answer.status),
            "{value:.80}: {answer:?}"
        );
        let answer = scene
            .victim
            .asks("GET", "/v2/session", &headers[..1], b"")
            .await;
        assert!(answer.body["user"].is_null(), "{value:.80}: {answer:?}");
    }
}

/// A page elsewhere, or under a name that its owner has given to this machine (DNS rebinding), launches nothing.
async fn pages_that_launch(scene: &Scene<'_>) {
    let bare = Victim::new().await;
    for victim in [scene.victim, &bare] {
        let port = victim.farm.port();
        for (origin, host) in [
            ("http://evil.example", "127.0.0.1".to_owned()),
            ("null", "127.0.0.1".to_owned()),
            ("http://rebound.example", "rebound.example".to_owned()),
            (
                "http://127.0.0.1.evil.example",
                "127.0.0.1.evil.example".to_owned(),
            ),
        ] {
            let host = format!("{host}:{port}");
            let origin = match origin {
                "null" => origin.to_owned(),
                origin => format!("{origin}:{port}"),
            };
            let request = format!(
                "POST /applications/anything HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nContent-Length: 0\r\n\r\n"
            );
            let answered = super::wire::answers(&victim.master(), request.as_bytes()).await;
            assert_eq!(answered[0].status, 403, "{origin}: {answered:?}");
        }
    }
}
