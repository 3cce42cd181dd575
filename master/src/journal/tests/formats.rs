//! A recorded journal: what an earlier version wrote must be read for ever.
//!
//! `CLUSTERRUNNER_RECORD=format-1 cargo test -p clusterrunner-master format_1` records it anew, which is only right as long
//! as no version with this format was released.

mod apps;
mod instances;

use super::*;
use clusterrunner_common::ids::Incarnation;
use clusterrunner_core::builds::hand_out::HandOut;
use clusterrunner_core::command::{Opening, StoredResults};
use clusterrunner_core::event::Loss;
use clusterrunner_core::slaves::slave::Presence;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::fs::File;
use std::path::PathBuf;

fn recorded(name: &str) -> PathBuf {
    let journals = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/journals");
    journals.join(format!("{name}.tar.gz"))
}

/// Records a journal, if that is asked for.
fn record(name: &str, journal: &Path) {
    if std::env::var_os("CLUSTERRUNNER_RECORD").is_some_and(|which| which == name) {
        let file = File::create(recorded(name)).unwrap();
        let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::best()));
        archive.append_dir_all(".", journal).unwrap();
        archive.into_inner().unwrap().finish().unwrap();
    }
}

fn unpack(name: &str, journal: &Path) {
    let file = File::open(recorded(name)).unwrap();
    tar::Archive::new(GzDecoder::new(file))
        .unpack(journal)
        .unwrap();
}

impl Master {
    /// One turn: what was decided, and what follows.
    async fn tell(&mut self, command: Command) {
        let at = Timestamp(self.journal.len() + 1000);
        let mut events = self.cluster.decide(command, at).unwrap();
        events.iter().for_each(|event| self.cluster.apply(event));
        while let Some(event) = self.cluster.follow_up(at) {
            self.cluster.apply(&event);
            events.push(event);
        }
        self.journal.append(&events).await.unwrap();
    }

    async fn connect(&mut self, url: &str) {
        self.tell(Command::ConnectSlave {
            url: url.to_owned(),
            session: SessionId(format!("life of {url}")),
            num_executors: 2,
            labels: ["linux".to_owned()].into(),
            known_as: None,
            finished: Vec::new(),
            seen: Vec::new(),
            fresh: Incarnation("never".to_owned()),
            key: None,
        })
        .await;
    }

    async fn queue(&mut self, project: &str) {
        let url = format!("https://example.org/{project}.git");
        let request = json!({"type": "git", "url": url, "branch": "main", "job_name": "unit"});
        let request = Box::new(BuildRequest::from_json(&request).unwrap());
        let by = Actor::SecretHolder;
        self.tell(Command::QueueBuild { by, request }).await;
    }

    async fn prepare(&mut self, build: u64, num_atoms: u32, label: &str) {
        let plan = Plan {
            commit: Some("c0ffee".to_owned()),
            job_name: "unit".to_owned(),
            command: "run".to_owned(),
            labels: [label.to_owned()].into(),
            atoms: (0..num_atoms)
                .map(|n| format!("export N=\"{n}\";"))
                .collect(),
            expected_ms: vec![5; num_atoms as usize],
            ..Plan::default()
        };
        let (build, plan) = (BuildId(build), Box::new(plan));
        self.tell(Command::ReportPrepared { build, plan }).await;
    }

    /// Slave 1 has set a build up, and brings the results of the subjobs that it has.
    async fn run(&mut self, build: u64, exit_codes: &[i32]) {
        let (slave, build) = (SlaveId(1), BuildId(build));
        let session = self.cluster.slave(slave).unwrap().session.clone();
        self.tell(Command::ReportSetUp {
            slave,
            session,
            build,
        })
        .await;
        for (subjob, exit_code) in (0..).map(SubjobId).zip(exit_codes) {
            let progress = self.cluster.build(build).unwrap().progress().unwrap();
            let (slave, attempt) = progress.running[&subjob];
            self.tell(Command::ReportFinished {
                hand_out: HandOut {
                    slave,
                    build,
                    subjob,
                    attempt,
                },
                executor: None,
                outcomes: vec![AtomOutcome {
                    exit_code: *exit_code,
                    duration_ms: 7,
                    trouble: None,
                    started_at: None,
                    usage: None,
                }],
            })
            .await;
        }
    }

    /// A slave has cleared away what it is asked to.
    async fn clear_away(&mut self, build: u64) {
        let (slave, build) = (SlaveId(1), BuildId(build));
        self.tell(Command::ReportTornDown { slave, build }).await;
    }

    /// Puts the builds away that can be.
    async fn put_away(&mut self) {
        let builds: Vec<Build> = self.cluster.retirable().cloned().collect();
        self.journal.ended().keep(&builds).unwrap();
        let builds = builds.iter().map(|build| build.id).collect();
        self.tell(Command::ReportKept { builds }).await;
    }

