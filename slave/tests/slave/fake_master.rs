//! A master that only plays one: it hears, and answers as it is told.

use crate::instance_book::{self, Book};
use crate::test_slave::DEADLINE;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{post, put};
use axum::{Json, Router};
use clusterrunner_common::api::{
    AtomReport, ConnectAnswer, ConnectRequest, HeartbeatAnswer, HeartbeatRequest, PROTOCOL,
    RejectedResult, ResultsAnswer, ResultsReport, RunningAtom, SlaveState, StateReport, Success,
};
use clusterrunner_common::auth::gate::{Gate, Signed, SignedUpload};
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::caller::Caller;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::http::{refusal, serve};
use clusterrunner_common::ids::{Attempt, BuildId, Incarnation, SessionId, SlaveId, SubjobId};
use clusterrunner_common::results::block::check_block;
use clusterrunner_common::work::{FinishedAttempt, MasterMark, Seen};
use http_body_util::BodyExt as _;
use reqwest::Method;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt as _;

pub(crate) const SECRET: &str = "a secret for the slave's tests";

/// How far the master's clock is ahead.
pub(crate) const AHEAD_MS: u64 = 24 * 60 * 60 * 1000;

/// What a slave told the master.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Connected {
        slave: String,
        num_executors: u32,
        finished: Vec<FinishedAttempt>,
        seen: Vec<Seen>,
    },
    Heartbeat {
        slave_id: u64,
    },
    /// By a heartbeat, or with results.
    Running(Vec<RunningAtom>),
    Report {
        build: Option<u64>,
        state: SlaveState,
        reason: Option<String>,
    },
    /// Also when the answer was a refusal. Results that came together follow each other.
    Result(UploadedResult),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UploadedResult {
    pub(crate) build: u64,
    pub(crate) subjob: u32,
    pub(crate) attempt: Attempt,
    pub(crate) slave_id: SlaveId,
    pub(crate) session_id: SessionId,
    pub(crate) atoms: Vec<AtomReport>,
    pub(crate) starts: Vec<Timestamp>,
    /// The number of the upload that it came with.
    pub(crate) upload: usize,
    /// Members of its part of the archive: files with their content, links with `-> target`, directories with
    /// `/` at the end of the name and nothing in them.
    pub(crate) members: BTreeMap<String, Vec<u8>>,
}

impl UploadedResult {
    /// The text of a file in the archive.
    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> String {
        let content = self.members.get(name);
        let content =
            content.unwrap_or_else(|| panic!("{name} is not in {:?}", self.members.keys()));
        String::from_utf8(content.clone()).unwrap()
    }
}

/// How the master behaves.
#[derive(Debug)]
pub(crate) struct Manners {
    pub(crate) slave_id: u64,
    pub(crate) counts_on_slave: bool,
    pub(crate) resumed: bool,
    /// Sent to this URL while the slave still waits for the answer to its next connect.
    pub(crate) order_while_connecting: Option<(String, Value)>,
    /// Statuses for the next uploads of results; 200 when there are none.
    pub(crate) result_statuses: VecDeque<u16>,
    /// Statuses for single results, by subjob, in an upload that is answered with 200.
    pub(crate) rejected_subjobs: BTreeMap<u32, u16>,
    /// Uploads are answered while this holds nobody.
    pub(crate) uploads_wait: Arc<tokio::sync::RwLock<()>>,
    /// How many uploads came.
    pub(crate) num_uploads: usize,
    /// What is said to be wanted of earlier lives.
    pub(crate) wanted: Vec<(BuildId, SubjobId, Attempt)>,
    /// What it says that it is.
    pub(crate) mark: MasterMark,
    /// Statuses for the next state reports; 200 when there are none.
    pub(crate) report_statuses: VecDeque<u16>,
}

#[derive(Clone)]
pub(crate) struct FakeMaster {
    pub(crate) address: String,
    pub(crate) manners: Arc<Mutex<Manners>>,
    pub(crate) book: Arc<Book>,
    heard: Arc<watch::Sender<Vec<Heard>>>,
    _ends: Arc<DropGuard>,
}

pub(crate) fn secret() -> Secret {
    Secret::new(SECRET.to_owned()).unwrap()
}

/// A moment of a master.
pub(crate) fn mark(incarnation: &str, life: &str, position: u64) -> MasterMark {
    MasterMark {
        incarnation: Incarnation(incarnation.to_owned()),
        session_id: SessionId(life.to_owned()),
        position,
        proof: None,
    }
}

