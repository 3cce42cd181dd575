//! A slave that the test plays: it does at once all that it is ordered.

use crate::coordinator::ClusterHandle;
use crate::store::instance_logs::InstanceLogs;
use clusterrunner_common::api::instances::LogPiece;
use clusterrunner_common::ids::{Incarnation, SessionId, SlaveId};
use clusterrunner_common::work::ReportedState;
use clusterrunner_core::Cluster;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::Command;
use clusterrunner_core::effect::{Effect, WantedInstance};
use clusterrunner_core::instances::reported::{ReportedInstance, ReportedInstances};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// What becomes of instances, by process type: all others are up.
#[derive(Clone, Debug, Default)]
pub(super) struct Conduct(Arc<Mutex<Conducted>>);

#[derive(Debug, Default)]
struct Conducted {
    processes: BTreeMap<(String, u64), ReportedState>,
    /// What runs print, and the exit code.
    run: (String, i32),
    never_ends: bool,
}

impl Conduct {
    /// What becomes of a process type of a release.
    pub(super) fn of(&self, process: &str, release: u64, state: ReportedState) {
        let processes = &mut self.0.lock().unwrap().processes;
        processes.insert((process.to_owned(), release), state);
    }

    /// What runs print from now on, and the code with which they end.
    pub(super) fn of_runs(&self, printed: &str, code: i32) {
        self.0.lock().unwrap().run = (printed.to_owned(), code);
    }

    /// Runs do not end from now on.
    pub(super) fn runs_never_end(&self) {
        self.0.lock().unwrap().never_ends = true;
    }

    fn state(&self, wanted: &WantedInstance, logs: &InstanceLogs) -> ReportedState {
        let conducted = self.0.lock().unwrap();
        let up = || ReportedState::Up {
            port: 5000,
            keeps_prefix: false,
        };
        if !wanted.purpose.is_run() {
            let process = wanted.purpose.process().unwrap_or_default().to_owned();
            let release = wanted.purpose.release().unwrap_or_default();
            let state = conducted.processes.get(&(process, release)).cloned();
            return state.unwrap_or_else(up);
        }
        if conducted.never_ends {
            return up();
        }
        let (text, code) = conducted.run.clone();
        let printed = text.len() as u64;
        logs.expect(wanted.id, wanted.generation, printed);
        let piece = LogPiece {
            id: wanted.id,
            generation: wanted.generation,
            offset: 0,
            text,
            length: printed,
        };
        logs.add_of_run(&piece).unwrap();
        ReportedState::Exited { code, printed }
    }
}

/// Connects a slave with labels, that takes instances and has a container runtime.
pub(super) async fn connect(cluster: &ClusterHandle, labels: &[&str]) {
    let session = SessionId("life of 1".to_owned());
    let connect = Command::ConnectSlave {
        url: "slave:1".to_owned(),
        session: session.clone(),
        num_executors: 4,
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        known_as: None,
        finished: Vec::new(),
        seen: Vec::new(),
        fresh: Incarnation("fresh".to_owned()),
        key: None,
    };
    cluster.command(connect).await.unwrap();
    report(cluster, SlaveId(1), Vec::new()).await;
}

async fn report(cluster: &ClusterHandle, slave: SlaveId, instances: Vec<ReportedInstance>) {
    let report = Command::ReportInstances {
        slave,
        session: SessionId("life of 1".to_owned()),
        report: ReportedInstances {
            max_instances: 100,
            runs_images: true,
            instances,
            snapshots: BTreeSet::new(),
        },
    };
    cluster.command(report).await.unwrap();
}

/// Plays the slave, and the router, that sees no requests under way to what is retired.
pub(super) async fn play(
    cluster: ClusterHandle,
    logs: InstanceLogs,
    conduct: Conduct,
    mut effects: UnboundedReceiver<Effect>,
) {
    let mut look = tokio::time::interval(Duration::from_millis(10));
    loop {
        let effect = tokio::select! {
            effect = effects.recv() => effect,
            _ = look.tick() => {
                stop_retired(&cluster).await;
                continue;
            }
        };
        let Some(effect) = effect else { return };
        if let Effect::OrderInstances {
            slave, instances, ..
        } = effect
        {
            let reported = instances.iter().map(|wanted| ReportedInstance {
                id: wanted.id,
                generation: wanted.generation,
                state: conduct.state(wanted, &logs),
                restarts: 0,
            });
            report(&cluster, slave, reported.collect()).await;
        }
    }
}

async fn stop_retired(cluster: &ClusterHandle) {
    let retired = |cluster: &Cluster| {
        let retired = cluster.instances().filter(|instance| instance.retired);
        let retired = retired.filter(|instance| !instance.is_over());
        retired.map(|instance| instance.id).collect::<Vec<_>>()
    };
    for instance in cluster.read(retired).await.unwrap_or_default() {
        let by = Actor::Master;
        let stop = Command::StopInstance { by, instance };
        cluster.command(stop).await.unwrap();
    }
}
