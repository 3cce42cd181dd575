//! Runs the atoms of a batch in one process, and makes of what that left a result for each atom that it settles.

use super::command::Commanded;
use super::printed::{remove_what_is_left, text_of};
use super::{Means, RunError, SubjobExecutor};
use crate::data_directory::{DataDirectory, remove_all};
use crate::run::event_log::SubjobEvents;
use crate::run::file_error::files;
use crate::work::{
    Again, AtomConsole, AtomEnd, BatchEnd, BatchEnding, BatchMember, BatchOrder, BatchRun,
    RunOrder, RunOutcome, Verdict, judge,
};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::ids::AtomId;
use clusterrunner_common::job::config::{ATOMS, ATOMS_FILE, BATCH_SIZE};
use clusterrunner_common::junit::{Reported, ReportedTest, TestOutcome, collect};
use clusterrunner_common::process::command::end_marked_blocking;
use clusterrunner_common::text::last_lines::last_lines;
use clusterrunner_common::work::{AtomUsage, ProcessUsage};
use std::ffi::OsString;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How many bytes of the console of a batch are looked through for lines that name atoms: its end. What stands before that may
/// tell of a failure, so a batch that prints more passes nothing.
const MOST_CONSOLE: u64 = 16 << 20;

/// Why such a batch passes nothing.
const NOT_ALL_PRINTED: &str = "not all of the output was looked through";

/// How much of what failed in a batch is shown before the output of an atom that runs again alone: bytes of messages of
/// its tests, and of the end of the batch's output.
const MOST_MESSAGES: usize = 8 << 10;
const MOST_OUTPUT: usize = 8 << 10;

impl SubjobExecutor {
    /// Runs a batch to its end, or until `stop`. Blocks.
    pub(super) fn run_batch(
        &mut self,
        mut order: RunOrder,
        stop: &CancellationToken,
        events: &SubjobEvents,
    ) -> RunOutcome {
        let Some(batch) = order.batch.take() else {
            return RunOutcome::Canceled;
        };
        if self.is_to_stop(stop) {
            return RunOutcome::Canceled;
        }
        for member in &batch.members {
            let events = events.of(member.hand_out);
            events.subjob_started();
            events.atom_started(AtomId(0));
        }
        let outcome = self.carry_out_batch(&order, &batch, stop);
        let ends = match &outcome {
            RunOutcome::Batch(run) => run.ends.as_slice(),
            _ => &[],
        };
        for (number, member) in batch.members.iter().enumerate() {
            let exit_code = match ends.get(number) {
                Some(BatchEnd::Ended(end)) => Some(end.exit_code),
                Some(BatchEnd::Again { .. }) | None => None,
            };
            let events = events.of(member.hand_out);
            events.atom_finished(AtomId(0), exit_code);
            events.subjob_finished();
        }
        outcome
    }

    fn carry_out_batch(
        &mut self,
        order: &RunOrder,
        batch: &BatchOrder,
        stop: &CancellationToken,
    ) -> RunOutcome {
        let mark = self.means.data.hand_out_mark(order.hand_out);
        let ended = self.variables(batch).and_then(|variables| {
            let others = batch.members.iter().skip(1).map(|member| member.hand_out);
            let what = Commanded {
                atom: AtomId(0),
                command: batch.command.to_string(),
                variables,
                head: None,
                others: others.collect(),
                limit: order.timeout,
                by: None,
            };
            self.run_command(order, what, &mark, stop)
        });
        if let Err(error) = remove_all(&self.means.data.atoms_file(self.executor)) {
            tracing::debug!(%error, "the file with the atoms of a batch stays until the next one");
        }
        if !matches!(ended, Ok(Some(_))) {
            self.start_afresh(order.hand_out.build);
        }
        match ended {
            Ok(Some(end)) => RunOutcome::Batch(settle(&self.means, (order, batch), &end, stop)),
            Ok(None) => {
                end_marked_blocking(&mark, self.grace());
                RunOutcome::Canceled
            }
            Err(RunError::NoProject(_)) => RunOutcome::NoProject {
                atomic_commands: Vec::new(),
                timeout: None,
            },
            Err(error) => {
                // It may be the directories that are missing. What could not be mended is told there.
                self.means.data.mend().ok();
                RunOutcome::Trouble(format!(
                    "a batch of {} atoms could not be run: {error}",
                    batch.members.len()
                ))
            }
        }
    }

