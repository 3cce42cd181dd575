//! Templates, preloading and health.

use super::farm::{Farm, KEY, NAME, REPOSITORY, bare, error, take_time};
use clusterrunner_common::templates::TemplateDescription;
use serde_json::json;

#[tokio::test]
async fn a_template_is_what_a_build_has_left() {
    let farm = Farm::start().with_template().await;
    let mut template = farm.get(&format!("/templates/{NAME}")).await;
    let created = take_time(&mut template, "time-created");
    assert_eq!(take_time(&mut template, "time-modified"), created);
    let expected = json!({
        "name": NAME,
        "image-name": NAME,
        "image-source": format!("farm/{NAME}"),
        "port": 8888,
        "command": [],
        "services": [],
        "time-created": null,
        "time-modified": null,
    });
    assert_eq!(template, expected);
    let list = farm.get("/templates/").await;
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["name"], NAME);
}

#[tokio::test]
async fn a_rebuild_keeps_when_the_template_was_created() {
    let farm = Farm::start().with_template().await;
    let path = format!("/templates/{NAME}");
    let first = farm.get(&path).await;
    let body = json!({"repository": REPOSITORY}).to_string();
    farm.call(KEY, "POST", "/builds", &body).await;
    farm.prepare(2, &"f".repeat(40)).await;
    farm.set_up(1, 2).await;
    farm.finish(1, 2, 7).await;
    farm.register(2, None).await;
    assert_eq!(
        farm.get(&path).await,
        first,
        "a failed build changes nothing"
    );
    farm.call(KEY, "POST", "/builds", &body).await;
    farm.prepare(3, &"f".repeat(40)).await;
    farm.set_up(1, 3).await;
    farm.finish(1, 3, 0).await;
    let description = TemplateDescription {
        port: Some(5000),
        command: vec!["/run".to_owned(), "it".to_owned()],
        ..bare()
    };
    farm.register(3, Some(description)).await;
    let second = farm.get(&path).await;
    assert_eq!(second["time-created"], first["time-created"]);
    assert!(second["time-modified"].as_str() >= first["time-modified"].as_str());
    assert_eq!(second["port"], 5000);
    assert_eq!(second["command"], json!(["/run", "it"]));
}

#[tokio::test]
async fn slaves_fetch_a_template_before_it_is_launched() {
    let farm = Farm::start().with_template().await;
    let path = format!("/preload/{NAME}");
    assert_eq!(farm.get(&path).await, json!({}));
    let begun = (200, json!({"template": NAME}));
    farm.check(KEY, ("POST", &path, ""), begun).await;
    let mut state = farm.get(&path).await;
    take_time(&mut state, "start-time");
    let expected = json!({"name": NAME, "start-time": null, "status": "loading"});
    assert_eq!(state, expected);
    let digest = format!("{:064}", 1);
    farm.report(1, &[], &[&digest]).await;
    let state = farm.get(&path).await;
    assert_eq!(state["status"], "completed", "{state}");
    let unknown = error(
        "registryError",
        "Could not fetch template with name other from registry",
    );
    farm.check(KEY, ("POST", "/preload/other", ""), (500, unknown))
        .await;
    assert_eq!(farm.get("/preload/other").await, json!({}));
}

#[tokio::test]
async fn health_has_the_master_and_each_slave() {
    let farm = Farm::start();
    farm.connect(1).await;
    farm.connect(2).await;
    farm.tell(clusterrunner_core::command::Command::GiveSlaveUp {
        slave: clusterrunner_common::ids::SlaveId(2),
        reason: "silent".to_owned(),
    })
    .await;
    let mut parts = farm.get("/health/").await;
    let parts = parts.as_array_mut().unwrap();
    for part in parts.iter_mut() {
        take_time(part, "timestamp");
    }
    let part =
        |name: &str, status: &str| json!({"name": name, "timestamp": null, "status": status});
    let expected = [
        part("master", "running"),
        part("slave slave:1", "running"),
        part("slave slave:2", "down"),
    ];
    assert_eq!(*parts, expected);
}
