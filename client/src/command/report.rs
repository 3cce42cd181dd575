//! What is said of a build that is over: its failed atoms, and one line that is the verdict.

use super::matrix;
use super::standing::{flaky, stages, took};
use crate::output::again::command;
use crate::output::events::Event;
use crate::output::sections::Sections;
use crate::output::table::{Cell, Table};
use crate::output::text::{atom_of_command, count, duration, how_it_ended, name, short_setting};
use crate::output::{self, BAD, FAINT, GOOD, NOTICE, styled};
use anstyle::Style;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::api::{BuildResult, BuildStatus, BuildView};
use clusterrunner_common::job::config::in_plain_words;
use clusterrunner_common::text::printable::plain_lines;

/// Failed atoms that are listed. Nobody reads more, and the line below them has the command that lists all.
const LISTED: usize = 20;

/// Begins what is said of a build that is over, apart from what its atoms printed.
pub(super) fn begin_end(build: &BuildView) {
    if let Some(title) = Sections::here().unfolded(&format!("End of build {}", build.id)) {
        output::order(&title);
    }
}

/// Lists the failed atoms, each with the command that shows what it printed.
pub(super) fn list_failures(build: &BuildView) {
    matrix::list(build);
    if build
        .children
        .iter()
        .any(|child| child.num_atoms_failed > 0)
    {
        let all = command(format!("logs {} --failed", build.id));
        output::say(format!("Failed atoms: {all}"));
    }
    let failed = build.failed_atoms.as_deref().unwrap_or_default();
    if failed.is_empty() {
        return;
    }
    output::say("Failed atoms:");
    let mut table = Table::indented();
    for atom in failed.iter().take(LISTED) {
        let logs = format!("logs {} {}", build.id, atom_of_command(atom));
        table.add([
            name(atom).into(),
            Cell::styled(BAD, how_it_ended(atom)),
            short_setting(atom).into(),
            Cell::styled(FAINT, command(logs)),
        ]);
    }
    table.print();
    let more = failed.len().saturating_sub(LISTED);
    if more > 0 {
        let all = command(format!("logs {} --failed", build.id));
        output::say(format!("  ... and {more} more: {all}"));
    }
}

/// Says to programs how a build ended, and with what code this command does.
pub(super) fn emit_end(build: &BuildView, code: ExitCode) {
    let exit_code = code.number();
    output::emit(&Event::Ended { build, exit_code });
}

/// Says in one line how the build ended. `compat` adds what the original prints, for programs that read it.
pub(super) fn say_verdict(build: &BuildView, compat: bool) {
    if let Some(commit) = &build.commit {
        output::detail(format!("commit {commit}"));
    }
    for (state, seconds) in stages(build) {
        output::detail(format!("{state} for {}", duration(seconds)));
    }
    if compat {
        say_as_the_original(build);
    }
    let (style, verdict) = verdict(build);
    let warnings = match u64::try_from(build.warnings.len()).unwrap_or(u64::MAX) {
        0 => String::new(),
        warnings => {
            let again = command(format!("status {}", build.id));
            let warnings = styled(NOTICE, count(warnings, "warning"));
            format!(" ({warnings}: {again})")
        }
    };
    output::say(format!("{}{warnings}", styled(style, verdict)));
    if let Some(help) = what_helps(build) {
        output::note(help);
    }
}

/// What to do about a build that ended without a verdict about its atoms.
fn what_helps(build: &BuildView) -> Option<String> {
    // Of a matrix the first build that could not be run has the output.
    let mut children = build.children.iter();
    let child = children.find(|child| child.status == BuildStatus::Error);
    let id = child.map_or(build.id, |child| child.build_id);
    let logs = |step: &str| command(format!("logs {id} --{step}"));
    if build.status == BuildStatus::Finished && build.lacks_atoms {
        return Some(
            "`allow_no_atoms: true` in the job lets a build without atoms pass".to_owned(),
        );
    }
    let reason = build.error_message.as_deref()?;
    if build.status != BuildStatus::Error {
        return None;
    }
    if reason.contains("Atomizer command failed") {
        return Some(format!(
            "`{}` shows what the atomizers printed",
            logs("atomizer")
        ));
    }
    let is_of_setup = reason.contains("setup_build ");
    is_of_setup.then(|| format!("`{}` shows what setup_build printed", logs("setup")))
}

fn verdict(build: &BuildView) -> (Style, String) {
    let id = build.id;
    let time = took(build).map_or_else(String::new, |time| format!(" in {}", duration(time)));
    match build.status {
        BuildStatus::Error => {
            let reason = build.error_message.as_deref().unwrap_or("no reason given");
            let text = format!(
                "Build aborted due to error: {}",
                plain_lines(&in_plain_words(reason))
            );
            (BAD, text)
        }
        BuildStatus::Canceled => (
            NOTICE,
            format!("Build {id} was canceled{}", canceled_at(build)),
        ),
        BuildStatus::Finished => finished(build, &time),
        BuildStatus::Queued | BuildStatus::Building => (NOTICE, format!("Build {id} is not over")),
    }
}

/// How far a canceled build came.
fn canceled_at(build: &BuildView) -> String {
    match build.num_atoms_completed {
        0 => String::new(),
        done if build.num_atoms_failed == 0 => format!(" after {}", count(done, "atom")),
        done => {
            let failed = build.num_atoms_failed;
            format!(" after {}, {failed} of them failed", count(done, "atom"))
        }
    }
}

