//! Following a build to its end: progress, and every failed atom as soon as it is known.

mod failures;

use super::console_page::is_not_there;
use super::progress::{Progress, Slow, Stage, waits_for};
use super::until_over::UntilOver;
use crate::options::ShownOptions;
use crate::output::again::command;
use crate::output::events::Event;
use crate::output::text::{duration, name, setting};
use crate::output::{self, NOTICE, styled};
use clusterrunner_client::{Client, ClientError};
use clusterrunner_common::api::{AtomState, AtomView, BuildStatus, BuildView, SubjobFilter};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use clusterrunner_common::text::printable::{plain, plain_lines};
pub(super) use failures::Failures;
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

/// Pause between the first looks at a build, so that a short one does not seem long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Pause between looks at a long build, of which somebody reads a line now and then.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The same where somebody watches a bar: it is drawn anew as often.
const WATCHED_PAUSE: Duration = Duration::from_millis(200);

/// Slow atoms that are told; where there are more, something else is wrong.
const SLOW_TOLD: usize = 200;

/// Lists of atoms may be long, so that fetching one takes at most this part of the time.
const SHARE_OF_LISTS: u32 = 10;

/// When running atoms are asked for first: those of a short build are over before anybody has read their names.
const FIRST_RUNNING: Duration = Duration::from_millis(500);

/// From when on it is asked when the build will end: short ones end sooner than anybody could read that, and nobody need
/// foretell it.
const FORETOLD_AFTER: Duration = Duration::from_secs(1);

/// How long a prepared build waits before we look whether there are slaves at all.
const SLAVE_PATIENCE: Duration = Duration::from_secs(2);

/// One build that is followed.
pub(crate) struct Watch<'a> {
    client: &'a Client,
    build: BuildId,
    /// How it is shown.
    pub(crate) progress: Progress,
    failures: Failures<'a>,
    /// Those of the builds of its matrix.
    of_children: BTreeMap<BuildId, Failures<'a>>,
    shown: ShownOptions,
    slow: Slow,
    /// Slow atoms that were told.
    slow_told: HashSet<(SubjobId, AtomId)>,
    /// Atoms that passed and were told of; empty without `--verbose`.
    passed: HashSet<(SubjobId, AtomId)>,
    /// Those that run, the longest first.
    running: Vec<AtomView>,
    next_failures: Instant,
    next_running: Instant,
    /// When it is asked for the first time when the build will end; never, where the master can not say.
    foretold_from: Option<Instant>,
    waiting_since: Option<Instant>,
    /// How many of the build's warnings were told.
    warned: usize,
}

impl<'a> Watch<'a> {
    /// Begins to follow a build.
    pub(crate) fn start(client: &'a Client, build: BuildId, shown: ShownOptions) -> Self {
        let now = Instant::now();
        let slow = Slow(shown.slow_after);
        Self {
            client,
            build,
            progress: Progress::start(slow),
            failures: Failures::new(client, build, shown.failure_output),
            of_children: BTreeMap::new(),
            shown,
            slow,
            slow_told: HashSet::new(),
            passed: HashSet::new(),
            running: Vec::new(),
            next_failures: now,
            next_running: now + FIRST_RUNNING,
            foretold_from: Some(now + FORETOLD_AFTER),
            waiting_since: None,
            warned: 0,
        }
    }

    /// Follows the build until it is over.
    pub(crate) async fn follow(&mut self) -> Result<BuildView, ClientError> {
        let mut pause = FIRST_PAUSE;
        let longest_pause = match self.progress.is_watched() {
            true => WATCHED_PAUSE,
            false => LONGEST_PAUSE,
        };
        let mut end = UntilOver::of(self.client, self.build);
        loop {
            let build = self.look().await?;
            self.warn(&build);
            self.look_at_children(&build).await?;
            if build.status.is_over() {
                for atom in build.failed_atoms.iter().flatten() {
                    self.failures.show(&self.progress, atom).await?;
                }
                if output::is_verbose() && build.status == BuildStatus::Finished {
                    let subjobs = self.client.subjobs(self.build).await?;
                    for atom in subjobs.iter().flat_map(|subjob| &subjob.atoms) {
                        self.show_pass(atom);
                    }
                }
                return Ok(build);
            }
            self.look_for_running(&build).await?;
            self.progress.update(&build, &self.running);
            self.look_for_failures(&build).await?;
            self.look_for_passes(&build).await?;
            self.look_for_slaves(&build).await?;
            end.or_after(pause).await;
            pause = (pause * 3 / 2).min(longest_pause);
        }
    }

