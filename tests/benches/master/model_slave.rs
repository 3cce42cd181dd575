//! A slave without commands: it takes what it is told, runs it in no time, and sends real blocks. Each
//! listens on a port of its own at the farm's loopback address, and keeps one connection to the master.

use crate::farm::Farm;
use crate::wire::{Connection, Uplink};
use clusterrunner_common::api::{
    ConnectAnswer, ConnectRequest, PROTOCOL, ResultEntry, ResultsAnswer, ResultsReport,
    SetupRequest, SlaveState, StateReport, StateReportBody, SubjobOrder, SubjobsRequest,
};
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{AtomId, BuildId, Incarnation, SessionId, SlaveId};
use clusterrunner_common::process::command::Usage;
use clusterrunner_common::results::block::{AtomResult, BlockWriter, Console};
use clusterrunner_common::work::{AtomUsage, ProcessUsage};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How many results go in one request at most.
const BATCH: usize = 512;

/// The same where atoms take time, as of a slave that gathers results for some milliseconds.
const PACED_BATCH: usize = 16;

const HEARTBEAT: Duration = Duration::from_secs(5);

/// What all of them have done so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Calls that brought subjobs, and how many these were.
    pub(crate) calls: usize,
    pub(crate) handed_out: usize,
    /// Requests with results, and how many of these count.
    pub(crate) requests: usize,
    pub(crate) recorded: usize,
    pub(crate) rejected: usize,
}

/// Shared by all of them.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) master: String,
    pub(crate) secret: Secret,
    pub(crate) executors: u32,
    /// How long an atom takes; none: no time at all.
    pub(crate) atom: Option<Duration>,
    pub(crate) tally: Arc<Mutex<Tally>>,
}

/// Pause between two looks at what they have done.
const LOOK: Duration = Duration::from_millis(10);

impl Load {
    /// For the master of a farm.
    pub(crate) fn of(farm: &Farm, executors: u32, atom: Option<Duration>) -> Self {
        Self {
            master: farm.master_address(),
            secret: farm.secret(),
            executors,
            atom,
            tally: Arc::default(),
        }
    }

