//! Applications: how they are launched, and how they go on.

use super::farm::{Farm, KEY, NAME, error};
use clusterrunner_common::work::ReportedState;
use serde_json::{Value, json};

impl Farm {
    /// Launches without a key, and gives the id.
    async fn launched(&self, path: &str, body: &str) -> String {
        let answer = self.call("", "POST", path, body).await;
        assert_eq!(answer.status, 200, "{path} {body}: {answer:?}");
        let object = answer.body.as_object().unwrap();
        assert_eq!(object.len(), 1, "{object:?}");
        let id = object["id"].as_str().unwrap();
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        assert!(id.len() == 32 && id.bytes().all(is_digit), "{id}");
        id.to_owned()
    }

    async fn has(&self, id: &str, status: &str, is_located: bool) {
        let expected = record(id, status, is_located);
        let path = format!("/applications/{NAME}/{id}");
        self.check("", ("GET", &path, ""), (200, expected)).await;
    }
}

fn record(id: &str, status: &str, is_located: bool) -> Value {
    let location = is_located.then(|| format!("farm:43000/user/{id}"));
    json!({"id": id, "template-name": NAME, "location": location, "status": status})
}

fn up() -> ReportedState {
    ReportedState::Up {
        port: 9000,
        keeps_prefix: false,
    }
}

#[tokio::test]
async fn both_forms_of_a_launch_are_taken() {
    let farm = Farm::start().with_template().await;
    let of_path = format!("/applications/{NAME}");
    let named = json!({"template-name": NAME}).to_string();
    let mut ids = Vec::new();
    for (path, body) in [
        (&*of_path, ""),
        (&format!("{of_path}/"), "{}"),
        (&of_path, r#"{"template-name": "other"}"#),
        ("/applications/", &named),
        ("/applications", &named),
    ] {
        ids.push(farm.launched(path, body).await);
    }
    let waits = farm
        .launched(&of_path, r#"{"cull-timeout": "60000"}"#)
        .await;
    let culls = farm.cluster.read(move |cluster| {
        let instances = cluster.instances();
        let culls = instances.map(|instance| instance.cull_after_ms);
        culls.collect::<Vec<_>>()
    });
    let mut expected = vec![Some(3_600_000); 5];
    expected.push(Some(60_000));
    assert_eq!(culls.await.unwrap(), expected);
    ids.push(waits);
    let different: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(different.len(), 6);
}

#[tokio::test]
async fn an_application_goes_through_its_states() {
    let farm = Farm::start().with_template().await;
    let path = format!("/applications/{NAME}");
    let id = farm.launched(&path, "").await;
    farm.has(&id, "deploying", false).await;
    farm.report(1, &[(1, ReportedState::Starting)], &[]).await;
    farm.has(&id, "deploying", false).await;
    farm.report(1, &[(1, up())], &[]).await;
    farm.has(&id, "deployed", true).await;
    let reason = "exit code 1".to_owned();
    farm.report(1, &[(1, ReportedState::Crashed { reason })], &[])
        .await;
    farm.has(&id, "deploying", true).await;
    let stopped = (200, record(&id, "deleted", true));
    let one = format!("{path}/{id}");
    farm.check(KEY, ("DELETE", &one, ""), stopped.clone()).await;
    farm.check(KEY, ("DELETE", &one, ""), stopped).await;
    farm.has(&id, "deleted", true).await;

    let id = farm.launched(&path, "").await;
    let reason = "no such program".to_owned();
    farm.report(1, &[(2, ReportedState::Failed { reason })], &[])
        .await;
    farm.has(&id, "failed", false).await;
}

#[tokio::test]
async fn a_launch_waits_where_all_slots_are_taken() {
    let farm = Farm::start().with_template().await;
    let path = format!("/applications/{NAME}");
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(farm.launched(&path, "").await);
    }
    let states = [
        "deploying",
        "deploying",
        "deploying",
        "deploying",
        "pending",
    ];
    let expected: Vec<Value> = ids
        .iter()
        .zip(states)
        .map(|(id, status)| record(id, status, false))
        .collect();
    assert_eq!(farm.get(&path).await, json!(expected));
    assert_eq!(farm.get("/applications/").await, json!(expected));
    assert_eq!(farm.get("/applications/other").await, json!([]));
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_words_of_the_api() {
    let farm = Farm::start().with_template().await;
    let unknown = error(
        "registryError",
        "Could not fetch template with name other from registry",
    );
    let named = r#"{"template-name": "other"}"#;
    for (path, body) in [("/applications/other", ""), ("/applications/", named)] {
        farm.check("", ("POST", path, body), (500, unknown.clone()))
            .await;
    }
    let id = farm.launched(&format!("/applications/{NAME}"), "").await;
    let no_record = error(
        "noRecord",
        "There is no record for that template/ID combination",
    );
    let nobody = "0".repeat(32);
    for path in [
        format!("/applications/{NAME}/{nobody}"),
        format!("/applications/other/{id}"),
        format!("/applications/{NAME}/x"),
    ] {
        farm.check("", ("GET", &path, ""), (500, no_record.clone()))
            .await;
        farm.check(KEY, ("DELETE", &path, ""), (500, no_record.clone()))
            .await;
    }
}

#[tokio::test]
async fn a_user_sees_and_stops_only_what_the_user_launched() {
    let farm = Farm::start().with_template().await;
    farm.user("ann").await;
    farm.user("bob").await;
    let path = format!("/applications/{NAME}");
    let answer = farm.call("Bearer ann", "POST", &path, "").await;
    let id = answer.body["id"].as_str().unwrap().to_owned();
    let one = format!("{path}/{id}");
    let of_ann = farm.call("ann", "GET", &path, "").await;
    assert_eq!(of_ann.body, json!([record(&id, "deploying", false)]));
    let of_bob = farm.call("token bob", "GET", "/applications/", "").await;
    assert_eq!(of_bob.body, json!([]));
    farm.check("bob", ("DELETE", &one, ""), (403, json!("Forbidden")))
        .await;
    let deleted = (200, record(&id, "deleted", false));
    farm.check("ann", ("DELETE", &one, ""), deleted).await;
}