    /// The build as it stands, with when it will end where that is shown. One request, but for the first one at a master
    /// that does not foretell it, and the last one.
    async fn look(&mut self) -> Result<BuildView, ClientError> {
        let is_asked = self
            .foretold_from
            .is_some_and(|from| from <= Instant::now());
        if is_asked && self.progress.shows_finish() {
            match self.client.build_in_version_2(self.build).await? {
                // How a build ended is told in the form that it always was.
                Some(build) if build.status.is_over() => {}
                Some(build) => return Ok(build),
                None => self.foretold_from = None,
            }
        }
        self.client.build(self.build).await
    }

    /// Tells the warnings that are new.
    pub(crate) fn warn(&mut self, build: &BuildView) {
        for warning in build.warnings.iter().skip(self.warned) {
            output::emit(&Event::Warning {
                build_id: build.id,
                text: warning,
            });
            let text = plain_lines(warning).replace('\n', "\n    ");
            let warning = format!("{} {text}", styled(NOTICE, "warning:"));
            self.progress.above(|| output::complain(warning));
        }
        self.warned = self.warned.max(build.warnings.len());
    }

    async fn look_for_running(&mut self, build: &BuildView) -> Result<(), ClientError> {
        if build.num_atoms_in_progress == 0 {
            self.running.clear();
            return Ok(());
        }
        if Instant::now() < self.next_running || !self.progress.wants_running() {
            return Ok(());
        }
        let asked = Instant::now();
        let filter = SubjobFilter::InProgress;
        let subjobs = self.client.filtered_subjobs(self.build, filter).await?;
        self.next_running = Instant::now() + asked.elapsed() * SHARE_OF_LISTS;
        let atoms = subjobs.into_iter().flat_map(|subjob| subjob.atoms);
        let runs = |atom: &AtomView| atom.state == AtomState::InProgress;
        self.running = atoms.filter(runs).collect();
        let started = |atom: &AtomView| atom.started_at.unwrap_or(f64::MAX);
        self.running
            .sort_by(|one, other| started(one).total_cmp(&started(other)));
        self.tell_slow();
        Ok(())
    }

    /// Tells once of each running atom that it is slow.
    fn tell_slow(&mut self) {
        let now = Timestamp::now().as_unix_seconds();
        for atom in &self.running {
            let Some(time) = atom.started_at.map(|started| now - started) else {
                continue;
            };
            let is_told = self.slow_told.len() >= SLOW_TOLD
                || time < self.slow.limit(atom)
                || !self.slow_told.insert((atom.subjob_id, atom.id));
            if is_told {
                continue;
            }
            output::emit(&Event::AtomSlow {
                build_id: self.build,
                atom,
            });
            let usual = atom.expected_time.map_or_else(String::new, |usual| {
                format!("; it usually takes {}", duration(usual))
            });
            self.progress.note(format!(
                "{} {}  {}  (has been running for {}{usual})",
                styled(NOTICE, "slow"),
                name(atom),
                setting(atom),
                duration(time.max(0.0))
            ));
        }
    }

    async fn look_for_failures(&mut self, build: &BuildView) -> Result<(), ClientError> {
        if !build.children.is_empty() {
            return Ok(());
        }
        let known = u64::try_from(self.failures.count()).unwrap_or(u64::MAX);
        let is_full = self.failures.is_full();
        if build.num_atoms_failed <= known || is_full || Instant::now() < self.next_failures {
            return Ok(());
        }
        let asked = Instant::now();
        let filter = SubjobFilter::Failed;
        let subjobs = self.client.filtered_subjobs(self.build, filter).await?;
        self.next_failures = Instant::now() + asked.elapsed() * SHARE_OF_LISTS;
        for atom in subjobs.iter().flat_map(|subjob| &subjob.atoms) {
            if atom.has_failed() {
                self.failures.show(&self.progress, atom).await?;
            }
        }
        Ok(())
    }

