//! Hunts in the model: they begin and end where the core says, and what they find comes to the master once, late or never.

use super::random::Random;
use super::world::{Happening, World};
use crate::command::Command;
use crate::history::Trials;
use crate::hunting::{HuntId, Hunts};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::work::HuntEnd;

/// In one of so many walks is hunted: these take longer, since slaves keep builds for a while.
const HUNTED_IN: u64 = 4;

/// The hunts of one life of the master.
pub(super) struct Hunting {
    hunts: Hunts,
    is_on: bool,
    /// Its own: without hunts a walk goes as with them.
    random: Random,
    /// Stands for the time of a run, so that no two are alike.
    num_ended: u64,
}

impl Hunting {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            hunts: Hunts::new(seed.is_multiple_of(HUNTED_IN)),
            is_on: seed.is_multiple_of(HUNTED_IN),
            random: Random::new(seed),
            num_ended: 0,
        }
    }

    /// Those of the next life.
    pub(super) fn begin_life(&mut self) {
        self.hunts = Hunts::new(self.is_on);
    }

    fn next_number(&mut self) -> u64 {
        self.num_ended += 1;
        self.num_ended
    }
}

/// What happens to hunts.
pub(super) enum HuntHappening {
    /// What is known of the atoms of a build is found.
    IsLearned(BuildId),
    /// A hunt ends, or its slave does not take it.
    Ends(HuntId, Option<HuntEnd>),
}

impl World {
    /// Looks for hunts after a turn. At rest there is none that anything waits for.
    pub(super) fn hunt(&mut self) {
        // No job of the walks says whether it is hunted.
        if !self.master.is_up || !self.master.hunting.is_on {
            return;
        }
        let at = Timestamp(self.wall_clock());
        let (life, cluster) = (self.master.life, &self.master.farm.cluster);
        let hunting = &mut self.master.hunting;
        let look = hunting.hunts.look(cluster, at);
        assert_eq!(hunting.hunts.unreasonable(cluster), None);
        for (_, hunt) in &look.begun {
            let slave = cluster.slave(hunt.slave).unwrap();
            let number = hunting
                .hunts
                .running()
                .filter(|(_, one)| one.slave == hunt.slave);
            assert!(slave.running.len() + number.count() <= slave.num_executors as usize);
            let subjob = cluster.build(hunt.build).unwrap().subjob(hunt.subjob);
            assert!(subjob.is_some_and(|subjob| subjob.result.is_some()));
        }
        self.master.tally.hunts_begun += look.begun.len();
        self.master.tally.hunts_ended += look.ended.len();
        let (mut happenings, mut reports) = (Vec::new(), Vec::new());
        for build in look.unknown {
            happenings.push((
                1 + hunting.random.below(20),
                HuntHappening::IsLearned(build),
            ));
        }
        for (id, _) in look.begun {
            let end = match hunting.random.below(8) {
                0 => None,
                1 => Some(HuntEnd::Dropped),
                2 | 3 => Some(HuntEnd::Failed),
                _ => Some(HuntEnd::Passed),
            };
            happenings.push((1 + hunting.random.below(40), HuntHappening::Ends(id, end)));
        }
        for (build, goes_on) in look.goes_on {
            let delay = 1 + hunting.random.below(10);
            let report = Command::ReportHunting { build, goes_on };
            reports.push((delay, Happening::AdapterReports(life, report)));
        }
        for (delay, report) in reports {
            self.schedule(delay, report);
        }
        for (delay, happening) in happenings {
            self.schedule(delay, Happening::Hunt(life, happening));
        }
    }

    pub(super) fn hunt_goes_on(&mut self, life: u64, happening: HuntHappening) {
        if !self.master.is_up || self.master.life != life {
            return;
        }
        let at = Timestamp(self.wall_clock());
        let cluster = &self.master.farm.cluster;
        let hunting = &mut self.master.hunting;
        match happening {
            HuntHappening::IsLearned(build) => {
                let mut trials = Trials::default();
                trials.add(hunting.random.happens(500));
                if let Some(build) = cluster.build(build) {
                    let atoms = build.numbered_subjobs();
                    let atoms = atoms.map(|(id, subjob)| (id, subjob, trials.clone()));
                    hunting.hunts.learn(build.id, &build.hunted, atoms);
                }
                self.hunt();
            }
            HuntHappening::Ends(id, None) => {
                let is_unable = hunting.random.happens(100);
                hunting.hunts.refused(id, is_unable, at);
            }
            HuntHappening::Ends(id, Some(end)) => {
                let number = hunting.next_number();
                let found = hunting.hunts.ended(id, end, number, at);
                if let Some((build, run)) = found {
                    let runs = vec![run];
                    let delay = 1 + hunting.random.below(10);
                    let report = Command::ReportHunted { build, runs };
                    self.schedule(delay, Happening::AdapterReports(life, report));
                }
            }
        }
    }
}
