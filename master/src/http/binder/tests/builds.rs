//! Builds: how they begin, how far they are, and how they end.

use super::farm::{Farm, KEY, NAME, REPOSITORY, bare, error, take_time};
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::Command;
use serde_json::{Value, json};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn asked(repository: &str) -> String {
    json!({"repository": repository}).to_string()
}

impl Farm {
    /// Asks for a build, and gives its record without the time.
    async fn begun(&self, path: &str, body: &str) -> Value {
        let answer = self.call(KEY, "POST", path, body).await;
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
        let mut record = answer.body;
        take_time(&mut record, "start-time");
        record
    }

    /// Phase, status and error of the newest build of the name.
    async fn stands(&self, expected: (&str, &str, Option<&str>)) {
        let mut record = self.call("", "GET", &format!("/builds/{NAME}"), "").await;
        assert_eq!(record.status, 200);
        take_time(&mut record.body, "start-time");
        let mut wanted = json!({
            "name": NAME,
            "display-name": "binder-project/example-requirements",
            "start-time": null,
            "status": expected.1,
            "phase": expected.0,
            "repository": REPOSITORY,
        });
        if let Some(error) = expected.2 {
            wanted["error"] = json!(error);
        }
        assert_eq!(record.body, wanted);
    }
}

#[tokio::test]
async fn a_build_is_answered_before_any_work_is_done() {
    let farm = Farm::start();
    let expected = json!({
        "name": NAME,
        "display-name": "binder-project/example-requirements",
        "repo": REPOSITORY,
        "repository": REPOSITORY,
        "phase": "fetching",
        "status": "running",
        "start-time": null,
    });
    assert_eq!(farm.begun("/builds/", &asked(REPOSITORY)).await, expected);
    let forced = json!({"repo": REPOSITORY, "force": "true"}).to_string();
    assert_eq!(farm.begun("/builds/repo", &forced).await, expected);
    let branch = format!("{REPOSITORY}/tree/dev");
    let record = farm.begun("/builds", &asked(&branch)).await;
    assert_eq!(record["name"], format!("{NAME}-dev"));
    assert_eq!(record["repository"], branch);
    let shown = "binder-project/example-requirements/tree/dev";
    assert_eq!(record["display-name"], shown);
}

#[tokio::test]
async fn another_repository_gets_digits_behind_its_name() {
    let farm = Farm::start();
    let (first, second) = ("https://host/1/2", "https://other/1/2");
    assert_eq!(farm.begun("/builds", &asked(first)).await["name"], "1-2");
    let name = farm.begun("/builds", &asked(second)).await["name"].take();
    let digits = name.as_str().unwrap().strip_prefix("1-2-").unwrap();
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(digits.len() == 6 && is_hex, "{name}");
    let record = farm.get(&format!("/builds/1-2-{digits}")).await;
    assert_eq!(record["repository"], second);
    let number = farm.begun("/builds", &asked("https://host/123")).await;
    assert_eq!(number["name"], "r-123");
}

#[tokio::test]
async fn a_build_goes_through_its_phases() {
    let farm = Farm::start();
    farm.begun("/builds/", &asked(REPOSITORY)).await;
    farm.stands(("fetching", "running", None)).await;
    farm.prepare(1, COMMIT).await;
    farm.stands(("fetching", "running", None)).await;
    farm.connect(1).await;
    farm.stands(("building", "running", None)).await;
    farm.set_up(1, 1).await;
    farm.stands(("building", "running", None)).await;
    farm.finish(1, 1, 0).await;
    farm.stands(("registering", "running", None)).await;
    farm.check(
        "",
        ("GET", &format!("/templates/{NAME}"), ""),
        (
            404,
            error("doesNotExist", "The requested resource does not exist"),
        ),
    )
    .await;
    farm.register(1, Some(bare())).await;
    farm.stands(("finished", "completed", None)).await;
    farm.archive(1, 1).await;
    farm.stands(("finished", "completed", None)).await;
}

