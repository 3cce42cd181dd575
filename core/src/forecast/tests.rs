//! Forecasts beside what comes: builds of many kinds in virtual time, foretold when a tenth of their atoms have ended.

mod cost;
mod world;

use super::chance::{fraction, normal};
use super::lots::{Bundling, Rest};
use super::plan::Choices;
use super::scene::{BuildThere, SlaveThere};
use super::*;
use crate::builds::durations::{expected, typical};
use crate::builds::plan::Plan;
use clusterrunner_common::work::BuildRequest;
use serde_json::json;
use std::collections::BTreeSet;
use world::{World, seen};

const BUILD: BuildId = BuildId(1);
const NOW: Timestamp = Timestamp(1_000_000_000);

/// How far forecasts of many builds were from what came.
#[derive(Default)]
struct Score {
    /// The distance of the median from the end, for the time that was left.
    errors: Vec<f64>,
    inside: usize,
}

impl Score {
    fn note(&mut self, finish: Finish, came_ms: u64) {
        let came = came_ms as f64;
        self.errors.push((finish.median as f64 - came).abs() / came);
        self.inside += usize::from((finish.low..=finish.high).contains(&came_ms));
    }

    fn median_error(&mut self) -> f64 {
        self.errors.sort_by(f64::total_cmp);
        self.errors[self.errors.len() / 2]
    }

    fn covered(&self) -> f64 {
        self.inside as f64 / self.errors.len() as f64
    }
}

/// Foretells builds when a tenth of their atoms have ended.
fn score(worlds: impl Iterator<Item = World>) -> Score {
    let mut score = Score::default();
    for world in worlds {
        let mut farm = world.farm(world.num_slaves);
        let tenth = world.atoms.len().div_ceil(10);
        while farm.cluster.build(BUILD).unwrap().num_finished < tenth {
            assert!(farm.step(), "it ends");
        }
        let now = farm.now();
        let finish = forecast(&seen(&farm), &world.learned())[&BUILD];
        farm.run();
        let came = farm.ended[&BUILD] / 1000 - (now.0 - NOW.0);
        score.note(finish, came);
    }
    score
}

/// How far plans were from what came, for what came: plans of builds before they begin, as long as earlier runs of their
/// set-up took, with more or fewer slaves than there are.
fn plan_errors(seeds: std::ops::RangeInclusive<u64>) -> Vec<f64> {
    let error = |seed: u64| {
        let world = World::new(seed);
        let slaves = 1 + super::learned::index(fraction(&[seed, 108]) * 12.0);
        let mut scene = world.scene();
        let build = scene.builds.get_mut(&BUILD).unwrap();
        build.setup_ms = Some(whole(world.setup_ms));
        (build.ended, build.ended_earlier) = (world.ended_before(), true);
        let learned = world.learned();
        let choice = Choices::new(&scene, &learned, BUILD, 1).of(slaves).unwrap();
        assert_eq!(choice.executors, slaves as u64 * u64::from(world.executors));
        let mut farm = world.farm(slaves);
        farm.run();
        let came = farm.ended[&BUILD] as f64 / 1000.0;
        (choice.finish.median as f64 - came).abs() / came
    };
    seeds.map(error).collect()
}

/// Which part of them is at most a tenth.
fn within_a_tenth(errors: &[f64]) -> f64 {
    let within = errors.iter().filter(|error| **error <= 0.1).count();
    within as f64 / errors.len() as f64
}

#[test]
fn a_plan_tells_how_long_a_build_takes_with_other_slaves() {
    let errors = plan_errors(1..=20);
    let within = within_a_tenth(&errors);
    println!("within a tenth {within}");
    // Nine of ten, give or take what chance does to 20 plans with a probability of 95 %.
    assert!(within >= 0.8, "{errors:?}");
}

#[test]
fn two_hundred_plans_come_true() {
    let errors = plan_errors(1..=200);
    let within = within_a_tenth(&errors);
    println!("within a tenth {:.1} %", 100.0 * within);
    assert!(within >= 0.9, "{within}");
}

#[test]
fn a_time_that_is_wanted_is_met_by_the_fewest_slaves() {
    let mut world = World::new(2);
    world.atoms.truncate(30);
    let (scene, learned) = (world.scene(), world.learned());
    let planned = |under_ms| {
        let wanted = Wanted {
            slaves: Some(4),
            under_ms: Some(under_ms),
        };
        plan(&scene, &learned, BUILD, 1, wanted).unwrap()
    };
    let with_four = planned(1);
    assert_eq!(with_four.under, None);
    let mut choices = with_four.choices.into_iter();
    let with_four = choices.find(|choice| choice.slaves == 4).unwrap();
    let median = with_four.finish.median;
    assert_eq!(planned(median).under.unwrap().slaves, 4);
    let further = planned(median - 1).under.unwrap();
    assert!(further.slaves > 4 && further.finish.median < median);
}

#[test]
fn nothing_is_foretold_without_slaves_or_knowledge() {
    let world = World::new(2);
    let mut scene = world.scene().with_slaves(BUILD, 0, 1);
    assert!(forecast(&scene, &world.learned()).is_empty());
    scene = world.scene();
    for lot in &mut scene.builds.get_mut(&BUILD).unwrap().lots {
        lot.expected_ms = None;
    }
    assert!(forecast(&scene, &BTreeMap::new()).is_empty());
}

