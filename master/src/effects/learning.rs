//! Learns how long atoms take, and says what is expected of those of a new build. Beside the main
//! work: nothing waits for what is learned, and what is lost of it is learned again.

use crate::effects::timing_files;
use crate::journal::{JobKey, Run, Timings};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::work::BuildRequest;
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::durations::expected;
use clusterrunner_core::event::{BuildFact, Event, Fact};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// How many runs may wait to be stored; what is beyond is not learned.
const WAITING: usize = 1 << 16;

/// How many runs are stored at once.
const AT_ONCE: usize = 4096;

/// How long runs are gathered before they are stored.
const GATHER: Duration = Duration::from_millis(250);

/// How often old knowledge is looked for.
const FORGET_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The job of the build that was heard of last, which most events are about.
type LastJob = Option<(BuildId, JobKey)>;

/// What the atoms of an event say, and its set-up, as [`learn`] wants it. Those that did not end by themselves say
/// nothing.
fn runs(cluster: &Cluster, event: &Event, last: &mut LastJob) -> Vec<Run> {
    match &event.fact {
        Fact::Build(
            id,
            BuildFact::SubjobFinished {
                subjob, outcomes, ..
            },
        ) => {
            let known = of_job(cluster, *id, last);
            let Some((job, subjob)) =
                known.and_then(|(job, build)| Some((job, build.subjob(*subjob)?)))
            else {
                return Vec::new();
            };
            let ended = subjob.atoms.iter().zip(outcomes);
            let ended = ended.filter(|(_, outcome)| outcome.trouble.is_none());
            ended
                .map(|(atom, outcome)| Run::new(job, atom, outcome.duration_ms, event.at))
                .collect()
        }
        Fact::Build(id, BuildFact::SetupCompleted { .. }) => {
            let known = of_job(cluster, *id, last);
            let run = known
                .and_then(|(job, build)| Some(Run::of_setup(job, build.setup_ms()?, event.at)));
            run.into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// A build whose job is known, with the key of that.
fn of_job<'a>(
    cluster: &'a Cluster,
    id: BuildId,
    last: &mut LastJob,
) -> Option<(JobKey, &'a Build)> {
    let build = cluster.build(id)?;
    let job_name = &build.plan.as_ref()?.job_name;
    let job = match *last {
        Some((known, job)) if known == id => job,
        Some(_) | None => JobKey::new(&build.request, job_name),
    };
    *last = Some((id, job));
    Some((job, build))
}

/// A listener for the coordinator, and what it hears, for [`learn`].
pub(crate) fn listener() -> (
    impl FnMut(&Cluster, &[Event]) + Send + 'static,
    mpsc::Receiver<Run>,
) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut last = None;
    let listener = move |cluster: &Cluster, events: &[Event]| {
        for run in events
            .iter()
            .flat_map(|event| runs(cluster, event, &mut last))
        {
            // Where storing can not keep up some runs are not learned.
            sender.try_send(run).ok();
        }
    };
    (listener, receiver)
}

/// Stores what is heard until the other side is closed.
pub(crate) async fn learn(timings: Timings, mut heard: mpsc::Receiver<Run>) {
    let mut forget = tokio::time::interval(FORGET_INTERVAL);
    loop {
        let mut runs = Vec::new();
        tokio::select! {
            _ = forget.tick() => {
                let timings = timings.clone();
                blocking(move || timings.forget(Timestamp::now())).await;
                continue;
            }
            number = heard.recv_many(&mut runs, AT_ONCE) => if number == 0 {
                return;
            }
        }
        let gathered = tokio::time::timeout(GATHER, async {
            while runs.len() < AT_ONCE && heard.recv_many(&mut runs, AT_ONCE).await > 0 {}
        });
        // How it ended does not matter: what came is there.
        gathered.await.ok();
        let timings = timings.clone();
        blocking(move || timings.learn(&runs)).await;
    }
}

async fn blocking<E: std::fmt::Display + Send + 'static>(
    work: impl FnOnce() -> Result<(), E> + Send + 'static,
) {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "could not store atom durations"),
        Err(error) => tracing::error!(%error, "the task that stores atom durations failed"),
    }
}

/// All that is known of durations.
#[derive(Clone, Debug)]
pub struct Durations {
    /// What was learned.
    pub timings: Timings,
    /// Where the original's files are.
    pub files: PathBuf,
}

