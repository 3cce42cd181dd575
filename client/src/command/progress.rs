//! Showing how far a build is: a bar on a terminal, a line now and then elsewhere.

use crate::output;
use crate::output::text::{count, duration};
use clusterrunner_common::api::{BuildStatus, BuildView};
use clusterrunner_common::text::printable::plain;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt::{Display, Write};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// How often the bar is drawn when nothing changes, so that its clock runs.
const TICK: Duration = Duration::from_millis(200);

/// Characters of the bar, which is cut off where the terminal is too narrow for it.
const BAR_WIDTH: usize = 30;

/// The shortest time between two lines about the same stage.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows how far one build is, on standard error.
pub(crate) struct Progress {
    started: Instant,
    pace: Pace,
    shown: Shown,
}

enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines {
        last: String,
        stage: Stage,
        at: Instant,
    },
}

/// What a build waits for or does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Other builds of the project come first.
    Queued,
    /// The project is fetched and its atomizers run.
    Preparing,
    /// There are atoms, but no slave yet.
    WaitingForSlave,
    /// Atoms run.
    Building,
    /// All atoms have results, which are being packed.
    Archiving,
    /// It is over.
    Over,
}

impl Stage {
    /// The stage that a build is in.
    pub(crate) fn of(build: &BuildView) -> Self {
        let entered = |state: &str| {
            build
                .state_timestamps
                .get(state)
                .copied()
                .flatten()
                .is_some()
        };
        match build.status {
            BuildStatus::Queued if build.num_subjobs > 0 || entered("prepared") => {
                Self::WaitingForSlave
            }
            BuildStatus::Queued if entered("preparing") => Self::Preparing,
            BuildStatus::Queued => Self::Queued,
            BuildStatus::Building if build.num_atoms == Some(build.num_atoms_completed) => {
                Self::Archiving
            }
            BuildStatus::Building => Self::Building,
            BuildStatus::Finished | BuildStatus::Error | BuildStatus::Canceled => Self::Over,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Preparing => "preparing: fetching the project and finding its atoms",
            Self::WaitingForSlave => "waiting for a slave",
            Self::Building => "building",
            Self::Archiving => "packing the results",
            Self::Over => "over",
        }
    }
}

impl Progress {
    /// Begins to show; the time counts from here.
    pub(crate) fn start() -> Self {
        let shown = if output::is_quiet() {
            Shown::Nothing
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::no_length();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {time}  {wide_msg}") {
                bar.set_style(style.with_key(
                    "time",
                    |state: &ProgressState, out: &mut dyn Write| {
                        // There is nobody to tell.
                        write!(out, "{}", duration(state.elapsed().as_secs_f64())).ok();
                    },
                ));
            }
            bar.set_message(Stage::Queued.words());
            bar.enable_steady_tick(TICK);
            Shown::Bar(bar)
        } else {
            Shown::Lines {
                last: String::new(),
                stage: Stage::Over,
                at: Instant::now(),
            }
        };
        Self {
            started: Instant::now(),
            pace: Pace::start(),
            shown,
        }
    }

    /// Seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Shows where the build stands now.
    pub(crate) fn update(&mut self, build: &BuildView) {
        let stage = Stage::of(build);
        let seconds = self.seconds();
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                if stage != Stage::Building {
                    self.pace = Pace::start();
                }
                self.pace
                    .note(build.num_atoms_completed, build.seconds_left);
                let text = beside_spinner(build, stage, &self.pace);
                bar.set_message(plain(&text).into_owned());
            }
            Shown::Lines {
                last,
                stage: before,
                at,
            } => {
                let line = in_words(build, stage);
                let due = stage != *before || at.elapsed() >= LINE_INTERVAL;
                if stage != Stage::Over && due && line != *last {
                    output::note(format!("{} ({})", plain(&line), duration(seconds)));
                    (*last, *before, *at) = (line, stage, Instant::now());
                }
            }
        }
    }

    /// Prints a line of the result above the bar.
    pub(crate) fn say(&self, line: impl Display) {
        self.above(|| output::say(line));
    }

    /// Prints a note above the bar.
    pub(crate) fn note(&self, line: impl Display) {
        self.above(|| output::note(line));
    }

    fn above(&self, print: impl FnOnce()) {
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(print),
            Shown::Nothing | Shown::Lines { .. } => print(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

/// The text beside the spinner. It holds the bar as well: a bar and its text that change one after the
/// other can be seen to disagree. The bar comes last, as a narrow terminal shows the beginning only.
fn beside_spinner(build: &BuildView, stage: Stage, pace: &Pace) -> String {
    let (Stage::Building, Some(atoms)) = (stage, build.num_atoms) else {
        return in_words(build, stage);
    };
    if build.num_atoms_in_progress == 0
        && (build.num_atoms_completed == 0 || waits_for(build).is_some())
    {
        return in_words(build, stage);
    }
    let done = build.num_atoms_completed.min(atoms);
    let width = u64::try_from(BAR_WIDTH).unwrap_or_default();
    let filled = usize::try_from(done * width / atoms.max(1)).unwrap_or(BAR_WIDTH);
    let mut text = format!(
        "{done}/{atoms} atoms, {} failed, {} running",
        build.num_atoms_failed, build.num_atoms_in_progress
    );
    if let Some(left) = pace.time_left(done, atoms - done) {
        text.push_str(&format!(", about {left} left"));
    }
    format!("{text}  [{:<BAR_WIDTH$}]", "=".repeat(filled))
}

/// How fast atoms end, for an estimate of the rest.
struct Pace {
    began: Instant,
    /// How many atoms had ended when the last one did, and when that was.
    last: (u64, Instant),
    /// How many seconds the master expects, and when it first said so.
    foretold: Option<(f64, Instant)>,
}

impl Pace {
    fn start() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            last: (0, now),
            foretold: None,
        }
    }

    fn note(&mut self, done: u64, seconds_left: Option<f64>) {
        if done != self.last.0 {
            self.last = (done, Instant::now());
        }
        if self.foretold.map(|(seconds, _)| seconds) != seconds_left {
            self.foretold = seconds_left.map(|seconds| (seconds, Instant::now()));
        }
    }

    /// In words, if anything is known. It counts down from one ended atom to the next.
    fn time_left(&self, done: u64, left: u64) -> Option<String> {
        // Who knows how long each atom takes knows better than the pace so far.
        if let Some((seconds, since)) = self.foretold {
            return Some(in_units(seconds - since.elapsed().as_secs_f64()));
        }
        if done == 0 {
            return None;
        }
        let atoms_left_per_ended = left as f64 / done as f64;
        let until_last = self.last.1.duration_since(self.began).as_secs_f64();
        let left = until_last * atoms_left_per_ended - self.last.1.elapsed().as_secs_f64();
        Some(in_units(left))
    }
}

