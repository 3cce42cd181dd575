//! What the walks are worth: with a safeguard of the program taken away, some walk must fail, and
//! soon. A safeguard is taken away in the model around the core, or by a hand on the core's state;
//! the program itself has no switch for it.

use super::master::Master;
use super::plan::Plan;
use super::{Failure, try_walk};
use crate::actor::Actor;
use crate::builds::build::BuildState;
use crate::builds::hand_out::HandOut;
use crate::command::Command;
use crate::event::{BuildFact, Event, Fact, SlaveFact};
use crate::refusal::Refusal;
use crate::slaves::doubts::SICK_AFTER;
use crate::slaves::slave::Slave;
use crate::tests::scenario::Turn;
use clusterrunner_common::ids::{BuildId, SubjobId};

/// How many seeds are walked with each; the first that fails must be among them.
const NUM_SEEDS: u64 = 200;

/// A safeguard that is missing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mutation {
    /// Fencing: whoever brings a result, and of whichever attempt, it counts for the current one.
    StaleResultsCount,
    /// Idempotency of the master: the same result counts each time that it comes.
    RepeatedResultsCount,
    /// Idempotency of slaves: what is asked for twice is run twice.
    StartsAreRepeated,
    /// Lease expiry: a slave that is silent is waited for.
    SilentSlavesAreKept,
    /// Re-queue: what a lost slave ran is not handed out again.
    LostWorkIsNotQueuedAgain,
    /// Write before answer: others hear of a turn, and act on it, before it is on disk.
    AnswersComeBeforeTheDisk,
    /// A master that starts does not ask again for what was under way.
    NothingIsAskedForAfterARestart,
    /// A call that got no answer is not made again.
    CallsAreMadeOnce,
    /// A slave that was started again is taken for the life before.
    NewLivesAreTakenForOld,
    /// What is to be removed is asked for once, and a master that dies has not done it.
    RemovalsAreAskedForOnce,
    /// Re-queue of what was given ahead: what waited on a lost slave is not handed out again.
    LostQueuesAreNotQueuedAgain,
    /// A slave that refuses something while its executors work is not listened to: what it refused
    /// seems to wait there.
    RefusalsOfBusySlavesAreIgnored,
    /// A master that died over preparing a build is taken for one that was stopped.
    PreparingIsNotCounted,
    /// The queue of a slave: what comes while its executors work is dropped.
    SlavesDropWhatWaits,
    /// Like is not compared with like: a slave is quarantined for its own failed results alone.
    QuarantineByOwnRecordOnly,
    /// Incarnations: neither the master nor its slaves ask which one an order or a result is of.
    IncarnationIsNotChecked,
    /// Generations: whatever placement of an instance a slave speaks of, it counts for the latest.
    GenerationsAreNotChecked,
    /// Successors: a slave lets the old copy of an instance stand for the new placement.
    SuccessorsDoNotWait,
    /// Digests: a slave starts what it fetched as it came.
    SnapshotsAreNotChecked,
    /// Deploys: what worked is stopped before its successor is up.
    ReplacedBeforeTheSuccessorIsUp,
    /// Versions: two releases of an app have the same.
    VersionsAreGivenTwice,
    /// Rollbacks: a config is merged into the latest one, and not into that of the newest release.
    ConfigsAreMergedIntoTheLatest,
}

const ALL: [Mutation; 22] = [
    Mutation::StaleResultsCount,
    Mutation::RepeatedResultsCount,
    Mutation::StartsAreRepeated,
    Mutation::SilentSlavesAreKept,
    Mutation::LostWorkIsNotQueuedAgain,
    Mutation::AnswersComeBeforeTheDisk,
    Mutation::NothingIsAskedForAfterARestart,
    Mutation::CallsAreMadeOnce,
    Mutation::NewLivesAreTakenForOld,
    Mutation::RemovalsAreAskedForOnce,
    Mutation::LostQueuesAreNotQueuedAgain,
    Mutation::RefusalsOfBusySlavesAreIgnored,
    Mutation::SlavesDropWhatWaits,
    Mutation::QuarantineByOwnRecordOnly,
    Mutation::PreparingIsNotCounted,
    Mutation::IncarnationIsNotChecked,
    Mutation::GenerationsAreNotChecked,
    Mutation::SuccessorsDoNotWait,
    Mutation::SnapshotsAreNotChecked,
    Mutation::ReplacedBeforeTheSuccessorIsUp,
    Mutation::VersionsAreGivenTwice,
    Mutation::ConfigsAreMergedIntoTheLatest,
];

