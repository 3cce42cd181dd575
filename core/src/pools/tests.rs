mod planning;
mod simulation;

use super::scene::{Demand, JoinedSeen, PoolPresence, SlaveSeen, TokenSeen};
use super::*;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{SlaveId, TokenId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The beginning of the names of the pool with this name.
fn prefix(pool: &str) -> String {
    format!("cr-{pool}-")
}

fn labels(labels: &[&str]) -> BTreeSet<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

fn terms(name: &str) -> PoolTerms {
    PoolTerms {
        name: name.to_owned(),
        min_slaves: 0,
        max_slaves: 8,
        executors: 2,
        labels: BTreeSet::new(),
        idle_timeout: Duration::from_secs(60),
        target_wait: Duration::from_secs(100),
        start_timeout: Duration::from_secs(120),
    }
}

/// A farm in which nothing happens but what a test does.
struct Farm {
    scene: Scene,
    pools: Vec<Pool>,
    listed: Vec<Listed>,
    last: u64,
}

impl Farm {
    fn new(terms: impl IntoIterator<Item = PoolTerms>) -> Self {
        Self {
            scene: Scene {
                now: Timestamp(1_000_000),
                demands: Vec::new(),
                slaves: BTreeMap::new(),
                tokens: BTreeMap::new(),
                has_strays: false,
            },
            pools: terms
                .into_iter()
                .map(|terms| Pool {
                    terms,
                    memory: Memory::default(),
                    requests: Vec::new(),
                    is_listed: true,
                })
                .collect(),
            listed: Vec::new(),
            last: 0,
        }
    }

    fn after(&mut self, seconds: u64) -> &mut Self {
        self.scene.now = Timestamp(self.scene.now.0 + seconds * 1000);
        self
    }

    fn plans(&mut self) -> Vec<PoolPlan> {
        for pool in &mut self.pools {
            let listed = (self.listed.as_slice(), self.scene.now);
            pool.requests = requests::requests(&prefix(&pool.terms.name), &self.scene, listed);
        }
        plan(&mut self.pools, &self.scene)
    }

    /// What is planned for the only pool.
    fn plan(&mut self) -> PoolPlan {
        self.plans().remove(0)
    }

    /// So many subjobs of so many seconds wait.
    fn waits(&mut self, wanted: &[&str], waiting: u64, each_secs: u64) -> &mut Self {
        self.scene.demands.push(Demand {
            labels: labels(wanted),
            waiting,
            work_ms: waiting * each_secs * 1000,
            setup_ms: 0,
            ..Demand::default()
        });
        self
    }

    /// Something is asked for, and listed as it says.
    fn asked(&mut self, pool: &str, state: Option<ListedState>) -> TokenId {
        self.last += 1;
        let (token, name) = (TokenId(self.last), format!("cr-{pool}-{:03}", self.last));
        let seen = TokenSeen {
            name: name.clone(),
            created: self.scene.now,
            joined: None,
        };
        self.scene.tokens.insert(token, seen);
        self.listed.extend(state.map(|state| Listed {
            id: name.clone(),
            name,
            state,
        }));
        token
    }

    /// A slave of the pool is there, of whose two executors so many work.
    fn joined(&mut self, pool: &str, busy: u64) -> TokenId {
        let token = self.asked(pool, Some(ListedState::Running));
        let id = SlaveId(token.0);
        let at = self.scene.now;
        let slave = Some((id, PoolPresence::Alive));
        let seen = self.scene.tokens.get_mut(&token).unwrap();
        seen.joined = Some(JoinedSeen { at, slave });
        let pool = self.pools.iter().find(|one| one.terms.name == pool);
        self.scene
            .slaves
            .insert(id, slave_with(&pool.unwrap().terms.labels, busy));
        token
    }

    fn works(&mut self, token: TokenId, busy: u64) {
        let slave = self.scene.slaves.get_mut(&SlaveId(token.0)).unwrap();
        (slave.busy, slave.is_idle) = (busy, busy == 0);
    }

    fn presence(&mut self, token: TokenId, presence: PoolPresence) {
        let seen = self.scene.tokens.get_mut(&token).unwrap();
        let joined = seen.joined.as_mut().unwrap();
        joined.slave = Some((SlaveId(token.0), presence));
        self.scene.slaves.remove(&SlaveId(token.0));
    }
}

fn slave_with(labels: &BTreeSet<String>, busy: u64) -> SlaveSeen {
    SlaveSeen {
        labels: labels.clone(),
        executors: 2,
        busy,
        takes_work: true,
        is_idle: busy == 0,
        is_sick: false,
    }
}
