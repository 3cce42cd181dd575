//! When turns end.

use super::*;
use clusterrunner_common::ids::SessionId;
use clusterrunner_core::actor::Actor;
use std::collections::BTreeSet;
use std::path::Path;

/// A coordinator that tells of events, with one slave.
struct Running {
    cluster: ClusterHandle,
    told: mpsc::UnboundedReceiver<Fact>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), JournalError>>,
}

async fn start(directory: &Path) -> Running {
    let journal = Journal::open(directory).unwrap();
    let lease = Duration::from_secs(60);
    let (coordinator, cluster, _effects) = Coordinator::recover(journal, lease).unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    let coordinator = coordinator.telling(move |_, events| {
        for event in &**events {
            tell.send(event.fact.clone()).ok();
        }
    });
    let stop = CancellationToken::new();
    let task = tokio::spawn(coordinator.run(stop.clone()));
    let connect = Command::ConnectSlave {
        url: "slave:1".to_owned(),
        session: SessionId("a".to_owned()),
        num_executors: 1,
        labels: BTreeSet::new(),
        known_as: None,
        finished: Vec::new(),
        seen: Vec::new(),
        fresh: clusterrunner_common::ids::Incarnation("fresh".to_owned()),
        key: None,
    };
    cluster.command(connect).await.unwrap();
    Running {
        cluster,
        told,
        stop,
        task,
    }
}

fn drain() -> Command {
    let slave = SlaveId(1);
    Command::DrainSlave {
        by: Actor::SecretHolder,
        slave,
    }
}

fn is_drained(cluster: &Cluster) -> bool {
    cluster.slave(SlaveId(1)).unwrap().is_drained
}

#[tokio::test]
async fn what_is_noted_gets_to_disk_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = start(directory.path()).await;
    running.cluster.note(drain()).await.unwrap();
    while running.told.recv().await != Some(Fact::Slave(SlaveId(1), SlaveFact::DrainRequested)) {}
    // What means nothing any more is no trouble.
    running
        .cluster
        .note(Command::CancelBuild {
            by: Actor::SecretHolder,
            build: BuildId(9),
        })
        .await
        .unwrap();
    assert!(running.cluster.read(is_drained).await.unwrap());
    running.stop.cancel();
    running.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_noted_is_there_after_an_orderly_end_and_for_whoever_asks() {
    let directory = tempfile::tempdir().unwrap();
    let Running {
        cluster,
        stop,
        task,
        ..
    } = start(directory.path()).await;
    cluster.note(drain()).await.unwrap();
    assert!(cluster.read(is_drained).await.unwrap());
    let undrain = Command::UndrainSlave {
        by: Actor::SecretHolder,
        slave: SlaveId(1),
    };
    cluster.command(undrain).await.unwrap();
    cluster.note(drain()).await.unwrap();
    // The note has been taken before: it was sent before.
    let until_taken = cluster.heard(SlaveId(1)).await;
    until_taken.unwrap();
    while cluster.inbox.capacity() < INBOX {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    task.await.unwrap().unwrap();
    let mut journal = Journal::open(directory.path()).unwrap();
    assert!(is_drained(&journal.recover().unwrap()));
}
