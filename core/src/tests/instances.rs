//! Instances: where they are placed, what slaves say of them, and how they end.

use super::scenario::{Scenario, Turn};
use super::templates::content;
use crate::actor::Actor;
use crate::command::Command;
use crate::instances::instance::{InstanceRefusal, InstanceState, NewInstance};
use crate::instances::placing::Wait;
use crate::instances::reported::{ReportedInstance, ReportedInstances};
use crate::templates::bounds::TemplateBounds;
use crate::templates::refusal::TemplateRefusal;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Generation, Incarnation, InstanceId, SlaveId};
use clusterrunner_common::templates::Form;
use clusterrunner_common::work::ReportedState;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) const UP: ReportedState = ReportedState::Up {
    port: 8000,
    keeps_prefix: false,
};

pub(super) fn crashed() -> ReportedState {
    ReportedState::Crashed {
        reason: "exit code 1".to_owned(),
    }
}

pub(super) fn launch(number: u64, template: &str) -> Command {
    Command::Launch {
        by: Actor::Binder,
        launch: Box::new(NewInstance {
            key: format!("{number:032x}"),
            template: template.to_owned(),
            cull_after_ms: Some(1000),
            ..NewInstance::default()
        }),
    }
}

impl Scenario {
    /// A farm of slaves with one executor each and so many slots, and a template `app`.
    fn hosting(slots: &[(&str, u32)]) -> Self {
        let mut farm = Self::with_slaves(&[("maker:1", 1)]);
        farm.make_template("source", "app", content('a', Form::Workspace));
        farm.make_template("source", "image", content('b', Form::Image));
        for (number, (url, max_instances)) in (2..).zip(slots) {
            farm.connect(url, "life 1", 1);
            farm.hosts(number, *max_instances);
        }
        farm
    }

    /// The first report of a slave that has nothing.
    pub(super) fn hosts(&mut self, slave: u64, max_instances: u32) -> Turn {
        self.say(slave, max_instances, &[])
    }

    /// A report of a slave: instance, generation, restarts, state.
    pub(super) fn say(
        &mut self,
        slave: u64,
        max_instances: u32,
        said: &[(u64, u32, u32, ReportedState)],
    ) -> Turn {
        let session = self.session(slave);
        let instances = said
            .iter()
            .map(|(id, generation, restarts, state)| ReportedInstance {
                id: InstanceId(*id),
                generation: Generation(*generation),
                state: state.clone(),
                restarts: *restarts,
            });
        self.tell(Command::ReportInstances {
            slave: SlaveId(slave),
            session,
            report: ReportedInstances {
                max_instances,
                runs_images: false,
                instances: instances.collect(),
                snapshots: BTreeSet::new(),
            },
        })
    }

    pub(super) fn stop(&mut self, instance: u64) -> Turn {
        self.tell(Command::StopInstance {
            by: Actor::Binder,
            instance: InstanceId(instance),
        })
    }

    fn stands(&self, instance: u64) -> InstanceState {
        self.cluster.instance(InstanceId(instance)).unwrap().state
    }
}

#[test]
fn an_instance_is_launched_comes_up_and_is_stopped() {
    let mut farm = Scenario::hosting(&[("a:1", 2)]);
    farm.tell(launch(7, "app")).check(
        &[
            "instance 1 launched: app, template 1",
            "instance 1 to slave 2, generation 1",
        ],
        &["slave 2: run [1@1]"],
    );
    farm.tell(launch(7, "app")).check_nothing();
    farm.say(2, 2, &[(1, 1, 0, ReportedState::Starting)])
        .check_nothing();
    farm.say(2, 2, &[(1, 1, 0, UP)])
        .check(&["instance 1 up at port 8000, restarts: 0"], &[]);
    farm.say(2, 2, &[(1, 1, 0, UP)]).check_nothing();
    farm.stop(1)
        .check(&["instance 1 stopped"], &["slave 2: run []"]);
    farm.stop(1).check_nothing();
    // What comes late changes nothing.
    farm.say(2, 2, &[(1, 1, 0, crashed())]).check_nothing();
    let unknown = InstanceRefusal::Unknown(InstanceId(9));
    let stop = Command::StopInstance {
        by: Actor::Binder,
        instance: InstanceId(9),
    };
    farm.check_refused(stop, &unknown.into());
    let name = "none".to_owned();
    let unknown = TemplateRefusal::UnknownTemplate { name };
    farm.check_refused(launch(8, "none"), &unknown.into());
    farm.check_snapshots();
}

