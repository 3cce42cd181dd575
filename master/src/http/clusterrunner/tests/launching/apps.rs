//! Apps as they are shown, their logs, and the output of runs, as slaves bring them.

use super::*;
use crate::read::runs::RunEnd;
use clusterrunner_common::ids::ProjectId;
use clusterrunner_core::Cluster;
use clusterrunner_core::accounts::owner::Owner;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::apps::command::{AppCommand, ConfigChange, NewAppBuild};
use futures_util::TryStreamExt as _;

const KEY: &str = "0123456789abcdef0123456789abcdef";

impl Master {
    async fn app(&self, command: AppCommand) {
        let by = Actor::SecretHolder;
        self.decide(Command::App { by, command }).await;
    }

    /// Gives an app a variable.
    async fn set(&self, project: ProjectId, key: &str, value: Value) {
        let change = Box::new(ConfigChange {
            values: [(key.to_owned(), Some(value))].into(),
            ..ConfigChange::default()
        });
        self.app(AppCommand::Configure { project, change }).await;
    }

    /// An app that runs one process of a template on the slave, which says so with report 3; returns its project.
    async fn app_with_a_process(&self) -> ProjectId {
        self.usual_template().await;
        self.report(1, json!([])).await;
        let id = "shop".to_owned();
        self.app(AppCommand::Create { id }).await;
        let look = |cluster: &Cluster| cluster.app_of_id("shop").unwrap().project;
        let project = self.cluster.read(look).await.unwrap();
        let build = Box::new(NewAppBuild {
            image: "hill-web".to_owned(),
            ..NewAppBuild::default()
        });
        self.app(AppCommand::Build { project, build }).await;
        self.report(3, json!([up(1, 1)])).await;
        project
    }

