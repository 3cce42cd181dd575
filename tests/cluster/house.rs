//! How the code is laid out, read from its sources: no farm is needed.
//!
//! A crate lists its rooms in `lib.rs` (the `clusterrunner` command in `main.rs`), lowest first. A room uses only rooms
//! above it in that list, so no two rooms use each other. What rooms must not know besides stands in [`RULES`]. Inside a
//! room no files use each other in a circle; a file may use those that it is in. What other rooms may call fails with a type,
//! not with a text.

mod circles;
mod paths;

use self::circles::{circles, uses};
use self::paths::{has_word, is_of_a_name, paths};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates and the files that list their rooms. Not the core, which is one room.
const CRATES: [&str; 5] = [
    "common/src/lib.rs",
    "master/src/lib.rs",
    "slave/src/lib.rs",
    "client/src/lib.rs",
    "client/src/main.rs",
];

/// What the cores may not touch: I/O, clocks, randomness, tasks, logs.
const THE_WORLD: &[&str] = &[
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "Instant",
    "::now()",
    "rand",
    "tokio",
    "tracing",
];

/// What only those know who speak HTTP.
const HTTP: &[&str] = &[
    "axum",
    "hyper",
    "reqwest",
    "StatusCode",
    "clusterrunner_common::http",
];

/// What only those know who speak to peers: the bodies of messages. What they carry of the farm is in `common::work`.
const BODIES: &[&str] = &["clusterrunner_common::api"];

/// The cores.
const CORES: &[&str] = &[
    "core/src",
    "slave/src/work.rs",
    "slave/src/work",
    "slave/src/instances.rs",
    "slave/src/instances",
];

/// What the cores may use of `common`: what does no I/O.
const PURE: [&str; 10] = [
    "clock",
    "disk::retention",
    "ids",
    "job",
    "junit",
    "process::variables",
    "results::artifact",
    "templates",
    "text",
    "work",
];

/// What lies below [`PURE`] and reads files.
const IMPURE: [&str; 2] = ["job::file", "junit::files"];

/// Files, and what must not stand in them.
const RULES: &[(&[&str], &[&str])] = &[
    (
        &[
            "core/src",
            "master/src/coordinator/liveness.rs",
            "master/src/http/clusterrunner/shapes.rs",
            "slave/src/work.rs",
            "slave/src/work",
            "slave/src/instances.rs",
            "slave/src/instances",
        ],
        THE_WORLD,
    ),
    (
        &[
            "core/src",
            "master/src/journal.rs",
            "master/src/journal",
            "master/src/read.rs",
            "master/src/read",
            "master/src/push.rs",
            "master/src/push",
            "master/src/ssh.rs",
            "master/src/ssh",
            "slave/src/work.rs",
            "slave/src/work",
            "slave/src/instances.rs",
            "slave/src/instances",
        ],
        HTTP,
    ),
    (
        &[
            "core/src",
            "master/src/coordinator.rs",
            "master/src/coordinator",
            "master/src/journal.rs",
            "master/src/journal",
            "master/src/router.rs",
            "master/src/router",
            "master/src/push.rs",
            "master/src/push",
            "master/src/ssh.rs",
            "master/src/ssh",
            "slave/src/work.rs",
            "slave/src/work",
            "slave/src/instances.rs",
            "slave/src/instances",
        ],
        BODIES,
    ),
    // Handlers reach the farm through the coordinator's handle, what is read and what is stored.
    (
        &["master/src/http"],
        &[
            "crate::effects",
            "crate::assembly",
            "coordinator::Coordinator",
            "journal::Journal",
        ],
    ),
    // One API does not know another.
    (
        &["master/src/http/git.rs", "master/src/http/git"],
        &[
            "http::clusterrunner",
            "http::polyaxon",
            "http::binder",
            "http::deis",
            "http::page",
        ],
    ),
    (
        &["master/src/http/polyaxon.rs", "master/src/http/polyaxon"],
        &[
            "http::clusterrunner",
            "http::binder",
            "http::deis",
            "http::page",
        ],
    ),
    (
        &["master/src/http/binder.rs", "master/src/http/binder"],
        &[
            "http::clusterrunner",
            "http::polyaxon",
            "http::deis",
            "http::page",
        ],
    ),
    (
        &["master/src/http/clusterrunner"],
        &["http::polyaxon", "http::binder", "http::deis", "http::page"],
    ),
    (
        &["master/src/http/deis.rs", "master/src/http/deis"],
        &[
            "http::clusterrunner",
            "http::polyaxon",
            "http::binder",
            "http::page",
        ],
    ),
    // The page is a client of the API, and nothing more.
    (
        &["master/src/http/page.rs", "master/src/http/page"],
        &[
            "clusterrunner_core",
            "crate::coordinator",
            "crate::read",
            "crate::store",
            "http::polyaxon",
            "http::binder",
            "http::deis",
            "http::accounts",
            "http::tokens",
        ],
    ),
];

