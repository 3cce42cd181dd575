//! The lines at the bottom of a terminal that are drawn anew.

use super::pace::Pace;
use super::picture::{Counts, Picture, Running, Size};
use clusterrunner_common::api::FinishView;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::lock::lock;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often they are drawn when nothing changes, so that their clocks run.
const TICK: Duration = Duration::from_millis(200);

/// A terminal that does not tell its size has this one.
const USUAL: Size = Size {
    columns: 80,
    rows: 24,
};

/// The bottom of standard error's terminal.
pub(super) struct Screen {
    bar: ProgressBar,
    picture: Arc<Mutex<Picture>>,
}

impl Screen {
    /// Begins to draw, where standard error is a terminal that can.
    pub(super) fn open(words: &str) -> Option<Self> {
        let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        if is_dumb || !std::io::stderr().is_terminal() {
            return None;
        }
        let picture = Arc::new(Mutex::new(Picture::Words(words.to_owned())));
        let drawn = Arc::clone(&picture);
        let choice = anstream::AutoStream::choice(&std::io::stderr());
        let is_coloured = choice != anstream::ColorChoice::Never;
        let style = ProgressStyle::with_template("{lines}").ok()?;
        let style = style.with_key(
            "lines",
            move |state: &ProgressState, out: &mut dyn Write| {
                let now = Timestamp::now().as_unix_seconds();
                let seconds = state.elapsed().as_secs_f64();
                let lines = lock(&drawn).lines(size(), seconds, now, is_coloured);
                // There is nobody to tell.
                out.write_str(&lines.join("\n")).ok();
            },
        );
        let bar = ProgressBar::no_length().with_style(style);
        bar.enable_steady_tick(TICK);
        Some(Self { bar, picture })
    }

    /// Shows something else.
    pub(super) fn show(&self, picture: Picture) {
        *lock(&self.picture) = picture;
    }

    /// Shows running atoms. The pace counts from the first time on.
    pub(super) fn show_atoms(
        &self,
        counts: Counts,
        foretold: (Option<FinishView>, Option<f64>),
        running: Vec<Running>,
    ) {
        let mut picture = lock(&self.picture);
        let before = std::mem::replace(&mut *picture, Picture::Words(String::new()));
        let mut pace = match before {
            Picture::Atoms { pace, .. } => pace,
            Picture::Words(_) => Pace::start(),
        };
        pace.note(counts.done, foretold, Instant::now());
        *picture = Picture::Atoms {
            counts,
            pace,
            running,
        };
    }

    /// Prints above.
    pub(super) fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn size() -> Size {
    match console::Term::stderr().size_checked() {
        Some((rows, columns)) if rows > 0 && columns > 0 => Size {
            columns: columns.into(),
            rows: rows.into(),
        },
        _ => USUAL,
    }
}