impl FakeMaster {
    pub(crate) async fn start() -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn start_on(listener: TcpListener) -> Self {
        let stop = CancellationToken::new();
        let master = Self {
            address: listener.local_addr().unwrap().to_string(),
            manners: Arc::new(Mutex::new(Manners {
                slave_id: 1,
                counts_on_slave: true,
                resumed: false,
                order_while_connecting: None,
                result_statuses: VecDeque::new(),
                rejected_subjobs: BTreeMap::new(),
                uploads_wait: Arc::default(),
                num_uploads: 0,
                wanted: Vec::new(),
                mark: mark("first", "life-1", 1),
                report_statuses: VecDeque::new(),
            })),
            book: Arc::default(),
            heard: Arc::new(watch::Sender::new(Vec::new())),
            _ends: Arc::new(stop.clone().drop_guard()),
        };
        let routes = Router::new()
            .route("/v1/slave", post(connect))
            .route("/v1/slave/{id}", put(report))
            .route("/v1/slave/{id}/heartbeat", post(heartbeat))
            .route("/v1/build/{build}/results", post(results))
            .with_state(Shared {
                manners: Arc::clone(&master.manners),
                heard: Arc::clone(&master.heard),
            })
            .merge(instance_book::routes(Arc::clone(&master.book)));
        // Its life may change, and only what is meant for that passes.
        let manners = Arc::clone(&master.manners);
        let routes = Router::new().fallback(move |request: Request| {
            let life = manners.lock().unwrap().mark.session_id.clone();
            let gate = Gate::new(secret(), &life, Duration::from_secs(60), |_, _| false);
            let routes = gate.guard(routes.clone());
            async move {
                let meant = request.headers().get("expected-session-id");
                if meant.is_some_and(|meant| meant != life.0.as_str()) {
                    return refusal(StatusCode::PRECONDITION_FAILED, "another life");
                }
                routes.oneshot(request).await.unwrap()
            }
        });
        tokio::spawn(serve(listener, routes, stop, Duration::from_millis(100)));
        master
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.borrow().clone()
    }

    /// Waits until the slave has told something that fits, the `nth` time (from 1).
    pub(crate) async fn hears_nth(&self, nth: usize, fits: impl Fn(&Heard) -> bool) -> Heard {
        let mut heard = self.heard.subscribe();
        let enough = |heard: &Vec<Heard>| heard.iter().filter(|one| fits(one)).count() >= nth;
        let waited = tokio::time::timeout(DEADLINE, heard.wait_for(enough)).await;
        let Ok(Ok(heard)) = waited else {
            panic!("heard only {:#?}", self.heard());
        };
        heard
            .iter()
            .filter(|one| fits(one))
            .nth(nth - 1)
            .unwrap()
            .clone()
    }

    pub(crate) async fn hears(&self, fits: impl Fn(&Heard) -> bool) -> Heard {
        self.hears_nth(1, fits).await
    }

