//! The targets with the seeds, with small changes of the seeds, and with bytes that are nothing.

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use std::fs;
use std::path::Path;

/// Cases for each target: a second or two.
const CASES: u32 = 2_000;

/// Cases where each makes files.
const FEW_CASES: u32 = 100;

/// Cases where each makes a journal.
const VERY_FEW_CASES: u32 = 20;

type Target = fn(&[u8]);

/// All targets by their names.
const TARGETS: [(&str, Target); 14] = [
    ("consoles", crate::consoles),
    ("dockerfiles", crate::dockerfiles),
    ("git_trees", crate::git_trees),
    ("jobs", crate::jobs),
    ("journals", crate::journals),
    ("junit_reports", crate::junit_reports),
    ("path_claims", crate::path_claims),
    ("procfiles", crate::procfiles),
    ("requests", crate::requests),
    ("result_blocks", crate::result_blocks),
    ("settings", crate::settings),
    ("signatures", crate::signatures),
    ("ssh_commands", crate::ssh_commands),
    ("uploads", crate::uploads),
];

/// One change of a seed.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, u8),
    Repeat(Index, u8),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Set(at, to) if !bytes.is_empty() => *at.get_mut(bytes) = *to,
            Self::Set(..) => {}
            Self::Insert(at, what) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, what.iter().copied());
            }
            Self::Remove(at, count) => {
                let at = at.index(bytes.len() + 1);
                let end = bytes.len().min(at + usize::from(*count));
                bytes.drain(at..end);
            }
            Self::Repeat(at, count) => {
                let at = at.index(bytes.len() + 1);
                let end = bytes.len().min(at + usize::from(*count));
                let piece = bytes[at..end].to_vec();
                bytes.splice(end..end, piece);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, to)| Change::Set(at, to)),
        (at(), prop::collection::vec(any::<u8>(), 1..8))
            .prop_map(|(at, what)| Change::Insert(at, what)),
        (at(), any::<u8>()).prop_map(|(at, count)| Change::Remove(at, count)),
        (at(), any::<u8>()).prop_map(|(at, count)| Change::Repeat(at, count)),
    ]
}

fn check(name: &str, target: Target, cases: u32) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(name);
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    seeds.iter().for_each(|seed| target(seed));
    let changed = (
        prop::sample::select(seeds),
        prop::collection::vec(change(), 1..6),
    );
    let changed = changed.prop_map(|(mut bytes, changes)| {
        changes.iter().for_each(|change| change.apply(&mut bytes));
        bytes
    });
    let bytes = prop_oneof![9 => changed, 1 => prop::collection::vec(any::<u8>(), 0..2_000)];
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    };
    let run = TestRunner::new(config).run(&bytes, |bytes| {
        target(&bytes);
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{name}: {failure}"));
}

#[test]
fn requests_that_are_accepted_can_be_read_back() {
    check("requests", crate::requests, CASES);
}

#[test]
fn settings_are_read_or_refused() {
    check("settings", crate::settings, CASES);
}

#[test]
fn job_files_are_read_or_refused() {
    check("jobs", crate::jobs, CASES);
}

#[test]
fn reports_of_tests_are_read_whole_or_not_at_all() {
    check("junit_reports", crate::junit_reports, CASES);
}

#[test]
fn blocks_are_refused_or_hold_what_was_checked() {
    check("result_blocks", crate::result_blocks, CASES);
}

#[test]
fn trees_are_refused_or_laid_out_in_their_place() {
    check("git_trees", crate::git_trees, FEW_CASES);
}

#[test]
fn signatures_of_strangers_are_never_right() {
    check("signatures", crate::signatures, CASES);
}

#[test]
fn consoles_are_shown_whole_and_do_nothing() {
    check("consoles", crate::consoles, CASES);
}

#[test]
fn dockerfiles_are_read_or_refused() {
    check("dockerfiles", crate::dockerfiles, CASES);
}

#[test]
fn procfiles_are_read_or_refused() {
    check("procfiles", crate::procfiles, CASES);
}

#[test]
fn uploads_are_read_to_their_end_or_refused() {
    check("uploads", crate::uploads, CASES);
}

#[test]
fn command_lines_of_ssh_mean_git_or_nothing() {
    check("ssh_commands", crate::ssh_commands, CASES);
}

#[test]
fn each_path_has_one_owner() {
    check("path_claims", crate::path_claims, CASES);
}

#[test]
fn exports_are_refused_or_become_journals() {
    check("journals", crate::journals, VERY_FEW_CASES);
}

/// Runs one target for so many seconds: `CLUSTERRUNNER_FUZZ=consoles:60`. How long targets ran like that stands in
/// docs/security.md.
#[test]
fn a_target_runs_for_as_long_as_is_asked_for() {
    let Ok(asked) = std::env::var("CLUSTERRUNNER_FUZZ") else {
        return;
    };
    let (name, seconds) = asked.split_once(':').expect("TARGET:SECONDS");
    let (_, target) = TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target");
    let until =
        std::time::Instant::now() + std::time::Duration::from_secs(seconds.parse().unwrap());
    let mut cases = 0_u64;
    while std::time::Instant::now() < until {
        check(name, *target, FEW_CASES);
        cases += u64::from(FEW_CASES);
    }
    println!("{name}: {cases} cases");
}