/// Walks without each safeguard until a walk fails. With `CLUSTERRUNNER_WALK_MUTATION`, a piece of a name or nothing, all
/// seeds are walked without the safeguards of that name, and counted: the table of `docs/reliability.md`.
#[test]
fn a_missing_safeguard_is_found_out() {
    let wanted = std::env::var("CLUSTERRUNNER_WALK_MUTATION").ok();
    let most = if wanted.is_some() { usize::MAX } else { 1 };
    let name = wanted.unwrap_or_default();
    let mut missed = Vec::new();
    let named = |mutation: &Mutation| format!("{mutation:?}").contains(&name);
    for mutation in ALL.into_iter().filter(named) {
        let fails = |seed: &u64| try_walk(&Plan::new(*seed), Some(mutation)).is_err();
        let failing: Vec<u64> = (0..NUM_SEEDS).filter(fails).take(most).collect();
        let first = failing.first();
        if most == 1 {
            println!("{mutation:?}: fails first with seed {first:?}");
        } else {
            let failing = failing.len();
            println!(
                "{mutation:?}: fails in {failing} of {NUM_SEEDS} walks, first with seed {first:?}"
            );
        }
        if failing.is_empty() {
            missed.push(mutation);
        }
    }
    assert!(missed.is_empty(), "nobody misses {missed:?}");
}

/// A walk that fails is made smaller, fails the same way each time, and is printed as it can be kept.
#[test]
fn a_failing_walk_is_made_smaller() {
    let mutation = Some(Mutation::SilentSlavesAreKept);
    let fails = |plan: &Plan| try_walk(plan, mutation).err().map(|Failure(text)| text);
    let (plan, failure) = (0..NUM_SEEDS)
        .map(Plan::new)
        .filter(|plan| plan.faults.len() > 5)
        .find_map(|plan| fails(&plan).map(|failure| (plan, failure)))
        .unwrap();
    let before = plan.faults.len();
    let (smallest, failure) = plan.smallest(failure, fails);
    println!(
        "{}\n{}",
        smallest.as_rust(),
        failure.lines().next().unwrap()
    );
    assert!(smallest.faults.len() < before, "{smallest:?}");
    assert!(fails(&smallest).is_some());
    assert!(
        try_walk(&smallest, None).is_ok(),
        "only without the safeguard"
    );
    assert!(smallest.as_rust().contains("faults: vec![("));
}

/// Whether a slave has more than its executors work on.
fn has_queue(slave: &Slave) -> bool {
    slave.running.len() > slave.num_executors as usize
}