#[test]
fn beside_a_build_that_nobody_knows_nothing_is_foretold() {
    let mut world = World::new(2);
    world.atoms.truncate(20);
    let mut scene = world.scene();
    let mut other = scene.builds[&BUILD].clone();
    other.lots.iter_mut().for_each(|lot| lot.expected_ms = None);
    assert_eq!(forecast(&scene, &world.learned()).len(), 1);
    scene.builds.insert(BuildId(2), other);
    assert!(forecast(&scene, &world.learned()).is_empty());
}

#[test]
fn a_parent_ends_with_the_last_build_of_its_matrix() {
    let mut world = World::new(2);
    world.atoms.truncate(40);
    let mut scene = world.scene();
    let mut short = scene.builds[&BUILD].clone();
    short.lots.truncate(10);
    let (other, parent, another) = (BuildId(2), BuildId(3), BuildId(4));
    scene.builds.insert(other, short);
    scene.parents.insert(parent, vec![BUILD, other]);
    // Of one that is not prepared yet nothing is known.
    scene.parents.insert(another, vec![BUILD, BuildId(9)]);
    let ends = forecast(&scene, &world.learned());
    let medians = [BUILD, other].map(|id| ends[&id].median);
    let last = medians.into_iter().max().unwrap();
    assert!(ends[&parent].median >= last, "{ends:?}");
    assert!(ends[&parent].median <= 2 * last, "{ends:?}");
    assert!(ends[&parent].high >= ends[&BUILD].high.max(ends[&other].high));
    assert!(!ends.contains_key(&another));
}

#[test]
fn a_set_up_takes_as_long_as_earlier_ones_or_as_it_has_taken() {
    let mut world = World::new(2);
    world.atoms.truncate(4);
    let mut scene = world.scene();
    let ends = |scene: &Scene, setup_ms| {
        let learned = world.learned()[&BUILD].as_ref().clone();
        let learned = [(BUILD, Arc::new(learned.with_setups(setup_ms)))].into();
        forecast(scene, &learned)[&BUILD].median
    };
    let without = ends(&scene, None);
    let learned = ends(&scene, Some(100_000));
    assert!(learned > without + 50_000, "{learned} {without}");
    // The set-ups of the build itself count more.
    scene.builds.get_mut(&BUILD).unwrap().setup_ms = Some(0);
    assert_eq!(ends(&scene, Some(100_000)), without);
    scene.builds.get_mut(&BUILD).unwrap().setup_ms = None;
    for slave in scene.slaves.values_mut() {
        let since = Some(Timestamp(NOW.0 - 100_000));
        slave
            .places
            .insert(BUILD, SetupProgress::SettingUp { since });
    }
    // It is about to end if it takes no longer than it did already.
    assert!(ends(&scene, None) < without + 50_000);
    // Another slave has it before it.
    let (first, _) = scene.slaves.pop_first().unwrap();
    for slave in scene.slaves.values_mut() {
        slave.takes_work = false;
    }
    assert_eq!(first, SlaveId(1));
    let fresh = SlaveThere::new(world.executors, BTreeSet::new());
    scene.slaves.insert(first, fresh);
    let running = scene.slaves.keys().next_back().copied().unwrap();
    scene.slaves.retain(|id, _| *id == first || *id == running);
    let waits = ends(&scene, None);
    assert!(
        (50_000..without + 150_000).contains(&waits),
        "{waits} {without}"
    );
}

#[test]
fn a_build_of_a_new_project_is_foretold_by_its_own_atoms() {
    let mut score = Score::default();
    for seed in 1..=12 {
        let world = World {
            is_new: true,
            ..World::new(seed * 6 + 2)
        };
        let mut farm = world.farm(world.num_slaves);
        while farm.cluster.build(BUILD).unwrap().num_finished < world.atoms.len() / 4 {
            assert!(farm.step(), "it ends");
        }
        let now = farm.now();
        let finish = forecast(&seen(&farm), &BTreeMap::new())[&BUILD];
        farm.run();
        score.note(finish, farm.ended[&BUILD] / 1000 - (now.0 - NOW.0));
    }
    assert!(score.median_error() < 0.35, "{:?}", score.errors);
    assert!(score.covered() >= 0.5, "{:?}", score.errors);
}

#[test]
fn the_same_look_gives_the_same_forecast() {
    let world = World::new(4);
    let mut farm = world.farm(world.num_slaves);
    (0..100).for_each(|_| assert!(farm.step()));
    let scene = seen(&farm);
    let once = forecast(&scene, &world.learned());
    assert_eq!(once, forecast(&scene, &world.learned()));
    assert!(once[&BUILD].low <= once[&BUILD].median && once[&BUILD].median <= once[&BUILD].high);
}

#[test]
fn a_tenth_of_a_build_tells_when_it_ends() {
    // A few atoms each, so that there is time for many builds.
    let small = (1..=80).map(|seed| {
        let mut world = World::new(seed);
        world.atoms.truncate(60 + world.atoms.len() / 10);
        world
    });
    let mut score = score(small);
    let (error, covered) = (score.median_error(), score.covered());
    println!("median error {error}, covered {covered}");
    assert!(error <= 0.08, "{error}");
    // 90 % of 80 builds, give or take what chance does with a probability of 95 %.
    assert!((0.83..=0.97).contains(&covered), "{covered}");
}

#[test]
fn two_hundred_builds_end_when_they_were_foretold() {
    let mut score = score((1..=200).map(World::new));
    let (error, covered) = (score.median_error(), score.covered());
    println!(
        "median error {:.1} %, covered {:.1} %",
        100.0 * error,
        100.0 * covered
    );
    assert!(error <= 0.08, "{error}");
    assert!((0.85..=0.95).contains(&covered), "{covered}");
}
