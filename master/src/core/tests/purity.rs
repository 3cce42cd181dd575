//! The boundary that all else rests on, guarded by a test and not by memory.

use std::path::{Path, PathBuf};

/// What the core may not touch: I/O, clocks, randomness, tasks, logs.
const IMPURE: [&str; 9] = [
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "Instant",
    "::now()",
    "tokio",
    "tracing",
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_core_has_no_door_to_the_world() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = vec![
        source.join("core.rs"),
        source.join("coordinator/liveness.rs"),
        source.join("read/views.rs"),
    ];
    sources(&source.join("core"), &mut found);
    assert!(found.len() > 10, "the core has moved: {found:?}");
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in IMPURE {
            assert!(!text.contains(word), "{} uses {word}", path.display());
        }
    }
}
