//! When failed results speak against a slave. The rules, in one place.
//!
//! **Like is compared with like**: that an atom failed speaks against a slave only when the same atom, of the same
//! build and so of the same commit, passed on another slave. What others fail at as well never does, in whatever
//! build of that commit ([`Failures`] remembers it for a while).
//!
//! - After [`DOUBT_AFTER`] failed results in a row, with nothing passed between them, a slave is in *doubt*. Another
//!   slave reruns what a doubted slave fails before the failure counts, and the doubted slave runs one atom at a
//!   time. If other slaves fail often too, doubt begins only after a longer row.
//! - An atom that fails elsewhere as well clears the slave, and the next doubt takes twice as long a row. An atom
//!   that the slave passes clears it wholly. One that passes elsewhere speaks against it.
//! - It is sick when [`FEWEST_AGAINST`] of at least [`SICK_AFTER`] failed results in a row passed elsewhere, and so
//!   long a row would be less likely than [`MOST_CHANCE`], judged by how often others fail in these builds (the rule
//!   of succession). While other slaves may still show how often they fail, the doubted slave gets no work, so it
//!   spoils no more atoms.
//!
//! An atom is doubted once, so it runs at most once more; and only where another slave can take it.

use super::record::Streak;
use crate::Cluster;
use crate::builds::build::Build;
use crate::builds::hand_out::HandOut;
use crate::builds::outcome::AtomOutcome;
use crate::builds::subjob::Subjob;
use crate::slaves::slave::{BuildOnSlave, Slave};
use clusterrunner_common::ids::{BuildId, SlaveId, SubjobId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// So many results of a slave must have failed in a row before one of them is run elsewhere first.
pub(crate) const DOUBT_AFTER: u32 = 3;

/// So many must have failed in a row before it is sick.
pub(crate) const SICK_AFTER: u32 = 5;

/// So many of them must have passed elsewhere.
const FEWEST_AGAINST: u32 = 3;

/// A slave is sick only if a healthy slave would fail such a row with at most this probability.
const MOST_CHANCE: f64 = 1e-5;

/// How likely it may be where a slave is doubted, if others fail at all often.
const DOUBT_CHANCE: f64 = 1e-3;

/// Others fail often when they fail one of so many atoms.
const OFTEN: u64 = 4;

/// The longest row that doubt may require, before it doubles for each doubt that was cleared.
const ALWAYS: u32 = 200;

/// After so many results of others it is known how often they fail.
const ENOUGH_OF_OTHERS: u64 = 14;

/// How many failed atoms are remembered.
const REMEMBERED: usize = 512;

impl Slave {
    /// Whether nothing speaks against it that an atom that passes could change.
    fn is_clean(&self) -> bool {
        self.relapses == 0 && self.record.streak == Streak::default()
    }
}

/// Atoms that failed lately, the latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failures(VecDeque<Failure>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Failure {
    /// Project, commit, job and atom.
    atom: u64,
    /// Where it failed first.
    url: String,
    /// Whether it failed at another slave as well.
    is_shared: bool,
}

impl Failures {
    fn find(&self, atom: u64) -> Option<&Failure> {
        self.0.iter().find(|failure| failure.atom == atom)
    }

    /// Whether another slave than this one failed at the atom as well.
    fn are_shared(&self, atom: u64, url: &str) -> bool {
        let found = self.find(atom);
        found.is_some_and(|failure| failure.is_shared || failure.url != url)
    }

    fn note(&mut self, atom: u64, url: &str) {
        if let Some(known) = self.0.iter_mut().find(|failure| failure.atom == atom) {
            known.is_shared |= known.url != url;
            return;
        }
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(Failure {
            atom,
            url: url.to_owned(),
            is_shared: false,
        });
    }
}

/// How a result counts here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tenor {
    /// At least one atom passed.
    Passed,
    Failed,
    /// It took too long, or was not run to its end: that tells nothing of its slave.
    Nothing,
}

