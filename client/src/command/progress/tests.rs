//! What is said of a build while it runs.

use super::*;
use clusterrunner_common::ids::BuildId;
use serde_json::Map;

fn build(atoms: u64, done: u64) -> BuildView {
    BuildView {
        id: BuildId(1),
        status: BuildStatus::Building,
        details: None,
        error_message: None,
        num_atoms: Some(atoms),
        num_subjobs: atoms,
        failed_atoms: None,
        result: None,
        request_params: Map::new(),
        state_timestamps: [].into_iter().collect(),
        artifacts: None,
        commit: None,
        job_name: None,
        num_atoms_completed: done,
        num_atoms_failed: 0,
        num_atoms_in_progress: 0,
        num_atoms_in_trouble: 0,
        retry_of: None,
        children: Vec::new(),
        parent: None,
        matrix: None,
        failing: None,
        num_atoms_not_run: None,
        num_atoms_flaky: None,
        warnings: Vec::new(),
        lacks_atoms: false,
        seconds_left: None,
        finish: None,
        slaves_setting_up: Vec::new(),
        template: None,
        project_id: None,
        started_by: None,
        flaky_fails: false,
    }
}

#[test]
fn atoms_are_counted_once_some_run() {
    let running = BuildView {
        num_atoms_failed: 1,
        num_atoms_in_progress: 3,
        ..build(6, 2)
    };
    let shown = counts(&running, Stage::of(&running)).unwrap();
    let shown = (shown.atoms, shown.done, shown.failed, shown.running);
    assert_eq!(shown, (6, 2, 1, 3));
    assert!(counts(&running, Stage::Archiving).is_none());
    assert!(counts(&build(6, 0), Stage::Building).is_none());
}

/// Its results are packed when all atoms of all its builds have run, not while nobody knows how many there are.
#[test]
fn a_build_that_was_split_is_not_done_before_all_its_builds_are() {
    let child = |atoms: u64, done: u64, status: &str| -> ChildView {
        let view = serde_json::json!({
            "build_id": 2, "name": "A=1", "matrix": {"A": "1"}, "status": status, "result": null,
            "num_atoms": atoms, "num_atoms_completed": done, "num_atoms_failed": 0, "num_atoms_flaky": 0,
        });
        serde_json::from_value(view).unwrap()
    };
    let stage = |children: Vec<ChildView>| {
        let atoms = children.iter().map(|child| child.num_atoms).sum();
        let done = children.iter().map(|child| child.num_atoms_completed).sum();
        let parent = BuildView {
            children,
            ..build(atoms, done)
        };
        Stage::of(&parent)
    };
    let unknown = || child(0, 0, "QUEUED");
    let done = || child(2, 2, "FINISHED");
    assert_eq!(stage(vec![unknown(), unknown()]), Stage::Preparing);
    assert_eq!(stage(vec![done(), unknown()]), Stage::Building);
    assert_eq!(
        stage(vec![done(), child(2, 1, "BUILDING")]),
        Stage::Building
    );
    assert_eq!(
        stage(vec![done(), child(2, 2, "BUILDING")]),
        Stage::Archiving
    );
    assert_eq!(
        stage(vec![done(), child(0, 0, "CANCELED")]),
        Stage::Archiving
    );
}

#[test]
fn when_a_build_ends_is_said_in_lines_too() {
    let finish = FinishView {
        median: 130.4,
        low: 110.0,
        high: 160.0,
    };
    let foretold = BuildView {
        num_atoms_in_progress: 3,
        seconds_left: Some(100.0),
        finish: Some(Some(finish)),
        ..build(6, 2)
    };
    assert_eq!(
        in_words(&foretold, Stage::Building),
        "2 of 6 atoms done, 0 failed, 3 running"
    );
    assert_eq!(
        left_in_words(&foretold, Stage::Building),
        ", done in 2:10 (1:50 to 2:40)"
    );
    let unknown = BuildView {
        finish: Some(None),
        ..foretold.clone()
    };
    assert_eq!(
        left_in_words(&unknown, Stage::Building),
        ", about 1 min 40 s left"
    );
    let now = Instant::now();
    let mut said = Said::default();
    assert!(said.is_news(Some(finish), now) && !said.is_news(None, now));
    said.finish = Some(Foretold::at(finish, now));
    assert!(!said.is_news(Some(finish), now) && !said.is_news(None, now));
    assert!(said.is_news(Some(finish.after(20.0)), now));
    let later = now + Duration::from_secs(20);
    assert!(said.is_news(None, later), "nothing is known of it any more");
}

#[test]
fn a_build_that_waits_says_why() {
    let waiting = |details: &str| BuildView {
        details: Some(details.to_owned()),
        ..build(6, 2)
    };
    let kept_out = "2 of 6 subjobs are complete (33.3%). It waits: no slave takes work: 1 drained.";
    let expected = "2 of 6 atoms done, 0 failed, waiting: no slave takes work: 1 drained";
    assert_eq!(in_words(&waiting(kept_out), Stage::Building), expected);
    assert_eq!(
        in_words(&waiting(kept_out), Stage::WaitingForSlave),
        "waiting: no slave takes work: 1 drained"
    );
    assert_eq!(
        in_words(&build(6, 0), Stage::Building),
        "6 atoms waiting: slaves are being set up, are busy, or are gone"
    );
}
