//! Results that gather until they go, by build, and how many may.

use super::parcel::{Finished, Parcel};
use clusterrunner_common::ids::{BuildId, SubjobId};
use std::collections::HashMap;
use std::sync::Arc;

/// How many results share a file at most. Their names must fit into a header of 64 KiB.
const MAX_RESULTS: usize = 256;

/// How many bytes of output may gather before they go, whatever is under way.
const MAX_GATHERED: usize = 256 << 10;

/// How many atoms that ran too long may gather; they stand in that header, too.
const MAX_REPORTS: usize = 256;

/// The results of each build.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    pub(super) builds: HashMap<BuildId, Lane>,
    num_lanes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Another one each time that the build is here.
    pub(super) number: u64,
    pub(super) gathered: Vec<Finished>,
    /// Bytes of output and atoms to report in `gathered`.
    size: usize,
    num_reports: usize,
    /// How many parcels the next one waits for.
    pub(super) num_turns: usize,
    /// The parcel with the newest result of each subjob, once it has left `gathered`.
    pub(super) parcels: HashMap<SubjobId, Arc<Parcel>>,
}

impl Lanes {
    pub(super) fn of(&mut self, build: BuildId) -> &mut Lane {
        self.builds.entry(build).or_insert_with(|| {
            self.num_lanes += 1;
            Lane {
                number: self.num_lanes,
                ..Lane::default()
            }
        })
    }

    /// A parcel is on its way no more, and its file not there.
    pub(super) fn forget(&mut self, parcel: &Parcel) {
        let Some(lane) = self.builds.get_mut(&parcel.build) else {
            return;
        };
        for hand_out in &parcel.hand_outs {
            let newest = lane.parcels.get(&hand_out.subjob);
            if newest.is_some_and(|newest| std::ptr::eq(Arc::as_ptr(newest), parcel)) {
                lane.parcels.remove(&hand_out.subjob);
            }
        }
    }
}

impl Lane {
    pub(super) fn gather(&mut self, finished: Finished) {
        self.size += finished.size();
        self.num_reports += finished.num_reports();
        self.gathered.push(finished);
    }

    pub(super) fn is_full(&self) -> bool {
        self.gathered.len() >= MAX_RESULTS
            || self.size >= MAX_GATHERED
            || self.num_reports >= MAX_REPORTS
    }

    /// All that gathered.
    pub(super) fn take(&mut self) -> Vec<Finished> {
        (self.size, self.num_reports) = (0, 0);
        std::mem::take(&mut self.gathered)
    }

    pub(super) fn enter(&mut self, parcel: &Arc<Parcel>) {
        for hand_out in &parcel.hand_outs {
            self.parcels.insert(hand_out.subjob, Arc::clone(parcel));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::result_note::{ResultNote, entry};
    use crate::master::clock::MasterClock;
    use crate::work::{AtomConsole, AtomEnd, HandOut};
    use clusterrunner_common::clock::Timestamp;
    use clusterrunner_common::ids::{Attempt, ExecutorIndex, SessionId};
    use clusterrunner_common::process::command::Usage;
    use clusterrunner_common::work::{AtomUsage, ProcessUsage};
    use std::path::PathBuf;
    use std::time::Duration;
    use tokio_util::sync::CancellationToken;

    fn finished(subjob: u32, console: AtomConsole, timed_out: usize) -> Finished {
        let atom = |console, timed_out| AtomEnd {
            command: "true".to_owned(),
            exit_code: 0,
            started_at: Timestamp(1_700_000_000_000),
            took: Duration::ZERO,
            ended_at: 0,
            timed_out,
            hit: None,
            usage: AtomUsage {
                in_vain_ms: 0,
                last_in_vain: None,
                worker: None,
                output_bytes: 100_000_000,
                processes: ProcessUsage::of(Usage {
                    max_memory_kib: 10_000_000,
                    cpu: Duration::from_secs(10_000),
                }),
            },
            console,
            artifacts: None,
            junit: Arc::default(),
            mask: Arc::default(),
            tests: None,
        };
        let mut atoms = vec![atom(console, None)];
        let slow = || {
            atom(
                AtomConsole::Memory(Vec::new()),
                Some(Duration::from_secs(1)),
            )
        };
        atoms.extend(std::iter::repeat_with(slow).take(timed_out));
        Finished {
            incarnation: None,
            hand_out: HandOut {
                build: BuildId(1),
                subjob: SubjobId(subjob),
                attempt: Attempt(1),
            },
            executor: ExecutorIndex(0),
            atoms,
            stop: CancellationToken::new(),
        }
    }

    /// How many such results gather until they go.
    fn gathered(console: usize, timed_out: usize) -> usize {
        let mut lane = Lane::default();
        let mut subjobs = 0..;
        while !lane.is_full() {
            let console = AtomConsole::Memory(vec![0; console]);
            lane.gather(finished(subjobs.next().unwrap(), console, timed_out));
        }
        let finished = lane.take();
        assert!(!lane.is_full() && lane.take().is_empty());
        // The note of the largest parcel fits into a header of gzip.
        let (clock, results) = (MasterClock::default(), finished.iter());
        let results = results.map(|one| entry(one.hand_out, one.executor, &one.atoms, &clock));
        let note = ResultNote {
            master: None,
            build: BuildId(u64::MAX),
            session: SessionId("x".repeat(100)),
            results: results.collect(),
        };
        assert!(note.to_comment().unwrap().len() < 48 << 10);
        finished.len()
    }

    #[test]
    fn parcels_are_bounded() {
        assert_eq!(gathered(0, 0), MAX_RESULTS);
        assert!((1..=64).contains(&gathered(4 << 10, 0)));
        assert_eq!(gathered(0, 16), MAX_REPORTS / 16);
    }

    #[test]
    fn what_is_large_goes_alone() {
        let memory = |length| AtomConsole::Memory(vec![0; length]);
        assert!(!finished(0, memory(1000), 16).goes_alone());
        assert!(finished(0, memory(100_000), 0).goes_alone());
        assert!(finished(0, memory(0), 17).goes_alone());
        assert!(finished(0, AtomConsole::File(PathBuf::from("/x")), 0).goes_alone());
        let mut with_artifacts = finished(0, memory(0), 0);
        with_artifacts.atoms[0].artifacts = Some(PathBuf::from("/x"));
        assert!(with_artifacts.goes_alone());
        let mut of_no_atoms = finished(0, memory(0), 0);
        of_no_atoms.atoms.clear();
        assert!(of_no_atoms.goes_alone());
    }
}
