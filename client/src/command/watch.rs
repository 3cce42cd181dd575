//! Following a build to its end: progress, and every failed atom as soon as it is known.

use super::progress::{Progress, Stage};
use super::text::{duration, how_ended, name, setting};
use crate::output::{BAD, FAINT, styled};
use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::api::{AtomView, BuildView};
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Pause between the first looks at a build, so that a short one does not seem long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Pause between looks at a long build.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Lines of output shown of a failed atom.
const SHOWN_LINES: u64 = 20;

/// Failed atoms shown with their output; a build in which everything fails has one cause.
const SHOWN_WITH_OUTPUT: usize = 20;

/// Failed atoms shown at all; the others are in the results.
const SHOWN_AT_ALL: usize = 200;

/// The list of all atoms may be long, so that fetching it takes at most this part of the time.
const SHARE_FOR_FAILURES: u32 = 10;

/// How long a prepared build waits before we look whether there are slaves at all.
const SLAVE_PATIENCE: Duration = Duration::from_secs(2);

/// One build that is followed.
pub(crate) struct Watch<'a> {
    client: &'a Client,
    build: BuildId,
    /// How it is shown.
    pub(crate) progress: Progress,
    shown: HashSet<(SubjobId, AtomId)>,
    next_failures: Instant,
    waiting_since: Option<Instant>,
}

impl<'a> Watch<'a> {
    /// Begins to follow a build.
    pub(crate) fn start(client: &'a Client, build: BuildId) -> Self {
        Self {
            client,
            build,
            progress: Progress::start(),
            shown: HashSet::new(),
            next_failures: Instant::now(),
            waiting_since: None,
        }
    }

    /// Follows the build until it is over.
    pub(crate) async fn follow(&mut self) -> Result<BuildView, ClientError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let build = self.client.build(self.build).await?;
            self.progress.update(&build);
            if build.status.is_over() {
                for atom in build.failed_atoms.iter().flatten() {
                    self.show_failure(atom).await?;
                }
                self.say_what_is_left();
                return Ok(build);
            }
            self.look_for_failures(&build).await?;
            self.look_for_slaves(&build).await?;
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    async fn look_for_failures(&mut self, build: &BuildView) -> Result<(), ClientError> {
        let known = u64::try_from(self.shown.len()).unwrap_or(u64::MAX);
        let nothing_new = build.num_atoms_failed <= known;
        if nothing_new || self.shown.len() >= SHOWN_AT_ALL || Instant::now() < self.next_failures {
            return Ok(());
        }
        let asked = Instant::now();
        let subjobs = self.client.subjobs(self.build).await?;
        self.next_failures = Instant::now() + asked.elapsed() * SHARE_FOR_FAILURES;
        for atom in subjobs.iter().flat_map(|subjob| &subjob.atoms) {
            if atom.exit_code.is_some_and(|code| code != 0) {
                self.show_failure(atom).await?;
            }
        }
        Ok(())
    }

    async fn show_failure(&mut self, atom: &AtomView) -> Result<(), ClientError> {
        if !self.shown.insert((atom.subjob_id, atom.id)) || self.shown.len() > SHOWN_AT_ALL {
            return Ok(());
        }
        let mut how = how_ended(atom).unwrap_or_else(|| "no exit code".to_owned());
        if let Some(seconds) = atom.actual_time {
            how = format!("{how}, {}", duration(seconds));
        }
        let mut text = format!(
            "{} {}  {}  ({how})",
            styled(BAD, "FAILED"),
            name(atom),
            setting(atom)
        );
        if self.shown.len() <= SHOWN_WITH_OUTPUT {
            text.push_str(&self.end_of_output(atom).await?);
        }
        self.progress.say(text);
        Ok(())
    }

    /// The last lines that an atom printed, each indented and after a line break.
    async fn end_of_output(&self, atom: &AtomView) -> Result<String, ClientError> {
        let console = self
            .client
            .console(self.build, atom.subjob_id, atom.id, SHOWN_LINES, None)
            .await;
        let console = match console {
            Ok(console) => console,
            // The output is a courtesy: the build goes on, and the results will have it.
            Err(ClientError::Call(_)) => {
                return Ok(format!("\n{}", styled(FAINT, "    (no output to be had)")));
            }
            Err(other) => return Err(other),
        };
        let mut text = String::new();
        if console.offset_line > 0 {
            let left_out = format!("    ... {} lines before", console.offset_line);
            text = format!("\n{}", styled(FAINT, left_out));
        }
        for line in console.content.lines() {
            text.push_str("\n    ");
            text.push_str(line);
        }
        Ok(text)
    }

    fn say_what_is_left(&self) {
        let left = self.shown.len().saturating_sub(SHOWN_AT_ALL);
        if left > 0 {
            self.progress.say(format!(
                "... and {left} more failed atoms; `clusterrunner logs {}` lists them",
                self.build
            ));
        }
    }

    /// Tells the user once when the build waits for slaves that are not there.
    async fn look_for_slaves(&mut self, build: &BuildView) -> Result<(), ClientError> {
        if Stage::of(build) != Stage::WaitingForSlave {
            return Ok(());
        }
        let waits_for = self
            .waiting_since
            .get_or_insert_with(Instant::now)
            .elapsed();
        if waits_for < SLAVE_PATIENCE || waits_for > SLAVE_PATIENCE + LONGEST_PAUSE {
            return Ok(());
        }
        let slaves = self.client.slaves().await?;
        if !slaves.iter().any(|slave| slave.is_alive) {
            self.progress.note(format!(
                "the master has no slaves, so the build waits; start one with `clusterrunner slave --master-url {}`",
                self.client.master()
            ));
        }
        Ok(())
    }
}
