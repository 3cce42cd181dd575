//! What is remembered of one atom or test.

use super::beta::Beta;
use super::trials::Trials;
use crate::builds::hunted::HuntTrials;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use serde::{Deserialize, Serialize};

/// How many runs are kept, each of another build: those of the latest builds.
const KEPT_RUNS: usize = 50;

/// The beginning of a commit's name: enough to tell commits of few builds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub u32);

impl Tag {
    /// The first eight hexadecimal digits of a commit's name; `None` where it has no such name.
    #[must_use]
    pub fn of(commit: &str) -> Option<Self> {
        let digits = commit.get(..8)?;
        u32::from_str_radix(digits, 16).ok().map(Self)
    }
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// How something ended in a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it should, perhaps only when it ran again.
    Passed,
    /// Not so, also when it ran again.
    Failed,
    /// It was not run.
    Skipped,
}

/// What a build says of an atom or a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The build.
    pub build: BuildId,
    /// What was built, where that is a commit.
    pub commit: Option<Tag>,
    /// Stands for what the build was told beside its commit, such as variables; 0 where that is nothing. Only runs
    /// of the same are compared.
    pub told: u32,
    /// How it ended.
    pub ended: Ended,
    /// How often it had failed before, in the same build.
    pub failed_before: u8,
    /// How long it took when it ended so.
    pub ms: u64,
    /// How it went when it ran again though it had passed.
    pub hunted: HuntTrials,
}

impl Run {
    /// Whether it passed, but not at once.
    #[must_use]
    pub fn is_flaky(&self) -> bool {
        self.ended == Ended::Passed && self.failed_before > 0
    }

    fn has_failure(&self) -> bool {
        self.ended == Ended::Failed || self.failed_before > 0
    }
}

/// A build in which something failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The build.
    pub build: BuildId,
    /// The commit that was built, if it was one.
    pub commit: Option<String>,
    /// When the build was over.
    pub at: Timestamp,
}

/// What is remembered of an atom or a test. Each build counts once, however often and in whatever order it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The runs of the latest builds, the oldest first; at most `KEPT_RUNS`.
    pub runs: Vec<Run>,
    /// What earlier ones said of flakiness, with their hunts.
    pub older: Trials,
    /// The same without hunts.
    pub older_alone: Trials,
    /// The last build whose run is not kept any more. It and those before it count, or never will.
    pub older_until: Option<BuildId>,
    /// The first build in which it failed, of all that were told.
    pub first_failed: Option<Failure>,
    /// The last one.
    pub last_failed: Option<Failure>,
}

impl Memory {
    /// Takes a run into account. `of` says more of its build, which is of interest if the run is a failure.
    pub fn add(&mut self, run: Run, of: &Failure) {
        if self.older_until.is_some_and(|until| run.build <= until) {
            return;
        }
        if run.has_failure() {
            let is_first = |known: &Failure| run.build <= known.build;
            if self.first_failed.as_ref().is_none_or(is_first) {
                self.first_failed = Some(of.clone());
            }
            let is_last = |known: &Failure| run.build >= known.build;
            if self.last_failed.as_ref().is_none_or(is_last) {
                self.last_failed = Some(of.clone());
            }
        }
        match self.runs.binary_search_by_key(&run.build, |run| run.build) {
            Ok(known) => self.runs[known] = run,
            Err(place) => self.runs.insert(place, run),
        }
        while self.runs.len() > KEPT_RUNS {
            for is_flake in trials(&self.runs, 0) {
                self.older.add(is_flake);
                self.older.forget_oldest();
            }
            if let Some(is_flake) = trial(&self.runs, 0) {
                self.older_alone.add(is_flake);
                self.older_alone.forget_oldest();
            }
            self.older_until = Some(self.runs.remove(0).build);
        }
    }

    /// What all that is remembered says of flakiness. Each build is at most one trial, by how the first attempt ended:
    /// what fails again and again in one build may have met one sick machine. To that come the trials of hunts, in which
    /// what had passed ran again; also with them each build is at most one flake. A failure is a flake if the same build or
    /// a later one passed on the same commit and was told the same, and else no trial: perhaps the commit is broken.
    ///
    /// Hunts only add suspicion: where these are the worse ones without them, they are left out. So what fails in builds
    /// and never in hunts is found as soon as without hunts.
    #[must_use]
    pub fn trials(&self) -> Trials {
        self.worse_trials().0
    }