fn in_units(seconds: f64) -> String {
    duration(seconds.round().max(1.0))
}

fn in_words(build: &BuildView, stage: Stage) -> String {
    let waits = match (stage, waits_for(build)) {
        (Stage::WaitingForSlave, Some(why)) => return format!("waiting: {why}"),
        (Stage::Building, Some(why)) => format!("waiting: {why}"),
        (Stage::Building, None)
            if build.num_atoms_in_progress == 0 && build.num_atoms_completed == 0 =>
        {
            let atoms = count(build.num_atoms.unwrap_or(0), "atom");
            let setting_up = build.slaves_setting_up.len() as u64;
            if setting_up > 0 {
                let slaves = count(setting_up, "slave");
                return format!(
                    "{atoms} waiting: set-up runs on {slaves} (`clusterrunner logs {} --setup -f`)",
                    build.id
                );
            }
            return format!("{atoms} waiting: slaves are being set up, or are busy");
        }
        _ => format!("{} running", build.num_atoms_in_progress),
    };
    match (stage, &build.details, build.num_atoms) {
        // Masters of the original count subjobs only.
        (Stage::Building, Some(details), _)
            if build.num_atoms_completed == 0 && !details.starts_with("0 of ") =>
        {
            details.clone()
        }
        (Stage::Building, _, Some(atoms)) => {
            let left = build.seconds_left.map_or_else(String::new, |seconds| {
                format!(", about {} left", in_units(seconds))
            });
            format!(
                "{} of {} done, {} failed, {waits}{left}",
                build.num_atoms_completed,
                count(atoms, "atom"),
                build.num_atoms_failed
            )
        }
        _ => stage.words().to_owned(),
    }
}

/// Why nothing of a build runs, if its master says so: `no slave takes work: 1 drained`.
pub(super) fn waits_for(build: &BuildView) -> Option<&str> {
    let (_, why) = build.details.as_deref()?.split_once("It waits: ")?;
    Some(why.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::BuildId;
    use serde_json::Map;

    fn build(atoms: u64, done: u64) -> BuildView {
        BuildView {
            id: BuildId(1),
            status: BuildStatus::Building,
            details: None,
            error_message: None,
            num_atoms: Some(atoms),
            num_subjobs: atoms,
            failed_atoms: None,
            result: None,
            request_params: Map::new(),
            state_timestamps: [].into_iter().collect(),
            artifacts: None,
            commit: None,
            num_atoms_completed: done,
            num_atoms_failed: 0,
            num_atoms_in_progress: 0,
            num_atoms_in_trouble: 0,
            warnings: Vec::new(),
            lacks_atoms: false,
            seconds_left: None,
            slaves_setting_up: Vec::new(),
        }
    }

    #[test]
    fn the_bar_shows_what_is_done_and_what_is_left() {
        let build = BuildView {
            num_atoms_failed: 1,
            num_atoms_in_progress: 3,
            ..build(6, 2)
        };
        let mut pace = Pace::start();
        // Two atoms in four seconds, the second of them now.
        if let Some(began) = Instant::now().checked_sub(Duration::from_secs(4)) {
            pace.began = began;
        }
        pace.note(2, None);
        assert_eq!(
            beside_spinner(&build, Stage::of(&build), &pace),
            "2/6 atoms, 1 failed, 3 running, about 8.0 s left  [==========                    ]"
        );
        pace.note(2, Some(90.2));
        let shown = beside_spinner(&build, Stage::of(&build), &pace);
        assert!(shown.contains(", about 1 min 30 s left"), "{shown}");
        assert_eq!(
            beside_spinner(&build, Stage::Archiving, &pace),
            "packing the results"
        );
    }

    #[test]
    fn a_build_that_waits_says_why() {
        let waiting = |details: &str| BuildView {
            details: Some(details.to_owned()),
            ..build(6, 2)
        };
        let kept_out =
            "2 of 6 subjobs are complete (33.3%). It waits: no slave takes work: 1 drained.";
        let expected = "2 of 6 atoms done, 0 failed, waiting: no slave takes work: 1 drained";
        assert_eq!(in_words(&waiting(kept_out), Stage::Building), expected);
        assert_eq!(
            in_words(&waiting(kept_out), Stage::WaitingForSlave),
            "waiting: no slave takes work: 1 drained"
        );
        assert_eq!(
            in_words(&build(6, 0), Stage::Building),
            "6 atoms waiting: slaves are being set up, or are busy"
        );
    }
}
