//! Files that use each other in a circle.

use super::paths::paths;
use super::{code, files, module};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which modules of a crate each of its modules uses. A module may use those that it is in: they hold what is its
/// own and its neighbours'.
pub(super) fn uses(source: &Path) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let files = files(&[source.to_owned()]);
    let modules: BTreeMap<_, _> = files
        .iter()
        .map(|file| (module(source, file), file))
        .collect();
    let used_by = |(module, file): (&Vec<String>, &&PathBuf)| {
        let paths = paths(&code(file), module);
        let owner = |path: Vec<String>| {
            // A module of its own is named without `self` in front.
            let own = [&module[..], &path[..]].concat();
            let path = if modules.contains_key(&own[..=module.len()]) {
                own
            } else {
                path
            };
            let mut owners = (2..=path.len()).rev().map(|length| path[..length].to_vec());
            owners.find(|owner| modules.contains_key(owner))
        };
        let used = paths.into_iter().filter_map(owner);
        (
            module.clone(),
            used.filter(|used| !module.starts_with(used)).collect(),
        )
    };
    modules.iter().map(used_by).collect()
}

/// The largest sets in which each uses each other, directly or by way of others.
pub(super) fn circles(
    uses: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>,
) -> Vec<Vec<Vec<String>>> {
    let reached: BTreeMap<_, _> = uses
        .keys()
        .map(|from| (from, reached(uses, from)))
        .collect();
    let mut found = BTreeSet::new();
    for (from, to) in &reached {
        let circle = to.iter().filter(|other| reached[*other].contains(*from));
        let circle: Vec<_> = circle.cloned().collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

/// All that a module uses, and what that uses.
fn reached(
    uses: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>,
    from: &Vec<String>,
) -> BTreeSet<Vec<String>> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![from];
    while let Some(next) = waiting.pop() {
        let new = uses[next]
            .iter()
            .filter(|used| reached.insert((*used).clone()));
        waiting.extend(new);
    }
    reached
}

#[test]
fn circles_are_found() {
    let name = |text: &str| vec![text.to_owned()];
    let uses = [
        ("a", "bd"),
        ("b", "c"),
        ("c", "a"),
        ("d", "e"),
        ("e", ""),
        ("f", "g"),
        ("g", "f"),
    ];
    let uses = uses.map(|(file, used)| {
        (
            name(file),
            used.chars().map(|u| name(&u.to_string())).collect(),
        )
    });
    let found = circles(&uses.into());
    assert_eq!(
        found,
        [
            vec![name("a"), name("b"), name("c")],
            vec![name("f"), name("g")]
        ]
    );
}
