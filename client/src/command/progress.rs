//! Showing how far a build is: a bar and the running atoms on a terminal, a line now and then elsewhere.

mod pace;
mod picture;
mod screen;
mod slow;
#[cfg(test)]
mod tests;

use crate::output;
use crate::output::again::command;
use crate::output::events::{self, Event};
use crate::output::text::{count, duration};
use clusterrunner_common::api::{AtomView, BuildStatus, BuildView, ChildView, FinishView};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::text::printable::plain;
pub(super) use pace::done_in;
use pace::{Foretold, in_units};
use picture::{Counts, Picture, Running};
use screen::Screen;
pub(super) use slow::Slow;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// The shortest time between two lines about the same stage.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// After this many seconds the output of a set-up is named, for a look.
const LONG_SET_UP: f64 = 2.0;

/// After this time a line is said again, so that a log shows that the build goes on.
const SAME_LINE_INTERVAL: Duration = Duration::from_secs(60);

/// Shows how far one build is, on standard error.
pub(crate) struct Progress {
    started: Instant,
    slow: Slow,
    shown: Shown,
}

enum Shown {
    Nothing,
    /// Lines of JSON.
    Events(Said),
    Screen(Screen),
    Lines(Lines),
}

/// What the last line of JSON said: how far the build is, and when it will end.
#[derive(Default)]
struct Said {
    progress: String,
    finish: Option<Foretold>,
}

/// What was said last.
struct Lines {
    last: String,
    /// The running atom that was named with it.
    longest: Option<String>,
    stage: Stage,
    at: Instant,
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
            // The builds of its matrix have none yet.
            BuildStatus::Building if !build.children.is_empty() && build.num_atoms == Some(0) => {
                Self::Preparing
            }
            BuildStatus::Building if has_run(build) => Self::Archiving,
            BuildStatus::Building => Self::Building,
            BuildStatus::Finished | BuildStatus::Error | BuildStatus::Canceled => Self::Over,
        }
    }

    /// What programs call it.
    fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Preparing => "preparing",
            Self::WaitingForSlave => "waiting_for_slave",
            Self::Building => "building",
            Self::Archiving => "archiving",
            Self::Over => "over",
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

/// Whether all atoms have results. Of a build that was split others may have atoms that are not known yet.
fn has_run(build: &BuildView) -> bool {
    let knows_atoms = |child: &ChildView| child.num_atoms > 0 || child.status.is_over();
    build.num_atoms == Some(build.num_atoms_completed) && build.children.iter().all(knows_atoms)
}

impl Progress {
    /// Begins to show; the time counts from here.
    pub(crate) fn start(slow: Slow) -> Self {
        let started = Instant::now();
        let shown = if output::is_quiet() {
            Shown::Nothing
        } else if output::is_json_lines() {
            Shown::Events(Said::default())
        } else if let Some(screen) = Screen::open(Stage::Queued.words()) {
            Shown::Screen(screen)
        } else {
            Shown::Lines(Lines {
                last: String::new(),
                longest: None,
                stage: Stage::Over,
                at: started,
            })
        };
        Self {
            started,
            slow,
            shown,
        }
    }

    /// Shows nothing of how far a build is: what is printed above it is all.
    pub(crate) fn none() -> Self {
        Self {
            started: Instant::now(),
            slow: Slow(u32::MAX),
            shown: Shown::Nothing,
        }
    }

    /// Whether it is shown when a build will end.
    pub(crate) fn shows_finish(&self) -> bool {
        !matches!(self.shown, Shown::Nothing)
    }

    /// Whether it is drawn anew all the time, for somebody who watches.
    pub(crate) fn is_watched(&self) -> bool {
        matches!(self.shown, Shown::Screen(_))
    }

    /// Whether running atoms would be shown now.
    pub(crate) fn wants_running(&self) -> bool {
        match &self.shown {
            Shown::Nothing => false,
            Shown::Screen(_) | Shown::Events(_) => true,
            Shown::Lines(lines) => lines.at.elapsed() >= LINE_INTERVAL,
        }
    }