/// Files whose functions are for fuzzers: what they answer is printed.
const DOORS: [&str; 3] = [
    "trial.rs",
    "master/src/round_trip.rs",
    "http/clusterrunner/multipart.rs",
];

/// Where the paths on the map begin.
const ON_THE_MAP: [&str; 8] = [
    "",
    "common/src",
    "master/src",
    "core/src",
    "master/src/http",
    "slave/src",
    "client/src",
    "tests",
];

#[test]
fn rooms_use_only_rooms_above_them() {
    let mut upwards = Vec::new();
    for list in CRATES {
        let list = root().join(list);
        let rooms = rooms(&list);
        assert!(rooms.len() > 2, "{}: {rooms:?}", list.display());
        let source = list.parent().unwrap();
        for (place, room) in rooms.iter().enumerate() {
            for file in files(&[source.join(room), source.join(format!("{room}.rs"))]) {
                let used = paths(&code(&file), &module(source, &file));
                let uses = |room: &&String| {
                    let is_it =
                        |path: &Vec<String>| path[0] == "crate" && path.get(1) == Some(room);
                    used.iter().any(is_it)
                };
                let below = rooms[place + 1..].iter().filter(uses);
                upwards.extend(below.map(|below| format!("{} uses {below}", file.display())));
            }
        }
    }
    assert_eq!(upwards, [""; 0]);
}

#[test]
fn rooms_do_not_know_what_is_not_theirs() {
    let mut known = Vec::new();
    for (places, words) in RULES {
        let places: Vec<PathBuf> = places.iter().map(|place| root().join(place)).collect();
        let files = files(&places);
        assert!(!files.is_empty(), "{places:?} have moved");
        for file in files {
            let mut code = code(&file);
            // In full, too: whatever way a file takes to what it must not know.
            for path in paths(&code, &module(source_of(&file), &file)) {
                code.push('\n');
                code.push_str(&path.join("::"));
            }
            let found = words.iter().filter(|word| has_word(&code, word));
            known.extend(found.map(|word| format!("{} has {word}", file.display())));
        }
    }
    assert_eq!(known, [""; 0]);
}

#[test]
fn cores_use_of_common_only_what_does_no_io() {
    let places: Vec<PathBuf> = CORES.iter().map(|place| root().join(place)).collect();
    let mut used = 0;
    let mut foreign = Vec::new();
    for file in files(&places) {
        for path in paths(&code(&file), &module(source_of(&file), &file)) {
            let Some((_, path)) = path
                .split_first()
                .filter(|(first, _)| *first == "clusterrunner_common")
            else {
                continue;
            };
            used += 1;
            let path = path.join("::");
            let is_below = |parts: &[&str]| {
                let is_it = |part: &&str| path == *part || path.starts_with(&format!("{part}::"));
                parts.iter().any(is_it)
            };
            if !is_below(&PURE) || is_below(&IMPURE) {
                foreign.push(format!("{} uses common::{path}", file.display()));
            }
        }
    }
    assert!(used > 100, "{used} paths into common were found");
    assert_eq!(foreign, [""; 0]);
}

