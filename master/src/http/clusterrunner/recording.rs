//! Records the results of a slave: each is judged by itself, and all of them share one look at the
//! cluster before, one block in the store, and one turn of the cluster after.

use super::Api;
use super::error::ApiError;
use super::multipart::Payload;
use crate::read::metrics::InternalError;
use crate::store::results::{Block, CheckedBatch, Expected};
use clusterrunner_common::api::{RejectedResult, ResultEntry, ResultsReport, RunningAtom};
use clusterrunner_common::ids::{BuildId, SlaveId};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::hand_out::HandOut;
use clusterrunner_core::command::Command;
use clusterrunner_core::refusal::Refusal;
use std::collections::BTreeSet;
use std::io;

/// How many results may come in one request.
const MAX_RESULTS: usize = 4096;

/// Blocks up to this size are looked through at once: that takes less than a hop to a thread that may block.
const TINY: usize = 16 << 10;

/// Results whose report has come.
pub(super) struct Batch {
    build: BuildId,
    slave: SlaveId,
    entries: Vec<Entry>,
    /// What the slave runs, if it says so.
    running: Option<Vec<RunningAtom>>,
}

struct Entry {
    reported: ResultEntry,
    standing: Result<Standing, Refusal>,
}

/// Whether a result counts.
enum Standing {
    /// It is the one of the current hand-out of a subjob with so many atoms.
    Counts { num_atoms: usize },
    /// It is recorded already.
    Repeated,
}

/// A result that is not recorded, and why.
pub(super) struct Rejection {
    reported: ResultEntry,
    pub(super) error: ApiError,
}

impl From<Rejection> for RejectedResult {
    fn from(Rejection { reported, error }: Rejection) -> Self {
        Self {
            subjob_id: reported.subjob_id,
            attempt: reported.attempt,
            status: error.status().as_u16(),
            error: error.to_string(),
        }
    }
}

impl Entry {
    fn hand_out(&self, slave: SlaveId, build: BuildId) -> HandOut {
        hand_out(&self.reported, slave, build)
    }
}

fn hand_out(reported: &ResultEntry, slave: SlaveId, build: BuildId) -> HandOut {
    HandOut {
        slave,
        build,
        subjob: reported.subjob_id,
        attempt: reported.attempt,
    }
}

fn check(report: &ResultsReport) -> Result<(), ApiError> {
    if report.results.is_empty() || report.results.len() > MAX_RESULTS {
        return Err(ApiError::invalid(format!(
            "Field 'results' must have from 1 to {MAX_RESULTS} results; send more of them in several requests."
        )));
    }
    let mut seen = BTreeSet::new();
    let twice = |entry: &&ResultEntry| !seen.insert(entry.subjob_id);
    match report.results.iter().find(twice) {
        None => Ok(()),
        Some(entry) => Err(ApiError::invalid(format!(
            "Field 'results' names subjob {} twice; name each subjob once.",
            entry.subjob_id
        ))),
    }
}

impl Batch {
    /// Looks at what each of the results is to the cluster.
    pub(super) async fn look(
        api: &Api,
        build: BuildId,
        report: ResultsReport,
    ) -> Result<Self, ApiError> {
        check(&report)?;
        let slave = report.slave_id;
        let running = report.running;
        let look = api.cluster.read(move |cluster| {
            cluster.known_slave(slave, &report.session_id)?;
            cluster.check_incarnation(report.incarnation.as_ref())?;
            let entries = report.results.into_iter().map(|reported| Entry {
                standing: standing(cluster, hand_out(&reported, slave, build)),
                reported,
            });
            Ok::<_, Refusal>(entries.collect())
        });
        let entries = look.await??;
        Ok(Self {
            build,
            slave,
            entries,
            running,
        })
    }

    /// Whether there is a result that is to be stored.
    pub(super) fn is_wanted(&self) -> bool {
        let counts = |entry: &Entry| matches!(entry.standing, Ok(Standing::Counts { .. }));
        self.entries.iter().any(counts)
    }

    /// Stores what is wanted and usable, lets it count, and says what was not recorded. `payload` is
    /// there if anything is wanted.
    pub(super) async fn record(
        self,
        api: &Api,
        payload: Option<Payload>,
    ) -> Result<Vec<Rejection>, ApiError> {
        let Self {
            build,
            slave,
            mut entries,
            running,
        } = self;
        api.heard(slave).await?;
        if let Some(running) = running {
            api.running.set(slave, running);
        }
        // Until the end of this, when the block is stored.
        let mut _room = None;
        let checked = match payload {
            None => None,
            Some(Payload { block, room }) => {
                _room = room;
                let expected = entries.iter_mut().map(Entry::expected).collect();
                Some(check_batch(api, build, block, expected).await?)
            }
        };
        let (stored, judged) = match checked {
            None => (None, Vec::new()),
            Some(Ok(CheckedBatch { block, results })) => (Some(block), results),
            Some(Err(unusable)) => {
                let reason = unusable.to_string();
                return reject_all(api, build, slave, entries, &reason).await;
            }
        };
        let mut judged = judged.into_iter();
        let mut keys = Vec::new();
        let mut reports = Vec::new();
        for entry in entries {
            let hand_out = entry.hand_out(slave, build);
            let executor = entry.reported.executor_id;
            let report = match (entry.standing, judged.next().flatten()) {
                (Err(refusal), _) => Report::Known(Some(refusal.into())),
                (Ok(Standing::Repeated), _) | (Ok(_), None) => Report::Known(None),
                (Ok(Standing::Counts { .. }), Some(Ok((result, outcomes)))) => {
                    keys.push((result, hand_out.attempt));
                    let finished = Command::ReportFinished {
                        hand_out,
                        executor,
                        outcomes,
                    };
                    Report::Command(Box::new(finished), None)
                }
                (Ok(Standing::Counts { .. }), Some(Err(unusable))) => {
                    unusable_report(hand_out, &unusable.to_string())
                }
            };
            reports.push((entry.reported, report));
        }
        if let Some(block) = stored.filter(|_| !keys.is_empty()) {
            let appended = api.results.append(build, block, keys);
            appended.await.map_err(ApiError::storing)?;
        }
        tell(api, build, reports).await
    }
}

