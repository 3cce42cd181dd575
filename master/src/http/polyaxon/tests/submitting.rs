//! Starting builds from specifications, and uploads that are no code.

use super::farm::{Answer, Farm, take_time, take_uuid};
use axum::body::Body;
use axum::extract::Request;
use clusterrunner_common::ids::{BuildId, ProjectId, UserId};
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use clusterrunner_core::accounts::command::ProjectCommand;
use clusterrunner_core::accounts::projects::ProjectChange;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::builds::details::Merge;
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;
use serde_json::{Value, json};

const BUILDS: &str = "/api/v1/ann/hill/builds/";

/// A farm with the project `hill` of the user `ann`, and the user `bob`.
async fn farm() -> (Farm, UserId) {
    let farm = Farm::with_root().await;
    let ann = farm.user("ann", false).await;
    farm.user("bob", false).await;
    farm.project(ann, "hill", true).await;
    (farm, ann)
}

fn specification() -> Value {
    json!({"version": 1, "kind": "build", "build": {
        "image": "busybox:1", "build_steps": ["make", "make test"], "env_vars": [["A", "b"]],
    }})
}

impl Farm {
    async fn submit(&self, body: &Value) -> Answer {
        self.call("ann", "POST", BUILDS, &body.to_string()).await
    }

    async fn request_of(&self, build: u64) -> BuildRequest {
        let found = self.cluster.read(move |cluster| {
            let build = cluster.build(BuildId(build))?;
            Some(build.request.clone())
        });
        found.await.unwrap().unwrap()
    }

    async fn num_builds(&self) -> usize {
        self.cluster
            .read(|cluster| cluster.builds().count())
            .await
            .unwrap()
    }

    async fn refused(&self, body: &str, status: u16, expected: &str) {
        let before = self.num_builds().await;
        let answer = self.call("ann", "POST", BUILDS, body).await;
        let shown: String = body.chars().take(100).collect();
        assert_eq!(answer.status, status, "{shown}: {answer:?}");
        let said = answer.body.to_string();
        assert!(said.contains(expected), "{shown}: {said}");
        assert_eq!(self.num_builds().await, before);
    }
}

