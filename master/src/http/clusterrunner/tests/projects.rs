//! Projects in this API: what is listed, and who sees it.

use super::{BUILD, Master};
use serde_json::{Value, json};

const OTHER: &str = r#"{"type": "git", "url": "https://me:secret@example.org/deep/other.git"}"#;

impl Master {
    async fn projects(&self, query: &str) -> Value {
        let (status, body) = self.get(&format!("/v2/projects{query}")).await;
        assert_eq!(status, 200, "{body}");
        body
    }
}

fn names(body: &Value) -> Vec<&str> {
    let projects = body["projects"].as_array().unwrap().iter();
    projects
        .map(|project| project["name"].as_str().unwrap())
        .collect()
}

fn ids(body: &Value) -> Vec<u64> {
    let builds = body["builds"].as_array().unwrap().iter();
    builds.map(|build| build["id"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn projects_are_listed_by_their_newest_builds() {
    let master = Master::start();
    let none = json!({"projects": [], "total": 0, "child_routes": {}});
    assert_eq!(master.projects("").await["projects"], none["projects"]);
    for body in [OTHER, BUILD, OTHER, OTHER] {
        master.documented("POST", "/v1/build", body).await;
    }
    let all = master.projects("").await;
    assert_eq!((names(&all)[0], &all["total"]), ("other", &json!(2)));
    let other = &all["projects"][0];
    assert_eq!(other["owner"], "clusterrunner");
    assert_eq!(other["url"], "https://example.org/deep/other.git");
    assert_eq!(other["num_builds"], 3);
    assert_eq!(other["last_build"]["id"], 4);
    assert_eq!(other["last_build"]["project_id"], other["id"]);
    assert_eq!(other["description"], Value::Null);
    let second = master.projects("?offset=1&limit=1").await;
    assert_eq!(names(&second), names(&all)[1..]);
    assert_eq!(second["total"], 2);

    let path = format!("/v2/projects/{}", other["id"]);
    let (_, one) = master.get(&path).await;
    assert_eq!(one["project"], *other);
    let (_, builds) = master.get(&format!("{path}/builds")).await;
    assert_eq!(ids(&builds), [4, 3, 1]);
    let (_, builds) = master.get(&format!("{path}/builds?before=4&limit=1")).await;
    assert_eq!(ids(&builds), [3]);
    for (path, expected) in [
        ("/v2/projects/9", 404),
        ("/v2/projects/9/builds", 404),
        ("/v2/projects?limit=x", 400),
        ("/v2/projects/1/builds?before=x", 400),
    ] {
        let (status, answer) = master.get(path).await;
        assert_eq!(status, expected, "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_private_project_is_none_for_strangers() {
    let master = Master::start();
    master.documented("POST", "/v1/build", BUILD).await;
    master.documented("POST", "/v1/build", OTHER).await;
    master.publish(false).await;
    let seen = master.projects("").await;
    assert_eq!((names(&seen), &seen["total"]), (vec!["other"], &json!(1)));
    for path in ["/v2/projects/1", "/v2/projects/1/builds"] {
        assert_eq!(master.get(path).await.0, 404, "{path}");
        let (status, answer) = master.signed_read(path).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }
}
