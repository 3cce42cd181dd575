//! The statuses that a build goes through: derived from its state and its times, and from the notes that are kept of
//! what those do not say. A status once given never changes: the list only grows at its end.

use crate::builds::build::{Build, BuildState};
use crate::builds::status::{MAX_POSTED, Noted, PostedStatus, Status, StatusNote};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::SlaveId;

/// How many notes are kept of a build. Further outages of its slaves are not told.
const MAX_NOTES: usize = 100;

/// A status of a build, and when the build got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusChange<'a> {
    /// The status.
    pub status: Status,
    /// Since when.
    pub at: Timestamp,
    /// What led to it.
    pub cause: StatusCause<'a>,
}

/// What led to a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusCause<'a> {
    /// A build was asked for.
    Accepted,
    /// A slave was chosen.
    SlaveChosen,
    /// The slave was asked to set the build up.
    SetupBegun,
    /// This slave is ready, as far as it is known.
    SlaveReady(Option<SlaveId>),
    /// The last slave that had it was lost, as this sentence says.
    SlavesLost(&'a str),
    /// All its atoms have a result, so many of them a failed one.
    Finished {
        /// How many atoms failed.
        atoms_failed: u64,
    },
    /// It could not be run, or not to its end.
    Error(&'a str),
    /// A caller stopped it.
    Canceled,
    /// A caller has posted the status.
    Posted(&'a PostedStatus),
}

impl Build {
    /// All its statuses, the oldest first. There is at least one.
    #[must_use]
    pub fn statuses(&self) -> Vec<StatusChange<'_>> {
        let mut statuses: Vec<StatusChange<'_>> = Vec::with_capacity(6);
        for change in self.status_candidates() {
            let last = statuses.last().map(|last| last.status);
            if last.is_none_or(|last| change.status.may_follow(last)) {
                statuses.push(change);
            }
        }
        statuses
    }

    /// Its latest status, and since when.
    #[must_use]
    pub fn status(&self) -> (Status, Timestamp) {
        let last = self.statuses().pop();
        last.map_or((Status::Created, Timestamp(0)), |last| {
            (last.status, last.at)
        })
    }

    /// The slave that works on it, or did last.
    #[must_use]
    pub fn main_slave(&self) -> Option<&str> {
        let mut ready = self.status_notes.iter().rev();
        let ready = ready.find_map(|note| match note.what {
            Noted::SlaveReady(slave) => self.slave_urls.get(&slave),
            _ => None,
        });
        let chosen = || self.slave_urls.values().next();
        ready.or_else(chosen).map(String::as_str)
    }

    /// Whether callers have posted as many statuses as are kept.
    #[must_use]
    pub(crate) fn has_enough_posted(&self) -> bool {
        let is_posted = |note: &&StatusNote| matches!(note.what, Noted::Posted(_));
        self.status_notes.iter().filter(is_posted).count() >= MAX_POSTED
    }

    /// What gives a status where the status before allows it, in the order in which it happened.
    fn status_candidates(&self) -> impl Iterator<Item = StatusChange<'_>> {
        let change = |status, at, cause| StatusChange { status, at, cause };
        let queued = self.timestamps.queued.unwrap_or(Timestamp(0));
        let created = change(Status::Created, queued, StatusCause::Accepted);
        let is_chosen = |note: &StatusNote| note.what == Noted::SlaveChosen;
        let chosen = match self.timestamps.building {
            Some(at) if !self.status_notes.iter().any(is_chosen) => slave_chosen(at).to_vec(),
            _ => Vec::new(),
        };
        let noted = self.status_notes.iter();
        let noted = noted.flat_map(move |StatusNote { at, what }| match what {
            Noted::SlaveChosen => slave_chosen(*at).to_vec(),
            Noted::SlaveReady(slave) => {
                let cause = StatusCause::SlaveReady(Some(*slave));
                vec![change(Status::Running, *at, cause)]
            }
            Noted::SlavesLost(reason) => {
                let cause = StatusCause::SlavesLost(reason);
                vec![change(Status::Unknown, *at, cause)]
            }
            Noted::Posted(posted) => {
                vec![change(posted.status, *at, StatusCause::Posted(posted))]
            }
        });
        let end = self.end().map(|(status, at, cause)| {
            let at = at.unwrap_or(queued);
            change(status, at, cause)
        });
        let all = [created].into_iter().chain(chosen);
        all.chain(noted).chain(end)
    }

    fn end(&self) -> Option<(Status, Option<Timestamp>, StatusCause<'_>)> {
        let times = &self.timestamps;
        match &self.state {
            BuildState::Queued
            | BuildState::Preparing
            | BuildState::Prepared
            | BuildState::Building(_)
            | BuildState::Split
            | BuildState::Archiving => None,
            BuildState::Finished => {
                let status = match self.atoms_failed {
                    0 => Status::Succeeded,
                    _ => Status::Failed,
                };
                let atoms_failed = self.atoms_failed;
                let cause = StatusCause::Finished { atoms_failed };
                Some((status, times.finished, cause))
            }
            BuildState::Error { reason } => {
                Some((Status::Failed, times.error, StatusCause::Error(reason)))
            }
            BuildState::Canceled => Some((Status::Stopped, times.canceled, StatusCause::Canceled)),
        }
    }

    /// Notes that a first slave is chosen, where its place among the other notes must be known.
    pub(crate) fn note_slave_chosen(&mut self, at: Timestamp) {
        if !self.status_notes.is_empty() {
            self.note_status(at, Noted::SlaveChosen);
        }
    }

    /// Notes that a slave works on it, unless one does already.
    pub(crate) fn note_slave_ready(&mut self, slave: SlaveId, at: Timestamp) {
        let of_slaves = self.status_notes.iter().rev().find_map(|note| {
            let is_ready = match note.what {
                Noted::SlaveReady(_) => true,
                Noted::SlavesLost(_) => false,
                Noted::SlaveChosen | Noted::Posted(_) => return None,
            };
            Some(is_ready)
        });
        if of_slaves != Some(true) && !self.is_over() {
            self.note_status(at, Noted::SlaveReady(slave));
        }
    }

    /// Notes that no slave has it any more.
    pub(crate) fn note_slaves_lost(&mut self, reason: &str, at: Timestamp) {
        // Room for the slave that comes back is kept.
        if self.status_notes.len() + 1 < MAX_NOTES {
            self.note_status(at, Noted::SlavesLost(reason.into()));
        }
    }

    /// Notes what a caller has posted.
    pub(crate) fn note_posted(&mut self, posted: &PostedStatus, at: Timestamp) {
        self.note_status(at, Noted::Posted(Box::new(posted.clone())));
    }

    fn note_status(&mut self, at: Timestamp, what: Noted) {
        self.status_notes.push(StatusNote { at, what });
    }
}

/// The two statuses that come with the choice of a slave, which is asked at once to set the build up.
fn slave_chosen<'a>(at: Timestamp) -> [StatusChange<'a>; 2] {
    let scheduled = StatusChange {
        status: Status::Scheduled,
        at,
        cause: StatusCause::SlaveChosen,
    };
    let building = StatusChange {
        status: Status::Building,
        at,
        cause: StatusCause::SetupBegun,
    };
    [scheduled, building]
}