    /// What a batch finds in its environment; the file with its atoms is made.
    fn variables(&self, batch: &BatchOrder) -> Result<Vec<(String, OsString)>, RunError> {
        let values: Vec<&str> = batch.members.iter().map(|one| one.value.as_str()).collect();
        let values = values.join("\n");
        let path = self.means.data.atoms_file(self.executor);
        let write = || {
            // Whatever an atom may have put there.
            remove_all(&path)?;
            let mut file = regular_file::create(&path)?;
            file.write_all(values.as_bytes())?;
            file.write_all(b"\n")
        };
        let written = match write() {
            // An atom has removed what the slave works in.
            Err(_) => self.means.data.mend().and_then(|_| write()),
            written => written,
        };
        written.map_err(files("write", &path))?;
        Ok(vec![
            (ATOMS_FILE.to_owned(), path.into_os_string()),
            (ATOMS.to_owned(), OsString::from(values)),
            (
                BATCH_SIZE.to_owned(),
                batch.members.len().to_string().into(),
            ),
        ])
    }
}

/// What the end of a batch's process means for its atoms. Blocks.
fn settle(
    means: &Means,
    (order, batch): (&RunOrder, &BatchOrder),
    end: &AtomEnd,
    stop: &CancellationToken,
) -> BatchRun {
    let mut reported = match &end.artifacts {
        Some(artifacts) => collect(artifacts, "$ARTIFACT_DIR", &end.junit, &end.mask, &|| {
            stop.is_cancelled()
        }),
        None => Reported::default(),
    };
    let tests = std::mem::take(&mut reported.tests);
    let printed = text_of(&end.console, MOST_CONSOLE);
    let is_cut = means
        .limits
        .max_console_size
        .is_some_and(|max| end.usage.output_bytes > max);
    let unseen = (is_cut || !printed.is_whole).then(|| NOT_ALL_PRINTED.to_owned());
    let unread: Vec<String> = reported.warning().into_iter().chain(unseen).collect();
    let failed_beside = !unread.is_empty() || reported.failed_beside;
    let console = printed.text;
    let values: Vec<&str> = batch.members.iter().map(|one| one.value.as_str()).collect();
    let directory = order.project_directory.to_string_lossy();
    let ending = BatchEnding {
        exit_code: end.exit_code,
        timed_out: end.timed_out.is_some(),
        took: end.took,
        tests: &tests,
        failed_beside,
        console: &console,
    };
    let (verdicts, took) = judge(&directory, &values, &ending);
    let story = Story {
        end,
        tests: &tests,
        console: &console,
        unread: &unread,
        number: batch.members.len(),
    };
    let mut passed = Passed::new(&means.data, &story, &verdicts, &values);
    // Very many may run again for the same reason.
    let mut said: Option<(Again, Arc<str>)> = None;
    let members = batch.members.iter().zip(verdicts);
    let ends = members.map(|(member, verdict)| match verdict {
        Verdict::Passed { tests: own, took } => {
            BatchEnd::Ended(Box::new(passed.next(member, &own, took)))
        }
        Verdict::Again { how, tests: own } => {
            said = said
                .take()
                .filter(|(known, _)| *known == how && how != Again::Failed);
            let (_, head) = said.get_or_insert_with(|| (how, story.before(how, &own).into()));
            BatchEnd::Again {
                most: how.most(),
                head: Arc::clone(head),
            }
        }
    });
    let ends = ends.collect();
    if !passed.has_begun {
        // What settled nothing leaves nothing.
        remove_what_is_left(end);
    }
    BatchRun {
        ends,
        tests: took,
        started_at: end.started_at,
    }
}

/// What is known of a batch that has ended.
struct Story<'a> {
    end: &'a AtomEnd,
    tests: &'a [ReportedTest],
    console: &'a str,
    /// What was not read of what it left, in words.
    unread: &'a [String],
    number: usize,
}

