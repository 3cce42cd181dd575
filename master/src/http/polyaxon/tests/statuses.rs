//! Statuses of builds: what they say, in which order, and which ones callers may post.

use super::farm::{Farm, take_time, take_uuid};
use serde_json::{Value, json};

const BUILD: &str = "/api/v1/clusterrunner/mnist/builds/1";
const STATUSES: &str = "/api/v1/clusterrunner/mnist/builds/1/statuses/";

/// The statuses of a build without what differs from run to run.
async fn statuses(farm: &Farm) -> Vec<Value> {
    let mut list = farm.get(STATUSES).await;
    let mut statuses: Vec<Value> = list["results"].as_array().unwrap().clone();
    assert_eq!(list["count"], statuses.len());
    assert_eq!(
        (list["next"].take(), list["previous"].take()),
        (Value::Null, Value::Null)
    );
    let mut times = Vec::new();
    for status in &mut statuses {
        take_uuid(status);
        times.push(take_time(status, "created_at"));
    }
    assert!(times.is_sorted(), "{times:?}");
    statuses
}

fn status(id: u64, status: &str, message: Option<&str>) -> Value {
    json!({
        "id": id, "uuid": null, "created_at": null, "message": message, "status": status, "details": null,
        "job": id / 1000,
    })
}

#[tokio::test]
async fn a_build_that_fails_says_how() {
    let farm = Farm::with_root().await;
    farm.connect(1).await;
    farm.build("mnist").await;
    farm.set_up(1, 1).await;
    farm.finish(1, 1, 3).await;
    let preparing = "The slave fetches the source and prepares the workspace.";
    let expected = [
        status(1001, "created", None),
        status(1002, "scheduled", Some("Slave slave:1 is chosen.")),
        status(1003, "building", Some(preparing)),
        status(1004, "running", Some("The build runs on slave slave:1.")),
        status(1005, "failed", Some("The build failed: exit code 3.")),
    ];
    assert_eq!(statuses(&farm).await, expected);
    farm.archive(1, 1).await;
    assert_eq!(statuses(&farm).await, expected, "it is archived");
}

#[tokio::test]
async fn one_status_is_found_by_its_uuid() {
    let farm = Farm::with_root().await;
    farm.queue("mnist").await;
    let list = farm.get(STATUSES).await;
    let created = &list["results"][0];
    let path = format!("{STATUSES}{}", created["uuid"].as_str().unwrap());
    assert_eq!(farm.get(&path).await, *created);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let detail = format!("Method \"{method}\" not allowed.");
        let expected = (405, json!({"detail": detail}));
        farm.check("root", (method, &path, "{}"), expected).await;
    }
    for uuid in ["0123456789abcdef0123456789abcdef", "x", "%FF"] {
        let request = ("GET", &*format!("{STATUSES}{uuid}"), "");
        farm.check("root", request, (404, json!({"detail": "Not found."})))
            .await;
    }
}

#[tokio::test]
async fn a_build_is_unknown_while_its_slave_is_away() {
    let farm = Farm::with_root().await;
    farm.connect(1).await;
    farm.build("mnist").await;
    farm.set_up(1, 1).await;
    farm.lose(1).await;
    assert_eq!(farm.get(BUILD).await["last_status"], "unknown");
    let lost = statuses(&farm).await.pop().unwrap();
    let said = "Slave slave:1 was lost: silent.";
    assert_eq!(lost, status(1005, "unknown", Some(said)));
    farm.connect(2).await;
    farm.set_up(2, 1).await;
    let build = farm.get(BUILD).await;
    assert_eq!(build["last_status"], "running");
    assert_eq!(build["node_scheduled"], "slave:2");
    let list = farm.get(&format!("{STATUSES}?limit=2&offset=4")).await;
    assert_eq!(list["count"], 6);
    assert_eq!(list["results"][1]["status"], "running");
    assert_eq!(
        list["previous"],
        "http://farm/api/v1/clusterrunner/mnist/builds/1/statuses?limit=2&offset=2"
    );
}

#[tokio::test]
async fn a_caller_that_runs_the_work_posts_statuses() {
    let farm = Farm::with_root().await;
    farm.queue("mnist").await;
    let body =
        r#"{"status": "running", "message": "here we go", "traceback": null, "details": {}}"#;
    let mut answer = farm.call("root", "POST", STATUSES, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    take_uuid(&mut answer.body);
    take_time(&mut answer.body, "created_at");
    assert_eq!(answer.body, status(1002, "running", Some("here we go")));
    let body = r#"{"status": "failed", "traceback": "line 7"}"#;
    let mut answer = farm.call("root", "POST", STATUSES, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    take_uuid(&mut answer.body);
    take_time(&mut answer.body, "created_at");
    let mut failed = status(1003, "failed", None);
    failed["traceback"] = json!("line 7");
    assert_eq!(answer.body, failed);
    assert_eq!(farm.get(BUILD).await["last_status"], "failed");
}

#[tokio::test]
async fn a_status_that_may_not_come_changes_nothing() {
    let farm = Farm::with_root().await;
    farm.queue("mnist").await;
    let words = "created, scheduled, building, running, succeeded, failed, stopped, unknown";
    let no_choice = format!("\"done\" is not a valid choice: choose one of {words}.");
    let long = json!({"status": "running", "message": "x".repeat(1001)}).to_string();
    let before = farm.get(STATUSES).await;
    for (body, field, sentence) in [
        ("{}", "status", "This field is required."),
        ("", "status", "This field is required."),
        (r#"{"status": null}"#, "status", "This field is required."),
        (r#"{"status": 7}"#, "status", "Not a valid string."),
        (r#"{"status": "done"}"#, "status", &no_choice),
        (
            r#"{"status": "created"}"#,
            "status",
            "The status can not become created after created.",
        ),
        (
            r#"{"status": "running", "message": ["x"]}"#,
            "message",
            "Not a valid string.",
        ),
        (
            &long,
            "message",
            "Ensure this field has no more than 1000 characters.",
        ),
        (
            "[]",
            "non_field_errors",
            "Invalid data. Expected a dictionary, but got list.",
        ),
    ] {
        let expected = (400, json!({field: [sentence]}));
        farm.check("root", ("POST", STATUSES, body), expected).await;
    }
    assert_eq!(farm.get(STATUSES).await, before);
    farm.call("root", "POST", &format!("{BUILD}/stop"), "")
        .await;
    let sentence = "The status can not become running after stopped.";
    let request = ("POST", STATUSES, r#"{"status": "running"}"#);
    farm.check("root", request, (400, json!({"status": [sentence]})))
        .await;
    farm.archive(1, 1).await;
    let sentence = "The status can not become running after its final one.";
    farm.check("root", request, (400, json!({"status": [sentence]})))
        .await;
}
