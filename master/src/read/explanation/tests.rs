//! Which part of a build's time has which cause.

use super::*;

fn at(ms: u64) -> Option<Timestamp> {
    Some(Timestamp(1_000 + ms))
}

fn ran(executor: u32, began: u64, took_ms: u64, is_retry: bool) -> Ran {
    Ran {
        subjob: SubjobId(0),
        atom: AtomId(0),
        began: Timestamp(1_000 + began),
        took_ms,
        executor: (Some(SlaveId(1)), Some(ExecutorIndex(executor))),
        is_retry,
        in_vain_ms: 0,
    }
}

const NOW: Timestamp = Timestamp(1_000 + 500);

fn times() -> Timestamps {
    Timestamps {
        queued: at(0),
        preparing: at(10),
        prepared: at(30),
        building: at(60),
        finished: at(400),
        error: None,
        canceled: None,
    }
}

fn known(times: Timestamps) -> Known {
    Known {
        times,
        fetched: at(18),
        ..Known::default()
    }
}

fn sum(parts: &Parts) -> u64 {
    let Parts {
        queue,
        fetch,
        atomizer,
        waiting_for_slaves,
        set_up,
        matrix,
        atoms,
        batches_in_vain,
        longest_atom,
        imbalance,
        nothing_ran,
        retries,
        upload,
    } = parts;
    [
        queue,
        fetch,
        atomizer,
        waiting_for_slaves,
        set_up,
        matrix,
        atoms,
        batches_in_vain,
        longest_atom,
        imbalance,
        nothing_ran,
        retries,
        upload,
    ]
    .into_iter()
    .sum()
}

#[test]
fn batches_that_settled_nothing_are_no_imbalance_and_no_set_up() {
    // A slave was ready at 70; both atoms of a batch ran again alone at 170, side by side.
    let alone = |executor| Ran {
        in_vain_ms: 50,
        ..ran(executor, 170, 50, false)
    };
    let known = Known {
        set_up: at(70),
        ..known(times())
    };
    let parts = explain(&known, &[alone(0), alone(1)], NOW).parts;
    assert_eq!((parts.set_up, parts.atoms), (10, 50));
    assert_eq!((parts.batches_in_vain, parts.imbalance), (50, 50));
    assert_eq!(sum(&parts), 400);
}

#[test]
fn a_batch_in_vain_between_two_atoms_is_no_time_in_which_nothing_ran() {
    let alone = Ran {
        in_vain_ms: 100,
        ..ran(0, 250, 50, false)
    };
    let parts = explain(&known(times()), &[ran(0, 100, 50, false), alone], NOW).parts;
    assert_eq!((parts.batches_in_vain, parts.nothing_ran), (100, 0));
    assert_eq!(sum(&parts), 400);
}

#[test]
fn each_part_has_its_cause() {
    // Two executors: even shares of 300 ms of work are 150, the longest atom takes 200, and the second executor waits.
    let atoms = [
        ran(0, 100, 50, false),
        ran(1, 100, 200, false),
        ran(0, 320, 50, true),
    ];
    let explained = explain(&known(times()), &atoms, NOW);
    let expected = Parts {
        queue: 10,
        fetch: 8,
        atomizer: 12,
        waiting_for_slaves: 30,
        set_up: 40,
        atoms: 150,
        batches_in_vain: 0,
        retries: 50,
        longest_atom: 50,
        nothing_ran: 20,
        upload: 30,
        ..Parts::default()
    };
    assert_eq!(explained.parts, expected);
    assert_eq!((explained.whole, sum(&explained.parts)), (400, 400));
    assert_eq!((explained.is_over, explained.num_executors), (true, 2));
    assert_eq!(explained.longest, Some(atoms[1]));
}

#[test]
fn what_has_no_other_cause_is_imbalance() {
    let atoms = [ran(0, 60, 100, false), ran(1, 260, 100, false)];
    let parts = explain(&known(times()), &atoms, NOW).parts;
    assert_eq!((parts.set_up, parts.upload), (0, 40));
    assert_eq!(
        (parts.atoms, parts.longest_atom, parts.imbalance),
        (100, 0, 100)
    );
    assert_eq!(parts.nothing_ran, 100);
}

