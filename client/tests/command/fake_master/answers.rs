//! What the fake master answers at each of its routes.

use super::Shared;
use super::views::canceled;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use clusterrunner_common::api::{
    AtomBody, BuildBody, BuildsBody, ConsoleBody, MasterBody, MasterView, QueueBody, SlavesBody,
    SubjobBody, SubjobsBody, Success, VersionBody,
};
use clusterrunner_common::auth::gate::Signed;
use clusterrunner_common::http::{coded_refusal, refusal};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};

/// Takes the first of what is left, but leaves the last one there.
fn next<T: Clone>(script: &mut VecDeque<T>) -> Option<T> {
    if script.len() > 1 {
        script.pop_front()
    } else {
        script.front().cloned()
    }
}

pub(super) async fn master(State(script): Shared) -> Json<MasterBody> {
    let slaves = script.lock().unwrap().slaves.clone();
    let status = "Master service is up.".to_owned();
    Json(MasterBody {
        master: MasterView { status, slaves },
    })
}

pub(super) async fn version() -> Json<VersionBody> {
    Json(VersionBody {
        version: "9.9.9".to_owned(),
        api_version: 1,
    })
}

pub(super) async fn slaves(State(script): Shared) -> Json<SlavesBody> {
    Json(SlavesBody {
        slaves: script.lock().unwrap().slaves.clone(),
    })
}

pub(super) async fn queue(State(script): Shared) -> Json<QueueBody> {
    let builds = script.lock().unwrap().views.clone();
    let queue = builds.into_iter().filter(|b| !b.status.is_over()).collect();
    Json(QueueBody { queue })
}

pub(super) async fn builds(State(script): Shared) -> Json<BuildsBody> {
    Json(BuildsBody {
        builds: script.lock().unwrap().views.clone().into(),
    })
}

pub(super) async fn submit(State(script): Shared, Signed(request): Signed<Value>) -> Response {
    let mut script = script.lock().unwrap();
    if let Err((status, error)) = &script.submission {
        return refusal(*status, error);
    }
    script.submitted.push(request);
    let accepted = json!({"build_id": 1, "status": "SUCCESS"});
    (StatusCode::ACCEPTED, Json(accepted)).into_response()
}

/// Who waits for the end is answered at once, as by old masters, and with what the next look sees.
pub(super) async fn build(
    State(script): Shared,
    Path(build): Path<u64>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let mut script = script.lock().unwrap();
    let view = match asked.contains_key("wait_s") {
        true => script.views.front().cloned(),
        false => next(&mut script.views),
    };
    match view {
        Some(build_view) if build_view.id.0 == build => {
            let build = if script.canceled && !script.slow_to_cancel {
                canceled()
            } else {
                build_view
            };
            Json(BuildBody { build }).into_response()
        }
        _ => refusal(StatusCode::NOT_FOUND, format!("Invalid build id: {build}.")),
    }
}

pub(super) async fn cancel(State(script): Shared, Signed(order): Signed<Value>) -> Json<Success> {
    let mut script = script.lock().unwrap();
    match order.get("note") {
        Some(note) => script.notes.push(note.clone()),
        None => {
            assert_eq!(order, json!({"status": "canceled"}));
            script.canceled = true;
        }
    }
    Json(Success::default())
}

pub(super) async fn shut_down(State(script): Shared, Signed(order): Signed<Value>) -> Response {
    if order == json!({"slaves": [99]}) {
        let error = "Requested slave (slave_id=99) does not exist.";
        return refusal(StatusCode::NOT_FOUND, error);
    }
    script.lock().unwrap().shutdowns.push(order);
    StatusCode::OK.into_response()
}

pub(super) async fn subjobs(State(script): Shared) -> Json<SubjobsBody> {
    Json(SubjobsBody {
        subjobs: script.lock().unwrap().subjobs.clone(),
    })
}

pub(super) async fn subjob(State(script): Shared) -> Response {
    match script.lock().unwrap().subjobs.first().cloned() {
        Some(subjob) => Json(SubjobBody { subjob }).into_response(),
        None => refusal(StatusCode::NOT_FOUND, "Invalid subjob id."),
    }
}

