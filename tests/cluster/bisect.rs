//! Atoms that fail because of what ran before them.

use crate::farm::Farm;
use crate::job::job;
use crate::machine::{Ended, interrupt};
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_client::client::WantedJobs;
use clusterrunner_common::api::{AtomState, BuildStatus};
use clusterrunner_common::ids::BuildId;
use serde_json::{Value, json};
use std::fs;
use std::process::Stdio;

#[tokio::test]
async fn the_atom_that_makes_another_one_fail_is_found() {
    let repository = Repository::empty();
    let polluted =
        job("case $N in 4) touch left_behind ;; 9) [ ! -e left_behind ] ;; esac").atoms(12);
    repository.commit_job(&polluted);
    let farm = Farm::start(&[1, 2]).await;
    let request = repository.request_with(json!({
        "atoms_override": (1..=12).map(|n| format!("export N=\"{n}\";")).collect::<Vec<_>>(),
        "in_order": true,
    }));
    let build = farm.run(&request).await.fails(&[(9, 1)]);
    let subjobs = farm.subjobs(build.id).await;
    assert_eq!((subjobs.len(), subjobs[0].atoms.len()), (1, 12));

    let id = build.id.to_string();
    let found = farm.user(&["bisect", &id, "0_8"]);
    assert_eq!(found.code, Some(0), "{found:#?}");
    assert!(
        found.stdout.contains("0_8 (N=\"9\") fails after this atom"),
        "{found:#?}"
    );
    assert!(found.stdout.contains("  0_3 (N=\"4\")\n"), "{found:#?}");
    let found = farm.user(&["bisect", &id, "0_8", "--json", "--trials", "2"]);
    let json: Value = serde_json::from_str(&found.stdout).unwrap();
    let found = &json["bisection"];
    assert_eq!(
        (&found["verdict"], &found["num_predecessors"]),
        (&json!("found"), &json!(8))
    );
    assert_eq!(found["guilty"].as_array().map(Vec::len), Some(1), "{json}");
    assert_eq!(found["guilty"][0]["value"], "4");

    let wrong = farm.user(&["bisect", &id, "0_3"]);
    assert_eq!(wrong.code, Some(2), "{wrong:#?}");
    assert!(wrong.stderr.contains("has not failed"), "{wrong:#?}");
}

#[tokio::test]
async fn an_atom_that_fails_alone_is_told_so() {
    let repository = Repository::empty();
    repository.commit_job(&job("exit $((N == 3))").atoms(4));
    let farm = Farm::start(&[1]).await;
    let build = farm.run(&repository.request()).await.fails(&[(3, 1)]);
    let ended = farm.user(&["bisect", &build.id.to_string(), "2_0"]);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stdout.contains("fails alone, too"), "{ended:#?}");

    // A trial says nothing of how its atoms go in other builds.
    farm.wait_for_rest().await;
    let last = farm.run(&repository.request()).await.fails(&[(3, 1)]);
    let client = farm.client();
    let runs = wait_for("the last build counts", async || {
        let known = client.history("3", &WantedJobs::default()).await.unwrap();
        let runs = known.history.iter().flat_map(|atom| &atom.runs);
        let runs: Vec<BuildId> = runs.map(|run| run.build_id).collect();
        runs.contains(&last.id).then_some(runs)
    });
    assert_eq!(runs.await, [build.id, last.id]);
}

/// A name that a shell would run is a name, also where its atom runs again.
#[tokio::test]
async fn values_stay_values_when_atoms_run_again() {
    let repository = Repository::empty();
    let ran = repository.outside("ran");
    let odd = format!("a\"$(touch '{}')`b' $HOME", ran.display());
    repository.commit(&[("names", &format!("{odd}\n"))]);
    repository.commit_job(&job("printf '%s\\n' \"$N\"; exit 3").atomizer("cat names"));
    let farm = Farm::start(&[1]).await;
    let before = farm.run(&repository.request()).await.fails(&[(&odd, 3)]);
    let ended = farm.user(&["retry", &before.id.to_string(), "--failed", "--no-results"]);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let url = repository.path().display().to_string();
    let line = ["build", "--failed", "--no-results", "git", "--url", &url];
    let ended = farm.user(&line);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    for build in farm.client().builds().await.unwrap() {
        assert_eq!(farm.consoles(build.id).await, [format!("{odd}\n")]);
    }
    assert!(!fs::exists(ran).unwrap());
}

/// Trials that nobody waits for any more would keep the farm busy.
#[tokio::test]
async fn ctrl_c_cancels_the_trials() {
    let repository = Repository::empty();
    let waits = repository.outside("waits");
    let wait = format!(
        "[ \"$N\" != 2 ] || {{ while [ -e '{}' ]; do sleep 0.05; done; exit 1; }}",
        waits.display()
    );
    repository.commit_job(&job(wait).atoms(2));
    let farm = Farm::start(&[1]).await;
    let build = farm.run(&repository.request()).await.fails(&[(2, 1)]);
    fs::write(&waits, "").unwrap();
    let mut bisect = farm.command();
    bisect.args(["bisect", &build.id.to_string(), "1_0"]);
    bisect.args(["--master-url", &farm.master_address()]);
    let bisect = bisect.stderr(Stdio::piped()).spawn().unwrap();
    let client = farm.client();
    let trial = wait_for("a trial runs", async || {
        let builds = client.builds().await.unwrap();
        let mut trials = builds.iter().filter(|other| other.id != build.id);
        let trial = trials.find(|trial| trial.status == BuildStatus::Building);
        trial.map(|trial| trial.id)
    });
    let trial = trial.await;
    interrupt(&bisect);
    let ended = Ended::from(bisect.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    farm.end_of(trial).await.ends_canceled();
}

/// An atom behind the one that runs has not begun.
#[tokio::test]
async fn of_atoms_in_order_those_behind_the_running_one_are_not_canceled() {
    let repository = Repository::empty();
    repository.commit_job(&job("[ $N != 2 ] || sleep 300").atoms(3));
    let farm = Farm::start(&[1]).await;
    let request = repository.request_with(json!({"in_order": true}));
    let id = farm.submit(&request).await;
    let states = async || {
        let atoms = farm.atoms(id).await;
        atoms.iter().map(|atom| atom.state).collect::<Vec<_>>()
    };
    wait_for("the second atom runs", async || {
        let runs = [
            AtomState::InProgress,
            AtomState::InProgress,
            AtomState::NotStarted,
        ];
        (states().await == runs).then_some(())
    })
    .await;
    farm.client().cancel(id).await.unwrap();
    farm.end_of(id).await.ends_canceled();
    wait_for("what ran is told", async || {
        let told = [
            AtomState::Canceled,
            AtomState::Canceled,
            AtomState::NotStarted,
        ];
        (states().await == told).then_some(())
    })
    .await;
}
