//! Many atoms in one process: what comes back is what comes back of each alone.

mod odd;

use crate::farm::Farm;
use crate::job::{Job, job};
use crate::outcome::Over;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::{AtomView, TestsBody};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;

/// A test runner: for each atom it does what `deed` says with `$atom`, and writes a report at its end.
fn runner(deed: &str) -> String {
    format!(
        r#"exit=0
report() {{ echo "<testcase classname='t' name='$atom' time='0.01'>$1</testcase>" >> "$ARTIFACT_DIR/report"; }}
fail() {{ report "<failure message='$1'>$1</failure>"; exit=1; }}
echo "batch of $BATCH_SIZE: "$ATOMS >> "$LOG"
for atom in $(cat "$ATOMS_FILE"); do
echo "now $atom"
{deed}
done
{{ echo '<testsuites>'; cat "$ARTIFACT_DIR/report"; echo '</testsuites>'; }} > "$ARTIFACT_DIR/junit.xml"
rm -f "$ARTIFACT_DIR/report"
exit $exit
"#
    )
}

/// A farm and a project whose atoms 1 to 24 are run in batches by a runner, or alone by a command.
struct Story {
    farm: Farm,
    repository: Repository,
}

impl Story {
    async fn new(executors: &[u32], deed: &str, alone: Option<&str>) -> Self {
        Self::with(executors, deed, alone, |job| job).await
    }

    async fn with(
        executors: &[u32],
        deed: &str,
        alone: Option<&str>,
        change: impl FnOnce(Job) -> Job,
    ) -> Self {
        let repository = Repository::empty();
        let log = repository.outside("log").display().to_string();
        let batched = json!({"batch_command": "bash run.sh", "atomizers": [{"N": "seq 1 24"}], "env": {"LOG": log}});
        let mut job_of = match alone {
            Some(alone) => job("echo \"alone: $N\" >> \"$LOG\"").then(alone),
            None => Job::empty(),
        };
        for (field, value) in batched.as_object().unwrap() {
            job_of = job_of.with(field, value.clone());
        }
        let job_of = change(job_of);
        repository.commit(&[("run.sh", &runner(deed))]);
        repository.commit_job(&job_of);
        let farm = Farm::start(executors).await;
        Self { farm, repository }
    }

    async fn run(&self) -> Over {
        self.farm.run(&self.repository.request()).await
    }

