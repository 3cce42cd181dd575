//! Builds of private projects: this API names builds alone, and tells nobody of them who may not read the project.

use super::{BUILD, Master};
use clusterrunner_common::ids::ProjectId;
use clusterrunner_core::accounts::command::ProjectCommand;
use clusterrunner_core::accounts::projects::ProjectChange;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::builds::details::Merge;
use clusterrunner_core::command::Command;
use serde_json::json;

impl Master {
    pub(super) async fn publish(&self, is_public: bool) {
        let change = Box::new(ProjectChange {
            is_public: Some(is_public),
            ..ProjectChange::default()
        });
        let command = ProjectCommand::Change {
            project: ProjectId(1),
            change,
            merge: Merge::Replace,
        };
        let by = Actor::SecretHolder;
        let command = Command::Project { by, command };
        self.cluster.command(command).await.unwrap();
    }

    async fn ids_in(&self, path: &str, list: &str) -> Vec<u64> {
        let (_, body) = self.get(path).await;
        let builds = body[list].as_array().unwrap().iter();
        builds.map(|build| build["id"].as_u64().unwrap()).collect()
    }
}

#[tokio::test]
async fn a_build_of_a_private_project_is_none_for_strangers() {
    let master = Master::start();
    master.documented("POST", "/v1/build", BUILD).await;
    let other = r#"{"type": "git", "url": "https://example.org/other.git"}"#;
    master.documented("POST", "/v1/build", other).await;
    assert_eq!(master.get("/v1/build/1").await.0, 200);
    master.publish(false).await;
    for path in [
        "/v1/build/1",
        "/v1/build/%31",
        "/v1/build/01/",
        "/v1/build/+1",
        "/v1//build/1",
        "/build/1/subjob",
        "/v2/builds/1/subjobs",
        "/v2/builds/1/atoms",
        "/v2/builds/1/steps",
        "/v2/builds/1/steps/0/console",
        "/v1/build/1/subjob/0",
        "/v1/build/1/subjob/0/atom/0/console",
        "/v1/build/1/subjob/0/atom/0/artifacts",
        "/v2/builds/1/subjobs/0/atoms/0/artifacts/report",
        "/v1/build/1/setup",
        "/v1/build/1/artifacts.zip",
        "/v1/build/1/result",
    ] {
        let (status, answer) = master.get(path).await;
        assert!([401, 404].contains(&status), "{path}: {answer}");
    }
    for (path, list) in [("/v1/build", "builds"), ("/v1/queue", "queue")] {
        assert_eq!(master.ids_in(path, list).await, [2], "{path}");
    }
    // Whoever has the secret goes on as before.
    let cancel = json!({"status": "canceled"});
    let (status, _) = master.signed("PUT", "/v1/build/1", &cancel).await;
    assert_eq!(status, 200);
    master.publish(true).await;
    assert_eq!(master.get("/v1/build/1").await.0, 200);
    assert_eq!(master.ids_in("/v1/build", "builds").await, [1, 2]);
}

#[tokio::test]
async fn who_may_not_read_a_private_project_hears_of_no_receivers_builds() {
    let master = Master::start();
    master.documented("POST", "/v1/build", BUILD).await;
    let told = async || {
        let (_, of_all) = master.get("/v2/receivers").await;
        let (_, of_secret) = master.read_with_secret("/v2/receivers").await;
        [of_all, of_secret].map(|body| {
            let receiver = &body["receivers"][0];
            assert_eq!(receiver["name"], "chat", "{body}");
            let text = body.to_string();
            (
                text.contains("secret-plans"),
                !receiver["last_sent"].is_null(),
            )
        })
    };
    assert_eq!(told().await, [(true, true), (true, true)]);
    master.publish(false).await;
    assert_eq!(told().await, [(false, false), (true, true)]);
}
