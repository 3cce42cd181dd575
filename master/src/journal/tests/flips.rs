//! One bit of any file is wrong, or a file is gone: nothing that was acknowledged is lost in silence, and whoever
//! only looks changes nothing.

use super::damage::full;
use super::*;
use crate::journal::examine::examine;
use crate::journal::export::export;
use crate::journal::repair::Repair;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// How many flips are tried in each file.
const FLIPS: u64 = 50;

/// Of how many one is exported and repaired too, which takes much longer than to look.
const REPAIRED: u64 = 10;

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files(directory: &Path) -> Files {
    let mut found = Files::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            found.insert(path.file_name().unwrap().into(), fs::read(path).unwrap());
        }
    }
    found
}

fn write(directory: &Path, files: &Files) {
    fs::create_dir(directory).unwrap();
    for (name, bytes) in files {
        fs::write(directory.join(name), bytes).unwrap();
    }
}

/// A journal with a snapshot of its own and one of the engine's, and the state that it leads to.
async fn sound(directory: &Path) -> (Files, Cluster) {
    drop(full(directory).await);
    let mut master = Master::start(directory).unwrap();
    master.happen([queued(5)]).await;
    let cluster = master.cluster.clone();
    drop(master);
    // The engine's own thread may have the files for a moment.
    let data = fs::File::open(directory.join("db")).unwrap();
    data.lock().unwrap();
    (files(directory), cluster)
}

/// A number that looks like chance and is the same for a seed.
fn pick(seed: u64, below: usize) -> usize {
    // SplitMix64.
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    usize::try_from((z ^ (z >> 31)) % below as u64).unwrap()
}

#[derive(Debug, PartialEq)]
enum Outcome {
    /// It starts, and nothing is lost.
    Whole,
    Refused,
    /// Nothing can be saved, and that is said.
    Lost,
}

/// Looks at a damaged journal and starts on it: nothing is lost in silence, and a refusal changes nothing.
fn look(journal: &Path, damaged: &Files, sound: &Cluster, what: &str) -> Outcome {
    let unchanged = |how: &str| assert!(files(journal) == *damaged, "{what}: {how}");
    let examined = examine(journal);
    unchanged("verify");
    match Master::start(journal) {
        Ok(master) => {
            assert_eq!(
                master.cluster, *sound,
                "{what}: it starts, and something is lost"
            );
            let problems = examined.unwrap().problems;
            // What is not read at a start may be damaged all the same.
            assert!(
                problems.iter().all(|p| p.place.contains("ended build")),
                "{what}: {problems:?}"
            );
            Outcome::Whole
        }
        Err(error) => {
            unchanged("a refused start");
            let told = error.to_string();
            assert!(told.contains("nothing was changed"), "{what}: {told}");
            assert!(told.contains("journal repair"), "{what}: {told}");
            match examined {
                Ok(findings) => {
                    assert!(
                        !findings.problems.is_empty(),
                        "{what}: verify says it is sound"
                    );
                    Outcome::Refused
                }
                Err(error) => {
                    let told = error.to_string();
                    assert!(told.contains("repair --from FILE"), "{what}: {told}");
                    assert!(!told.contains("repair`"), "{what}: {told}");
                    Outcome::Lost
                }
            }
        }
    }
}

/// Exports and repairs what is refused.
fn repair(journal: &Path, damaged: &Files, what: &str) {
    let unchanged = |how: &str| assert!(files(journal) == *damaged, "{what}: {how}");
    let mut lines = Vec::new();
    let exported = export(journal, &mut lines).unwrap();
    assert!(
        !exported.damages.is_empty() || !exported.mended.is_empty(),
        "{what}: it is not told"
    );
    unchanged("export");
    assert!(lines.ends_with(b"}\n"), "{what}: an export with an end");
    let repair = Repair::of_damaged(journal).unwrap();
    unchanged("repair that was not told to go on");
    let kept = repair.commit().unwrap().unwrap();
    assert!(files(&kept) == *damaged, "{what}: what is kept");
    assert_eq!(examine(journal).unwrap().problems, [], "{what}");
    Master::start(journal).unwrap();
}

fn check(damaged: &Files, sound: &Cluster, is_repaired: bool, what: &str) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    write(&journal, damaged);
    let outcome = look(&journal, damaged, sound, what);
    if is_repaired && outcome == Outcome::Refused {
        repair(&journal, damaged, what);
    }
    outcome
}

#[tokio::test]
async fn whatever_bit_is_flipped_those_who_look_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (good, cluster) = sound(&directory.path().join("journal")).await;
    assert_eq!(check(&good, &cluster, false, "sound"), Outcome::Whole);
    let names: Vec<&PathBuf> = good.keys().collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for (name, bytes) in &good {
        // Most of the data is no data yet.
        let length = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let mut outcomes = Vec::new();
        for seed in 1..=FLIPS {
            let bit = pick(seed, length * 8);
            let mut damaged = good.clone();
            damaged.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let what = format!("bit {bit} of {}", name.display());
            outcomes.push(check(&damaged, &cluster, seed % REPAIRED == 0, &what));
        }
        let refused = outcomes
            .iter()
            .filter(|outcome| **outcome == Outcome::Refused);
        let (refused, shown) = (refused.count(), name.display());
        match shown.to_string().as_str() {
            "db" => assert!(refused > 0, "{outcomes:?}"),
            _ => assert_eq!(refused, outcomes.len(), "{shown}: {outcomes:?}"),
        }
    }
}

#[tokio::test]
async fn files_that_are_gone_or_empty_are_missed() {
    let directory = tempfile::tempdir().unwrap();
    let (good, cluster) = sound(&directory.path().join("journal")).await;
    for name in good.keys() {
        let what = name.display().to_string();
        let mut damaged = good.clone();
        damaged.insert(name.clone(), Vec::new());
        assert_ne!(
            check(&damaged, &cluster, true, &what),
            Outcome::Whole,
            "{what} is empty"
        );
        damaged.remove(name);
        // The engine's own snapshot only saves it a long way.
        let is_needed = !what.starts_with("snap.");
        let outcome = check(&damaged, &cluster, true, &what);
        assert_eq!(outcome != Outcome::Whole, is_needed, "{what} is gone");
    }
}
