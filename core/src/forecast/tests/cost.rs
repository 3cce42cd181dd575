//! What forecasts cost with very many atoms or builds.

use super::*;

/// A farm at work on so many builds of so many atoms each, of which a tenth have ended.
fn at_work(num_builds: u64, num_atoms: u64, num_slaves: u64) -> Cluster {
    let world = World::new(2);
    let atom = |index: u64| whole(2000.0 * normal(&[7, index]).exp());
    let lots = (0..num_atoms)
        .map(|index| Lot::single(SubjobId(u32::try_from(index).unwrap()), Some(atom(index))));
    let lots: Vec<Lot> = lots.collect();
    let mut scene = world.scene();
    let build = BuildThere {
        lots,
        ..scene.builds[&BUILD].clone()
    };
    scene.builds = (1..=num_builds)
        .map(|id| (BuildId(id), build.clone()))
        .collect();
    let slaves = (1..=num_slaves).map(SlaveId);
    scene.slaves = slaves
        .map(|id| (id, SlaveThere::new(8, BTreeSet::new())))
        .collect();
    let mut farm = Farm::new(copy::cluster_of(&scene), &Even, NOW);
    farm.start();
    let tenth = usize::try_from(num_builds * num_atoms / 10).unwrap();
    let ended = |cluster: &Cluster| {
        cluster
            .builds()
            .map(|build| build.num_finished)
            .sum::<usize>()
    };
    while ended(&farm.cluster) < tenth && farm.step() {
        for _ in 0..tenth / 100 {
            farm.step();
        }
    }
    farm.cluster
}

/// Each atom takes as long as the next one.
struct Even;

impl Times for Even {
    fn left_of_atom(&self, _: BuildId, _: SubjobId, _: SlaveId, _: u64) -> u64 {
        1_000_000
    }

    fn set_up(&self, _: BuildId, _: SlaveId) -> u64 {
        1_000
    }
}

#[test]
fn a_look_at_very_many_atoms_takes_along_no_more_than_a_bounded_number() {
    let cluster = at_work(1, 20_000, 4);
    let scene = Scene::of(&cluster, NOW, 0);
    let there = &scene.builds[&BUILD];
    let left = 20_000 - cluster.build(BUILD).unwrap().num_finished as u64;
    assert!(there.lots.len() < 1_200, "{}", there.lots.len());
    assert!(there.rest.some.len() <= 1_000 && there.ended.len() <= 1_000);
    assert_eq!(there.num_left(), left);
    let expected = |lots: &[Lot]| lots.iter().filter_map(|lot| lot.expected_ms).sum::<u64>();
    let progress = cluster.build(BUILD).unwrap().progress().unwrap();
    let waiting_ms = progress.unstarted.expected_ms();
    let bundled = scene.bundled();
    let there = &bundled.builds[&BUILD];
    assert_eq!(there.num_left(), left, "none is lost");
    assert!(there.lots.len() < 3_000, "{}", there.lots.len());
    let held = there.lots.iter().filter(|lot| lot.held.is_some()).count();
    let found = expected(&there.lots[held..]);
    let error = found.abs_diff(waiting_ms) as f64 / waiting_ms as f64;
    assert!(error < 0.01, "{found} for {waiting_ms}");
    assert!(forecast(&bundled, &BTreeMap::new()).contains_key(&BUILD));
}

#[test]
#[ignore = "takes long: the figures of docs/performance.md"]
fn what_a_forecast_costs() {
    for (num_builds, num_atoms, num_slaves) in [
        (1, 1_000, 16),
        (1, 10_000, 16),
        (1, 100_000, 16),
        (1, 100_000, 128),
        (200, 50, 16),
    ] {
        let cluster = at_work(num_builds, num_atoms, num_slaves);
        let began = std::time::Instant::now();
        let looks = (0..10).map(|_| Scene::of(&cluster, NOW, 0));
        let scene = looks.reduce(|_, latest| latest).unwrap();
        let look = began.elapsed() / 10;
        let began = std::time::Instant::now();
        let at_work = scene.builds.len();
        let found = forecast(&scene.bundled(), &BTreeMap::new());
        println!(
            "{num_builds} builds of {num_atoms} atoms on {num_slaves} slaves: look {look:?}, all else {:?}; {} foretold",
            began.elapsed(),
            found.len()
        );
        assert_eq!(found.len(), at_work, "each one that is at work");
    }
}
