//! Slaves of the original, whose master is ours.

use super::peers::{Peer, ask};
use super::{ACCEPTING, ATOMS, check_ran_once, check_results, project, runs};
use crate::farm::Farm;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::BuildStatus;
use clusterrunner_common::ids::BuildId;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The addresses of the slaves that ran a build.
async fn workers(farm: &Farm, build: BuildId) -> BTreeMap<String, usize> {
    let mut workers = BTreeMap::new();
    for subjob in farm.subjobs(build).await {
        *workers.entry(subjob.slave.unwrap()).or_default() += 1;
    }
    workers
}

async fn some_have_run(log: &Path, atoms: usize) {
    let enough = async || (runs(log).len() >= atoms).then_some(());
    wait_for("some atoms have run", enough).await;
}

/// A build that runs on a slave of the original. Its parts go in this order.
struct Running {
    build: BuildId,
    slave: Peer,
    repository: Repository,
    /// Where its atoms tell that they run.
    log: PathBuf,
    farm: Farm,
}

/// Has so many atoms run, also on slaves of ours with so many executors each.
async fn running(ours: &[u32], atoms: usize) -> Running {
    let mut farm = Farm::with(&ACCEPTING);
    let log = farm.path("runs");
    let repository = project(&log, "0.2");
    farm.start_all(ours).await;
    let slave = Peer::slave(&farm, 0, 2);
    farm.wait_for_slaves(ours.len() + 1).await;
    let build = farm.submit(&repository.request()).await;
    some_have_run(&log, atoms).await;
    Running {
        build,
        slave,
        repository,
        log,
        farm,
    }
}

#[tokio::test]
async fn a_slave_of_the_original_runs_one_build_after_the_other() {
    let mut farm = Farm::with(&ACCEPTING);
    let log = farm.path("runs");
    let repository = project(&log, "0");
    farm.start_master().await;
    let said = farm.output("master");
    assert!(
        said.contains("WARN") && said.contains("accept_legacy_peers is on"),
        "{said}"
    );
    let mut slave = Peer::slave(&farm, 0, 2);
    farm.wait_for_slaves(1).await;
    // Two at once: it must not be given the second before it has cleared the first away.
    let builds = [
        farm.submit(&repository.request()).await,
        farm.submit(&repository.request()).await,
    ];
    for build in builds {
        let view = farm.end_of(build).await;
        check_results(&farm, &view).await;
        let workers = workers(&farm, build).await;
        assert_eq!(workers.keys().collect::<Vec<_>>(), [&slave.address]);
    }
    assert!(runs(&log).values().all(|times| *times == builds.len()));
    farm.wait_for_rest().await;

    let job = json!({"commands": ["echo $N"], "atomizers": [{"N": "seq 1 3"}],
                     "setup_build": ["false"]});
    let inline = repository.request_with(json!({"config": job}));
    let view = farm.run(&inline).await;
    assert_eq!(view.status, BuildStatus::Error, "{view:?}");
    farm.wait_for_rest().await;
    let job = json!({"commands": ["echo $N"], "atomizers": [{"N": "seq 1 3"}]});
    let in_place =
        json!({"type": "directory", "project_directory": repository.path(), "config": job});
    farm.run(&in_place).await.passes();
    farm.wait_for_rest().await;

    // The original's client shuts it down, which is told to it in the original's way.
    let output = ask(&farm, &["shutdown"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(slave.end().await, Some(0));
    assert_eq!(slave.wrong(), "");
}

#[tokio::test]
async fn slaves_of_both_kinds_share_a_build_that_the_originals_client_submits() {
    let mut farm = Farm::with(&ACCEPTING);
    let log = farm.path("runs");
    let repository = project(&log, "0.1");
    farm.start_all(&[2]).await;
    let slave = Peer::slave(&farm, 0, 2);
    farm.wait_for_slaves(2).await;
    let output = ask(&farm, &["build", &repository.request().to_string()]);
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["result"], "FAILURE");
    // Four files of each atom, and the list of those that failed.
    assert_eq!(
        told["names"].as_array().unwrap().len(),
        4 * ATOMS as usize + 1
    );
    let build = BuildId(1);
    let view = farm.end_of(build).await;
    check_results(&farm, &view).await;
    check_ran_once(&log);
    let workers = workers(&farm, build).await;
    let both = [&farm.slave_address(0), &slave.address];
    assert!(
        both.iter().all(|address| workers.contains_key(*address)),
        "{workers:?}"
    );
    farm.wait_for_rest().await;
    assert_eq!(slave.wrong(), "");
}

#[tokio::test]
async fn a_slave_of_the_original_is_killed_and_comes_back() {
    let mut on = running(&[], 8).await;
    on.slave.kill();
    assert_eq!(on.slave.wrong(), "");
    let again = Peer::slave(&on.farm, 0, 2);
    let view = on.farm.end_of(on.build).await;
    check_results(&on.farm, &view).await;
    let ran = runs(&on.log);
    assert_eq!(ran.len(), ATOMS as usize);
    let repeated = ran.values().filter(|times| **times > 1).count();
    // What it ran, and what it had run without the master having heard of it.
    assert!(repeated <= 4, "{ran:?}");
    on.farm.wait_for_rest().await;
    assert_eq!(again.wrong(), "");
}

#[tokio::test]
async fn a_slave_of_the_original_that_is_stopped_reports_killed_atoms_in_vain() {
    let mut on = running(&[1], 8).await;
    on.slave.ask_to_end();
    assert_eq!(on.slave.end().await, Some(0));
    let view = on.farm.end_of(on.build).await;
    check_results(&on.farm, &view).await;
    on.farm.wait_for_rest().await;
    assert_eq!(on.slave.wrong(), "");
}

#[tokio::test]
async fn a_canceled_build_leaves_a_slave_of_the_original_fit_for_the_next() {
    let on = running(&[], 4).await;
    on.farm.client().cancel(on.build).await.unwrap();
    // Also one that is canceled while it is set up, or before.
    let another = on.farm.submit(&on.repository.request()).await;
    on.farm.client().cancel(another).await.unwrap();
    let view = on.farm.run(&on.repository.request()).await;
    check_results(&on.farm, &view).await;
    on.farm.wait_for_rest().await;
    assert_eq!(on.slave.wrong(), "");
}

#[tokio::test]
async fn a_master_that_is_killed_gives_the_work_of_slaves_of_the_original_to_others() {
    let mut on = running(&[1], 8).await;
    on.farm.kill_master();
    on.farm.start_master().await;
    let view = on.farm.end_of(on.build).await;
    check_results(&on.farm, &view).await;
    // Its master does not know what it has: it ends, as it does when its own master starts anew.
    assert_eq!(on.slave.end().await, Some(0));
    on.farm.wait_for_rest().await;
}
