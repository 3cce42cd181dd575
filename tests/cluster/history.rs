//! What earlier builds say of atoms and tests, whatever happens to the master meanwhile.

use crate::farm::Farm;
use crate::job::{Job, job};
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_client::client::WantedJobs;
use clusterrunner_common::api::history::{FlakyVerdict, HistoryView};
use clusterrunner_common::junit::TestOutcome::{Flaky, Passed};

/// A job whose atom 3 fails when it runs first, by a test that its report names.
fn flaky_job(repository: &Repository) -> Job {
    let first = repository.outside("first");
    job(format!(
        "if [ $N = 3 ] && mkdir '{}' 2>/dev/null; then R='<failure/>'; fi",
        first.display()
    ))
    .then(
        "printf '<testsuite><testcase name=\"t\" classname=\"C\">%s</testcase></testsuite>' \"$R\" \
         > \"$ARTIFACT_DIR/junit.xml\"",
    )
    .then("[ -z \"$R\" ]")
    .with("retries", 2)
}

/// What is known of a name once that many builds count.
async fn known(farm: &Farm, name: &str, builds: usize) -> Vec<HistoryView> {
    let client = farm.client();
    wait_for("the builds count", async || {
        let known = client.history(name, &WantedJobs::default()).await.unwrap();
        let runs = known.history.iter().map(|view| view.runs.len());
        (runs.max() == Some(builds)).then_some(known.history)
    })
    .await
}

#[tokio::test]
async fn each_build_counts_once_though_the_master_dies() {
    let repository = Repository::empty();
    repository.commit_job(&flaky_job(&repository));
    let mut farm = Farm::start(&[1, 1]).await;
    let first = farm.run(&repository.request()).await.passes();
    known(&farm, "3", 1).await;
    let second = farm.run(&repository.request()).await.passes();
    // Perhaps it counts already, perhaps it is not even archived.
    farm.kill_master();
    farm.start_master().await;
    let atom = known(&farm, "3", 2).await.remove(0);
    let runs: Vec<_> = atom
        .runs
        .iter()
        .map(|run| (run.build_id, run.outcome, run.failed_attempts))
        .collect();
    assert_eq!(runs, [(first.id, Flaky, 1), (second.id, Passed, 0)]);
    let flakiness = &atom.flakiness;
    assert_eq!(
        (flakiness.verdict, flakiness.trials, flakiness.flakes),
        (FlakyVerdict::Suspicious, 2, 1)
    );
    let failed = [&atom.first_failed, &atom.last_failed];
    let failed = failed.map(|failed| failed.as_ref().unwrap().build_id);
    assert_eq!(failed, [first.id; 2]);

    let tests = known(&farm, "t", 2).await;
    let flaky: Vec<_> = tests
        .iter()
        .filter(|test| test.flakiness.flakes > 0)
        .map(|test| (test.class.as_deref(), test.atom.as_deref()))
        .collect();
    assert_eq!((tests.len(), flaky), (4, vec![(Some("C"), Some("3"))]));

    let shown = farm.user(&["history", "3"]).stdout;
    assert!(
        shown.contains("1 passed, 1 flaky, from build 1 to build 2"),
        "{shown}"
    );
    assert!(shown.ends_with("  f.\n"), "{shown}");
    let ranked = farm.user(&["flaky"]).stdout;
    let lines: Vec<&str> = ranked.lines().collect();
    assert_eq!(lines.len(), 3, "{ranked}");
    assert!(lines[1].starts_with("SUSPICIOUS"), "{ranked}");
    let unknown = farm.user(&["history", "nothing"]);
    assert_eq!(unknown.code, Some(2), "{unknown:#?}");
}
