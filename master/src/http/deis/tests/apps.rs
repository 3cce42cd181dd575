//! Apps: making them, what they run, their configs, releases, numbers, domains and users. Among this what the original did
//! wrong and this API does right.

use super::farm::{Farm, HOST_NAME, detail, nothing};
use clusterrunner_common::work::ReportedState;
use serde_json::{Value, json};

/// A build with two process types.
const TWO_TYPES: &str = r#"{"image": "registry/hill", "sha": "060da68f654e75fac06dbedd1995d5f8ad9084db",
    "procfile": {"web": "run web", "worker": "run worker"}}"#;

impl Farm {
    /// The first user makes an app of the name `hill`.
    async fn with_app() -> Self {
        let farm = Self::with_slave(&["rack=1"]).await;
        for name in ["root", "ann", "bob"] {
            farm.register(name).await;
        }
        let made = farm.post("ann", "/v1/apps/", r#"{"id": "hill"}"#).await;
        assert_eq!(made.status, 201, "{made:?}");
        farm
    }

    async fn deploy(&self, body: &str) -> u64 {
        let built = self.post("ann", "/v1/apps/hill/builds", body).await;
        assert_eq!(built.status, 201, "{built:?}");
        built.header("x-deis-release").parse().unwrap()
    }

    /// Types, numbers, releases and states of the containers.
    async fn containers(&self) -> Vec<String> {
        let list = self.get("ann", "/v1/apps/hill/containers/").await;
        let list = list["results"].as_array().unwrap().iter();
        let shown = list.map(|one| {
            let text = |name: &str| one[name].as_str().unwrap().to_owned();
            let (kind, state, release) = (text("type"), text("state"), text("release"));
            format!("{kind}.{} {release} {state}", one["num"])
        });
        shown.collect()
    }

    async fn structure(&self) -> Value {
        self.get("ann", "/v1/apps/hill").await["structure"].clone()
    }
}

fn crashed() -> ReportedState {
    ReportedState::Crashed {
        reason: "exit code 1".to_owned(),
    }
}

#[tokio::test]
async fn an_app_has_an_address_and_a_first_release() {
    let farm = Farm::with_app().await;
    let mut app = farm.get("ann", "/v1/apps/hill").await;
    let uuid = app["uuid"].take();
    assert_eq!(uuid.as_str().map(str::len), Some(36));
    app["created"].take();
    app["updated"].take();
    let expected = json!({
        "uuid": null, "id": "hill", "owner": "ann", "url": "hill.deisapp.local", "structure": {},
        "created": null, "updated": null,
    });
    assert_eq!(app, expected);
    let releases = farm.get("ann", "/v1/apps/hill/releases").await;
    assert_eq!(releases["count"], 1);
    let first = &releases["results"][0];
    assert_eq!(
        (&first["version"], &first["build"]),
        (&json!(1), &Value::Null)
    );
    assert_eq!(first["summary"], "ann created initial release");
    let made = farm.post("ann", "/v1/apps", "").await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.body["id"].as_str().unwrap();
    let location = format!("http://{HOST_NAME}/v1/apps/{id}");
    assert_eq!(made.header("location"), location);
    assert_eq!(farm.get("ann", &format!("/v1/apps/{id}/")).await, made.body);
    let long = json!({"id": "x".repeat(65)}).to_string();
    let long = farm.post("ann", "/v1/apps", &long).await;
    assert_eq!(long.status, 400, "{long:?}");
}

/// The original let any user delete any app, post a build to it, and see and change its domains.
#[tokio::test]
async fn strangers_find_nothing_of_an_app() {
    let farm = Farm::with_app().await;
    let not_found = detail("Not found");
    let image = r#"{"image": "x"}"#;
    for (method, path, body) in [
        ("GET", "", ""),
        ("DELETE", "", ""),
        ("GET", "/builds", ""),
        ("POST", "/builds", image),
        ("GET", "/domains", ""),
        ("POST", "/domains", r#"{"domain": "x.example.com"}"#),
        ("DELETE", "/domains/x.example.com", ""),
        ("GET", "/config", ""),
        ("POST", "/config", "{}"),
        ("GET", "/releases", ""),
        ("GET", "/releases/v1", ""),
        ("POST", "/releases/rollback", ""),
        ("GET", "/containers", ""),
        ("GET", "/containers/web", ""),
        ("GET", "/containers/web/1", ""),
        ("POST", "/scale", r#"{"web": 1}"#),
    ] {
        let path = format!("/v1/apps/hill{path}");
        farm.check("bob", (method, &path, body), (404, not_found.clone()))
            .await;
    }
    for (method, path, body) in [
        ("GET", "/v1/apps/hill/perms", ""),
        ("POST", "/v1/apps/hill/perms", r#"{"username": "bob"}"#),
        ("DELETE", "/v1/apps/hill/perms/ann", ""),
    ] {
        farm.check("bob", (method, path, body), (403, nothing()))
            .await;
    }
    assert_eq!(farm.get("bob", "/v1/apps").await["count"], 0);
    assert_eq!(farm.get("root", "/v1/apps").await["count"], 1);
    assert_eq!(farm.get("root", "/v1/apps/hill").await["owner"], "ann");
}

#[tokio::test]
async fn a_collaborator_does_all_but_delete_and_share() {
    let farm = Farm::with_app().await;
    let perms = "/v1/apps/hill/perms";
    for (user, path, body, status) in [
        ("ann", perms, r#"{"username": "bob"}"#, 201),
        ("ann", perms, r#"{"username": "bob"}"#, 201),
        ("bob", perms, r#"{"username": "root"}"#, 403),
        ("ann", perms, r#"{"username": "ghost"}"#, 404),
        ("ann", perms, "{}", 400),
    ] {
        let answer = farm.post(user, path, body).await;
        assert_eq!(answer.status, status, "{user} {body}");
    }
    assert_eq!(farm.get("bob", perms).await, json!({"users": ["bob"]}));
    assert_eq!(farm.get("bob", "/v1/apps").await["count"], 1);
    let config = farm
        .post("bob", "/v1/apps/hill/config", r#"{"values": {"A": "b"}}"#)
        .await;
    assert_eq!((config.status, &config.body["owner"]), (201, &json!("ann")));
    let forbidden = detail("You do not have permission to perform this action.");
    farm.check("bob", ("DELETE", "/v1/apps/hill", ""), (403, forbidden))
        .await;
    // The way to remove that was documented first.
    farm.check(
        "ann",
        ("POST", "/v1/apps/hill/perms/bob", ""),
        (204, nothing()),
    )
    .await;
    farm.check(
        "ann",
        ("DELETE", "/v1/apps/hill/perms/bob/", ""),
        (404, nothing()),
    )
    .await;
    farm.check(
        "bob",
        ("GET", "/v1/apps/hill", ""),
        (404, detail("Not found")),
    )
    .await;
}

#[tokio::test]
async fn the_first_deploy_scales_itself_and_scales_are_merged() {
    let farm = Farm::with_app().await;
    farm.check(
        "ann",
        ("POST", "/v1/apps/hill/scale", r#"{"web": 1}"#),
        (400, json!("No build associated with this release")),
    )
    .await;
    assert_eq!(farm.deploy(TWO_TYPES).await, 2);
    assert_eq!(farm.structure().await, json!({"web": 1}));
    assert_eq!(farm.containers().await, ["web.1 v2 up"]);
    for (body, expected) in [
        (
            r#"{"web": "2", "worker": 1.9}"#,
            json!({"web": 2, "worker": 1}),
        ),
        // The original forgot the types that a request did not name.
        (r#"{"web": 3}"#, json!({"web": 3, "worker": 1})),
        ("{}", json!({"web": 3, "worker": 1})),
    ] {
        farm.check(
            "ann",
            ("POST", "/v1/apps/hill/scale/", body),
            (204, nothing()),
        )
        .await;
        assert_eq!(farm.structure().await, expected);
    }
    for (body, sentence) in [
        (r#"{"web": 1, "worker": "abc"}"#, "Invalid scaling format"),
        (
            r#"{"web": 1, "worker": -1}"#,
            "Must be greater than or equal to zero",
        ),
        (
            r#"{"web": 1, "nope": 1}"#,
            "Container type nope does not exist in application",
        ),
    ] {
        farm.check(
            "ann",
            ("POST", "/v1/apps/hill/scale", body),
            (400, json!(sentence)),
        )
        .await;
    }
    let up = [
        "web.1 v2 up",
        "web.2 v2 up",
        "worker.1 v2 up",
        "web.3 v2 up",
    ];
    assert_eq!(farm.containers().await, up);
    let one = farm.get("ann", "/v1/apps/hill/containers/web/3/").await;
    assert_eq!(
        (&one["type"], &one["num"], &one["app"]),
        (&json!("web"), &json!(3), &json!("hill"))
    );
    let unknown = farm.get("ann", "/v1/apps/hill/containers/none").await;
    assert_eq!(unknown["count"], 0);
    for path in ["web/4", "web/x", "none/1"] {
        let path = format!("/v1/apps/hill/containers/{path}");
        farm.check("ann", ("GET", &path, ""), (404, detail("Not found")))
            .await;
    }
}

/// The original stopped the old containers even if none of the new ones came up.
#[tokio::test]
async fn a_release_that_does_not_come_up_leaves_the_old_one_running() {
    let farm = Farm::with_app().await;
    farm.deploy(TWO_TYPES).await;
    farm.conduct.of("web", 3, crashed());
    assert_eq!(
        farm.deploy(r#"{"image": "broken", "procfile": {"web": "x"}}"#)
            .await,
        3
    );
    let both = ["web.1 v2 up", "web.1 v3 crashed"];
    assert_eq!(farm.containers().await, both);
    let back = farm
        .post("ann", "/v1/apps/hill/releases/rollback", "")
        .await;
    assert_eq!((back.status, back.body), (201, json!({"version": 4})));
    assert_eq!(farm.containers().await, ["web.1 v4 up"]);
}

/// The original merged into the newest config ever made, so a change after a rollback undid the rollback.
#[tokio::test]
async fn a_config_is_merged_into_that_of_the_newest_release() {
    let farm = Farm::with_app().await;
    let config = "/v1/apps/hill/config/";
    let made = farm
        .post("ann", config, r#"{"values": {"A": "1", "B": 2}}"#)
        .await;
    assert_eq!((made.status, made.header("x-deis-release")), (201, "2"));
    let values = json!({"A": "1", "B": 2, "DEIS_APP": "hill", "DEIS_RELEASE": "v2"});
    assert_eq!(made.body["values"], values);
    assert_eq!(farm.get("ann", config).await, made.body);
    // As the command line sends it.
    let body = json!({"values": "{\"A\": null, \"C\": \"x y\"}", "memory": "{\"web\": \"1G\"}"});
    let made = farm.post("ann", config, &body.to_string()).await;
    assert_eq!(made.body["memory"], json!({"web": "1G"}), "{made:?}");
    let values = json!({"B": 2, "C": "x y", "DEIS_APP": "hill", "DEIS_RELEASE": "v3"});
    assert_eq!(made.body["values"], values);
    let back = farm
        .post(
            "ann",
            "/v1/apps/hill/releases/rollback/",
            r#"{"version": "v2"}"#,
        )
        .await;
    assert_eq!(back.header("x-deis-release"), "4");
    let made = farm.post("ann", config, r#"{"values": {"D": true}}"#).await;
    let values = json!({"A": "1", "B": 2, "D": true, "DEIS_APP": "hill", "DEIS_RELEASE": "v5"});
    assert_eq!(
        (&made.body["values"], &made.body["memory"]),
        (&values, &json!({}))
    );
    let summaries = farm.get("ann", "/v1/apps/hill/releases").await;
    let summaries = summaries["results"].as_array().unwrap().iter();
    let summaries: Vec<&str> = summaries
        .map(|it| it["summary"].as_str().unwrap())
        .collect();
    let expected = [
        "ann added D",
        "ann rolled back to v2",
        "ann added C, deleted A and ann changed limits for memory",
        "ann added A, B",
        "ann created initial release",
    ];
    assert_eq!(summaries, expected);
}

/// The original answered 500 to some of these.
#[tokio::test]
async fn wrong_requests_name_the_field_and_change_nothing() {
    let farm = Farm::with_app().await;
    let object = "This must be an object, or a string that holds an object in JSON.";
    let not_found = detail("Not found");
    for (method, path, body, status, expected) in [
        (
            "POST",
            "config",
            r#"{"values": "no JSON"}"#,
            400,
            json!({"values": [object]}),
        ),
        (
            "POST",
            "config",
            r#"{"tags": [1]}"#,
            400,
            json!({"tags": [object]}),
        ),
        (
            "POST",
            "config",
            r#"{"cpu": {"web": "x"}}"#,
            400,
            json!({"cpu": ["CPU shares must be an integer"]}),
        ),
        (
            "POST",
            "run",
            "{}",
            400,
            json!({"command": ["This field is required."]}),
        ),
        ("GET", "releases/v9", "", 404, not_found.clone()),
        ("GET", "releases/x", "", 404, not_found.clone()),
        (
            "POST",
            "releases/rollback",
            r#"{"version": 9}"#,
            404,
            not_found.clone(),
        ),
        (
            "POST",
            "releases/rollback",
            r#"{"version": "x"}"#,
            400,
            json!({"version": ["Enter a whole number."]}),
        ),
        (
            "POST",
            "releases/rollback",
            r#"{"version": 0}"#,
            400,
            json!("version cannot be below 0"),
        ),
        (
            "DELETE",
            "domains/x.example.com",
            "",
            404,
            not_found.clone(),
        ),
        (
            "GET",
            "builds/00000000-0000-4000-8000-000000000000",
            "",
            404,
            not_found,
        ),
        (
            "POST",
            "builds",
            r#"{"sha": "x"}"#,
            400,
            json!({"image": ["This field is required."]}),
        ),
        (
            "POST",
            "builds",
            r#"{"image": "x", "procfile": {"web": 1}}"#,
            400,
            json!({"procfile": ["Each process type must have a string: its command."]}),
        ),
    ] {
        let path = format!("/v1/apps/hill/{path}");
        farm.check("ann", (method, &path, body), (status, expected))
            .await;
    }
    assert_eq!(farm.get("ann", "/v1/apps/hill/releases").await["count"], 1);
}

#[tokio::test]
async fn builds_are_listed_the_newest_first() {
    let farm = Farm::with_app().await;
    farm.deploy(r#"{"image": "registry/hill", "procfile": "{\"web\": \"run\"}"}"#)
        .await;
    farm.deploy(r#"{"image": "registry/hill:2"}"#).await;
    let builds = farm.get("ann", "/v1/apps/hill/builds/").await;
    assert_eq!(builds["count"], 2);
    let (newest, first) = (&builds["results"][0], &builds["results"][1]);
    assert_eq!(
        (&newest["image"], &newest["procfile"]),
        (&json!("registry/hill:2"), &json!({}))
    );
    assert_eq!(first["procfile"], json!({"web": "run"}));
    let uuid = first["uuid"].as_str().unwrap();
    assert_eq!(
        farm.get("ann", &format!("/v1/apps/hill/builds/{uuid}/"))
            .await,
        *first
    );
    let release = farm.get("ann", "/v1/apps/hill/releases/2").await;
    assert_eq!(release["build"], uuid);
    assert_eq!(release["summary"], "ann deployed registry/hill");
}

#[tokio::test]
async fn names_of_the_farm_are_no_domains() {
    let farm = Farm::with_app().await;
    let domains = "/v1/apps/hill/domains/";
    for own in [HOST_NAME, "other.deisapp.local", "farm.example.net"] {
        let body = json!({"domain": own}).to_string();
        let sentence = format!("The domain {own} is already in use by another app");
        farm.check(
            "ann",
            ("POST", domains, &body),
            (400, json!({"domain": [sentence]})),
        )
        .await;
    }
    let added = farm
        .post("ann", domains, r#"{"domain": "hill.example.com"}"#)
        .await;
    assert_eq!((added.status, &added.body["app"]), (201, &json!("hill")));
    assert_eq!(
        farm.get("ann", domains).await["results"],
        json!([added.body])
    );
    farm.check(
        "ann",
        ("DELETE", "/v1/apps/hill/domains/hill.example.com", ""),
        (204, nothing()),
    )
    .await;
}

#[tokio::test]
async fn what_can_not_be_placed_is_told() {
    let farm = Farm::with_app().await;
    farm.deploy(TWO_TYPES).await;
    let tags = farm
        .post("ann", "/v1/apps/hill/config", r#"{"tags": {"rack": "2"}}"#)
        .await;
    assert_eq!(tags.status, 201, "{tags:?}");
    assert_eq!(farm.containers().await, ["web.1 v2 up", "web.1 v3 error"]);
    let scaled = farm
        .post("ann", "/v1/apps/hill/scale", r#"{"worker": 1}"#)
        .await;
    assert_eq!(scaled.status, 503, "{scaled:?}");
    let sentence = "None of the containers could be placed: waits for a slave with its tags.";
    assert_eq!(scaled.body, json!(sentence));
    assert!(!scaled.header("retry-after").is_empty());
}

#[tokio::test]
async fn a_deleted_app_leaves_its_id() {
    let farm = Farm::with_app().await;
    farm.deploy(TWO_TYPES).await;
    farm.check("ann", ("DELETE", "/v1/apps/hill/", ""), (204, nothing()))
        .await;
    for path in ["", "/releases", "/containers", "/logs"] {
        let path = format!("/v1/apps/hill{path}");
        farm.check("ann", ("GET", &path, ""), (404, detail("Not found")))
            .await;
    }
    let again = farm.post("bob", "/v1/apps", r#"{"id": "hill"}"#).await;
    assert_eq!((again.status, &again.body["owner"]), (201, &json!("bob")));
    assert_eq!(again.body["structure"], json!({}));
}

#[tokio::test]
async fn who_leaves_takes_the_apps_along() {
    let farm = Farm::with_app().await;
    farm.deploy(TWO_TYPES).await;
    farm.check("ann", ("DELETE", "/v1/auth/cancel", ""), (204, nothing()))
        .await;
    assert_eq!(farm.get("root", "/v1/apps").await["count"], 0);
}
