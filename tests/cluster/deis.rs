//! Apps on real programs, deployed as the command line of Deis deploys them.

mod client;
mod routing;

use crate::farm::{Extra, Farm};
use crate::processes;
use crate::repository::Repository;
use crate::wait::wait_for;
pub(crate) use client::Deis;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The key by which the test has templates built.
const KEY: &str = "the key of Binder";

/// The name by which the controller is called.
const HOST: &str = "deis.example.com";

const KEY_OF_ANN: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFhSFLbrc0LmtYIBStx6PExvvp0vZ9y1Xk4TUbdwqQlR ann@box";

/// A program with two process types.
const PROCFILE: &str = "web: exec python3 -m http.server $PORT\nworker: echo $GREETING from $DEIS_RELEASE; exec sleep 1000\n";

/// A farm, a template on it, and the first user, who is its superuser.
pub(crate) struct House {
    pub(crate) farm: Farm,
    /// The name of the template.
    pub(crate) template: String,
    pub(crate) root: Deis,
}

impl House {
    /// A farm whose slaves have different racks: the first has rack 1.
    pub(crate) async fn with_slaves(number: usize) -> Self {
        let master = format!(
            "binder_api_key = '{KEY}'\nallow_local_sources = True\nregistration = open\ndeploy_wait = 60\n"
        );
        let mut farm = Farm::with(&Extra {
            master: &master,
            slave: "allow_local_sources = True\n",
            ..Extra::default()
        });
        farm.start_all(&vec![1; number]).await;
        let root = Deis::register(&farm.master_address(), HOST, "root").await;
        let template = template(&farm, &[("Procfile", PROCFILE), ("index.html", "hello\n")]).await;
        Self {
            farm,
            template,
            root,
        }
    }

    pub(crate) async fn user(&self, name: &str) -> Deis {
        Deis::register(&self.farm.master_address(), HOST, name).await
    }

    /// `ann` with an app `hill` that runs the template.
    async fn with_app(&self) -> Deis {
        let ann = self.user("ann").await;
        ann.post("/v1/apps", json!({"id": "hill"}), 201).await;
        let image = format!("{}:latest", self.template);
        let built = ann.post("/v1/apps/hill/builds", json!({"image": image}), 201);
        assert_eq!(built.await.header("x-deis-release"), Some("2"));
        ann
    }

    /// The slaves on which instances run, as the farm itself says.
    async fn slaves_in_use(&self) -> BTreeSet<String> {
        let instances = self.farm.client().instances().await.unwrap();
        let instances = serde_json::to_value(instances).unwrap();
        let slaves = instances.as_array().unwrap().iter();
        let slaves = slaves.filter_map(|one| one["slave_id"].as_u64());
        slaves.map(|slave| slave.to_string()).collect()
    }
}

