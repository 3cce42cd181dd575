//! What a master finds in its data directory when that is not what it left there: a backup, a repaired
//! journal, or nothing. What was lost with it is no promise any more; all that is still known is one.

use super::plan::WrongDisk;
use super::world::World;
use crate::event::{BuildFact, Fact};
use clusterrunner_common::ids::{Attempt, BuildId, SubjobId};
use std::collections::BTreeSet;

impl World {
    /// The master dies, and finds this when it starts again. `left` is how much of its journal, in 1000, is
    /// there where any is.
    pub(super) fn change_disk(&mut self, wrong: WrongDisk, left: u64) {
        if self.master.doom.is_some() {
            // It dies soon anyway, and with what disk is said already.
            return;
        }
        if self.master.is_up {
            self.crash_master();
        }
        self.branch += 1;
        let num_events = self.master.farm.journal.len();
        let some = usize::try_from(left).unwrap() * num_events / 1000;
        let tally = &mut self.master.tally;
        match wrong {
            WrongDisk::NoResults => self.master.results.clear(),
            WrongDisk::Older => {
                tally.disks_restored += 1;
                self.lose_events(some);
                self.lose_results();
            }
            WrongDisk::OlderJournal => {
                tally.journals_restored += 1;
                self.lose_events(some);
            }
            WrongDisk::Repaired => {
                tally.journals_repaired += 1;
                self.lose_events(some);
                let fresh = self.master.fresh();
                self.master.farm.begin_incarnation(fresh);
            }
            WrongDisk::NoJournal => {
                tally.journals_lost += 1;
                self.lose_events(0);
            }
            WrongDisk::Empty => {
                tally.disks_lost += 1;
                self.lose_events(0);
                self.lose_results();
            }
        }
    }

    /// Of the journal only so much is left, and with it of what was told to anybody.
    fn lose_events(&mut self, num_events: usize) {
        let master = &mut self.master;
        master.farm.truncate(num_events);
        master.farm.cluster = master.farm.replayed();
        // Whoever died of what is lost is not known.
        master.deaths.clear();
        let facts = || master.farm.journal.iter().map(|event| &event.fact);
        let queued = |fact: &Fact| match fact {
            Fact::Build(build, BuildFact::Queued { .. }) => Some(*build),
            _ => None,
        };
        let queued: BTreeSet<BuildId> = facts().filter_map(queued).collect();
        let finished = |fact: &Fact| match fact {
            Fact::Build(
                build,
                BuildFact::SubjobFinished {
                    subjob, attempt, ..
                }
                | BuildFact::AttemptFailed {
                    subjob, attempt, ..
                },
            ) => Some((*build, *subjob, *attempt)),
            _ => None,
        };
        let finished: BTreeSet<(BuildId, SubjobId, Attempt)> =
            facts().filter_map(finished).collect();
        master
            .acknowledged
            .retain(|one| finished.contains(&(one.build, one.subjob, one.attempt)));
        self.accepted.retain(|(build, _)| queued.contains(build));
        // Builds that were put away lie in the journal's own directory.
        let cluster = &master.farm.cluster;
        let removed = std::mem::take(&mut master.removed);
        for (id, build) in removed {
            if cluster.is_ended(id) {
                master.kept.insert(id, build);
            } else if cluster.is_forgotten(id) {
                master.removed.insert(id, build);
            }
        }
        let is_known = |id: &BuildId| cluster.is_ended(*id) || cluster.is_forgotten(*id);
        master.kept.retain(|id, _| is_known(id));
        self.lose_promises();
        self.lose_launches();
        self.lose_app_promises();
    }

    /// Only those results are left that the journal has.
    fn lose_results(&mut self) {
        let master = &mut self.master;
        let live = master.farm.cluster.builds();
        let kept = master.kept.iter();
        let kept = kept.filter(|(id, _)| master.farm.cluster.is_ended(**id));
        let builds = live.chain(kept.map(|(_, build)| build));
        let results = builds.map(|build| {
            let keys = build.numbered_subjobs().filter_map(|(id, subjob)| {
                let (attempt, _) = subjob.result.as_ref()?;
                Some((id, *attempt))
            });
            (build.id, keys.collect())
        });
        master.results = results.collect();
    }
}