    /// Waits for the first report of this state about a build; returns its reason.
    pub(crate) async fn hears_state(&self, wanted: SlaveState, about: u64) -> Option<String> {
        let fits = |heard: &Heard| matches!(heard, Heard::Report { build, state, .. } if *state == wanted && *build == Some(about));
        match self.hears(fits).await {
            Heard::Report { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the `nth` result.
    pub(crate) async fn hears_result(&self, nth: usize) -> UploadedResult {
        match self
            .hears_nth(nth, |heard| matches!(heard, Heard::Result(_)))
            .await
        {
            Heard::Result(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn results(&self) -> Vec<UploadedResult> {
        let result = |heard| match heard {
            Heard::Result(result) => Some(result),
            _ => None,
        };
        self.heard().into_iter().filter_map(result).collect()
    }
}

#[derive(Clone)]
struct Shared {
    manners: Arc<Mutex<Manners>>,
    heard: Arc<watch::Sender<Vec<Heard>>>,
}

impl Shared {
    fn hear(&self, heard: Heard) {
        self.heard.send_modify(|all| all.push(heard));
    }

    fn hear_running(&self, running: Vec<RunningAtom>) {
        if !running.is_empty() {
            self.hear(Heard::Running(running));
        }
    }
}

async fn connect(
    State(shared): State<Shared>,
    Signed(request): Signed<ConnectRequest>,
) -> (StatusCode, Json<ConnectAnswer>) {
    assert_eq!(request.protocol, Some(PROTOCOL));
    assert!(request.session_id.is_some());
    let order = shared.manners.lock().unwrap().order_while_connecting.take();
    if let Some((url, body)) = order {
        let caller = Caller::new(Some(secret()), DEADLINE).unwrap();
        let orderer = caller.clone();
        tokio::spawn(async move {
            let _: Value = orderer.send(Method::POST, &url, &body).await.unwrap();
        });
        // Many round trips, so that the order has surely arrived.
        for _ in 0..100 {
            let status = format!("{}/v1", request.slave);
            let _: Value = caller.get(&status).await.unwrap();
        }
    }
    let answer = {
        let mut manners = shared.manners.lock().unwrap();
        manners.counts_on_slave = true;
        ConnectAnswer {
            status: "SUCCESS".to_owned(),
            slave_id: manners.slave_id.to_string(),
            protocol: Some(PROTOCOL),
            resumed: manners.resumed,
            wanted: manners.wanted.clone(),
            master: Some(manners.mark.clone()),
            identity: None,
        }
    };
    shared.hear(Heard::Connected {
        slave: request.slave,
        num_executors: request.num_executors,
        finished: request.finished,
        seen: request.seen,
    });
    (StatusCode::CREATED, Json(answer))
}

async fn heartbeat(
    State(shared): State<Shared>,
    Path(slave_id): Path<u64>,
    Signed(request): Signed<HeartbeatRequest>,
) -> Json<HeartbeatAnswer> {
    assert!(request.slave.heartbeat && request.slave.session_id.is_some());
    shared.hear(Heard::Heartbeat { slave_id });
    shared.hear_running(request.slave.running);
    let is_alive = shared.manners.lock().unwrap().counts_on_slave;
    // Its clock is a day ahead.
    let now_ms = Some(Timestamp(Timestamp::now().0 + AHEAD_MS));
    Json(HeartbeatAnswer { is_alive, now_ms })
}

fn answer(status: Option<u16>) -> Response {
    match status {
        None | Some(200) => Json(Success::default()).into_response(),
        Some(other) => refusal(StatusCode::from_u16(other).unwrap(), "as the test wants it"),
    }
}

async fn report(
    State(shared): State<Shared>,
    Path(_): Path<u64>,
    Signed(request): Signed<StateReport>,
) -> Response {
    let report = request.slave;
    shared.hear(Heard::Report {
        build: report.build_id.map(|build| build.0),
        state: report.state,
        reason: report.reason,
    });
    let status = shared.manners.lock().unwrap().report_statuses.pop_front();
    answer(status)
}

async fn results(
    State(shared): State<Shared>,
    Path(build): Path<u64>,
    upload: SignedUpload,
) -> Response {
    let SignedUpload { request, verdict } = upload;
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert!(verdict.is_genuine());
    let length = head.headers[header::CONTENT_LENGTH].to_str().unwrap();
    assert_eq!(length, body.len().to_string());
    let mut request = Request::new(Body::from(body));
    *request.headers_mut() = head.headers;
    DefaultBodyLimit::disable().apply(&mut request);
    let mut parts = Multipart::from_request(request, &()).await.unwrap();
    let first = parts.next_field().await.unwrap().unwrap();
    assert_eq!(first.name(), Some("__encoded_body__"));
    let report: ResultsReport = serde_json::from_slice(&first.bytes().await.unwrap()).unwrap();
    let second = parts.next_field().await.unwrap().unwrap();
    assert_eq!(
        (second.name(), second.file_name()),
        (Some("file"), Some("payload"))
    );
    assert_eq!(second.content_type(), Some("application/x-compressed"));
    let block = second.bytes().await.unwrap();
    assert!(parts.next_field().await.unwrap().is_none());
    // Exactly these results, in this order.
    let checked = check_block(&block[..]).unwrap();
    let packed: Vec<SubjobId> = checked.iter().map(|result| result.subjob).collect();
    let named = report.results.iter().map(|result| result.subjob_id);
    assert_eq!(packed, named.collect::<Vec<_>>());
    let members = unpack(&block);
    let upload = {
        let mut manners = shared.manners.lock().unwrap();
        manners.num_uploads += 1;
        manners.num_uploads
    };
    shared.hear_running(report.running.unwrap_or_default());
    for result in report.results.clone() {
        let own = format!("artifact_{}_", result.subjob_id);
        let own = members.iter().filter(|(name, _)| name.starts_with(&own));
        shared.hear(Heard::Result(UploadedResult {
            build,
            subjob: result.subjob_id.0,
            attempt: result.attempt,
            slave_id: report.slave_id,
            session_id: report.session_id.clone(),
            atoms: result.atoms,
            starts: result.starts.times().collect(),
            upload,
            members: own
                .map(|(name, text)| (name.clone(), text.clone()))
                .collect(),
        }));
    }
    let wait = Arc::clone(&shared.manners.lock().unwrap().uploads_wait);
    let _nobody_holds_it = wait.read().await;
    let mut manners = shared.manners.lock().unwrap();
    let status = manners.result_statuses.pop_front();
    if status.is_some_and(|status| status != 200) {
        return answer(status);
    }
    let rejected = report.results.iter().filter_map(|result| {
        let status = *manners.rejected_subjobs.get(&result.subjob_id.0)?;
        Some(RejectedResult {
            subjob_id: result.subjob_id,
            attempt: result.attempt,
            status,
            error: "as the test wants it".to_owned(),
        })
    });
    let answer = ResultsAnswer {
        status: "SUCCESS".to_owned(),
        position: None,
        proof: None,
        rejected: rejected.collect(),
    };
    Json(answer).into_response()
}

fn unpack(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let mut members = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let name = path.strip_prefix("./").unwrap().to_owned();
        let mut content = Vec::new();
        match entry.header().entry_type() {
            tar::EntryType::Directory => assert!(name.ends_with('/')),
            tar::EntryType::Symlink => {
                let target = entry.link_name().unwrap().unwrap();
                content = format!("-> {}", target.display()).into_bytes();
            }
            _ => drop(std::io::Read::read_to_end(&mut entry, &mut content).unwrap()),
        }
        members.insert(name, content);
    }
    members
}