    /// Builds with every state and every end, slaves with every presence but those that tests of slaves
    /// have, and a snapshot amid.
    async fn live(&mut self) {
        let opening = Box::new(Opening {
            life: SessionId("first life".to_owned()),
            fresh: Incarnation("first".to_owned()),
            stored: StoredResults::none(),
        });
        self.tell(Command::Start { opening }).await;
        for url in ["a:1", "b:1", "c:1", "d:1"] {
            self.connect(url).await;
        }
        let (slave, by) = (SlaveId(2), Actor::SecretHolder);
        self.tell(Command::DrainSlave { by, slave }).await;
        let slave = SlaveId(3);
        self.tell(Command::ReportStopped { slave }).await;
        let (slave, reason) = (SlaveId(4), "it was silent".to_owned());
        self.tell(Command::ReportSlaveDied { slave, reason }).await;
        // 1 is finished and put away, 2 failed, 3 was canceled.
        self.queue("one").await;
        self.prepare(1, 3, "linux").await;
        self.run(1, &[0, 1, 0]).await;
        let build = BuildId(1);
        self.tell(Command::ReportArchived {
            build,
            template: None,
        })
        .await;
        self.clear_away(1).await;
        self.queue("one").await;
        let (build, reason) = (BuildId(2), "no such branch".to_owned());
        self.tell(Command::ReportPreparationFailed { build, reason })
            .await;
        self.put_away().await;
        self.queue("two").await;
        let build = BuildId(3);
        self.tell(Command::CancelBuild { by, build }).await;
        // 4 is archiving.
        self.queue("two").await;
        self.prepare(4, 1, "linux").await;
        self.run(4, &[0]).await;
        self.snapshot();
        // 5 waits for a slave that nobody has, 6 is being run, 7 is being prepared, 8 waits for that.
        self.queue("three").await;
        self.prepare(5, 2, "plan9").await;
        self.queue("four").await;
        self.prepare(6, 70, "linux").await;
        self.run(6, &[0, 3]).await;
        self.queue("four").await;
        self.queue("four").await;
    }
}

/// How a build stands, in short.
fn state(build: &Build) -> String {
    let state = serde_json::to_value(&build.state).unwrap();
    let state = match &state {
        serde_json::Value::Object(state) => state.keys().next().unwrap().clone(),
        other => other.as_str().unwrap().to_owned(),
    };
    let (project, done, failed) = (build.project, build.num_finished, build.atoms_failed);
    format!("of project {project}, {state}: {done} results, {failed} failed")
}

async fn check(journal: &Path) {
    let findings = examine::examine(journal).unwrap();
    assert_eq!(findings.problems, []);
    let in_snapshot = findings.in_snapshot.unwrap();
    assert!(in_snapshot > 0 && findings.events > in_snapshot);
    let master = Master::start(journal).unwrap();
    let ended = master.journal.ended();
    let mut builds = Vec::new();
    for (id, live) in master.cluster.all_builds() {
        builds.push(match live {
            Some(build) => state(build),
            None => {
                let (head, subjobs) = ended.subjobs(id, |n| 0..n).await.unwrap().unwrap();
                assert_eq!(subjobs.len(), head.num_subjobs as usize);
                format!("put away, {}", state(&head.build))
            }
        });
    }
    assert_eq!(builds, STATES);
    let projects = master.cluster.projects();
    let projects: Vec<String> = projects
        .map(|project| format!("{} {}", project.id, project.name()))
        .collect();
    assert_eq!(projects, ["1 one", "2 two", "3 three", "4 four"]);
    let slave = |id| &master.cluster.slave(SlaveId(id)).unwrap().presence;
    assert_eq!(*slave(1), Presence::Alive);
    assert!(master.cluster.slave(SlaveId(2)).unwrap().is_drained);
    let why = |id| match slave(id) {
        Presence::Lost { reason, .. } => reason.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(why(3), Loss::Stopped.to_string());
    assert_eq!(why(4), "it was silent");
}

const STATES: [&str; 8] = [
    "put away, of project 1, finished: 3 results, 1 failed",
    "put away, of project 1, error: 0 results, 0 failed",
    "of project 2, canceled: 0 results, 0 failed",
    "of project 2, archiving: 1 results, 0 failed",
    "of project 3, prepared: 0 results, 0 failed",
    "of project 4, building: 2 results, 1 failed",
    "of project 4, preparing: 0 results, 0 failed",
    "of project 4, queued: 0 results, 0 failed",
];

#[tokio::test]
async fn format_1_as_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let mut master = Master::start(&journal).unwrap();
    master.live().await;
    drop(master);
    check(&journal).await;
    record("format-1", &journal);
}

#[tokio::test]
async fn format_1_as_it_was_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    unpack("format-1", &journal);
    check(&journal).await;
}

/// What is acknowledged under a format of before and of after this one, and what is said of it.
#[tokio::test]
async fn other_formats_are_refused_and_left_as_they_are() {
    let with_checksum = |content: &[u8]| {
        let checksum = crc32fast::hash(content).to_be_bytes();
        [content, &checksum].concat()
    };
    let former = with_checksum(&3_u64.to_be_bytes());
    let later = with_checksum(&[&2_u32.to_be_bytes()[..], &3_u64.to_be_bytes()].concat());
    for (acknowledged, format) in [(former, 0), (later, 2)] {
        let directory = tempfile::tempdir().unwrap();
        let journal = directory.path().join("journal");
        let mut master = Master::start(&journal).unwrap();
        master.happen([queued(1)]).await;
        drop(master);
        let file = journal.join(acknowledged::FILE);
        std::fs::write(&file, &acknowledged).unwrap();
        let expected =
            format!("the journal has format {format}, and this version reads format 1 only");
        let refusals = [
            Journal::open(&journal).map(drop).unwrap_err().to_string(),
            examine::examine(&journal)
                .map(drop)
                .unwrap_err()
                .to_string(),
            export::export(&journal, &mut Vec::new())
                .unwrap_err()
                .to_string(),
            repair::Repair::of_damaged(&journal)
                .map(drop)
                .unwrap_err()
                .to_string(),
        ];
        for refusal in refusals {
            assert!(refusal.starts_with(&expected), "{refusal}");
        }
        assert_eq!(std::fs::read(&file).unwrap(), acknowledged);
    }
}
