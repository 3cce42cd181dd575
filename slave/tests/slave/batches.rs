//! Many hand-outs in one call, and many results in one upload.

use crate::fake_master::{FakeMaster, Heard};
use crate::test_slave::{Place, TestSlave, job, text_of};
use clusterrunner_common::api::{ConsoleBody, SlaveState};
use clusterrunner_common::ids::{Attempt, BuildId, SubjobId};
use std::collections::BTreeSet;

async fn ready(master: &FakeMaster, num_executors: u32) -> TestSlave {
    let slave = TestSlave::start(master, num_executors).await;
    slave.set_up(1, job(None, None)).await;
    master.hears_state(SlaveState::SetupComplete, 1).await;
    slave
}

fn numbered(subjobs: std::ops::Range<u32>) -> Vec<(u32, u32, &'static str)> {
    subjobs.map(|subjob| (subjob, 1, "export X=1;")).collect()
}

#[tokio::test]
async fn what_is_handed_out_in_one_call_runs_in_order_and_each_result_comes_once() {
    let master = FakeMaster::start().await;
    let slave = ready(&master, 1).await;
    let command = "echo $X >> log; echo out";
    let order = [
        (7, 1, "export X=7;"),
        (3, 1, "export X=3;"),
        (9, 1, "export X=9;"),
        (0, 1, "export X=0;"),
        (5, 1, "export X=5;"),
    ];
    let answer = slave.start_subjobs(1, command, &order).await.unwrap();
    assert_eq!(answer, serde_json::json!({"status": "SUCCESS"}));
    // Said again it does no harm.
    slave.start_subjobs(1, command, &order).await.unwrap();
    master.hears_result(5).await;
    let log = std::fs::read_to_string(slave.project.join("log")).unwrap();
    assert_eq!(log, "7\n3\n9\n0\n5\n");
    for result in master.results() {
        let console = format!("artifact_{}_0/clusterrunner_console_output", result.subjob);
        assert_eq!(result.text(&console), "out\n");
    }
    slave.tear_down(1).await;
    master.hears_state(SlaveState::Idle, 1).await;
    assert_eq!(master.results().len(), 5);
    slave.end().await;
}

#[tokio::test]
async fn results_gather_while_others_are_on_their_way() {
    const NUMBER: u32 = 400;
    let master = FakeMaster::start().await;
    let slave = ready(&master, 2).await;
    let subjobs = numbered(0..NUMBER);
    slave.start_subjobs(1, "true", &subjobs).await.unwrap();
    master.hears_result(NUMBER as usize).await;
    slave.tear_down(1).await;
    master.hears_state(SlaveState::Idle, 1).await;
    let results = master.results();
    assert_eq!(results.len(), NUMBER as usize);
    let each: BTreeSet<u32> = results.iter().map(|result| result.subjob).collect();
    assert_eq!(each.len(), NUMBER as usize);
    slave.end().await;
}

#[tokio::test]
async fn a_call_is_refused_as_a_whole() {
    let master = FakeMaster::start().await;
    let slave = ready(&master, 1).await;
    let status = |answer: Result<serde_json::Value, clusterrunner_common::caller::CallError>| {
        let error = answer.unwrap_err();
        (error.status().unwrap().as_u16(), error.to_string())
    };
    slave.start_subjobs(1, "true", &[(0, 2, "")]).await.unwrap();
    let with_an_old_one = [(1, 1, ""), (0, 1, "")];
    let (code, error) = status(slave.start_subjobs(1, "true", &with_an_old_one).await);
    assert_eq!(code, 409, "{error}");
    let (code, error) = status(slave.start_subjobs(2, "true", &[(1, 1, "")]).await);
    assert_eq!(code, 409, "{error}");
    assert!(error.contains("not set up"), "{error}");
    let (code, error) = status(slave.start_subjobs(1, "true", &[(1, 1, "\0")]).await);
    assert_eq!(code, 400, "{error}");
    let none = serde_json::json!({"command": "true", "subjobs": [{"subjob_id": 1, "attempt": 1, "atoms": []}]});
    let (code, error) = status(slave.send("/v1/build/1/subjobs", &none).await);
    assert_eq!(code, 400, "{error}");
    assert!(error.contains("'atoms' of subjob 1"), "{error}");
    let many = numbered(10..10_011);
    let (code, error) = status(slave.start_subjobs(1, "true", &many).await);
    assert_eq!(code, 503, "{error}");
    // Nothing of them was taken.
    slave.start_subjobs(1, "true", &[(2, 1, "")]).await.unwrap();
    master.hears_result(2).await;
    let subjobs: Vec<u32> = master
        .results()
        .iter()
        .map(|result| result.subjob)
        .collect();
    assert_eq!(subjobs, [0, 2]);
    slave.end().await;
}

