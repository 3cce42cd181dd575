//! What atoms use of the slaves that run them, and how they run there.

use crate::process::command::Usage;
use serde::{Deserialize, Serialize};
use std::num::{NonZeroU32, NonZeroU64};

/// What an atom used. Very many are sent and stored, so in JSON it is short: `[output_bytes, [max_memory_kib, cpu_ms]]`,
/// and `[output_bytes, null]` where nothing is known of the processes. Where batches ran in vain, their time comes next, then what
/// a worker had to do with it, if any had: `[output_bytes, null, 0, "ran"]`. Last stands the latest of these batches:
/// `[output_bytes, null, 9, null, [began, took_ms, executor, atoms]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Short", into = "Short")]
pub struct AtomUsage {
    /// How many bytes it printed, also those that were dropped.
    pub output_bytes: u64,
    /// What its processes used; not known of those in a container.
    pub processes: Option<ProcessUsage>,
    /// Its part, in milliseconds, of the time of batches it was in that did not settle it.
    pub in_vain_ms: u32,
    /// The latest of these batches.
    pub last_in_vain: Option<BatchInVain>,
    /// What a worker had to do with it; none where its only run was in a process of its own.
    pub worker: Option<InWorker>,
}

/// A batch that did not settle all of its atoms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OfBatch", into = "OfBatch")]
pub struct BatchInVain {
    /// When it began, in milliseconds since 1970.
    pub began_ms: NonZeroU64,
    /// How long it took, in milliseconds.
    pub took_ms: u32,
    /// The executor of its slave that it ran on.
    pub executor: u16,
    /// How many atoms were in it.
    pub atoms: u16,
}

/// How an atom went in a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InWorker {
    /// It ran there, and its result is of that run.
    Ran,
    /// It failed there, and its result is of its second run, in a process of its own.
    Failed,
}

/// What the processes of an atom used: its shell, and those below it that were waited for by their parents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessUsage {
    /// The most memory that one of them had, in KiB.
    pub max_memory_kib: NonZeroU32,
    /// The processor time of all of them, in milliseconds.
    pub cpu_ms: u32,
}

/// Maximum memory in KiB, and processor time in milliseconds.
type OfProcesses = Option<(NonZeroU32, u32)>;

/// When a batch began, how long it took, its executor, and how many atoms it had.
type OfBatch = (NonZeroU64, u32, u16, u16);

impl From<OfBatch> for BatchInVain {
    fn from((began_ms, took_ms, executor, atoms): OfBatch) -> Self {
        Self {
            began_ms,
            took_ms,
            executor,
            atoms,
        }
    }
}