/// Has a repository built; the name of its template.
async fn template(farm: &Farm, files: &[(&str, &str)]) -> String {
    let repository = Repository::empty();
    repository.commit(files);
    let http = reqwest::Client::new();
    let ask = async |method: Method, path: String, body: Option<Value>| {
        let url = format!("http://{}{path}", farm.master_address());
        let mut request = http.request(method, url).header("Authorization", KEY);
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let text = answer.text().await.unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let body = json!({"repository": repository.path()});
    let begun = ask(Method::POST, "/builds/".to_owned(), Some(body)).await;
    let name = begun["name"].as_str().unwrap().to_owned();
    wait_for("the template", async || {
        let record = ask(Method::GET, format!("/builds/{name}"), None).await;
        (record["status"] == "completed").then_some(())
    })
    .await;
    name
}

#[tokio::test]
async fn an_app_is_created_deployed_scaled_and_destroyed() {
    let house = House::with_slaves(2).await;
    let ann = house.with_app().await;
    let app = ann.get("/v1/apps/hill").await;
    assert_eq!(
        (&app["url"], &app["structure"]),
        (&json!("hill.example.com"), &json!({"web": 1}))
    );
    assert_eq!(ann.ps("hill").await, ["web.1 up (v2)"]);
    ann.post("/v1/apps/hill/scale", json!({"web": 3, "worker": 1}), 204)
        .await;
    let all = [
        "web.1 up (v2)",
        "web.2 up (v2)",
        "web.3 up (v2)",
        "worker.1 up (v2)",
    ];
    assert_eq!(ann.ps("hill").await, all);
    assert_eq!(house.slaves_in_use().await.len(), 2, "they are spread");
    let greeting = house.farm.mark();
    let release = ann
        .set("hill", "values", json!({"GREETING": greeting}))
        .await;
    assert_eq!(release, 3);
    let all = all.map(|one| one.replace("v2", "v3"));
    assert_eq!(ann.ps("hill").await, all);
    wait_for("what the worker says", async || {
        let lines = ann.logs("hill").await;
        let said = format!(" hill[worker.1]: {greeting} from v3");
        let said = |line: &String| line.ends_with(&said);
        lines.iter().any(said).then_some(())
    })
    .await;
    ann.post("/v1/apps/hill/scale", json!({"web": 1}), 204)
        .await;
    assert_eq!(ann.ps("hill").await, ["web.1 up (v3)", "worker.1 up (v3)"]);
    let gone = ann.send("DELETE", "/v1/apps/hill", None).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    let unknown = ann.send("GET", "/v1/apps/hill/logs", None).await;
    assert_eq!(unknown.status, 404);
    wait_for("the end of all processes", async || {
        let left = processes::with_text(&format!("GREETING={greeting}"));
        left.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_broken_release_leaves_the_old_one_and_is_rolled_back() {
    let house = House::with_slaves(1).await;
    let ann = house.with_app().await;
    let image = house.template.clone();
    let broken = json!({"image": image, "procfile": json!({"web": "exit 1"}).to_string()});
    let built = ann.post("/v1/apps/hill/builds", broken, 201).await;
    assert_eq!(built.header("x-deis-release"), Some("3"));
    let containers = ann.ps("hill").await;
    assert_eq!(containers, ["web.1 up (v2)", "web.1 crashed (v3)"]);
    let back = ann
        .post("/v1/apps/hill/releases/rollback", json!({}), 201)
        .await;
    assert_eq!(back.json(), json!({"version": 4}));
    assert_eq!(ann.ps("hill").await, ["web.1 up (v4)"]);
    let nothing = json!({"image": "no-such-template:7"});
    ann.post("/v1/apps/hill/builds", nothing, 201).await;
    let containers = ann.ps("hill").await;
    assert_eq!(containers, ["web.1 up (v4)", "web.1 error (v5)"]);
    let lines = ann.logs("hill").await;
    let why = lines.iter().find(|line| line.contains("no-such-template"));
    assert!(why.is_some(), "{lines:#?}");
    ann.post(
        "/v1/apps/hill/releases/rollback",
        json!({"version": 1}),
        201,
    )
    .await;
    assert_eq!(ann.ps("hill").await, [""; 0]);
    let app = ann.get("/v1/apps/hill").await;
    assert_eq!(app["structure"], json!({"web": 1}), "it is kept");
}

#[tokio::test]
async fn a_command_runs_with_the_config_and_tells_how_it_ended() {
    let house = House::with_slaves(1).await;
    let ann = house.with_app().await;
    ann.set("hill", "values", json!({"NUMBER": 7, "NAME": "two words"}))
        .await;
    let command =
        "echo $DEIS_APP $DEIS_RELEASE $NUMBER \"$NAME\"; cat index.html; echo wrong >&2; exit 3";
    let ran = ann.run("hill", command).await;
    assert_eq!(ran, (3, "hill v3 7 two words\nhello\nwrong\n".to_owned()));
    assert_eq!(ann.run("hill", "kill -9 $$").await, (137, String::new()));
    let (code, output) = ann
        .run("hill", "head -c 100000000 /dev/zero | tr '\\0' x")
        .await;
    assert_eq!((code, output.len()), (0, 100_000_000));
    assert!(output.bytes().all(|byte| byte == b'x'));
    let runs = ann.get("/v1/apps/hill/containers/run").await;
    assert_eq!(runs["count"], 0);
    assert_eq!(ann.ps("hill").await, ["web.1 up (v3)"]);
}

#[tokio::test]
async fn users_share_an_app_and_others_find_nothing_of_it() {
    let house = House::with_slaves(1).await;
    let ann = house.with_app().await;
    let bob = house.user("bob").await;
    for path in [
        "",
        "/config",
        "/builds",
        "/releases",
        "/containers",
        "/domains",
        "/logs",
    ] {
        let answer = bob.send("GET", &format!("/v1/apps/hill{path}"), None).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    let sharing = json!({"username": "bob"});
    ann.post("/v1/apps/hill/perms", sharing, 201).await;
    bob.set("hill", "values", json!({"BY": "bob"})).await;
    let (code, output) = bob.run("hill", "echo $BY").await;
    assert_eq!((code, output.as_str()), (0, "bob\n"));
    let delete = bob.send("DELETE", "/v1/apps/hill", None).await;
    assert_eq!(delete.status, 403);
    let taken = ann.send("DELETE", "/v1/apps/hill/perms/bob", None).await;
    assert_eq!(taken.status, 204);
    assert_eq!(bob.get("/v1/apps").await["count"], 0);
    assert_eq!(
        house.root.get("/v1/apps").await["count"],
        1,
        "a superuser sees all"
    );
    let key = json!({"id": "ann@box", "public": KEY_OF_ANN});
    ann.post("/v1/keys", key, 201).await;
    let removed = ann.send("DELETE", "/v1/keys/ann@box", None).await;
    assert_eq!(removed.status, 204);
    let left = ann.send("DELETE", "/v1/auth/cancel", None).await;
    assert_eq!(left.status, 204);
    assert_eq!(
        house.root.get("/v1/apps").await["count"],
        0,
        "with all apps"
    );
}

#[tokio::test]
async fn tags_choose_slaves_and_limits_hold() {
    let mut house = House::with_slaves(1).await;
    let ann = house.with_app().await;
    ann.set("hill", "tags", json!({"rack": "2"})).await;
    assert_eq!(ann.ps("hill").await, ["web.1 up (v2)", "web.1 error (v3)"]);
    let settings = house.farm.path("base/clusterrunner.conf");
    let text = std::fs::read_to_string(&settings).unwrap();
    let labelled = text.replace("[slave]\n", "[slave]\nlabels = rack=2\n");
    std::fs::write(&settings, labelled).unwrap();
    house.farm.start_slave(1);
    wait_for("the container on the slave with the tag", async || {
        (ann.ps("hill").await == ["web.1 up (v3)"]).then_some(())
    })
    .await;
    ann.set("hill", "memory", json!({"web": "64M", "run": "64M"}))
        .await;
    let config = ann.get("/v1/apps/hill/config").await;
    assert_eq!(config["memory"], json!({"web": "64M", "run": "64M"}));
    assert_eq!(ann.ps("hill").await, ["web.1 up (v4)"]);
    let eats = json!({
        "image": house.template,
        "procfile": json!({"web": "exec python3 -c 'x = bytearray(1 << 30)'"}).to_string(),
    });
    ann.post("/v1/apps/hill/builds", eats, 201).await;
    assert_eq!(
        ann.ps("hill").await,
        ["web.1 up (v4)", "web.1 crashed (v5)"]
    );
}

#[tokio::test]
async fn apps_outlive_the_master_and_nothing_that_was_answered_is_lost() {
    let mut house = House::with_slaves(1).await;
    let ann = house.with_app().await;
    ann.set("hill", "values", json!({"A": "1"})).await;
    let domain = json!({"domain": "hill.example.org"});
    ann.post("/v1/apps/hill/domains", domain, 201).await;
    let before = ann.get("/v1/apps/hill/releases").await;
    let containers = ann.get("/v1/apps/hill/containers").await["results"][0]["uuid"].clone();
    house.farm.kill_master();
    house.farm.start_master().await;
    assert_eq!(ann.get("/v1/apps/hill/releases").await, before);
    wait_for("the same container", async || {
        let found = ann.get("/v1/apps/hill/containers").await;
        let same = &found["results"][0];
        (same["uuid"] == containers && same["state"] == "up").then_some(())
    })
    .await;
    let domains = ann.get("/v1/apps/hill/domains").await;
    assert_eq!(domains["results"][0]["domain"], "hill.example.org");
    assert_eq!(ann.set("hill", "values", json!({"A": "2"})).await, 4);
    assert_eq!(ann.ps("hill").await, ["web.1 up (v4)"]);
}