impl Durations {
    /// How many milliseconds each of these atoms is expected to take; none where nothing is known.
    /// What was learned counts more than the original's files. Gives the atoms back.
    pub async fn expected(
        &self,
        request: &BuildRequest,
        job_name: &str,
        atoms: Vec<String>,
    ) -> (Vec<String>, Vec<u64>) {
        let (durations, request) = (self.clone(), request.clone());
        let job_name = job_name.to_owned();
        let shared = std::sync::Arc::new(atoms);
        let looking = tokio::task::spawn_blocking({
            let atoms = std::sync::Arc::clone(&shared);
            move || durations.look(&request, &job_name, &atoms)
        });
        let expected = looking.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the task that reads atom durations failed");
            Vec::new()
        });
        (std::sync::Arc::unwrap_or_clone(shared), expected)
    }

    fn look(&self, request: &BuildRequest, job_name: &str, atoms: &[String]) -> Vec<u64> {
        let learned = self
            .timings
            .typical(JobKey::new(request, job_name), atoms)
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "could not read atom durations");
                vec![None; atoms.len()]
            });
        let mut known = learned;
        if known.iter().any(Option::is_none) {
            let files = timing_files::read(&self.files, request, job_name);
            for (known, atom) in known.iter_mut().zip(atoms) {
                *known = known.or_else(|| files.get(atom).copied());
            }
        }
        expected(&known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use clusterrunner_common::ids::{Attempt, SlaveId, SubjobId};
    use clusterrunner_core::actor::Actor;
    use clusterrunner_core::builds::outcome::{AtomOutcome, AtomTrouble};
    use clusterrunner_core::builds::plan::Plan;
    use clusterrunner_core::command::Command;
    use serde_json::json;

    fn outcome(exit_code: i32, duration_ms: u64, trouble: Option<AtomTrouble>) -> AtomOutcome {
        AtomOutcome {
            exit_code,
            duration_ms,
            trouble,
            started_at: None,
            usage: None,
        }
    }

    /// A cluster with one build of four atoms that is prepared.
    fn prepared(request: &BuildRequest, atoms: &[String]) -> Cluster {
        let mut cluster = Cluster::default();
        let plan = Plan {
            job_name: "Job".to_owned(),
            atoms: atoms.to_vec(),
            ..Plan::default()
        };
        let build = BuildId(1);
        let request = Box::new(request.clone());
        let mut tell = |command| {
            for event in cluster.decide(command, Timestamp(1)).unwrap() {
                cluster.apply(&event);
            }
            while let Some(event) = cluster.follow_up(Timestamp(1)) {
                cluster.apply(&event);
            }
        };
        tell(Command::QueueBuild {
            by: Actor::SecretHolder,
            request,
        });
        tell(Command::ReportPrepared {
            build,
            plan: Box::new(plan),
        });
        cluster
    }

    fn finished(subjob: u32, outcome: AtomOutcome) -> Event {
        Event {
            by: Actor::Slave(SlaveId(1)),
            // What is old is forgotten, perhaps before it is looked for.
            at: Timestamp::now(),
            fact: Fact::Build(
                BuildId(1),
                BuildFact::SubjobFinished {
                    slave: SlaveId(1),
                    subjob: SubjobId(subjob),
                    attempt: Attempt(1),
                    executor: None,
                    outcomes: vec![outcome],
                },
            ),
        }
    }

    #[tokio::test]
    async fn what_ended_by_itself_is_learned_and_counts_more_than_the_originals_files() {
        let directory = tempfile::tempdir().unwrap();
        let files = timing_files::directory(directory.path());
        std::fs::create_dir_all(files.join("p")).unwrap();
        let known = r#"{"a": 100, "b": 100, "c": 0.007}"#;
        std::fs::write(files.join("p/Job.timing.json"), known).unwrap();
        let timings = Journal::open(&directory.path().join("journal"))
            .unwrap()
            .timings();
        let request = json!({"type": "directory", "project_directory": "/p"});
        let request = BuildRequest::from_json(&request).unwrap();
        let atoms: Vec<String> = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let cluster = prepared(&request, &atoms);
        let (mut listener, heard) = listener();
        let timed_out = Some(AtomTrouble::TimedOut {
            after_s: 9,
            hit: None,
        });
        let events = [
            finished(0, outcome(0, 5, None)),
            finished(1, outcome(1, 6, None)),
            finished(3, outcome(-9, 9000, timed_out)),
        ];
        listener(&cluster, &events);
        drop(listener);
        learn(timings.clone(), heard).await;
        let durations = Durations { timings, files };
        let found = durations.expected(&request, "Job", atoms.clone()).await;
        assert_eq!(found, (atoms.clone(), vec![5, 6, 7, 7]));
        // Nothing is known of another job.
        let found = durations.expected(&request, "Other", atoms.clone()).await;
        assert_eq!(found, (atoms, Vec::new()));
    }
}
