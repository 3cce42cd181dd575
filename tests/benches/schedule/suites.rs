//! What is run, and where.

use clusterrunner_core::builds::durations;

/// A slave of the model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slave {
    pub(crate) executors: u32,
    /// Percent of the speed at which durations were learned.
    pub(crate) speed: u64,
    /// When it joins, in milliseconds after the build is prepared.
    pub(crate) joins: u64,
}

/// A build and its farm.
#[derive(Debug)]
pub(crate) struct Suite {
    /// How long each atom takes at full speed, in milliseconds.
    pub(crate) atoms: Vec<u64>,
    /// What was learned of each.
    pub(crate) known: Vec<Option<u64>>,
    pub(crate) slaves: Vec<Slave>,
    /// What setting a slave up takes.
    pub(crate) setup: u64,
    /// How long a hand-out and a result are on their way, together, in milliseconds.
    pub(crate) round_trip: u64,
}

type Make = fn(u64) -> Suite;

/// Name, goal for the mean of makespan by lower bound, and what a seed gives.
pub(crate) const SUITES: [(&str, f64, Make); 11] = [
    ("equal", 1.05, |seed| {
        Suite::new(&mut Random(seed), |_| 1000)
    }),
    ("lognormal", 1.05, |seed| {
        Suite::new(&mut Random(seed), lognormal)
    }),
    ("heavy tail", 1.3, |seed| {
        Suite::new(&mut Random(seed), heavy_tail)
    }),
    ("5 % unknown", 1.05, |seed| {
        let mut random = Random(seed);
        let mut suite = Suite::new(&mut random, lognormal);
        for known in &mut suite.known {
            if random.fraction() < 0.05 {
                *known = None;
            }
        }
        suite
    }),
    ("new project (nothing known)", 1.3, |seed| {
        let suite = Suite::new(&mut Random(seed), lognormal);
        let known = vec![None; suite.atoms.len()];
        Suite { known, ..suite }
    }),
    ("a slow slave", 1.05, |seed| {
        let mut suite = Suite::new(&mut Random(seed), lognormal);
        suite.slaves[0].speed = 50;
        suite
    }),
    ("set-up of 20 s", 1.05, |seed| {
        let suite = Suite::new(&mut Random(seed), lognormal);
        Suite {
            setup: 20_000,
            ..suite
        }
    }),
    ("half of the slaves join late", 1.05, |seed| {
        let mut suite = Suite::new(&mut Random(seed), lognormal);
        suite.slaves[2].joins = 10_000;
        suite.slaves[3].joins = 15_000;
        suite
    }),
    ("round trip of 70 ms", 1.05, |seed| {
        Suite::new(&mut Random(seed), lognormal).far(70)
    }),
    ("round trip of 70 ms, 4,000 atoms of 100 ms", 1.05, |seed| {
        Suite::of(4000, &mut Random(seed), |_| 100).far(70)
    }),
    ("round trip of 70 ms, 40,000 atoms of 1 ms", 1.1, |seed| {
        Suite::of(40_000, &mut Random(seed), |_| 1).far(70)
    }),
];

const NUM_ATOMS: usize = 400;

impl Suite {
    /// Atoms on four slaves with four executors each. Durations are known within about a tenth.
    fn new(random: &mut Random, atom: fn(&mut Random) -> u64) -> Self {
        Self::of(NUM_ATOMS, random, atom)
    }

    /// The same with a round trip between master and slaves.
    fn far(self, round_trip: u64) -> Self {
        Self { round_trip, ..self }
    }

    fn of(num_atoms: usize, random: &mut Random, atom: fn(&mut Random) -> u64) -> Self {
        let atoms: Vec<u64> = (0..num_atoms).map(|_| atom(random)).collect();
        let known = atoms.iter().map(|atom| {
            let factor = (0.1 * random.normal()).exp();
            Some(scaled(*atom, factor))
        });
        Self {
            known: known.collect(),
            atoms,
            slaves: vec![
                Slave {
                    executors: 4,
                    speed: 100,
                    joins: 0,
                };
                4
            ],
            setup: 0,
            round_trip: 0,
        }
    }

    /// What the master makes of what is known.
    pub(crate) fn expected(&self) -> Vec<u64> {
        durations::expected(&self.known)
    }

    /// How long an atom takes on a slave.
    pub(crate) fn takes(&self, atom: usize, slave: &Slave) -> u64 {
        self.atoms[atom] * 100 / slave.speed
    }

    pub(crate) fn num_executors(&self) -> u32 {
        self.slaves.iter().map(|slave| slave.executors).sum()
    }

    /// No way can end earlier: when all executors work all the time on atoms that can be cut at will, or
    /// when the longest atom is begun first on the slave where it ends first.
    pub(crate) fn lower_bound(&self) -> f64 {
        // The first has to come there, and the last to come back.
        let ready = |slave: &Slave| float(slave.joins + self.setup + self.round_trip);
        let work = float(self.atoms.iter().sum());
        let done = |at: f64| -> f64 {
            let of = |slave: &Slave| {
                let executors = f64::from(slave.executors) * float(slave.speed) / 100.0;
                executors * (at - ready(slave)).max(0.0)
            };
            self.slaves.iter().map(of).sum()
        };
        let (mut early, mut late) = (0.0, 1e12);
        for _ in 0..100 {
            let between = f64::midpoint(early, late);
            if done(between) < work {
                early = between;
            } else {
                late = between;
            }
        }
        let longest = float(self.atoms.iter().copied().max().unwrap_or(0));
        let slaves = self.slaves.iter();
        let ends = slaves.map(|slave| ready(slave) + longest * 100.0 / float(slave.speed));
        late.max(ends.fold(f64::INFINITY, f64::min))
    }
}

/// A median of one second.
fn lognormal(random: &mut Random) -> u64 {
    scaled(1000, (0.8 * random.normal()).exp())
}

/// Pareto: a few atoms are most of the work.
fn heavy_tail(random: &mut Random) -> u64 {
    scaled(200, (1.0 - random.fraction()).powf(-1.0 / 1.1).min(2000.0))
}

fn float(milliseconds: u64) -> f64 {
    milliseconds as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the factors are positive and not large"
)]
fn scaled(milliseconds: u64, factor: f64) -> u64 {
    ((float(milliseconds) * factor) as u64).max(1)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    fn fraction(&mut self) -> f64 {
        let bits = u32::try_from(self.next() >> 32).expect("32 bits");
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }

    /// With mean 0 and deviation 1 (Box and Muller).
    fn normal(&mut self) -> f64 {
        let (first, second) = (1.0 - self.fraction(), self.fraction());
        (-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos()
    }
}
