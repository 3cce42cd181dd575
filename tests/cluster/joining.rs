//! Slaves that come, go, and are not wanted.

use crate::farm::Farm;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::{BuildResult, BuildStatus};

const JOB: &str = "Job:\n  commands: [echo \"$N\"]\n  atomizers: [{N: seq 1 6}]\n";

async fn check_build(farm: &Farm, repository: &Repository) {
    let build = farm.run(&repository.request()).await;
    assert_eq!(build.status, BuildStatus::Finished, "{build:?}");
    assert_eq!(build.result, Some(BuildResult::NoFailures));
    assert_eq!(build.num_atoms, Some(6));
}

#[tokio::test]
async fn a_slave_with_another_secret_never_joins() {
    let repository = Repository::with_jobs(JOB);
    let mut farm = Farm::start(&[1]).await;
    let settings = farm.settings_with_secret("another secret of a farm");
    farm.start_slave_with(1, &settings);
    wait_for("the stranger says what is wrong", async || {
        let output = farm.output("slave 1");
        let told = output.contains("secret") && output.contains("signature");
        (told && output.contains("401")).then_some(())
    })
    .await;
    check_build(&farm, &repository).await;
    let slaves = farm.client().slaves().await.unwrap();
    let urls: Vec<&str> = slaves.iter().map(|slave| slave.url.as_str()).collect();
    assert_eq!(urls, [farm.slave_address(0)]);
    for daemon in ["master", "slave 0", "slave 1"] {
        assert!(
            !farm.output(daemon).contains("another secret of a farm"),
            "{daemon} shows a secret"
        );
    }
    assert!(!farm.has_ended(1), "it goes on trying");
}

#[tokio::test]
async fn a_slave_may_be_there_before_its_master() {
    let repository = Repository::with_jobs(JOB);
    let mut farm = Farm::new();
    farm.start_slave(1);
    wait_for("the slave misses its master", async || {
        farm.output("slave 0")
            .contains("no contact with the master")
            .then_some(())
    })
    .await;
    farm.start_master().await;
    farm.wait_for_slaves(1).await;
    check_build(&farm, &repository).await;
}

#[tokio::test]
async fn a_slave_outlives_its_master() {
    let repository = Repository::with_jobs(JOB);
    let mut farm = Farm::start(&[1]).await;
    check_build(&farm, &repository).await;
    assert!(farm.stop_master().success());
    farm.start_master().await;
    farm.wait_for_slaves(1).await;
    check_build(&farm, &repository).await;
    farm.kill_master();
    farm.start_master().await;
    farm.wait_for_slaves(1).await;
    check_build(&farm, &repository).await;
    let ids: Vec<u64> = farm
        .client()
        .builds()
        .await
        .unwrap()
        .iter()
        .map(|build| build.id.0)
        .collect();
    assert_eq!(ids, [1, 2, 3]);
    assert!(!farm.has_ended(0));
}

#[tokio::test]
async fn a_build_waits_for_a_slave() {
    let repository = Repository::with_jobs(JOB);
    let mut farm = Farm::start(&[]).await;
    let build = farm.submit(&repository.request()).await;
    let client = farm.client();
    wait_for("the build is prepared", async || {
        client.build(build).await.unwrap().state_timestamps["prepared"]
    })
    .await;
    assert_eq!(client.queue().await.unwrap().len(), 1);
    farm.start_slave(2);
    let end = farm.end_of(build).await;
    assert_eq!(end.result, Some(BuildResult::NoFailures), "{end:?}");
    assert_eq!(client.queue().await.unwrap(), []);
}
