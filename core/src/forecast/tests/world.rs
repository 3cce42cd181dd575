//! Builds and farms that forecasts are tried on.

use super::*;

/// How many earlier builds there were.
pub(super) const HISTORY: u64 = 7;

/// A build and its farm, of which a forecast does not know all.
pub(super) struct World {
    pub(super) seed: u64,
    /// How long each atom takes as a rule, in milliseconds.
    pub(super) atoms: Vec<f64>,
    /// How much a run of an atom differs from that.
    pub(super) spread: f64,
    /// How much whole builds differ.
    pub(super) drift: f64,
    /// By how much each slave is slower than others, those that may come later among them.
    pub(super) slaves: Vec<f64>,
    /// How many of them are there.
    pub(super) num_slaves: usize,
    /// How many executors each of them has.
    pub(super) executors: u32,
    /// Which part of the atoms never ran before.
    pub(super) unknown: f64,
    pub(super) setup_ms: f64,
    /// Whether nothing is known of any atom.
    pub(super) is_new: bool,
    /// The number of the build that runs, after those that left something.
    pub(super) build: u64,
}

impl World {
    /// One of the kinds of builds, by its number.
    pub(super) fn new(seed: u64) -> Self {
        let chance = |what: u64| fraction(&[seed, 100, what]);
        let number = 100 + super::learned::index(chance(0) * 400.0) as u64;
        let num_slaves = 2 + super::learned::index(chance(1) * 7.0);
        let executors = 1 + u32::try_from(super::learned::index(chance(2) * 4.0)).unwrap();
        let kind = seed % 6;
        let atom = |index: u64| {
            let z = normal(&[seed, 101, index]);
            match kind {
                0 => 1000.0,
                1 => 500.0 * (1.5 * z.abs()).exp(),
                _ => 2000.0 * z.exp(),
            }
        };
        let slave = |index: u64| match (kind, index) {
            (3, 0) => 0.3,
            _ => 0.04 * normal(&[seed, 102, index]),
        };
        Self {
            seed,
            atoms: (0..number).map(atom).collect(),
            spread: 0.03 + 0.12 * chance(3),
            drift: 0.04,
            slaves: (0..20).map(slave).collect(),
            num_slaves,
            executors,
            unknown: match kind {
                4 => 0.05,
                _ => 0.0,
            },
            setup_ms: match kind {
                5 => 20_000.0,
                _ => 300.0,
            },
            is_new: false,
            build: HISTORY,
        }
    }

    /// How long an atom takes in a build, the last of which is the one that is foretold.
    pub(super) fn takes_ms(&self, atom: usize, build: u64, of_slave: f64) -> f64 {
        let of_build = self.drift * normal(&[self.seed, 103, build]);
        let of_run = self.spread * normal(&[self.seed, 104, build, atom as u64]);
        self.atoms[atom] * (of_build + of_run + of_slave).exp()
    }

    /// What earlier builds have left of each atom.
    pub(super) fn runs(&self) -> Vec<(SubjobId, Vec<u64>)> {
        let of_atom = |atom: usize| {
            let number = atom as u64;
            let ran = fraction(&[self.seed, 105, number]) >= self.unknown;
            let run = |build: u64| {
                let slave = fraction(&[self.seed, 106, number, build]) * self.num_slaves as f64;
                let of_slave = self.slaves[super::learned::index(slave)];
                whole(self.takes_ms(atom, build, of_slave))
            };
            let runs = (0..HISTORY).filter(|_| ran).map(run);
            (SubjobId(u32::try_from(atom).unwrap()), runs.collect())
        };
        (0..self.atoms.len()).map(of_atom).collect()
    }

    /// The build before anything of it runs.
    pub(super) fn scene(&self) -> Scene {
        let known: Vec<Option<u64>> = self.runs().iter().map(|(_, runs)| typical(runs)).collect();
        let lots = (0..).map(SubjobId).zip(expected(&known));
        let lots = lots.map(|(first, expected_ms)| Lot {
            first,
            number: 1,
            expected_ms: (!self.is_new).then_some(expected_ms),
            held: None,
            started: None,
        });
        let request = json!({"type": "directory", "project_directory": "/p"});
        let build = BuildThere {
            lots: lots.collect(),
            rest: Rest::default(),
            ended: Vec::new(),
            ended_earlier: false,
            setup_ms: None,
            request: BuildRequest::from_json(&request).unwrap(),
            plan: Plan::default(),
        };
        let slaves = (1..).map(SlaveId).take(self.num_slaves);
        let slaves = slaves.map(|id| (id, SlaveThere::new(self.executors, BTreeSet::new())));
        Scene {
            now: NOW,
            slaves: slaves.collect(),
            builds: [(BUILD, build)].into(),
            parents: BTreeMap::new(),
            is_whole: true,
            bundling: Bundling::of(1, self.num_slaves as u64 * u64::from(self.executors)),
        }
    }

    /// The farm at work with so many slaves, before its first step.
    pub(super) fn farm(&self, slaves: usize) -> Farm<'_, Self> {
        let scene = self.scene().with_slaves(BUILD, slaves, self.executors);
        let mut farm = Farm::new(copy::cluster_of(&scene), self, NOW);
        farm.start();
        farm
    }

    /// What ended in a build before, on the slaves that are there.
    pub(super) fn ended_before(&self) -> Vec<EndedThere> {
        let before = Self {
            build: HISTORY + 1,
            slaves: self.slaves.clone(),
            atoms: self.atoms.clone(),
            ..*self
        };
        let mut farm = before.farm(self.num_slaves);
        let last = self.atoms.len() - 1;
        while farm.cluster.build(BUILD).unwrap().num_finished < last {
            assert!(farm.step(), "it ends");
        }
        seen(&farm).builds.remove(&BUILD).unwrap().ended
    }

    pub(super) fn learned(&self) -> BTreeMap<BuildId, Arc<Learned>> {
        [(BUILD, Arc::new(Learned::from(&self.runs())))].into()
    }
}

impl Times for World {
    fn left_of_atom(&self, _: BuildId, subjob: SubjobId, slave: SlaveId, _: u64) -> u64 {
        let of_slave = self.slaves[usize::try_from(slave.0).unwrap() - 1];
        let takes = self.takes_ms(subjob.0 as usize, self.build, of_slave);
        whole(takes * 1000.0 + OVERHEAD_US)
    }

    fn set_up(&self, _: BuildId, slave: SlaveId) -> u64 {
        whole(self.setup_ms * 1000.0 * (0.2 * normal(&[self.seed, 107, slave.0])).exp())
    }
}

/// What a look at a farm sees, with what its slaves say that runs.
pub(super) fn seen<T: Times>(farm: &Farm<'_, T>) -> Scene {
    let mut scene = Scene::of(&farm.cluster, farm.now(), 0).bundled();
    for (id, build) in &mut scene.builds {
        for lot in &mut build.lots {
            let Some((slave, attempt)) = lot.held else {
                continue;
            };
            let hand_out = HandOut {
                slave,
                build: *id,
                subjob: lot.first,
                attempt,
            };
            let ran = farm.ran_us(&hand_out);
            lot.started = ran.map(|ran| Timestamp(scene.now.0 - ran / 1000));
        }
    }
    scene
}
