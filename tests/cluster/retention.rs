//! What is over is kept within bounds, and goes whole.

use crate::archives::zip_of;
use crate::farm::{Extra, Farm, object};
use crate::gate::Gate;
use crate::job::job;
use crate::raw::{Answer, Raw};
use crate::repository::Repository;
use crate::wait::{wait_for, wait_for_at_most};
use clusterrunner_common::api::BuildView;
use clusterrunner_common::ids::BuildId;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Duration;

const BUILDS: [BuildId; 4] = [BuildId(1), BuildId(2), BuildId(3), BuildId(4)];

fn one_atom() -> Repository {
    Repository::of(&job("echo hello").atoms(1))
}

async fn get(farm: &Farm, path: &str) -> Answer {
    let request = Raw::json("GET", &farm.master_address(), path, &Value::Null);
    request.send(&Vec::new()).await
}

async fn builds(farm: &Farm) -> Vec<BuildId> {
    let builds = farm.client().builds().await.unwrap();
    builds.iter().map(|build| build.id).collect()
}

async fn wait_for_builds(farm: &Farm, expected: &[BuildId]) {
    wait_for(&format!("{expected:?} are left"), async || {
        (builds(farm).await == expected).then_some(())
    })
    .await;
}

fn results(farm: &Farm, build: u64) -> std::path::PathBuf {
    farm.path(&format!("base/master/results/{build}"))
}

async fn wait_for_no(path: &Path) {
    wait_for(&format!("{} is gone", path.display()), async || {
        (!path.exists()).then_some(())
    })
    .await;
}

fn with_two_builds() -> Farm {
    Farm::with(&Extra {
        master: "keep_builds = 2",
        ..Extra::default()
    })
}

#[tokio::test]
async fn the_oldest_builds_go_and_a_download_that_began_goes_on() {
    // More than any socket holds back.
    let noisy = job("head -c 32000000 /dev/urandom > $ARTIFACT_DIR/noise").atoms(1);
    let repository = one_atom();
    let mut farm = with_two_builds();
    farm.start_all(&[1]).await;
    farm.runs(&noisy).await;
    let url = format!(
        "http://{}/v1/build/1/artifacts.tar.gz",
        farm.master_address()
    );
    let mut download = reqwest::get(&url).await.unwrap();
    let length = download.content_length().unwrap();
    let mut received = download.chunk().await.unwrap().unwrap().len() as u64;

    for _ in 2..=4 {
        farm.run(&repository.request()).await.passes();
    }
    wait_for_builds(&farm, &BUILDS[2..]).await;
    for build in 1..=2 {
        wait_for_no(&results(&farm, build)).await;
        for what in [
            "",
            "/subjob",
            "/subjob/0/atom/0/console",
            "/artifacts.tar.gz",
        ] {
            let answer = get(&farm, &format!("/v1/build/{build}{what}")).await;
            assert_eq!(answer.status, 404, "{what}: {answer:?}");
            assert!(answer.error().contains("keep_builds"), "{what}: {answer:?}");
        }
    }
    while let Some(chunk) = download.chunk().await.unwrap() {
        received += chunk.len() as u64;
    }
    assert_eq!(received, length);
    assert!(length > 30_000_000);

    // Those that are kept are whole, also after a restart, and ids go on.
    farm.kill_master();
    farm.start_master().await;
    assert_eq!(builds(&farm).await, BUILDS[2..]);
    for build in &BUILDS[2..] {
        let atoms = farm.atoms(*build).await;
        assert_eq!(farm.console(*build, &atoms[0]).await, "hello\n");
        assert_eq!(zip_of(&farm, *build).await.len(), 4);
    }
    assert_eq!(farm.submit(&repository.request()).await, BuildId(5));
    farm.end_of(BuildId(5)).await;
    wait_for_builds(&farm, &[BuildId(4), BuildId(5)]).await;
    let metrics = reqwest::get(format!("http://{}/v1/metrics", farm.master_address()));
    let metrics = metrics.await.unwrap().text().await.unwrap();
    assert!(metrics.contains("master_builds_kept 2\n"), "{metrics}");
}

/// What was decided before the master died is done after it.
#[tokio::test]
async fn a_master_is_killed_before_it_has_removed_a_build() {
    let repository = one_atom();
    let mut farm = with_two_builds();
    farm.start_all(&[1]).await;
    farm.run(&repository.request()).await;
    farm.run(&repository.request()).await;
    farm.wait_for_rest().await;
    // A directory can not be removed that is none.
    let (place, aside) = (results(&farm, 1), farm.path("aside"));
    fs::rename(&place, &aside).unwrap();
    fs::write(&place, "").unwrap();
    farm.run(&repository.request()).await;
    wait_for("the removal fails", async || {
        let said = farm.output("master");
        said.contains("could not remove a build").then_some(())
    })
    .await;
    assert_eq!(get(&farm, "/v1/build/1").await.status, 404);
    farm.kill_master();
    fs::remove_file(&place).unwrap();
    fs::rename(&aside, &place).unwrap();
    farm.start_master().await;
    assert_eq!(get(&farm, "/v1/build/1").await.status, 404);
    wait_for_no(&place).await;
    assert_eq!(builds(&farm).await, BUILDS[1..3]);
    assert!(results(&farm, 2).exists() && results(&farm, 3).exists());
}