/// The files that each atom left, whatever their names.
pub(super) async fn left_files(
    State(script): Shared,
    Path((_, subjob, atom)): Path<(u64, u64, u64)>,
) -> Response {
    let mut script = script.lock().unwrap();
    script.looked_at.push(format!("{subjob}_{atom}"));
    if let Some((status, code)) = script.left_refusal {
        return coded_refusal(status, code, "No such thing.");
    }
    let paths = script.left_files.clone();
    let files = paths.iter().map(|path| json!({"path": path, "bytes": 7}));
    let files: Vec<Value> = files.collect();
    Json(json!({"total": files.len(), "artifacts": files})).into_response()
}

pub(super) async fn left_file(State(script): Shared) -> &'static str {
    let keeps_files = {
        let mut script = script.lock().unwrap();
        script.was_asked_for_file = true;
        script.keeps_files
    };
    if keeps_files {
        std::future::pending::<()>().await;
    }
    "content"
}

pub(super) async fn atom(State(script): Shared) -> Response {
    match next(&mut script.lock().unwrap().atoms) {
        Some(atom) => Json(AtomBody { atom }).into_response(),
        None => refusal(StatusCode::NOT_FOUND, "Invalid atom id."),
    }
}

pub(super) async fn console(
    State(script): Shared,
    Query(query): Query<HashMap<String, usize>>,
) -> Response {
    let mut script = script.lock().unwrap();
    if let Some(status) = script.console_refusal {
        return refusal(status, "No console for you.");
    }
    if let Some(left) = script.console_failures.checked_sub(1) {
        script.console_failures = left;
        return refusal(StatusCode::BAD_GATEWAY, "The slave does not answer.");
    }
    let cut = script.console_cut;
    let Some(text) = next(&mut script.consoles) else {
        return refusal(StatusCode::NOT_FOUND, "Console output does not exist.");
    };
    if let Some(offset) = query.get("offset_byte") {
        let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        return (kind, text[*offset..].to_owned()).into_response();
    }
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let most = query["max_lines"];
    let offset = match query.get("offset_line") {
        Some(offset) if *offset > lines.len() => {
            let error = format!(
                "offset {offset} is higher than the total number of lines: {}",
                lines.len()
            );
            return refusal(StatusCode::BAD_REQUEST, error);
        }
        Some(offset) => *offset,
        None => lines.len().saturating_sub(most),
    };
    let shown: Vec<&str> = lines[offset..].iter().take(most).copied().collect();
    Json(ConsoleBody {
        offset_line: offset as u64,
        num_lines: shown.len() as u64,
        total_num_lines: lines.len() as u64,
        content: shown.concat(),
        num_bytes_cut: if shown.is_empty() { 0 } else { cut },
    })
    .into_response()
}

/// A test of each kind, as far as they are asked for.
pub(super) async fn tests(Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let wanted = query.get("outcome");
    let test = |(outcome, message): &(&str, Option<&str>)| {
        json!({
            "name": format!("test_{outcome}"), "class": "tests.Sums", "file": null, "time": 0.5, "outcome": outcome,
            "atom": "tests/sums.py", "message": message, "subjob_id": 0, "atom_id": 0,
        })
    };
    let tests: Vec<Value> = [
        ("failed", Some("first line\nassert 1 == 2")),
        ("flaky", Some("only once")),
        ("skipped", Some("not now")),
        ("passed", None),
    ]
    .iter()
    .filter(|(outcome, _)| wanted.is_none_or(|wanted| wanted == outcome))
    .map(test)
    .collect();
    let counts = json!({"passed": 1, "failed": 1, "skipped": 1, "flaky": 1});
    Json(json!({"total": tests.len(), "tests": tests, "counts": counts}))
}

pub(super) async fn artifacts(State(script): Shared) -> Response {
    match script.lock().unwrap().archive.clone() {
        Some(archive) => ([(header::CONTENT_TYPE, "application/gzip")], archive).into_response(),
        None => StatusCode::ACCEPTED.into_response(),
    }
}
