//! `clusterrunner trace`: a build as a trace that browsers and Perfetto show.

use crate::farm::{connect, impatient};
use crate::options::{CommonOptions, TraceOptions};
use crate::output;
use crate::trouble::Trouble;
use clusterrunner_client::Client;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::BuildView;
use clusterrunner_common::ids::BuildId;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// How many rows are asked for at a time: the most that a master gives.
const ROWS: usize = 10_000;

/// The process of a trace that stands for the master.
const MASTER: u64 = 0;

/// A part of the atoms of a build.
#[derive(Deserialize)]
struct AtomsPage {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    total: u64,
}

/// Writes the trace of a build.
pub(crate) async fn run(options: TraceOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let client = impatient(&connect(&options.master, &common).await?, &options.master);
    let build = options.build.of(&client).await?;
    let atoms = atoms(&client, build).await?;
    let build = client.build(build).await?;
    let trace = trace(&build, &atoms).to_string();
    match options.output {
        None => output::say_json(&trace),
        Some(path) => {
            write(&path, &trace)?;
            output::tell(format!(
                "{}: open it in https://ui.perfetto.dev or chrome://tracing.",
                path.display()
            ));
        }
    }
    Ok(ExitCode::Success)
}

fn write(path: &Path, trace: &str) -> Result<(), Trouble> {
    std::fs::write(path, trace)
        .map_err(|error| Trouble::new(format!("could not write {}: {error}", path.display())))
}

/// The atoms of a build, each with its values by the names of their columns.
async fn atoms(client: &Client, build: BuildId) -> Result<Vec<BTreeMap<String, Value>>, Trouble> {
    let mut atoms = Vec::new();
    loop {
        let offset = atoms.len();
        let path = format!("/v2/builds/{build}/atoms?offset={offset}&limit={ROWS}");
        let page: AtomsPage = client.read(&path).await?;
        let is_last = page.rows.is_empty();
        let rows = page.rows.into_iter();
        atoms.extend(rows.map(|row| page.columns.iter().cloned().zip(row).collect()));
        if is_last || atoms.len() as u64 >= page.total {
            return Ok(atoms);
        }
    }
}

/// The trace: what the master did, and each atom on its executor. Times are microseconds after the build was queued.
fn trace(build: &BuildView, atoms: &[BTreeMap<String, Value>]) -> Value {
    let times = &build.state_timestamps;
    let time = |state: &str| times.get(state).copied().flatten();
    let began = time("queued").unwrap_or(0.0);
    let mut events = vec![named("process_name", MASTER, None, "master")];
    let phases = [
        ("queued", "queued", "preparing"),
        ("fetch and atomizer", "preparing", "prepared"),
        ("waiting for slaves", "prepared", "building"),
        ("building", "building", "finished"),
    ];
    for (name, from, to) in phases {
        let end = || time(to).or(time("error")).or(time("canceled"));
        if let (Some(from), Some(to)) = (time(from), end()) {
            events.push(span(name, "build", (from - began, to - from), (MASTER, 0)));
        }
    }
    let mut slaves = BTreeMap::new();
    let mut executors = BTreeMap::new();
    for atom in atoms {
        let number = |column: &str| atom.get(column).and_then(Value::as_u64);
        let seconds = |column: &str| atom.get(column).and_then(Value::as_f64);
        let (Some(slave), Some(start)) = (number("slave_id"), seconds("started_at")) else {
            continue;
        };
        let executor = number("executor_id").unwrap_or(0);
        let url = atom.get("slave_url").and_then(Value::as_str);
        slaves.insert(slave, url.unwrap_or_default());
        executors.insert((slave, executor), ());
        let Some(took) = seconds("actual_time") else {
            continue;
        };
        let id = format!("{}_{}", value(atom, "subjob_id"), value(atom, "atom_id"));
        let setting = atom
            .get("value")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let name = match atom.get("name").and_then(Value::as_str) {
            Some(variable) => format!("{variable}={setting}"),
            None => setting.to_owned(),
        };
        let mut event = span(&name, "atom", (start - began, took), (slave, executor));
        event["args"] = json!({
            "atom": id, "state": value(atom, "state"), "exit_code": value(atom, "exit_code"),
            "attempt": value(atom, "attempt"), "expected_time": value(atom, "expected_time"),
        });
        events.push(event);
    }
    let slaves = slaves.into_iter();
    events.extend(
        slaves.map(|(slave, url)| {
            named("process_name", slave, None, &format!("slave {slave} {url}"))
        }),
    );
    let executors = executors.into_keys();
    events.extend(executors.map(|(slave, executor)| {
        let name = format!("executor {executor}");
        named("thread_name", slave, Some(executor), &name)
    }));
    json!({"traceEvents": events, "displayTimeUnit": "ms"})
}

