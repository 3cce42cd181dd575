//! Hunts for flakes: when one begins, which atom is next, when it ends, and what is made of it.

mod simulated;

use super::retries::{build, building_with};
use super::scenario::{Scenario, finished, hand_out, plan};
use crate::HUNT_AFTER_END;
use crate::builds::hunted::{HuntTrial, HuntTrials, Hunted, HuntedRun};
use crate::builds::plan::Plan;
use crate::command::Command;
use crate::history::Trials;
use crate::hunting::{Hunt, HuntId, Hunts, Look};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
use clusterrunner_common::work::HuntEnd::{self, Dropped, Failed, Passed};
use std::num::NonZeroU32;
use std::time::Duration;

/// A farm, and its hunts.
struct Ground {
    farm: Scenario,
    now: Timestamp,
    hunts: Hunts,
    /// The trials of all atoms that are not named.
    usual: Trials,
    named: Vec<(u32, Trials)>,
}

fn trials(passes: u16, flakes: u16) -> Trials {
    let mut trials = Trials::default();
    (0..flakes).for_each(|_| trials.add(true));
    (0..passes).for_each(|_| trials.add(false));
    trials
}

impl Ground {
    /// A build of which the first atom runs on the first slave, and all others have passed.
    fn of(slaves: &[(&str, u32)], num_atoms: u32, change: impl FnOnce(&mut Plan)) -> Self {
        let names: Vec<String> = (0..num_atoms).map(|atom| format!("A{atom}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut farm = building_with(slaves, &names, change);
        while let Some((id, slave, attempt)) = next_running(&farm) {
            farm.finish(hand_out(slave.0, 1, id.0, attempt.0));
        }
        Self::with(farm)
    }

    fn with(farm: Scenario) -> Self {
        Self {
            farm,
            now: Timestamp(1),
            hunts: Hunts::new(true),
            usual: trials(0, 0),
            named: Vec::new(),
        }
    }

    /// Looks, tells what is asked for, and looks again: what begins and what ends.
    fn look(&mut self) -> Look {
        let at = self.now;
        let mut look = self.hunts.look(&self.farm.cluster, at);
        for id in std::mem::take(&mut look.unknown) {
            let build = self.farm.cluster.build(id).unwrap();
            let atoms = build.numbered_subjobs().map(|(id, subjob)| {
                let named = self.named.iter().find(|(named, _)| *named == id.0);
                let trials = named.map_or(&self.usual, |(_, trials)| trials);
                (id, subjob, trials.clone())
            });
            self.hunts.learn(id, &build.hunted, atoms);
            let then = self.hunts.look(&self.farm.cluster, at);
            assert!(then.unknown.is_empty());
            look.begun.extend(then.begun);
            look.ended.extend(then.ended);
            look.goes_on.extend(then.goes_on);
        }
        for (build, goes_on) in std::mem::take(&mut look.goes_on) {
            self.farm.tell(Command::ReportHunting { build, goes_on });
        }
        assert_eq!(self.hunts.unreasonable(&self.farm.cluster), None);
        look
    }

    /// These hunts begin, each of a subjob on a slave, and nothing ends.
    #[track_caller]
    fn begins(&mut self, expected: &[(u32, u64)]) -> Vec<HuntId> {
        let look = self.look();
        assert!(look.ended.is_empty());
        let begun = look.begun.iter();
        let found: Vec<_> = begun
            .map(|(_, hunt)| (hunt.subjob.0, hunt.slave.0))
            .collect();
        assert_eq!(found, expected);
        look.begun.into_iter().map(|(id, _)| id).collect()
    }

    /// All hunts end, since nothing is idle any more.
    #[track_caller]
    fn gives_way(&mut self, number: usize) {
        let look = self.look();
        assert_eq!((look.begun.len(), look.ended.len()), (0, number));
    }

    fn ends(&mut self, hunt: HuntId, end: HuntEnd) -> Option<HuntTrial> {
        let (build, run) = self.hunts.ended(hunt, end, 10, self.now).unwrap();
        let runs = vec![run];
        self.farm.tell(Command::ReportHunted { build, runs });
        run.trial
    }
}

/// What runs of the build beside its first atom.
fn next_running(farm: &Scenario) -> Option<(SubjobId, SlaveId, Attempt)> {
    let mut running = build(farm).progress().unwrap().running.iter();
    let (id, (slave, attempt)) = running.find(|(id, _)| id.0 > 0)?;
    Some((*id, *slave, *attempt))
}

#[test]
fn an_idle_executor_hunts_what_has_passed_and_the_cluster_learns_what_it_found() {
    let mut ground = Ground::of(&[("a", 1), ("b", 1)], 3, |_| {});
    let hunt = ground.begins(&[(1, 2)])[0];
    assert_eq!(ground.ends(hunt, Passed), Some(HuntTrial::Passed));
    // What ran less goes first.
    let hunt = ground.begins(&[(2, 2)])[0];
    assert_eq!(ground.ends(hunt, Dropped), None);
    let hunted = HuntTrials {
        passes: 1,
        flakes: 0,
    };
    let expected = Hunted {
        goes_on: true,
        runs: 2,
        ms: 20,
        atoms: [(SubjobId(1), hunted)].into(),
        unresolved: [].into(),
    };
    assert_eq!(build(&ground.farm).hunted, expected);
    assert_eq!(ground.farm.replayed(), ground.farm.cluster);
    assert_eq!(
        ground.hunts.ended(hunt, Passed, 1, ground.now),
        None,
        "it is over"
    );
}

#[test]
fn a_failure_is_a_flake_once_the_atom_passes_again_on_the_same_slave() {
    let mut ground = Ground::of(&[("a", 1), ("b", 1), ("c", 1)], 3, |_| {});
    ground.named = vec![(2, trials(100, 0))];
    // It ran on the other slave, so that only the second pass here tells that it bears to run twice.
    for (end, expected) in [
        (Passed, HuntTrial::Passed),
        (Passed, HuntTrial::Passed),
        (Failed, HuntTrial::Failed),
    ] {
        let hunt = ground.begins(&[(1, 3)])[0];
        assert_eq!(ground.ends(hunt, end), Some(expected));
    }
    assert_eq!(build(&ground.farm).hunted.trials(), (0, 0));
    // Not on the other one, which is idle, too.
    let last = ground.begins(&[(1, 3)])[0];
    assert_eq!(ground.ends(last, Passed), Some(HuntTrial::Flaked));
    // One of a build is enough.
    ground.begins(&[]);
    assert_eq!(build(&ground.farm).hunted.trials(), (3, 1));
    // Also for the next life of the master.
    ground.hunts = Hunts::new(true);
    ground.begins(&[]);
}

#[test]
fn an_atom_that_does_not_bear_to_run_twice_makes_no_flake() {
    // It has passed there in the build; where it passes in the hunt, too, it goes on to fail.
    for ends in [&[Failed][..], &[Passed, Failed, Failed, Failed]] {
        let mut ground = Ground::of(&[("a", 1), ("b", 1)], 2, |_| {});
        for end in ends {
            let hunt = ground.begins(&[(1, 2)])[0];
            ground.ends(hunt, *end);
        }
        ground.begins(&[]);
        assert_eq!(build(&ground.farm).hunted.trials(), (0, 0));
        assert_eq!(
            build(&ground.farm).hunted.of(SubjobId(1)),
            HuntTrials::default()
        );
        assert_eq!(ground.farm.replayed(), ground.farm.cluster);
        ground.hunts = Hunts::new(true);
        ground.begins(&[]);
    }
}

#[test]
fn a_failure_after_a_hunt_that_was_ended_is_no_flake() {
    let mut ground = Ground::of(&[("a", 1), ("b", 1)], 2, |_| {});
    let hunt = ground.begins(&[(1, 2)])[0];
    ground.ends(hunt, Passed);
    let hunt = ground.begins(&[(1, 2)])[0];
    // Perhaps it leaves a lock.
    ground.ends(hunt, Dropped);
    ground.now = Timestamp(2_000);
    let hunt = ground.begins(&[(1, 2)])[0];
    assert_eq!(ground.ends(hunt, Failed), Some(HuntTrial::Failed));
    ground.begins(&[]);
    assert_eq!(build(&ground.farm).hunted.trials(), (0, 0));
}

#[test]
fn what_comes_to_no_end_is_tried_three_times_with_pauses() {
    let mut ground = Ground::of(&[("a", 1), ("b", 1)], 2, |_| {});
    for round in 1..=3 {
        let hunt = ground.begins(&[(1, 2)])[0];
        assert_eq!(ground.ends(hunt, Dropped), None);
        ground.begins(&[]);
        ground.now = Timestamp(round * 2_000);
    }
    ground.begins(&[]);
}

#[test]
fn beside_its_atoms_a_build_is_hunted_only_where_its_job_says_so() {
    for (says, expected) in [(None, &[][..]), (Some(true), &[(1, 1)])] {
        let mut ground = Ground::of(&[("a", 2)], 2, |plan| plan.hunt_flakes = says);
        ground.begins(expected);
    }
}

#[test]
fn builds_in_containers_are_not_hunted() {
    let ground = Ground::of(&[("a", 1), ("b", 1)], 2, |_| {});
    let mut build = build(&ground.farm).clone();
    assert!(ground.hunts.are_for(&build));
    build.plan.as_mut().unwrap().image = Some("debian:12".to_owned());
    assert!(!ground.hunts.are_for(&build));
}

#[test]
fn of_very_many_atoms_those_that_are_suspicious_or_ran_least_are_hunted() {
    let mut ground = Ground::of(&[("a", 1), ("b", 1)], 1_003, |_| {});
    ground.usual = trials(1, 0);
    ground.named = vec![(1_001, trials(60, 1)), (1_002, trials(0, 0))];
    let hunt = ground.begins(&[(1_001, 2)])[0];
    ground.hunts.refused(hunt, false, ground.now);
    ground.named.remove(0);
    ground.now = Timestamp(2_000);
    ground.hunts = Hunts::new(true);
    ground.begins(&[(1_002, 2)]);
}

#[test]
fn suspicious_atoms_go_first_and_those_that_are_known_are_left_alone() {
    let mut ground = Ground::of(&[("a", 1), ("b", 1)], 6, |_| {});
    ground.named = vec![
        (1, trials(100, 0)),
        (2, trials(40, 0)),
        (3, trials(60, 1)),
        (4, trials(60, 2)),
        (5, trials(900, 1)),
    ];
    // Not the stable one, the flaky one, and the one that another flake would not mark.
    for _ in 0..20 {
        let hunt = ground.begins(&[(3, 2)])[0];
        ground.ends(hunt, Passed);
    }
    for _ in 0..5 {
        let hunt = ground.begins(&[(2, 2)])[0];
        ground.ends(hunt, Passed);
    }
    ground.begins(&[]);
}

#[test]
fn hunts_give_way_to_another_build() {
    let mut ground = Ground::of(&[("a", 1), ("b", 2)], 4, |_| {});
    ground.begins(&[(1, 2), (2, 2)]);
    ground.farm.queue("q");
    // It has nothing to run yet.
    ground.begins(&[]);
    ground.farm.prepared(2, plan(&["B"]));
    // It is being set up.
    ground.gives_way(2);
    ground.farm.set_up(2, 2);
    // It has one executor of two.
    ground.begins(&[(1, 2)]);
    ground.farm.finish(hand_out(2, 2, 0, 1));
    ground.begins(&[(2, 2)]);
}

#[test]
fn nothing_is_hunted_before_all_of_a_build_runs() {
    let mut farm = building_with(&[("a", 1), ("b", 1)], &["A", "B", "C"], |plan| {
        plan.retries = 1;
    });
    farm.finish(hand_out(2, 1, 1, 1));
    let mut ground = Ground::with(farm);
    ground.begins(&[]);
    ground.farm.finish(hand_out(2, 1, 2, 1));
    ground.begins(&[(1, 2)]);
    // It runs again where it has not failed: the two change places.
    ground.farm.tell(finished(hand_out(1, 1, 0, 1), &[1]));
    let look = ground.look();
    let slave = |hunts: &[(HuntId, Hunt)]| hunts.iter().map(|(_, hunt)| hunt.slave.0).collect();
    let [ended, begun]: [Vec<u64>; 2] = [slave(&look.ended), slave(&look.begun)];
    assert_eq!((ended, begun), (vec![2], vec![1]));
}

/// A build that is over, and one of whose atoms is hunted on slave 2.
fn after_the_end() -> (Ground, HuntId) {
    let mut ground = Ground::of(&[("a", 1), ("b", 1)], 3, |_| {});
    let hunt = ground.begins(&[(1, 2)])[0];
    ground.farm.finish(hand_out(1, 1, 0, 1));
    ground.begins(&[(0, 1)]);
    // No slave is told to tear it down.
    ground.farm.archived(1).check_facts(&["1 finished"]);
    ground.begins(&[]);
    (ground, hunt)
}

#[test]
fn hunts_go_on_after_the_end_until_nothing_is_to_be_found() {
    let (mut ground, hunt) = after_the_end();
    ground.ends(hunt, Passed);
    assert_eq!(build(&ground.farm).hunted.trials(), (1, 0));
    ground.begins(&[(2, 2)]);
    ground.hunts = Hunts::new(true);
    // The next life of the master learns that all is known by now.
    ground.usual = trials(100, 0);
    assert!(ground.look().begun.is_empty());
    let facts = ground.farm.wait(Duration::from_secs(1));
    facts.check_facts(&[]);
    assert!(!build(&ground.farm).hunted.goes_on);
}

#[test]
fn the_next_build_waits_for_no_hunt() {
    let (mut ground, _) = after_the_end();
    ground.farm.queue("q").check_facts(&[
        "2 queued",
        "2 preparing",
        "1 off slave 1",
        "1 off slave 2",
    ]);
    ground.gives_way(2);
}

#[test]
fn hunts_end_a_while_after_the_end() {
    let (mut ground, _) = after_the_end();
    ground
        .farm
        .wait(HUNT_AFTER_END - Duration::from_secs(1))
        .check_nothing();
    let mut set_back = after_the_end().0;
    set_back.farm.set_clock(1);
    set_back
        .farm
        .wait(Duration::ZERO)
        .check_facts(&["1 off slave 1", "1 off slave 2"]);
    let ended = ground.farm.wait(Duration::from_secs(1));
    ended.check_facts(&["1 off slave 1", "1 off slave 2"]);
    ground.gives_way(2);
    for slave in [1, 2] {
        ground.farm.torn_down(slave, 1);
    }
    let runs = vec![HuntedRun {
        subjob: SubjobId(1),
        trial: Some(HuntTrial::Passed),
        ms: 1,
    }];
    let build = BuildId(1);
    ground
        .farm
        .tell(Command::ReportHunted { build, runs })
        .check_nothing();
    assert_eq!(ground.farm.cluster.retirable().count(), 1);
}

#[test]
fn drained_slaves_and_lost_ones_do_not_hunt() {
    let mut ground = Ground::of(&[("a", 1), ("b", 1)], 3, |_| {});
    ground.begins(&[(1, 2)]);
    ground.farm.drain(2);
    ground.gives_way(1);

    let mut ground = Ground::of(&[("a", 1), ("b", 1), ("c", 1)], 3, |_| {});
    ground.begins(&[(1, 3), (2, 2)]);
    ground.farm.die(3);
    // Perhaps what ran there twice has killed it: all of the build is left alone.
    let look = ground.look();
    assert_eq!((look.begun.len(), look.ended.len()), (0, 1));
}

#[test]
fn slaves_of_the_original_are_asked_for_no_hunt() {
    let mut ground = Ground::of(&[("a", 1), ("b", 1)], 3, |_| {});
    let hunt = ground.begins(&[(1, 2)])[0];
    let mut with_an_original = ground.farm.cluster.clone();
    let slave = with_an_original.slaves.get_mut(&SlaveId(2)).unwrap();
    slave.is_legacy = true;
    let look = ground.hunts.look(&with_an_original, ground.now);
    assert!(look.begun.is_empty());
    let ended: Vec<HuntId> = look.ended.iter().map(|(id, _)| *id).collect();
    assert_eq!(ended, [hunt]);
}

#[test]
fn a_slave_that_takes_none_is_left_alone_for_a_while_and_one_that_can_not_for_good() {
    let mut ground = Ground::of(&[("a", 1), ("b", 1), ("c", 1)], 3, |_| {});
    ground.named = vec![(2, trials(100, 0))];
    let hunt = ground.begins(&[(1, 3)])[0];
    ground.hunts.refused(hunt, true, Timestamp(1));
    let hunt = ground.begins(&[(1, 2)])[0];
    ground.hunts.refused(hunt, false, Timestamp(1));
    ground.begins(&[]);
    let later = ground.hunts.look(&ground.farm.cluster, Timestamp(2_000));
    let slaves: Vec<_> = later.begun.iter().map(|(_, hunt)| hunt.slave.0).collect();
    assert_eq!(slaves, [2]);
}

#[test]
fn a_build_has_no_more_executors_with_its_hunts_than_it_may() {
    let limited = |plan: &mut Plan| plan.max_executors = NonZeroU32::new(2);
    let mut ground = Ground::of(&[("a", 1), ("b", 1), ("c", 1)], 3, limited);
    assert_eq!(ground.begins(&[(1, 3)]).len(), 1);
    let limited = |plan: &mut Plan| {
        plan.max_executors_per_slave = NonZeroU32::new(2);
        plan.hunt_flakes = Some(true);
    };
    let mut ground = Ground::of(&[("a", 4)], 4, limited);
    assert_eq!(ground.begins(&[(1, 1)]).len(), 1);
}

#[test]
fn a_job_says_for_itself_whether_it_is_hunted() {
    let mut ground = Ground::of(&[("a", 1), ("b", 1)], 2, |plan| {
        plan.hunt_flakes = Some(false);
    });
    ground.begins(&[]);
    let mut ground = Ground::of(&[("a", 1), ("b", 1)], 2, |plan| {
        plan.hunt_flakes = Some(true);
    });
    ground.hunts = Hunts::new(false);
    ground.begins(&[(1, 2)]);
    let mut ground = Ground::of(&[("a", 1), ("b", 1)], 2, |_| {});
    ground.hunts = Hunts::new(false);
    ground.begins(&[]);
}

#[test]
fn what_is_found_too_late_changes_nothing() {
    let mut ground = Ground::of(&[("a", 1), ("b", 1)], 2, |_| {});
    ground.begins(&[(1, 2)]);
    ground.farm.cancel(1);
    let runs = vec![HuntedRun {
        subjob: SubjobId(1),
        trial: Some(HuntTrial::Flaked),
        ms: 1,
    }];
    for build in [1, 9].map(BuildId) {
        let runs = runs.clone();
        let report = Command::ReportHunted { build, runs };
        ground.farm.tell(report).check_nothing();
    }
}