#[tokio::test]
async fn a_specification_becomes_a_build() {
    let (farm, _) = farm().await;
    let mut body = json!({"config": specification(), "content": null, "name": "nightly", "tags": ["x", "x"],
        "description": "d", "ttl": null, "is_managed": true});
    let mut answer = farm.submit(&body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    take_uuid(&mut answer.body);
    for time in ["created_at", "updated_at"] {
        take_time(&mut answer.body, time);
    }
    let expected = json!({
        "id": 1, "uuid": null, "name": "nightly", "unique_name": "ann.hill.builds.1", "user": "ann",
        "description": "d", "created_at": null, "updated_at": null, "started_at": null, "finished_at": null,
        "last_status": "created", "tags": ["x"], "project": "ann.hill", "config": specification(),
        "resources": null, "node_scheduled": null, "num_jobs": 0, "num_experiments": 0, "dockerfile": null,
        "commit": null, "bookmarked": false,
    });
    assert_eq!(answer.body, expected);
    let request = farm.request_of(1).await;
    let project = ProjectId(1);
    assert_eq!(
        request.project,
        ProjectSource::Own {
            project,
            commit: None
        }
    );
    assert_eq!(request.env.iter().collect::<Vec<_>>(), [("A", "b")]);
    assert_eq!(
        request.atoms_override,
        Some(vec!["export TEMPLATE=\"ann-hill\";".to_owned()])
    );
    assert_eq!(request.product.unwrap().name, "ann-hill");
    let commands = request.config.unwrap()["commands"].to_string();
    assert!(
        commands.contains("build-template") && commands.contains("make test"),
        "{commands}"
    );
    // The name is taken.
    farm.refused(&body.to_string(), 400, "name").await;
    body["name"] = Value::Null;
    assert_eq!(farm.submit(&body).await.status, 201);
}

#[tokio::test]
async fn a_text_of_later_versions_becomes_a_build() {
    let (farm, _) = farm().await;
    let text = "version: 1\nkind: build\nname: weekly\ntags: [a]\nimage: busybox:1\nbuild_steps:\n  - make\n  - make test\nenv_vars:\n  - [A, b]\n";
    let answer = farm.submit(&json!({"content": text, "config": null})).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(
        (&answer.body["name"], &answer.body["tags"]),
        (&json!("weekly"), &json!(["a"]))
    );
    assert_eq!(answer.body["config"]["build"], specification()["build"]);
    let text = specification().to_string();
    let answer = farm
        .submit(&json!({"content": text, "name": "other"}))
        .await;
    assert_eq!(answer.body["config"], specification(), "{answer:?}");
}

#[tokio::test]
async fn the_recipe_is_shown_when_building_begins() {
    let (farm, _) = farm().await;
    farm.submit(&json!({"config": specification()})).await;
    let id = BuildId(1);
    let plan = Plan {
        job_name: "build".to_owned(),
        command: "make".to_owned(),
        atoms: vec!["export TEMPLATE=\"ann-hill\";".to_owned()],
        ..Plan::default()
    };
    let plan = Box::new(plan);
    farm.tell(Command::ReportPrepared { build: id, plan }).await;
    let path = format!("{BUILDS}1");
    assert_eq!(farm.get(&path).await["dockerfile"], Value::Null);
    farm.connect(1).await;
    let recipe = farm.get(&path).await["dockerfile"].take();
    let recipe = recipe.as_str().unwrap();
    assert!(
        recipe.starts_with("\nFROM busybox:1\n\nENV LC_ALL"),
        "{recipe}"
    );
    assert!(
        recipe.ends_with("\nENV A b\nWORKDIR /code\n\nRUN make\nRUN make test\nCOPY build /code"),
        "{recipe}"
    );
}

#[tokio::test]
async fn the_code_is_the_newest_or_elsewhere() {
    let (farm, ann) = farm().await;
    let by = Actor::User(ann);
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let project = ProjectId(1);
    let command = ProjectCommand::CommitCode {
        project,
        commit: commit.to_owned(),
    };
    farm.tell(Command::Project { by, command }).await;
    farm.submit(&json!({"config": specification()})).await;
    let own = ProjectSource::Own {
        project,
        commit: Some(commit.to_owned()),
    };
    assert_eq!(farm.request_of(1).await.project, own);
    let mut other = specification();
    other["build"]["ref"] = json!("master");
    farm.submit(&json!({"config": other})).await;
    assert_eq!(farm.request_of(2).await.project, own);
    for wrong in ["branch", "../x", "ffff"] {
        other["build"]["ref"] = json!(wrong);
        let body = json!({"config": other}).to_string();
        farm.refused(&body, 400, "There is no commit").await;
    }
    let change = ProjectChange {
        git_url: Some("https://host/x.git".to_owned()),
        ..ProjectChange::default()
    };
    let command = ProjectCommand::Change {
        project,
        change: Box::new(change),
        merge: Merge::Replace,
    };
    farm.tell(Command::Project { by, command }).await;
    other["build"]["ref"] = json!("branch");
    other["build"]["commit"] = json!("ABCDEF");
    farm.submit(&json!({"config": other})).await;
    let git = ProjectSource::Git {
        url: "https://host/x.git".to_owned(),
        remote: None,
        branch: Some("branch".to_owned()),
        hash: Some("abcdef".to_owned()),
        project_directory: None,
    };
    assert_eq!(farm.request_of(3).await.project, git);
    for (part, wrong) in [("commit", "master"), ("ref", "-x"), ("ref", "a b")] {
        let mut other = specification();
        other["build"][part] = json!(wrong);
        farm.refused(&json!({"config": other}).to_string(), 400, part)
            .await;
    }
    // An upload would be for nobody.
    let upload = upload("ann", "boundary", "--boundary--\r\n");
    let answer = farm.send(upload).await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[tokio::test]
async fn what_is_no_specification_changes_nothing() {
    let (farm, ann) = farm().await;
    farm.refused("{}", 400, r#"{"config":["This field is required."]}"#)
        .await;
    farm.refused(
        r#"{"config": null, "content": null}"#,
        400,
        "This field is required.",
    )
    .await;
    farm.refused(
        r#"{"config": "x"}"#,
        400,
        r#"{"config":["It must be an object"#,
    )
    .await;
    farm.refused(
        r#"{"content": {}}"#,
        400,
        r#"{"content":["Not a valid string."]}"#,
    )
    .await;
    farm.refused(
        r#"{"content": "- x"}"#,
        400,
        r#"{"content":["It must be an object"#,
    )
    .await;
    farm.refused(
        r#"{"content": "a: ["}"#,
        400,
        r#"{"content":["It is neither"#,
    )
    .await;
    for (field, value) in [
        ("tags", json!("x")),
        ("tags", json!([1])),
        ("name", json!(["x"])),
        ("description", json!(7)),
    ] {
        let mut body = json!({"config": specification()});
        body[field] = value;
        farm.refused(&body.to_string(), 400, &format!(r#"{{"{field}":["#))
            .await;
    }
    let mut wrong = json!({"config": specification()});
    wrong["name"] = json!("no name!");
    farm.refused(&wrong.to_string(), 400, r#"{"name":["#).await;
    let deep = format!(r#"{{"config": {}1{}}}"#, "[".repeat(100), "]".repeat(100));
    farm.refused(&deep, 400, "nested too deeply").await;
    let deeper = format!(r#"{{"config": {}"#, "[".repeat(100_000));
    farm.refused(&deeper, 400, "JSON parse error").await;
    let large = json!({"content": "x".repeat(3 << 20)}).to_string();
    farm.refused(&large, 413, "detail").await;
    let long = json!({"content": "x".repeat(3 << 19)}).to_string();
    farm.refused(&long, 400, "1048576 are taken").await;
    // Who may not.
    farm.project(ann, "secret", false).await;
    let body = json!({"config": specification()}).to_string();
    for (token, path, status) in [
        ("bob", "/api/v1/ann/secret/builds", 403),
        ("bob", "/api/v1/ann/hill/builds", 403),
        ("ann", "/api/v1/ann/nothing/builds", 404),
        ("nobody", "/api/v1/ann/hill/builds", 401),
    ] {
        assert_eq!(
            farm.call(token, "POST", path, &body).await.status,
            status,
            "{token} {path}"
        );
    }
    assert_eq!(farm.num_builds().await, 0);
}

fn upload(token: &str, boundary: &str, body: impl Into<Body>) -> Request {
    Request::builder()
        .method("PUT")
        .uri("/api/v1/ann/hill/repo/upload/")
        .header("Authorization", format!("token {token}"))
        .header(
            "Content-Type",
            format!("multipart/form-data; boundary={boundary}"),
        )
        .body(body.into())
        .unwrap()
}

fn part(name: &str, content: &str) -> String {
    format!(
        "--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"x\"\r\n\r\n{content}\r\n"
    )
}

#[tokio::test]
async fn an_upload_that_is_none_changes_nothing() {
    let (farm, _) = farm().await;
    let check = async |body: String, status: u16, expected: &str| {
        let answer = farm.send(upload("ann", "b", body)).await;
        let said = answer.body.to_string();
        assert!(
            answer.status == status && said.contains(expected),
            "{answer:?}"
        );
    };
    check(
        "--b--\r\n".to_owned(),
        400,
        r#"{"repo":["No file was submitted."#,
    )
    .await;
    check(
        part("json", "{}") + "--b--\r\n",
        400,
        "No file was submitted.",
    )
    .await;
    check(
        part("json", "{") + "--b--\r\n",
        400,
        r#"{"json":["This is no JSON"#,
    )
    .await;
    check(
        part("json", "[]") + "--b--\r\n",
        400,
        r#"{"json":["This must be an object"#,
    )
    .await;
    check(
        part("json", r#"{"async": 7}"#) + "--b--\r\n",
        400,
        "must be true or false",
    )
    .await;
    check(
        part("json", &"x".repeat(70_000)) + "--b--\r\n",
        413,
        "more than 65536 bytes",
    )
    .await;
    check(
        part("repo", "x") + &part("repo", "y") + "--b--\r\n",
        400,
        "there twice",
    )
    .await;
    check(
        part("repo", &"x".repeat(2 << 20)) + "--b--\r\n",
        413,
        "max_code_upload_bytes",
    )
    .await;
    check(
        part("other", "x").repeat(20) + "--b--\r\n",
        400,
        "more than 16 parts",
    )
    .await;
    check(part("repo", "x"), 400, "Multipart form parse error").await;
    check("no parts".to_owned(), 400, "Multipart form parse error").await;
    check(String::new(), 400, "Multipart form parse error").await;
    let answer = farm
        .call("ann", "PUT", "/api/v1/ann/hill/repo/upload", "{}")
        .await;
    assert!(
        answer
            .body
            .to_string()
            .contains("Multipart form parse error"),
        "{answer:?}"
    );
    for (token, status) in [("bob", 403), ("nobody", 401)] {
        assert_eq!(
            farm.send(upload(token, "b", "--b--\r\n")).await.status,
            status
        );
    }
    let code = farm.cluster.read(|cluster| {
        let project = cluster.project(ProjectId(1));
        project.and_then(|project| project.code.clone())
    });
    assert_eq!(code.await.unwrap(), None);
    // There is nothing to give, either.
    for path in [
        "/api/v1/ann/hill/repo/download",
        "/api/v1/ann/hill/repo/download/?commit=abcd",
    ] {
        assert_eq!(
            farm.call("bob", "GET", path, "").await.status,
            404,
            "{path}"
        );
    }
}
