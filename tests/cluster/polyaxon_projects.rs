//! Projects, bookmarks and deletion through Polyaxon's routes, on whole farms whose master dies in between.

use crate::farm::Farm;
use crate::job::job;
use crate::polyaxon::Polyaxon;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::ids::BuildId;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::fs;

impl Polyaxon {
    async fn says(&self, method: Method, path: &str, body: Value, expected: StatusCode) -> Value {
        let (status, body) = self.ask(method, path, Some(body)).await;
        assert_eq!(status, expected, "{path}: {body}");
        body
    }

    /// The names in a list of projects.
    async fn projects_of(&self, user: &str) -> Vec<String> {
        let list = self.get(&format!("{user}/")).await;
        let projects = list["results"].as_array().unwrap().iter();
        let names = projects.map(|project| project["name"].as_str().unwrap().to_owned());
        names.collect()
    }
}

impl Farm {
    async fn restarts(&mut self) {
        self.kill_master();
        self.start_master().await;
    }

    /// What ClusterRunner's API says of a build.
    async fn status_of(&self, build: BuildId) -> u16 {
        let url = format!("http://{}/v1/build/{build}", self.master_address());
        reqwest::get(url).await.unwrap().status().as_u16()
    }
}

/// The project of builds of a repository that come through ClusterRunner's API.
pub(crate) fn project_of(repository: &Repository) -> String {
    let name = repository.path().file_name().unwrap();
    format!("clusterrunner/{}", name.to_str().unwrap())
}

/// A job that says that it runs, and runs until it is ended.
fn endless(repository: &Repository) -> std::path::PathBuf {
    let running = repository.outside("running");
    let command = format!("echo $$ > '{}'; sleep 600", running.display());
    repository.commit_job(&job(command).atoms(1));
    running
}

#[tokio::test]
async fn a_private_project_is_invisible_to_another_user() {
    let mut farm = Farm::start(&[]).await;
    let (ann, ben) = (
        farm.polyaxon_user("ann").await,
        farm.polyaxon_user("ben").await,
    );
    let body = json!({"name": "hill", "is_public": false, "tags": ["a"]});
    let made = ann
        .says(Method::POST, "projects/", body, StatusCode::CREATED)
        .await;
    ann.says(
        Method::POST,
        "ann/hill/bookmark",
        json!({}),
        StatusCode::CREATED,
    )
    .await;
    farm.restarts().await;
    let mut kept = ann.get("ann/hill").await;
    assert_eq!(kept["bookmarked"].take(), true);
    let mut expected = made;
    expected["bookmarked"].take();
    assert_eq!(kept, expected);
    assert_eq!(ben.projects_of("ann").await, [""; 0]);
    for path in ["ann/hill", "ann/hill/builds/", "ann/hill/builds/1"] {
        ben.says(Method::GET, path, json!({}), StatusCode::FORBIDDEN)
            .await;
    }
    let share = "ann/hill/collaborators/ben";
    ann.says(Method::PUT, share, json!({}), StatusCode::NO_CONTENT)
        .await;
    assert_eq!(ben.projects_of("ann").await, ["hill"]);
    ben.says(Method::DELETE, "ann/hill", json!({}), StatusCode::FORBIDDEN)
        .await;
    ann.says(
        Method::DELETE,
        "ann/hill",
        json!({}),
        StatusCode::NO_CONTENT,
    )
    .await;
    farm.restarts().await;
    assert_eq!(ann.projects_of("ann").await, [""; 0]);
    assert_eq!(ann.get("bookmarks/ann/projects/").await["count"], 0);
}

#[tokio::test]
async fn a_build_of_clusterrunner_is_read_marked_and_stopped() {
    let mut farm = Farm::start(&[1]).await;
    let (root, ann) = (
        farm.polyaxon_superuser("root").await,
        farm.polyaxon_user("ann").await,
    );
    let repository = Repository::empty();
    let running = endless(&repository);
    let id = farm.submit(&repository.request()).await;
    let project = project_of(&repository);
    let build = format!("{project}/builds/{id}");
    wait_for("the atom runs", async || running.exists().then_some(())).await;
    assert_eq!(ann.get(&project).await["num_builds"], 1);
    let bookmark = format!("{build}/bookmark");
    ann.says(Method::POST, &bookmark, json!({}), StatusCode::CREATED)
        .await;
    let described = json!({"name": "endless", "tags": ["slow"]});
    ann.says(
        Method::PATCH,
        &build,
        described.clone(),
        StatusCode::FORBIDDEN,
    )
    .await;
    root.says(Method::PATCH, &build, described, StatusCode::OK)
        .await;
    farm.restarts().await;
    let marked = ann.get("bookmarks/ann/builds/").await;
    let marked = &marked["results"][0]["content_object"];
    assert_eq!(
        (&marked["id"], &marked["name"]),
        (&json!(id), &json!("endless"))
    );
    assert_eq!(marked["last_status"], "running");
    let stop = format!("{build}/stop");
    ann.says(Method::POST, &stop, json!({}), StatusCode::FORBIDDEN)
        .await;
    root.says(Method::POST, &stop, json!({}), StatusCode::OK)
        .await;
    assert_eq!(ann.get(&build).await["last_status"], "stopped");
    farm.wait_for_rest().await;
    let pid = fs::read_to_string(&running).unwrap();
    assert!(!fs::exists(format!("/proc/{}", pid.trim())).unwrap());
    let shown = ann.get(&build).await;
    assert_eq!(shown["tags"], json!(["slow"]));
    assert_eq!(shown["bookmarked"], true);
}

#[tokio::test]
async fn a_running_build_is_deleted_though_the_master_dies() {
    let mut farm = Farm::start(&[1]).await;
    let root = farm.polyaxon_superuser("root").await;
    let repository = Repository::empty();
    let running = endless(&repository);
    let id = farm.submit(&repository.request()).await;
    let build = format!("{}/builds/{id}", project_of(&repository));
    wait_for("the atom runs", async || running.exists().then_some(())).await;
    let results = farm.path(&format!("base/master/results/{id}"));
    assert!(results.exists());
    root.says(Method::DELETE, &build, json!({}), StatusCode::NO_CONTENT)
        .await;
    assert_eq!(farm.status_of(id).await, 404);
    farm.restarts().await;
    root.says(Method::GET, &build, json!({}), StatusCode::NOT_FOUND)
        .await;
    assert_eq!(farm.status_of(id).await, 404);
    assert!(farm.client().builds().await.unwrap().is_empty());
    wait_for("its results are gone", async || {
        (!results.exists()).then_some(())
    })
    .await;
    let pid = fs::read_to_string(&running).unwrap();
    assert!(!fs::exists(format!("/proc/{}", pid.trim())).unwrap());
    // Its number is not given again, and its project begins anew.
    repository.commit_job(&job("true").atoms(1));
    let next = farm.run(&repository.request()).await.passes();
    assert_eq!(next.id, BuildId(id.0 + 1));
    assert_eq!(root.get(&project_of(&repository)).await["num_builds"], 1);
}
