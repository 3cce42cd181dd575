use super::entry::MAX_NAME;
use super::*;
use crate::journal::Journal;
use clusterrunner_core::builds::hunted::HuntTrials;
use clusterrunner_core::history::Ended;

const DAY: u64 = 24 * 60 * 60 * 1000;

fn job(name: &str) -> HistoryJob {
    HistoryJob {
        project: ProjectId(1),
        inside: String::new(),
        name: name.to_owned(),
    }
}

fn atom(value: &str) -> What {
    What {
        kind: Kind::Atom,
        name: value.to_owned(),
        class: None,
        atom: format!("export A={value};").into(),
    }
}

fn test(name: &str, class: &str, atom: &str) -> What {
    What {
        kind: Kind::Test,
        name: name.to_owned(),
        class: Some(class.to_owned()),
        atom: atom.into(),
    }
}

fn of(build: u64) -> Failure {
    Failure {
        build: BuildId(build),
        commit: None,
        at: Timestamp(build * DAY),
    }
}

fn run(build: u64, failed_before: u8) -> Run {
    Run {
        hunted: HuntTrials::default(),
        build: BuildId(build),
        commit: None,
        told: 0,
        ended: Ended::Passed,
        failed_before,
        ms: 5,
    }
}

fn learn(histories: &Histories, name: &str, build: u64, of_what: &[(What, u8)]) {
    let runs = of_what.iter();
    let runs: Vec<_> = runs
        .map(|(what, failed)| (what.clone(), run(build, *failed)))
        .collect();
    let mut seen = Seen::default();
    histories
        .learn(&job(name), &of(build), &runs, &mut seen)
        .unwrap();
    histories.count(&[BuildId(build)]).unwrap();
}

fn builds(histories: &Histories, name: &str, kind: Kind, what: &str) -> Vec<Vec<u64>> {
    let found = histories.named(&job(name), kind, what).unwrap();
    let builds = |entry: Entry| {
        let runs = entry.memory.runs.iter();
        runs.map(|run| run.build.0).collect()
    };
    found.into_iter().map(builds).collect()
}

#[test]
fn what_builds_say_is_found_by_name_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let open = || crate::journal::tests::open(directory.path());
    let journal = open();
    let histories = journal.histories();
    learn(&histories, "x", 1, &[(atom("a"), 0), (atom("b"), 0)]);
    learn(&histories, "y", 2, &[(atom("a"), 0)]);
    learn(
        &histories,
        "x",
        3,
        &[(atom("a"), 0), (test("a", "C", "a"), 0)],
    );
    drop((journal, histories));
    let histories = open().histories();
    assert_eq!(builds(&histories, "x", Kind::Atom, "a"), [[1, 3]]);
    assert_eq!(builds(&histories, "y", Kind::Atom, "a"), [[2]]);
    assert_eq!(builds(&histories, "x", Kind::Test, "a"), [[3]]);
    assert!(builds(&histories, "z", Kind::Atom, "a").is_empty());
    assert_eq!(histories.jobs().unwrap().len(), 2);
    let counted: Vec<u64> = histories.counted().unwrap().iter().map(|id| id.0).collect();
    assert_eq!(counted, [1, 2, 3]);
}

#[test]
fn a_test_is_another_one_in_another_class_or_atom() {
    let directory = tempfile::tempdir().unwrap();
    let histories = Journal::open(directory.path()).unwrap().histories();
    let tests = [("t", "C", "a"), ("t", "D", "a"), ("t", "C", "b")];
    let tests = tests.map(|(name, class, atom)| (test(name, class, atom), 0));
    learn(&histories, "x", 1, &tests);
    assert_eq!(builds(&histories, "x", Kind::Test, "t").len(), 3);
}

#[test]
fn what_a_build_has_twice_counts_once() {
    let directory = tempfile::tempdir().unwrap();
    let histories = Journal::open(directory.path()).unwrap().histories();
    learn(&histories, "x", 1, &[(atom("a"), 0), (atom("a"), 1)]);
    let found = histories.named(&job("x"), Kind::Atom, "a").unwrap();
    assert_eq!(found[0].memory.runs, [run(1, 0)]);
}

