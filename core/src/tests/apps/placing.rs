//! Which slaves run the instances of apps.

use super::super::scenario::Scenario;
use super::{build, configure, scale};
use crate::actor::Actor;
use crate::command::Command;
use crate::instances::placing::Wait;
use crate::instances::reported::ReportedInstances;
use clusterrunner_common::ids::{InstanceId, SlaveId};
use serde_json::json;

fn slaves_of(farm: &Scenario, ids: &[u64]) -> Vec<u64> {
    let slave = |id: &u64| farm.one(*id).slave.map_or(0, |slave| slave.0);
    ids.iter().map(slave).collect()
}

fn wait_of(farm: &Scenario, id: u64) -> Option<Wait> {
    farm.cluster
        .waits_for(farm.cluster.instance(InstanceId(id)).unwrap())
}

#[test]
fn an_app_is_spread_over_slaves_before_they_are_filled_evenly() {
    let mut farm = Scenario::with_app(&[("a:1", 2), ("b:1", 16)]);
    farm.order(build("app", &["web"]));
    // Another app's, and so fuller, but without any of this one.
    farm.order(scale(&[("web", 4)]));
    assert_eq!(slaves_of(&farm, &[1, 2, 3, 4]), [3, 2, 3, 2]);
    // Those that end do not count: each successor may stay where its predecessor was.
    let mut farm = Scenario::with_app(&[("a:1", 4), ("b:1", 4)]);
    farm.order(build("app", &["web"]));
    farm.order(scale(&[("web", 2)]));
    farm.comes_up(2);
    farm.comes_up(3);
    farm.order(configure(json!({})));
    let mut successors = slaves_of(&farm, &[3, 4]);
    successors.sort_unstable();
    assert_eq!(successors, [2, 3]);
}

#[test]
fn tags_are_labels_of_slaves() {
    let mut farm = Scenario::with_app(&[("a:1", 4)]);
    farm.connect_labelled("b:1", 1, &["rack=1", "disk=ssd"]);
    farm.hosts(3, 4);
    farm.order(configure(json!({"tags": {"rack": "1", "disk": "ssd"}})));
    farm.order(build("app", &[]));
    assert_eq!(slaves_of(&farm, &[1]), [3]);
    farm.comes_up(3);
    farm.order(configure(json!({"tags": {"rack": "2"}})));
    assert_eq!(wait_of(&farm, 2), Some(Wait::NoTags));
    assert_eq!(farm.listed(), ["web.1 v3 up", "web.1 v4 initialized"]);
    // As soon as there is one it goes on.
    farm.connect_labelled("c:1", 1, &["rack=2", "disk=ssd"]);
    farm.hosts(4, 4);
    assert_eq!(slaves_of(&farm, &[2]), [4]);
    assert_eq!(wait_of(&farm, 2), None);
}

#[test]
fn an_image_waits_for_a_container_runtime() {
    let mut farm = Scenario::with_app(&[("a:1", 4)]);
    farm.order(build("busybox", &[]));
    assert_eq!(wait_of(&farm, 1), Some(Wait::NoContainerRuntime));
    // What comes after it does not wait behind it.
    farm.order(build("app", &[]));
    assert_eq!(slaves_of(&farm, &[2]), [2]);
    farm.order(build("busybox", &[]));
    let session = farm.session(2);
    let report = ReportedInstances {
        max_instances: 4,
        runs_images: true,
        ..ReportedInstances::default()
    };
    let slave = SlaveId(2);
    farm.tell(Command::ReportInstances {
        slave,
        session,
        report,
    });
    assert_eq!(slaves_of(&farm, &[3]), [2]);
}

#[test]
fn what_waits_says_why() {
    let mut farm = Scenario::with_app(&[("a:1", 1)]);
    farm.order(build("app", &["web"]));
    farm.order(scale(&[("web", 2)]));
    assert_eq!(wait_of(&farm, 2), Some(Wait::NoSlot));
    farm.drain(2);
    assert_eq!(wait_of(&farm, 2), Some(Wait::NoSlave));
    let by = Actor::SecretHolder;
    let instance = InstanceId(1);
    farm.undrain(2);
    farm.tell(Command::StopInstance { by, instance });
    assert_eq!(slaves_of(&farm, &[2]), [2]);
}

#[test]
fn a_successor_needs_no_slot_beside_the_one_that_it_follows() {
    let mut farm = Scenario::with_app(&[("a:1", 1), ("b:1", 1)]);
    farm.order(build("app", &["web"]));
    farm.order(scale(&[("cmd", 0), ("web", 2)]));
    farm.comes_up(2);
    farm.comes_up(3);
    farm.order(configure(json!({"values": {"A": 1}})));
    let placed = |farm: &Scenario, slave| {
        let those = farm.cluster.instances_on(SlaveId(slave));
        those.filter(|instance| !instance.is_over()).count()
    };
    assert_eq!((placed(&farm, 2), placed(&farm, 3)), (2, 2));
    // One that follows nothing waits.
    farm.order(scale(&[("web", 3)]));
    let waiting: Vec<_> = farm.cluster.waiting_instances().collect();
    assert_eq!(waiting.len(), 1, "{:?}", farm.listed());
    assert_eq!(wait_of(&farm, waiting[0].0), Some(Wait::NoSlot));
}