    /// Waits until so much is done; says what is.
    pub(crate) async fn until(&self, is_so: impl Fn(&Tally) -> bool) -> Tally {
        loop {
            let tally = self.tally.lock().unwrap().clone();
            if is_so(&tally) {
                return tally;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What the master says to one of them.
enum Told {
    SetUp(BuildId),
    Run(BuildId, SubjobsRequest),
    TearDown(BuildId),
}

struct ModelSlave {
    id: SlaveId,
    session: SessionId,
    incarnation: Option<Incarnation>,
    uplink: Uplink,
    load: Load,
}

/// Starts so many slaves at `address`. They do not live without their master: what this gives must go
/// before the farm does.
pub(crate) async fn start_all(load: &Load, address: &str, number: u32) -> JoinSet<()> {
    let mut slaves = JoinSet::new();
    for number in 0..number {
        start(load, address, number, &mut slaves).await;
    }
    slaves
}

/// Starts a slave at `address`, which is in contact when this returns and works as long as `slaves` is
/// there.
async fn start(load: &Load, address: &str, number: u32, slaves: &mut JoinSet<()>) {
    let listener = TcpListener::bind((address, 0)).await.expect("a port");
    let own = listener.local_addr().expect("an address").to_string();
    let (orders, inbox) = mpsc::unbounded_channel();
    slaves.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(listen(stream, orders.clone()));
        }
    });
    let session = SessionId(format!("model-slave-{number}"));
    let connect = ConnectRequest {
        slave: own,
        num_executors: load.executors,
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
    let mut uplink = Uplink::open(&load.master, load.secret.clone()).await;
    let body = serde_json::to_vec(&connect).expect("JSON");
    let (status, answer) = uplink.send("POST", "/v1/slave", &body).await;
    assert_eq!(status, 201, "{}", String::from_utf8_lossy(&answer));
    let answer: ConnectAnswer = serde_json::from_slice(&answer).expect("an answer");
    let slave = ModelSlave {
        id: SlaveId(answer.slave_id.parse().expect("a number")),
        incarnation: answer.master.map(|master| master.incarnation),
        session,
        uplink,
        load: load.clone(),
    };
    slaves.spawn(slave.work(inbox));
}

/// Takes calls of the master. Who calls is not checked: that is the slave's work, not the master's.
async fn listen(stream: TcpStream, orders: mpsc::UnboundedSender<Told>) {
    let mut connection = Connection::new(stream);
    while let Ok(Some(call)) = connection.read().await {
        let path = call.line.split(' ').nth(1).unwrap_or_default();
        let (build, what) = path
            .strip_prefix("/v1/build/")
            .and_then(|rest| rest.split_once('/'))
            .unwrap_or_else(|| panic!("an unknown call: {}", call.line));
        let build = BuildId(build.parse().expect("a number"));
        let (status, told, then) = match what {
            "setup" => {
                let request: SetupRequest = serde_json::from_slice(&call.body).expect("a set-up");
                let then = request.subjobs.map(|request| Told::Run(build, request));
                ("200 OK", Told::SetUp(build), then)
            }
            "subjobs" => {
                let request = serde_json::from_slice(&call.body).expect("subjobs");
                ("201 Created", Told::Run(build, request), None)
            }
            "teardown" => ("200 OK", Told::TearDown(build), None),
            _ => panic!("an unknown call: {}", call.line),
        };
        for told in std::iter::once(told).chain(then) {
            orders.send(told).ok();
        }
        let body = r#"{"status": "SUCCESS"}"#;
        if connection.answer(status, body).await.is_err() {
            return;
        }
    }
}

impl ModelSlave {
    async fn work(mut self, mut inbox: mpsc::UnboundedReceiver<Told>) {
        let mut beat = tokio::time::interval(HEARTBEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut waiting = Vec::new();
        loop {
            tokio::select! {
                number = inbox.recv_many(&mut waiting, BATCH) => if number == 0 {
                    return;
                },
                _ = beat.tick() => {
                    self.heartbeat().await;
                    continue;
                }
            }
            let mut ran: Option<(BuildId, String, Vec<SubjobOrder>)> = None;
            for told in waiting.drain(..) {
                match told {
                    Told::SetUp(build) => self.report(build, SlaveState::SetupComplete).await,
                    Told::TearDown(build) => self.report(build, SlaveState::Idle).await,
                    Told::Run(build, request) => {
                        self.note(|tally| {
                            tally.calls += 1;
                            tally.handed_out += request.subjobs.len();
                        });
                        match &mut ran {
                            Some((known, _, subjobs)) if *known == build => {
                                subjobs.extend(request.subjobs);
                            }
                            _ => {
                                let one = (build, request.command, request.subjobs);
                                if let Some((build, command, subjobs)) = ran.replace(one) {
                                    self.deliver(build, &command, &subjobs).await;
                                }
                            }
                        }
                    }
                }
            }
            if let Some((build, command, subjobs)) = ran {
                self.deliver(build, &command, &subjobs).await;
            }
        }
    }

    fn note(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.load.tally.lock().expect("nobody panics with it"));
    }

    async fn heartbeat(&mut self) {
        let body = json!({"slave": {"heartbeat": true, "session_id": self.session}}).to_string();
        let path = format!("/v1/slave/{}/heartbeat", self.id);
        let (status, _) = self.uplink.send("POST", &path, body.as_bytes()).await;
        assert_eq!(status, 200, "a heartbeat");
    }

    async fn report(&mut self, build: BuildId, state: SlaveState) {
        let report = StateReport {
            slave: StateReportBody {
                state,
                build_id: Some(build),
                session_id: Some(self.session.clone()),
                reason: None,
            },
        };
        let body = serde_json::to_vec(&report).expect("JSON");
        let path = format!("/v1/slave/{}", self.id);
        let (status, _) = self.uplink.send("PUT", &path, &body).await;
        assert_eq!(status, 200, "{report:?}");
    }

    async fn deliver(&mut self, build: BuildId, command: &str, subjobs: &[SubjobOrder]) {
        let at_once = if self.load.atom.is_some() {
            PACED_BATCH
        } else {
            BATCH
        };
        for batch in subjobs.chunks(at_once) {
            if let Some(atom) = self.load.atom {
                let batch = u32::try_from(batch.len()).expect("a few");
                tokio::time::sleep(atom * batch / self.load.executors).await;
            }
            let mut block = BlockWriter::new(Vec::new(), CancellationToken::new());
            for order in batch {
                block.begin(order.subjob_id, order.attempt);
                for (atom, text) in (0..).map(AtomId).zip(&order.atoms) {
                    let result = AtomResult {
                        command: &format!("{text} {command}"),
                        exit_code: 0,
                        seconds: 0.01,
                        ended_at: 1_800_000_000,
                        console: Console::Memory(b"one line of output\n"),
                        artifacts: None,
                    };
                    block.add(atom, &result).expect("a block");
                }
            }
            let (file, _) = block.finish().expect("a block");
            let entry = |order: &SubjobOrder| ResultEntry {
                executor_id: None,
                subjob_id: order.subjob_id,
                attempt: order.attempt,
                atoms: Vec::new(),
                starts: [Timestamp(1_700_000_000_000)].into_iter().collect(),
                usages: vec![AtomUsage {
                    in_vain_ms: 0,
                    last_in_vain: None,
                    worker: None,
                    output_bytes: 5,
                    processes: ProcessUsage::of(Usage {
                        max_memory_kib: 3500,
                        cpu: Duration::from_millis(2),
                    }),
                }],
            };
            let report = ResultsReport {
                slave_id: self.id,
                session_id: self.session.clone(),
                incarnation: self.incarnation.clone(),
                results: batch.iter().map(entry).collect(),
                running: None,
            };
            let report = serde_json::to_vec(&report).expect("JSON");
            let path = format!("/v1/build/{build}/results");
            let (status, answer) = self.uplink.upload(&path, &report, &file).await;
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
            let answer: ResultsAnswer = serde_json::from_slice(&answer).expect("an answer");
            self.note(|tally| {
                tally.requests += 1;
                tally.rejected += answer.rejected.len();
                tally.recorded += batch.len() - answer.rejected.len();
            });
        }
    }
}
