//! How long a page of the list of a large build's subjobs takes once the build is over.

use clusterrunner_common::ids::{Attempt, BuildId, SessionId, SlaveId, SubjobId};
use clusterrunner_common::work::BuildRequest;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::builds::hand_out::HandOut;
use clusterrunner_core::builds::outcome::AtomOutcome;
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;
use clusterrunner_master::coordinator::{ClusterHandle, Coordinator};
use clusterrunner_master::journal::{EndedBuilds, Journal};
use futures_util::StreamExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How many subjobs are on a page, and how many pages are read.
const PAGE: usize = 1000;
const PAGES: usize = 100;

/// How many executors the slave has: what all of them have and report together is a turn's work, and a real
/// turn has no more.
const EXECUTORS: u32 = 1000;
/// How many reports are on their way; all that are reported must have been handed out.
const REPORTS: usize = 512;

/// How long the slave may be silent; how often ended builds are looked for comes from it.
const LEASE: Duration = Duration::from_secs(10);

const BUILD: BuildId = BuildId(1);
const SLAVE: SlaveId = SlaveId(1);

/// Runs a build of so many subjobs through a master's core, all on one slave that exists on paper
/// only, and reads pages of it: the median and the slowest.
pub(crate) async fn pages(directory: &Path, subjobs: u32) -> (Duration, Duration) {
    let journal = Journal::open(&directory.join("journal")).expect("a journal");
    let ended = journal.ended();
    let recovered = Coordinator::recover(journal, LEASE).expect("an empty journal");
    let (coordinator, cluster, mut effects) = recovered;
    let stop = CancellationToken::new();
    let running = tokio::spawn(coordinator.run(stop.clone()));
    // Nobody carries anything out here.
    let effects = tokio::spawn(async move { while effects.recv().await.is_some() {} });
    run_build(&cluster, subjobs).await;
    let times = read_pages(&ended, subjobs as usize).await;
    stop.cancel();
    running.await.expect("a coordinator").expect("a journal");
    effects.await.expect("a task");
    times
}

async fn run_build(cluster: &ClusterHandle, subjobs: u32) {
    let tell = async |command| cluster.command(command).await.expect("a right command");
    let session = SessionId("session".to_owned());
    tell(Command::ConnectSlave {
        url: "slave:1".to_owned(),
        session: session.clone(),
        num_executors: EXECUTORS,
        labels: Default::default(),
        known_as: None,
        finished: Vec::new(),
        seen: Vec::new(),
        fresh: clusterrunner_common::ids::Incarnation("fresh".to_owned()),
        key: None,
    })
    .await;
    let request = serde_json::json!({"type": "directory", "project_directory": "/project"});
    let request = Box::new(BuildRequest::from_json(&request).expect("a request"));
    tell(Command::QueueBuild {
        by: Actor::SecretHolder,
        request,
    })
    .await;
    let plan = Plan {
        job_name: "job".to_owned(),
        command: "true".to_owned(),
        atoms: (0..subjobs).map(|n| format!("export N=\"{n}\";")).collect(),
        ..Plan::default()
    };
    let plan = Box::new(plan);
    tell(Command::ReportPrepared { build: BUILD, plan }).await;
    tell(Command::ReportSetUp {
        slave: SLAVE,
        session,
        build: BUILD,
    })
    .await;
    let reports = futures_util::stream::iter(0..subjobs).map(|subjob| {
        let hand_out = HandOut {
            slave: SLAVE,
            build: BUILD,
            subjob: SubjobId(subjob),
            attempt: Attempt::FIRST,
        };
        let outcome = AtomOutcome {
            exit_code: 0,
            duration_ms: 10,
            trouble: None,
            started_at: None,
            usage: None,
        };
        let outcomes = vec![outcome];
        cluster.command(Command::ReportFinished {
            hand_out,
            executor: None,
            outcomes,
        })
    });
    let mut reports = reports.buffer_unordered(REPORTS);
    while let Some(reported) = reports.next().await {
        reported.expect("a result that counts");
        cluster.heard(SLAVE).await.expect("a cluster");
    }
    tell(Command::ReportArchived {
        build: BUILD,
        template: None,
    })
    .await;
    let is_put_away = || cluster.read(|cluster| cluster.is_ended(BUILD));
    while !is_put_away().await.expect("a cluster") {
        // The coordinator looks for such builds now and then.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn read_pages(ended: &EndedBuilds, subjobs: usize) -> (Duration, Duration) {
    let mut times = Vec::new();
    for page in 0..PAGES {
        let first = page * 7919 * PAGE % subjobs.max(1);
        let started = Instant::now();
        let found = ended.subjobs(BUILD, move |number| first..(first + PAGE).min(number));
        let (_, found) = found.await.expect("a journal").expect("the build");
        assert!(!found.is_empty(), "subjobs from {first}");
        times.push(started.elapsed());
    }
    times.sort();
    let slowest = times.last().copied().unwrap_or_default();
    (times[times.len() / 2], slowest)
}