#[tokio::test]
async fn what_the_master_does_not_want_of_an_upload_is_dropped_alone() {
    let master = FakeMaster::start().await;
    let slave = ready(&master, 1).await;
    let rejected = [(1, 409), (2, 410), (3, 404)];
    master
        .manners
        .lock()
        .unwrap()
        .rejected_subjobs
        .extend(rejected);
    slave
        .start_subjobs(1, "true", &numbered(0..6))
        .await
        .unwrap();
    master.hears_result(6).await;
    let waiting = slave.data.join("results/1");
    slave
        .shows(|_| {
            waiting
                .read_dir()
                .map_or(true, |mut files| files.next().is_none())
        })
        .await;
    let failed = |heard: &Heard| {
        matches!(
            heard,
            Heard::Report {
                state: SlaveState::SetupFailed,
                ..
            }
        )
    };
    assert!(!master.heard().iter().any(failed));
    // Another refusal is trouble of the slave, and names the subjob.
    master
        .manners
        .lock()
        .unwrap()
        .rejected_subjobs
        .insert(7, 400);
    slave
        .start_subjobs(1, "true", &numbered(6..8))
        .await
        .unwrap();
    let reason = master
        .hears_state(SlaveState::SetupFailed, 1)
        .await
        .unwrap();
    assert!(
        reason.contains("the result of subjob 7 can not be delivered"),
        "{reason}"
    );
    assert_eq!(master.results().len(), 8);
    slave.end().await;
}

#[tokio::test]
async fn consoles_are_there_while_their_results_are_on_their_way() {
    let master = FakeMaster::start().await;
    let slave = ready(&master, 1).await;
    let uploads_wait = master.manners.lock().unwrap().uploads_wait.clone();
    let nobody_is_answered = uploads_wait.write().await;
    let small = "echo small; echo x > $ARTIFACT_DIR/x";
    let large = "yes | head -c 200000; echo large; echo x > $ARTIFACT_DIR/x";
    slave.start_subjob(1, 0, 1, &[small, large]).await.unwrap();
    slave
        .start_subjobs(1, "echo gathered", &numbered(1..3))
        .await
        .unwrap();
    master.hears_result(3).await;
    assert!(!slave.artifacts(1).join("artifact_0_1").exists());
    let console = async |subjob: u32, atom: u32| {
        let url = slave.url(&format!(
            "/v1/build/1/subjob/{subjob}/atom/{atom}/console?max_lines=1"
        ));
        slave.caller.get::<ConsoleBody>(&url).await
    };
    assert_eq!(console(0, 0).await.unwrap().content, "small\n");
    let last = console(0, 1).await.unwrap();
    assert_eq!(
        (last.content.as_str(), last.total_num_lines),
        ("large\n", 100_001)
    );
    assert_eq!(console(2, 0).await.unwrap().content, "gathered\n");
    for (subjob, atom) in [(0, 2), (3, 0)] {
        let error = console(subjob, atom).await.unwrap_err();
        assert_eq!(error.status().unwrap().as_u16(), 404, "{error}");
    }
    drop(nobody_is_answered);
    slave.tear_down(1).await;
    master.hears_state(SlaveState::Idle, 1).await;
    let error = console(0, 0).await.unwrap_err();
    assert_eq!(error.status().unwrap().as_u16(), 404, "{error}");
    slave.end().await;
}

/// What a slave has that ends is offered by its next life, in the files in which it lies.
#[tokio::test]
async fn results_outlive_the_slave_and_are_delivered_if_any_of_a_file_is_wanted() {
    let master = FakeMaster::start().await;
    let place = Place::new().await;
    let address = place.listener.local_addr().unwrap();
    let slave = place.start(&master.address, 1);
    master
        .hears(|heard| matches!(heard, Heard::Heartbeat { .. }))
        .await;
    slave.set_up(1, job(None, None)).await;
    // Nothing is acknowledged.
    let statuses = std::iter::repeat_n(500, 1000);
    master
        .manners
        .lock()
        .unwrap()
        .result_statuses
        .extend(statuses);
    let subjobs = numbered(0..20);
    slave.start_subjobs(1, "echo $X", &subjobs).await.unwrap();
    slave
        .start_subjobs(1, "echo end > end", &[(20, 1, "")])
        .await
        .unwrap();
    text_of(slave.project.join("end")).await;
    // The last one may still be on its way when it ends.
    slave.stop.cancel();
    let base = slave.has_ended().await;

    let before = master.results().len();
    {
        let mut manners = master.manners.lock().unwrap();
        manners.result_statuses.clear();
        manners.wanted = [3, 7].map(|s| (BuildId(1), SubjobId(s), Attempt(1))).into();
        manners.rejected_subjobs = (0..20)
            .filter(|s| ![3, 7].contains(s))
            .map(|s| (s, 409))
            .collect();
    }
    let slave = Place::again(base, address).await.start(&master.address, 1);
    let offered = master
        .hears_nth(2, |heard| matches!(heard, Heard::Connected { .. }))
        .await;
    let Heard::Connected { finished, .. } = offered else {
        panic!("{offered:?}");
    };
    let offered: BTreeSet<u32> = finished.iter().map(|f| f.subjob_id.0).collect();
    assert!(
        (0..20).all(|subjob| offered.contains(&subjob)),
        "{offered:?}"
    );
    let of = |subjob| {
        let results = master.results().split_off(before);
        results.into_iter().find(|result| result.subjob == subjob)
    };
    let held = slave.data.join("held");
    slave
        .shows(|_| held.read_dir().unwrap().next().is_none())
        .await;
    for subjob in [3, 7] {
        let result = of(subjob).unwrap();
        let console = format!("artifact_{subjob}_0/clusterrunner_console_output");
        assert_eq!(result.text(&console), "1\n");
        assert_eq!(result.session_id, slave.status().await.slave.session_id);
    }
    slave.end().await;
}