#[tokio::test]
async fn an_equal_template_is_used_again_unless_forced() {
    let farm = Farm::start().with_template().await;
    farm.begun("/builds/", &asked(REPOSITORY)).await;
    farm.stands(("fetching", "running", None)).await;
    farm.prepare(2, COMMIT).await;
    farm.stands(("registering", "running", None)).await;
    farm.register(2, None).await;
    farm.stands(("finished", "completed", None)).await;
    let forced = json!({"repository": REPOSITORY, "force": true}).to_string();
    farm.begun("/builds/", &forced).await;
    farm.prepare(3, COMMIT).await;
    farm.stands(("building", "running", None)).await;
}

#[tokio::test]
async fn a_build_that_fails_says_in_which_phase_and_why() {
    let farm = Farm::start();
    farm.begun("/builds/", &asked(REPOSITORY)).await;
    let build = BuildId(1);
    let reason = "could not fetch: no such host".to_owned();
    farm.tell(Command::ReportPreparationFailed { build, reason })
        .await;
    farm.stands(("fetching", "failed", Some("could not fetch: no such host")))
        .await;

    farm.connect(1).await;
    farm.begun("/builds/", &asked(REPOSITORY)).await;
    farm.prepare(2, COMMIT).await;
    farm.set_up(1, 2).await;
    farm.finish(1, 2, 3).await;
    farm.register(2, None).await;
    let why = "The build failed; its log says why.";
    farm.stands(("building", "failed", Some(why))).await;

    farm.begun("/builds/", &asked(REPOSITORY)).await;
    farm.prepare(3, COMMIT).await;
    farm.set_up(1, 3).await;
    farm.finish(1, 3, 0).await;
    let build = BuildId(3);
    let reason = "the snapshot is damaged".to_owned();
    farm.tell(Command::ReportArchivingFailed { build, reason })
        .await;
    farm.stands(("registering", "failed", Some("the snapshot is damaged")))
        .await;

    farm.begun("/builds/", &asked(REPOSITORY)).await;
    let (by, build) = (Actor::SecretHolder, BuildId(4));
    farm.tell(Command::CancelBuild { by, build }).await;
    farm.stands(("fetching", "failed", Some("The build was canceled.")))
        .await;
}

#[tokio::test]
async fn a_name_is_built_by_one_build_at_a_time() {
    let farm = Farm::start();
    farm.begun("/builds/", &asked(REPOSITORY)).await;
    let already = (500, error("alreadyBuilding", "Already building the image"));
    for force in [
        json!(false),
        json!("false"),
        json!("0"),
        json!(""),
        json!(null),
    ] {
        let body = json!({"repository": REPOSITORY, "force": force}).to_string();
        farm.check(KEY, ("POST", "/builds/", &body), already.clone())
            .await;
    }
    let last = farm.cluster.read(|cluster| cluster.builds().count());
    assert_eq!(last.await.unwrap(), 1, "nothing was begun");
    let forced = json!({"repository": REPOSITORY, "force": "true"}).to_string();
    farm.begun("/builds/", &forced).await;
    let states = farm.cluster.read(|cluster| {
        let builds = cluster.builds().map(|build| build.is_over());
        builds.collect::<Vec<_>>()
    });
    assert_eq!(states.await.unwrap(), [true, false]);
}

#[tokio::test]
async fn the_list_has_the_newest_build_of_each_name() {
    let farm = Farm::start().with_template().await;
    farm.archive(1, 1).await;
    farm.begun("/builds/", &asked("https://host/a/b")).await;
    let Value::Array(records) = farm.get("/builds/").await else {
        panic!("no list");
    };
    let shown = records.iter().map(|record| {
        let text = |field: &str| record[field].as_str().unwrap().to_owned();
        (text("name"), text("status"))
    });
    let expected = [(NAME, "completed"), ("a-b", "running")];
    let expected = expected.map(|(name, status)| (name.to_owned(), status.to_owned()));
    assert!(shown.eq(expected), "{records:?}");
}

#[tokio::test]
async fn a_password_in_a_url_is_never_shown() {
    let farm = Farm::start();
    let body = asked("https://ann:hush@host/a/b");
    let record = farm.begun("/builds/", &body).await;
    assert_eq!(record["repository"], "https://host/a/b");
    assert_eq!(record["repo"], "https://host/a/b");
    let record = farm.get("/builds/a-b").await;
    assert_eq!(record["repository"], "https://host/a/b");
}
