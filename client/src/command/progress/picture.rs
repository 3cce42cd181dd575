//! What a terminal shows of a build that runs: a line with a bar, and below it the atoms that run. Each line fits the
//! terminal. Draws text, and owns no terminal.

use super::pace::Pace;
use super::slow::Slow;
use crate::output::text::{duration, name, setting};
use crate::output::{BAD, NOTICE, styled};
use clusterrunner_common::api::AtomView;
use clusterrunner_common::text::printable::plain;
use console::{measure_text_width, truncate_str};
use std::time::Instant;

/// The narrowest and the widest bar, in columns. Where there is no place for a narrow one there is none.
const BAR: (usize, usize) = (5, 30);

/// The most running atoms that are shown.
const RUNNING: usize = 8;

/// One running atom for so many rows of the terminal: it shows failures, too.
const ROWS_PER_RUNNING: usize = 3;

/// The size of a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// What is shown.
pub(super) enum Picture {
    /// What goes on, in words.
    Words(String),
    /// Atoms run.
    Atoms {
        counts: Counts,
        pace: Pace,
        running: Vec<Running>,
    },
}

/// How many atoms are where.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) atoms: u64,
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) running: u64,
}

/// An atom that runs.
#[derive(Clone, Debug)]
pub(super) struct Running {
    /// What it is called.
    pub(super) label: String,
    /// When it started, in seconds since 1970, if its slave has said so.
    pub(super) started_at: Option<f64>,
    /// For how long it runs before it is slow, in seconds.
    pub(super) slow_after: f64,
}

impl Running {
    pub(super) fn of(atom: &AtomView, slow: Slow) -> Self {
        Self {
            label: format!("{}  {}", name(atom), setting(atom)),
            started_at: atom.started_at,
            slow_after: slow.limit(atom),
        }
    }

    /// How long it has been running by now, in seconds since 1970.
    pub(super) fn time(&self, now: f64) -> Option<f64> {
        Some((now - self.started_at?).max(0.0))
    }
}

impl Picture {
    /// The lines, after `seconds` of the build; `now` is in seconds since 1970.
    pub(super) fn lines(
        &self,
        size: Size,
        seconds: f64,
        now: f64,
        is_coloured: bool,
    ) -> Vec<String> {
        self.lines_at(size, (seconds, now, Instant::now()), is_coloured)
    }

    /// The same; the moment is told by both clocks.
    fn lines_at(
        &self,
        size: Size,
        (seconds, now, at): (f64, f64, Instant),
        is_coloured: bool,
    ) -> Vec<String> {
        let time = duration(seconds);
        let (counts, pace, running) = match self {
            Self::Words(words) => {
                return vec![cut(&format!("{time}  {}", plain(words)), size.columns)];
            }
            Self::Atoms {
                counts,
                pace,
                running,
            } => (counts, pace, running),
        };
        let left = pace.time_left(counts.done, counts.atoms.saturating_sub(counts.done), at);
        let head = headline(&time, *counts, left.as_ref(), size.columns, is_coloured);
        let most = RUNNING.min(size.rows / ROWS_PER_RUNNING);
        let mut lines = vec![head];
        for atom in running.iter().take(most) {
            let seconds = atom.time(now);
            let is_slow = seconds.is_some_and(|seconds| seconds >= atom.slow_after);
            let time = format!("{:>10}", seconds.map_or_else(String::new, duration));
            let time = match is_coloured && is_slow {
                true => styled(NOTICE, time),
                false => time,
            };
            let label = plain(&atom.label);
            lines.push(cut(&format!("{time}  {label}"), size.columns));
        }
        let more = running.len().saturating_sub(most);
        if most > 0 && more > 0 {
            let more = format!("{:>10}  ... and {more} more", "");
            lines.push(cut(&more, size.columns));
        }
        lines
    }
}

/// The time, the bar, and as much about the atoms as there is place for.
fn headline(
    time: &str,
    counts: Counts,
    left: Option<&[String; 2]>,
    columns: usize,
    is_coloured: bool,
) -> String {
    let Counts {
        atoms,
        done,
        failed,
        running,
    } = counts;
    let done = done.min(atoms);
    let [left, briefly] = match left {
        Some(left) => left.each_ref().map(|left| format!(", {left}")),
        None => Default::default(),
    };
    let failures = format!("{failed} failed");
    let texts = [
        format!("{done}/{atoms} atoms, {failures}, {running} running{left}"),
        format!("{done}/{atoms}, {failures}, {running} running{left}"),
        format!("{done}/{atoms}, {failures}, {running} running{briefly}"),
        format!("{done}/{atoms}, {failures}, {running} running"),
        format!("{done}/{atoms}, {failures}"),
    ];
    let beside = |text: &str| columns.saturating_sub(time.len() + text.len() + "  []  ".len());
    let text = texts.iter().find(|text| beside(text) >= BAR.0);
    let text = text.unwrap_or(&texts[4]);
    let shown = match is_coloured && failed > 0 {
        true => text.replace(&failures, &styled(BAD, &failures)),
        false => text.clone(),
    };
    let width = beside(text).min(BAR.1);
    if width < BAR.0 {
        return cut(&format!("{time}  {shown}"), columns);
    }
    let share = u64::try_from(width).unwrap_or_default();
    let filled = usize::try_from(done * share / atoms.max(1)).unwrap_or(width);
    format!("{time}  [{:<width$}]  {shown}", "=".repeat(filled))
}

