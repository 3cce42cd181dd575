//! The journal on a real disk.

mod damage;
mod flips;
mod formats;

use super::record::piece_key;
use super::*;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, ProjectId, SessionId, SlaveId, SubjobId};
use clusterrunner_common::work::BuildRequest;
use clusterrunner_core::accounts::owner::Owner;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::outcome::AtomOutcome;
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::{BuildFact, Fact, SlaveFact};
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A journal with the state that its events lead to.
struct Master {
    journal: Journal,
    cluster: Cluster,
    // Fields are dropped in their order: this one after the journal.
    _files: Files,
}

/// The files of a journal. Their drop waits until nothing has them open: the engine's own thread may have them for a
/// moment after the journal is dropped, and a look at them in that moment is refused.
struct Files(PathBuf);

impl Drop for Files {
    fn drop(&mut self) {
        let began = Instant::now();
        while matches!(private_copy::lock(&self.0), Err(JournalError::InUse { .. }))
            && began.elapsed() < Duration::from_secs(30)
        {
            std::thread::yield_now();
        }
    }
}

/// Opens a journal. The engine may have the files of one that was dropped open for a moment.
pub(crate) fn open(directory: &Path) -> Journal {
    let began = Instant::now();
    loop {
        match Journal::open(directory) {
            Err(JournalError::InUse { .. }) if began.elapsed() < Duration::from_secs(30) => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

impl Master {
    fn start(directory: &Path) -> Result<Self, JournalError> {
        let _files = Files(directory.to_owned());
        let mut journal = Journal::open(directory)?;
        let cluster = journal.recover()?;
        cluster.check().unwrap();
        Ok(Self {
            journal,
            cluster,
            _files,
        })
    }

    async fn happen(&mut self, facts: impl IntoIterator<Item = Fact>) {
        let at = Timestamp(self.journal.len());
        let events: Vec<Event> = facts
            .into_iter()
            .map(|fact| Event {
                at,
                by: Actor::Master,
                fact,
            })
            .collect();
        for event in &events {
            self.cluster.apply(event);
        }
        self.journal.append(&events).await.unwrap();
    }

    fn snapshot(&mut self) {
        let pending = self.journal.begin_snapshot(&self.cluster).unwrap();
        let written = pending.write().unwrap();
        self.journal.end_snapshot(&written);
    }

    fn build(&self, id: u64) -> &Build {
        self.cluster.build(BuildId(id)).unwrap()
    }

    fn num_stored_events(&self) -> usize {
        let records = record::Records::from(&self.journal.store.events, &[]);
        let counts = records.map(|record| event_records::count(&record.unwrap().unwrap().text));
        usize::try_from(counts.sum::<u64>()).unwrap()
    }
}

fn queued(build: u64) -> Fact {
    let request = json!({"type": "git", "url": format!("https://example.org/{build}")});
    Fact::Build(
        BuildId(build),
        BuildFact::Queued {
            project: ProjectId(build),
            owner: Owner::ClusterRunner,
            started_by: None,
            request: Box::new(BuildRequest::from_json(&request).unwrap()),
        },
    )
}

fn failed(build: u64, reason: String) -> Fact {
    let build = BuildId(build);
    Fact::Build(build, BuildFact::Failed { reason })
}

/// A build with so many subjobs, which slave 1 has set up.
fn running(build: u64, num_subjobs: u32) -> Vec<Fact> {
    let (id, slave) = (BuildId(build), SlaveId(1));
    let plan = Plan {
        timeouts: clusterrunner_common::job::config::Timeouts::default(),
        commit: None,
        job_name: "unit".to_owned(),
        command: "run".to_owned(),
        setup_build: None,
        teardown_build: None,
        max_executors: None,
        max_executors_per_slave: None,
        atoms: Vec::new(),
        ..Plan::default()
    };
    vec![
        queued(build),
        Fact::Build(
            id,
            BuildFact::PreparationStarted {
                attempt: Attempt::FIRST,
            },
        ),
        Fact::Build(
            id,
            BuildFact::Prepared {
                plan: Box::new(plan),
                subjobs: (0..num_subjobs)
                    .map(|n| vec![format!("export N={n};")])
                    .collect(),
            },
        ),
        Fact::Build(
            id,
            BuildFact::SetupRequested {
                slave,
                start_index: 0,
            },
        ),
        Fact::Build(id, BuildFact::SetupCompleted { slave }),
    ]
}

fn connected() -> Fact {
    Fact::Slave(
        SlaveId(1),
        SlaveFact::Connected {
            url: "a:1".to_owned(),
            session: SessionId("life".to_owned()),
            num_executors: 2,
            is_legacy: false,
            labels: std::collections::BTreeSet::new(),
            key: None,
        },
    )
}

fn handed_out(build: u64, subjob: u32) -> Fact {
    Fact::Build(
        BuildId(build),
        BuildFact::SubjobHandedOut {
            slave: SlaveId(1),
            subjob: SubjobId(subjob),
            attempt: Attempt(1),
        },
    )
}

fn finished(build: u64, subjob: u32) -> Fact {
    Fact::Build(
        BuildId(build),
        BuildFact::SubjobFinished {
            slave: SlaveId(1),
            subjob: SubjobId(subjob),
            attempt: Attempt(1),
            executor: None,
            outcomes: vec![AtomOutcome {
                exit_code: i32::from(subjob == 1),
                duration_ms: 7,
                trouble: None,
                started_at: None,
                usage: None,
            }],
        },
    )
}

#[tokio::test]
async fn what_was_appended_is_recovered_whatever_its_size() {
    let directory = tempfile::tempdir().unwrap();
    let mut master = Master::start(directory.path()).unwrap();
    assert!(master.journal.is_empty());
    let long = "long ".repeat(20_000);
    let facts = [queued(1), queued(2), failed(2, long)];
    master.happen(facts).await;
    let before = master.cluster.clone();
    drop(master);
    let mut master = Master::start(directory.path()).unwrap();
    assert_eq!(master.cluster, before);
    master.happen([failed(1, String::new())]).await;
    assert_eq!(master.journal.len(), 4);
    drop(master);
    let master = Master::start(directory.path()).unwrap();
    assert_eq!(master.journal.len(), 4);
    let blobs = directory.path().join("blobs");
    assert!(!blobs.read_dir().unwrap().any(|_| true));
}

#[tokio::test]
async fn the_remains_of_a_death_during_open_do_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let mut master = Master::start(directory.path()).unwrap();
    master.happen([queued(1)]).await;
    drop(master);
    let remains = directory.path().join("snap.0000000000000001.generating");
    std::fs::write(&remains, b"half").unwrap();
    let master = Master::start(directory.path()).unwrap();
    assert_eq!(master.journal.len(), 1);
    assert!(!remains.exists());
}

#[tokio::test]
async fn a_snapshot_takes_the_place_of_the_events_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut master = Master::start(directory.path()).unwrap();
    master.happen([connected()]).await;
    master.happen(running(1, 300)).await;
    master.happen([handed_out(1, 0), handed_out(1, 1)]).await;
    master.happen([finished(1, 1)]).await;
    master.snapshot();
    assert_eq!(master.num_stored_events(), 0);
    assert!(master.journal.begin_snapshot(&master.cluster).is_none());
    master.happen([finished(1, 0)]).await;
    let before = master.cluster.clone();
    drop(master);
    let mut master = Master::start(directory.path()).unwrap();
    assert_eq!(master.cluster, before);
    assert_eq!((master.journal.len(), master.num_stored_events()), (10, 1));
    let records = master.journal.store.snapshots.len();
    master.happen([handed_out(1, 299)]).await;
    master.snapshot();
    let next = master.journal.store.snapshots.len();
    assert_eq!(next, records, "the one before is gone");
    let before = master.cluster.clone();
    drop(master);
    assert_eq!(Master::start(directory.path()).unwrap().cluster, before);
}

/// Whatever a copy shares with the original, it must not change with it.
#[tokio::test]
async fn a_snapshot_holds_the_moment_at_which_it_was_begun() {
    let directory = tempfile::tempdir().unwrap();
    let mut master = Master::start(directory.path()).unwrap();
    master.happen([connected()]).await;
    master.happen(running(1, 100)).await;
    let pending = master.journal.begin_snapshot(&master.cluster).unwrap();
    let facts = [handed_out(1, 0), handed_out(1, 1), finished(1, 0)];
    master.happen(facts).await;
    let written = pending.write().unwrap();
    master.journal.end_snapshot(&written);
    assert_eq!(master.num_stored_events(), 3);
    let before = master.cluster.clone();
    drop(master);
    assert_eq!(Master::start(directory.path()).unwrap().cluster, before);
}

#[tokio::test]
async fn a_death_at_any_step_of_a_snapshot_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut master = Master::start(directory.path()).unwrap();
    master.happen([connected()]).await;
    master.happen(running(1, 200)).await;
    master.snapshot();
    master.happen([handed_out(1, 0)]).await;
    // It dies before the snapshot counts, and leaves a part of it.
    let store = master.journal.store.clone();
    let mut writer = snapshot::Writer::new(&store.snapshots);
    writer.cluster(7, &Cluster::default()).unwrap();
    writer.build(7, master.build(1)).unwrap();
    let written = writer.finish().unwrap();
    store.sync().unwrap();
    let before = master.cluster.clone();
    drop((store, master));
    let mut master = Master::start(directory.path()).unwrap();
    assert_eq!(master.cluster, before);
    master.happen([finished(1, 0)]).await;
    assert_eq!(master.journal.len(), 8);
    let before = master.cluster.clone();
    // The next one is none the worse for it.
    master.snapshot();
    assert!(written.records > 0);
    drop(master);
    let mut master = Master::start(directory.path()).unwrap();
    assert_eq!(master.cluster, before);
    // It dies when the snapshot counts, before the events that it holds are removed.
    master.happen([handed_out(1, 1)]).await;
    let before = master.cluster.clone();
    let store = master.journal.store.clone();
    let mut writer = snapshot::Writer::new(&store.snapshots);
    writer.cluster(9, &master.cluster).unwrap();
    writer.build(9, master.build(1)).unwrap();
    for (chunk, subjobs) in snapshot::chunks(master.build(1)) {
        writer.subjobs(9, BuildId(1), chunk, &subjobs).unwrap();
    }
    snapshot::count(&store, 9, writer.finish().unwrap()).unwrap();
    drop((store, master));
    let mut master = Master::start(directory.path()).unwrap();
    assert_eq!(master.cluster, before);
    master.happen([finished(1, 1)]).await;
    master.snapshot();
    assert_eq!(master.num_stored_events(), 0);
    assert_eq!(master.journal.len(), 10);
}

