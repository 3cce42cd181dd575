//! Slaves that the master can not call: all that it says to them goes through their polls.

use crate::bad_line::BadLine;
use crate::farm::Farm;
use crate::job::Job;
use crate::raw::Raw;
use crate::repository::Repository;
use crate::wait::wait_for;
use crate::whole_build::{ATOMS, check_results, many_atoms, runs};
use clusterrunner_common::api::{BuildStatus, BuildView};
use serde_json::json;

const NOT_REACHABLE: &str = "--not-reachable";

/// A farm with slaves that can not be called. No call can have got to their ports: the master has no address of them.
async fn farm_of(executors: &[u32]) -> Farm {
    let mut farm = Farm::start(&[]).await;
    for number in executors {
        farm.start_slave_with_arguments(*number, &[NOT_REACHABLE]);
    }
    let slaves = farm.wait_for_slaves(executors.len()).await;
    for slave in slaves {
        assert!(slave.url.starts_with("poll://"), "{}", slave.url);
    }
    farm
}

#[tokio::test]
async fn a_build_runs_on_slaves_that_poll() {
    let farm = farm_of(&[2, 1]).await;
    let log = farm.path("log");
    let repository = Repository::with_jobs(&many_atoms(&log, "0"));
    let view = farm.run(&repository.request()).await;
    check_results(&farm, &view).await;
    let runs = runs(&log);
    assert_eq!(runs.len(), usize::try_from(ATOMS).unwrap());
    assert!(runs.values().all(|runs| *runs == 1), "{runs:?}");
    farm.works().await;
}

#[tokio::test]
async fn a_running_atom_is_read_and_canceled_through_polls() {
    let farm = farm_of(&[1]).await;
    let job = Job::empty().then("echo begun; sleep 300").atoms(1);
    let repository = Repository::of(&job);
    let build = farm.submit(&repository.request()).await;
    let is_running = |view: &BuildView| view.num_atoms_in_progress > 0;
    farm.wait_for_build(build, "it runs", is_running).await;
    let atoms = farm.atoms(build).await;
    wait_for("what the atom prints is seen", async || {
        let console = farm.console(build, &atoms[0]).await;
        (console == "begun\n").then_some(())
    })
    .await;
    farm.client().cancel(build).await.unwrap();
    let view = farm.end_of(build).await;
    assert_eq!(view.status, BuildStatus::Canceled);
    farm.wait_for_rest().await;
    farm.works().await;
}

#[tokio::test]
async fn a_build_goes_on_after_a_kill_of_the_master_and_of_a_slave() {
    let mut farm = farm_of(&[2, 2]).await;
    let log = farm.path("log");
    let repository = Repository::with_jobs(&many_atoms(&log, "0.05"));
    let build = farm.submit(&repository.request()).await;
    let some = async |number: usize| {
        wait_for("some atoms have run", async || {
            (runs(&log).len() >= number).then_some(())
        })
        .await;
    };
    some(10).await;
    farm.kill_master();
    farm.start_master().await;
    some(60).await;
    farm.kill_slave(0);
    farm.restart_slave_with_arguments(0, 2, &[NOT_REACHABLE]);
    let view = farm.end_of(build).await;
    check_results(&farm, &view).await;
    farm.wait_for_slaves(2).await;
    farm.works().await;
}

#[tokio::test]
async fn polls_that_are_cut_again_and_again_do_no_harm() {
    let mut farm = Farm::new();
    // A call that is lost on the way to its slave is one that times out.
    farm.add_settings("[general]\ndefault_http_timeout = 3\n");
    farm.start_master().await;
    let line = BadLine::new(farm.address(), farm.master_address(), 20_000).await;
    let by_line = format!("{}:{}", farm.address(), line.port());
    farm.start_slave_with_arguments(3, &["--master-url", &by_line, NOT_REACHABLE]);
    farm.wait_for_slaves(1).await;
    let log = farm.path("log");
    let repository = Repository::with_jobs(&many_atoms(&log, "0.02"));
    let view = farm.run(&repository.request()).await;
    check_results(&farm, &view).await;
    assert!(line.breaks() >= 5, "only {}", line.breaks());
}

#[tokio::test]
async fn no_other_slave_takes_or_answers_its_calls() {
    let mut farm = farm_of(&[1]).await;
    let slave = farm.wait_for_slaves(1).await.remove(0);
    farm.start_slave(1);
    farm.wait_for_slaves(2).await;
    let other = farm.slave_key(1);
    let poll = json!({"session_id": slave.session_id, "wait_ms": 0});
    let calls = format!("/v1/slave/{}/calls", slave.id);
    let take = Raw::json("POST", &farm.master_address(), &calls, &poll);
    let taken = take.send(&take.key_signature(&other)).await;
    assert_eq!(taken.status, 403, "{}", taken.body);
    for proof in [take.signature(&farm.secret()), Vec::new()] {
        let taken = take.send(&proof).await;
        assert!(matches!(taken.status, 401 | 403), "{}", taken.body);
    }
    let answer = format!("{calls}/1?piece=0&last=true");
    let answer = Raw {
        body: b"{\"status\":200,\"headers\":[]}\n{}".to_vec(),
        ..Raw::json("POST", &farm.master_address(), &answer, &json!({}))
    };
    let answered = answer.send(&answer.upload_signature(&other)).await;
    assert_eq!(answered.status, 403, "{}", answered.body);
    // Its own key may, for the life that it has; a slave that is called has no calls there.
    let own = farm.slave_key(0);
    let answered = answer.send(&answer.upload_signature(&own)).await;
    assert_eq!(
        (answered.status, &answered.body["is_wanted"]),
        (200, &json!(false))
    );
    let old = json!({"session_id": "another life", "wait_ms": 0});
    let old = Raw::json("POST", &farm.master_address(), &calls, &old);
    let taken = old.send(&old.key_signature(&own)).await;
    assert!((400..500).contains(&taken.status), "{}", taken.body);
    farm.works().await;
}
