//! How a build gets on: its subjobs wait, go out, come back and end.

use crate::builds::build::{Build, BuildState};
use crate::builds::mishaps::FailedAttempt;
use crate::builds::outcome::AtomOutcome;
use crate::builds::progress::Progress;
use crate::builds::unstarted::{QueuePlace, Unstarted};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, SlaveId, SubjobId};
use std::collections::{BTreeMap, BTreeSet};

impl Build {
    /// Enters the state in which slaves run it, if it is not there yet.
    pub(crate) fn start_building(&mut self, at: Timestamp) {
        if self.state == BuildState::Prepared {
            self.timestamps.building = Some(at);
            self.note_slave_chosen(at);
            self.state = BuildState::Building(Progress {
                unstarted: self
                    .numbered_subjobs()
                    .map(|(id, subjob)| QueuePlace::of(id, subjob))
                    .collect(),
                set_aside: BTreeSet::new(),
                again: Unstarted::default(),
                running: BTreeMap::new(),
                kept: BTreeMap::new(),
            });
        }
    }

    /// Sorts its waiting subjobs again after the build was read from the journal.
    pub(crate) fn order_unstarted(&mut self) {
        let (unstarted, again) = self.ordered_unstarted();
        if let BuildState::Building(progress) = &mut self.state {
            (progress.unstarted, progress.again) = (unstarted, again);
        }
    }

    /// Those of its subjobs that wait, and those that are run again, each where it belongs.
    pub(crate) fn ordered_unstarted(&self) -> (Unstarted, Unstarted) {
        let place = |id| Some(QueuePlace::of(id, self.subjob(id)?));
        match self.progress() {
            Some(progress) => (
                progress.unstarted.iter().filter_map(place).collect(),
                progress.again.iter().filter_map(place).collect(),
            ),
            None => (Unstarted::default(), Unstarted::default()),
        }
    }

    /// What a slave has of it.
    pub(crate) fn held_by(&self, slave: SlaveId) -> Vec<SubjobId> {
        let running = self.progress().into_iter().flat_map(|p| &p.running);
        let held = running.filter(|(_, (holder, _))| *holder == slave);
        held.map(|(subjob, _)| *subjob).collect()
    }

    /// Returns all subjobs that `slave` holds to the front of the waiting subjobs: they have waited longest. Says how
    /// many these are.
    pub(crate) fn take_back(&mut self, slave: SlaveId, reason: &str) -> usize {
        let held = self.held_by(slave);
        for subjob in held.iter().rev() {
            self.return_subjob(*subjob, reason);
        }
        held.len()
    }

    /// Counts a slave that was lost with a subjob, which waits again by now.
    pub(crate) fn suspect(&mut self, id: SubjobId) {
        let subjob = self.subjob_mut(id);
        subjob.mishaps_mut().slaves_lost += 1;
        let (is_suspect, place) = (subjob.is_suspect(), QueuePlace::of(id, subjob));
        if is_suspect
            && let BuildState::Building(progress) = &mut self.state
            && (progress.unstarted.remove(place) || progress.again.remove(place))
        {
            progress.set_aside.insert(id);
        }
    }

    /// Counts the build's hand-outs that a slave holds as wasted: the slave is alive but brings no results.
    pub(crate) fn waste(&mut self, slave: SlaveId) {
        for subjob in self.held_by(slave) {
            self.subjob_mut(subjob).mishaps_mut().wasted += 1;
        }
    }

    /// The latest attempt of a subjob; before its first hand-out, the number that its attempts begin after.
    #[must_use]
    pub fn last_attempt(&self, id: SubjobId) -> Option<Attempt> {
        let attempts = self.subjob(id)?.attempts;
        Some(Attempt(self.attempts_from.saturating_add(attempts)))
    }

    /// The number of the next hand-out of a subjob.
    #[must_use]
    pub fn next_attempt(&self, id: SubjobId) -> Option<Attempt> {
        self.last_attempt(id).map(Attempt::next)
    }

