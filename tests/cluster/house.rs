//! How the code is laid out, read from its sources: no farm is needed.
//!
//! A crate lists its rooms in `lib.rs` (the `clusterrunner` command in `main.rs`), lowest first. A room uses only rooms
//! above it in that list, so no two rooms use each other. What rooms must not know besides stands in [`RULES`].

use std::fs;
use std::path::{Path, PathBuf};

/// Crates and the files that list their rooms.
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
const HTTP: &[&str] = &["axum", "hyper", "reqwest", "StatusCode", "common::http"];

/// What only those know who speak to peers: the bodies of messages. What they carry of the farm is in `common::work`.
const BODIES: &[&str] = &["common::api"];

/// Files, and what must not stand in them.
const RULES: &[(&[&str], &[&str])] = &[
    (
        &[
            "master/src/core.rs",
            "master/src/core",
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
            "master/src/core.rs",
            "master/src/core",
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
            "master/src/core.rs",
            "master/src/core",
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
        ],
        BODIES,
    ),
    // Handlers reach the farm through the coordinator's handle, what is read and what is stored.
    (&["master/src/http"], &["crate::effects"]),
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
            "crate::core",
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
                let used = imports(&code(&file));
                let below = rooms[place + 1..].iter().filter(|room| used.contains(room));
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
            let code = code(&file);
            let found = words.iter().filter(|word| has_word(&code, word));
            known.extend(found.map(|word| format!("{} has {word}", file.display())));
        }
    }
    assert_eq!(known, [""; 0]);
}

#[test]
fn imports_are_read_in_all_forms() {
    let code = "use crate::a::b;\nuse crate::{c, d::{e, f}, g::h as i};\nlet x = crate::j::k();\nuse my_crate::l;";
    assert_eq!(imports(code), ["a", "c", "d", "g", "j"]);
    assert!(has_word("std::io::Read", "std::io") && !has_word("std::iosync", "std::io"));
    assert!(has_word("Timestamp::now()", "::now()"));
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

/// What follows `crate::`, each once and in order.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(is_of_a_name) {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push(name(rest)),
            Some(group) => found.extend(heads(group).map(name)),
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Where each element of a group begins that ends with its closing brace.
fn heads(group: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let starts = group.char_indices().map_while(move |(at, sign)| {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        let is_start = at == 0 || (sign == ',' && depth == 0);
        (depth >= 0).then_some(is_start.then_some(at))
    });
    starts
        .flatten()
        .map(|at| group[at..].trim_start_matches([',', ' ', '\n']))
}

fn name(text: &str) -> String {
    text.chars()
        .take_while(|sign| is_of_a_name(*sign))
        .collect()
}

fn is_of_a_name(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

/// Whether the word stands there and is no part of a longer name.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let begins = !word.starts_with(is_of_a_name) || !code[..at].ends_with(is_of_a_name);
        let ends = !code[at + word.len()..].starts_with(is_of_a_name);
        begins && ends
    })
}
