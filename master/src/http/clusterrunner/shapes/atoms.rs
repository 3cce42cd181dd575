//! Subjobs and their atoms as this API shows them. Pure.

use crate::read::running::Runs;
use clusterrunner_common::api::{AtomState, AtomView, AttemptView, BatchInVainView, SubjobView};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{AtomId, Attempt, ExecutorIndex, SubjobId};
use clusterrunner_common::job::config::variable_of;
use clusterrunner_common::work::{BatchInVain, ProcessUsage};
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::mishaps::FailedAttempt;
use clusterrunner_core::builds::outcome::AtomOutcome;
use clusterrunner_core::builds::subjob::Subjob;

/// A subjob.
#[must_use]
pub(crate) fn subjob(build: &Build, id: SubjobId, subjob: &Subjob, runs: Runs) -> SubjobView {
    let slave = subjob.slave.and_then(|slave| build.slave_urls.get(&slave));
    SubjobView {
        id,
        command: build
            .plan
            .as_ref()
            .map_or_else(String::new, |plan| plan.command.clone()),
        atoms: atoms(build, id, subjob, runs).collect(),
        slave: slave.cloned(),
    }
}

/// The atoms of a subjob.
pub(crate) fn atoms(
    build: &Build,
    id: SubjobId,
    subjob: &Subjob,
    runs: Runs,
) -> impl Iterator<Item = AtomView> {
    let is_shell_text = !build.quotes_atoms();
    let outcomes = subjob.result.as_ref().map(|(_, outcomes)| &**outcomes);
    let attempt = attempt(build, id, subjob, runs);
    let is_cut_short = build.is_cut_short();
    let cut = build.cut_run(id);
    let (is_flaky, fails_as_flaky) = (subjob.is_flaky(), build.fails_as_flaky(subjob));
    (0..)
        .map(AtomId)
        .zip(&subjob.atoms)
        .map(move |(atom, command)| {
            let outcome = outcomes.and_then(|outcomes| outcomes.get(atom.0 as usize));
            let running = match runs {
                Runs::Atom(running) if running.atom_id == atom => Some(running),
                Runs::Atom(_) | Runs::No | Runs::CutOff | Runs::Unsaid => None,
            };
            let variable = variable_of(command, is_shell_text);
            let state = match (outcome, runs) {
                (Some(_), _) => AtomState::Completed,
                // The result of those before it comes with its own.
                (None, Runs::Atom(running)) if atom <= running.atom_id => AtomState::InProgress,
                (None, Runs::Unsaid) => AtomState::InProgress,
                // One behind the atom that ran had not begun.
                (None, Runs::CutOff) if cut.is_none_or(|(run, _)| atom <= run.atom) => {
                    AtomState::Canceled
                }
                (None, Runs::No | Runs::CutOff) if is_cut_short => AtomState::NotRun,
                (None, Runs::Atom(_) | Runs::No | Runs::CutOff) => AtomState::NotStarted,
            };
            let cut = cut.filter(|(run, _)| state == AtomState::Canceled && run.atom == atom);
            let usage = outcome.and_then(|outcome| outcome.usage);
            let processes = usage.and_then(|usage| usage.processes);
            AtomView {
                command_string: command.to_string(),
                name: variable.as_ref().map(|(name, _)| name.to_string()),
                value: variable.map(|(_, value)| value.into_owned()),
                expected_time: subjob
                    .atoms_expected_ms
                    .get(atom.0 as usize)
                    .map(seconds_of),
                actual_time: match outcome {
                    Some(outcome) => Some(seconds(outcome)),
                    None => cut.map(|(_, lasted)| lasted.as_secs_f64()),
                },
                exit_code: outcome.map(|outcome| outcome.exit_code),
                state,
                id: atom,
                subjob_id: id,
                trouble: outcome.and_then(|outcome| Some(outcome.trouble?.to_string())),
                started_at: match (outcome, running) {
                    (Some(outcome), _) => outcome.started_at.map(Timestamp::as_unix_seconds),
                    (None, running) => {
                        let cut = cut.map(|(run, _)| run.started_at);
                        let began = running.map(|atom| atom.started_at_ms).or(cut);
                        began.map(Timestamp::as_unix_seconds)
                    }
                },
                executor_id: match (outcome, running) {
                    (Some(_), _) => subjob.executor,
                    (None, running) => {
                        let cut = cut.map(|(run, _)| run.executor);
                        running.map(|atom| atom.executor_id).or(cut)
                    }
                },
                attempt: attempt.filter(|_| state != AtomState::NotStarted),
                failed_attempts: failed_attempts(build, subjob, atom),
                is_flaky,
                fails_as_flaky,
                signal: outcome.and_then(AtomOutcome::signal),
                timed_out_after: outcome.and_then(AtomOutcome::timed_out_after),
                output_bytes: usage.map(|usage| usage.output_bytes),
                max_memory_bytes: processes.map(ProcessUsage::max_memory_bytes),
                cpu_seconds: processes.map(ProcessUsage::cpu_seconds),
                worker: outcome.and_then(AtomOutcome::worker),
                batch_in_vain: usage
                    .and_then(|usage| usage.last_in_vain)
                    .map(batch_in_vain),
            }
        })
}

fn batch_in_vain(batch: BatchInVain) -> BatchInVainView {
    BatchInVainView {
        started_at: Timestamp(batch.began_ms.get()).as_unix_seconds(),
        actual_time: f64::from(batch.took_ms) / 1000.0,
        executor_id: ExecutorIndex(batch.executor.into()),
        num_atoms: batch.atoms,
    }
}

/// The attempts at an atom after which the atom was run again.
fn failed_attempts(build: &Build, subjob: &Subjob, atom: AtomId) -> Vec<AttemptView> {
    let attempt = |failed: &FailedAttempt| {
        let outcome = failed.outcomes.get(atom.0 as usize)?;
        Some(AttemptView {
            attempt: failed.attempt,
            exit_code: outcome.exit_code,
            signal: outcome.signal(),
            trouble: outcome.trouble.map(|trouble| trouble.to_string()),
            actual_time: seconds(outcome),
            started_at: outcome.started_at.map(Timestamp::as_unix_seconds),
            slave_id: failed.slave,
            slave_url: build.slave_urls.get(&failed.slave).cloned(),
            executor_id: failed.executor,
        })
    };
    let failed = subjob.failed_attempts().iter();
    failed.filter_map(attempt).collect()
}

/// The hand-out of a subjob that counts, or that runs.
fn attempt(build: &Build, id: SubjobId, subjob: &Subjob, runs: Runs) -> Option<Attempt> {
    match (&subjob.result, runs) {
        (Some((attempt, _)), _) => Some(*attempt),
        (None, Runs::Atom(running)) => Some(running.attempt),
        (None, Runs::CutOff) => build.cut_off.get(&id).copied(),
        (None, Runs::Unsaid) => build.last_attempt(id),
        (None, Runs::No) => None,
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "a duration in milliseconds fits a double"
)]
fn seconds_of(milliseconds: &u64) -> f64 {
    *milliseconds as f64 / 1000.0
}

fn seconds(outcome: &AtomOutcome) -> f64 {
    seconds_of(&outcome.duration_ms)
}
