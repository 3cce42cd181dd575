//! Slaves without programs: each says of every instance that it is told to run that it is up. What they cost the master
//! is what real ones cost it.

use crate::wire::{Connection, Uplink};
use clusterrunner_common::api::instances::{InstanceReport, InstancesOrder, InstancesReport};
use clusterrunner_common::api::{ConnectAnswer, ConnectRequest, PROTOCOL};
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::ids::{SessionId, SlaveId};
use clusterrunner_common::work::ReportedState;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// As often as slaves do by default.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The port that all instances have. Nobody asks them for anything.
const PORT: u16 = 9;

struct ModelHost {
    id: SlaveId,
    session: SessionId,
    uplink: Uplink,
    /// Counts the reports.
    number: u64,
    max_instances: u32,
}

/// Starts slaves that run so many instances each. They do not live without their master: what this gives must go before
/// the farm does.
pub(crate) async fn start_all(
    (master, secret): (&str, &Secret),
    address: &str,
    (hosts, max_instances): (u32, u32),
) -> JoinSet<()> {
    let mut all = JoinSet::new();
    for number in 0..hosts {
        let listener = TcpListener::bind((address, 0)).await.expect("a port");
        let session = SessionId(format!("model-host-{number}"));
        let connect = ConnectRequest {
            slave: listener.local_addr().expect("an address").to_string(),
            num_executors: 1,
            session_id: Some(session.clone()),
            protocol: Some(PROTOCOL),
            slave_id: None,
            labels: BTreeSet::new(),
            finished: Vec::new(),
            seen: Vec::new(),
            version: None,
            isolation: None,
            identity: None,
        };
        let (orders, inbox) = mpsc::unbounded_channel();
        all.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(listen(Connection::new(stream), orders.clone()));
            }
        });
        let mut uplink = Uplink::open(master, secret.clone()).await;
        let body = serde_json::to_vec(&connect).expect("JSON");
        let (status, answer) = uplink.send("POST", "/v1/slave", &body).await;
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&answer));
        let answer: ConnectAnswer = serde_json::from_slice(&answer).expect("an answer");
        let mut host = ModelHost {
            id: SlaveId(answer.slave_id.parse().expect("a number")),
            session,
            uplink,
            number: 0,
            max_instances,
        };
        host.report(Vec::new()).await;
        all.spawn(host.work(inbox));
    }
    all
}

/// Takes calls of the master.
async fn listen(mut connection: Connection, orders: mpsc::UnboundedSender<InstancesOrder>) {
    while let Ok(Some(call)) = connection.read().await {
        if call.line.starts_with("PUT /v1/instances ") {
            let order = serde_json::from_slice(&call.body).expect("an order");
            orders.send(order).ok();
        }
        let answered = connection.answer("200 OK", r#"{"status": "SUCCESS"}"#);
        if answered.await.is_err() {
            return;
        }
    }
}

impl ModelHost {
    async fn work(mut self, mut inbox: mpsc::UnboundedReceiver<InstancesOrder>) {
        let mut beat = tokio::time::interval(HEARTBEAT);
        loop {
            tokio::select! {
                order = inbox.recv() => {
                    let Some(mut order) = order else { return };
                    // An order says all: of several only the last counts.
                    while let Ok(later) = inbox.try_recv() {
                        order = later;
                    }
                    let up = order.instances.iter().map(|instance| InstanceReport {
                        id: instance.id,
                        generation: instance.generation,
                        state: ReportedState::Up { port: PORT, keeps_prefix: false },
                        restarts: 0,
                    });
                    self.report(up.collect()).await;
                }
                _ = beat.tick() => self.heartbeat().await,
            }
        }
    }

    async fn report(&mut self, instances: Vec<InstanceReport>) {
        self.number += 1;
        let report = InstancesReport {
            session_id: self.session.clone(),
            number: self.number,
            max_instances: self.max_instances,
            runs_images: false,
            instances,
            snapshots: Vec::new(),
        };
        let path = format!("/v1/slave/{}/instances", self.id);
        let body = serde_json::to_vec(&report).expect("JSON");
        let (status, answer) = self.uplink.send("POST", &path, &body).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    }

    async fn heartbeat(&mut self) {
        let body = json!({"slave": {"heartbeat": true, "session_id": self.session}}).to_string();
        let path = format!("/v1/slave/{}/heartbeat", self.id);
        let (status, _) = self.uplink.send("POST", &path, body.as_bytes()).await;
        assert_eq!(status, 200, "a heartbeat");
    }
}
