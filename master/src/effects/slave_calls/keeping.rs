//! The consoles of atoms that ran when their build was canceled or failed: fetched from their slave before the slave is
//! told to end the atoms.

use super::Callee;
use crate::coordinator::ClusterHandle;
use crate::effects::archiver::store_made;
use crate::read::running::{RunningAtoms, RunningInBuild};
use crate::store::results::Results;
use clusterrunner_common::api::ConsoleBody;
use clusterrunner_common::caller::Caller;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::ids::{Attempt, BuildId, SubjobId};
use clusterrunner_core::builds::mishaps::CutRun;
use clusterrunner_core::command::Command;
use clusterrunner_core::effect::{HeldSubjob, MadeAtom, MadeResult};
use futures_util::stream::{self, StreamExt as _};
use std::time::Duration;

/// How long the end of a build waits for all consoles of a slave.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many are asked for at a time.
const AT_A_TIME: usize = 8;

/// How many lines of each are kept; the last ones.
const MAX_LINES: u64 = 20_000;

/// What the shell says of a command that was asked to end.
const ENDED_EXIT_CODE: i32 = 143;

/// Where they are kept.
#[derive(Clone, Debug)]
pub(crate) struct Keeping {
    /// Where results lie.
    pub results: Results,
    /// The space that is left for them.
    pub space: DiskSpace,
    /// What slaves say that they run.
    pub running: RunningAtoms,
}

/// A slave that is asked for consoles.
pub(super) struct Asked<'a> {
    pub(super) keeping: &'a Keeping,
    pub(super) caller: &'a Caller,
    pub(super) cluster: &'a ClusterHandle,
    pub(super) callee: &'a Callee,
}

impl Asked<'_> {
    /// Keeps what runs of these. What can not be had is left: the end of a build waits for nothing else.
    pub(super) async fn keep_consoles(&self, build: BuildId, held: &[HeldSubjob]) {
        let mut kept = Vec::new();
        // The slave still runs them: it is told to end them after this.
        let now = self.keeping.running.of(build);
        let running: Vec<_> = held.iter().map(|held| self.made_of(build, held)).collect();
        let mut running = stream::iter(running).buffer_unordered(AT_A_TIME);
        let keep = async {
            while let Some(made) = running.next().await {
                if let Some(made) = made
                    && self.store(build, &made).await
                {
                    kept.push((made.subjob, made.attempt));
                }
            }
        };
        if tokio::time::timeout(PATIENCE, keep).await.is_err() {
            tracing::warn!(
                build.id = build.0,
                slave.id = self.callee.slave.0,
                "a slave did not give all consoles of a build that ended"
            );
        }
        self.report(build, kept, &now).await;
    }

    async fn report(
        &self,
        build: BuildId,
        mut subjobs: Vec<(SubjobId, Attempt)>,
        running: &RunningInBuild,
    ) {
        subjobs.sort();
        let run = |(subjob, attempt): &(SubjobId, Attempt)| {
            let atom = running.atom(*subjob, *attempt)?;
            let run = CutRun {
                atom: atom.atom_id,
                executor: atom.executor_id,
                started_at: atom.started_at_ms,
            };
            Some((*subjob, run))
        };
        let runs = subjobs.iter().filter_map(run).collect();
        let command = Command::ReportCutOff {
            slave: self.callee.slave,
            build,
            subjobs,
            runs,
        };
        if self.cluster.note(command).await.is_err() {
            tracing::debug!(build.id = build.0, "nobody needs the consoles of a build");
        }
    }

    async fn store(&self, build: BuildId, made: &MadeResult) -> bool {
        let length: usize = made.atoms.iter().map(|atom| atom.console.len()).sum();
        let stored = match self.keeping.space.check(length as u64) {
            Ok(()) => store_made(&self.keeping.results, build, made).await,
            Err(short) => Err(std::io::Error::other(short)),
        };
        if let Err(error) = &stored {
            tracing::warn!(build.id = build.0, %error, "a console of a build that ended is not kept");
        }
        stored.is_ok()
    }

    /// The result of a subjob that does not come to its end; nothing where none of its atoms has begun.
    async fn made_of(&self, build: BuildId, held: &HeldSubjob) -> Option<MadeResult> {
        let mut has_begun = false;
        let mut atoms = Vec::with_capacity(held.commands.len());
        for (atom, command) in held.commands.iter().enumerate() {
            let url = format!(
                "{}/v1/build/{build}/subjob/{}/atom/{atom}/console?max_lines={MAX_LINES}",
                self.callee.url, held.subjob
            );
            let answer = self.caller.get_from(&self.callee.session, &url).await;
            has_begun |= answer.is_ok();
            atoms.push(MadeAtom {
                command: command.clone(),
                exit_code: ENDED_EXIT_CODE,
                console: answer.map(text).unwrap_or_default(),
            });
        }
        has_begun.then_some(MadeResult {
            subjob: held.subjob,
            attempt: held.attempt,
            atoms,
        })
    }
}

fn text(console: ConsoleBody) -> String {
    match console.offset_line {
        0 => console.content,
        left_out => format!(
            "[ClusterRunner: the first {left_out} lines are not kept, as the build ended while this atom ran]\n{}",
            console.content
        ),
    }
}
