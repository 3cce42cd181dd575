//! Slaves that come, go, and are not wanted.

use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::BuildView;

#[tokio::test]
async fn a_slave_with_another_secret_never_joins() {
    let mut farm = Farm::start(&[1]).await;
    let settings = farm.settings_with_secret("another secret of a farm");
    farm.start_slave_with(1, &settings);
    wait_for("the stranger says what is wrong", async || {
        let output = farm.output("slave 1");
        let told = output.contains("secret") && output.contains("signature");
        (told && output.contains("401")).then_some(())
    })
    .await;
    farm.works().await;
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
    farm.works().await;
}

#[tokio::test]
async fn a_slave_outlives_its_master() {
    let mut farm = Farm::start(&[1]).await;
    farm.works().await;
    assert!(farm.stop_master().success());
    farm.start_master().await;
    farm.wait_for_slaves(1).await;
    farm.works().await;
    farm.kill_master();
    farm.start_master().await;
    farm.wait_for_slaves(1).await;
    farm.works().await;
    let builds = farm.client().builds().await.unwrap();
    let ids: Vec<u64> = builds.iter().map(|build| build.id.0).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert!(!farm.has_ended(0));
}

#[tokio::test]
async fn a_build_waits_for_a_slave() {
    let mut farm = Farm::start(&[]).await;
    let repository = Repository::of(&job("echo on"));
    let build = farm.submit(&repository.request()).await;
    let prepared = |view: &BuildView| view.state_timestamps["prepared"].is_some();
    farm.wait_for_build(build, "it is prepared", prepared).await;
    let client = farm.client();
    assert_eq!(client.queue().await.unwrap().len(), 1);
    farm.start_slave(2);
    farm.end_of(build).await.passes();
    assert_eq!(client.queue().await.unwrap(), []);
}
