//! Recorded journals, one of each format: what an earlier version wrote must be read for ever.

use super::*;
use flate2::read::GzDecoder;
use std::path::PathBuf;

/// Unpacks a recorded journal: the directory that goes with it, and the journal in there.
fn recorded(format: u32) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let name = format!("testdata/journals/format-{format}.tar.gz");
    let file = std::fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    tar::Archive::new(GzDecoder::new(file))
        .unpack(&journal)
        .unwrap();
    (directory, journal)
}

/// How a build stands, in short.
fn state(build: &Build) -> String {
    let state = serde_json::to_value(&build.state).unwrap();
    let state = match &state {
        serde_json::Value::Object(state) => state.keys().next().unwrap().clone(),
        other => other.as_str().unwrap().to_owned(),
    };
    let (done, failed) = (build.num_finished, build.atoms_failed);
    format!(
        "{state}: {done} of {}, {failed} failed",
        build.subjobs.len()
    )
}

#[test]
fn there_is_one_of_each_format() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/journals");
    assert_eq!(directory.read_dir().unwrap().count(), FORMAT as usize);
}

/// 165 events of a walk: a master that restarts, slaves that are lost, builds with every end.
#[test]
fn format_1_events_only() {
    let (_directory, journal) = recorded(1);
    let findings = examine::examine(&journal).unwrap();
    // Nobody kept the number of acknowledged events then.
    let places: Vec<&str> = findings.problems.iter().map(|p| p.place.as_str()).collect();
    assert_eq!(places, ["the file `acknowledged`"]);
    assert_eq!((findings.events, findings.in_snapshot), (165, None));
    assert!(Master::start(&journal).is_err());
    let repair = repair::Repair::of_damaged(&journal).unwrap();
    repair.commit().unwrap();
    let master = Master::start(&journal).unwrap();
    let builds: Vec<String> = master.cluster.builds().map(state).collect();
    assert_eq!(builds, EXPECTED_1);
}

const EXPECTED_1: [&str; 6] = [
    "finished: 7 of 7, 1 failed",
    "finished: 3 of 3, 0 failed",
    "finished: 8 of 8, 3 failed",
    "error: 3 of 6, 0 failed",
    "finished: 5 of 5, 0 failed",
    "finished: 0 of 0, 0 failed",
];

/// The same after a snapshot: four builds put away, one in work, and events since.
#[tokio::test]
async fn format_2_a_snapshot_and_ended_builds() {
    let (_directory, journal) = recorded(2);
    let findings = examine::examine(&journal).unwrap();
    assert_eq!(findings.problems, []);
    assert_eq!((findings.events, findings.in_snapshot), (181, Some(178)));
    let master = Master::start(&journal).unwrap();
    let ended = master.journal.ended();
    let mut builds = Vec::new();
    for (id, live) in master.cluster.all_builds() {
        builds.push(match live {
            Some(build) => state(build),
            None => {
                let (head, subjobs) = ended.subjobs(id, |n| 0..n).await.unwrap().unwrap();
                assert_eq!(subjobs.len(), head.num_subjobs as usize);
                let results = subjobs.iter().filter(|(_, s)| s.result.is_some());
                assert_eq!(results.count(), head.build.num_finished);
                format!("put away, {}", state(&head.build))
            }
        });
    }
    assert_eq!(
        builds,
        [
            "put away, finished: 7 of 0, 1 failed",
            "put away, finished: 3 of 0, 0 failed",
            "put away, finished: 8 of 0, 3 failed",
            "put away, error: 3 of 0, 0 failed",
            EXPECTED_1[4],
            EXPECTED_1[5],
            "building: 2 of 70, 2 failed",
            "error: 0 of 0, 0 failed",
        ]
    );
}

/// A snapshot, a list of small facts with a large one among them, and a single one.
#[test]
fn format_3_facts_that_share_records() {
    let (_directory, journal) = recorded(3);
    let findings = examine::examine(&journal).unwrap();
    assert_eq!(findings.problems, []);
    assert_eq!((findings.events, findings.in_snapshot), (71, Some(8)));
    let master = Master::start(&journal).unwrap();
    assert!(master.journal.store.events.len() < 10);
    let builds: Vec<String> = master.cluster.builds().map(state).collect();
    assert_eq!(builds.len(), 59);
    assert_eq!(
        builds[..2],
        ["building: 3 of 70, 1 failed", "error: 0 of 0, 0 failed"]
    );
}
