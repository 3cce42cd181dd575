//! What is decided about workers: which atoms go to one, when one is given up, and when an atom runs again without it.

pub(crate) mod errand;
pub(crate) mod protocol;
pub(crate) mod python;

use super::AtomEnd;
use clusterrunner_common::text::last_lines::last_lines;
use clusterrunner_common::text::printable;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// How often in a row a worker may break before an executor does without one for the rest of the build.
const MOST_BROKEN: u32 = 3;

/// The same for one that does not even begin: finding that out takes long.
const MOST_NOT_BEGUN: u32 = 2;

/// How many atoms in a row may fail both in a worker and without it before they run without it at once, until one passes.
const MOST_FAILING: u32 = 2;

/// How long a worker may take to say that it is there.
pub(crate) const HELLO_LIMIT: Duration = Duration::from_secs(60);

/// How long an atom may run in a worker whose job has no limit. It runs again without one then: it may be the worker that
/// hangs.
const LONGEST_IN_WORKER: Duration = Duration::from_secs(15 * 60);

/// How much of what a worker or an atom in it printed last is shown where the atom runs again: bytes.
const MOST_SHOWN: usize = 4 << 10;

/// How a worker broke. The atom that it had runs again without it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("could not be started: {0}")]
    NotStarted(String),
    #[error("did not say within {} s that it is there", .0.as_secs())]
    NoHello(Duration),
    #[error("ended before it said that it is there")]
    EndedAtOnce,
    #[error("began with something else than {{\"worker\":1}}: {0:?}")]
    OtherHello(String),
    #[error("ended while it had this atom")]
    Ended,
    #[error("did not take this atom")]
    Deaf,
    #[error("answered what is no answer: {0:?}")]
    NoAnswer(String),
    #[error("answered for atom {0} where it had atom {1}")]
    OtherAtom(u64, u64),
    #[error("answered a line of more than {} bytes", protocol::LONGEST_ANSWER)]
    TooLong,
    #[error("answered more than once")]
    Twice,
}

impl Broken {
    /// Whether it happened before the worker had any atom.
    fn is_at_start(&self) -> bool {
        matches!(
            self,
            Self::NotStarted(_) | Self::NoHello(_) | Self::EndedAtOnce | Self::OtherHello(_)
        )
    }
}

/// What an executor thinks of the workers of a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    broken: u32,
    not_begun: u32,
    failing: u32,
}

impl Trust {
    /// Whether atoms go to a worker at all.
    pub(crate) fn is_there(self) -> bool {
        self.broken < MOST_BROKEN && self.not_begun < MOST_NOT_BEGUN
    }

    /// Whether the next one does.
    pub(crate) fn is_wanted(self) -> bool {
        self.is_there() && self.failing < MOST_FAILING
    }

    /// An atom has passed there.
    pub(crate) fn passed(&mut self) {
        *self = Self::default();
    }

    /// An atom that failed there has run without it.
    pub(crate) fn disproved(&mut self, passes: bool) {
        match passes {
            true => self.broken += 1,
            false => self.failing += 1,
        }
    }

    /// An atom has passed without a worker.
    pub(crate) fn passed_alone(&mut self) {
        self.failing = 0;
    }

    /// An atom ran there for longer than it may: it may be the worker that hangs.
    pub(crate) fn hung(&mut self) {
        self.broken += 1;
    }

    pub(crate) fn broke(&mut self, how: &Broken) {
        self.broken += 1;
        self.not_begun += u32::from(how.is_at_start());
    }
}

/// Why an atom that a worker had runs again without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// The worker broke. What it said last, if it said anything.
    Broke { how: Broken, said: String },
    /// The atom failed there.
    Failed { exit_code: i32, printed: String },
    /// It ran there longer than it may.
    TimedOut { limit: Duration, printed: String },
}

impl Again {
    /// How an atom has failed in a worker, and what it printed.
    pub(crate) fn of(end: &AtomEnd, printed: String) -> Self {
        match end.timed_out {
            Some(limit) => Self::TimedOut { limit, printed },
            None => Self::Failed {
                exit_code: end.exit_code,
                printed,
            },
        }
    }

    /// Whether the atom has failed there, in a job with this limit; and not the worker, nor by a limit that is not the job's.
    pub(crate) fn is_failure(&self, timeout: Option<Duration>) -> bool {
        match self {
            Self::Broke { .. } => false,
            Self::Failed { .. } => true,
            Self::TimedOut { .. } => timeout.is_some(),
        }
    }

