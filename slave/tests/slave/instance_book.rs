//! What the played master knows of instances: snapshots that it gives out, reports and logs that came.

use crate::fake_master::mark;
use crate::test_slave::DEADLINE;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use clusterrunner_common::api::Success;
use clusterrunner_common::api::instances::{
    InstanceOrder, InstancesOrder, InstancesReport, LogsAnswer, LogsReport, MAX_LOGS_BODY,
    OrderedPurpose, SnapshotRequest,
};
use clusterrunner_common::auth::gate::Signed;
use clusterrunner_common::ids::{Generation, InstanceId};
use clusterrunner_common::templates::{Form, TemplateContent, TemplateDescription};
use clusterrunner_common::work::ReportedState;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The answer to a request for a snapshot that is not as it should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spoilt {
    /// It ends after so many bytes.
    Cut(usize),
    /// All of it is zeros.
    Zeros,
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) snapshots: Mutex<BTreeMap<String, Vec<u8>>>,
    /// What the next answers are.
    pub(crate) spoilt: Mutex<VecDeque<Spoilt>>,
    /// From where snapshots were asked for.
    pub(crate) offsets: Mutex<Vec<u64>>,
    reports: watch::Sender<Vec<InstancesReport>>,
    logs: watch::Sender<BTreeMap<(u64, u32), String>>,
}

pub(crate) fn routes(book: Arc<Book>) -> Router {
    Router::new()
        .route("/v1/slave/{id}/instances", post(report))
        .route("/v1/slave/{id}/instance_logs", post(logs))
        .route("/v1/snapshot", post(snapshot))
        .with_state(book)
}

async fn report(
    State(book): State<Arc<Book>>,
    Signed(report): Signed<InstancesReport>,
) -> Json<Success> {
    book.reports.send_modify(|all| all.push(report));
    Json(Success::default())
}

async fn logs(
    State(book): State<Arc<Book>>,
    Signed(report): Signed<LogsReport, MAX_LOGS_BODY>,
) -> Json<LogsAnswer> {
    let mut ends = Vec::new();
    book.logs.send_modify(|logs| {
        for piece in report.logs {
            let log = logs.entry((piece.id.0, piece.generation.0)).or_default();
            // Texts of these tests are as long as their bytes, and gaps are filled with dots.
            if piece.offset >= log.len() as u64 && piece.length > 0 {
                let gap = usize::try_from(piece.offset).unwrap() - log.len();
                log.push_str(&".".repeat(gap));
                log.push_str(&piece.text);
            }
            ends.push(Some(log.len() as u64));
        }
    });
    Json(LogsAnswer { ends })
}

async fn snapshot(
    State(book): State<Arc<Book>>,
    Signed(request): Signed<SnapshotRequest>,
) -> Response {
    book.offsets.lock().unwrap().push(request.offset);
    let snapshot = book.snapshots.lock().unwrap().get(&request.digest).cloned();
    let Some(mut snapshot) = snapshot else {
        return axum::http::StatusCode::NOT_FOUND.into_response();
    };
    let spoilt = book.spoilt.lock().unwrap().pop_front();
    match spoilt {
        Some(Spoilt::Cut(length)) => snapshot.truncate(length),
        Some(Spoilt::Zeros) => snapshot.fill(0),
        None => {}
    }
    let offset = usize::try_from(request.offset).unwrap();
    Body::from(snapshot.split_off(offset.min(snapshot.len()))).into_response()
}