#[tokio::test]
async fn snapshots_come_with_the_size_of_what_happened() {
    let directory = tempfile::tempdir().unwrap();
    let mut master = Master::start(directory.path()).unwrap();
    master.happen([queued(1)]).await;
    assert!(!master.journal.needs_snapshot());
    let long = "x".repeat(usize::try_from(SNAPSHOT_AFTER).unwrap());
    master.happen([failed(1, long)]).await;
    assert!(master.journal.needs_snapshot());
    master.snapshot();
    assert!(!master.journal.needs_snapshot());
}

#[tokio::test]
async fn ids_are_never_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut master = Master::start(directory.path()).unwrap();
    master.happen([connected(), queued(1), queued(2)]).await;
    master.snapshot();
    drop(master);
    let master = Master::start(directory.path()).unwrap();
    let request = BuildRequest::from_json(&json!({"type": "git", "url": "x"})).unwrap();
    let request = Box::new(request);
    let decided = master.cluster.decide(
        Command::QueueBuild {
            by: Actor::SecretHolder,
            request,
        },
        Timestamp(9),
    );
    let fact = &decided.unwrap()[0].fact;
    assert!(matches!(
        fact,
        Fact::Build(BuildId(3), BuildFact::Queued { .. })
    ));
}

#[tokio::test]
async fn builds_that_are_over_are_read_from_their_own_place() {
    let directory = tempfile::tempdir().unwrap();
    let mut master = Master::start(directory.path()).unwrap();
    master.happen([connected()]).await;
    master.happen(running(1, 150)).await;
    for subjob in 0..150 {
        let facts = [handed_out(1, subjob), finished(1, subjob)];
        master.happen(facts).await;
    }
    let build = BuildId(1);
    let ends = [
        Fact::Build(build, BuildFact::ArchivingStarted),
        Fact::Build(build, BuildFact::Finished),
    ];
    master.happen(ends).await;
    let ended = master.journal.ended();
    ended.keep(&[master.build(1).clone()]).unwrap();
    ended.keep(&[master.build(1).clone()]).unwrap();
    let head = ended.build(build).await.unwrap().unwrap();
    assert_eq!(head.num_subjobs, 150);
    let failed: Vec<SubjobId> = head.failed.iter().map(|(id, _)| *id).collect();
    assert_eq!(failed, [SubjobId(1)]);
    let subjobs = &master.build(1).subjobs;
    for range in [0..150, 63..65, 149..150, 150..150, 5..5] {
        let wanted = range.clone();
        let found = ended
            .subjobs(build, move |_| wanted)
            .await
            .unwrap()
            .unwrap();
        let expected = range.map(|n| (SubjobId(u32::try_from(n).unwrap()), (*subjobs[n]).clone()));
        assert_eq!(found.1, expected.collect::<Vec<_>>());
    }
    assert_eq!(ended.build(BuildId(2)).await.unwrap(), None);
    // Removing one leaves the others as they are, and may be repeated.
    let mut next = master.build(1).clone();
    next.id = BuildId(2);
    ended.keep(&[next]).unwrap();
    ended.remove(build).unwrap();
    ended.remove(build).unwrap();
    assert_eq!(ended.build(build).await.unwrap(), None);
    assert_eq!(ended.subjobs(build, |n| 0..n).await.unwrap(), None);
    let views = ended.builds(vec![build, BuildId(2)], |ended| ended.build.id);
    assert_eq!(views.await.unwrap(), [BuildId(2)]);
    let (_, kept) = ended.subjobs(BuildId(2), |n| 0..n).await.unwrap().unwrap();
    assert_eq!(kept.len(), 150);
}
