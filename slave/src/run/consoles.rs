//! The atoms that run here, since when, and where they print; and what those printed that ended a moment ago.

use crate::work::{AtomConsole, HandOut};
use clusterrunner_common::api::RunningAtom;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{AtomId, BuildId, ExecutorIndex, SubjobId};
use clusterrunner_common::lock::lock;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How much of what ended is kept in memory.
const MOST_KEPT: usize = 1 << 20;

/// What an entry takes beside its text, about.
const ENTRY: usize = 128;

/// Atoms that run for a shorter time are not worth telling: most of them are over before the master knows.
const MOMENT: Duration = Duration::from_millis(100);

/// Names an atom here: the same one never runs twice at a time.
pub(crate) type AtomKey = (BuildId, SubjobId, AtomId);

/// The consoles of a slave.
#[derive(Debug, Default)]
pub(crate) struct Consoles(Mutex<Shown>);

#[derive(Debug, Default)]
struct Shown {
    runs: u64,
    running: HashMap<ExecutorIndex, Running>,
    /// The latest at the end.
    ended: VecDeque<(AtomKey, AtomConsole)>,
    kept: usize,
}

#[derive(Clone, Debug)]
struct Running {
    hand_out: HandOut,
    atom: AtomId,
    /// Hand-outs of one atom each that run in the same process.
    others: Vec<HandOut>,
    run: u64,
    console: Arc<File>,
    started_at: Timestamp,
    is_told: bool,
}

impl Running {
    fn key(&self) -> AtomKey {
        (self.hand_out.build, self.hand_out.subjob, self.atom)
    }

    /// All atoms that run.
    fn atoms(&self) -> impl Iterator<Item = (HandOut, AtomId)> {
        let others = self.others.iter().map(|other| (*other, AtomId(0)));
        std::iter::once((self.hand_out, self.atom)).chain(others)
    }

    fn shows(&self, (build, subjob, atom): AtomKey) -> bool {
        self.atoms()
            .any(|(hand_out, id)| (hand_out.build, hand_out.subjob, id) == (build, subjob, atom))
    }
}

/// What there is of a console.
#[derive(Debug)]
pub(crate) enum FoundConsole {
    /// The atom runs. Its file may be used again as soon as it has ended, so what is read of it counts
    /// only if the atom [`Consoles::still_runs`] after that.
    Running { file: Arc<File>, run: u64 },
    /// All that it printed. A file may be gone already: its result is packed then.
    Ended(AtomConsole),
}

impl Consoles {
    /// An atom starts, and prints to this file; others may run in the same process.
    pub(crate) fn started(
        &self,
        executor: ExecutorIndex,
        (hand_out, atom, others): (HandOut, AtomId, Vec<HandOut>),
        console: Arc<File>,
        started_at: Timestamp,
    ) {
        let mut shown = self.lock();
        shown.runs += 1;
        let running = Running {
            hand_out,
            atom,
            others,
            run: shown.runs,
            console,
            started_at,
            is_told: false,
        };
        shown.running.insert(executor, running);
    }

    /// All atoms that run, but those that began a moment ago; they count as told to the master then.
    pub(crate) fn running(&self) -> Vec<RunningAtom> {
        let now = Timestamp::now();
        let mut shown = self.lock();
        let running = shown.running.iter_mut();
        let running = running.filter(|(_, running)| running.started_at.until(now) >= MOMENT);
        let running = running.flat_map(|(executor, running)| {
            running.is_told = true;
            let (executor_id, started_at_ms) = (*executor, running.started_at);
            running.atoms().map(move |(hand_out, atom_id)| RunningAtom {
                build_id: hand_out.build,
                subjob_id: hand_out.subjob,
                attempt: hand_out.attempt,
                atom_id,
                executor_id,
                started_at_ms,
            })
        });
        running.collect()
    }

    /// Whether one of them is not told yet.
    pub(crate) fn has_news(&self) -> bool {
        let now = Timestamp::now();
        let is_untold = |one: &Running| !one.is_told && one.started_at.until(now) >= MOMENT;
        self.lock().running.values().any(is_untold)
    }

    /// The master has not heard what runs.
    pub(crate) fn tell_again(&self) {
        for running in self.lock().running.values_mut() {
            running.is_told = false;
        }
    }

    /// The atom of an executor has ended, and this is what it printed. To be called before its file
    /// is used again.
    pub(crate) fn ended(&self, executor: ExecutorIndex, console: &AtomConsole) {
        let mut shown = self.lock();
        let Some(running) = shown.running.remove(&executor) else {
            return;
        };
        shown.kept += size(console);
        shown.ended.push_back((running.key(), console.clone()));
        while shown.kept > MOST_KEPT
            && let Some((_, oldest)) = shown.ended.pop_front()
        {
            shown.kept -= size(&oldest);
        }
    }

    /// Nothing is to be shown of the atom of an executor.
    pub(crate) fn dropped(&self, executor: ExecutorIndex) {
        self.lock().running.remove(&executor);
    }

