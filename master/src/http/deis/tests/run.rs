//! Single commands, and the log of an app.

use super::farm::{Farm, nothing};
use axum::body::Body;
use clusterrunner_common::work::ReportedState;
use serde_json::{Value, json};

impl Farm {
    async fn with_build() -> Self {
        let farm = Self::with_slave(&[]).await;
        farm.register("ann").await;
        farm.post("ann", "/v1/apps", r#"{"id": "hill"}"#).await;
        let build = r#"{"image": "registry/hill"}"#;
        let built = farm.post("ann", "/v1/apps/hill/builds", build).await;
        assert_eq!(built.status, 201, "{built:?}");
        farm
    }
}

#[tokio::test]
async fn a_command_is_answered_in_two_forms() {
    let farm = Farm::with_build().await;
    let printed = "hi \"you\"\n\u{1b}[0m é\u{0}";
    farm.conduct.of_runs(printed, 137);
    let body = r#"{"command": "echo hi"}"#;
    let object = farm.post("ann", "/v1/apps/hill/run/", body).await;
    assert_eq!(object.status, 200, "{object:?}");
    assert_eq!(object.body, json!({"rc": 137, "output": printed}));
    assert_eq!(object.header("content-type"), "application/json");
    let request = farm.request("ann", "POST", "/v1/apps/hill/run");
    let request = request.header("X-Deis-Version", "1.0");
    let list = farm.send(request.body(Body::from(body)).unwrap()).await;
    assert_eq!(list.body, json!([137, printed]));
    assert_eq!(list.header("content-type"), "text/plain");
    // They are gone.
    assert_eq!(
        farm.get("ann", "/v1/apps/hill/containers/run").await["count"],
        0
    );
    assert_eq!(
        farm.get("ann", "/v1/apps/hill/containers").await["count"],
        1
    );
}

#[tokio::test]
async fn a_command_is_told_of_as_it_goes_on() {
    let farm = Farm::with_build().await;
    farm.conduct.of_runs("hi \"you\"\n", 137);
    let body = r#"{"command": "echo hi", "stream": true}"#;
    let lines = farm.post("ann", "/v1/apps/hill/run/", body).await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let expected = "{\"output\":\"hi \\\"you\\\"\\n\"}\n{\"rc\":137}\n";
    assert_eq!((lines.status, lines.body), (200, json!(expected)));
    let wrong = r#"{"command": "echo hi", "stream": "loud"}"#;
    let refused = (400, json!({"stream": ["Must be true or false."]}));
    farm.check("ann", ("POST", "/v1/apps/hill/run", wrong), refused)
        .await;
}

#[tokio::test]
async fn a_command_runs_with_a_number_and_ends_when_nobody_waits() {
    let farm = Farm::with_build().await;
    farm.conduct.runs_never_end();
    let running = async |number: usize| {
        loop {
            let runs = farm.get("ann", "/v1/apps/hill/containers/run").await;
            if runs["count"] == number {
                return runs["results"][0].clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let waits = farm.post("ann", "/v1/apps/hill/run", r#"{"command": "sleep 1000"}"#);
    let run = tokio::select! {
        run = running(1) => run,
        answer = waits => panic!("{answer:?}"),
    };
    assert_eq!((&run["type"], &run["num"]), (&json!("run"), &json!(1)));
    // The caller has hung up.
    assert_eq!(running(0).await, Value::Null);
    // So it is while the answer comes.
    let body = Body::from(r#"{"command": "sleep 1000", "stream": true}"#);
    let request = farm.request("ann", "POST", "/v1/apps/hill/run");
    let answer = farm.begin(request.body(body).unwrap()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(running(1).await["num"], 2);
    drop(answer);
    assert_eq!(running(0).await, Value::Null);
}

#[tokio::test]
async fn a_command_that_can_not_be_run_is_told_so() {
    let farm = Farm::with_slave(&[]).await;
    farm.register("ann").await;
    farm.post("ann", "/v1/apps", r#"{"id": "hill"}"#).await;
    let no_build = "No build associated with this release to run this command";
    let body = r#"{"command": "id"}"#;
    farm.check(
        "ann",
        ("POST", "/v1/apps/hill/run", body),
        (400, json!(no_build)),
    )
    .await;
}

#[tokio::test]
async fn the_log_has_what_was_done() {
    let farm = Farm::with_build().await;
    farm.conduct.of(
        "cmd",
        3,
        ReportedState::Failed {
            reason: "no such image".to_owned(),
        },
    );
    let changed = farm.post("ann", "/v1/apps/hill/config", "{}").await;
    assert_eq!(changed.status, 201, "{changed:?}");
    let answer = farm.call("ann", "GET", "/v1/apps/hill/logs/", "").await;
    assert_eq!(answer.header("content-type"), "text/plain");
    let text = answer.body.as_str().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let said = |line: &str| {
        let (at, said) = line.split_once(' ').unwrap();
        assert!(at.ends_with("UTC"), "{line}");
        said.to_owned()
    };
    assert_eq!(said(lines[2]), "deis[api]: ann created initial release");
    let failed = "deis[api]: hill: cmd.1 (v3) can not run: no such image";
    assert!(lines.iter().any(|line| said(line) == failed), "{text}");
    assert_ne!(answer.body, nothing());
}