fn value(atom: &BTreeMap<String, Value>, column: &str) -> Value {
    atom.get(column).cloned().unwrap_or_default()
}

/// A span of time on a line of the trace; begin and length are in seconds.
fn span(
    name: &str,
    kind: &str,
    (begin, length): (f64, f64),
    (process, thread): (u64, u64),
) -> Value {
    let microseconds = |seconds: f64| (seconds * 1e6).round().max(0.0);
    json!({
        "name": name, "cat": kind, "ph": "X", "ts": microseconds(begin), "dur": microseconds(length),
        "pid": process, "tid": thread,
    })
}

/// What a process or a thread of the trace is called.
fn named(what: &str, process: u64, thread: Option<u64>, name: &str) -> Value {
    json!({"name": what, "ph": "M", "pid": process, "tid": thread.unwrap_or(0), "args": {"name": name}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build() -> BuildView {
        let build = json!({
            "id": 7, "status": "FINISHED", "details": null, "error_message": null, "num_atoms": 2, "num_subjobs": 2,
            "failed_atoms": [], "result": "NO_FAILURES", "request_params": {}, "artifacts": null,
            "state_timestamps": {
                "queued": 100.0, "preparing": 100.5, "prepared": 101.0, "building": 102.0, "finished": 110.0,
                "error": null, "canceled": null,
            },
        });
        serde_json::from_value(build).unwrap()
    }

    fn atom(subjob: u64, started_at: Value, actual_time: Value) -> BTreeMap<String, Value> {
        let atom = json!({
            "subjob_id": subjob, "atom_id": 0, "name": "N", "value": "<1>", "state": "COMPLETED", "exit_code": 0,
            "attempt": 1, "slave_id": 3, "slave_url": "box:43001", "executor_id": 1, "started_at": started_at,
            "actual_time": actual_time, "expected_time": null,
        });
        serde_json::from_value(atom).unwrap()
    }

    #[test]
    fn each_atom_that_has_run_is_a_span_on_its_executor() {
        let atoms = [
            atom(0, json!(103.0), json!(2.5)),
            atom(1, json!(104.0), Value::Null),
            atom(2, Value::Null, Value::Null),
        ];
        let trace = trace(&build(), &atoms);
        let events = trace["traceEvents"].as_array().unwrap();
        let of = |kind: &str| {
            let events = events.iter().filter(|event| event["cat"] == kind);
            events.collect::<Vec<_>>()
        };
        assert_eq!(of("build").len(), 4);
        let atoms = of("atom");
        assert_eq!(atoms.len(), 1);
        let found = ["name", "ts", "dur", "pid", "tid"].map(|field| &atoms[0][field]);
        let expected = [json!("N=<1>"), json!(3e6), json!(2.5e6), json!(3), json!(1)];
        assert_eq!(found, expected.each_ref());
        let names = events.iter().filter(|event| event["ph"] == "M");
        let names = names.map(|event| event["args"]["name"].as_str().unwrap());
        assert_eq!(
            names.collect::<Vec<_>>(),
            ["master", "slave 3 box:43001", "executor 1"]
        );
    }
}