    /// Notes that a slave has a subjob now.
    pub(crate) fn hand_out(&mut self, subjob: SubjobId, slave: SlaveId, attempt: Attempt) {
        let attempts = attempt.0.saturating_sub(self.attempts_from);
        let handed_out = self.subjob_mut(subjob);
        // Where it stands changes with its attempts.
        let place = QueuePlace::of(subjob, handed_out);
        handed_out.attempts = attempts;
        handed_out.slave = Some(slave);
        handed_out.take_mishap(|mishaps| mishaps.outlived_master = false);
        if let BuildState::Building(progress) = &mut self.state {
            if !progress.unstarted.remove(place) && !progress.again.remove(place) {
                progress.set_aside.remove(&subjob);
            }
            progress.running.insert(subjob, (slave, attempt));
        }
    }

    /// Notes that a slave still has the result of a subjob that waits for another.
    pub(crate) fn keep(&mut self, subjob: SubjobId, slave: SlaveId, attempt: Attempt) {
        let place = QueuePlace::of(subjob, self.subjob_mut(subjob));
        if let BuildState::Building(progress) = &mut self.state {
            progress.unstarted.remove(place);
            progress.again.remove(place);
            progress.set_aside.remove(&subjob);
            progress.kept.insert(subjob, (slave, attempt));
        }
        let kept = self.subjob_mut(subjob);
        kept.slave = Some(slave);
        kept.take_mishap(|mishaps| mishaps.last_return = None);
    }

    /// Records the result of a subjob.
    pub(crate) fn finish_subjob(
        &mut self,
        subjob: SubjobId,
        attempt: Attempt,
        outcomes: &[AtomOutcome],
    ) {
        if let BuildState::Building(progress) = &mut self.state {
            progress.running.remove(&subjob);
            progress.set_aside.remove(&subjob);
            progress.kept.remove(&subjob);
        }
        let failed = outcomes
            .iter()
            .filter(|outcome| outcome.exit_code != 0)
            .count();
        let in_trouble = outcomes.iter().filter(|outcome| outcome.trouble.is_some());
        self.atoms_in_trouble += in_trouble.count() as u64;
        self.standing.observe(outcomes);
        self.num_finished += 1;
        self.atoms_completed += outcomes.len() as u64;
        self.atoms_failed += failed as u64;
        let finished = self.subjob_mut(subjob);
        let is_poison = finished.is_poison();
        finished.take_mishap(|mishaps| {
            mishaps.last_loss = mishaps.last_return.take().filter(|_| is_poison);
        });
        finished.result = Some((attempt, outcomes.iter().copied().collect()));
        if finished.is_flaky() {
            self.note_flaky(subjob);
        }
    }

    fn note_flaky(&mut self, subjob: SubjobId) {
        let atoms = self.subjob(subjob).map_or(0, |flaky| flaky.atoms.len()) as u64;
        self.atoms_flaky += atoms;
        if self.flaky_fails() {
            self.atoms_failed += atoms;
        }
    }

    /// Keeps a failed result that does not count, since the subjob is run again.
    pub(crate) fn keep_failed(&mut self, subjob: SubjobId, failed: FailedAttempt) {
        self.standing.run_again += failed.outcomes.len() as u64;
        let known = self.subjob_mut(subjob);
        known.mishaps_mut().failed.push(failed);
        self.put_back(subjob);
    }

    pub(crate) fn return_subjob(&mut self, subjob: SubjobId, reason: &str) {
        let returned = self.subjob_mut(subjob);
        returned.mishaps_mut().last_return = Some(reason.to_owned());
        self.put_back(subjob);
    }

    /// A subjob that a slave had waits again.
    fn put_back(&mut self, subjob: SubjobId) {
        let returned = self.subjob_mut(subjob);
        // An exhausted subjob is set aside: there `follow_up` finds it at once and fails the build.
        let is_for_all = !returned.is_suspect()
            && !returned.is_exhausted()
            && returned.mishaps().unusable_from.is_empty()
            && returned.mishaps().doubted_from.is_none();
        let has_failed = !returned.failed_attempts().is_empty();
        let place = QueuePlace::of(subjob, returned);
        if let BuildState::Building(progress) = &mut self.state {
            progress.running.remove(&subjob);
            progress.kept.remove(&subjob);
            match (is_for_all, has_failed) {
                (true, false) => progress.unstarted.insert(place),
                (true, true) => progress.again.insert(place),
                (false, _) => {
                    progress.set_aside.insert(subjob);
                }
            }
        }
    }
}
