//! The API of Binder on real programs: a repository becomes a template, and the template an application that answers.

use crate::farm::Farm;
use crate::repository::Repository;
use crate::wait::wait_for;
use reqwest::Method;
use serde_json::{Value, json};

/// The key that the master has made for itself.
fn key_of(farm: &Farm) -> String {
    let kept = std::fs::read_to_string(farm.path("base/master/binder_api_key"));
    kept.unwrap().trim().to_owned()
}

/// Status and body of an answer; a body that is no JSON is a text.
async fn asked(
    farm: &Farm,
    (key, method, path): (&str, Method, &str),
    body: Option<Value>,
) -> (u16, Value) {
    let url = format!("http://{}{path}", farm.master_address());
    let mut request = reqwest::Client::new().request(method, url);
    if !key.is_empty() {
        request = request.header("Authorization", key);
    }
    if let Some(body) = body {
        request = request
            .header("Content-Type", "application/json")
            .body(body.to_string());
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, body)
}

async fn read(farm: &Farm, key: &str, path: &str) -> Value {
    let (status, body) = asked(farm, (key, Method::GET, path), None).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

#[tokio::test]
async fn a_repository_is_built_launched_reached_and_stopped() {
    let repository = Repository::empty();
    let procfile = "web: exec python3 -m http.server $PORT\n";
    repository.commit(&[("index.html", "hello\n"), ("Procfile", procfile)]);
    let mut farm = Farm::new();
    farm.start_all(&[1]).await;
    let key = key_of(&farm);
    let printed = farm.output("master").matches(&key).count();
    assert_eq!(printed, 1, "the key is printed once");

    let body = json!({"repository": repository.path().display().to_string()});
    let build = (&*key, Method::POST, "/builds/");
    let (status, begun) = asked(&farm, build, Some(body)).await;
    assert_eq!(
        (status, &begun["phase"]),
        (200, &json!("fetching")),
        "{begun}"
    );
    let name = begun["name"].as_str().unwrap();
    let built = wait_for("the template", async || {
        let record = read(&farm, "", &format!("/builds/{name}")).await;
        (record["status"] != "running").then_some(record)
    });
    let built = built.await;
    assert_eq!(built["status"], "completed", "{built}");
    let template = read(&farm, "", &format!("/templates/{name}")).await;
    assert_eq!(template["name"], name);

    let path = format!("/applications/{name}");
    let (status, launched) = asked(&farm, ("", Method::POST, &path), None).await;
    assert_eq!(status, 200, "{launched}");
    let one = format!("{path}/{}", launched["id"].as_str().unwrap());
    let location = wait_for("the application", async || {
        let location = read(&farm, "", &one).await["location"].take();
        location.as_str().map(str::to_owned)
    });
    let page = format!("http://{}/index.html", location.await);
    let hello = reqwest::get(&page).await.unwrap().text().await.unwrap();
    assert_eq!(hello, "hello\n");
    let (status, stopped) = asked(&farm, (&key, Method::DELETE, &one), None).await;
    assert_eq!((status, &stopped["status"]), (200, &json!("deleted")));
    assert_eq!(reqwest::get(&page).await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_build_that_fails_says_why_in_one_sentence() {
    let repository = Repository::empty();
    repository.commit(&[("Dockerfile", "FROM scratch\nNONSENSE x\n")]);
    let mut farm = Farm::new();
    farm.start_all(&[1]).await;
    let key = key_of(&farm);
    let body = json!({"repo": repository.path().display().to_string(), "force": "false"});
    let (_, begun) = asked(&farm, (&key, Method::POST, "/builds/repo"), Some(body)).await;
    let path = format!("/builds/{}", begun["name"].as_str().unwrap());
    let built = wait_for("the end of the build", async || {
        let record = read(&farm, "", &path).await;
        (record["status"] != "running").then_some(record)
    });
    let built = built.await;
    assert_eq!(
        (&built["status"], &built["phase"]),
        (&json!("failed"), &json!("building")),
        "{built}"
    );
    let error = built["error"].as_str().unwrap();
    assert!(error.contains("NONSENSE"), "{error}");
    let list = read(&farm, &key, "/builds/").await;
    assert_eq!(list[0]["error"], error);
}

#[tokio::test]
async fn two_apis_share_builds_on_one_port() {
    let mut farm = Farm::new();
    farm.start_all(&[]).await;
    let key = key_of(&farm);
    for (key, method, path, body, status) in [
        ("", Method::GET, "/builds", None, 200),
        ("", Method::GET, "/builds/", None, 403),
        (&key, Method::GET, "/builds/", None, 200),
        ("", Method::GET, "/builds/7", None, 404),
        ("", Method::GET, "/builds/a-b", None, 500),
        (
            "",
            Method::POST,
            "/builds",
            Some(json!({"repository": "x"})),
            403,
        ),
        (
            "",
            Method::POST,
            "/builds",
            Some(json!({"type": "git"})),
            401,
        ),
        ("", Method::GET, "/v2/builds/", None, 200),
    ] {
        let question = format!("{method} {path} {key} {body:?}");
        let (found, answer) = asked(&farm, (key, method, path), body).await;
        assert_eq!(found, status, "{question}: {answer}");
    }
}
