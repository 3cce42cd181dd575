//! The targets with the seeds, with changes of the seeds, and with bytes that are nothing.

use crate::changes::Changes;
use crate::{TARGETS, Target, seeds};
use std::collections::BTreeSet;
use std::panic::catch_unwind;

/// Cases for each target: a second or two.
const CASES: u64 = 2_000;

/// Cases where each makes files.
const FEW_CASES: u64 = 100;

/// Cases where each makes a journal.
const VERY_FEW_CASES: u64 = 20;

/// Checks a target with its seeds and changes of them, which are the same each time: the long runs are for others.
fn check(name: &str, target: Target, cases: u64) {
    let seeds = seeds::of(name).unwrap();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    seeds.iter().for_each(|seed| target(seed));
    let changes = Changes::new(seeds, 0);
    for case in 0..cases {
        let bytes = changes.case(case);
        let run = catch_unwind(|| target(&bytes));
        assert!(
            run.is_ok(),
            "{name}: case {case} of seed 0: {}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn each_folder_of_seeds_has_a_target() {
    let folders: BTreeSet<String> = seeds::folders().unwrap().into_iter().collect();
    let targets = TARGETS.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(folders, targets.collect());
}

#[test]
fn a_case_is_the_same_each_time_and_differs_from_others() {
    let changes = |seed| Changes::new(vec![b"one: two".to_vec(), vec![7; 300]], seed);
    let cases = |seed| -> Vec<Vec<u8>> { (0..200).map(|case| changes(seed).case(case)).collect() };
    assert_eq!(cases(1), cases(1));
    assert_ne!(cases(1), cases(2));
    let different: BTreeSet<Vec<u8>> = cases(1).into_iter().collect();
    assert!(different.len() > 150, "{}", different.len());
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
