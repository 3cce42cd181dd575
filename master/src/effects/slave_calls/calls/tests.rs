//! Which calls are made, and what answers mean.

use super::*;
use crate::coordinator::Coordinator;
use crate::journal::Journal;
use crate::read::running::RunningAtoms;
use crate::store::results::Results;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
use tokio_util::sync::CancellationToken;

fn calls_to(cluster: ClusterHandle, url: String) -> Calls {
    // Nothing is kept in these tests.
    let nowhere = std::path::PathBuf::from("/nonexistent");
    let secret = Secret::new("a secret for tests".to_owned()).unwrap();
    Calls {
        caller: Caller::new(Some(secret), Duration::from_secs(5)).unwrap(),
        cluster,
        measured: Measured::default(),
        gives_projects: false,
        giving: None,
        callee: Callee {
            slave: SlaveId(1),
            url,
            session: SessionId("a".to_owned()),
            incarnation: None,
        },
        life: SessionId("m".to_owned()),
        patience: Duration::from_millis(200),
        legacy: None,
        keeping: Keeping {
            space: DiskSpace::new(&nowhere, 0),
            results: Results::new(nowhere).unwrap(),
            running: RunningAtoms::default(),
        },
    }
}

/// A cluster, the switch that ends it, and its end.
fn cluster(
    directory: &std::path::Path,
) -> (
    ClusterHandle,
    CancellationToken,
    tokio::task::JoinHandle<Result<(), crate::journal::JournalError>>,
) {
    let journal = Journal::open(&directory.join("journal")).unwrap();
    let lease = Duration::from_secs(60);
    let (coordinator, cluster, _effects) = Coordinator::recover(journal, lease).unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(coordinator.run(stop.clone()));
    (cluster, stop, running)
}

#[tokio::test]
async fn hand_outs_that_wait_go_in_one_call() {
    let directory = tempfile::tempdir().unwrap();
    let (cluster, stop, running) = cluster(directory.path());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = listener.local_addr().unwrap().to_string();
    let (heard, mut calls) = mpsc::unbounded_channel();
    let slave = axum::Router::new().fallback(move |uri: axum::http::Uri, body: String| {
        let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let number = body["subjobs"].as_array().map_or(0, Vec::len);
        heard.send(format!("{} {number}", uri.path())).unwrap();
        async { (StatusCode::CREATED, axum::Json(Success::default())) }
    });
    let serving = tokio::spawn(async move { axum::serve(listener, slave).await });
    let (orders, inbox) = mpsc::unbounded_channel();
    let start = |subjob| SlaveCall::Start {
        subjob: SubjobId(subjob),
        attempt: Attempt(1),
        atoms: vec!["a".to_owned()],
        command: "run".into(),
        timeout_s: None,
        batch: None,
        is_followed: false,
    };
    for (build, call) in [
        (1, start(0)),
        (1, start(1)),
        (1, start(2)),
        (2, start(0)),
        (1, SlaveCall::TearDown),
        (2, start(1)),
    ] {
        orders.send(Order::About(BuildId(build), call)).unwrap();
    }
    drop(orders);
    calls_to(cluster, url).carry_out(inbox).await;
    serving.abort();
    let mut found = Vec::new();
    while let Ok(call) = calls.try_recv() {
        found.push(call);
    }
    let (of_first, of_second): (Vec<_>, Vec<_>) = found
        .iter()
        .partition(|call| call.starts_with("/v1/build/1/"));
    assert_eq!(
        of_first,
        ["/v1/build/1/subjobs 3", "/v1/build/1/teardown 0"]
    );
    assert_eq!(of_second, ["/v1/build/2/subjobs 2"]);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_a_slave_says_it_has_done_needs_no_report() {
    let directory = tempfile::tempdir().unwrap();
    let (cluster, stop, running) = cluster(directory.path());
    let calls = calls_to(cluster, "127.0.0.1:1".to_owned());
    let meaning = |call, state| calls.meaning(&Order::About(BuildId(1), call), Ok(state));
    let set_up = || set_up::tests::directory("/p", None);
    let (slave, build) = (SlaveId(1), BuildId(1));
    assert_eq!(
        meaning(set_up(), Some(SlaveState::SetupComplete)),
        Some(Command::ReportSetUp {
            slave,
            session: SessionId("a".to_owned()),
            build,
        })
    );
    assert_eq!(
        meaning(SlaveCall::TearDown, Some(SlaveState::Idle)),
        Some(Command::ReportTornDown { slave, build })
    );
    assert_eq!(meaning(set_up(), None), None);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_slave_that_can_not_be_called_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let (cluster, stop, running) = cluster(directory.path());
    // A port that was free a moment ago and that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let connect = Command::ConnectSlave {
        url: free.to_string(),
        session: SessionId("a".to_owned()),
        num_executors: 1,
        labels: std::collections::BTreeSet::new(),
        known_as: None,
        finished: Vec::new(),
        seen: Vec::new(),
        fresh: clusterrunner_common::ids::Incarnation("fresh".to_owned()),
        key: None,
    };
    cluster.command(connect).await.unwrap();
    let calls = calls_to(cluster.clone(), free.to_string());
    let (orders, inbox) = mpsc::unbounded_channel();
    orders
        .send(Order::About(BuildId(1), SlaveCall::TearDown))
        .unwrap();
    drop(orders);
    calls.carry_out(inbox).await;
    let presence = cluster.read(|cluster| cluster.slave(SlaveId(1)).unwrap().presence.clone());
    let presence = format!("{:?}", presence.await.unwrap());
    assert!(
        presence.contains("the master can not call it"),
        "{presence}"
    );
    stop.cancel();
    running.await.unwrap().unwrap();
}