impl Master {
    /// One command as the core takes it, or as a core without a safeguard would.
    #[expect(clippy::too_many_lines, reason = "an arm for each mutation")]
    pub(super) fn take(&mut self, command: Command) -> Result<Turn, Refusal> {
        match (self.mutation, command) {
            (
                Some(Mutation::StaleResultsCount),
                Command::ReportFinished {
                    hand_out, outcomes, ..
                },
            ) => {
                let hand_out = self.current(hand_out);
                self.farm.try_tell(Command::ReportFinished {
                    hand_out,
                    executor: None,
                    outcomes,
                })
            }
            (
                Some(Mutation::RepeatedResultsCount),
                Command::ReportFinished {
                    hand_out, outcomes, ..
                },
            ) if self.farm.cluster.is_repeated(hand_out) == Ok(true) => {
                let HandOut {
                    slave,
                    build,
                    subjob,
                    attempt,
                } = hand_out;
                let fact = Fact::Build(
                    build,
                    BuildFact::SubjobFinished {
                        slave,
                        subjob,
                        attempt,
                        executor: None,
                        outcomes,
                    },
                );
                let at = self.farm.journal.last().unwrap().at;
                let event = Event {
                    at,
                    by: Actor::Master,
                    fact,
                };
                self.farm.cluster.apply(&event);
                self.farm.cluster.check().unwrap();
                self.farm.journal.push(event);
                Ok(Turn::default())
            }
            (Some(Mutation::SilentSlavesAreKept), Command::ReportSlaveDied { reason, .. })
                if reason == super::master::SILENCE =>
            {
                Ok(Turn::default())
            }
            (
                Some(Mutation::LostWorkIsNotQueuedAgain),
                Command::GiveSlaveUp { slave, .. } | Command::ReportSlaveDied { slave, .. },
            ) => {
                for build in self.farm.cluster.builds.values_mut() {
                    if let BuildState::Building(progress) =
                        &mut std::sync::Arc::make_mut(build).state
                    {
                        progress.running.retain(|_, (holder, _)| *holder != slave);
                    }
                }
                let reason = super::master::SILENCE.to_owned();
                self.farm.try_tell(Command::GiveSlaveUp { slave, reason })
            }
            (
                Some(Mutation::LostQueuesAreNotQueuedAgain),
                Command::GiveSlaveUp { slave, reason } | Command::ReportSlaveDied { slave, reason },
            ) => {
                let cluster = &mut self.farm.cluster;
                let lost = cluster.slave(slave).map(|lost| {
                    let running = lost.running.iter().copied();
                    running.skip(lost.num_executors as usize).collect()
                });
                let queue: Vec<(BuildId, SubjobId)> = lost.unwrap_or_default();
                for (build, subjob) in queue {
                    let build = cluster.builds.get_mut(&build).map(std::sync::Arc::make_mut);
                    if let Some(BuildState::Building(progress)) = build.map(|b| &mut b.state) {
                        progress.running.remove(&subjob);
                    }
                }
                self.farm.try_tell(Command::GiveSlaveUp { slave, reason })
            }
            (
                Some(Mutation::RefusalsOfBusySlavesAreIgnored),
                Command::ReportRefusal { slave, .. },
            ) if self.farm.cluster.slave(slave).is_some_and(has_queue) => Ok(Turn::default()),
            (
                Some(Mutation::NewLivesAreTakenForOld),
                Command::ConnectSlave {
                    url,
                    num_executors,
                    labels,
                    session,
                    finished,
                    seen,
                    fresh,
                    ..
                },
            ) => {
                let known = self.farm.cluster.slave_at(&url);
                let (known_as, session) = known.map_or((None, session), |known| {
                    (Some(known.id), known.session.clone())
                });
                self.farm.try_tell(Command::ConnectSlave {
                    url,
                    session,
                    num_executors,
                    labels,
                    known_as,
                    finished,
                    seen,
                    fresh,
                    key: None,
                })
            }
            (Some(Mutation::QuarantineByOwnRecordOnly), command) => {
                self.take_by_own_record(command)
            }
            (Some(Mutation::PreparingIsNotCounted), start @ Command::Start { .. }) => {
                let builds = self.farm.cluster.builds();
                let preparing = builds.filter(|build| build.state == BuildState::Preparing);
                let preparing: Vec<BuildId> = preparing.map(|build| build.id).collect();
                for build in preparing {
                    self.farm
                        .try_tell(Command::ReportPreparationStopped { build })?;
                }
                self.farm.try_tell(start)
            }
            (Some(Mutation::NothingIsAskedForAfterARestart), start @ Command::Start { .. }) => {
                let mut turn = self.farm.try_tell(start)?;
                let is_call = |effect: &crate::effect::Effect| {
                    matches!(effect, crate::effect::Effect::Call { .. })
                };
                turn.effects.retain(|effect| !is_call(effect));
                Ok(turn)
            }
            (Some(Mutation::RemovalsAreAskedForOnce), start @ Command::Start { .. }) => {
                let mut turn = self.farm.try_tell(start)?;
                let is_removal = |effect: &crate::effect::Effect| {
                    matches!(effect, crate::effect::Effect::RemoveBuild { .. })
                };
                turn.effects.retain(|effect| !is_removal(effect));
                Ok(turn)
            }
            (
                Some(Mutation::IncarnationIsNotChecked),
                Command::ConnectSlave {
                    url,
                    session,
                    num_executors,
                    labels,
                    known_as,
                    mut finished,
                    fresh,
                    ..
                },
            ) => {
                for claim in &mut finished {
                    claim.incarnation = self.farm.cluster.lineage().incarnation().cloned();
                }
                self.farm.try_tell(Command::ConnectSlave {
                    url,
                    session,
                    num_executors,
                    labels,
                    known_as,
                    finished,
                    seen: crate::tests::scenario::proved(self.farm.seen()),
                    fresh,
                    key: None,
                })
            }
            (
                Some(Mutation::GenerationsAreNotChecked),
                Command::ReportInstances {
                    slave,
                    session,
                    mut report,
                },
            ) => {
                for said in &mut report.instances {
                    let latest = self.farm.cluster.instance(said.id);
                    said.generation = latest.map_or(said.generation, |latest| latest.generation);
                }
                self.farm.try_tell(Command::ReportInstances {
                    slave,
                    session,
                    report,
                })
            }
            (_, Command::App { by, command }) => self.take_of_app(by, command),
            (_, command) => self.farm.try_tell(command),
        }
    }

    /// A slave is sick as soon as five of its results in a row failed.
    fn take_by_own_record(&mut self, command: Command) -> Result<Turn, Refusal> {
        let slave = match &command {
            Command::ReportFinished { hand_out, .. } => Some(hand_out.slave),
            _ => None,
        };
        let turn = self.farm.try_tell(command)?;
        let is_sick = |slave: &&Slave| {
            slave.is_alive()
                && slave.quarantine.is_none()
                && slave.record.streak.length() >= SICK_AFTER
        };
        let sick = slave.and_then(|id| self.farm.cluster.slave(id));
        if let Some(sick) = sick.filter(is_sick).map(|slave| slave.id) {
            let reason = "its last 5 results all failed while others are not asked".to_owned();
            let at = self.farm.journal.last().unwrap().at;
            let fact = Fact::Slave(sick, SlaveFact::Quarantined { reason });
            let event = Event {
                at,
                by: Actor::Master,
                fact,
            };
            self.farm.cluster.apply(&event);
            self.farm.cluster.check().unwrap();
            self.farm.journal.push(event);
        }
        Ok(turn)
    }

    /// The hand-out of the same subjob that counts now.
    fn current(&self, hand_out: HandOut) -> HandOut {
        let build = self.farm.cluster.build(hand_out.build);
        let running = build.and_then(|build| build.progress()?.running.get(&hand_out.subjob));
        running.map_or(hand_out, |(slave, attempt)| HandOut {
            slave: *slave,
            attempt: *attempt,
            ..hand_out
        })
    }
}