#[test]
fn an_instance_only_goes_forward_under_one_placement() {
    let mut farm = Scenario::hosting(&[("a:1", 2)]);
    farm.tell(launch(1, "app"));
    farm.say(2, 2, &[(1, 1, 1, UP)]);
    farm.say(2, 2, &[(1, 1, 0, crashed())]).check_nothing();
    farm.say(2, 2, &[(1, 1, 1, crashed())])
        .check_facts(&["instance 1 crashed, restarts: 1: exit code 1"]);
    farm.say(2, 2, &[(1, 1, 1, UP)]).check_nothing();
    farm.say(2, 2, &[(1, 1, 2, ReportedState::Starting)])
        .check_nothing();
    farm.say(2, 2, &[(1, 1, 2, UP)])
        .check_facts(&["instance 1 up at port 8000, restarts: 2"]);
    let reason = "it never listens".to_owned();
    farm.say(2, 2, &[(1, 1, 2, ReportedState::Failed { reason })])
        .check(
            &["instance 1 failed: it never listens"],
            &["slave 2: run []"],
        );
    assert_eq!(farm.stands(1), InstanceState::Error);
}

#[test]
fn slaves_are_filled_evenly_and_what_finds_no_slot_waits() {
    let mut farm = Scenario::hosting(&[("a:1", 1), ("b:1", 2)]);
    for number in 1..=3 {
        farm.tell(launch(number, "app"));
    }
    let on = |farm: &Scenario, slave| farm.cluster.instances_on(SlaveId(slave)).count();
    assert_eq!([on(&farm, 2), on(&farm, 3)], [1, 2]);
    farm.tell(launch(4, "app"))
        .check_facts(&["instance 4 launched: app, template 1"]);
    let waits = |farm: &Scenario, id| {
        let instance = farm.cluster.instance(InstanceId(id)).unwrap();
        farm.cluster.waits_for(instance)
    };
    assert_eq!(waits(&farm, 4), Some(Wait::NoSlot));
    assert_eq!(waits(&farm, 1), None);
    farm.tell(launch(5, "image"));
    assert_eq!(waits(&farm, 5), Some(Wait::NoContainerRuntime));
    farm.stop(1).check(
        &["instance 1 stopped", "instance 4 to slave 3, generation 1"],
        &["slave 3: run [3@1]", "slave 3: run [3@1, 4@1]"],
    );
    farm.drain(3);
    farm.stop(4).check_facts(&["instance 4 stopped"]);
    farm.tell(launch(6, "app"));
    assert_eq!(waits(&farm, 6), Some(Wait::NoSlot));
}

#[test]
fn what_ran_on_a_lost_slave_runs_elsewhere_and_the_old_copy_is_ended() {
    let mut farm = Scenario::hosting(&[("a:1", 1), ("b:1", 1)]);
    farm.tell(launch(1, "app"));
    farm.say(2, 1, &[(1, 1, 0, UP)]);
    farm.die(2).check(
        &[
            "slave 2 lost: silent",
            "instance 1 off slave 2: slave a:1 was lost: silent",
            "instance 1 to slave 3, generation 2",
        ],
        &["close slave 2", "slave 3: run [1@2]"],
    );
    farm.connect("a:1", "life 1", 1);
    // It still runs the old copy, which is not among what it is to run.
    farm.say(4, 1, &[(1, 1, 0, UP)])
        .check(&["slave 4 runs up to 1 instances"], &["slave 4: run []"]);
    assert_eq!(farm.stands(1), InstanceState::Created);
}

#[test]
fn a_slave_that_starts_again_keeps_what_it_still_runs() {
    let mut farm = Scenario::hosting(&[("a:1", 2), ("b:1", 2)]);
    farm.tell(launch(1, "app"));
    farm.tell(launch(2, "app"));
    farm.tell(launch(3, "app"));
    assert_eq!(farm.cluster.instances_on(SlaveId(2)).count(), 2);
    farm.say(2, 2, &[(1, 1, 3, UP), (3, 1, 0, UP)]);
    // Nothing is placed elsewhere before it has said what it has.
    farm.connect("a:1", "life 2", 1).check_facts(&[
        "slave 2 lost: it was started again",
        "slave 4 connected: a:1, life 2, 1 executor",
    ]);
    farm.say(4, 2, &[(1, 1, 3, UP)]).check(
        &[
            "slave 4 runs up to 2 instances",
            "instance 1 still runs, now on slave 4",
            "instance 1 up at port 8000, restarts: 3",
            "instance 3 off slave 2: slave a:1 was lost: it was started again",
            "instance 3 to slave 3, generation 2",
        ],
        &[
            "slave 4: run []",
            "slave 4: run [1@1]",
            "slave 3: run [2@1, 3@2]",
        ],
    );
    farm.check_snapshots();
}

