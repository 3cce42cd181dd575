//! Projects: the shapes of the specification, what is refused, and who may do what.

use super::farm::{Farm, take_time, take_uuid};
use serde_json::{Value, json};

/// A farm with the users root (who may do everything), adam and eve.
async fn farm() -> Farm {
    let farm = Farm::with_root().await;
    farm.user("adam", false).await;
    farm.user("eve", false).await;
    farm
}

async fn made(farm: &Farm, token: &str, body: &Value) -> Value {
    let answer = farm
        .call(token, "POST", "/api/v1/projects/", &body.to_string())
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body
}

fn forbidden() -> (u16, Value) {
    let detail = "You do not have permission to perform this action.";
    (403, json!({"detail": detail}))
}

fn not_found() -> (u16, Value) {
    (404, json!({"detail": "Not found."}))
}

#[tokio::test]
async fn a_project_is_made_and_shown() {
    let farm = farm().await;
    let body = json!({"name": "mnist", "description": null, "tags": null, "is_public": null, "unknown": 7});
    let mut project = made(&farm, "adam", &body).await;
    let shown = farm.call("adam", "GET", "/api/v1/adam/mnist/", "").await;
    assert_eq!((shown.status, &shown.body), (200, &project));
    let created = take_time(&mut project, "created_at");
    assert_eq!(take_time(&mut project, "updated_at"), created);
    take_uuid(&mut project);
    let expected = json!({
        "id": 1, "uuid": null, "user": "adam", "name": "mnist", "unique_name": "adam.mnist",
        "description": null, "tags": null, "created_at": null, "updated_at": null, "is_public": true,
        "bookmarked": false, "has_code": false, "has_tensorboard": false, "has_notebook": false,
        "num_experiment_groups": 0, "num_independent_experiments": 0, "num_experiments": 0,
        "num_jobs": 0, "num_builds": 0,
    });
    assert_eq!(project, expected);
    let body = json!({
        "name": "hill_2", "description": "high", "tags": ["a", "b", "a"], "is_public": false,
        "git_url": "https://user:word@host/hill.git",
    });
    let project = made(&farm, "adam", &body).await;
    assert_eq!(project["description"], "high");
    assert_eq!(project["tags"], json!(["a", "b"]));
    assert_eq!(project["is_public"], false);
    assert_eq!(project["has_code"], true);
    assert_eq!(project["git_url"], "https://host/hill.git");
}

