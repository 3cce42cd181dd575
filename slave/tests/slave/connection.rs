//! Staying in touch with the master, and the slave's own start and end.

use crate::fake_master::{FakeMaster, Heard, mark};
use crate::test_slave::{DEADLINE, Place, TestSlave, job, marked_processes, text_of};
use clusterrunner_common::api::SlaveState;
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId};
use clusterrunner_common::process::command::MARK_VARIABLE;
use clusterrunner_common::work::Seen;
use serde_json::json;
use std::process::Command;
use tokio::net::TcpListener;

#[tokio::test]
async fn a_slave_waits_for_its_master() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let slave = Place::new().await.start(&address, 3);
    // The first try meets somebody who hangs up.
    drop(listener.accept().await.unwrap());
    let master = FakeMaster::start_on(listener);
    let connected = master
        .hears(|heard| matches!(heard, Heard::Connected { .. }))
        .await;
    let expected = Heard::Connected {
        slave: slave.address.clone(),
        num_executors: 3,
        finished: Vec::new(),
        seen: Vec::new(),
    };
    assert_eq!(connected, expected);
    master
        .hears_nth(2, |heard| *heard == Heard::Heartbeat { slave_id: 1 })
        .await;
    assert_eq!(master.heard()[1], Heard::Heartbeat { slave_id: 1 });
    slave.end().await;
}

#[tokio::test]
async fn a_slave_that_was_forgotten_connects_again_and_drops_its_work() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    slave.set_up(1, job(None, None)).await;
    slave
        .start_subjob(1, 0, 1, &["echo there > there; sleep 60"])
        .await
        .unwrap();
    text_of(slave.project.join("there")).await;
    {
        let mut manners = master.manners.lock().unwrap();
        manners.counts_on_slave = false;
        manners.slave_id = 2;
    }
    master
        .hears(|heard| *heard == Heard::Heartbeat { slave_id: 2 })
        .await;
    slave
        .shows(|status| status.slave.current_build_id.is_none())
        .await;
    assert!(marked_processes(&slave.data).is_empty());
    // The same build may come again at once.
    slave.set_up(1, job(None, None)).await;
    slave.start_subjob(1, 0, 1, &["echo again"]).await.unwrap();
    master.hears_result(1).await;
    let told_idle = |heard: &Heard| {
        matches!(
            heard,
            Heard::Report {
                state: SlaveState::Idle,
                ..
            }
        )
    };
    assert!(!master.heard().iter().any(told_idle));
    slave.end().await;
}

#[tokio::test]
async fn work_goes_on_where_the_master_resumes_it() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    slave.set_up(1, job(None, None)).await;
    let atom = "echo there > there; until [ -e done ]; do :; done";
    slave.start_subjob(1, 0, 1, &[atom]).await.unwrap();
    text_of(slave.project.join("there")).await;
    {
        let mut manners = master.manners.lock().unwrap();
        manners.counts_on_slave = false;
        manners.resumed = true;
        manners.slave_id = 2;
    }
    master
        .hears(|heard| *heard == Heard::Heartbeat { slave_id: 2 })
        .await;
    std::fs::write(slave.project.join("done"), "").unwrap();
    let result = master.hears_result(1).await;
    assert_eq!(result.slave_id.0, 2);
    slave.end().await;
}

#[tokio::test]
async fn reports_are_repeated_until_they_are_heard() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    master
        .manners
        .lock()
        .unwrap()
        .report_statuses
        .extend([503, 401, 200]);
    slave.set_up(1, job(None, None)).await;
    let complete = |heard: &Heard| {
        matches!(
            heard,
            Heard::Report {
                state: SlaveState::SetupComplete,
                ..
            }
        )
    };
    master.hears_nth(3, complete).await;
    // A report that is refused is not.
    master
        .manners
        .lock()
        .unwrap()
        .report_statuses
        .push_back(404);
    slave.tear_down(1).await;
    master.hears_state(SlaveState::Idle, 1).await;
    slave.tear_down(9).await;
    master.hears_state(SlaveState::Idle, 9).await;
    let told = |about| {
        let fits = move |heard: &&Heard| matches!(heard, Heard::Report { build, .. } if *build == Some(about));
        master.heard().iter().filter(fits).count()
    };
    assert_eq!((told(1), told(9)), (4, 1));
    slave.end().await;
}

#[tokio::test]
async fn a_slave_that_ends_says_so_and_tears_its_builds_down() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    slave.set_up(1, job(None, Some("touch torn_down"))).await;
    slave
        .start_subjob(1, 0, 1, &["echo there > there; sleep 60"])
        .await
        .unwrap();
    text_of(slave.project.join("there")).await;
    slave
        .send("/v1/kill", &serde_json::json!({}))
        .await
        .unwrap();
    let gone = |heard: &Heard| {
        matches!(
            heard,
            Heard::Report {
                state: SlaveState::Disconnected,
                ..
            }
        )
    };
    master.hears(gone).await;
    let base = slave.has_ended().await;
    assert!(base.path().join("project/torn_down").exists());
    assert!(master.results().is_empty());
}