#[tokio::test]
async fn copies_of_projects_go_that_nobody_uses() {
    let unused = one_atom();
    let gate = Gate::new(1);
    let mut farm = Farm::with(&Extra {
        general: "keep_projects_bytes = 1",
        ..Extra::default()
    });
    farm.start_all(&[2]).await;
    let build = farm.submit(&gate.request()).await;
    farm.run(&unused.request()).await;
    let num_copies = |place: &Path| fs::read_dir(place).unwrap().count();
    let of_master = ["base/master/repos", "base/master/work"].map(|place| farm.path(place));
    let of_slave = farm.slave_directory(0).join("repos");
    let runs = |view: &BuildView| view.num_atoms_in_progress == 1;
    farm.wait_for_build(build, "the atom runs", runs).await;
    assert_eq!(num_copies(&of_master[0]), 2);
    // Each start looks at once.
    assert!(farm.stop_master().success());
    farm.start_master().await;
    for place in &of_master {
        wait_for("one project is left", async || {
            (num_copies(place) == 1).then_some(())
        })
        .await;
    }
    gate.open();
    farm.end_of(build).await.passes();
    farm.wait_for_rest().await;
    assert_eq!(num_copies(&of_slave), 2);
    farm.stop_slave(0);
    farm.restart_slave(0, 1);
    assert!(farm.stop_master().success());
    farm.start_master().await;
    for place in of_master.iter().chain([&of_slave]) {
        wait_for("no project is left", async || {
            (num_copies(place) == 0).then_some(())
        })
        .await;
    }
    farm.run(&gate.request()).await.passes();
}

/// Bounds that are none are told before anything is removed.
#[tokio::test]
async fn wrong_bounds_are_refused() {
    for (key, value) in [("keep_builds_days", "-1"), ("keep_results_bytes", "10G")] {
        let setting = format!("{key} = {value}");
        let farm = Farm::with(&Extra {
            master: &setting,
            ..Extra::default()
        });
        let output = farm.command().arg("master").output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(key), "{text}");
    }
}

/// How much memory the master has is printed, for docs/journal.md:
/// `CLUSTERRUNNER_ENDED_BUILDS=10000 cargo test -p clusterrunner-tests ended_builds -- --nocapture`.
#[tokio::test]
async fn ended_builds_take_little_memory() {
    const USERS: usize = 16;
    let number = std::env::var("CLUSTERRUNNER_ENDED_BUILDS");
    let number: usize = number.map_or(320, |text| text.parse().unwrap());
    let mut farm = Farm::start(&[]).await;
    let resident = async |farm: &Farm| {
        let text = reqwest::get(format!("http://{}/v1/metrics", farm.master_address()));
        let text = text.await.unwrap().text().await.unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().parse::<f64>().unwrap()
        };
        let megabytes = value("process_resident_memory_bytes ") / 1e6;
        (value("master_builds_kept "), megabytes)
    };
    let before = resident(&farm).await;
    let mut users = tokio::task::JoinSet::new();
    for user in 0..USERS {
        let directory = farm.path(&format!("project-{user}"));
        fs::create_dir(&directory).unwrap();
        let client = farm.client();
        users.spawn(async move {
            let request = json!({"type": "directory", "project_directory": directory});
            for _ in 0..number / USERS {
                // There is no clusterrunner.yaml: it is over as soon as it is looked at.
                client.submit_params(&object(&request)).await.unwrap();
            }
        });
    }
    while let Some(user) = users.join_next().await {
        user.unwrap();
    }
    let expected = number / USERS * USERS;
    let after = wait_for_at_most(Duration::from_secs(600), "all are put away", async || {
        let (kept, megabytes) = resident(&farm).await;
        (kept.to_string() == expected.to_string()).then_some(megabytes)
    })
    .await;
    assert!(farm.stop_master().success());
    farm.start_master().await;
    let (kept, restarted) = resident(&farm).await;
    assert_eq!(kept.to_string(), expected.to_string());
    assert!(restarted < 100.0, "{restarted} MB");
    println!(
        "resident: {:.0} MB without builds, {after:.0} MB with {expected} that are over, {restarted:.0} MB after a restart",
        before.1
    );
}