    /// What ran: each batch, and each atom alone.
    fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.repository.outside("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Checks that these atoms ran alone, and no other that had run in a batch: the last atoms of all may be batches of
    /// one, which run as atoms alone do.
    fn ran_alone(&self, expected: &[&str]) {
        let (alone, log) = (self.alone(), self.log());
        for atom in expected {
            assert!(alone.iter().any(|ran| ran == atom), "{atom}: {log:#?}");
        }
        let others = alone.iter().filter(|ran| !expected.contains(&ran.as_str()));
        for other in others {
            assert!(!self.was_in_a_batch(other), "{other}: {log:#?}");
        }
    }

    /// Checks that halving found this atom: it ran alone, but not all of the first batch that it was in.
    fn few_ran_again_alone(&self, expected: &str) {
        let (alone, log) = (self.alone(), self.log());
        assert!(alone.iter().any(|atom| atom == expected), "{log:#?}");
        let batches = log.iter().filter(|line| line.starts_with("batch of "));
        let mut batches = batches.filter_map(|line| Some(line.split_once(": ")?.1.split(' ')));
        let first = batches.find(|atoms| atoms.clone().any(|atom| atom == expected));
        let mut first = first.unwrap_or_else(|| panic!("{expected}: {log:#?}"));
        assert!(
            first.any(|atom| !alone.iter().any(|ran| ran == atom)),
            "{log:#?}"
        );
    }

    fn was_in_a_batch(&self, atom: &str) -> bool {
        let log = self.log();
        let batches = log.iter().filter(|line| line.starts_with("batch of "));
        let mut atoms = batches.filter_map(|line| line.split_once(": "));
        atoms.any(|(_, atoms)| atoms.split(' ').any(|one| one == atom))
    }

    fn alone(&self) -> Vec<String> {
        let log = self.log();
        let alone = log.iter().filter_map(|line| line.strip_prefix("alone: "));
        let mut alone: Vec<String> = alone.map(str::to_owned).collect();
        alone.sort_by_key(|atom| atom.parse::<u32>().unwrap());
        alone
    }

    async fn console_of(&self, build: &Over, value: &str) -> String {
        let atoms = self.farm.atoms(build.id).await;
        let of_value = |atom: &&AtomView| atom.value.as_deref() == Some(value);
        let atom = atoms.iter().find(of_value).unwrap();
        self.farm.console(build.id, atom).await
    }

    /// The names of the tests of a build, each as often as it is counted.
    fn tests(&self, build: &Over) -> Vec<String> {
        let ended = self
            .farm
            .user(&["tests", &build.id.to_string(), "--json", "--all"]);
        let tests: TestsBody = serde_json::from_str(&ended.stdout).unwrap();
        let mut names: Vec<String> = tests.tests.into_iter().map(|test| test.name).collect();
        names.sort_by_key(|name| name.parse::<u32>().unwrap());
        names
    }
}

fn all() -> Vec<String> {
    (1..=24).map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn a_green_suite_needs_few_processes_and_each_atom_has_its_result() {
    let story = Story::new(&[2], "report", Some("false")).await;
    let build = story.run().await.passes();
    let log = story.log();
    assert!(
        log.iter().all(|line| line.starts_with("batch of ")),
        "{log:#?}"
    );
    assert!(log.len() < 12, "{log:#?}");
    let values = log
        .iter()
        .flat_map(|line| line.split_once(": ").unwrap().1.split(' '));
    let values: Vec<&str> = values.collect();
    assert_eq!(values.len(), 24, "once each: {log:#?}");
    assert_eq!(values.iter().collect::<BTreeSet<_>>().len(), 24);
    assert_eq!(story.tests(&build), all());
    let atoms = story.farm.atoms(build.id).await;
    assert!(
        atoms
            .iter()
            .all(|atom| atom.exit_code == Some(0) && atom.started_at.is_some())
    );
    let mut whole = BTreeSet::new();
    for atom in &atoms {
        let console = story.farm.console(build.id, atom).await;
        assert!(
            console.starts_with("clusterrunner: ran in a batch of "),
            "{console}"
        );
        whole.extend(
            console
                .lines()
                .filter(|line| line.starts_with("now "))
                .map(str::to_owned),
        );
    }
    assert_eq!(whole.len(), 24, "all output is somewhere");
    story.farm.wait_for_rest().await;
}

#[tokio::test]
async fn an_atom_that_fails_in_a_batch_is_judged_alone() {
    // 3 fails, 4 does so only beside others, 5 passes only beside others.
    let deed = "case $atom in 3|4) fail 'it broke' ;; *) report ;; esac";
    let story = Story::new(
        &[2],
        deed,
        Some("echo \"here is $N\"; test $N != 3 || exit 7"),
    )
    .await;
    let build = story.run().await.fails(&[(3, 7)]);
    story.ran_alone(&["3", "4"]);
    let console = story.console_of(&build, "3").await;
    for part in ["in which it failed", "it broke", "now 3", "here is 3"] {
        assert!(console.contains(part), "{part} is not in: {console}");
    }
    assert!(story.console_of(&build, "4").await.contains("here is 4"));
    // Each says which batch that was: on an executor of its slave, before it ran again.
    let atoms = story.farm.atoms(build.id).await;
    for atom in &atoms {
        let ran_alone = matches!(atom.value.as_deref(), Some("3" | "4"));
        let Some(batch) = &atom.batch_in_vain else {
            assert!(!ran_alone, "{atom:?}");
            continue;
        };
        assert!(batch.num_atoms >= 1 && batch.executor_id.0 < 2, "{batch:?}");
        assert!(Some(batch.started_at) <= atom.started_at, "{atom:?}");
    }
    // Each once: those that ran again as atoms without a report, and as such they are tests of their own.
    assert_eq!(story.tests(&build), all());
}

#[tokio::test]
async fn an_atom_that_ends_its_process_is_found_by_halving() {
    let deed = "test $atom != 5 || kill -9 $$; report";
    let story = Story::new(&[2], deed, Some("test $N != 5 || kill -9 $$")).await;
    let build = story.run().await.fails(&[(5, -9)]);
    story.few_ran_again_alone("5");
    let console = story.console_of(&build, "5").await;
    assert!(console.contains("ended with exit code -9"), "{console}");
    story.farm.wait_for_rest().await;
}

#[tokio::test]
async fn an_atom_that_hangs_is_found_within_the_time_of_a_few() {
    let deed = "test $atom != 5 || sleep 1000; report";
    let alone = Some("test $N != 5 || sleep 1000");
    let story = Story::with(&[2], deed, alone, |job| job.with("timeout", 2)).await;
    let build = story.run().await.fails(&[(5, 124)]);
    let console = story.console_of(&build, "5").await;
    assert!(console.contains("that ran longer than "), "{console}");
    assert!(console.contains("timed out after 2 s"), "{console}");
    story.farm.wait_for_rest().await;
}

#[tokio::test]
async fn what_a_batch_does_not_name_runs_alone() {
    let deed = "test $((atom % 2)) = 0 || report";
    let story = Story::new(&[2], deed, Some("test $N != 6")).await;
    let build = story.run().await.fails(&[(6, 1)]);
    let even = all()
        .into_iter()
        .filter(|name| name.parse::<u32>().unwrap() % 2 == 0);
    let even: Vec<String> = even.collect();
    story.ran_alone(&even.iter().map(String::as_str).collect::<Vec<_>>());
    let console = story.console_of(&build, "6").await;
    assert!(console.contains("do not name it"), "{console}");
}

#[tokio::test]
async fn a_batch_that_fails_without_a_failed_test_passes_nobody() {
    // Something fails only where 9 is, and no test says so.
    let deed = "test $atom != 9 || exit=3; report";
    let story = Story::new(&[2], deed, Some("test $N != 9")).await;
    story.run().await.fails(&[(9, 1)]);
    story.few_ran_again_alone("9");
}

#[tokio::test]
async fn a_batch_that_tells_of_a_failure_of_no_atom_passes_nobody() {
    // Something fails with 9, and is reported under a name of its own.
    let deed = "report; test $atom != 9 || echo 'not ok 4 - the suite of 9 broke'";
    let story = Story::new(&[2], deed, Some("test $N != 9")).await;
    let build = story.run().await.fails(&[(9, 1)]);
    let console = story.console_of(&build, "9").await;
    assert!(console.contains("of none of its atoms"), "{console}");
}

#[tokio::test]
async fn reports_that_lie_or_can_not_be_read_change_nothing() {
    let hostile = r#"report
printf '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><testsuites>&a;' > "$ARTIFACT_DIR/junit-entity.xml"
printf '<testsuite><testcase name="%s"' "$atom" > "$ARTIFACT_DIR/junit-cut.xml"
ln -sf /etc/passwd "$ARTIFACT_DIR/junit-link.xml"
echo "<testsuite><testcase name='$atom' time='-1e999'/><testcase name='nobody' time='nan'/></testsuite>" > "$ARTIFACT_DIR/junit-odd.xml"
test $atom != 7 || exit=1"#;
    let story = Story::new(&[2], hostile, Some("test $N != 7")).await;
    story.run().await.fails(&[(7, 1)]);
}

#[tokio::test]
async fn without_commands_an_atom_alone_is_a_batch_of_one() {
    let story = Story::new(&[2], "test $atom != 3 && report || fail no", None).await;
    let build = story.run().await.fails(&[(3, 1)]);
    assert!(
        story.log().contains(&"batch of 1: 3".to_owned()),
        "{:#?}",
        story.log()
    );
    assert_eq!(story.tests(&build), all());
    let console = story.console_of(&build, "3").await;
    assert!(
        console.contains("in which it failed") && console.contains("now 3"),
        "{console}"
    );
}

#[tokio::test]
async fn lines_of_tap_name_atoms_where_there_is_no_report() {
    let deed = r#"if [ $atom = 3 ]; then echo "not ok $atom"; exit=1; else echo "ok $atom # time=3ms"; fi"#;
    let story = Story::new(&[2], deed, Some("exit $((N == 3))")).await;
    story.run().await.fails(&[(3, 1)]);
    story.ran_alone(&["3"]);
}

#[tokio::test]
async fn an_atom_that_is_run_again_runs_alone() {
    let deed = "test $atom = 3 && fail no || report";
    let alone = Some("test $N != 3 || test $CLUSTERRUNNER_ATTEMPT != 1");
    let story = Story::with(&[2], deed, alone, |job| job.with("retries", 1)).await;
    let build = story.run().await.passes();
    assert_eq!(
        (build.num_atoms_failed, build.num_atoms_flaky),
        (0, Some(1))
    );
    story.ran_alone(&["3"]);
    let alone = story.alone();
    let runs = alone.iter().filter(|atom| *atom == "3");
    assert_eq!(runs.count(), 2, "{alone:?}");
}

#[tokio::test]
async fn a_slave_that_is_killed_in_the_middle_of_a_batch_loses_nothing() {
    let deed = "while ! test -e \"$LOG.go\"; do sleep 0.05; done; report";
    let mut story = Story::new(&[1], deed, Some("true")).await;
    let build = story.farm.submit(&story.repository.request()).await;
    wait_for("a batch", async || (!story.log().is_empty()).then_some(())).await;
    story.farm.kill_slave(0);
    let go = story.repository.outside("log").with_extension("go");
    fs::write(story.repository.outside("log.go"), "").unwrap();
    fs::write(go, "").unwrap();
    story.farm.restart_slave(0, 1);
    let over = story.farm.end_of(build).await.passes();
    let atoms = story.farm.atoms(over.id).await;
    assert_eq!(atoms.len(), 24);
    assert!(
        atoms.iter().all(|atom| atom.exit_code == Some(0)),
        "{atoms:#?}"
    );
    // Those that ran are what may have killed it, and run alone.
    assert!(!story.alone().is_empty(), "{:#?}", story.log());
    story.farm.wait_for_rest().await;
}

#[tokio::test]
async fn a_build_that_is_canceled_ends_its_batches() {
    let marker = "sleep 1000";
    let story = Story::new(&[2], marker, Some("true")).await;
    let build = story.farm.submit(&story.repository.request()).await;
    wait_for("a batch", async || (!story.log().is_empty()).then_some(())).await;
    let canceled = story.farm.user(&["cancel", &build.to_string()]);
    assert_eq!(canceled.code, Some(0), "{canceled:#?}");
    story.farm.end_of(build).await.ends_canceled();
    story.farm.wait_for_rest().await;
}
