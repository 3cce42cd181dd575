//! What must hold of the facts of a walk, from the facts alone.

use crate::event::{BuildFact, Fact, FarmFact, SlaveFact};
use crate::tests::scenario::Scenario;
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
use std::collections::{BTreeMap, BTreeSet};

/// The first promise once more, from the facts alone: a hand-out is made when the one before is
/// void, it has the next number, only it brings the result, and there is one result.
#[expect(clippy::too_many_lines, reason = "an arm for each fact")]
pub(super) fn check_history(farm: &Scenario) {
    type Key = (BuildId, SubjobId);
    let mut held: BTreeMap<Key, (SlaveId, Attempt)> = BTreeMap::new();
    let mut last: BTreeMap<Key, Attempt> = BTreeMap::new();
    // What is only to be delivered; a set-up that fails is no matter of that.
    let mut kept: BTreeSet<(Key, Attempt)> = BTreeSet::new();
    let mut results: BTreeSet<Key> = BTreeSet::new();
    let mut failed: BTreeSet<(Key, Attempt)> = BTreeSet::new();
    let mut over: BTreeSet<BuildId> = BTreeSet::new();
    let mut hunted: BTreeSet<u64> = BTreeSet::new();
    let mut retired: BTreeSet<BuildId> = BTreeSet::new();
    let mut split: BTreeSet<BuildId> = BTreeSet::new();
    // How many incarnations there were, when each build was queued, and at each subjob's last hand-out.
    let mut incarnation = 0;
    let mut queued: BTreeMap<BuildId, u32> = BTreeMap::new();
    let mut handed_out: BTreeMap<Key, u32> = BTreeMap::new();
    for event in &farm.journal {
        match &event.fact {
            Fact::Build(
                build,
                BuildFact::SubjobHandedOut {
                    slave,
                    subjob,
                    attempt,
                },
            ) => {
                let key = (*build, *subjob);
                assert!(
                    !over.contains(build) && !results.contains(&key),
                    "{event:?}"
                );
                assert_eq!(held.insert(key, (*slave, *attempt)), None, "{event:?}");
                let before = last.insert(key, *attempt).map_or(0, |before| before.0);
                let of = handed_out.insert(key, incarnation);
                // In a new incarnation the numbers leave some out, which may have been given.
                if of.or(queued.get(build).copied()) == Some(incarnation) {
                    assert_eq!(before + 1, attempt.0, "{event:?}");
                } else {
                    assert!(before < attempt.0, "{event:?}");
                }
            }
            Fact::Build(
                build,
                BuildFact::SubjobFinished {
                    slave,
                    subjob,
                    attempt,
                    ..
                },
            ) => {
                let key = (*build, *subjob);
                assert_eq!(held.remove(&key), Some((*slave, *attempt)), "{event:?}");
                assert!(results.insert(key), "{event:?}");
            }
            Fact::Build(
                build,
                BuildFact::AttemptFailed {
                    slave,
                    subjob,
                    attempt,
                    ..
                },
            ) => {
                let key = (*build, *subjob);
                assert_eq!(held.remove(&key), Some((*slave, *attempt)), "{event:?}");
                assert!(failed.insert((key, *attempt)), "{event:?}");
            }
            Fact::Build(
                build,
                BuildFact::SubjobReturned {
                    slave,
                    subjob,
                    attempt,
                    ..
                },
            )
            | Fact::Build(
                build,
                BuildFact::ResultDoubted {
                    slave,
                    subjob,
                    attempt,
                },
            ) => {
                let key = (*build, *subjob);
                assert_eq!(held.remove(&key), Some((*slave, *attempt)), "{event:?}");
            }
            Fact::Build(build, BuildFact::Hunted { runs }) => {
                assert!(!retired.contains(build), "{event:?}");
                for run in runs {
                    assert!(hunted.insert(run.ms), "it counts twice: {event:?}");
                }
            }
            Fact::Build(build, BuildFact::CutOff { subjobs, .. }) => {
                for (subjob, attempt) in subjobs {
                    let key = (*build, *subjob);
                    assert!(over.contains(build) && !results.contains(&key), "{event:?}");
                    assert_eq!(last.get(&key), Some(attempt), "{event:?}");
                }
            }
            Fact::Build(build, BuildFact::SubjobPoisoned { subjob, .. }) => {
                let key = (*build, *subjob);
                assert!(!held.contains_key(&key), "{event:?}");
                assert!(results.insert(key), "{event:?}");
            }
            Fact::Slave(slave, SlaveFact::HandOutsKept { hand_outs }) => {
                for one in hand_outs {
                    let key = (one.build, one.subjob);
                    // Nobody else was asked since, and nobody has it now.
                    assert_eq!(last.get(&key), Some(&one.attempt), "{event:?}");
                    assert!(
                        !over.contains(&one.build) && !results.contains(&key),
                        "{event:?}"
                    );
                    assert_eq!(held.insert(key, (*slave, one.attempt)), None, "{event:?}");
                    assert!(!failed.contains(&(key, one.attempt)), "{event:?}");
                    kept.insert((key, one.attempt));
                }
            }
            Fact::Slave(slave, SlaveFact::Lost { .. }) => {
                held.retain(|_, (holder, _)| holder != slave);
            }
            Fact::Slave(slave, SlaveFact::Quarantined { .. }) => {
                held.retain(|key, (holder, attempt)| {
                    holder != slave || kept.contains(&(*key, *attempt))
                });
            }
            Fact::Build(build, BuildFact::SetupFailed { slave, .. }) => {
                held.retain(|key, (holder, attempt)| {
                    key.0 != *build || holder != slave || kept.contains(&(*key, *attempt))
                });
            }
            Fact::Build(build, BuildFact::Failed { .. })
            | Fact::Build(build, BuildFact::Canceled)
            | Fact::Build(build, BuildFact::Finished) => {
                assert!(over.insert(*build), "it ends twice: {event:?}");
                held.retain(|(of, _), _| of != build);
            }
            Fact::Build(build, BuildFact::Forgotten { .. }) => {
                assert!(over.contains(build), "{event:?}");
            }
            Fact::Build(build, BuildFact::Retired) => drop(retired.insert(*build)),
            Fact::Farm(FarmFact::IncarnationBegun { .. }) => incarnation += 1,
            Fact::Build(build, BuildFact::Queued { .. }) => {
                queued.insert(*build, incarnation);
            }
            Fact::Build(build, BuildFact::Split { children, .. }) => {
                assert!(!over.contains(build), "{event:?}");
                assert!(split.insert(*build), "it is split twice: {event:?}");
                for (child, _) in children {
                    let before = queued.insert(*child, incarnation);
                    assert_eq!(before, None, "it was there before: {event:?}");
                }
            }
            Fact::Account(..)
            | Fact::Slave(_, SlaveFact::Hosts(_) | SlaveFact::HasSnapshots { .. })
            | Fact::Template(..)
            | Fact::Instance(..)
            | Fact::App(..)
            | Fact::Project(..)
            | Fact::SlaveKey(_)
            | Fact::SignIn(_)
            | Fact::Farm(FarmFact::MasterStarted { .. })
            | Fact::Farm(FarmFact::IdsReserved { .. })
            | Fact::Build(_, BuildFact::StatusPosted { .. })
            | Fact::Build(_, BuildFact::HuntGoesOn { .. })
            | Fact::Build(_, BuildFact::PreparationStarted { .. })
            | Fact::Build(_, BuildFact::PreparationStopped)
            | Fact::Build(_, BuildFact::Prepared { .. })
            | Fact::Build(_, BuildFact::ArchivingStarted)
            | Fact::Build(_, BuildFact::Cleared)
            | Fact::Build(_, BuildFact::Deleted)
            | Fact::Build(_, BuildFact::Described { .. })
            | Fact::Slave(_, SlaveFact::Forgotten)
            | Fact::Slave(_, SlaveFact::Connected { .. })
            | Fact::Slave(_, SlaveFact::ShutdownRequested)
            | Fact::Slave(_, SlaveFact::EndRequested)
            | Fact::Slave(_, SlaveFact::Ended)
            | Fact::Slave(_, SlaveFact::DrainRequested)
            | Fact::Slave(_, SlaveFact::DrainEnded)
            | Fact::Slave(_, SlaveFact::Released)
            | Fact::Slave(_, SlaveFact::ProbeStarted)
            | Fact::Slave(_, SlaveFact::Reserved { .. })
            | Fact::Build(_, BuildFact::SubjobSuspected { .. })
            | Fact::Build(_, BuildFact::Warned { .. })
            | Fact::Build(_, BuildFact::SetupRequested { .. })
            | Fact::Build(_, BuildFact::SetupCompleted { .. })
            | Fact::Build(_, BuildFact::TeardownRequested { .. })
            | Fact::Build(_, BuildFact::TeardownCompleted { .. }) => {}
        }
    }
}