impl Story<'_> {
    /// What stands before the output of an atom that runs again alone.
    fn before(&self, again: Again, own: &[usize]) -> String {
        let Self { end, number, .. } = self;
        let how = match (again, end.timed_out) {
            (Again::Failed, _) => "in which it failed".to_owned(),
            (Again::Unnamed, _) => "whose reports and output do not name it".to_owned(),
            (Again::Doubted, _) => {
                "that ended with exit code 0 and yet tells of a failure, or of something missing, that is of none of its atoms"
                    .to_owned()
            }
            (Again::Within(_), Some(limit)) => {
                format!("that ran longer than {} s", limit.as_secs())
            }
            (Again::Within(_), None) => {
                format!("that ended with exit code {}", end.exit_code)
            }
        };
        let mut said = format!(
            "clusterrunner: this atom ran in a batch of {number} atoms {how}; now it runs alone\n"
        );
        for unread in self.unread {
            said.push_str(&format!("clusterrunner: of the batch, {unread}\n"));
        }
        if again == Again::Unnamed {
            return said;
        }
        if again == Again::Failed {
            self.add_messages(&mut said, own);
        }
        let output = last_lines(self.console, MOST_OUTPUT);
        if !output.trim().is_empty() {
            let all = if output.len() == self.console.len() {
                "the"
            } else {
                "the end of the"
            };
            said.push_str(&format!("clusterrunner: {all} output of the batch:\n"));
            add_lines(&mut said, output);
        }
        said.push_str("clusterrunner: the output of the atom alone:\n");
        said
    }

    fn add_messages(&self, said: &mut String, own: &[usize]) {
        let until = said.len() + MOST_MESSAGES;
        for test in own.iter().filter_map(|place| self.tests.get(*place)) {
            if test.outcome == TestOutcome::Failed && said.len() < until {
                said.push_str(&format!(
                    "clusterrunner: in the batch, {} failed:\n",
                    test.name
                ));
                add_lines(said, test.message.as_deref().unwrap_or_default());
            }
        }
    }
}

/// Makes the results of those that passed. The first has what the batch as a whole left: its output and its artifacts.
struct Passed<'a> {
    data: &'a DataDirectory,
    story: &'a Story<'a>,
    /// The value of the atom that is the first.
    first: &'a str,
    has_begun: bool,
    /// How many passed.
    number: u32,
    /// When the next one is taken to have begun: one after the other, since nobody says when each did.
    at: Duration,
}

impl<'a> Passed<'a> {
    fn new(
        data: &'a DataDirectory,
        story: &'a Story<'a>,
        verdicts: &[Verdict],
        values: &[&'a str],
    ) -> Self {
        let passed = |verdict: &Verdict| matches!(verdict, Verdict::Passed { .. });
        let first = verdicts.iter().position(passed);
        let number = verdicts.iter().filter(|verdict| passed(verdict)).count();
        Self {
            data,
            story,
            first: first
                .and_then(|first| values.get(first))
                .copied()
                .unwrap_or_default(),
            has_begun: false,
            number: u32::try_from(number.max(1)).unwrap_or(u32::MAX),
            at: Duration::ZERO,
        }
    }

    fn next(&mut self, member: &BatchMember, own: &[usize], took: Duration) -> AtomEnd {
        let Story {
            end, tests, number, ..
        } = self.story;
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let started_at = Timestamp(end.started_at.0.saturating_add(milliseconds(self.at)));
        self.at += took;
        let seconds = end.took.as_secs_f64();
        let what =
            format!("clusterrunner: ran in a batch of {number} atoms, which took {seconds:.3} s");
        let (console, output_bytes) = match (&end.console, is_first) {
            (AtomConsole::Memory(printed), true) => {
                let mut text = format!("{what} and printed:\n").into_bytes();
                text.extend_from_slice(printed);
                (AtomConsole::Memory(text), end.usage.output_bytes)
            }
            (AtomConsole::File(path), true) => {
                // The hand-out that stands for the batch may run again alone, and keep a console there.
                let own = self.data.kept_console(member.hand_out, AtomId(0));
                let moved = *path == own || std::fs::rename(path, &own).is_ok();
                let kept = if moved { own } else { path.clone() };
                (AtomConsole::File(kept), end.usage.output_bytes)
            }
            (_, false) => {
                let text = format!("{what}; its output is the console of {}\n", self.first);
                let length = text.len() as u64;
                (AtomConsole::Memory(text.into_bytes()), length)
            }
        };
        let mut reported = Reported::default();
        reported.tests = own
            .iter()
            .filter_map(|place| tests.get(*place).cloned())
            .collect();
        AtomEnd {
            command: member.command.clone(),
            exit_code: 0,
            started_at,
            took,
            ended_at: started_at.0.saturating_add(milliseconds(took)) / 1000,
            timed_out: None,
            hit: None,
            usage: AtomUsage {
                in_vain_ms: 0,
                last_in_vain: None,
                worker: None,
                output_bytes,
                processes: end.usage.processes.map(|used| ProcessUsage {
                    cpu_ms: used.cpu_ms / self.number,
                    ..used
                }),
            },
            console,
            artifacts: end.artifacts.clone().filter(|_| is_first),
            junit: end.junit.clone(),
            mask: Arc::clone(&end.mask),
            tests: Some(reported.to_form().unwrap_or_default()),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn add_lines(said: &mut String, lines: &str) {
    said.push_str(lines);
    if !lines.ends_with('\n') && !lines.is_empty() {
        said.push('\n');
    }
}
