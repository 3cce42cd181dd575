//! Brings what set-up and teardown print to the master, once, when they have ended.

use super::delivery::{Verdict, verdict};
use crate::master::api::MasterApi;
use crate::master::registration::Registration;
use crate::master::retrying::Backoff;
use crate::master::upload::Upload;
use clusterrunner_common::api::{ErrorCode, StepEnd, StepKind, StepReport};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::ids::{BuildId, SlaveId};
use clusterrunner_common::process::command::Ended;
use clusterrunner_common::process::console::Capped;
use clusterrunner_common::work::LimitHit;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::spawn_blocking;

/// How long is tried at most. What comes next on this slave waits for it, and a build must not hang on what a step
/// printed.
const AT_MOST: Duration = Duration::from_secs(10);

/// A step that has ended.
#[derive(Debug)]
pub(crate) struct EndedStep {
    pub(crate) kind: StepKind,
    pub(crate) ended: Ended,
    /// The limit of what it may use that it failed at.
    pub(crate) hit: Option<LimitHit>,
    /// How long it might run.
    pub(crate) limit: Option<Duration>,
    /// By this machine's clock.
    pub(crate) began_at: Timestamp,
    /// Where it printed.
    pub(crate) output: PathBuf,
}

/// The way to the master.
#[derive(Clone, Debug)]
pub(crate) struct StepDeliveries {
    pub(crate) api: MasterApi,
    pub(crate) registration: Registration,
    /// How many bytes of an output are sent; `None` for all.
    pub(crate) max_output: Option<u64>,
}

impl StepDeliveries {
    /// Delivers a step. That it was not delivered is told in the log alone.
    pub(crate) async fn deliver(&self, build: BuildId, step: EndedStep) {
        if self.api.dialect.is_original() {
            return;
        }
        let kind = step.kind;
        let delivered = tokio::time::timeout(AT_MOST, self.try_to_deliver(build, step)).await;
        let why = match delivered {
            Ok(Ok(())) => return,
            Ok(Err(why)) => why,
            Err(_) => "the master was not reached".to_owned(),
        };
        tracing::warn!(build.id = %build, step = ?kind, "the output of a step is not kept: {why}");
    }

    async fn try_to_deliver(&self, build: BuildId, step: EndedStep) -> Result<(), String> {
        let ended_at = Timestamp::now();
        let (output, max) = (step.output.clone(), self.max_output);
        let cut = spawn_blocking(move || cut(&output, max)).await;
        let cut = cut.map_err(io::Error::other).and_then(|cut| cut);
        let (file, output_bytes) = cut.map_err(|error| error.to_string())?;
        let (exit_code, trouble) = how(step.ended, step.limit, step.hit);
        let end = StepEnd {
            exit_code,
            trouble,
            began_at_ms: self.api.clock.of_master(step.began_at),
            ended_at_ms: self.api.clock.of_master(ended_at),
            output_bytes,
        };
        let mut backoff = Backoff::quick();
        loop {
            let id = self.registration.some_id().await;
            let report = self.report(id, step.kind, &end)?;
            let file = file.clone();
            let upload = spawn_blocking(move || Upload::of_file(&report, &file)).await;
            let upload = upload.map_err(io::Error::other).and_then(|upload| upload);
            let upload = upload.map_err(|error| error.to_string())?;
            let Err(error) = self.api.upload_step(build, upload).await else {
                return Ok(());
            };
            if error.code() == Some(ErrorCode::RevokedSlaveKey) {
                // The slave ends, and must not wait for this.
                self.registration.doubt();
                return Err(error.to_string());
            }
            match verdict(&error) {
                Verdict::TryAgain => self.registration.doubt(),
                // Such as of a farm that is stopped: the master does not know the slave or the build any more.
                Verdict::Unwanted => {
                    tracing::debug!(build.id = %build, step = ?step.kind, %error, "the output of a step is not wanted");
                    return Ok(());
                }
                Verdict::Rejected => return Err(error.to_string()),
            }
            backoff.pause().await;
        }
    }

    fn report(&self, slave_id: SlaveId, kind: StepKind, end: &StepEnd) -> Result<String, String> {
        let report = StepReport {
            slave_id,
            session_id: self.api.session.clone(),
            kind,
            end: end.clone(),
        };
        serde_json::to_string(&report).map_err(|error| error.to_string())
    }
}

/// The exit code of a step, or what is said in its place.
fn how(
    ended: Ended,
    limit: Option<Duration>,
    hit: Option<LimitHit>,
) -> (Option<i32>, Option<String>) {
    let trouble = match (ended, limit) {
        (Ended::Exited(_) | Ended::Signaled(_), _) => None,
        (Ended::TimedOut, Some(limit)) => Some(format!("timed out after {} s", limit.as_secs())),
        (Ended::TimedOut, None) => Some("timed out".to_owned()),
        (Ended::Canceled, _) => Some("canceled".to_owned()),
    };
    let trouble = match (trouble, hit) {
        (Some(trouble), Some(hit)) => Some(format!("{trouble}; {hit}")),
        (trouble, hit) => trouble.or_else(|| Some(hit?.to_string())),
    };
    (ended.exit_code(), trouble)
}

/// A file with an output as it is kept, and how long the output was. Blocks.
fn cut(output: &Path, max: Option<u64>) -> io::Result<(PathBuf, u64)> {
    let file = regular_file::open_itself(output)?;
    let length = file.metadata()?.len();
    if max.is_none_or(|max| length <= max) {
        return Ok((output.to_owned(), length));
    }
    let mut name = output.as_os_str().to_owned();
    name.push("_cut");
    let path = PathBuf::from(name);
    io::copy(
        &mut Capped::new(file, max)?,
        &mut regular_file::create(&path)?,
    )?;
    Ok((path, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_step_ended_is_a_number_or_a_word() {
        let limit = Some(Duration::from_secs(3));
        assert_eq!(how(Ended::Exited(2), limit, None), (Some(2), None));
        assert_eq!(how(Ended::Signaled(9), None, None), (Some(-9), None));
        let after = Some("timed out after 3 s".to_owned());
        assert_eq!(how(Ended::TimedOut, limit, None), (None, after));
        let hit = Some(LimitHit::Processes { limit: 40 });
        let too_many = "too many processes: limit 40";
        assert_eq!(
            how(Ended::Exited(2), None, hit),
            (Some(2), Some(too_many.to_owned()))
        );
        let both = format!("timed out after 3 s; {too_many}");
        assert_eq!(how(Ended::TimedOut, limit, hit), (None, Some(both)));
        assert_eq!(
            how(Ended::Canceled, None, None),
            (None, Some("canceled".to_owned()))
        );
    }

    #[test]
    fn a_long_output_is_cut_and_a_short_one_stays() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("output");
        let text = "line\n".repeat(10_000);
        std::fs::write(&output, &text).unwrap();
        let length = text.len() as u64;
        assert_eq!(
            cut(&output, Some(length)).unwrap(),
            (output.clone(), length)
        );
        assert_eq!(cut(&output, None).unwrap(), (output.clone(), length));
        let (file, told) = cut(&output, Some(20_000)).unwrap();
        let kept = std::fs::read_to_string(file).unwrap();
        assert_eq!(told, length);
        assert!(kept.len() < 20_200 && kept.starts_with("line\n") && kept.ends_with("line\n"));
        assert!(kept.contains("bytes of output were dropped here"));
    }
}
