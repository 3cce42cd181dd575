//! Programs that users launch, as they see the requests of others; and what is hidden in requests to them.

use super::victim::Victim;
use super::wire::answers;
use crate::farm::Extra;
use crate::repository::Repository;
use crate::wait::wait_for;
use serde_json::{Value, json};

/// A program that answers each request with the bytes of its head, and tells whoever asks how many requests it has seen.
const ECHO: &str = r#"
import os, socket, threading

seen = []

def serve(connection):
    with connection, connection.makefile("rb") as lines:
        while True:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = lines.readline()
                if not line:
                    return
                head += line
            lower = head.lower()
            seen.append(head.split(b"\r\n")[0])
            if b"transfer-encoding: chunked" in lower:
                while True:
                    length = int(lines.readline(), 16)
                    lines.read(length + 2)
                    if not length:
                        break
            elif b"content-length: " in lower:
                lines.read(int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]))
            body = b"|".join(seen) + b"\n" + head
            cookies = b"Set-Cookie: clusterrunner_session=fixed; Path=/\r\nSet-Cookie: own=1\r\n"
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + cookies + b"Content-Length: %d\r\n\r\n" % len(body) + body)

listener = socket.create_server(("", int(os.environ["PORT"])))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

/// A farm on which the program runs.
struct Scene<'v> {
    victim: &'v Victim,
    /// `/user/<key>`
    path: String,
}

#[tokio::test]
async fn programs_of_users_get_what_is_theirs() {
    let victim = Victim::with(&Extra {
        master: "allow_local_sources = True\napp_domain = apps.example.com",
        slave: "allow_local_sources = True",
        ..Extra::default()
    })
    .await;
    let path = launched(&victim).await;
    let scene = Scene {
        victim: &victim,
        path,
    };
    suffer!(
        victim with scene,
        the_session_of_who_looks_at_a_program,
        a_session_that_a_program_gives,
        requests_hidden_on_their_way_to_a_program,
        addresses_that_callers_make_up,
        hosts_that_are_the_farms,
        keys_of_other_instances,
    );
    victim.lives().await;
}

/// Launches the program; its path.
async fn launched(victim: &Victim) -> String {
    let project = Repository::empty();
    project.commit(&[
        ("Procfile", "web: exec python3 echo.py\n"),
        ("echo.py", ECHO),
    ]);
    let body = json!({"repository": project.path()}).to_string();
    let built = victim
        .asks_signed("POST", "/v2/templates", body.as_bytes())
        .await;
    assert_eq!(built.status, 202, "{built:?}");
    let build = clusterrunner_common::ids::BuildId(built.body["build_id"].as_u64().unwrap());
    assert!(victim.is_harmless(&built));
    victim.farm.end_of(build).await.passes();
    let body = json!({"template": built.body["name"]}).to_string();
    let launched = victim
        .asks_signed("POST", "/v2/instances", body.as_bytes())
        .await;
    assert_eq!(launched.status, 201, "{launched:?}");
    let path = format!("/v2/instances/{}", launched.body["instance"]["id"]);
    wait_for("the program is up", async || {
        let shown = victim.asks_signed("GET", &path, b"").await.body;
        let instance: &Value = &shown["instance"];
        (instance["status"] == "up").then(|| instance["path"].as_str().unwrap().to_owned())
    })
    .await
}

impl Scene<'_> {
    /// What the program answers to a request with these headers: head and body.
    async fn asked(&self, headers: &str) -> String {
        let request = format!("GET {}/ HTTP/1.1\r\nHost: a\r\n{headers}\r\n", self.path);
        let mut answered = answers(&self.victim.master(), request.as_bytes()).await;
        assert_eq!(answered.len(), 1, "{answered:?}");
        answered.remove(0).text
    }
}

