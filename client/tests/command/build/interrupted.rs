//! Ctrl-C and what else ends a build early.

use super::*;

#[test]
fn a_build_that_somebody_cancels_exits_with_4() {
    let user = User::new();
    let master = FakeMaster::start([building(2, 0, 0), canceled()]);
    user.run_at(&master, BUILD)
        .expect_code(4)
        .expect(&["Build 1 was canceled after 1 atom\n"], &[]);
}

#[test]
fn ctrl_c_cancels_the_build() {
    let user = User::new();
    let master = FakeMaster::start([building(2, 0, 0)]);
    let mut running = user.start_at(&master, BUILD);
    running.wait_for_output("Build is running.");
    running.signal(Signal::INT);
    running
        .end()
        .expect_code(4)
        .expect(&["Build 1 is canceled.\n"], &["Canceling build 1."]);
    assert!(master.script().canceled);
}

#[test]
fn a_second_ctrl_c_is_obeyed_at_once() {
    let user = User::new();
    let master = FakeMaster::start([building(2, 0, 0)]);
    master.script().slow_to_cancel = true;
    let mut running = user.start_at(&master, BUILD);
    running.wait_for_output("Build is running.");
    running.signal(Signal::INT);
    running.wait_for_note("the master cancels build 1; waiting for its end");
    running.interrupt_until_it_ends();
    running
        .end()
        .expect_code(4)
        .expect(&[], &["quit at once\n"]);
}

/// Nobody knows whether the order arrived.
#[test]
fn a_second_ctrl_c_while_the_master_is_away_does_not_say_canceled() {
    let user = User::new();
    let master = FakeMaster::start([building(2, 0, 0)]);
    let mut running = user.start_at(&master, BUILD);
    running.wait_for_output("Build is running.");
    drop(master);
    running.signal(Signal::INT);
    running.wait_for_note("Canceling build 1.");
    running.interrupt_until_it_ends();
    let ended = running.end().expect_code(5).expect(
        &[],
        &["quit at once; the master has not confirmed that build 1 is canceled"],
    );
    assert!(!ended.stdout.contains("is canceled"), "{ended:?}");
}