/// The part of a line that fits.
fn cut(line: &str, columns: usize) -> String {
    let mark = match columns {
        0..=3 => "",
        _ => "...",
    };
    match measure_text_width(line) > columns {
        true => truncate_str(line, columns, mark).into_owned(),
        false => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn picture() -> Picture {
        let long = "artifact_3_0  TEST=\"a value that is longer than a line of a narrow terminal\"";
        let running = |label: &str, started_at| Running {
            label: label.to_owned(),
            started_at,
            slow_after: 10.0,
        };
        // Two atoms in four seconds, the second of them now.
        let began = Instant::now().checked_sub(Duration::from_secs(4));
        let mut pace = Pace::since(began.unwrap());
        pace.note(2, (None, None), Instant::now());
        Picture::Atoms {
            counts: Counts {
                atoms: 6,
                done: 2,
                failed: 1,
                running: 3,
            },
            pace,
            running: vec![
                running(long, Some(90.0)),
                running("artifact_4_0  TEST=\"寿司\u{1b}[2J\"", Some(99.9)),
                running("artifact_5_0  TEST=\"x\"", None),
            ],
        }
    }

    fn lines(columns: usize, rows: usize) -> Vec<String> {
        picture().lines(Size { columns, rows }, 12.34, 100.0, false)
    }

    #[test]
    fn the_bar_and_the_running_atoms_fit_the_terminal() {
        assert_eq!(
            lines(100, 24),
            [
                "12.3 s  [==========                    ]  2/6 atoms, 1 failed, 3 running, about 8.0 s left",
                "    10.0 s  artifact_3_0  TEST=\"a value that is longer than a line of a narrow terminal\"",
                "     0.1 s  artifact_4_0  TEST=\"寿司\\u{1b}[2J\"",
                "            artifact_5_0  TEST=\"x\"",
            ]
        );
        assert_eq!(
            lines(80, 24)[0],
            "12.3 s  [======              ]  2/6 atoms, 1 failed, 3 running, about 8.0 s left"
        );
        assert_eq!(
            lines(40, 8),
            [
                "12.3 s  [=====          ]  2/6, 1 failed",
                "    10.0 s  artifact_3_0  TEST=\"a val...",
                "     0.1 s  artifact_4_0  TEST=\"寿司\\...",
                "            ... and 1 more",
            ]
        );
        for columns in 1..120 {
            for line in lines(columns, 24) {
                assert!(measure_text_width(&line) <= columns, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn what_is_foretold_fits_the_terminal_too() {
        let mut picture = picture();
        let Picture::Atoms { pace, .. } = &mut picture else {
            unreachable!("it shows atoms");
        };
        let finish = clusterrunner_common::api::FinishView {
            median: 130.4,
            low: 110.4,
            high: 160.4,
        };
        let now = Instant::now();
        pace.note(2, (Some(finish), None), now);
        let head = |columns| {
            let size = Size { columns, rows: 3 };
            let lines = picture.lines_at(size, (12.34, 100.0, now), false);
            lines.into_iter().next().unwrap()
        };
        assert_eq!(
            head(80),
            "12.3 s  [===      ]  2/6 atoms, 1 failed, 3 running, done in 2:10 (1:50 to 2:40)"
        );
        assert_eq!(
            head(60),
            "12.3 s  [===       ]  2/6, 1 failed, 3 running, done in 2:10"
        );
        for columns in 1..120 {
            assert!(measure_text_width(&head(columns)) <= columns, "{columns}");
        }
    }

    #[test]
    fn the_times_of_slow_atoms_are_marked() {
        let size = Size {
            columns: 100,
            rows: 24,
        };
        let lines = picture().lines(size, 12.34, 100.0, true);
        let marked = lines.iter().map(|line| line.contains("\u{1b}["));
        // The bar has a failure; the first atom has run for ten seconds.
        assert_eq!(marked.collect::<Vec<_>>(), [true, true, false, false]);
        let plain = picture().lines(size, 12.34, 100.0, false);
        assert_eq!(console::strip_ansi_codes(&lines[1]), plain[1]);
    }

    #[test]
    fn colours_take_no_place() {
        let size = Size {
            columns: 60,
            rows: 3,
        };
        let coloured = picture().lines(size, 12.34, 100.0, true).remove(0);
        let plain = picture().lines(size, 12.34, 100.0, false).remove(0);
        assert!(coloured.contains("\u{1b}["), "{coloured:?}");
        assert_eq!(console::strip_ansi_codes(&coloured), plain);
    }
}