impl Book {
    /// Makes a snapshot of files with these contents, to be found at a place below `templates_path`.
    pub(crate) fn template(
        &self,
        templates_path: &Path,
        digits: &str,
        files: &[(&str, &str)],
    ) -> TemplateContent {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content.as_bytes())
                .unwrap();
        }
        let bytes = tar.into_inner().unwrap().finish().unwrap();
        let digest = digest_of(&bytes);
        let order = TemplateContent {
            digest: digest.clone(),
            bytes: bytes.len() as u64,
            description: TemplateDescription {
                form: Form::Workspace,
                root: Some(templates_path.join(digits).display().to_string()),
                image: None,
                recipe: None,
                port: None,
                command: Vec::new(),
                processes: BTreeMap::new(),
                environment: BTreeMap::new(),
                directory: String::new(),
            },
        };
        self.snapshots.lock().unwrap().insert(digest, bytes);
        order
    }

    /// Waits until the slave has reported something that fits.
    pub(crate) async fn reports(&self, fits: impl Fn(&InstancesReport) -> bool) -> InstancesReport {
        let mut reports = self.reports.subscribe();
        let found = |all: &Vec<InstancesReport>| all.last().is_some_and(&fits);
        let waited = tokio::time::timeout(DEADLINE, reports.wait_for(found)).await;
        match waited {
            Ok(Ok(all)) => all.last().unwrap().clone(),
            _ => panic!(
                "reported only {:#?}, printed {:#?}",
                self.reports.borrow().last(),
                self.logs.borrow()
            ),
        }
    }

    /// Waits until an instance stands so; returns its state.
    pub(crate) async fn stands(
        &self,
        id: u64,
        generation: u32,
        fits: impl Fn(&ReportedState) -> bool,
    ) -> ReportedState {
        let is_it = |report: &InstancesReport| {
            report
                .instances
                .iter()
                .find(|one| one.id.0 == id && one.generation.0 == generation)
                .filter(|one| fits(&one.state))
                .map(|one| one.state.clone())
        };
        let report = self.reports(|report| is_it(report).is_some()).await;
        is_it(&report).unwrap()
    }

    /// Waits until an instance is up; returns its port.
    pub(crate) async fn is_up(&self, id: u64, generation: u32) -> u16 {
        let is_up = |state: &ReportedState| matches!(state, ReportedState::Up { .. });
        match self.stands(id, generation, is_up).await {
            ReportedState::Up { port, .. } => port,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until an instance is given up; returns why.
    pub(crate) async fn fails(&self, id: u64, generation: u32) -> String {
        let failed = |state: &ReportedState| matches!(state, ReportedState::Failed { .. });
        match self.stands(id, generation, failed).await {
            ReportedState::Failed { reason } => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until what an instance printed has this.
    pub(crate) async fn prints(&self, id: u64, generation: u32, text: &str) -> String {
        let mut logs = self.logs.subscribe();
        let has = |logs: &BTreeMap<(u64, u32), String>| {
            logs.get(&(id, generation))
                .is_some_and(|log| log.contains(text))
        };
        let waited = tokio::time::timeout(DEADLINE, logs.wait_for(has)).await;
        match waited {
            Ok(Ok(logs)) => logs[&(id, generation)].clone(),
            _ => panic!("printed only {:#?}", self.logs.borrow()),
        }
    }

    /// Waits until so many bytes have come of what an instance printed, as long as some come.
    pub(crate) async fn prints_bytes(&self, id: u64, generation: u32, bytes: u64) -> String {
        let mut logs = self.logs.subscribe();
        loop {
            let length = {
                let logs = logs.borrow_and_update();
                let log = logs.get(&(id, generation)).map_or("", String::as_str);
                if log.len() as u64 >= bytes {
                    return log.to_owned();
                }
                log.len()
            };
            let changed = tokio::time::timeout(DEADLINE, logs.changed()).await;
            assert!(changed.is_ok(), "{length} bytes came of {bytes}");
        }
    }

    pub(crate) fn num_reports(&self) -> usize {
        self.reports.borrow().len()
    }
}

pub(crate) fn digest_of(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// An order of one instance with a command.
pub(crate) fn instance(id: u64, snapshot: &TemplateContent, command: &[&str]) -> InstanceOrder {
    InstanceOrder {
        id: InstanceId(id),
        generation: Generation(1),
        key: format!("{id:032x}"),
        template: "a-template".to_owned(),
        snapshot: Some(snapshot.clone()),
        image: None,
        purpose: OrderedPurpose::Launch,
        settles_after_ms: None,
        command: command.iter().map(|&word| word.to_owned()).collect(),
        environment: BTreeMap::new(),
        max_memory_bytes: None,
        cpu_shares: None,
    }
}

/// An order of these, which is the `position`th.
pub(crate) fn order(position: u64, instances: Vec<InstanceOrder>) -> InstancesOrder {
    InstancesOrder {
        instances,
        preloads: Vec::new(),
        master: Some(mark("first", "life-1", position)),
    }
}
