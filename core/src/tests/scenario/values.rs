//! Plans, hand-outs and reports, as scenarios need them.

use crate::builds::hand_out::HandOut;
use crate::builds::outcome::AtomOutcome;
use crate::builds::plan::Plan;
use crate::command::Command;
use crate::lifetime::testimony::Testimony;
use crate::refusal::Refusal;
use clusterrunner_common::ids::{Attempt, BuildId, Incarnation, SlaveId, SubjobId};
use clusterrunner_common::job::config::Timeouts;
use clusterrunner_common::work::{BuildRequest, Seen};
use serde_json::json;
use std::num::NonZeroU32;

/// The incarnation that begins if one has to.
pub(crate) fn fresh() -> Incarnation {
    Incarnation("fresh".to_owned())
}

/// What a slave says it has seen of this very master.
pub(crate) fn proved(seen: Vec<Seen>) -> Vec<Testimony> {
    seen.into_iter().map(Testimony::proved).collect()
}

pub(crate) fn request(project: &str) -> BuildRequest {
    BuildRequest::from_json(&json!({"type": "git", "url": project})).unwrap()
}

pub(crate) fn atom(name: &str) -> String {
    format!("export T={name};")
}

/// A plan of the job `unit` with the command `run`.
pub(crate) fn plan(atoms: &[&str]) -> Plan {
    Plan {
        commit: Some("c0ffee".to_owned()),
        job_name: "unit".to_owned(),
        command: "run".to_owned(),
        setup_build: Some("make ready".to_owned()),
        teardown_build: None,
        max_executors: None,
        max_executors_per_slave: None,
        timeouts: Timeouts::default(),
        atoms: atoms.iter().copied().map(atom).collect(),
        ..Plan::default()
    }
}

/// As [`plan`], with limits (0 for none) and so many atoms `0`, `1`, ...
pub(crate) fn big_plan(num_atoms: u32, max_executors: u32, per_slave: u32) -> Plan {
    Plan {
        max_executors: NonZeroU32::new(max_executors),
        max_executors_per_slave: NonZeroU32::new(per_slave),
        timeouts: Timeouts::default(),
        atoms: (0..num_atoms).map(|n| atom(&n.to_string())).collect(),
        ..plan(&[])
    }
}

pub(crate) fn hand_out(slave: u64, build: u64, subjob: u32, attempt: u32) -> HandOut {
    HandOut {
        slave: SlaveId(slave),
        build: BuildId(build),
        subjob: SubjobId(subjob),
        attempt: Attempt(attempt),
    }
}

pub(crate) fn finished(hand_out: HandOut, exit_codes: &[i32]) -> Command {
    let outcome = |exit_code: &i32| AtomOutcome {
        exit_code: *exit_code,
        // So long that none waits on a slave.
        duration_ms: 60_000,
        trouble: None,
        started_at: None,
        usage: None,
    };
    let outcomes = exit_codes.iter().map(outcome).collect();
    Command::ReportFinished {
        hand_out,
        executor: None,
        outcomes,
    }
}

pub(crate) fn unusable(hand_out: HandOut) -> Command {
    let reason = "torn archive".to_owned();
    Command::ReportUnusable { hand_out, reason }
}

pub(crate) fn stale(hand_out: HandOut) -> Refusal {
    Refusal::StaleAttempt {
        build: hand_out.build,
        subjob: hand_out.subjob,
        attempt: hand_out.attempt,
    }
}