    /// Shows where the build stands now, with those of its running atoms that are known, the longest first.
    pub(crate) fn update(&mut self, build: &BuildView, running: &[AtomView]) {
        let stage = Stage::of(build);
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Events(said) => said.emit(build, stage),
            Shown::Screen(screen) => match counts(build, stage) {
                None => screen.show(Picture::Words(in_words(build, stage))),
                Some(counts) => {
                    let slow = self.slow;
                    let running = running.iter().map(|atom| Running::of(atom, slow)).collect();
                    let foretold = (build.finish.flatten(), build.seconds_left);
                    screen.show_atoms(counts, foretold, running);
                }
            },
            Shown::Lines(lines) => {
                let longest = running.first().map(|atom| Running::of(atom, self.slow));
                let line = (in_words(build, stage), left_in_words(build, stage));
                lines.say(self.started, line, stage, longest);
            }
        }
    }

    /// Shows what is done after the end of the build.
    pub(crate) fn show(&mut self, what: &str) {
        if let Shown::Screen(screen) = &mut self.shown {
            screen.show(Picture::Words(what.to_owned()));
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

    /// Prints above the bar.
    pub(crate) fn above(&self, print: impl FnOnce()) {
        match &self.shown {
            Shown::Screen(screen) => screen.suspend(print),
            Shown::Nothing | Shown::Events(_) | Shown::Lines(_) => print(),
        }
    }
}

impl Lines {
    /// Says a line with the time that is left, unless it tells nothing new but that time.
    fn say(
        &mut self,
        began: Instant,
        (line, left): (String, String),
        stage: Stage,
        longest: Option<Running>,
    ) {
        let label = longest.as_ref().map(|atom| atom.label.clone());
        let is_same = line == self.last && (label.is_none() || label == self.longest);
        let pause = match is_same {
            true => SAME_LINE_INTERVAL,
            false => LINE_INTERVAL,
        };
        let is_due = stage != self.stage || self.at.elapsed() >= pause;
        if stage == Stage::Over || !is_due {
            return;
        }
        let longest = longest.map_or_else(String::new, in_words_longest);
        let time = duration(began.elapsed().as_secs_f64());
        let shown = plain(&line);
        output::note(format!("{shown}{left}{} ({time})", plain(&longest)));
        *self = Self {
            last: line,
            longest: label,
            stage,
            at: Instant::now(),
        };
    }
}

impl Said {
    /// Emits how far a build is, unless that was said last. When it will end is said anew only where counting down from
    /// what was said is wrong by now.
    fn emit(&mut self, build: &BuildView, stage: Stage) {
        let progress = |finish| {
            Event::Progress(events::Progress {
                build_id: build.id,
                state: stage.name(),
                num_atoms: build.num_atoms,
                num_atoms_completed: build.num_atoms_completed,
                num_atoms_failed: build.num_atoms_failed,
                num_atoms_in_progress: build.num_atoms_in_progress,
                finish,
            })
        };
        let (finish, now) = (build.finish.flatten(), Instant::now());
        let said = serde_json::json!(progress(None)).to_string();
        let is_same = self.progress == said && !self.is_news(finish, now);
        if stage != Stage::Over && !is_same {
            let before = self.finish.and_then(|said| said.if_fresh(now));
            self.finish = finish.map(|finish| Foretold::at(finish, now)).or(before);
            output::emit(&progress(self.finish.map(|said| said.left(now))));
            self.progress = said;
        }
    }

    fn is_news(&self, finish: Option<FinishView>, now: Instant) -> bool {
        match (self.finish, finish) {
            (Some(said), Some(finish)) => !said.left(now).is_about(finish),
            // What was said is the best that there is for a while.
            (Some(said), None) => said.if_fresh(now).is_none(),
            (None, finish) => finish.is_some(),
        }
    }
}

/// How many atoms are where, if that tells more than words.
fn counts(build: &BuildView, stage: Stage) -> Option<Counts> {
    let atoms = build.num_atoms.filter(|_| stage == Stage::Building)?;
    let is_waiting = build.num_atoms_completed == 0 || waits_for(build).is_some();
    if build.num_atoms_in_progress == 0 && is_waiting {
        return None;
    }
    Some(Counts {
        atoms,
        done: build.num_atoms_completed,
        failed: build.num_atoms_failed,
        running: build.num_atoms_in_progress,
    })
}

/// `; artifact_3_0 has been running for 12.3 s`, without times that nobody knows.
fn in_words_longest(atom: Running) -> String {
    let now = Timestamp::now().as_unix_seconds();
    atom.time(now).map_or_else(String::new, |time| {
        format!("; for {} runs {}", duration(time), atom.label)
    })
}

/// Whether a set-up takes so long that its output is worth a look. Many jobs have no `setup_build`, and print none.
fn has_long_set_up(build: &BuildView) -> bool {
    let now = Timestamp::now().as_unix_seconds();
    let mut since = build.slaves_setting_up.iter().filter_map(|on| on.since);
    since.any(|since| now - since > LONG_SET_UP)
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
                let said = format!("{atoms} waiting: set-up runs on {slaves}");
                let look = command(format_args!("logs {} --setup -f", build.id));
                return match has_long_set_up(build) {
                    true => format!("{said} (`{look}`)"),
                    false => said,
                };
            }
            return format!("{atoms} waiting: slaves are being set up, are busy, or are gone");
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
            format!(
                "{} of {} done, {} failed, {waits}",
                build.num_atoms_completed,
                count(atoms, "atom"),
                build.num_atoms_failed
            )
        }
        _ => stage.words().to_owned(),
    }
}

/// How long it will take yet, as far as that is known.
fn left_in_words(build: &BuildView, stage: Stage) -> String {
    match (stage, build.finish.flatten(), build.seconds_left) {
        (Stage::Building, Some(finish), _) => format!(", {}", done_in(finish)),
        (Stage::Building, None, Some(seconds)) => format!(", about {} left", in_units(seconds)),
        _ => String::new(),
    }
}

/// Why nothing of a build runs, if its master says so: `no slave takes work: 1 drained`.
pub(super) fn waits_for(build: &BuildView) -> Option<&str> {
    let (_, why) = build.details.as_deref()?.split_once("It waits: ")?;
    Some(why.trim_end_matches('.'))
}