#[test]
fn a_slave_that_is_met_before_it_connects_again_keeps_what_it_still_runs() {
    let mut farm = Scenario::hosting(&[("a:1", 1), ("b:1", 1)]);
    farm.tell(launch(1, "app"));
    farm.starts_again(2)
        .check_facts(&["slave 2 lost: it was started again"]);
    farm.wait(Duration::from_secs(59)).check_nothing();
    farm.connect("a:1", "life 2", 1)
        .check_facts(&["slave 4 connected: a:1, life 2, 1 executor"]);
    farm.say(4, 1, &[(1, 1, 0, UP)]).check_facts(&[
        "slave 4 runs up to 1 instances",
        "instance 1 still runs, now on slave 4",
        "instance 1 up at port 8000, restarts: 0",
    ]);
    farm.check_snapshots();
}

#[test]
fn a_slave_that_is_met_and_never_connects_is_not_waited_for_for_ever() {
    let mut farm = Scenario::hosting(&[("a:1", 1), ("b:1", 1)]);
    farm.tell(launch(1, "app"));
    farm.starts_again(2);
    farm.wait(Duration::from_secs(61)).check_facts(&[
        "instance 1 off slave 2: slave a:1 was lost: it was started again",
        "instance 1 to slave 3, generation 2",
    ]);
}

#[test]
fn a_report_that_never_comes_is_not_waited_for_for_ever() {
    let mut farm = Scenario::hosting(&[("a:1", 1), ("b:1", 1)]);
    farm.tell(launch(1, "app"));
    farm.connect("a:1", "life 2", 1);
    farm.wait(Duration::from_secs(59)).check_nothing();
    farm.wait(Duration::from_secs(2)).check_facts(&[
        "instance 1 off slave 2: slave a:1 was lost: it was started again",
        "instance 1 to slave 3, generation 2",
    ]);
}

#[test]
fn a_slave_that_shuts_down_gives_its_instances_away() {
    let mut farm = Scenario::hosting(&[("a:1", 1), ("b:1", 1)]);
    farm.tell(launch(1, "app"));
    let turn = farm.shut_down(&[2]);
    turn.check_facts(&[
        "slave 2 to shut down",
        "instance 1 off slave 2: slave a:1 shuts down",
        "instance 1 to slave 3, generation 3",
        "slave 2 to end",
    ]);
}

#[test]
fn what_nobody_asks_for_is_culled() {
    let mut farm = Scenario::hosting(&[("a:1", 3)]);
    farm.tell(launch(1, "app"));
    farm.tell(launch(2, "app"));
    farm.say(2, 3, &[(1, 1, 0, UP), (2, 1, 0, UP)]);
    farm.wait(Duration::from_secs(2));
    let cull = |since, active: &[(u64, u64)]| Command::CullInstances {
        since: Timestamp(since),
        active: active
            .iter()
            .map(|(id, at)| (InstanceId(*id), Timestamp(*at)))
            .collect::<BTreeMap<_, _>>(),
    };
    // A master that has just started does not know who asked.
    farm.tell(cull(1500, &[])).check_nothing();
    let turn = farm.tell(cull(0, &[(2, 1500)]));
    assert_eq!(turn.events.len(), 1);
    assert_eq!(farm.stands(1), InstanceState::Down);
    assert_eq!(farm.stands(2), InstanceState::Up);
}

#[test]
fn instances_that_are_over_are_forgotten_in_the_end_and_templates_in_use_stay() {
    let mut farm = Scenario::hosting(&[("a:1", 1)]);
    let kept = crate::instances::all_instances::OVER_KEPT as u64;
    for number in 1..=kept + 2 {
        farm.tell(launch(number, "app"));
        if number > 1 {
            farm.stop(number);
        }
    }
    farm.tell(Command::ForgetInstances)
        .check(&["instance 2 forgotten"], &["remove the log of 2"]);
    farm.tell(Command::ForgetInstances).check_nothing();
    farm.tell(launch(kept + 9, "image"));
    let bounds = TemplateBounds {
        max_number: Some(0),
        max_bytes: None,
    };
    farm.tell(Command::ForgetTemplates { bounds })
        .check_nothing();
}

