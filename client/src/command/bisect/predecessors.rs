//! Which atoms ran before one that failed. Pure.

use clusterrunner_common::api::{AtomView, AttemptView, SubjobView};
use clusterrunner_common::ids::{AtomId, ExecutorIndex, SubjobId};

/// An atom that failed, and those that ran before it in the same place.
#[derive(Debug, PartialEq)]
pub(super) struct Failure<'a> {
    /// The atom that failed.
    pub(super) atom: &'a AtomView,
    /// In the order in which they began.
    pub(super) predecessors: Vec<&'a AtomView>,
}

/// Why there is nothing to look for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoFailure {
    /// The build has no such atom.
    #[error("there is no such atom")]
    Unknown,
    /// It has not failed.
    #[error("the atom has not failed")]
    NotFailed,
    /// The slave has not said when and where the atom ran.
    #[error("it is not known when and on which executor the atom ran")]
    Unplaced,
}

/// When an atom began, and where: on which slave, and on which of its executors.
type RunPlace<'a> = (f64, &'a str, ExecutorIndex);

/// Finds an atom that failed among the subjobs of its build, and what ran before it: on its executor, or on all
/// executors of its slave.
///
/// # Errors
/// There is no such atom, it has not failed, or nothing says where it ran.
pub(super) fn failure(
    subjobs: &[SubjobView],
    atom: (SubjobId, AtomId),
    on_whole_slave: bool,
) -> Result<Failure<'_>, NoFailure> {
    let all = || {
        subjobs.iter().flat_map(|subjob| {
            let slave = subjob.slave.as_deref();
            subjob.atoms.iter().map(move |atom| (atom, slave))
        })
    };
    let is_it = |(found, _): &(&AtomView, _)| (found.subjob_id, found.id) == atom;
    let (failed, slave) = all().find(is_it).ok_or(NoFailure::Unknown)?;
    let place = match (failed.has_failed(), failed.failed_attempts.last()) {
        (true, _) => place(failed, slave),
        // It is flaky: what counts is where it failed.
        (false, Some(attempt)) => place_of(attempt),
        // It failed in a worker, and then ran in the same place.
        (false, None) if failed.is_flaky => place(failed, slave),
        (false, None) => return Err(NoFailure::NotFailed),
    };
    let (at, slave, executor) = place.ok_or(NoFailure::Unplaced)?;
    let before = all().filter_map(|(other, url)| {
        let is_there = |(began, url, on): &RunPlace<'_>| {
            *began < at && *url == slave && (on_whole_slave || *on == executor)
        };
        // Each attempt may have left something behind; the first one decides the order.
        let earlier = other.failed_attempts.iter().filter_map(place_of);
        let began = earlier.chain(self::place(other, url)).filter(is_there);
        let began = began.map(|(began, ..)| began).reduce(f64::min)?;
        let is_other = (other.subjob_id, other.id) != atom;
        is_other.then_some((began, other))
    });
    let mut before: Vec<(f64, &AtomView)> = before.collect();
    before.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    Ok(Failure {
        atom: failed,
        predecessors: before.into_iter().map(|(_, atom)| atom).collect(),
    })
}

fn place_of(attempt: &AttemptView) -> Option<RunPlace<'_>> {
    let AttemptView {
        started_at,
        slave_url,
        executor_id,
        ..
    } = attempt;
    Some(((*started_at)?, slave_url.as_deref()?, (*executor_id)?))
}

fn place<'a>(atom: &AtomView, slave: Option<&'a str>) -> Option<RunPlace<'a>> {
    Some((atom.started_at?, slave?, atom.executor_id?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn subjob(id: u32, slave: &str, atom: Value) -> SubjobView {
        let mut view = json!({
            "command_string": format!("export T=\"{id}\";"), "expected_time": null, "actual_time": 1.0, "exit_code": 0,
            "state": "COMPLETED", "id": 0, "subjob_id": id,
        });
        for (field, value) in atom.as_object().unwrap() {
            view[field] = value.clone();
        }
        let subjob = json!({"id": id, "command": "true", "atoms": [view], "slave": slave});
        serde_json::from_value(subjob).unwrap()
    }

    fn ran(id: u32, slave: &str, executor: u64, at: f64) -> SubjobView {
        subjob(
            id,
            slave,
            json!({"started_at": at, "executor_id": executor}),
        )
    }

    fn build() -> Vec<SubjobView> {
        vec![
            ran(0, "a:1", 0, 12.0),
            ran(1, "a:1", 1, 10.0),
            ran(2, "b:1", 0, 10.0),
            ran(3, "a:1", 0, 11.0),
            subjob(
                4,
                "a:1",
                json!({"started_at": 20.0, "executor_id": 0, "exit_code": 1}),
            ),
            ran(5, "a:1", 0, 30.0),
            subjob(6, "a:1", json!({"exit_code": 1})),
            subjob(
                7,
                "b:1",
                json!({"started_at": 40.0, "executor_id": 0, "is_flaky": true, "failed_attempts": [{
                    "attempt": 1, "exit_code": 1, "actual_time": 1.0, "started_at": 10.5, "slave_id": 1,
                    "slave_url": "a:1", "executor_id": 1,
                }]}),
            ),
        ]
    }

    fn before(subjob: u32, on_whole_slave: bool) -> Result<Vec<u32>, NoFailure> {
        let subjobs = build();
        let found = failure(&subjobs, (SubjobId(subjob), AtomId(0)), on_whole_slave)?;
        let ids = found.predecessors.iter().map(|atom| atom.subjob_id.0);
        Ok(ids.collect())
    }

    #[test]
    fn what_ran_before_on_the_executor_is_found_in_its_order() {
        assert_eq!(before(4, false), Ok(vec![3, 0]));
        assert_eq!(before(4, true), Ok(vec![1, 7, 3, 0]));
    }

    #[test]
    fn of_a_flaky_atom_the_attempt_that_failed_counts() {
        assert_eq!(before(7, false), Ok(vec![1]));
    }

    /// It ran again elsewhere, and what its first attempt left is still there.
    #[test]
    fn an_attempt_that_failed_there_counts_too() {
        let mut subjobs = build();
        let failed = json!({
            "attempt": 1, "exit_code": 1, "actual_time": 1.0, "started_at": 9.0, "slave_id": 1, "slave_url": "a:1",
            "executor_id": 0,
        });
        subjobs[2].atoms[0].failed_attempts = vec![serde_json::from_value(failed).unwrap()];
        let found = failure(&subjobs, (SubjobId(4), AtomId(0)), false).unwrap();
        let ids = found.predecessors.iter().map(|atom| atom.subjob_id.0);
        assert_eq!(ids.collect::<Vec<_>>(), [2, 3, 0]);
    }

    #[test]
    fn where_there_is_no_failure_that_is_said() {
        assert_eq!(before(0, false), Err(NoFailure::NotFailed));
        assert_eq!(before(6, false), Err(NoFailure::Unplaced));
        assert_eq!(before(99, false), Err(NoFailure::Unknown));
    }
}