fn tenor(outcomes: &[AtomOutcome]) -> Tenor {
    if outcomes.iter().any(|outcome| outcome.exit_code == 0) {
        Tenor::Passed
    } else if outcomes.is_empty() || outcomes.iter().any(|outcome| outcome.trouble.is_some()) {
        Tenor::Nothing
    } else {
        Tenor::Failed
    }
}

/// A hash that is equal for the same atoms of the same job at the same commit; without a commit, only within one
/// build.
fn fingerprint(build: &Build, subjob: SubjobId) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    let plan = build.plan.as_ref()?;
    match &plan.commit {
        Some(commit) => (build.project, commit).hash(&mut hasher),
        None => build.id.0.hash(&mut hasher),
    }
    let job = build.request.job_of_atoms(&plan.job_name);
    (&job, &plan.setup_build, &plan.command).hash(&mut hasher);
    build.subjob(subjob)?.atoms.hash(&mut hasher);
    Some(hasher.finish())
}

/// How likely a row of failed results is where others had so many results, so many of them failed.
fn chance(length: u32, others: u64, failed: u64) -> f64 {
    let share = small(failed + 1) / small(others + 2);
    share.powi(i32::try_from(length).unwrap_or(i32::MAX))
}

fn small(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

impl Cluster {
    /// Whether a failed result is to be run elsewhere before it counts.
    pub(crate) fn is_doubtful(&self, hand_out: HandOut, outcomes: &[AtomOutcome]) -> bool {
        if tenor(outcomes) != Tenor::Failed {
            return false;
        }
        let HandOut {
            slave,
            build,
            subjob,
            ..
        } = hand_out;
        let (Some(slave), Some(build)) = (self.slave(slave), self.build(build)) else {
            return false;
        };
        let Some((state, atom)) = build.subjob(subjob).zip(fingerprint(build, subjob)) else {
            return false;
        };
        let streak = &slave.record.streak;
        let is_asked = |(of, asked): &(BuildId, SubjobId)| {
            let of = self.build(*of);
            of.and_then(|of| fingerprint(of, *asked)) == Some(atom)
        };
        slave.running.contains(&(build.id, subjob))
            && state.mishaps().doubted_from.is_none()
            && !state.is_suspect()
            && (streak.is_doubted || streak.length + 1 >= self.doubt_after(streak, build))
            && !self.failures.are_shared(atom, &slave.url)
            && !streak.asked.iter().any(is_asked)
            && self.has_better_than(Some(slave.id), build, state)
    }

    /// How many failed results in a row make a slave doubtful.
    fn doubt_after(&self, streak: &Streak, build: &Build) -> u32 {
        let mut builds = streak.builds();
        builds.insert(build.id);
        let (others, failed) = self.results_of_others(streak, &builds);
        let mut after = DOUBT_AFTER;
        if failed * OFTEN > others {
            while after < ALWAYS && chance(after, others, failed) > DOUBT_CHANCE {
                after += 1;
            }
        }
        after << streak.cleared.min(16)
    }

    /// How many results the atoms of these builds have that are not of the row, and how many of them failed. What was
    /// run again counts as well: by what failed in the end alone, atoms that are flaky would seem to fail hardly ever.
    fn results_of_others(&self, streak: &Streak, builds: &BTreeSet<BuildId>) -> (u64, u64) {
        let known = builds.iter().filter_map(|id| self.build(*id));
        known.fold((0, 0), |(others, failed), build| {
            let own = streak.recorded.get(&build.id).copied().unwrap_or(0);
            let (runs, failed_runs) = build.runs();
            (
                others + runs.saturating_sub(own),
                failed + failed_runs.saturating_sub(own),
            )
        })
    }

    /// Whether another slave can take something of a build from this one.
    fn has_peer(&self, slave: &Slave, build: &Build) -> bool {
        let mut slaves = self.slaves();
        slaves.any(|other| other.id != slave.id && can_take(other, build))
    }

    /// Whether a slave can take a subjob that has not tried it in vain.
    pub(crate) fn has_better(&self, build: &Build, subjob: &Subjob) -> bool {
        self.has_better_than(None, build, subjob)
    }

    fn has_better_than(&self, tried: Option<SlaveId>, build: &Build, subjob: &Subjob) -> bool {
        let mut slaves = self.slaves();
        slaves.any(|other| {
            Some(other.id) != tried && !subjob.is_shunned_by(other.id) && can_take(other, build)
        })
    }

    /// A result that counts, or the failed one of a subjob that is run again. Called before the build takes it.
    pub(crate) fn note_outcome(
        &mut self,
        slave: SlaveId,
        build: BuildId,
        subjob: SubjobId,
        outcomes: &[AtomOutcome],
    ) {
        let tenor = tenor(outcomes);
        let known = self.slave(slave).zip(self.build(build));
        let Some((brought, of)) = known else {
            return;
        };
        if tenor == Tenor::Nothing || tenor == Tenor::Passed && brought.is_clean() {
            return;
        }
        if tenor == Tenor::Passed {
            self.change_record(slave, |record| record.streak = Streak::default());
            self.note_well(slave);
            return;
        }
        let atom = fingerprint(of, subjob);
        let url = brought.url.clone();
        let is_shared = atom.is_some_and(|atom| self.failures.are_shared(atom, &url));
        let told = brought.record.streak.recorded.keys().copied();
        let told: BTreeSet<BuildId> = told.filter(|id| self.builds.contains_key(id)).collect();
        if let Some(atom) = atom {
            self.failures.note(atom, &url);
        }
        self.change_record(slave, |record| {
            let streak = &mut record.streak;
            streak.recorded.retain(|id, _| told.contains(id));
            *streak.recorded.entry(build).or_default() += outcomes.len() as u64;
            streak.length += u32::from(!is_shared);
        });
    }

    /// A failed result does not count: the subjob is run elsewhere.
    pub(crate) fn note_doubt(&mut self, slave: SlaveId, build: BuildId, subjob: SubjobId) {
        let of = self.build(build);
        let atom = of.and_then(|of| fingerprint(of, subjob));
        let url = self.known_slave_mut(slave).url.clone();
        if let Some(atom) = atom {
            self.failures.note(atom, &url);
        }
        self.change_record(slave, |record| {
            let streak = &mut record.streak;
            streak.is_doubted = true;
            streak.length += 1;
            streak.asked.insert((build, subjob));
        });
        self.doubted.insert(slave);
    }

    /// Notes the result that another slave brought for a doubted subjob.
    pub(crate) fn note_second_opinion(
        &mut self,
        doubted: SlaveId,
        subjob: (BuildId, SubjobId),
        from: SlaveId,
        outcomes: &[AtomOutcome],
    ) {
        let is_elsewhere = !self.is_the_same_machine(Some(doubted), from);
        if !self.slaves.contains_key(&doubted) {
            return;
        }
        self.change_record(doubted, |record| {
            let streak = &mut record.streak;
            if !streak.asked.remove(&subjob) || !is_elsewhere {
                return;
            }
            match tenor(outcomes) {
                Tenor::Passed => streak.against += 1,
                Tenor::Failed => {
                    *streak = Streak {
                        cleared: streak.cleared + 1,
                        ..Streak::default()
                    };
                }
                Tenor::Nothing => {}
            }
        });
    }

    /// Updates how many subjobs each slave in doubt may have, and judges the slave. Called after each event: slaves
    /// in doubt are rare.
    pub(crate) fn settle_doubts(&mut self) {
        if self.doubted.is_empty() {
            return;
        }
        let mut has_changed = false;
        for id in self.doubted.clone() {
            let asked = self.still_asked(id);
            self.change_record(id, |record| record.streak.asked = asked);
            let (limit, is_over) = match self.slaves.get(&id) {
                Some(slave) if is_in_doubt(slave) => (self.limit(slave), false),
                Some(_) | None => (None, true),
            };
            if is_over {
                self.doubted.remove(&id);
            }
            let before = self.slaves.get(&id).and_then(|slave| slave.limit);
            if before != limit {
                has_changed = true;
                self.change_slave(id, |slave| slave.limit = limit);
            }
            self.judge(id);
        }
        if has_changed {
            self.attend_to_all();
        }
    }

    fn still_asked(&self, id: SlaveId) -> BTreeSet<(BuildId, SubjobId)> {
        let asked = self.slaves.get(&id).into_iter();
        let asked = asked.flat_map(|slave| &slave.record.streak.asked).copied();
        let is_open = |(build, subjob): &(BuildId, SubjobId)| {
            let build = self.build(*build).filter(|build| build.wants_slaves());
            let subjob = build.and_then(|build| build.subjob(*subjob));
            subjob.is_some_and(|subjob| {
                subjob.result.is_none() && subjob.mishaps().doubted_from == Some(id)
            })
        };
        asked.filter(is_open).collect()
    }

    /// How many subjobs a slave in doubt may have; `None` where nobody could judge it.
    fn limit(&self, slave: &Slave) -> Option<u32> {
        let streak = &slave.record.streak;
        let mut working = self.working.iter().filter_map(|id| self.builds.get(id));
        let mut others = self.slaves().filter(|other| other.id != slave.id);
        let is_answered = |(of, id): &(BuildId, SubjobId)| {
            let of = self.build(*of);
            let asked = of.and_then(|of| Some((of, of.subjob(*id)?)));
            asked.is_some_and(|(of, subjob)| {
                let holder = of.progress().and_then(|progress| progress.running.get(id));
                let is_elsewhere = holder.is_some_and(|(holder, _)| *holder != slave.id);
                is_elsewhere || self.has_better(of, subjob)
            })
        };
        let may_be_judged = if !streak.asked.is_empty() {
            streak.asked.iter().any(is_answered)
        } else if self.working.is_empty() {
            others.any(Slave::takes_work)
        } else {
            working.any(|build| self.has_peer(slave, build))
        };
        if !may_be_judged {
            return None;
        }
        let enough = if streak.is_probe { 1 } else { SICK_AFTER };
        let waits = streak.length >= enough
            && (!streak.asked.is_empty() || !streak.is_probe && self.will_tell_more(slave));
        Some(u32::from(!waits))
    }

    /// Whether others are about to show how often they fail.
    fn will_tell_more(&self, slave: &Slave) -> bool {
        let streak = &slave.record.streak;
        let builds = streak.builds();
        let (others, _) = self.results_of_others(streak, &builds);
        let mut builds = builds.iter().filter_map(|id| self.build(*id));
        others < ENOUGH_OF_OTHERS
            && builds.any(|build| {
                let left = build.num_unstarted() + build.num_running();
                build.wants_slaves()
                    && left > slave.num_running(build.id)
                    && self.has_peer(slave, build)
            })
    }

    /// What the failed results of a slave say against it, if that is enough.
    pub(crate) fn fails_alone(&self, slave: &Slave) -> Option<String> {
        let streak = &slave.record.streak;
        if streak.is_probe {
            let reason = "an atom that it was given to try it failed, and passed elsewhere";
            return (streak.against > 0).then(|| reason.to_owned());
        }
        if streak.length < SICK_AFTER || streak.against < FEWEST_AGAINST {
            return None;
        }
        let (others, failed) = self.results_of_others(streak, &streak.builds());
        let others = others.max(u64::from(streak.against));
        (chance(streak.length, others, failed) <= MOST_CHANCE).then(|| {
            format!(
                "its last {} results all failed while others passed {} of the same atoms",
                streak.length, streak.against
            )
        })
    }
}

/// Whether a slave is one of those that [`Cluster::settle_doubts`] looks at.
pub(crate) fn is_in_doubt(slave: &Slave) -> bool {
    slave.is_alive() && slave.quarantine.is_none() && slave.record.streak.is_doubted
}

/// Whether something of a build can go to a slave, be it busy now.
pub(crate) fn can_take(slave: &Slave, build: &Build) -> bool {
    slave.takes_work()
        && slave.limit != Some(0)
        && match slave.builds.get(&build.id) {
            Some(BuildOnSlave::Ready | BuildOnSlave::SettingUp { .. }) => true,
            Some(BuildOnSlave::TearingDown) => false,
            None => build.may_be_set_up_by(slave),
        }
}
