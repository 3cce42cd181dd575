//! How builds are shown to people and to CI systems: failures with more or less output, slow atoms, the summary, and
//! what all atoms print at once.

use crate::job::job;
use crate::machine::{Ended, Machine};
use crate::wait::wait_for;
use std::fs;
use std::process::Command;

/// An atom that fails after 30 lines, and one that passes.
fn failing() -> String {
    let command = r#"test "$N" = 2 || { seq 1 30; echo '::error::not for the log'; exit 3; }"#;
    job(command).atoms(2).to_string()
}

fn run(mut command: Command) -> Ended {
    command.output().unwrap().into()
}

#[test]
fn as_much_of_the_output_of_failures_is_shown_as_is_asked_for() {
    let machine = Machine::new(&failing());
    let build =
        |output: &str| machine.run_to(1, &["build", "--no-results", "--failure-output", output]);
    let has = |ended: &Ended, line: &str| ended.stdout.lines().any(|shown| shown == line);
    let tail = build("tail");
    assert!(!has(&tail, "    11") && has(&tail, "    12"), "{tail:#?}");
    assert!(
        tail.stdout
            .contains("... 11 lines before, see `clusterrunner logs 1 0_0`"),
        "{tail:#?}"
    );
    let full = build("full");
    for number in 1..=30 {
        assert!(has(&full, &format!("    {number}")), "{full:#?}");
    }
    assert!(!full.stdout.contains("lines before"), "{full:#?}");
    let none = build("none");
    assert!(none.stdout.contains("FAILED artifact_0_0"), "{none:#?}");
    assert!(!has(&none, "    30"), "{none:#?}");

    // The same of builds that are over.
    let line = ["logs", "1", "--failed", "--failure-output", "full"];
    let logs = machine.run_to(0, &line);
    assert!(has(&logs, "    1") && has(&logs, "    30"), "{logs:#?}");
    let attached = machine.run_to(1, &["status", "1", "-w", "--failure-output", "none"]);
    assert!(attached.stdout.contains("FAILED artifact_0_0") && !has(&attached, "    30"));
    let waited = machine.run_to(1, &["wait", "1", "--failure-output", "tail"]);
    assert!(
        has(&waited, "    30") && !has(&waited, "    11"),
        "{waited:#?}"
    );
    let waited = machine.run_to(1, &["wait", "1"]);
    assert_eq!(
        waited.stdout.lines().count(),
        1,
        "only the verdict: {waited:#?}"
    );
}

/// CI systems fold what atoms print, and obey nothing of it.
#[test]
fn ci_systems_get_sections() {
    let machine = Machine::new(&failing());
    let build = |variable: &str| {
        let mut command = machine.command(&["build", "--no-results"]);
        command.env(variable, "true");
        run(command).stdout
    };
    let github = build("GITHUB_ACTIONS");
    let lines: Vec<&str> = github.lines().collect();
    let at = |beginning: &str| {
        let found = lines.iter().position(|line| line.starts_with(beginning));
        found.unwrap_or_else(|| panic!("{beginning} is not in {github}"))
    };
    let group = at("::group::output of artifact_0_0");
    let token = lines[group + 1].strip_prefix("::stop-commands::").unwrap();
    assert_eq!(token.len(), 32);
    let hostile = at("    : :error::");
    assert_eq!(lines[hostile + 1], format!("::{token}::"));
    assert_eq!(lines[hostile + 2], "::endgroup::");
    assert!(group < hostile && hostile < at("Failed atoms:"), "{github}");

    let buildkite = build("BUILDKITE");
    let lines: Vec<&str> = buildkite.lines().collect();
    let at = |beginning: &str| lines.iter().position(|line| line.starts_with(beginning));
    let (section, end) = (at("--- output of artifact_0_0"), at("+++ End of build 2"));
    assert!(
        section.is_some() && section < end && end < at("Failed atoms:"),
        "{buildkite}"
    );
}

