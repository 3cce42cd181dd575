//! Attacks on a farm, each a small function: what somebody sends who should not, and what must hold.
//!
//! An attack changes nothing, so many of them hit one farm, the [`victim`], one after the other. After each the farm is what
//! it was, answers, and at the end still builds. `docs/security.md` lists all of them, and those that other tests make;
//! [`the_list_is_whole`] compares.

/// Has a farm suffer attacks, one after the other. Each is a function that gets the farm, or what else is named.
macro_rules! suffer {
    ($victim:ident, $($attack:ident),+ $(,)?) => {
        suffer!($victim with $victim, $($attack),+)
    };
    ($victim:ident with $scene:ident, $($attack:ident),+ $(,)?) => {
        $($victim.suffer(stringify!($attack), $attack(&$scene)).await;)+
    };
}

mod bombs;
mod callers;
mod crowds;
mod instances;
mod keys;
mod others;
mod outgoing;
mod processes;
mod reads;
mod repositories;
mod shown;
mod smuggling;
mod uploads;
mod victim;
mod wire;

use std::collections::BTreeSet;
use std::path::Path;

/// How many there are at least.
const FEWEST: usize = 60;

/// The names in the lists of `suffer!` below a directory.
fn made() -> BTreeSet<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("attacks");
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("mod.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let file = path.file_stem().unwrap().to_str().unwrap();
        for list in text.split("suffer!(").skip(1) {
            let (list, _) = list.split_once(");").unwrap();
            let attacks = list.split(',').skip(1).map(str::trim);
            let attacks = attacks.filter(|attack| !attack.is_empty());
            names.extend(attacks.map(|attack| format!("attacks::{file}::{attack}")));
        }
    }
    names
}

/// The names that the documentation lists.
fn listed() -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/security.md");
    let page = std::fs::read_to_string(page).unwrap();
    let names = page.split('`').filter(|word| word.starts_with("attacks::"));
    names.map(str::to_owned).collect()
}

#[test]
fn the_list_is_whole() {
    let made = made();
    assert_eq!(made, listed(), "docs/security.md lists each attack");
    assert!(made.len() >= FEWEST, "{} attacks", made.len());
}