fn finished(build: &BuildView, time: &str) -> (Style, String) {
    let id = build.id;
    let listed = build.failed_atoms.as_ref().map_or(0, Vec::len);
    let failed = match build.children.is_empty() {
        true => u64::try_from(listed).unwrap_or(u64::MAX),
        false => build.num_atoms_failed,
    };
    let atoms = build.num_atoms.unwrap_or(0);
    if atoms == 0 {
        let (style, how) = match build.lacks_atoms {
            true => (BAD, "failed"),
            false => (NOTICE, "is finished"),
        };
        let text = format!("Build {id} {how}: it has no atoms, so nothing was tested");
        return (style, text);
    }
    let flaky = match build.children.len() {
        0 => flaky(build),
        builds => {
            let builds = u64::try_from(builds).unwrap_or(u64::MAX);
            format!("{} in {}", flaky(build), count(builds, "build"))
        }
    };
    if build.result == Some(BuildResult::NoFailures) {
        let text = format!("Build {id} passed: {}{flaky}{time}", count(atoms, "atom"));
        return (GOOD, text);
    }
    let not_run = build.num_atoms_not_run.unwrap_or(0);
    let passed = atoms.saturating_sub(failed + not_run);
    let not_run = match not_run {
        0 => String::new(),
        rest => format!(", {rest} not run"),
    };
    let in_trouble = in_trouble(build);
    let text = format!(
        "Build {id} failed: {failed} of {} failed{in_trouble}, {passed} passed{flaky}{not_run}{time}",
        count(atoms, "atom")
    );
    (BAD, text)
}

/// What happened to those failed atoms that did not just fail, as ` (2 timed out, 1 ran out of memory)`.
fn in_trouble(build: &BuildView) -> String {
    /// How the master's words begin, and what is said of the atoms.
    const REASONS: [(&str, &str); 4] = [
        ("timed out", "timed out"),
        ("poison", "took slaves down"),
        ("out of memory", "ran out of memory"),
        ("too many processes", "had too many processes"),
    ];
    let all = build.num_atoms_in_trouble;
    if all == 0 {
        return String::new();
    }
    let failed = build.failed_atoms.as_deref().unwrap_or_default();
    let troubles: Vec<&str> = failed
        .iter()
        .filter_map(|atom| atom.trouble.as_deref())
        .collect();
    let mut told = Vec::new();
    let mut rest = all;
    for (begin, what) in REASONS {
        let those = troubles.iter().filter(|trouble| trouble.starts_with(begin));
        let number = u64::try_from(those.count()).unwrap_or(u64::MAX);
        if number > 0 {
            told.push(format!("{number} {what}"));
            rest = rest.saturating_sub(number);
        }
    }
    // The atoms of a matrix are listed with its builds.
    if rest > 0 {
        told.push(format!("{rest} timed out, took slaves down or hit a limit"));
    }
    format!(" ({})", told.join(", "))
}

fn say_as_the_original(build: &BuildView) {
    if build.status != BuildStatus::Finished {
        return;
    }
    let id = build.id;
    output::tell(format!("Build is finished. (Build id: {id})"));
    let result = match build.result {
        Some(BuildResult::NoFailures) => "NO_FAILURES",
        Some(BuildResult::Failure | BuildResult::Canceled) | None => "FAILURE",
    };
    output::tell(format!("Build {id} result was {result}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn said(in_trouble: u64, troubles: &[Option<&str>]) -> String {
        let atom = |trouble: &Option<&str>| -> Value {
            json!({
                "command_string": "export T=\"a\";", "expected_time": null, "actual_time": 1.0, "exit_code": 1,
                "state": "COMPLETED", "id": 0, "subjob_id": 0, "trouble": trouble,
            })
        };
        let failed: Vec<Value> = troubles.iter().map(atom).collect();
        let view = json!({
            "id": 1, "status": "FINISHED", "details": null, "error_message": null, "num_atoms": 9, "num_subjobs": 9,
            "failed_atoms": failed, "result": "FAILURE", "request_params": {}, "state_timestamps": {},
            "artifacts": null, "num_atoms_in_trouble": in_trouble,
        });
        let build: BuildView = serde_json::from_value(view).unwrap();
        verdict(&build).1
    }

    #[test]
    fn failures_that_are_no_plain_ones_are_counted_by_their_reasons() {
        let timed_out = Some("timed out after 600 s");
        for (in_trouble, troubles, expected) in [
            (0, &[None] as &[Option<&str>], "1 of 9 atoms failed, 8"),
            (1, &[timed_out, None], "failed (1 timed out), 7 passed"),
            (
                4,
                &[
                    timed_out,
                    Some("out of memory: 512 MiB limit"),
                    Some("too many processes: limit 200"),
                    Some("poison: 3 slaves were lost while they ran it"),
                ],
                "(1 timed out, 1 took slaves down, 1 ran out of memory, 1 had too many processes)",
            ),
            (2, &[], "(2 timed out, took slaves down or hit a limit)"),
        ] {
            let said = said(in_trouble, troubles);
            assert!(said.contains(expected), "{said}");
        }
    }
}