#[tokio::test]
async fn slow_atoms_are_told() {
    let command = r#"test "$N" = 1 || until test -e "$PROJECT_DIR/go"; do sleep 0.02; done"#;
    let machine = Machine::new(&job(command).atoms(2).to_string());
    let errors = machine.path("errors");
    let mut command = machine.command(&["build", "--no-results", "--slow-after", "0"]);
    command.stderr(fs::File::create(&errors).unwrap());
    let build = command.spawn().unwrap();
    wait_for("the slow atom is told", async || {
        let told = fs::read_to_string(&errors).unwrap();
        told.contains("slow artifact_1_0  N=\"2\"  (has been running for ")
            .then_some(())
    })
    .await;
    fs::write(machine.path("project/go"), "").unwrap();
    assert!(build.wait_with_output().unwrap().status.success());
    let told = fs::read_to_string(&errors).unwrap();
    assert_eq!(told.matches("slow artifact_1_0").count(), 1, "once: {told}");
}

#[test]
fn the_end_tells_what_was_slow_flaky_or_not_run() {
    // Atom 1 takes long, atom 2 passes at its second attempt.
    let command = r#"case "$N" in
        1) sleep 1.2 ;;
        2) test -e "$PROJECT_DIR/second" || { touch "$PROJECT_DIR/second"; exit 1; } ;;
        esac"#;
    let machine = Machine::new(&job(command).atoms(3).with("retries", 1).to_string());
    let built = machine.run_to(0, &["build", "--no-results"]).stdout;
    let mut slow = built.lines().skip_while(|line| *line != "Slowest atoms:");
    assert!(
        slow.any(|line| line.ends_with(" s  artifact_0_0  N=\"1\"")),
        "{built}"
    );
    let flaky = built
        .lines()
        .skip_while(|line| *line != "Flaky atoms:")
        .nth(1);
    let end = "then passed  N=\"2\"  clusterrunner logs 1 1_0 --attempt 1";
    assert!(
        flaky.is_some_and(|line| line.contains("artifact_1_0  flaky") && line.ends_with(end)),
        "{built}"
    );
    assert!(!built.contains("Not run:"), "{built}");

    machine.write_jobs(
        &job("exit 1")
            .atoms(5)
            .with("max_fail", 1)
            .with("max_executors", 1)
            .to_string(),
    );
    let built = machine.run_to(1, &["build", "--no-results"]).stdout;
    let not_run = built.lines().skip_while(|line| *line != "Not run:").skip(1);
    let names = not_run.take_while(|line| line.starts_with("  artifact_"));
    assert_eq!(names.count(), 4, "{built}");
}

/// Lines of all atoms with their names before them: those of attempts that failed, too.
#[tokio::test]
async fn what_all_atoms_print_is_followed_at_once() {
    let command = r#"echo "begins $N"; until test -e "$PROJECT_DIR/go"; do sleep 0.02; done; printf 'ends %s' "$N"
        test "$N" = 2 || test -e "$PROJECT_DIR/second" || { touch "$PROJECT_DIR/second"; exit 1; }"#;
    let machine = Machine::new(&job(command).atoms(2).with("retries", 1).to_string());
    machine.run_to(0, &["build", "--detach"]);
    let shown = machine.path("shown");
    let mut command = machine.command(&["logs", "1", "-f"]);
    command.stdout(fs::File::create(&shown).unwrap());
    let following = command.spawn().unwrap();
    wait_for("the first line is there", async || {
        let text = fs::read_to_string(&shown).unwrap();
        text.contains("artifact_0_0 | begins 1\n").then_some(())
    })
    .await;
    fs::write(machine.path("project/go"), "").unwrap();
    let ended = following.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let text = fs::read_to_string(&shown).unwrap();
    let of = |atom: &str| {
        let prefix = format!("{atom} | ");
        text.lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            .collect::<Vec<_>>()
    };
    let first = [
        "begins 1",
        "ends 1",
        "-- attempt 1 failed --",
        "begins 1",
        "ends 1",
    ];
    assert_eq!(of("artifact_0_0"), first, "{text}");
    assert_eq!(of("artifact_1_0"), ["begins 2", "ends 2"], "{text}");
    // Of a build that is over all of it comes again.
    let again = machine.run_to(0, &["logs", "1", "-f"]).stdout;
    assert_eq!(again.lines().count(), text.lines().count(), "{again}");
}