#[test]
fn an_executor_without_work_while_none_has_any_is_no_imbalance() {
    // The master was away from 110 to 360.
    let atoms = [ran(0, 60, 50, false), ran(0, 360, 40, false)];
    let parts = explain(&known(times()), &atoms, NOW).parts;
    assert_eq!((parts.atoms, parts.nothing_ran), (90, 250));
    assert_eq!((parts.imbalance, parts.upload), (0, 0));
    // And before an atom is run again.
    let atoms = [
        ran(0, 60, 100, false),
        ran(1, 60, 20, false),
        ran(0, 360, 20, true),
    ];
    let parts = explain(&known(times()), &atoms, NOW).parts;
    assert_eq!((parts.atoms, parts.nothing_ran), (70, 200));
    assert_eq!((parts.retries, parts.longest_atom), (20, 30));
    assert_eq!((parts.imbalance, parts.upload), (0, 20));
}

#[test]
fn the_time_of_a_parent_is_that_of_the_builds_of_its_matrix() {
    let parent = Known {
        times: Timestamps {
            building: None,
            ..times()
        },
        is_parent: true,
        ..known(times())
    };
    let explained = explain(&parent, &[], NOW);
    let expected = Parts {
        queue: 10,
        fetch: 8,
        atomizer: 12,
        matrix: 370,
        ..Parts::default()
    };
    assert_eq!((explained.parts, explained.whole), (expected, 400));
}

#[test]
fn a_build_that_did_not_come_so_far_is_explained_to_its_end() {
    let waits = Timestamps {
        queued: at(0),
        preparing: at(10),
        ..Timestamps::default()
    };
    let waits = Known {
        times: waits,
        ..Known::default()
    };
    let explained = explain(&waits, &[], NOW);
    let expected = Parts {
        queue: 10,
        fetch: 490,
        ..Parts::default()
    };
    assert_eq!((explained.is_over, explained.whole), (false, 500));
    assert_eq!(explained.parts, expected);
    // The atomizers run.
    let parts = explain(&known(waits.times), &[], NOW).parts;
    assert_eq!((parts.fetch, parts.atomizer), (8, 482));
    let failed = Known {
        times: Timestamps {
            error: at(20),
            ..waits.times
        },
        ..waits
    };
    assert_eq!(explain(&failed, &[], NOW).parts.fetch, 10);
}

#[test]
fn atoms_that_were_cut_off_are_no_upload() {
    let canceled = Known {
        times: Timestamps {
            finished: None,
            canceled: at(400),
            ..times()
        },
        set_up: at(90),
        was_cut_off: true,
        ..known(times())
    };
    let parts = explain(&canceled, &[], NOW).parts;
    assert_eq!((parts.set_up, parts.atoms, parts.upload), (30, 310, 0));
    // One has ended before.
    let parts = explain(&canceled, &[ran(0, 100, 50, false)], NOW).parts;
    assert_eq!((parts.set_up, parts.atoms, parts.upload), (40, 300, 0));
}

#[test]
fn an_atom_that_runs_is_no_upload() {
    let runs = Known {
        times: Timestamps {
            finished: None,
            ..times()
        },
        ..known(times())
    };
    let parts = explain(&runs, &[ran(0, 100, 400, false)], NOW).parts;
    assert_eq!((parts.atoms, parts.upload), (400, 0));
}

/// Clocks may be wrong: whatever they say, the parts add up.
#[test]
fn the_parts_always_add_up() {
    let mut seed = 7_u64;
    let mut some = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 40) % 600
    };
    for _ in 0..2_000 {
        let times = Timestamps {
            queued: at(some()),
            preparing: at(some()),
            prepared: at(some()),
            building: at(some()),
            finished: at(some()),
            ..Timestamps::default()
        };
        let number = usize::try_from(some() % 5).unwrap();
        let numbers = (0_u32..).take(number);
        let atoms = numbers.map(|n| ran(n % 2, some(), some(), n % 3 == 0));
        let atoms: Vec<Ran> = atoms.collect();
        let known = Known {
            times,
            fetched: at(some()),
            set_up: at(some()),
            was_cut_off: some() % 3 == 0,
            hunting: None,
            is_parent: some() % 5 == 0,
        };
        let explained = explain(&known, &atoms, NOW);
        assert_eq!(
            sum(&explained.parts),
            explained.whole,
            "{times:?} {atoms:?}"
        );
    }
}