    /// Shows the atoms that failed in builds of the build's matrix.
    async fn look_at_children(&mut self, build: &BuildView) -> Result<(), ClientError> {
        // At the end all are told.
        if Instant::now() < self.next_failures && !build.status.is_over() {
            return Ok(());
        }
        let asked = Instant::now();
        for child in &build.children {
            let (client, how) = (self.client, self.shown.failure_output);
            let of_child = self.of_children.entry(child.build_id);
            let failures = of_child.or_insert_with(|| Failures::new(client, child.build_id, how));
            let known = u64::try_from(failures.count()).unwrap_or(u64::MAX);
            if child.num_atoms_failed <= known || failures.is_full() {
                continue;
            }
            let filter = SubjobFilter::Failed;
            let subjobs = match client.filtered_subjobs(child.build_id, filter).await {
                // It was removed since; its parent knows how it ended.
                Err(error) if is_not_there(&error) => continue,
                subjobs => subjobs?,
            };
            if known == 0 {
                let name = plain(&child.name);
                let head = format!("build {} ({name}):", child.build_id);
                self.progress.note(head);
            }
            let atoms = subjobs.iter().flat_map(|subjob| &subjob.atoms);
            for atom in atoms.filter(|atom| atom.has_failed()) {
                failures.show(&self.progress, atom).await?;
            }
        }
        self.next_failures = Instant::now() + asked.elapsed() * SHARE_OF_LISTS;
        Ok(())
    }

    /// Shows the atoms that passed, under `--verbose` only.
    async fn look_for_passes(&mut self, build: &BuildView) -> Result<(), ClientError> {
        let known = u64::try_from(self.passed.len()).unwrap_or(u64::MAX);
        let passed = build
            .num_atoms_completed
            .saturating_sub(build.num_atoms_failed);
        if !output::is_verbose() || passed <= known || Instant::now() < self.next_failures {
            return Ok(());
        }
        let asked = Instant::now();
        let subjobs = self.client.subjobs(self.build).await?;
        self.next_failures = Instant::now() + asked.elapsed() * SHARE_OF_LISTS;
        for atom in subjobs.iter().flat_map(|subjob| &subjob.atoms) {
            self.show_pass(atom);
        }
        Ok(())
    }

    fn show_pass(&mut self, atom: &AtomView) {
        let has_passed = output::is_verbose() && atom.exit_code == Some(0);
        if has_passed && self.passed.insert((atom.subjob_id, atom.id)) {
            output::emit(&Event::AtomPassed {
                build_id: self.build,
                atom,
            });
            let time = atom
                .actual_time
                .map_or_else(String::new, |seconds| format!("  ({})", duration(seconds)));
            self.progress
                .note(format!("passed {}  {}{time}", name(atom), setting(atom)));
        }
    }

    /// Tells the user once when the build waits for slaves that are not there.
    async fn look_for_slaves(&mut self, build: &BuildView) -> Result<(), ClientError> {
        let waits = match Stage::of(build) {
            Stage::WaitingForSlave => true,
            Stage::Building => build.num_atoms_in_progress == 0,
            Stage::Queued | Stage::Preparing | Stage::Archiving | Stage::Over => false,
        };
        if !waits {
            self.waiting_since = None;
            return Ok(());
        }
        let waited = self
            .waiting_since
            .get_or_insert_with(Instant::now)
            .elapsed();
        if waited < SLAVE_PATIENCE || waited > SLAVE_PATIENCE + LONGEST_PAUSE {
            return Ok(());
        }
        let slaves = self.client.slaves().await?;
        if let Some(why) = waits_for(build) {
            self.progress.note(format!(
                "the build waits: {}; see `{}`",
                plain(why),
                command("slaves")
            ));
        } else if !slaves.iter().any(|slave| slave.is_alive) {
            self.progress.note(format!(
                "the master has no slaves, so the build waits; start one with `clusterrunner slave --master-url {}`",
                self.client.master()
            ));
        }
        Ok(())
    }
}