#[tokio::test]
async fn a_start_ends_what_an_earlier_life_left_running() {
    let master = FakeMaster::start().await;
    let place = Place::new().await;
    let data = place.data();
    let mut left = Command::new("sleep")
        .arg("60")
        .env(MARK_VARIABLE, format!("{}:old:1:0.1:", data.display()))
        .spawn()
        .unwrap();
    std::fs::create_dir_all(data.join("results/1")).unwrap();
    let slave = place.start(&master.address, 1);
    master
        .hears(|heard| matches!(heard, Heard::Connected { .. }))
        .await;
    assert!(!left.wait().unwrap().success());
    assert!(!data.join("results/1").exists());
    let pid = std::fs::read_to_string(data.join("slave.pid")).unwrap();
    assert_eq!(pid.trim(), std::process::id().to_string());
    tokio::time::timeout(DEADLINE, slave.end()).await.unwrap();
}

#[tokio::test]
async fn an_order_that_overtakes_the_answer_to_connect_is_not_forgotten() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    slave.set_up(1, job(None, None)).await;
    master.hears_state(SlaveState::SetupComplete, 1).await;
    {
        let mut manners = master.manners.lock().unwrap();
        manners.counts_on_slave = false;
        manners.slave_id = 2;
        let order = (
            slave.url("/v1/build/2/setup"),
            slave.setup_body(job(None, None)),
        );
        manners.order_while_connecting = Some(order);
    }
    master.hears_state(SlaveState::SetupComplete, 2).await;
    slave
        .shows(|status| {
            status
                .slave
                .current_build_id
                .is_some_and(|build| build.0 == 2)
        })
        .await;
    slave.start_subjob(2, 0, 1, &["true"]).await.unwrap();
    master.hears_result(1).await;
    slave.end().await;
}

#[tokio::test]
async fn a_set_up_does_not_hold_up_the_end() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    let setup = "echo there > there; sleep 60";
    slave
        .set_up(1, job(Some(setup), Some("touch torn_down")))
        .await;
    text_of(slave.project.join("there")).await;
    slave.stop.cancel();
    let base = slave.has_ended().await;
    assert!(base.path().join("project/torn_down").exists());
}

/// What the slave told of what it has seen at its `nth` connect.
async fn seen_at(master: &FakeMaster, nth: usize) -> Vec<Seen> {
    let connected = |heard: &Heard| matches!(heard, Heard::Connected { .. });
    match master.hears_nth(nth, connected).await {
        Heard::Connected { seen, .. } => seen,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn orders_of_a_life_of_the_master_that_was_not_met_wait_until_it_is() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    assert!(seen_at(&master, 1).await.is_empty());
    slave.set_up(3, job(None, None)).await;
    master.hears_state(SlaveState::SetupComplete, 3).await;
    let wait = "until [ -e release ]; do sleep 0.02; done";
    slave.start_subjob(3, 0, 5, &[wait]).await.unwrap();
    // It was started again, and goes on where it was.
    {
        let mut manners = master.manners.lock().unwrap();
        manners.mark = mark("first", "life-2", 40);
        manners.resumed = true;
    }
    let order = json!({
        "master": mark("first", "life-2", 41),
        "command": "true",
        "subjobs": [{"subjob_id": 1, "attempt": 1, "atoms": [""]}],
    });
    let send = async || slave.send("/v1/build/3/subjobs", &order).await;
    let refused = send().await.unwrap_err();
    assert_eq!(refused.status().unwrap().as_u16(), 425, "{refused}");
    assert!(refused.is_passing());
    let seen = seen_at(&master, 2).await;
    let mut expected = Seen::first(mark("first", "life-1", 1));
    expected.build = BuildId(3);
    expected.attempt = Attempt(5);
    expected.slave = SlaveId(1);
    assert_eq!(seen, [expected]);
    master
        .hears_nth(2, |heard| {
            matches!(
                heard,
                Heard::Report {
                    build: Some(3),
                    state: SlaveState::SetupComplete,
                    ..
                }
            )
        })
        .await;
    send().await.unwrap();
    std::fs::write(slave.project.join("release"), "").unwrap();
    assert_eq!(master.hears_result(2).await.build, 3);
    slave.end().await;
}

#[tokio::test]
async fn another_incarnation_gets_nothing_of_what_the_one_before_asked_for() {
    let master = FakeMaster::start().await;
    let slave = TestSlave::start(&master, 1).await;
    slave.set_up(1, job(None, Some("touch torn_down"))).await;
    slave
        .start_subjob(1, 0, 1, &["echo there > there; sleep 60"])
        .await
        .unwrap();
    text_of(slave.project.join("there")).await;
    // It says that it knows the slave by that id; what it means is somebody else.
    {
        let mut manners = master.manners.lock().unwrap();
        manners.mark = mark("second", "life-2", 9);
        manners.resumed = true;
    }
    let mut set_up = slave.setup_body(job(None, None));
    set_up["master"] = json!(mark("second", "life-2", 10));
    let path = "/v1/build/1/setup";
    assert!(slave.send(path, &set_up).await.is_err());
    assert_eq!(seen_at(&master, 2).await.len(), 1);
    text_of_or_empty(slave.project.join("torn_down")).await;
    while slave.send(path, &set_up).await.is_err() {
        tokio::task::yield_now().await;
    }
    let start = json!({
        "master": mark("second", "life-2", 11),
        "command": "true",
        "subjobs": [{"subjob_id": 0, "attempt": 1, "atoms": [""]}],
    });
    slave.send("/v1/build/1/subjobs", &start).await.unwrap();
    let result = master.hears_result(1).await;
    assert_eq!((result.build, result.subjob), (1, 0));
    assert_eq!(master.results().len(), 1);
    slave.end().await;
}

/// Waits for a file, whatever is in it.
async fn text_of_or_empty(path: std::path::PathBuf) {
    let there = async {
        while !path.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, there).await.unwrap();
}