    /// The trials, and whether hunts are among them.
    fn worse_trials(&self) -> (Trials, bool) {
        let (mut with, mut alone) = (self.older.clone(), self.older_alone.clone());
        for number in 0..self.runs.len() {
            trials(&self.runs, number).for_each(|is_flake| with.add(is_flake));
            if let Some(is_flake) = trial(&self.runs, number) {
                alone.add(is_flake);
            }
        }
        let is_worse = match alone.flakes() {
            // What never failed without cause is as stable as all that is known says.
            0 => false,
            // All the same but passes.
            flakes if flakes == with.flakes() => alone.all() < with.all(),
            _ => {
                let least = |trials: &Trials| Beta::after(trials).interval().0;
                least(&alone) > least(&with)
            }
        };
        match is_worse {
            true => (alone, false),
            false => (with, true),
        }
    }

    /// How many of the trials of the builds that are kept come from hunts.
    #[must_use]
    pub fn hunted(&self) -> u32 {
        if !self.worse_trials().1 {
            return 0;
        }
        let numbered = (0..self.runs.len()).map(|number| hunted(&self.runs, number).count());
        numbered.fold(0, |sum, number| {
            sum.saturating_add(u32::try_from(number).unwrap_or(u32::MAX))
        })
    }

    /// How long it takes: these quantiles, each a number from 0 to 1, of the runs that passed, or of those that failed
    /// if none did. `None` without any.
    #[must_use]
    pub fn durations_ms<const N: usize>(&self, quantiles: [f64; N]) -> Option<[u64; N]> {
        let of = |ended| self.runs.iter().filter(move |run| run.ended == ended);
        let mut sorted: Vec<u64> = of(Ended::Passed).map(|run| run.ms).collect();
        if sorted.is_empty() {
            sorted = of(Ended::Failed).map(|run| run.ms).collect();
        }
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a short list"
        )]
        Some(
            quantiles.map(|quantile| sorted[((last as f64 * quantile).round() as usize).min(last)]),
        )
    }
}

/// What a build says of flakiness.
fn trials(runs: &[Run], number: usize) -> impl Iterator<Item = bool> {
    trial(runs, number).into_iter().chain(hunted(runs, number))
}

/// What its hunts say.
fn hunted(runs: &[Run], number: usize) -> impl Iterator<Item = bool> {
    let HuntTrials { passes, flakes } = runs[number].hunted;
    let is_flake = flakes > 0 && trial(runs, number) != Some(true);
    let passes = std::iter::repeat_n(false, passes.into());
    passes.chain(is_flake.then_some(true))
}

