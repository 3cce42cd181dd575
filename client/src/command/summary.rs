//! What is said of a build that is over beside its failures: which atoms took longest, were flaky, or were not run, and how
//! many ran in workers.

use crate::output::again::command;
use crate::output::table::{Cell, Table};
use crate::output::text::{
    atom_of_command, count, duration, how_it_ended, name, setting, short_setting,
};
use crate::output::{self, FAINT, NOTICE, STRONG, styled};
use clusterrunner_client::Client;
use clusterrunner_common::api::{AtomState, AtomView, BuildStatus, BuildView};
use clusterrunner_common::work::InWorker;
use std::time::Duration;

/// How many of the slowest atoms are listed.
const SLOWEST: usize = 5;

/// An atom that takes less is not listed among the slowest, in seconds.
const SLOW: f64 = 1.0;

/// How many flaky atoms, and how many that were not run, are listed.
const LISTED: usize = 20;

/// The list of more atoms takes longer than what it says is worth.
const MOST_ATOMS: u64 = 50_000;

/// Says it of a finished build. A courtesy: without an answer of the master nothing is said.
pub(super) async fn say(client: &Client, build: &BuildView) {
    let atoms = build.num_atoms.unwrap_or(0);
    let is_of_use = build.status == BuildStatus::Finished && (2..=MOST_ATOMS).contains(&atoms);
    if output::is_quiet() || output::is_json_lines() || !is_of_use {
        return;
    }
    let client = client.with_patience(Duration::ZERO);
    let Ok(subjobs) = client.subjobs(build.id).await else {
        return;
    };
    let all = subjobs.into_iter().flat_map(|subjob| subjob.atoms);
    let Summary {
        slowest,
        flaky,
        not_run,
        in_workers,
    } = Summary::of(all.collect());
    if !slowest.is_empty() {
        output::tell(styled(STRONG, "Slowest atoms:"));
        for atom in slowest {
            let time = duration(atom.actual_time.unwrap_or_default());
            let (name, setting) = (name(&atom), setting(&atom));
            output::tell(format!("{time:>10}  {name}  {setting}"));
        }
    }
    list(build, "Flaky atoms:", &flaky, |atom| {
        let first = atom.failed_attempts.first();
        let first = first.map_or_else(String::new, |failed| {
            format!(" --attempt {}", failed.attempt)
        });
        let logs = format!("logs {} {}{first}", build.id, atom_of_command(atom));
        [
            name(atom).into(),
            Cell::styled(NOTICE, how_it_ended(atom)),
            short_setting(atom).into(),
            Cell::styled(FAINT, command(logs)),
        ]
    });
    list(build, "Not run:", &not_run, |atom| {
        [name(atom).into(), setting(atom).into()]
    });
    if in_workers > 0 {
        let all = count(atoms, "atom");
        output::tell(format!(
            "{} {in_workers} of {all}",
            styled(STRONG, "In workers:")
        ));
    }
}

fn list<const CELLS: usize>(
    build: &BuildView,
    title: &str,
    atoms: &[AtomView],
    row: impl Fn(&AtomView) -> [Cell; CELLS],
) {
    if atoms.is_empty() {
        return;
    }
    output::tell(styled(STRONG, title));
    let mut table = Table::indented();
    for atom in atoms.iter().take(LISTED) {
        table.add(row(atom));
    }
    table.print();
    let more = atoms.len().saturating_sub(LISTED);
    if more > 0 {
        let all = command(format!("logs {}", build.id));
        output::tell(format!("  ... and {more} more: {all}"));
    }
}

/// What is said.
#[derive(Debug, Default)]
struct Summary {
    /// The longest first.
    slowest: Vec<AtomView>,
    /// Those that passed in the end and do not count as failed: these are listed with the failed ones.
    flaky: Vec<AtomView>,
    not_run: Vec<AtomView>,
    /// How many have a result of a run in a worker.
    in_workers: usize,
}

impl Summary {
    fn of(atoms: Vec<AtomView>) -> Self {
        let chosen = |is_chosen: fn(&AtomView) -> bool| {
            atoms
                .iter()
                .filter(|atom| is_chosen(atom))
                .cloned()
                .collect()
        };
        let flaky = chosen(|atom| atom.is_flaky && !atom.has_failed());
        let not_run = chosen(|atom| atom.state == AtomState::NotRun);
        let in_worker = atoms
            .iter()
            .filter(|atom| atom.worker == Some(InWorker::Ran));
        let in_workers = in_worker.count();
        let mut slowest = atoms;
        let time = |atom: &AtomView| atom.actual_time.unwrap_or_default();
        slowest.retain(|atom| time(atom) >= SLOW);
        slowest.sort_by(|one, other| time(other).total_cmp(&time(one)));
        slowest.truncate(SLOWEST);
        Self {
            slowest,
            flaky,
            not_run,
            in_workers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn atom(id: u32, more: &Value) -> AtomView {
        let mut atom = json!({
            "command_string": "export N=\"1\";", "expected_time": null, "actual_time": null,
            "exit_code": 0, "state": "COMPLETED", "id": id, "subjob_id": 0,
        });
        for (name, value) in more.as_object().unwrap() {
            atom[name] = value.clone();
        }
        serde_json::from_value(atom).unwrap()
    }

    #[test]
    fn the_slowest_come_first_and_short_ones_not_at_all() {
        let times = [0.9, 3.0, 1.0, 7.0, 2.0, 5.0, 4.0];
        let atoms = times.iter().zip(0..);
        let atoms = atoms.map(|(time, id)| atom(id, &json!({"actual_time": time})));
        let slowest = Summary::of(atoms.collect()).slowest;
        let times: Vec<f64> = slowest.iter().filter_map(|atom| atom.actual_time).collect();
        assert_eq!(times, [7.0, 5.0, 4.0, 3.0, 2.0]);
    }

    #[test]
    fn what_failed_is_not_said_twice() {
        let summary = Summary::of(vec![
            atom(0, &json!({"is_flaky": true})),
            atom(1, &json!({"is_flaky": true, "fails_as_flaky": true})),
            atom(2, &json!({"exit_code": null, "state": "NOT_RUN"})),
            atom(3, &json!({"worker": "ran"})),
            atom(4, &json!({"is_flaky": true, "worker": "failed"})),
        ]);
        let ids = |atoms: &[AtomView]| atoms.iter().map(|atom| atom.id.0).collect::<Vec<_>>();
        assert_eq!(ids(&summary.flaky), [0, 4]);
        assert_eq!(summary.in_workers, 1);
        assert_eq!(ids(&summary.not_run), [2]);
        assert!(summary.slowest.is_empty());
    }
}
