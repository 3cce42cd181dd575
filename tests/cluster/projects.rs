//! Several builds at a time, of one project and of several.

use crate::farm::Farm;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::{BuildStatus, BuildView};
use clusterrunner_common::ids::BuildId;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// A job whose atoms print the file `version`, as long as there is one.
const PRINT_VERSION: &str = "Print:
  commands:
    - cat version
    - echo \"$N\"
    - test \"$N\" != \"$(cat failing)\"
  atomizers:
    - N: seq 1 20
";

/// The consoles and exit codes of a build's atoms by their settings.
async fn outcomes(farm: &Farm, build: BuildId) -> BTreeMap<String, (String, Option<i32>)> {
    let mut outcomes = BTreeMap::new();
    for atom in farm.atoms(build).await {
        let console = farm.console(build, &atom).await;
        outcomes.insert(atom.command_string, (console, atom.exit_code));
    }
    outcomes
}

fn expected(version: &str, failing: u32) -> BTreeMap<String, (String, Option<i32>)> {
    (1..=20)
        .map(|n| {
            let code = i32::from(n == failing);
            (
                format!("export N=\"{n}\";"),
                (format!("{version}\n{n}\n"), Some(code)),
            )
        })
        .collect()
}

fn project(version: &str, failing: &str) -> Repository {
    let repository = Repository::empty();
    repository.commit(&[
        ("clusterrunner.yaml", PRINT_VERSION),
        ("version", &format!("{version}\n")),
        ("failing", failing),
    ]);
    repository
}

#[tokio::test]
async fn two_projects_at_once() {
    let (one, two) = (project("one", "3"), project("two", "none"));
    let farm = Farm::start(&[2, 2]).await;
    let first = farm.submit(&one.request()).await;
    let second = farm.submit(&two.request()).await;
    let (first, second) = (farm.end_of(first).await, farm.end_of(second).await);
    let (first, second) = (first.fails(&[(3, 1)]), second.passes());
    assert_eq!(outcomes(&farm, first.id).await, expected("one", 3));
    assert_eq!(outcomes(&farm, second.id).await, expected("two", 0));
}

/// The branch moves while the first build waits for a slave: the slave must still get the commit
/// that was there when the build was prepared.
#[tokio::test]
async fn each_build_tests_the_commit_it_was_made_for() {
    let repository = project("old", "none");
    let old = repository.git(&["rev-parse", "HEAD"]);
    let mut farm = Farm::start(&[]).await;
    let prepared = async |build| {
        let prepared = |view: &BuildView| view.state_timestamps["prepared"].is_some();
        let view = farm.wait_for_build(build, "it is prepared", prepared).await;
        view.commit.unwrap()
    };
    let first = farm.submit(&repository.request()).await;
    assert_eq!(prepared(first).await, old);
    let new = repository.commit(&[("version", "new\n"), ("failing", "20")]);
    let second = farm.submit(&repository.request()).await;
    assert_eq!(prepared(second).await, new);
    let by_hash = repository.request_with(json!({"hash": old}));
    let third = farm.submit(&by_hash).await;
    assert_eq!(prepared(third).await, old);

    farm.start_slave(2);
    for (build, version, failing) in [(first, "old", 0), (second, "new", 20), (third, "old", 0)] {
        let view = farm.end_of(build).await;
        assert_eq!(view.status, BuildStatus::Finished, "{view:?}");
        assert_eq!(outcomes(&farm, build).await, expected(version, failing));
    }
}

/// Many builds of several projects, submitted by several clients at once.
#[tokio::test]
async fn many_builds_of_several_projects() {
    let projects = [("one", 1), ("two", 20), ("three", 0)]
        .map(|(version, failing)| (project(version, &failing.to_string()), version, failing));
    let farm = Farm::start(&[2, 2, 1]).await;
    let client = farm.client();
    let mut submissions = tokio::task::JoinSet::new();
    for number in 0..12 {
        let (project, ..) = &projects[number % 3];
        let (client, request) = (client.clone(), crate::farm::object(&project.request()));
        submissions.spawn(async move { (client.submit_params(&request).await.unwrap(), number) });
    }
    let mut builds = submissions.join_all().await;
    builds.sort_unstable();
    let ids: Vec<BuildId> = builds.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, (1..=12).map(BuildId).collect::<Vec<_>>());
    for (build, number) in builds {
        let (_, version, failing) = &projects[number % 3];
        let view = farm.end_of(build).await;
        assert_eq!(view.status, BuildStatus::Finished, "{view:?}");
        assert_eq!(outcomes(&farm, build).await, expected(version, *failing));
    }
    farm.wait_for_rest().await;
}

/// Two preparations never share a work tree: not while a canceled one still ends, and not because the
/// repository has two names.
#[tokio::test]
async fn one_build_of_a_repository_is_prepared_at_a_time() {
    let repository = Repository::empty();
    let at = |name: &str| repository.outside(name);
    let (lock, started, release) = (at("lock"), at("started"), at("release"));
    let take = format!(
        "exec 9> '{}'; flock -n 9 && echo alone || echo shared",
        lock.display()
    );
    let job = format!(
        "Slow:\n  commands: [echo]\n  atomizers:\n    - N: {take}; trap '' TERM; touch '{}'; until test -e '{}'; do sleep 0.02; done\n\
         Quick:\n  commands: [echo]\n  atomizers:\n    - N: {take}\n",
        started.display(),
        release.display()
    );
    repository.commit(&[("clusterrunner.yaml", &job)]);
    let farm = Farm::start(&[1]).await;
    let client = farm.client();
    let by_url = format!("file://{}", repository.path().display());
    for canceled in [true, false] {
        let slow = repository.request_with(json!({"job_name": "Slow"}));
        let slow = farm.submit(&slow).await;
        wait_for("the slow atomizer runs", async || {
            started.exists().then_some(())
        })
        .await;
        std::fs::remove_file(&started).unwrap();
        let mut quick = repository.request_with(json!({"job_name": "Quick"}));
        if canceled {
            // It does not end when it is asked to, so it goes on for the grace time.
            client.cancel(slow).await.unwrap();
        } else {
            quick["url"] = json!(by_url);
        }
        let quick = farm.submit(&quick).await;
        wait_for("it is the quick build's turn", async || {
            client.build(quick).await.unwrap().state_timestamps["preparing"]
        })
        .await;
        if !canceled {
            // Nothing tells that it does not begin, so it gets the time that it would need.
            tokio::time::sleep(Duration::from_millis(500)).await;
            std::fs::write(&release, "").unwrap();
        }
        farm.end_of(quick).await.passes();
        let atom = farm.atoms(quick).await.remove(0);
        assert_eq!(atom.command_string, "export N=\"alone\";");
    }
}
