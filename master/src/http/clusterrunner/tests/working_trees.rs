//! Who may send a working tree and build it, and what is said to the others.

use super::*;
use crate::store::working_trees::Sender;
use clusterrunner_common::auth::signature::CONTENT_DIGEST_HEADER;
use clusterrunner_common::ids::UserId;
use serde_json::Value;
use std::fs;

const COMMIT: &str = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d";
const URL: &str = "https://example.org/project.git";

async fn send(master: &Master, path: &str, body: &str) -> (u16, String) {
    let digest = content_digest(body.as_bytes());
    let parts = SignedParts {
        method: "POST",
        path_and_query: path,
        receiver: &master.session.0,
        content_digest: &digest,
    };
    let signature = parts.sign(&master.secret, Timestamp::now(), random_bytes());
    let headers = [
        (SIGNATURE_HEADER, signature.as_str()),
        (CONTENT_DIGEST_HEADER, digest.as_str()),
    ];
    let (status, answer) = master.call("POST", path, &headers, body).await;
    (
        status,
        answer["error"].as_str().unwrap_or_default().to_owned(),
    )
}

fn path(url: &str, commit: &str) -> String {
    let url = url.replace(':', "%3A").replace('/', "%2F");
    format!("/v2/working_trees?url={url}&commit={commit}")
}

fn request() -> Value {
    json!({"type": "git", "url": URL, "hash": COMMIT, "working_tree": {"base": COMMIT, "files": 3, "by": "ada@home"}})
}

/// As if a sender had sent it.
fn keep(master: &Master, sender: Sender) {
    let url = clusterrunner_common::git::GitUrl::parse(URL, false).unwrap();
    let directory = master.directory.path().join("working_trees");
    let directory = directory
        .join(url.sent_directory_name())
        .join(sender.to_string());
    fs::create_dir_all(&directory).unwrap();
    let name = format!("{COMMIT}-{COMMIT}");
    let known = json!({"bases": [], "objects": 1, "bytes": 1, "at": 1});
    fs::write(directory.join(format!("{name}.json")), known.to_string()).unwrap();
    fs::write(directory.join(format!("{name}.pack")), "p").unwrap();
}

#[tokio::test]
async fn what_can_not_be_a_working_tree_is_refused_with_the_cure() {
    let master = Master::start();
    let large = "x".repeat((1 << 20) + 1);
    for (path, body, status, part) in [
        (
            path(URL, COMMIT),
            large.as_str(),
            413,
            "max_working_tree_bytes",
        ),
        (path(URL, "1a2b3c4"), "x", 400, "'commit'"),
        (path("", COMMIT), "x", 400, "'url'"),
        (path("file:///etc", COMMIT), "x", 400, "'url'"),
        (path("sent://../x", COMMIT), "x", 400, "'url'"),
        ("/v2/working_trees".to_owned(), "x", 400, "'url'"),
    ] {
        let (found, error) = send(&master, &path, body).await;
        assert_eq!(found, status, "{path}: {error}");
        assert!(error.contains(part), "{path}: {error}");
    }
    let unsigned = master.call("POST", &path(URL, COMMIT), &[], "x").await;
    assert_eq!(unsigned.0, 401, "{unsigned:?}");
    let (status, _) = master.documented("POST", &path(URL, COMMIT), "x").await;
    assert_eq!(status, 401);
    let left = fs::read_dir(master.directory.path().join("working_trees"));
    assert_eq!(left.unwrap().count(), 0);
}

#[tokio::test]
async fn only_what_was_sent_is_built() {
    let master = Master::start();
    let (status, answer) = master.signed("POST", "/v2/builds", &request()).await;
    assert_eq!(status, 409, "{answer}");
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains("send it first"), "{error}");
    // Without the field it is a commit like any other, but no server has this one.
    let nowhere = json!({"type": "git", "url": "sent://project-1a2b", "hash": COMMIT});
    let (status, answer) = master.signed("POST", "/v2/builds", &nowhere).await;
    assert_eq!(status, 400, "{answer}");

    keep(&master, Sender::User(UserId(7)));
    let (status, answer) = master.signed("POST", "/v2/builds", &request()).await;
    assert_eq!(status, 202, "{answer}");
    let (_, build) = master.get("/v2/builds/1").await;
    let shown = &build["build"]["request_params"]["working_tree"];
    assert_eq!(shown, &request()["working_tree"]);
    let newest = json!({"retry_of": 1, "newest": true});
    let (status, answer) = master.signed("POST", "/v2/builds", &newest).await;
    assert_eq!(status, 400, "{answer}");
    let again = json!({"retry_of": 1});
    let (status, answer) = master.signed("POST", "/v2/builds", &again).await;
    assert_eq!(status, 202, "{answer}");
    fs::remove_dir_all(master.directory.path().join("working_trees")).unwrap();
    let (status, answer) = master.signed("POST", "/v2/builds", &again).await;
    assert_eq!(status, 409, "{answer}");
}