    /// The log of the app: what each line is from, and its text.
    async fn app_log(&self, query: &str) -> Vec<(Option<String>, String)> {
        let (status, body) = self
            .signed_read(&format!("/v2/app_logs/shop?{query}"))
            .await;
        assert_eq!(status, 200, "{body}");
        let lines = body["lines"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let lines = lines.map(|line| (text(&line["process"]), text(&line["text"]).unwrap()));
        lines.collect()
    }
}

fn piece(instance: u64, offset: usize, text: &str) -> Value {
    json!({
        "id": instance, "generation": 1, "offset": offset, "text": text, "length": text.len(),
    })
}

#[tokio::test]
async fn the_log_of_an_app_has_what_happens_and_what_its_processes_print() {
    let master = farm().await;
    let project = master.app_with_a_process().await;
    let pieces = json!([piece(1, 0, "one\ntw")]);
    assert_eq!(master.bring(pieces.clone()).await, json!([6]));
    assert_eq!(master.bring(pieces).await, json!([6]));
    let domain = "shop.example.org".to_owned();
    master.app(AppCommand::AddDomain { project, domain }).await;
    assert_eq!(master.bring(json!([piece(1, 6, "o\n")])).await, json!([8]));
    let log = master.app_log("last=100").await;
    let of_master: Vec<&str> = log
        .iter()
        .filter(|(process, _)| process.is_none())
        .map(|(_, text)| text.as_str())
        .collect();
    let without_ids: Vec<String> = of_master
        .iter()
        .map(|line| {
            let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            for word in &mut words {
                if word.len() == "shop-0123456".len() && word.starts_with("shop-") {
                    "shop-UUID".clone_into(word);
                }
            }
            words.join(" ")
        })
        .collect();
    assert_eq!(
        without_ids,
        [
            "shop: config shop-UUID updated",
            "shop: release shop-v1 created",
            "clusterrunner created initial release",
            "shop: build shop-UUID created",
            "shop: release shop-v2 created",
            "clusterrunner deployed c0ffee",
            "shop: clusterrunner scaled containers web=1",
            "shop: web.1 (v2) is up",
            "shop: domain shop.example.org added",
            "domain shop.example.org added",
        ]
    );
    let printed = |text: &str| (Some("web.1".to_owned()), text.to_owned());
    assert_eq!(log[8], printed("one"));
    assert_eq!(log[11], printed("two"));
    assert_eq!(master.app_log("first=11&wait_s=9").await, log[11..]);
    let (status, body) = master.signed_read("/v2/app_logs/other?last=1").await;
    assert_eq!(
        (status, &body["error"]),
        (404, &json!("There is no such app."))
    );
    let (status, _) = master.get("/v2/app_logs/shop?last=1").await;
    assert_eq!(status, 401);
    master.app(AppCommand::Destroy { project }).await;
    let (status, _) = master.signed_read("/v2/app_logs/shop?last=1").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn an_app_is_shown_with_its_processes_and_releases_but_not_its_secrets() {
    let master = farm().await;
    let project = master.app_with_a_process().await;
    let secret = "the password of the database";
    master.set(project, "DATABASE", secret.into()).await;
    let domain = "shop.example.org".to_owned();
    master.app(AppCommand::AddDomain { project, domain }).await;
    let (status, body) = master.signed_read("/v2/apps/shop").await;
    assert_eq!(status, 200, "{body}");
    let app = &body["app"];
    assert_eq!(app["id"], "shop");
    assert_eq!(app["owner"], "clusterrunner");
    assert_eq!(app["host"], "shop.apps.example.com");
    assert_eq!(app["domains"], json!(["shop.example.org"]));
    assert_eq!(app["is_deployed"], true);
    assert_eq!(app["structure"], json!({"web": 1}));
    assert_eq!(app["config_keys"], json!(["DATABASE"]));
    assert_eq!(app["release"]["version"], 3);
    let process = |release: u64, instance: u64, status: &str, slave: Value| {
        json!({
            "name": "web.1", "status": status, "reason": null, "release": release,
            "slave_id": slave, "instance_id": instance, "restarts": 0,
        })
    };
    let processes = [
        process(2, 1, "up", json!(1)),
        process(3, 2, "starting", json!(1)),
    ];
    assert_eq!(app["processes"], json!(processes));
    let releases = body["releases"].as_array().unwrap();
    let summaries: Vec<&str> = releases
        .iter()
        .map(|release| release["summary"].as_str().unwrap())
        .collect();
    assert_eq!(
        summaries,
        [
            "clusterrunner added DATABASE",
            "clusterrunner deployed c0ffee",
            "clusterrunner created initial release"
        ]
    );
    assert_eq!(&releases[0], &app["release"]);
    assert!(!body.to_string().contains(secret), "{body}");
    let (_, list) = master.signed_read("/v2/apps").await;
    assert_eq!(list["apps"], json!([app]));
    let (status, body) = master.signed_read("/v2/apps/other").await;
    assert_eq!(
        (status, &body["error"]),
        (404, &json!("There is no such app."))
    );
}

#[tokio::test]
async fn an_app_is_scaled_configured_rolled_back_and_deleted() {
    let master = farm().await;
    master.app_with_a_process().await;
    let path = "/v2/apps/shop";
    master.create_user("root", true).await;
    let token = format!("Bearer {}", master.create_token("root", "read").await);
    let proof = [("authorization", token.as_str())];
    let mut reader = master.follow_with("/v2/events", &proof).await.unwrap();
    assert_eq!(reader.next().await.unwrap().name, "begin");
    let change = async |body: Value| master.signed("PUT", path, &body).await;
    let (status, body) = change(json!({"structure": {"web": 0}})).await;
    assert_eq!((status, &body["access"]), (200, &json!("own")), "{body}");
    assert_eq!(body["app"]["structure"], json!({"web": 0}));
    let secret = "a \"password\"";
    let config = json!({"config": {"values": {"KEY": secret, "N": 3}, "memory": {"web": "1G"}}});
    let (status, body) = change(config).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["app"]["release"]["version"], 3);
    assert_eq!(body["app"]["config_keys"], json!(["KEY", "N"]));
    assert!(!body.to_string().contains("password"), "{body}");
    let (_, shown) = master.signed_read("/v2/apps/shop/config").await;
    assert_eq!(shown["config"]["values"]["KEY"], secret);
    assert_eq!(shown["config"]["memory"], json!({"web": "1G"}));
    let (status, _) = change(json!({"config": {"values": {"KEY": null}}})).await;
    assert_eq!(status, 200);
    let (status, body) = change(json!({"roll_back_to": 3})).await;
    assert_eq!(
        (status, &body["app"]["release"]["version"]),
        (200, &json!(5))
    );
    let (_, shown) = master.signed_read("/v2/apps/shop/config").await;
    assert_eq!(shown["config"]["values"]["KEY"], secret);
    for (wrong, status, part) in [
        (json!({}), 400, "Exactly one"),
        (
            json!({"structure": {}, "roll_back_to": 1}),
            400,
            "Exactly one",
        ),
        (json!({"structure": {"web": -1}}), 400, "-1"),
        (json!({"structure": {"no": 1}}), 400, "no process type no"),
        (json!({"config": {"values": {"A=B": "x"}}}), 400, "A=B"),
        (
            json!({"config": {"values": {"A": []}}}),
            400,
            "a text, a number",
        ),
        (
            json!({"config": {"memory": {"web": "much"}}}),
            400,
            "memory is",
        ),
        (json!({"roll_back_to": 99}), 404, "no release v99"),
        (json!({"scale": {"web": 1}}), 400, "scale"),
    ] {
        let (found, answer) = change(wrong.clone()).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(
            found == status && error.contains(part),
            "{wrong}: {found} {answer}"
        );
    }
    let (status, _) = master.signed("DELETE", path, &json!({})).await;
    assert_eq!(status, 200);
    let told = reader.until("app_deleted").await;
    assert_eq!(
        told.last().unwrap().data,
        json!({"id": body["app"]["project_id"]})
    );
    assert_eq!(master.signed_read(path).await.0, 404);
    assert_eq!(change(json!({"structure": {}})).await.0, 404);
}

#[tokio::test]
async fn only_those_who_work_on_an_app_change_it() {
    let master = farm().await;
    for name in ["ann", "bob"] {
        master.create_user(name, false).await;
    }
    let look = |cluster: &Cluster| cluster.owner_named("ann").unwrap();
    let Owner::User(ann) = master.cluster.read(look).await.unwrap() else {
        panic!("ann is no user");
    };
    let (by, id) = (Actor::User(ann), "hill".to_owned());
    let command = AppCommand::Create { id };
    master.decide(Command::App { by, command }).await;
    let body = json!({"config": {"values": {"A": "1"}}});
    for (user, role, read, changed, deleted) in [
        ("bob", "admin", 404, 404, 404),
        ("ann", "read", 200, 403, 403),
        ("ann", "submit", 200, 200, 403),
        ("ann", "admin", 200, 200, 200),
    ] {
        let token = master.create_token(user, role).await;
        let config = "/v2/apps/hill/config";
        let (status, _) = master.as_user(&token, "GET", config, &Value::Null).await;
        assert_eq!(status, read, "{user} {role}");
        let app = "/v2/apps/hill";
        let (status, _) = master.as_user(&token, "PUT", app, &body).await;
        assert_eq!(status, changed, "{user} {role}");
        let (status, _) = master.as_user(&token, "DELETE", app, &json!({})).await;
        assert_eq!(status, deleted, "{user} {role}");
    }
    for (method, path) in [
        ("GET", "/v2/apps/hill/config"),
        ("PUT", "/v2/apps/hill"),
        ("DELETE", "/v2/apps/hill"),
    ] {
        let (status, _, _) = master.exchange(method, path, &[], "{}").await;
        assert_eq!(status, 401, "{method} {path}");
    }
}

#[tokio::test]
async fn the_latest_fifty_releases_of_an_app_are_shown() {
    let master = farm().await;
    let project = master.app_with_a_process().await;
    for number in 0..60 {
        master.set(project, "N", number.into()).await;
    }
    let (_, body) = master.signed_read("/v2/apps/shop").await;
    let releases = body["releases"].as_array().unwrap().iter();
    let versions: Vec<u64> = releases
        .map(|release| release["version"].as_u64().unwrap())
        .collect();
    assert_eq!(versions, (13..=62).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn apps_are_shown_to_their_users_and_to_nobody_else() {
    let master = farm().await;
    master.app_with_a_process().await;
    for name in ["ann", "bob"] {
        master.create_user(name, false).await;
    }
    let look = |cluster: &Cluster| cluster.owner_named("ann").unwrap();
    let Owner::User(ann) = master.cluster.read(look).await.unwrap() else {
        panic!("ann is no user");
    };
    let create = AppCommand::Create {
        id: "hill".to_owned(),
    };
    let by = Actor::User(ann);
    let command = Command::App {
        by,
        command: create,
    };
    master.decide(command).await;
    let seen = async |token: &str| {
        let (status, body) = master.as_user(token, "GET", "/v2/apps", &Value::Null).await;
        assert_eq!(status, 200, "{body}");
        let apps = body["apps"].as_array().unwrap().iter();
        apps.map(|app| app["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let ann = master.create_token("ann", "read").await;
    let bob = master.create_token("bob", "submit").await;
    assert_eq!(seen(&ann).await, ["hill"]);
    assert_eq!(seen(&bob).await, [""; 0]);
    let (status, body) = master
        .as_user(&ann, "GET", "/v2/apps/hill", &Value::Null)
        .await;
    assert_eq!(status, 200, "{body}");
    let app = &body["app"];
    assert_eq!(
        (&app["owner"], &app["is_deployed"]),
        (&json!("ann"), &json!(false))
    );
    assert_eq!(app["processes"], json!([]));
    // Whether there is such an app is not told either.
    for (token, id) in [(&bob, "hill"), (&bob, "none"), (&ann, "shop")] {
        let path = format!("/v2/apps/{id}");
        let (status, body) = master.as_user(token, "GET", &path, &Value::Null).await;
        assert_eq!(
            (status, &body["error"]),
            (404, &json!("There is no such app."))
        );
    }
    for path in [
        "/v2/apps",
        "/v2/apps/hill",
        "/v1/app",
        "/v1/app/hill",
        "/apps",
    ] {
        assert_eq!(master.get(path).await.0, 401, "{path}");
    }
    let (_, all) = master.signed_read("/v2/apps").await;
    let all = all["apps"].as_array().unwrap();
    assert_eq!(
        (&all[0]["id"], &all[1]["id"]),
        (&json!("hill"), &json!("shop"))
    );
}

#[tokio::test]
async fn a_run_is_over_when_all_of_its_output_is_there() {
    let master = farm().await;
    let project = master.app_with_a_process().await;
    let run = AppCommand::Run {
        project,
        key: KEY.to_owned(),
        command: "echo hi".to_owned(),
    };
    master.app(run).await;
    let runs = master.runs.clone();
    let ended = tokio::spawn(async move { runs.ended(KEY).await });
    let text = "0123456789abcde\n".repeat(1 << 12);
    let starting = json!({"id": 2, "generation": 1, "state": {"up": {"port": 0}}});
    master.report(4, json!([up(1, 1), starting])).await;
    let mut offset = 0;
    for _ in 0..20 {
        offset += text.len();
        let pieces = json!([piece(2, offset - text.len(), &text)]);
        assert_eq!(master.bring(pieces).await, json!([offset]));
    }
    let exited = json!({"exited": {"code": 3, "printed": offset + 3}});
    let exited = json!({"id": 2, "generation": 1, "state": exited});
    master.report(5, json!([up(1, 1), exited])).await;
    assert_eq!(master.status_of(2).await, "stopped");
    assert!(
        !ended.is_finished(),
        "the last three bytes are on their way"
    );
    assert_eq!(
        master.bring(json!([piece(2, offset, "hi\n")])).await,
        json!([offset + 3])
    );
    let ended = ended.await.unwrap().unwrap().unwrap();
    assert_eq!(ended.end, RunEnd::Exited(3));
    let parts: Vec<String> = ended.into_output().try_collect().await.unwrap();
    let output = parts.concat();
    assert_eq!(output.len(), offset + 3);
    assert!(output.starts_with(&text) && output.ends_with("\nhi\n"));
    let log = master.app_log("last=2").await;
    let bound = "[ClusterRunner: the log takes no more than 1048576 bytes of one run]";
    assert_eq!(log[0], (Some("run.1".to_owned()), bound.to_owned()));
    assert_eq!(log[1].1, "shop: run.1 (v2) ended with exit code 3");
    assert!(
        master
            .runs
            .ended(&KEY.replace('0', "1"))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_run_that_can_not_be_run_says_why() {
    let master = farm().await;
    let project = master.app_with_a_process().await;
    let run = AppCommand::Run {
        project,
        key: KEY.to_owned(),
        command: "echo hi".to_owned(),
    };
    master.app(run).await;
    let failed = json!({"failed": {"reason": "no room"}});
    let failed = json!({"id": 2, "generation": 1, "state": failed});
    master.report(4, json!([up(1, 1), failed])).await;
    let ended = master.runs.ended(KEY).await.unwrap().unwrap();
    assert_eq!(ended.end, RunEnd::Failed("no room".to_owned()));
    let log = master.app_log("last=1").await;
    assert_eq!(log[0].1, "shop: run.1 (v2) can not run: no room");
}
