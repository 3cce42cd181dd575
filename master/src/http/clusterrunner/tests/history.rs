//! What earlier builds say of atoms and tests.

use super::*;
use crate::journal::{HistoryJob, Kind, Seen, What};
use clusterrunner_common::ids::{BuildId, ProjectId};
use clusterrunner_core::builds::hunted::HuntTrials;
use clusterrunner_core::history::{Ended, Failure, Run, Tag};

impl Master {
    /// A build of the first project is counted, in which an atom and a test of it passed after so many failures.
    pub(super) async fn counts(&self, build: u64, failed_before: u8) {
        let job = HistoryJob {
            project: ProjectId(1),
            inside: String::new(),
            name: "Unit".to_owned(),
        };
        let commit = "00c0ffee99";
        let of = Failure {
            build: BuildId(build),
            commit: Some(commit.to_owned()),
            at: Timestamp(build * 1000),
        };
        let run = Run {
            hunted: HuntTrials::default(),
            build: BuildId(build),
            commit: Tag::of(commit),
            told: 0,
            ended: Ended::Passed,
            failed_before,
            ms: 1500,
        };
        let what = |kind, class: Option<&str>| What {
            kind,
            name: "a".to_owned(),
            class: class.map(str::to_owned),
            atom: "a".into(),
        };
        let runs = [
            (what(Kind::Atom, None), run),
            (what(Kind::Test, Some("C")), run),
        ];
        let histories = self.histories.clone();
        let counting = tokio::task::spawn_blocking(move || {
            histories.learn(&job, &of, &runs, &mut Seen::default())?;
            histories.count(&[of.build])
        });
        counting.await.unwrap().unwrap();
    }

    async fn remembered(&self, path: &str, list: &str) -> Vec<String> {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{body}");
        let entries = body[list].as_array().unwrap().iter();
        let name = |entry: &Value| format!("{} {}", entry["kind"], entry["name"]).replace('"', "");
        entries.map(name).collect()
    }
}

#[tokio::test]
async fn the_history_of_a_name_has_its_runs_and_what_they_say() {
    let master = Master::start();
    master.documented("POST", "/v1/build", BUILD).await;
    master.counts(1, 0).await;
    master.counts(2, 1).await;
    let (status, body) = master.get("/v2/history?atom=a").await;
    assert_eq!(status, 200, "{body}");
    let run = |build: u64, outcome: &str, failed: u32| json!({"build_id": build, "commit": "00c0ffee", "outcome": outcome, "failed_attempts": failed, "time": 1.5});
    let failed = json!({"build_id": 2, "commit": "00c0ffee99", "at": 2.0});
    let mut found = body["history"][0].clone();
    let flakiness = found["flakiness"].take();
    let expected = json!({
        "kind": "atom", "name": "a", "class": null, "atom": null, "project_id": 1, "project": "project", "job": "Unit",
        "runs": [run(1, "passed", 0), run(2, "flaky", 1)],
        "durations": {"p10": 1.5, "median": 1.5, "p90": 1.5, "max": 1.5},
        "flakiness": null, "first_failed": failed, "last_failed": failed,
    });
    assert_eq!(found, expected);
    assert_eq!(
        (
            &flakiness["verdict"],
            &flakiness["trials"],
            &flakiness["flakes"]
        ),
        (&json!("suspicious"), &json!(2), &json!(1))
    );
    let [low, rate, high] = ["low", "rate", "high"].map(|name| flakiness[name].as_f64().unwrap());
    assert!(low < rate && rate < high, "{flakiness}");

    for (query, expected) in [
        ("name=a", &["atom a", "test a"][..]),
        ("test=a", &["test a"]),
        ("atom=a&project=project", &["atom a"]),
        ("atom=a&project=1&job=Unit", &["atom a"]),
        ("atom=a&project=", &["atom a"]),
        ("atom=a&project=other", &[]),
        ("atom=a&job=unit", &[]),
        ("atom=b", &[]),
    ] {
        let found = master
            .remembered(&format!("/v2/history?{query}"), "history")
            .await;
        assert_eq!(found, expected, "{query}");
    }
    for query in ["", "?atom=", "?atom=a&test=b"] {
        let (status, body) = master.get(&format!("/v2/history{query}")).await;
        assert_eq!(status, 400, "{query}");
        let said = body["error"].as_str().unwrap();
        assert!(said.starts_with("Say whose history: 'atom'"), "{said}");
    }
}

#[tokio::test]
async fn what_is_flaky_is_listed_and_nothing_else() {
    let master = Master::start();
    master.documented("POST", "/v1/build", BUILD).await;
    master.counts(1, 0).await;
    assert!(master.remembered("/v2/flaky", "flaky").await.is_empty());
    master.counts(2, 1).await;
    master.counts(3, 1).await;
    let (_, body) = master.get("/v2/flaky?limit=1").await;
    assert_eq!(
        (&body["total"], &body["flaky"][1]),
        (&json!(2), &Value::Null)
    );
    assert_eq!(body["flaky"][0]["flakiness"]["verdict"], "flaky");
    assert_eq!(
        master.remembered("/v2/flaky?job=Unit", "flaky").await.len(),
        2
    );
    assert!(
        master
            .remembered("/v2/flaky?job=x", "flaky")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn strangers_are_told_nothing_of_private_projects() {
    let master = Master::start();
    master.documented("POST", "/v1/build", BUILD).await;
    master.counts(1, 1).await;
    master.publish(false).await;
    assert!(
        master
            .remembered("/v2/history?name=a", "history")
            .await
            .is_empty()
    );
    assert!(master.remembered("/v2/flaky", "flaky").await.is_empty());
    let (status, body) = master.signed_read("/v2/flaky").await;
    assert_eq!((status, &body["total"]), (200, &json!(2)));
}
