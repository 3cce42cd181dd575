//! What users do beside queueing builds, and what they were promised: what was acknowledged is there, whatever
//! dies, and what was deleted is gone.

use super::world::World;
use crate::core::builds::details::{Merge, NewDetails};
use crate::core::command::Command;
use crate::core::event::{Actor, BuildFact, Event, Fact};
use clusterrunner_common::ids::BuildId;
use std::collections::{BTreeMap, BTreeSet};

/// What users do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wish {
    /// This build is to be deleted.
    DeleteBuild(u64),
    /// Something is said of this build.
    DescribeBuild(u64),
}

/// What users were told has come to stay.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// How often something was said: later words are higher numbers.
    num_said: u64,
    deleted: BTreeSet<BuildId>,
    /// The latest that was said of each build.
    described: BTreeMap<BuildId, u64>,
}

impl World {
    pub(super) fn user_wishes(&mut self, wish: Wish) {
        if !self.master.is_up {
            return;
        }
        let by = Actor::SecretHolder;
        match wish {
            Wish::DeleteBuild(build) => {
                let build = BuildId(build);
                if let Some(Ok(())) = self.tell(Command::DeleteBuild { by, build }) {
                    self.promises.deleted.insert(build);
                }
            }
            Wish::DescribeBuild(build) => {
                let build = BuildId(build);
                self.promises.num_said += 1;
                let said = self.promises.num_said;
                let details = NewDetails {
                    description: Some(said.to_string()),
                    tags: Some(vec![said.to_string()]),
                    ..NewDetails::default()
                };
                let merge = Merge::Add;
                let told = self.tell(Command::DescribeBuild {
                    by,
                    build,
                    details,
                    merge,
                });
                if let Some(Ok(())) = told {
                    self.promises.described.insert(build, said);
                }
            }
        }
    }

    /// All that was promised is so.
    pub(super) fn check_users(&self) {
        let cluster = &self.master.farm.cluster;
        for build in &self.promises.deleted {
            assert!(cluster.is_forgotten(*build), "build {build} was deleted");
        }
        for (build, said) in &self.promises.described {
            if cluster.is_forgotten(*build) {
                assert_eq!(cluster.details(*build), None, "build {build} is gone");
                continue;
            }
            let details = cluster.details(*build).unwrap();
            let is = details.description.as_ref();
            let is: Option<u64> = is.and_then(|text| text.parse().ok());
            // What nobody was told of may be there, too.
            assert!(is >= Some(*said), "build {build}: {said}");
            let tags = details.tags.as_ref().unwrap();
            assert!(tags.contains(&said.to_string()), "build {build}: {said}");
        }
    }
}

impl Promises {
    /// With the end of the journal some were lost.
    pub(super) fn lose(&mut self, journal: &[Event]) {
        let mut deleted = BTreeSet::new();
        let mut described: BTreeMap<BuildId, u64> = BTreeMap::new();
        for event in journal {
            match &event.fact {
                Fact::Build(build, BuildFact::Deleted) => {
                    deleted.insert(*build);
                }
                Fact::Build(build, BuildFact::Described { details }) => {
                    let said = details.description.as_ref().map(|text| text.parse());
                    described.insert(*build, said.unwrap().unwrap());
                }
                _ => {}
            }
        }
        self.deleted.retain(|build| deleted.contains(build));
        self.described = described;
    }
}