#[test]
fn files_do_not_use_each_other_in_a_circle() {
    for source in [
        "common/src",
        "core/src",
        "master/src",
        "slave/src",
        "client/src",
    ] {
        let found = circles(&uses(&root().join(source)));
        assert!(found.is_empty(), "{source}: {found:#?}");
    }
}

#[test]
fn errors_that_cross_rooms_are_types() {
    let lists = CRATES.iter().chain(&["core/src/lib.rs"]);
    let places: BTreeSet<PathBuf> = lists
        .map(|list| root().join(list).parent().unwrap().to_owned())
        .collect();
    let places: Vec<PathBuf> = places.into_iter().collect();
    let mut texts = Vec::new();
    let mut functions = 0;
    for file in files(&places) {
        let is_door = DOORS.iter().any(|door| file.ends_with(door));
        let code = code(&file);
        for (at, _) in code.match_indices("fn ").filter(|_| !is_door) {
            let before = code[..at].lines().last().unwrap_or_default().trim();
            if !before.starts_with("pub ") && !before.starts_with("pub(crate)") {
                continue;
            }
            functions += 1;
            let head = code[at..].split(['{', ';']).next().unwrap();
            let answer = head.rsplit_once("-> ").map_or("", |(_, answer)| answer);
            if answer.starts_with("Result<") && answer.trim_end().ends_with(", String>") {
                texts.push(format!("{}: {}", file.display(), head.trim()));
            }
        }
    }
    assert!(functions > 1_000, "{functions}");
    assert_eq!(texts, [""; 0], "see docs/decisions.md, Errors");
}

#[test]
fn the_map_leads_to_files_that_are_there() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let quoted = map.split('`').skip(1).step_by(2);
    // A name alone is told within its room.
    let paths = quoted.filter(|text| text.trim_matches('/').contains('/'));
    let is_path = |text: &&str| {
        text.chars()
            .all(|sign| is_of_a_name(sign) || "/.-".contains(sign))
    };
    let is_there = |path: &str| {
        let path = path.trim_end_matches('/');
        let mut places = ON_THE_MAP.iter().map(|from| root().join(from));
        places.any(|from| from.join(path).exists() || from.join(format!("{path}.rs")).exists())
    };
    let paths: Vec<&str> = paths.filter(is_path).collect();
    assert!(!paths.is_empty());
    let lost: Vec<&str> = paths.into_iter().filter(|path| !is_there(path)).collect();
    assert_eq!(lost, [""; 0]);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The names of the modules that a file lists, in its order.
fn rooms(list: &Path) -> Vec<String> {
    let text = code(list);
    let modules = text.lines().filter_map(|line| {
        let line = line.strip_suffix(';')?;
        let (before, name) = line.rsplit_once("mod ")?;
        let is_module = before.is_empty() || before.starts_with("pub");
        is_module.then(|| name.to_owned())
    });
    modules.collect()
}

/// All sources at these places but tests.
fn files(places: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting: Vec<PathBuf> = places
        .iter()
        .filter(|place| place.exists())
        .cloned()
        .collect();
    while let Some(path) = waiting.pop() {
        let name = path.file_stem().unwrap().to_string_lossy();
        if name == "tests" || name.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            waiting.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// A file without comments and without the tests at its end.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// The module of a file, from `crate` on.
fn module(source: &Path, file: &Path) -> Vec<String> {
    let parts = file.strip_prefix(source).unwrap().with_extension("");
    let parts = parts.iter().map(|part| part.to_str().unwrap().to_owned());
    let parts = parts.filter(|part| part != "lib" && part != "main");
    std::iter::once("crate".to_owned()).chain(parts).collect()
}

/// The `src` that a file is below.
fn source_of(file: &Path) -> &Path {
    file.ancestors()
        .find(|above| above.ends_with("src"))
        .unwrap()
}
