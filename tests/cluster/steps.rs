//! What set-up, teardown and atomizers print, while they run and when their build is long over.

use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::{StepKind, StepState, StepView};
use clusterrunner_common::ids::BuildId;
use serde_json::json;
use std::fmt::Display;
use std::fs;

fn until_there(file: &impl Display) -> String {
    format!("until [ -e '{file}' ]; do sleep 0.02; done")
}

/// What `clusterrunner logs` prints of a build.
fn logs(farm: &Farm, build: BuildId, options: &[&str]) -> String {
    let master = farm.master_address();
    let mut command = farm.command();
    command.args(["logs", &build.to_string()]).args(options);
    let output = command.args(["--master-url", &master]).output().unwrap();
    assert!(output.status.success(), "{options:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn output_of(farm: &Farm, build: BuildId, step: &StepView) -> String {
    let output = farm.client().step_output(build, step.id, 100, 0).await;
    output.unwrap().content
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_set_up_that_fails_on_one_slave_the_output_stays() {
    let repository = Repository::empty();
    let first = repository.outside("first");
    // The slave that comes first fails.
    let set_up = format!(
        "echo \"begins\"; if mkdir '{}' 2>/dev/null; then echo \"no compiler\" >&2; exit 3; fi",
        first.display()
    );
    let job = job("true").atoms(4).setup(set_up);
    repository.commit_job(&job.with("teardown_build", json!(["echo \"cleans up\""])));
    let farm = Farm::start(&[1, 1]).await;
    let build = farm.run(&repository.request()).await.passes().id;
    farm.wait_for_rest().await;

    let steps = farm.client().steps(build).await.unwrap();
    let of_kind = |kind| steps.iter().filter(move |step| step.kind == kind);
    let [atomizer] = &of_kind(StepKind::Atomizer).collect::<Vec<_>>()[..] else {
        panic!("{steps:?}");
    };
    assert_eq!(
        (atomizer.state, atomizer.exit_code),
        (StepState::Completed, Some(0))
    );
    let printed = output_of(&farm, build, atomizer).await;
    assert!(
        printed.lines().count() >= 4,
        "the atoms stand in it: {printed}"
    );
    assert_eq!(atomizer.output_bytes, Some(printed.len() as u64));

    let mut failed = of_kind(StepKind::Setup).filter(|step| step.state == StepState::Failed);
    let failed = failed.next().unwrap();
    assert_eq!(failed.exit_code, Some(3));
    assert!(failed.began_at <= failed.ended_at && failed.began_at.is_some());
    assert_eq!(
        output_of(&farm, build, failed).await,
        "begins\nno compiler\n"
    );
    let mut passed = of_kind(StepKind::Setup).filter(|step| step.state == StepState::Completed);
    let passed = passed.next().unwrap();
    assert_eq!(output_of(&farm, build, passed).await, "begins\n");
    assert_ne!(failed.slave_id, passed.slave_id);

    // What failed is shown first, and another where it is named.
    assert_eq!(logs(&farm, build, &["--setup"]), "begins\nno compiler\n");
    let slave = passed.slave_id.unwrap().to_string();
    assert_eq!(logs(&farm, build, &["--setup", &slave]), "begins\n");
    assert_eq!(
        logs(&farm, build, &["--setup", "--slave", &slave]),
        "begins\n"
    );
    assert_eq!(logs(&farm, build, &["--teardown"]), "cleans up\n");
    assert_eq!(logs(&farm, build, &["--atomizer"]), printed);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_seen_while_they_run() {
    let repository = Repository::empty();
    let [atomize, tear_down] = ["atomize", "tear down"].map(|name| repository.outside(name));
    let atomizer = format!(
        "echo looking >&2; {}; echo 1",
        until_there(&atomize.display())
    );
    let teardown = format!(
        "echo clearing; {}; echo cleared",
        until_there(&tear_down.display())
    );
    let job = job("true").with("atomizers", json!([{"N": atomizer}]));
    repository.commit_job(&job.with("teardown_build", json!([teardown])));
    let farm = Farm::start(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    let seen = async |farm: &Farm, kind: StepKind, text: &str| {
        wait_for("the step prints", async || {
            let steps = farm.client().steps(build).await.ok()?;
            let step = steps.into_iter().find(|step| step.kind == kind)?;
            let printed = farm
                .client()
                .step_output(build, step.id, 10, 0)
                .await
                .ok()?;
            let is_seen = printed.content == text && step.state == StepState::InProgress;
            is_seen.then_some(())
        })
        .await;
    };
    seen(&farm, StepKind::Atomizer, "looking\n").await;
    fs::write(&atomize, "").unwrap();
    farm.end_of(build).await.passes();
    seen(&farm, StepKind::Teardown, "clearing\n").await;
    fs::write(&tear_down, "").unwrap();
    assert_eq!(
        logs(&farm, build, &["--teardown", "--follow"]),
        "clearing\ncleared\n"
    );
    farm.wait_for_rest().await;
    assert_eq!(logs(&farm, build, &["--atomizer"]), "looking\n1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atomizer_that_fails_leaves_all_that_it_printed() {
    let repository = Repository::empty();
    let atomizer = "seq 1 1000 >&2; exit 4";
    repository.commit_job(&job("true").with("atomizers", json!([{"N": atomizer}])));
    let farm = Farm::start(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    farm.end_of(build).await;
    let steps = farm.client().steps(build).await.unwrap();
    let ends: Vec<_> = steps
        .iter()
        .map(|step| (step.kind, step.state, step.exit_code))
        .collect();
    assert_eq!(
        ends,
        [
            (StepKind::Fetch, StepState::Completed, Some(0)),
            (StepKind::Atomizer, StepState::Failed, Some(4)),
        ]
    );
    let fetched = output_of(&farm, build, &steps[0]).await;
    assert!(fetched.starts_with("Checked out commit "), "{fetched}");
    let printed = logs(&farm, build, &["--atomizer"]);
    assert_eq!(printed.lines().count(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_atoms_ended_and_what_they_used_is_told() {
    let deed = "case $N in 1) kill -9 $$;; 2) sleep 60;; \
                3) dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null; printf 12345;; esac";
    let job = job(deed).atoms(3).with("timeout", 3);
    let repository = Repository::of(&job);
    let farm = Farm::start(&[2]).await;
    let build = farm.submit(&repository.request()).await;
    farm.end_of(build).await;
    let atoms = farm.atoms(build).await;
    let [killed, timed_out, large] = &atoms[..] else {
        panic!("{atoms:?}");
    };
    assert_eq!((killed.exit_code, killed.signal), (Some(-9), Some(9)));
    assert_eq!(
        (timed_out.timed_out_after, timed_out.signal),
        (Some(3), None)
    );
    assert_eq!(
        (large.output_bytes, large.attempt.map(|it| it.0)),
        (Some(5), Some(1))
    );
    assert!(large.max_memory_bytes.unwrap() >= 100_000_000, "{large:?}");
    assert!(large.cpu_seconds.unwrap() > 0.0, "{large:?}");
    let started = large.started_at.unwrap();
    assert!(started > 1_700_000_000.0, "{large:?}");
}