impl From<BatchInVain> for OfBatch {
    fn from(batch: BatchInVain) -> Self {
        (batch.began_ms, batch.took_ms, batch.executor, batch.atoms)
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum Short {
    InBatch(u64, OfProcesses, u32, Option<InWorker>, BatchInVain),
    InWorker(u64, OfProcesses, u32, InWorker),
    InVain(u64, OfProcesses, u32),
    Plain(u64, OfProcesses),
}

impl From<Short> for AtomUsage {
    fn from(short: Short) -> Self {
        let mut last_in_vain = None;
        let (output_bytes, processes, in_vain_ms, worker) = match short {
            Short::InBatch(output_bytes, processes, in_vain_ms, worker, batch) => {
                last_in_vain = Some(batch);
                (output_bytes, processes, in_vain_ms, worker)
            }
            Short::InWorker(output_bytes, processes, in_vain_ms, worker) => {
                (output_bytes, processes, in_vain_ms, Some(worker))
            }
            Short::InVain(output_bytes, processes, in_vain_ms) => {
                (output_bytes, processes, in_vain_ms, None)
            }
            Short::Plain(output_bytes, processes) => (output_bytes, processes, 0, None),
        };
        let processes = processes.map(|(max_memory_kib, cpu_ms)| ProcessUsage {
            max_memory_kib,
            cpu_ms,
        });
        Self {
            output_bytes,
            processes,
            in_vain_ms,
            last_in_vain,
            worker,
        }
    }
}

impl From<AtomUsage> for Short {
    fn from(usage: AtomUsage) -> Self {
        let processes = usage.processes;
        let processes = processes.map(|processes| (processes.max_memory_kib, processes.cpu_ms));
        let AtomUsage {
            output_bytes,
            in_vain_ms,
            ..
        } = usage;
        if let Some(batch) = usage.last_in_vain {
            return Self::InBatch(output_bytes, processes, in_vain_ms, usage.worker, batch);
        }
        match (usage.worker, in_vain_ms) {
            (Some(worker), _) => Self::InWorker(output_bytes, processes, in_vain_ms, worker),
            (None, 0) => Self::Plain(output_bytes, processes),
            (None, _) => Self::InVain(output_bytes, processes, in_vain_ms),
        }
    }
}

impl ProcessUsage {
    /// What the system said of a command; `None` where it said nothing of memory. Part of a millisecond counts as a
    /// whole one.
    #[must_use]
    pub fn of(used: Usage) -> Option<Self> {
        let small = |number: u128| u32::try_from(number).unwrap_or(u32::MAX);
        Some(Self {
            max_memory_kib: NonZeroU32::new(small(used.max_memory_kib.into()))?,
            cpu_ms: small(used.cpu.as_micros().div_ceil(1000)),
        })
    }

    /// The most memory that one of them had.
    #[must_use]
    pub fn max_memory_bytes(self) -> u64 {
        u64::from(self.max_memory_kib.get()) << 10
    }

    /// The processor time of all of them.
    #[must_use]
    pub fn cpu_seconds(self) -> f64 {
        f64::from(self.cpu_ms) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_is_short_on_the_wire() {
        let processes = ProcessUsage::of(Usage {
            max_memory_kib: 2048,
            cpu: Duration::from_micros(1_500),
        });
        for (processes, in_vain_ms, worker, text) in [
            (processes, 0, None, "[7,[2048,2]]"),
            (None, 0, None, "[7,null]"),
            (processes, 9, None, "[7,[2048,2],9]"),
            (None, 9, None, "[7,null,9]"),
            (None, 0, Some(InWorker::Ran), "[7,null,0,\"ran\"]"),
            (
                processes,
                9,
                Some(InWorker::Failed),
                "[7,[2048,2],9,\"failed\"]",
            ),
        ] {
            let usage = AtomUsage {
                output_bytes: 7,
                processes,
                in_vain_ms,
                last_in_vain: None,
                worker,
            };
            assert_eq!(serde_json::to_string(&usage).unwrap(), text);
            assert_eq!(serde_json::from_str::<AtomUsage>(text).unwrap(), usage);
        }
        let batch = BatchInVain::from((NonZeroU64::new(12).unwrap(), 3, 1, 17));
        for (worker, text) in [
            (None, "[7,null,9,null,[12,3,1,17]]"),
            (Some(InWorker::Ran), "[7,null,9,\"ran\",[12,3,1,17]]"),
        ] {
            let usage = AtomUsage {
                output_bytes: 7,
                processes: None,
                in_vain_ms: 9,
                last_in_vain: Some(batch),
                worker,
            };
            assert_eq!(serde_json::to_string(&usage).unwrap(), text);
            assert_eq!(serde_json::from_str::<AtomUsage>(text).unwrap(), usage);
        }
        let processes = processes.unwrap();
        assert_eq!(processes.max_memory_bytes(), 2 << 20);
        assert!((processes.cpu_seconds() - 0.002).abs() < f64::EPSILON);
        for wrong in [
            "[7,[0,2]]",
            "[7]",
            "[7,null,-1]",
            "[7,null,9,9]",
            "[7,null,9,null,[0,3,1,17]]",
        ] {
            serde_json::from_str::<AtomUsage>(wrong).unwrap_err();
        }
    }

    #[test]
    fn what_is_too_large_for_it_is_the_most_that_it_can_say() {
        let processes = ProcessUsage::of(Usage {
            max_memory_kib: u64::MAX,
            cpu: Duration::MAX,
        });
        let processes = processes.unwrap();
        assert_eq!(
            (processes.max_memory_kib.get(), processes.cpu_ms),
            (u32::MAX, u32::MAX)
        );
        let nothing = Usage {
            max_memory_kib: 0,
            cpu: Duration::ZERO,
        };
        assert_eq!(ProcessUsage::of(nothing), None);
    }
}
