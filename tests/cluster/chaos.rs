//! Many faults in a row, in an order that a seed decides.

use crate::farm::Farm;
use crate::repository::Repository;
use crate::wait::wait_for;
use crate::whole_build::{check_results, many_atoms, runs};
use clusterrunner_common::api::{BuildResult, BuildStatus};
use clusterrunner_common::ids::BuildId;
use rustix::process::Signal;
use serde_json::json;
use std::time::Duration;

/// Another one is tried with `CLUSTERRUNNER_TEST_SEED=<number>`.
const SEED: u64 = 1;

/// Fewer than an unlucky atom may be handed out before its build is given up.
const KILLS: usize = 4;
const STEPS: usize = 14;

/// A sequence of numbers from a seed (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    /// Thrown by the seed of this run.
    pub(crate) fn from_environment() -> Self {
        let seed = std::env::var("CLUSTERRUNNER_TEST_SEED");
        let seed = seed.map_or(SEED, |seed| seed.parse().unwrap());
        eprintln!("seed {seed}");
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

struct Chaos {
    farm: Farm,
    repository: Repository,
    dice: Dice,
    kills: usize,
    /// Small builds, and whether they were canceled.
    small: Vec<(BuildId, bool)>,
}

impl Chaos {
    async fn step(&mut self) {
        let slave = usize::try_from(self.dice.below(3)).unwrap();
        let step = self.dice.below(7);
        eprintln!("step {step}, slave {slave}");
        match step {
            0 | 1 if self.kills < KILLS => {
                self.kills += 1;
                if step == 0 {
                    self.farm.kill_slave(slave);
                } else {
                    self.farm.stop_slave(slave);
                }
                self.farm.restart_slave(slave, 2);
            }
            2 | 3 => {
                self.farm.kill_master();
                self.farm.start_master().await;
            }
            4 => {
                self.farm.signal_slave(slave, Signal::STOP);
                self.pause(4_000).await;
                self.farm.signal_slave(slave, Signal::CONT);
            }
            5 => {
                let build = self.submit_small().await;
                self.small.push((build, false));
            }
            6 => {
                let build = self.submit_small().await;
                self.pause(300).await;
                self.farm.client().cancel(build).await.unwrap();
                self.small.push((build, true));
            }
            _ => {}
        }
        self.pause(400).await;
    }

    async fn pause(&mut self, most_ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.dice.below(most_ms))).await;
    }

    async fn submit_small(&self) -> BuildId {
        let request = self.repository.request_with(json!({
            "config": {"commands": ["echo \"$N\""], "atomizers": [{"N": "seq 1 10"}]},
        }));
        self.farm.submit(&request).await
    }

    async fn check_small(&self) {
        for (build, canceled) in &self.small {
            let view = self.farm.end_of(*build).await;
            if *canceled && view.status == BuildStatus::Canceled {
                continue;
            }
            assert_eq!(view.status, BuildStatus::Finished, "{view:?}");
            assert_eq!(view.result, Some(BuildResult::NoFailures), "{view:?}");
            let mut consoles = Vec::new();
            for atom in self.farm.atoms(*build).await {
                consoles.push(self.farm.console(*build, &atom).await);
            }
            let expected: Vec<String> = (1..=10).map(|n| format!("{n}\n")).collect();
            assert_eq!(consoles, expected);
        }
    }
}

#[tokio::test]
async fn a_build_comes_through_a_bad_day() {
    let dice = Dice::from_environment();
    let repository = Repository::empty();
    let log = repository.outside("runs");
    repository.commit(&[("clusterrunner.yaml", &many_atoms(&log, "0.1"))]);
    let farm = Farm::start(&[2, 2, 2]).await;
    let build = farm.submit(&repository.request()).await;
    wait_for("the first atoms have run", async || {
        (runs(&log).len() >= 10).then_some(())
    })
    .await;
    let mut chaos = Chaos {
        farm,
        repository,
        dice,
        kills: 0,
        small: Vec::new(),
    };
    for _ in 0..STEPS {
        chaos.step().await;
    }
    let view = chaos.farm.end_of(build).await;
    check_results(&chaos.farm, &view).await;
    chaos.check_small().await;
    chaos.farm.wait_for_slaves(3).await;
}
