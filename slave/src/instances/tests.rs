use super::*;

const FIRST: InstanceId = InstanceId(1);

fn at(id: u64, generation: u32) -> Placement {
    Placement {
        id: InstanceId(id),
        generation: Generation(generation),
    }
}

fn wanted(placements: &[Placement]) -> BTreeMap<InstanceId, Generation> {
    let pairs = placements.iter();
    pairs
        .map(|placement| (placement.id, placement.generation))
        .collect()
}

fn up() -> Standing {
    Standing::Up {
        port: 1,
        keeps_prefix: false,
    }
}

fn standing(instances: &Instances, id: InstanceId) -> Option<Standing> {
    let mut all = instances.all();
    all.find(|(other, _)| *other == id)
        .map(|(_, instance)| instance.standing.clone())
}

#[test]
fn an_order_starts_what_is_missing_and_ends_what_is_not_named() {
    let mut instances = Instances::default();
    let both = [at(1, 1), at(2, 1)];
    let acts = instances.order(wanted(&both));
    assert_eq!(acts, [Act::Start(at(1, 1)), Act::Start(at(2, 1))]);
    assert_eq!(instances.order(wanted(&both)), [], "it may be repeated");
    assert!(instances.stands(at(1, 1), up(), 0));
    assert!(!instances.stands(at(1, 1), up(), 0), "no news");
    let acts = instances.order(wanted(&[at(1, 1)]));
    assert_eq!(acts, [Act::End(at(2, 1))]);
    assert_eq!(instances.order(wanted(&[at(1, 1)])), []);
    assert_eq!(instances.is_gone(at(2, 1), Gone::Ended), []);
    assert_eq!(standing(&instances, InstanceId(2)), Some(Standing::Ended));
    let over = instances.over();
    instances.was_told(&over);
    assert_eq!(standing(&instances, InstanceId(2)), None);
    assert_eq!(standing(&instances, FIRST), Some(up()));
}

#[test]
fn a_new_placement_waits_for_the_end_of_the_old_one() {
    let mut instances = Instances::default();
    instances.order(wanted(&[at(1, 1)]));
    let acts = instances.order(wanted(&[at(1, 2)]));
    assert_eq!(acts, [Act::End(at(1, 1))]);
    // Another order comes meanwhile.
    assert_eq!(instances.order(wanted(&[at(1, 3)])), []);
    assert!(!instances.stands(at(1, 3), up(), 0), "it does not run yet");
    let acts = instances.is_gone(at(1, 1), Gone::Lost("killed".to_owned()));
    assert_eq!(acts, [Act::Start(at(1, 3))]);
    assert_eq!(
        instances.is_gone(at(1, 1), Gone::Ended),
        [],
        "it is told twice"
    );
    assert_eq!(standing(&instances, FIRST), Some(Standing::Starting));
}

#[test]
fn what_is_adopted_goes_on_until_an_order_says_otherwise() {
    let mut instances = Instances::default();
    instances.adopt(at(1, 4));
    instances.adopt(at(2, 1));
    assert!(instances.stands(at(1, 4), up(), 2));
    let acts = instances.order(wanted(&[at(1, 4)]));
    assert_eq!(acts, [Act::End(at(2, 1))]);
    assert_eq!(standing(&instances, FIRST), Some(up()));
}

#[test]
fn what_failed_is_not_begun_again_under_the_same_placement() {
    let mut instances = Instances::default();
    instances.order(wanted(&[at(1, 1)]));
    let failed = Gone::Failed("no such command".to_owned());
    assert_eq!(instances.is_gone(at(1, 1), failed), []);
    assert_eq!(instances.order(wanted(&[at(1, 1)])), []);
    instances.was_told(&instances.over());
    let reason = "no such command".to_owned();
    assert_eq!(
        standing(&instances, FIRST),
        Some(Standing::Failed { reason }),
        "it is told until nobody wants it"
    );
    let acts = instances.order(wanted(&[at(1, 2)]));
    assert_eq!(acts, [Act::Start(at(1, 2))]);
}

#[test]
fn an_instance_whose_keeper_is_killed_is_begun_again_a_few_times() {
    let mut instances = Instances::default();
    instances.order(wanted(&[at(1, 1)]));
    let lost = || Gone::Lost("killed".to_owned());
    for _ in 0..MOST_LOSSES {
        assert_eq!(instances.is_gone(at(1, 1), lost()), [Act::Start(at(1, 1))]);
    }
    assert_eq!(instances.restarts(FIRST), MOST_LOSSES);
    assert_eq!(instances.is_gone(at(1, 1), lost()), []);
    assert!(matches!(
        standing(&instances, FIRST),
        Some(Standing::Failed { .. })
    ));
}

#[test]
fn the_end_of_the_slave_ends_all() {
    let mut instances = Instances::default();
    instances.adopt(at(2, 1));
    instances.order(wanted(&[at(1, 1), at(2, 1)]));
    let acts = instances.end_all();
    assert_eq!(acts, [Act::End(at(1, 1)), Act::End(at(2, 1))]);
    assert!(!instances.is_at_rest());
    instances.is_gone(at(1, 1), Gone::Failed("too late".to_owned()));
    instances.is_gone(at(2, 1), Gone::Ended);
    assert!(instances.is_at_rest());
    assert_eq!(standing(&instances, FIRST), Some(Standing::Ended));
}
