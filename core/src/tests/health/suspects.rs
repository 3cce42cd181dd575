//! Subjobs that take their slaves down.

use super::*;

/// Slaves die with what they run, until the poison is known.
#[test]
fn a_subjob_that_takes_its_slaves_down_is_isolated_and_then_poison() {
    let mut farm = Scenario::with_slaves(&[("a", 2), ("b", 2), ("c", 2)]);
    farm.build(plan(&["A", "B", "C", "D", "E", "F", "G"]));
    farm.set_up(1, 1); // 0 and 1 on a
    farm.die(1).check_facts(&[
        "slave 1 lost: silent",
        "1.0 suspected: slave 1 was lost while it ran this subjob",
        "1.1 suspected: slave 1 was lost while it ran this subjob",
    ]);
    farm.set_up(2, 1); // 0 and 1 on b
    farm.set_up(3, 1); // 2 and 3 on c
    farm.finish(hand_out(2, 1, 1, 2)); // 4 on b
    farm.die(2).check_facts(&[
        "slave 2 lost: silent",
        "1.0 suspected: slave 2 was lost while it ran this subjob",
        "1.4 suspected: slave 2 was lost while it ran this subjob",
        "slave 3 kept for 1",
    ]);
    // The kept slave takes nothing new, though 4, 5 and 6 wait.
    farm.finish(hand_out(3, 1, 2, 1))
        .check_facts(&["1.2 finished by slave 3, attempt 1: [0]"]);
    farm.finish(hand_out(3, 1, 3, 1)).check_facts(&[
        "1.3 finished by slave 3, attempt 1: [0]",
        "1.0 to slave 3, attempt 3",
    ]);
    farm.die(3).check(
        &[
            "slave 3 lost: silent",
            "1.0 suspected: slave 3 was lost while it ran this subjob",
            "1.0 poisoned: 3 slaves were lost while they ran it",
        ],
        &["close slave 3", "make 1.0@3: 1 atoms"],
    );
    let (attempt, outcomes) = farm.cluster.build(BuildId(1)).unwrap().subjobs[0]
        .result
        .clone()
        .unwrap();
    assert_eq!((attempt.0, outcomes[0].exit_code), (3, POISON_EXIT_CODE));
    let slaves_lost = 3;
    let poison = AtomTrouble::Poison { slaves_lost };
    assert_eq!(outcomes[0].trouble, Some(poison));
    farm.connect("d", "life 1", 3);
    farm.set_up(4, 1);
    farm.finish(hand_out(4, 1, 4, 2));
    farm.finish(hand_out(4, 1, 5, 1));
    farm.finish(hand_out(4, 1, 6, 1)).check(
        &[
            "1.6 finished by slave 4, attempt 1: [0]",
            "1 archiving",
            "1 off slave 4",
        ],
        &[
            "archive 1: [0@3, 1@2, 2@1, 3@1, 4@2, 5@1, 6@1], failed [artifact_0_0]",
            "slave 4: tear down 1",
        ],
    );
}

#[test]
fn a_slave_that_is_kept_ends_up_with_the_suspect_also_where_it_must_be_set_up() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    for life in 1..=2 {
        farm.set_up(life, 1);
        farm.die(life);
        farm.connect("a", &format!("life {}", life + 1), 1);
    }
    let kept = farm.cluster.slave(SlaveId(3)).unwrap();
    assert_eq!(kept.reserved_for, Some(BuildId(1)));
    farm.set_up(3, 1)
        .check_facts(&["1 ready on slave 3", "1.0 to slave 3, attempt 3"]);
    farm.finish(hand_out(3, 1, 0, 3)).check_facts(&[
        "1.0 finished by slave 3, attempt 3: [0]",
        "1 archiving",
        "1 off slave 3",
    ]);
    let free = farm.cluster.slave(SlaveId(3)).unwrap();
    assert_eq!(free.reserved_for, None);
}

#[test]
fn who_says_good_bye_or_was_there_before_the_master_suspects_nothing() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.set_up(1, 1);
    farm.lose(1).check_facts(&["slave 1 lost: silent"]);
    farm.connect("a", "life 2", 1);
    farm.set_up(2, 1);
    farm.restart();
    farm.die(2).check_facts(&["slave 2 lost: silent"]);
}
