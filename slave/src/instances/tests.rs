use super::*;

const FIRST: InstanceId = InstanceId(1);

fn at(id: u64, generation: u32) -> Placement {
    Placement {
        id: InstanceId(id),
        generation: Generation(generation),
    }
}

fn wanted(placements: &[Placement]) -> BTreeMap<InstanceId, Wanted> {
    all_wanted(placements, false)
}

fn runs(placements: &[Placement]) -> BTreeMap<InstanceId, Wanted> {
    all_wanted(placements, true)
}

fn all_wanted(placements: &[Placement], is_run: bool) -> BTreeMap<InstanceId, Wanted> {
    let wanted = |placement: &Placement| Wanted {
        generation: placement.generation,
        is_run,
    };
    let pairs = placements.iter();
    pairs
        .map(|placement| (placement.id, wanted(placement)))
        .collect()
}

fn up() -> ReportedState {
    ReportedState::Up {
        port: 1,
        keeps_prefix: false,
    }
}

fn standing(instances: &Instances, id: InstanceId) -> Option<ReportedState> {
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
    assert_eq!(
        standing(&instances, InstanceId(2)),
        Some(ReportedState::Ended)
    );
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
    assert_eq!(standing(&instances, FIRST), Some(ReportedState::Starting));
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
        Some(ReportedState::Failed { reason }),
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
        Some(ReportedState::Failed { .. })
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
    assert_eq!(standing(&instances, FIRST), Some(ReportedState::Ended));
}

#[test]
fn a_run_is_begun_once_whatever_becomes_of_it() {
    let ends = [
        Gone::Lost("killed".to_owned()),
        Gone::Ended,
        Gone::Failed("no program".to_owned()),
        Gone::Exited {
            code: 3,
            printed: 7,
        },
    ];
    for end in ends {
        let mut instances = Instances::default();
        let acts = instances.order(runs(&[at(1, 1)]));
        assert_eq!(acts, [Act::Start(at(1, 1))]);
        assert_eq!(instances.is_gone(at(1, 1), end.clone()), []);
        assert_eq!(instances.order(runs(&[at(1, 1)])), []);
        let stands = standing(&instances, FIRST).unwrap();
        match end {
            Gone::Exited { code, printed } => {
                assert_eq!(stands, ReportedState::Exited { code, printed });
            }
            _ => assert!(matches!(stands, ReportedState::Failed { .. }), "{stands:?}"),
        }
        let over = instances.over();
        assert_eq!(instances.was_told(&over), [], "it is wanted still");
        instances.order(runs(&[]));
        assert_eq!(instances.was_told(&over), [at(1, 1)]);
    }
}

#[test]
fn a_run_of_an_earlier_life_is_not_begun_again() {
    let exited = ReportedState::Exited {
        code: 0,
        printed: 1,
    };
    let mut instances = Instances::default();
    instances.recall(at(1, 1), exited.clone());
    // It ends before the first order says what it is.
    instances.adopt(at(2, 1));
    assert_eq!(instances.is_gone(at(2, 1), Gone::Ended), []);
    let over = instances.over();
    assert_eq!(
        instances.was_told(&over),
        [],
        "nobody knows what is wanted yet"
    );
    assert_eq!(instances.order(runs(&[at(1, 1), at(2, 1)])), []);
    assert_eq!(standing(&instances, FIRST), Some(exited));
    assert!(matches!(
        standing(&instances, InstanceId(2)),
        Some(ReportedState::Failed { .. })
    ));
}