/// The browser sends the cookie of the farm's page to all paths of the farm.
async fn the_session_of_who_looks_at_a_program(scene: &Scene<'_>) {
    for cookies in [
        "clusterrunner_session=stolen",
        "a=b; clusterrunner_session=stolen;c=d",
        "a=b\r\nCookie: clusterrunner_session=stolen",
    ] {
        let answer = scene.asked(&format!("Cookie: {cookies}\r\n")).await;
        assert!(answer.starts_with("200"), "{answer}");
        assert!(!answer.contains("stolen"), "{answer}");
    }
    let answer = scene.asked("Cookie: a=b; c=d\r\n").await;
    assert!(
        answer.to_ascii_lowercase().contains("cookie: a=b; c=d"),
        "{answer}"
    );
}

/// It would sign the user in as somebody else.
async fn a_session_that_a_program_gives(scene: &Scene<'_>) {
    let answer = scene.asked("").await;
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("fixed"), "{head}");
    assert!(
        head.to_ascii_lowercase().contains("set-cookie: own=1"),
        "{head}"
    );
}

/// The farm is the one in front here: what it takes for one request the program must take for one.
async fn requests_hidden_on_their_way_to_a_program(scene: &Scene<'_>) {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let long = hidden.len();
    for headers in [
        format!("Content-Length: {long}\r\n"),
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        format!("Content-Length: 0\r\nContent-Length: {long}\r\n"),
        format!("Connection: Content-Length\r\nContent-Length: {long}\r\n"),
        "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        "Content-Length : 5\r\n".to_owned(),
        "X: a\r\n Content-Length: 5\r\n".to_owned(),
        "Expect: 100-continue\r\nContent-Length: 0\r\n".to_owned(),
        "Upgrade: websocket\r\nConnection: Upgrade\r\n".to_owned(),
    ] {
        let chunked = format!("{long:x}\r\n{hidden}\r\n0\r\n\r\n{hidden}");
        for body in [hidden, &chunked] {
            let request = format!(
                "POST {}/ HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}",
                scene.path
            );
            answers(&scene.victim.master(), request.as_bytes()).await;
        }
    }
    let answer = scene.asked("").await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let seen = body.lines().next().unwrap();
    assert!(!seen.contains("/hidden"), "{seen}");
}

/// A program that believes these headers gets them from the farm.
async fn addresses_that_callers_make_up(scene: &Scene<'_>) {
    let made_up =
        "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Prefix: /evil\r\n";
    let answer = scene.asked(made_up).await.to_ascii_lowercase();
    let (_, seen) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!seen.contains("evil"), "{seen}");
    assert!(seen.contains("x-forwarded-proto: http\r\n"), "{seen}");
}

/// No name of an app, and no spelling of one, takes the farm's own paths.
async fn hosts_that_are_the_farms(scene: &Scene<'_>) {
    for host in [
        "none.apps.example.com",
        "a.b.apps.example.com",
        "apps.example.com",
        "x.apps.example.com:80",
        "X.APPS.EXAMPLE.COM.",
        "[::1]",
        "",
        "a@none.apps.example.com",
    ] {
        for path in ["/v2/users", "/v1/slave", &scene.path] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let answered = answers(&scene.victim.master(), request.as_bytes()).await;
            assert!(answered.len() <= 1, "{host}: {answered:?}");
            assert!(
                answered.iter().all(|answer| answer.status != 500),
                "{host}: {answered:?}"
            );
        }
        let request = format!("GET /v2/users HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answered = answers(&scene.victim.master(), request.as_bytes()).await;
        assert!(
            answered.iter().all(|answer| answer.status >= 400),
            "{host}: {answered:?}"
        );
    }
}

async fn keys_of_other_instances(scene: &Scene<'_>) {
    let key = scene.path.trim_start_matches("/user/").to_owned();
    let other = format!("{}{}", &key[1..], "0");
    for path in [
        format!("/user/{other}/"),
        format!("/user/{}/", key.to_ascii_uppercase()),
        format!("/user/{key}x/"),
        "/user/".to_owned(),
        format!("/user/%{:x}{}/", key.as_bytes()[0], &key[1..]),
    ] {
        let answer = scene.victim.asks("GET", &path, &[], b"").await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
    // The list of keys is for who may see the instances.
    for path in ["/v2/instances", "/applications/"] {
        let answer = scene.victim.asks("GET", path, &[], b"").await;
        assert!(matches!(answer.status, 401 | 403), "{path}: {answer:?}");
    }
}