/// Whether a run was a flake or a pass; `None` if it says nothing of that.
fn trial(runs: &[Run], number: usize) -> Option<bool> {
    let run = &runs[number];
    let passed_later = || {
        let later = runs.iter().skip(number + 1);
        let mut same = later.filter(|later| {
            later.commit.is_some() && (later.commit, later.told) == (run.commit, run.told)
        });
        same.any(|later| later.ended == Ended::Passed)
    };
    match run.ended {
        Ended::Passed => Some(run.is_flaky()),
        Ended::Failed => passed_later().then_some(true),
        Ended::Skipped => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Verdict;
    use proptest::prelude::*;

    fn run(build: u64, commit: u32, ended: Ended, failed_before: u8) -> Run {
        Run {
            hunted: HuntTrials::default(),
            build: BuildId(build),
            commit: Some(Tag(commit)),
            told: 0,
            ended,
            failed_before,
            ms: build * 10,
        }
    }

    fn failure(build: u64) -> Failure {
        Failure {
            build: BuildId(build),
            commit: Some(format!("c{build}")),
            at: Timestamp(build),
        }
    }

    fn told(runs: &[Run]) -> Memory {
        let mut memory = Memory::default();
        for run in runs {
            memory.add(*run, &failure(run.build.0));
        }
        memory
    }

    /// How many trials there are, and how many of them are flakes.
    fn trials(runs: &[Run]) -> (u32, u32) {
        let trials = told(runs).trials();
        (trials.all(), trials.flakes())
    }

    #[test]
    fn a_failure_is_a_flake_only_if_the_same_commit_passed_afterwards() {
        use Ended::{Failed, Passed, Skipped};
        let nothing_known = Run {
            commit: None,
            ..run(1, 0, Failed, 0)
        };
        let otherwise = Run {
            told: 1,
            ..run(2, 7, Passed, 0)
        };
        let also_nothing = Run {
            commit: None,
            ..run(2, 0, Passed, 0)
        };
        for (runs, expected) in [
            (&[run(1, 7, Passed, 0)][..], (1, 0)),
            (&[run(1, 7, Passed, 1)], (1, 1)),
            (&[run(1, 7, Passed, 3)], (1, 1)),
            (&[run(1, 7, Failed, 2)], (0, 0)),
            (&[run(1, 7, Skipped, 0)], (0, 0)),
            (&[run(1, 7, Failed, 2), run(2, 7, Failed, 0)], (0, 0)),
            (&[run(1, 7, Failed, 2), run(2, 8, Passed, 0)], (1, 0)),
            (&[run(1, 7, Failed, 2), run(2, 7, Passed, 0)], (2, 1)),
            (&[run(1, 7, Passed, 0), run(2, 7, Failed, 0)], (1, 0)),
            (&[nothing_known, also_nothing], (1, 0)),
            (&[run(1, 7, Failed, 0), otherwise], (1, 0)),
        ] {
            assert_eq!(trials(runs), expected, "{runs:?}");
        }
    }

    #[test]
    fn passes_of_hunts_hide_no_flakes() {
        // Hunts never see it fail.
        let hunted = |build: u64| Run {
            hunted: HuntTrials {
                passes: 20,
                flakes: 0,
            },
            ..run(build, 7, Ended::Passed, u8::from(build.is_multiple_of(30)))
        };
        let with: Vec<Run> = (1..=90).map(hunted).collect();
        let alone = with.iter().map(|run| Run {
            hunted: HuntTrials::default(),
            ..*run
        });
        let alone: Vec<Run> = alone.collect();
        let (with, alone) = (told(&with), told(&alone));
        assert_eq!(with.trials(), alone.trials());
        assert_eq!(Beta::verdict(&with.trials()), Verdict::Flaky);
        assert_eq!((with.trials().flakes(), with.hunted()), (3, 0));
    }

    #[test]
    fn the_latest_runs_are_kept_and_the_flakes_of_earlier_ones() {
        let runs: Vec<Run> = (1..=60)
            .map(|build| run(build, 7, Ended::Passed, u8::from(build % 10 == 3)))
            .collect();
        let memory = told(&runs);
        assert_eq!(memory.runs.len(), KEPT_RUNS);
        assert_eq!(memory.older_until, Some(BuildId(10)));
        assert_eq!((memory.older.all(), memory.older.flakes()), (10, 1));
        assert_eq!((memory.trials().all(), memory.trials().flakes()), (60, 6));
        let failed = [memory.first_failed, memory.last_failed];
        assert_eq!(failed, [Some(failure(3)), Some(failure(53))]);
    }

    #[test]
    fn durations_are_of_runs_that_passed() {
        let mut runs: Vec<Run> = (1..=11)
            .map(|build| run(build, 7, Ended::Passed, 0))
            .collect();
        runs.push(run(12, 7, Ended::Failed, 0));
        let quantiles = [0.0, 0.5, 0.9, 1.0];
        let found = told(&runs).durations_ms(quantiles);
        assert_eq!(found, Some([10, 60, 100, 110]));
        let found = told(&runs[11..]).durations_ms(quantiles);
        assert_eq!(found, Some([120; 4]));
        assert_eq!(told(&[]).durations_ms(quantiles), None);
    }

    #[test]
    fn a_commit_is_known_by_its_beginning() {
        let tag = Tag::of("00c0ffee12345678");
        assert_eq!(tag.map(|tag| tag.to_string()).as_deref(), Some("00c0ffee"));
        assert_eq!(Tag::of("c0ffee"), None);
        assert_eq!(Tag::of("no commit"), None);
    }

    proptest! {
        /// A master that dies while it counts builds counts some of them again when it starts.
        #[test]
        fn a_build_that_is_told_again_changes_nothing(
            kinds in prop::collection::vec((0..3_u8, 0..3_u8, 0..4_u32), 1..120),
            again in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let runs: Vec<Run> = (1..).zip(&kinds).map(|(build, (ended, failed, commit))| {
                let ended = [Ended::Passed, Ended::Failed, Ended::Skipped][usize::from(*ended)];
                run(build, *commit, ended, *failed)
            }).collect();
            let once = told(&runs);
            let mut twice = once.clone();
            for index in again {
                let run = runs[index.index(runs.len())];
                twice.add(run, &failure(run.build.0));
            }
            prop_assert_eq!(twice, once);
        }

        #[test]
        fn of_builds_that_are_kept_the_order_does_not_matter(
            order in Just((1..=KEPT_RUNS as u64).collect::<Vec<_>>()).prop_shuffle()
        ) {
            let of = |build: u64| run(build, (build % 3) as u32, Ended::Passed, (build % 2) as u8);
            let shuffled: Vec<Run> = order.iter().map(|build| of(*build)).collect();
            let sorted: Vec<Run> = (1..=KEPT_RUNS as u64).map(of).collect();
            prop_assert_eq!(told(&shuffled), told(&sorted));
        }
    }
}