#[test]
fn a_master_that_starts_says_all_orders_again() {
    let mut farm = Scenario::hosting(&[("a:1", 1), ("b:1", 1)]);
    farm.tell(launch(1, "app"));
    let turn = farm.restart();
    let orders = turn.effects.iter().map(super::texts::effect_text);
    let orders: Vec<String> = orders.filter(|text| text.contains("run")).collect();
    assert_eq!(orders, ["slave 2: run [1@1]", "slave 3: run []"]);
    let fresh = super::scenario::fresh();
    farm.begin_incarnation(fresh);
    let instance = farm.cluster.instance(InstanceId(1)).unwrap();
    assert_eq!(instance.state, InstanceState::Initialized);
    assert!(instance.generation > Generation(1000));
    farm.check_snapshots();
}

/// A journal that lost its end twice begins from the same numbers again; a slave may still run what they stood for.
#[test]
fn two_incarnations_after_the_same_loss_number_nothing_alike() {
    let numbers = |incarnation: &str| {
        let mut farm = Scenario::hosting(&[("a:1", 1)]);
        farm.tell(launch(1, "app"));
        farm.begin_incarnation(Incarnation(incarnation.to_owned()));
        farm.tell(launch(2, "app"));
        let instances = farm.cluster.instances();
        let numbers: Vec<_> = instances.map(|one| (one.id, one.generation)).collect();
        numbers
    };
    let (lost, found) = (numbers("lost"), numbers("found"));
    assert_eq!(lost[0].0, found[0].0);
    assert!(
        lost[0].1 != found[0].1 && lost[1].0 != found[1].0,
        "{lost:?}, {found:?}"
    );
}

#[test]
fn slaves_fetch_what_is_preloaded() {
    let mut farm = Scenario::hosting(&[("a:1", 1)]);
    let preload = Command::Preload {
        by: Actor::Binder,
        template: "app".to_owned(),
    };
    farm.tell(preload).check(
        &["template 1 preloaded as app"],
        &["slave 2: run [], 1 preloads"],
    );
    let template = farm.cluster.template_named("app").unwrap().clone();
    assert!(!farm.cluster.is_preloaded(&template));
    let session = farm.session(2);
    farm.tell(Command::ReportInstances {
        slave: SlaveId(2),
        session,
        report: ReportedInstances {
            max_instances: 1,
            snapshots: BTreeSet::from([template.digest().to_owned(), "f".repeat(64)]),
            ..ReportedInstances::default()
        },
    })
    .check_facts(&["slave 2 has 1 snapshots"]);
    assert!(farm.cluster.is_preloaded(&template));
}

#[test]
fn an_instance_that_no_slave_keeps_goes_to_others_first_and_waits_in_between() {
    let mut farm = Scenario::hosting(&[("a:1", 2), ("b:1", 2)]);
    farm.tell(launch(1, "app"));
    let reason = || "the disk is full".to_owned();
    let no_room = || ReportedState::NoRoom { reason: reason() };
    // The other slave is fuller, and gets it all the same.
    farm.tell(launch(2, "app"));
    farm.tell(launch(3, "app"));
    farm.stop(3);
    farm.say(2, 2, &[(1, 1, 0, no_room())]).check(
        &[
            "instance 1 off slave 2: the disk is full",
            "instance 1 to slave 3, generation 3",
        ],
        &["slave 2: run []", "slave 3: run [1@3, 2@1]"],
    );
    // A second time: it waits for a second, and a third time for two.
    for (slave, generation, pause) in [(3, 3, 1000), (2, 5, 2000), (3, 7, 4000)] {
        let other = 5 - slave;
        farm.say(slave, 2, &[(1, generation, 0, ReportedState::Ended)])
            .check_facts(&[&format!("instance 1 off slave {slave}: its slave ended it")]);
        farm.wait(Duration::from_millis(pause - 1)).check_nothing();
        let next = generation + 2;
        farm.wait(Duration::from_millis(1))
            .check_facts(&[&format!("instance 1 to slave {other}, generation {next}")]);
    }
    // Once it was up, all is forgotten.
    farm.say(2, 2, &[(1, 9, 0, UP)]);
    farm.say(2, 2, &[(1, 9, 0, ReportedState::Ended)])
        .check_facts(&[
            "instance 1 off slave 2: its slave ended it",
            "instance 1 to slave 3, generation 11",
        ]);
    farm.check_snapshots();
}