#[tokio::test]
async fn a_project_is_changed() {
    let farm = farm().await;
    made(&farm, "adam", &json!({"name": "mnist", "tags": ["a"]})).await;
    let path = "/api/v1/adam/mnist";
    let change = async |method: &str, body: Value| {
        let answer = farm.call("adam", method, path, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    };
    let project = change("PATCH", json!({"tags": ["b", "a"], "merge": true})).await;
    assert_eq!(project["tags"], json!(["a", "b"]));
    let project = change(
        "PUT",
        json!({"tags": ["c"], "description": "new", "id": 99}),
    )
    .await;
    assert_eq!(
        (&project["tags"], &project["id"]),
        (&json!(["c"]), &json!(1))
    );
    assert_eq!(project["description"], "new");
    assert!(project["updated_at"].as_str() >= project["created_at"].as_str());
    let same = change("PATCH", json!({"description": null, "name": null})).await;
    assert_eq!(same, project);
    let project = change("PATCH", json!({"name": "digits", "is_public": false})).await;
    assert_eq!(project["unique_name"], "adam.digits");
    farm.check("adam", ("GET", path, ""), not_found()).await;
    let answer = farm.call("adam", "GET", "/api/v1/adam/digits", "").await;
    assert_eq!(answer.body["is_public"], false);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_changes_nothing() {
    let farm = farm().await;
    made(&farm, "adam", &json!({"name": "mnist"})).await;
    made(&farm, "adam", &json!({"name": "hill"})).await;
    let before = farm.call("adam", "GET", "/api/v1/adam", "").await.body;
    let (long, tag) = ("x".repeat(257), "x".repeat(101));
    let text = "x".repeat(10_001);
    let many: Vec<String> = (0..101).map(|number| number.to_string()).collect();
    let name = "Enter a valid name consisting of letters, numbers, underscores or hyphens.";
    for (body, field, sentence) in [
        (json!({"name": 7}), "name", "Not a valid string."),
        (json!({"name": ""}), "name", name),
        (json!({"name": "a b"}), "name", name),
        (json!({"name": "a/b"}), "name", name),
        (json!({"name": "ä"}), "name", name),
        (
            json!({"name": long}),
            "name",
            "Ensure this field has no more than 256 characters.",
        ),
        (
            json!({"name": "hill"}),
            "name",
            "The fields user, name must make a unique set.",
        ),
        (
            json!({"description": ["x"]}),
            "description",
            "Not a valid string.",
        ),
        (
            json!({"description": text}),
            "description",
            "Ensure this field has no more than 10000 characters.",
        ),
        (
            json!({"tags": "a"}),
            "tags",
            "Expected a list of items but got type \"str\".",
        ),
        (
            json!({"tags": {"a": 1}}),
            "tags",
            "Expected a list of items but got type \"dict\".",
        ),
        (json!({"tags": ["a", 7]}), "tags", "Not a valid string."),
        (
            json!({"tags": [" "]}),
            "tags",
            "This field may not be blank.",
        ),
        (
            json!({"tags": [tag]}),
            "tags",
            "Ensure this field has no more than 100 characters.",
        ),
        (
            json!({"tags": many}),
            "tags",
            "Ensure this field has no more than 100 elements.",
        ),
        (
            json!({"is_public": "maybe"}),
            "is_public",
            "Must be a valid boolean.",
        ),
        (
            json!({"is_public": [true]}),
            "is_public",
            "Must be a valid boolean.",
        ),
    ] {
        let expected = (400, json!({field: [sentence]}));
        let patch = ("PATCH", "/api/v1/adam/mnist", &*body.to_string());
        farm.check("adam", patch, expected.clone()).await;
        let mut body = body;
        if body.get("name").is_none() {
            body["name"] = json!("new");
        }
        let post = ("POST", "/api/v1/projects", &*body.to_string());
        farm.check("adam", post, expected).await;
    }
    let patch = async |body: &Value| {
        let body = body.to_string();
        farm.call("adam", "PATCH", "/api/v1/adam/mnist", &body)
            .await
    };
    let answer = patch(&json!({"merge": 7})).await;
    assert_eq!(answer.body, json!({"merge": ["Must be a valid boolean."]}));
    for url in ["/etc", "file:///etc", "ext::sh -c x", "no url"] {
        let answer = patch(&json!({"git_url": url})).await;
        assert_eq!(answer.status, 400, "{url}: {answer:?}");
        assert!(answer.body["git_url"][0].is_string(), "{answer:?}");
    }
    let post = ("POST", "/api/v1/projects", "{}");
    let required = json!({"name": ["This field is required."]});
    farm.check("adam", post, (400, required)).await;
    let after = farm.call("adam", "GET", "/api/v1/adam", "").await.body;
    assert_eq!(after, before);
}

#[tokio::test]
async fn others_see_public_projects_only() {
    let farm = farm().await;
    for (name, is_public) in [("open", true), ("hidden", false)] {
        let body = json!({"name": name, "is_public": is_public});
        made(&farm, "adam", &body).await;
    }
    let names = async |token: &str| {
        let list = farm.call(token, "GET", "/api/v1/adam/", "").await.body;
        let results = list["results"].as_array().unwrap().clone();
        assert_eq!(list["count"], results.len());
        let mut names: Vec<String> = results
            .iter()
            .map(|project| project["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("eve").await, ["open"]);
    assert_eq!(names("adam").await, ["hidden", "open"]);
    assert_eq!(names("root").await, ["hidden", "open"]);
    for path in ["", "/bookmark", "/collaborators"] {
        let method = if path == "/bookmark" { "POST" } else { "GET" };
        let path = format!("/api/v1/adam/hidden{path}");
        farm.check("eve", (method, &path, ""), forbidden()).await;
    }
    for path in ["/api/v1/adam/hidden", "/api/v1/adam/open"] {
        for (method, body) in [("PATCH", r#"{"name": "mine"}"#), ("DELETE", "")] {
            farm.check("eve", (method, path, body), forbidden()).await;
        }
    }
    farm.check("eve", ("GET", "/api/v1/nobody", ""), not_found())
        .await;

    // A collaborator does all but delete and share.
    let share = "/api/v1/adam/hidden/collaborators/eve";
    farm.check("eve", ("PUT", share, ""), forbidden()).await;
    farm.check("adam", ("PUT", share, ""), (204, json!("")))
        .await;
    let list = farm.call("eve", "GET", "/api/v1/adam/hidden/collaborators", "");
    assert_eq!(list.await.body["results"], json!([{"username": "eve"}]));
    assert_eq!(names("eve").await, ["hidden", "open"]);
    let body = r#"{"description": "ours"}"#;
    let answer = farm.call("eve", "PATCH", "/api/v1/adam/hidden", body).await;
    assert_eq!(answer.body["description"], "ours");
    let delete = ("DELETE", "/api/v1/adam/hidden", "");
    farm.check("eve", delete, forbidden()).await;
    farm.check("adam", ("DELETE", share, ""), (204, json!("")))
        .await;
    let unknown = ("PUT", "/api/v1/adam/hidden/collaborators/nobody", "");
    farm.check("adam", unknown, not_found()).await;
    assert_eq!(names("eve").await, ["open"]);
}

#[tokio::test]
async fn a_project_is_deleted_with_its_builds() {
    let farm = farm().await;
    let build = farm.queue("mnist").await;
    let path = "/api/v1/clusterrunner/mnist";
    let of_build = format!("{path}/builds/{build}");
    assert_eq!(farm.get(path).await["num_builds"], 1);
    farm.check("adam", ("DELETE", path, ""), forbidden()).await;
    farm.check("root", ("DELETE", path, ""), (204, json!("")))
        .await;
    for path in [path, &of_build] {
        farm.check("root", ("GET", path, ""), not_found()).await;
    }
    let next = farm.queue("mnist").await;
    let project = farm.get(path).await;
    assert_eq!(
        (&project["num_builds"], &project["id"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(next, build + 1);
}

#[tokio::test]
async fn a_build_is_described_wherever_it_is() {
    let farm = farm().await;
    farm.connect(1).await;
    let build = farm.build("mnist").await;
    let other = farm.queue("mnist").await;
    let path = format!("/api/v1/clusterrunner/mnist/builds/{build}");
    let change = async |method: &str, body: Value| {
        let answer = farm.call("root", method, &path, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    };
    let body = json!({"name": "first", "description": "a build", "tags": ["a", "a"], "user": "x"});
    let mut described = change("PATCH", body).await;
    assert_eq!(described, farm.get(&path).await);
    assert_eq!(
        (
            &described["name"],
            &described["description"],
            &described["tags"]
        ),
        (&json!("first"), &json!("a build"), &json!(["a"]))
    );
    assert_eq!(described["user"], "clusterrunner");
    let before = take_time(&mut described, "updated_at");
    farm.set_up(1, build).await;
    farm.finish(1, build, 0).await;
    farm.archive(1, build).await;
    let body = json!({"tags": ["b"], "merge": true, "description": null});
    let mut described = change("PUT", body).await;
    assert_eq!(described["tags"], json!(["a", "b"]));
    assert_eq!(described["description"], "a build");
    assert!(take_time(&mut described, "updated_at") >= before);

    let taken = "The fields project, name must make a unique set.";
    let other = format!("/api/v1/clusterrunner/mnist/builds/{other}");
    let patch = ("PATCH", &*other, r#"{"name": "first"}"#);
    farm.check("root", patch, (400, json!({"name": [taken]})))
        .await;
    farm.check("adam", patch, forbidden()).await;
    farm.check("adam", ("DELETE", &path, ""), forbidden()).await;
    farm.check("root", ("DELETE", &path, ""), (204, json!("")))
        .await;
    for (method, body) in [("GET", ""), ("DELETE", ""), ("PATCH", "{}")] {
        farm.check("root", (method, &path, body), not_found()).await;
    }
    let answer = farm.call("root", "PATCH", &other, r#"{"name": "first"}"#);
    assert_eq!(answer.await.body["name"], "first");
    let list = farm.get("/api/v1/clusterrunner/mnist/builds").await;
    assert_eq!(list["count"], 1);
}
