//! Recorded journals, one of each format: what an earlier version wrote must be read for ever.

use super::*;
use flate2::read::GzDecoder;

/// Unpacks a recorded journal.
fn recorded(format: u32) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let name = format!("testdata/journals/format-{format}.tar.gz");
    let file = std::fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    tar::Archive::new(GzDecoder::new(file))
        .unpack(directory.path())
        .unwrap();
    directory
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

/// 165 events of a walk: a master that restarts, slaves that are lost, builds with every end.
#[test]
fn format_1_events_only() {
    let directory = recorded(1);
    let findings = examine::examine(directory.path()).unwrap();
    assert_eq!(findings.problems, []);
    assert_eq!((findings.events, findings.in_snapshot), (165, None));
    let master = Master::start(directory.path()).unwrap();
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