impl Entry {
    fn expected(&mut self) -> Expected {
        Expected {
            subjob: self.reported.subjob_id,
            num_atoms: match self.standing {
                Ok(Standing::Counts { num_atoms }) => Some(num_atoms),
                Ok(Standing::Repeated) | Err(_) => None,
            },
            reports: std::mem::take(&mut self.reported.atoms),
            starts: std::mem::take(&mut self.reported.starts),
            usages: std::mem::take(&mut self.reported.usages),
        }
    }
}

fn standing(cluster: &Cluster, hand_out: HandOut) -> Result<Standing, Refusal> {
    if cluster.is_repeated(hand_out)? {
        return Ok(Standing::Repeated);
    }
    let build = cluster.build(hand_out.build);
    let subjob = build.and_then(|build| build.subjob(hand_out.subjob));
    let num_atoms = subjob.map_or(0, |subjob| subjob.atoms.len());
    Ok(Standing::Counts { num_atoms })
}

/// What there is to say to the cluster and to the slave about a result.
enum Report {
    /// Nothing to the cluster.
    Known(Option<ApiError>),
    /// This; the slave is told the error if the cluster takes it.
    Command(Box<Command>, Option<ApiError>),
}

fn unusable_report(hand_out: HandOut, reason: &str) -> Report {
    let command = Command::ReportUnusable {
        hand_out,
        reason: format!("its result can not be used: {reason}"),
    };
    Report::Command(
        Box::new(command),
        Some(ApiError::UnusableResult(reason.to_owned())),
    )
}

async fn check_batch(
    api: &Api,
    build: BuildId,
    block: Block,
    expected: Vec<Expected>,
) -> Result<Result<CheckedBatch, clusterrunner_common::results::block::BlockError>, ApiError> {
    let results = api.results.clone();
    if matches!(&block, Block::Memory(bytes) if bytes.len() <= TINY) {
        return results
            .check_batch(build, block, &expected)
            .map_err(ApiError::storing);
    }
    let checked =
        tokio::task::spawn_blocking(move || results.check_batch(build, block, &expected)).await;
    let checked = checked.unwrap_or_else(|error| Err(io::Error::other(error)));
    checked.map_err(ApiError::storing)
}

/// The block is of no use, and with it all results that are wanted.
async fn reject_all(
    api: &Api,
    build: BuildId,
    slave: SlaveId,
    entries: Vec<Entry>,
    reason: &str,
) -> Result<Vec<Rejection>, ApiError> {
    let reports = entries.into_iter().map(|entry| {
        let hand_out = entry.hand_out(slave, build);
        let report = match entry.standing {
            Err(refusal) => Report::Known(Some(refusal.into())),
            Ok(Standing::Repeated) => Report::Known(None),
            Ok(Standing::Counts { .. }) => unusable_report(hand_out, reason),
        };
        (entry.reported, report)
    });
    tell(api, build, reports.collect()).await
}

/// Reports all results in one turn; returns the rejected ones.
async fn tell(
    api: &Api,
    build: BuildId,
    reports: Vec<(ResultEntry, Report)>,
) -> Result<Vec<Rejection>, ApiError> {
    let mut commands = Vec::new();
    let mut waiting = Vec::new();
    for (reported, report) in reports {
        match report {
            Report::Known(error) => waiting.push((reported, false, error)),
            Report::Command(command, error) => {
                commands.push(*command);
                waiting.push((reported, true, error));
            }
        }
    }
    let mut outcomes = match commands.is_empty() {
        true => Vec::new(),
        false => api.cluster.report(commands).await?,
    }
    .into_iter();
    let mut rejected = Vec::new();
    let mut stale = None;
    for (reported, is_told, mut error) in waiting {
        if is_told && let Some(Err(refusal)) = outcomes.next() {
            stale = Some(refusal.clone());
            error = Some(refusal.into());
        }
        if let Some(error) = error {
            rejected.push(Rejection { reported, error });
        }
    }
    if let Some(refusal) = stale {
        remove_stale(api, &refusal, build).await?;
    }
    Ok(rejected)
}

/// The hand-out stopped counting while its result came in. If its build was even forgotten
/// meanwhile, nothing will ever ask for what is stored of it.
pub(super) async fn remove_stale(
    api: &Api,
    refusal: &Refusal,
    build: BuildId,
) -> Result<(), ApiError> {
    if !matches!(
        refusal,
        Refusal::StaleAttempt { .. } | Refusal::ForgottenBuild(_)
    ) {
        return Ok(());
    }
    let is_forgotten = api.cluster.read(move |cluster| cluster.is_forgotten(build));
    if is_forgotten.await? {
        let results = api.results.clone();
        let removed = tokio::task::spawn_blocking(move || results.remove(build)).await;
        if let Err(error) = removed.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(build.id = build.0, %error, "could not remove a stale result");
        }
    }
    Ok(())
}

/// Counts a result that could not be stored.
pub(super) fn count_failure(api: &Api, error: &ApiError) {
    if matches!(error, ApiError::Disk { .. }) {
        api.measured.count(InternalError::SubjobWriteFailure);
    }
}
