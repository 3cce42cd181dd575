//! Builds as the clients of Polyaxon read and stop them, whoever started them.

use crate::farm::Farm;
use crate::gate::Gate;
use crate::job::job;
use crate::polyaxon::Polyaxon;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::ids::BuildId;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// The builds of a repository's project.
fn builds_of(repository: &Repository) -> String {
    let project = repository.path().file_name().unwrap();
    format!("clusterrunner/{}/builds", project.to_str().unwrap())
}

impl Polyaxon {
    async fn wait_for_status(&self, build: &str, status: &str) -> Value {
        wait_for(status, async || {
            let found = self.get(build).await;
            (found["last_status"] == status).then_some(found)
        })
        .await
    }

    /// The statuses of a build with what they say, the oldest first.
    async fn statuses(&self, build: &str) -> Vec<(String, Value)> {
        let list = self.get(&format!("{build}/statuses")).await;
        let statuses = list["results"].as_array().unwrap().iter();
        let statuses = statuses.map(|status| {
            let word = status["status"].as_str().unwrap().to_owned();
            (word, status["message"].clone())
        });
        statuses.collect()
    }

    /// That a build went through these statuses, and how the last one was explained.
    async fn check_statuses(&self, build: &str, expected: &[&str], last: &str) {
        let statuses = self.statuses(build).await;
        let words: Vec<&str> = statuses.iter().map(|(word, _)| word.as_str()).collect();
        assert_eq!(words, expected);
        assert_eq!(statuses.last().unwrap().1, last);
    }
}

#[tokio::test]
async fn a_build_goes_through_its_statuses_in_order() {
    let farm = Farm::start(&[1]).await;
    let user = farm.polyaxon_user("ann").await;
    let repository = Repository::of(&job("echo hello").atoms(1));
    let id = farm.submit(&repository.request()).await;
    let build = format!("{}/{id}", builds_of(&repository));
    let shown = user.wait_for_status(&build, "succeeded").await;
    let all = ["created", "scheduled", "building", "running", "succeeded"];
    user.check_statuses(&build, &all, "Completed").await;
    assert_eq!(
        shown["commit"],
        repository.git(&["rev-parse", "HEAD"]).trim()
    );
    assert_eq!(shown["node_scheduled"], farm.slave_address(0));
    assert_eq!(shown["user"], "clusterrunner");
    assert_eq!(
        shown["config"]["build"],
        json!({"image": null, "build_steps": ["echo hello"]})
    );
    farm.wait_for_rest().await;
    assert_eq!(user.get(&build).await, shown, "it is archived");
}

#[tokio::test]
async fn a_failed_build_says_how_it_failed() {
    let farm = Farm::start(&[1]).await;
    let user = farm.polyaxon_user("ann").await;
    let repository = Repository::of(&job("exit 7").atoms(1));
    let id = farm.submit(&repository.request()).await;
    let build = format!("{}/{id}", builds_of(&repository));
    user.wait_for_status(&build, "failed").await;
    let all = ["created", "scheduled", "building", "running", "failed"];
    let message = "The build failed: exit code 7.";
    user.check_statuses(&build, &all, message).await;
}

#[tokio::test]
async fn a_build_is_unknown_until_its_slave_is_back() {
    let mut farm = Farm::start(&[1]).await;
    let user = farm.polyaxon_user("ann").await;
    let gate = Gate::new(1);
    let id = farm.submit(&gate.request()).await;
    let build = format!("{}/{id}", builds_of(&gate.repository));
    gate.wait_for_runs(1).await;
    user.wait_for_status(&build, "running").await;
    farm.kill_slave(0);
    user.wait_for_status(&build, "unknown").await;
    gate.open();
    farm.restart_slave(0, 1);
    user.wait_for_status(&build, "succeeded").await;
    let all = [
        "created",
        "scheduled",
        "building",
        "running",
        "unknown",
        "running",
        "succeeded",
    ];
    user.check_statuses(&build, &all, "Completed").await;
}

#[tokio::test]
async fn a_build_of_clusterrunner_is_stopped_by_a_superuser_alone() {
    let farm = Farm::start(&[1]).await;
    let user = farm.polyaxon_user("ann").await;
    let root = farm.polyaxon_superuser("root").await;
    let repository = Repository::empty();
    let started = repository.outside("started");
    repository.commit_job(
        &job("setsid sleep 301 &")
            .then(format!("touch '{}'", started.display()))
            .then("sleep 302")
            .atoms(1),
    );
    let id = farm.submit(&repository.request()).await;
    let build = format!("{}/{id}", builds_of(&repository));
    wait_for("the atom runs", async || started.exists().then_some(())).await;
    let stop = format!("{build}/stop");
    let refused = user.ask(Method::POST, &stop, None).await;
    assert_eq!(refused.0, StatusCode::FORBIDDEN);
    for _ in 0..2 {
        let stopped = root.ask(Method::POST, &stop, None).await;
        assert_eq!(stopped, (StatusCode::OK, json!("")));
        repository.wait_until_gone().await;
    }
    let all = ["created", "scheduled", "building", "running", "stopped"];
    let message = "BuildJob was stopped.";
    user.check_statuses(&build, &all, message).await;
    farm.end_of(id).await.ends_canceled();
}

#[tokio::test]
async fn statuses_outlive_the_master() {
    let mut farm = Farm::start(&[1]).await;
    let user = farm.polyaxon_user("ann").await;
    let gate = Gate::new(1);
    let id = farm.submit(&gate.request()).await;
    let build = format!("{}/{id}", builds_of(&gate.repository));
    gate.wait_for_runs(1).await;
    user.wait_for_status(&build, "running").await;
    let before = user.get(&format!("{build}/statuses")).await;
    farm.kill_master();
    farm.start_master().await;
    assert_eq!(user.get(&format!("{build}/statuses")).await, before);
    gate.open();
    user.wait_for_status(&build, "succeeded").await;
}

/// Builds of a repository that is not there. Most are stopped before the master comes to look for it.
#[tokio::test]
async fn a_thousand_builds_are_listed_sorted_and_asked_for() {
    let farm = Farm::start(&[]).await;
    let user = farm.polyaxon_superuser("ann").await;
    let nowhere = json!({"type": "git", "url": "http://127.0.0.1:9/nowhere.git"});
    for _ in 0..1000 {
        farm.submit(&nowhere).await;
    }
    let builds = "clusterrunner/nowhere/builds";
    for build in (1..=1000).rev() {
        let stop = format!("{builds}/{build}/stop");
        let (status, body) = user.ask(Method::POST, &stop, None).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }
    let over = user
        .get(&format!("{builds}?query=status:stopped|failed"))
        .await;
    assert_eq!(over["count"], 1000);
    let (mut seen, mut next) = (
        Vec::new(),
        Some(format!("{builds}?sort=-created_at&limit=300")),
    );
    while let Some(page) = next {
        let page = page.split("/api/v1/").last().unwrap().to_owned();
        let list = user.get(&page).await;
        assert_eq!(list["count"], 1000);
        let results = list["results"].as_array().unwrap().iter();
        seen.extend(results.map(|build| build["id"].as_u64().unwrap()));
        next = list["next"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, (1..=1000).rev().collect::<Vec<u64>>());
    let some = user
        .get(&format!(
            "{builds}?query=id:10..12,status:~running&sort=created_at"
        ))
        .await;
    let ids: Vec<BuildId> = some["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|build| BuildId(build["id"].as_u64().unwrap()))
        .collect();
    assert_eq!(ids, [BuildId(10), BuildId(11), BuildId(12)]);
}
