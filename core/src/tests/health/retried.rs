//! Rows of failed results where failed atoms are run again: they count like any others.

use super::{check_well, quarantine};
use crate::tests::retries::{build, building_with};
use crate::tests::scenario::{Scenario, big_plan, finished, hand_out};
use clusterrunner_common::ids::SlaveId;

/// Two slaves with a build whose failed atoms are run again once.
fn farm() -> Scenario {
    building_with(&[("a", 1), ("b", 1)], &[], |plan| {
        *plan = big_plan(80, 0, 0);
        plan.retries = 1;
    })
}

/// Slave 1 passes the atoms that slave 2 failed, and of the others all but one of so many. Slave 2 fails whatever it has.
fn run_both(farm: &mut Scenario, rounds: u32, fails_one_of: u32) {
    for round in 1..=rounds {
        for slave in [1, 2] {
            let Some(subjob) = build(farm).held_by(SlaveId(slave)).first().copied() else {
                continue;
            };
            let known = build(farm).subjob(subjob).unwrap();
            let is_new = known.attempts == 1;
            let fails = slave == 2 || is_new && round % fails_one_of == 0;
            let hand_out = hand_out(slave, 1, subjob.0, known.attempts);
            farm.tell(finished(hand_out, &[i32::from(fails)]));
        }
    }
}

/// How often others fail is seen at all that they ran, and not only at what counts in the end.
#[test]
fn a_slave_whose_row_is_chance_is_well_where_others_fail_often_too() {
    let mut farm = farm();
    run_both(&mut farm, 9, 2);
    check_well(&farm);
}

#[test]
fn a_slave_on_which_everything_fails_is_found_where_others_fail_now_and_then() {
    let mut farm = farm();
    run_both(&mut farm, 30, 4);
    assert!(quarantine(&farm, 2).is_some());
}