#[test]
fn those_with_flakes_are_found_as_long_as_flakes_are_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let histories = Journal::open(directory.path()).unwrap().histories();
    let flaky = || {
        let mut names = Vec::new();
        let visit = |place, entry: &Entry| {
            assert_eq!(histories.at(&place).unwrap().as_ref(), Some(entry));
            names.push(entry.what.name.clone());
        };
        histories.with_flakes(&job("x"), visit).unwrap();
        names
    };
    learn(&histories, "x", 1, &[(atom("a"), 1), (atom("b"), 0)]);
    assert_eq!(flaky(), ["a"]);
    for build in 2..=300 {
        learn(&histories, "x", build, &[(atom("a"), 0)]);
    }
    assert_eq!(flaky(), ["a"]);
    learn(&histories, "x", 301, &[(atom("a"), 0)]);
    assert!(flaky().is_empty());
}

#[test]
fn what_is_too_old_too_many_or_of_no_project_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let histories = Journal::open(directory.path()).unwrap().histories();
    learn(&histories, "x", 9, &[(atom("old"), 1)]);
    for (build, name) in [(10, "a"), (11, "b"), (12, "c")] {
        learn(&histories, "x", build, &[(atom(name), 1)]);
    }
    let projects = BTreeSet::from([ProjectId(1)]);
    let now = Timestamp((10 + REMEMBERED_DAYS) * DAY);
    histories.forget_beyond((now, 2), &projects).unwrap();
    let is_known = |name| !builds(&histories, "x", Kind::Atom, name).is_empty();
    let known = ["old", "a", "b", "c"].map(is_known);
    assert_eq!(known, [false, false, true, true]);
    let mut with_flakes = 0;
    let visit = |_, _: &Entry| with_flakes += 1;
    histories.with_flakes(&job("x"), visit).unwrap();
    assert_eq!(with_flakes, 2);
    let kept = BTreeSet::from([BuildId(12)]);
    histories.forget(now, &BTreeSet::new(), &kept).unwrap();
    assert!(builds(&histories, "x", Kind::Atom, "c").is_empty());
    assert!(histories.jobs().unwrap().is_empty());
    assert_eq!(histories.counted().unwrap(), kept);
}

/// A build that was learned in part, and then deleted.
#[test]
fn what_never_counted_is_forgotten_too() {
    let directory = tempfile::tempdir().unwrap();
    let histories = Journal::open(directory.path()).unwrap().histories();
    let runs = [(atom("a"), run(1, 0))];
    let mut seen = Seen::default();
    let added = histories.learn(&job("x"), &of(1), &runs, &mut seen);
    assert_eq!(added.unwrap(), 1);
    assert_eq!(histories.jobs().unwrap(), [job("x")]);
    let now = Timestamp(2 * DAY);
    histories
        .forget(now, &BTreeSet::new(), &BTreeSet::new())
        .unwrap();
    assert!(builds(&histories, "x", Kind::Atom, "a").is_empty());
}

/// An atom may report as many tests as a job may have.
#[test]
fn very_many_tests_leave_room_for_the_atoms() {
    let mut seen = Seen::default();
    let key = |number: usize| {
        let mut key = [0; 2 * HASH];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    };
    for number in 0..MAX_ENTRIES_PER_JOB {
        assert!(seen.insert(Kind::Test, key(number)));
    }
    assert!(!seen.insert(Kind::Test, key(MAX_ENTRIES_PER_JOB)));
    assert!(seen.insert(Kind::Atom, key(MAX_ENTRIES_PER_JOB)));
    assert!(!seen.insert(Kind::Atom, key(MAX_ENTRIES_PER_JOB)));
}

#[test]
fn a_damaged_record_is_not_known_and_learned_anew() {
    let directory = tempfile::tempdir().unwrap();
    let histories = Journal::open(directory.path()).unwrap().histories();
    learn(&histories, "x", 1, &[(atom("a"), 0)]);
    let key = with(ENTRY, &entry_key(&job("x"), &atom("a")));
    let place = piece_key(&key, 0);
    histories.store.histories.insert(place, b"damaged").unwrap();
    assert!(builds(&histories, "x", Kind::Atom, "a").is_empty());
    learn(&histories, "x", 2, &[(atom("a"), 0)]);
    assert_eq!(builds(&histories, "x", Kind::Atom, "a"), [[2]]);
}

#[test]
fn a_long_name_is_cut_off_and_found() {
    let directory = tempfile::tempdir().unwrap();
    let histories = Journal::open(directory.path()).unwrap().histories();
    let long = "é".repeat(5_000);
    learn(&histories, "x", 1, &[(atom(&long), 0)]);
    let found = histories.named(&job("x"), Kind::Atom, &long).unwrap();
    assert_eq!(found[0].what.name.len(), MAX_NAME);
}