    /// A build is over here; another may get its number.
    pub(crate) fn forget(&self, build: BuildId) {
        let mut shown = self.lock();
        shown.ended.retain(|((of, _, _), _)| *of != build);
        shown.kept = shown.ended.iter().map(|(_, console)| size(console)).sum();
    }

    /// What there is of an atom's console.
    pub(crate) fn find(&self, atom: AtomKey) -> Option<FoundConsole> {
        let shown = self.lock();
        let running = shown.running.values().find(|running| running.shows(atom));
        if let Some(Running { run, console, .. }) = running.cloned() {
            return Some(FoundConsole::Running { file: console, run });
        }
        let mut latest_first = shown.ended.iter().rev();
        let ended = latest_first.find(|(of, _)| *of == atom);
        ended.map(|(_, console)| FoundConsole::Ended(console.clone()))
    }

    /// Whether what was found running has not ended since.
    pub(crate) fn still_runs(&self, run: u64) -> bool {
        let shown = self.lock();
        shown.running.values().any(|running| running.run == run)
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        lock(&self.0)
    }
}

fn size(console: &AtomConsole) -> usize {
    ENTRY
        + match console {
            AtomConsole::Memory(text) => text.len(),
            AtomConsole::File(_) => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::Attempt;

    const EXECUTOR: ExecutorIndex = ExecutorIndex(0);

    fn atom(build: u64, atom: u32) -> AtomKey {
        (BuildId(build), SubjobId(0), AtomId(atom))
    }

    fn text(consoles: &Consoles, atom: AtomKey) -> Option<Vec<u8>> {
        match consoles.find(atom)? {
            FoundConsole::Ended(AtomConsole::Memory(text)) => Some(text),
            other => panic!("{other:?}"),
        }
    }

    fn start(consoles: &Consoles, (build, subjob, atom): AtomKey, file: Arc<File>) {
        let hand_out = HandOut {
            build,
            subjob,
            attempt: Attempt(1),
        };
        consoles.started(EXECUTOR, (hand_out, atom, Vec::new()), file, Timestamp(0));
    }

    fn run(consoles: &Consoles, atom: AtomKey, text: &[u8]) {
        let file = Arc::new(tempfile::tempfile().unwrap());
        start(consoles, atom, file);
        consoles.ended(EXECUTOR, &AtomConsole::Memory(text.to_vec()));
    }

    #[test]
    fn a_console_is_its_atoms_alone() {
        let consoles = Consoles::default();
        let file = Arc::new(tempfile::tempfile().unwrap());
        start(&consoles, atom(1, 0), Arc::clone(&file));
        let Some(FoundConsole::Running { run: first, .. }) = consoles.find(atom(1, 0)) else {
            panic!("it runs");
        };
        assert!(consoles.still_runs(first) && consoles.find(atom(1, 1)).is_none());
        consoles.ended(EXECUTOR, &AtomConsole::Memory(b"one".to_vec()));
        assert!(!consoles.still_runs(first));
        assert_eq!(text(&consoles, atom(1, 0)).unwrap(), b"one");
        start(&consoles, atom(1, 0), file);
        assert!(matches!(
            consoles.find(atom(1, 0)),
            Some(FoundConsole::Running { .. })
        ));
        consoles.dropped(EXECUTOR);
        run(&consoles, atom(1, 0), b"two");
        run(&consoles, atom(2, 0), b"three");
        assert_eq!(text(&consoles, atom(1, 0)).unwrap(), b"two");
        consoles.forget(BuildId(1));
        assert_eq!(text(&consoles, atom(1, 0)), None);
        assert_eq!(text(&consoles, atom(2, 0)).unwrap(), b"three");
    }

    #[test]
    fn only_the_latest_are_kept() {
        let consoles = Consoles::default();
        let large = vec![b'x'; 64 << 10];
        for number in 0..100 {
            run(&consoles, atom(1, number), &large);
        }
        assert_eq!(text(&consoles, atom(1, 80)), None);
        assert_eq!(text(&consoles, atom(1, 99)).unwrap(), large);
        assert!(consoles.lock().kept <= MOST_KEPT);
    }

    #[test]
    fn what_runs_is_told_once_unless_it_was_missed() {
        let consoles = Consoles::default();
        let file = Arc::new(tempfile::tempfile().unwrap());
        start(&consoles, atom(1, 0), Arc::clone(&file));
        assert!(consoles.has_news());
        let [told] = consoles.running()[..] else {
            panic!("one runs");
        };
        assert_eq!((told.build_id, told.atom_id), (BuildId(1), AtomId(0)));
        assert!(!consoles.has_news() && consoles.running() == [told]);
        consoles.tell_again();
        assert!(consoles.has_news() && consoles.running() == [told]);
        start(&consoles, atom(1, 1), file);
        assert!(consoles.has_news());
        assert_eq!(consoles.running()[0].atom_id, AtomId(1));
        consoles.dropped(EXECUTOR);
        assert!(!consoles.has_news() && consoles.running().is_empty());
    }
}