    /// What stands before the output of the atom that runs again.
    pub(crate) fn head(&self, name: &str, is_last: bool) -> String {
        let (what, of, printed) = match self {
            Self::Broke { how, said } => (format!("the worker {how}"), "the worker", said),
            Self::Failed { exit_code, printed } => (
                format!("this atom failed in the worker with exit code {exit_code}"),
                "the atom",
                printed,
            ),
            Self::TimedOut { limit, printed } => (
                format!(
                    "this atom ran in the worker for longer than {} s",
                    limit.as_secs()
                ),
                "the atom",
                printed,
            ),
        };
        let mut head = format!(
            "clusterrunner: {what}; now it runs in a process of its own (worker: {name})\n"
        );
        if is_last {
            head.push_str(
                "clusterrunner: this executor does without a worker for the rest of the build\n",
            );
        }
        let shown = last_lines(printed, MOST_SHOWN);
        if !shown.trim().is_empty() {
            head.push_str(&format!("clusterrunner: what {of} printed last:\n{shown}"));
            if !shown.ends_with('\n') {
                head.push('\n');
            }
            head.push_str("clusterrunner: the output of the process:\n");
        }
        head
    }
}

/// How long an atom may run in a worker that may run so long.
pub(crate) fn limit(timeout: Option<Duration>) -> Duration {
    timeout.unwrap_or(LONGEST_IN_WORKER)
}

/// Whether what ended so in a worker counts. What runs too long there never does: it may be the worker that hangs.
pub(crate) fn counts(exit_code: i32, timed_out: bool, confirm_failures: bool) -> bool {
    exit_code == 0 || (!confirm_failures && !timed_out)
}

/// What stands behind the output of an atom that failed in a worker and does not run again: it would find what the first run
/// has left, and might pass for that.
pub(crate) fn not_again(changed: &Path, name: &str) -> String {
    format!(
        "clusterrunner: this atom failed in the worker and is not run again, since {} was changed meanwhile (worker: {name})\n",
        printable::plain(&changed.to_string_lossy())
    )
}

/// Why an atom does not go to a worker at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cold {
    /// Nothing is said of it: the text of an atom may be what a worker can not do, and it runs as any other.
    Quietly,
    /// The user counts on it.
    Because(clusterrunner_common::job::warm::python::NotPython),
}

impl fmt::Display for Cold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quietly => Ok(()),
            Self::Because(why) => writeln!(
                f,
                "clusterrunner: this atom runs without its worker, since {why}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_break_again_and_again_are_given_up() {
        let mut trust = Trust::default();
        for _ in 0..2 {
            trust.broke(&Broken::Ended);
            trust.broke(&Broken::Deaf);
            assert!(trust.is_there());
            trust.passed();
        }
        trust.broke(&Broken::EndedAtOnce);
        assert!(trust.is_there());
        trust.broke(&Broken::NoHello(HELLO_LIMIT));
        assert!(!trust.is_there());
        let mut trust = Trust::default();
        for _ in 0..MOST_BROKEN {
            assert!(trust.is_there());
            trust.hung();
        }
        assert!(!trust.is_there());
    }

    #[test]
    fn only_failures_are_confirmed() {
        assert!(counts(0, false, true) && counts(0, false, false) && counts(1, false, false));
        assert!(!counts(1, false, true) && !counts(137, false, true));
        assert!(!counts(124, true, true) && !counts(124, true, false));
    }

    #[test]
    fn workers_that_fail_what_passes_are_given_up() {
        let mut trust = Trust::default();
        for _ in 0..MOST_BROKEN {
            assert!(trust.is_wanted());
            trust.disproved(true);
            trust.passed_alone();
        }
        assert!(!trust.is_there());
    }

    #[test]
    fn while_all_fails_nothing_runs_twice() {
        let mut trust = Trust::default();
        trust.disproved(false);
        trust.passed();
        for _ in 0..MOST_FAILING {
            assert!(trust.is_wanted());
            trust.disproved(false);
        }
        assert!(trust.is_there() && !trust.is_wanted());
        trust.passed_alone();
        assert!(trust.is_wanted());
    }

    #[test]
    fn nothing_runs_in_a_worker_for_ever() {
        let own = Duration::from_secs(7200);
        assert_eq!(limit(Some(own)), own);
        assert_eq!(limit(None), LONGEST_IN_WORKER);
    }

    #[test]
    fn the_console_says_why_an_atom_runs_again() {
        let printed = format!("{}\nlast line", "x".repeat(MOST_SHOWN));
        let failed = Again::Failed {
            exit_code: 3,
            printed,
        };
        assert_eq!(
            failed.head("bash", false),
            "clusterrunner: this atom failed in the worker with exit code 3; now it runs in a process of its own \
             (worker: bash)\nclusterrunner: what the atom printed last:\nlast line\nclusterrunner: the output of the \
             process:\n"
        );
        let broke = Again::Broke {
            how: Broken::OtherAtom(7, 8),
            said: String::new(),
        };
        let limit = Duration::from_secs(9);
        let timed_out = Again::TimedOut {
            limit,
            printed: String::new(),
        };
        assert!(failed.is_failure(None) && timed_out.is_failure(Some(limit)));
        assert!(!broke.is_failure(Some(limit)) && !timed_out.is_failure(None));
        let head = broke.head("command", true);
        assert!(head.contains("the worker answered for atom 7 where it had atom 8; now"));
        assert!(head.ends_with("for the rest of the build\n"), "{head}");
    }
}
