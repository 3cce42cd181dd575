//! A master that is driven by commands, as the preparer, slaves and the archiver would.

use super::replay::{Answer, Fixture, Score};
use super::{Master, SECRET};
use crate::effects::archiver::{Archived, Archiver};
use crate::http::clusterrunner::legacy_proof;
use crate::store::results::Block;
use axum::http::Method;
use clusterrunner_common::api::RunningAtom;
use clusterrunner_common::auth::gate::Proof;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::ids::{
    AtomId, Attempt, BuildId, ExecutorIndex, SessionId, SlaveId, SubjobId,
};
use clusterrunner_common::job::config::Timeouts;
use clusterrunner_core::builds::hand_out::HandOut;
use clusterrunner_core::builds::outcome::AtomOutcome;
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Where the recorded build's files lay.
const PROJECT: &str = "/srv/cr/sample/master/symlinks/00a34ec0-7eb7-4513-b6da-4718827902fa";

const SLAVE: SlaveId = SlaveId(1);

pub(super) struct Farm {
    master: Master,
}

impl Farm {
    pub(super) fn start(session: &str, origins: Option<&str>) -> Self {
        let master = Master::start_with(SECRET, session, origins);
        Self { master }
    }

    /// A master with `accept_legacy_peers`.
    pub(super) fn start_with_legacy_peers(session: &str) -> Self {
        let legacy = Some(legacy_proof as fn(&Method, &str) -> Proof);
        let master = Master::start_with_peers(SECRET, session, None, legacy);
        Self { master }
    }

    pub(super) async fn connect_legacy(&self, url: &str, session: &str, num_executors: u32) {
        let connect = Command::ConnectLegacySlave {
            url: url.to_owned(),
            session: SessionId(session.to_owned()),
            num_executors,
        };
        self.command(connect).await;
    }

    /// Sends the recorded requests one after the other and counts the answers.
    pub(super) async fn replay(&self, score: &mut Score, numbers: impl IntoIterator<Item = u16>) {
        for number in numbers {
            let fixture = score.fixture(number);
            let answer = self.send(&fixture).await;
            score.judge(number, &answer);
        }
    }

    pub(super) async fn send(&self, fixture: &Fixture) -> Answer {
        let mut headers = fixture.headers.clone();
        // An ETag is the server's own affair: the recorded one stands for ours.
        if let Some(known) = headers.iter_mut().find(|(name, _)| name == "if-none-match") {
            let first = self.exchange(&fixture.method, &fixture.path, &[], "").await;
            first.headers["etag"]
                .to_str()
                .unwrap()
                .clone_into(&mut known.1);
        }
        self.exchange(&fixture.method, &fixture.path, &headers, &fixture.body)
            .await
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &str,
    ) -> Answer {
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let (status, headers, body) = self.master.exchange(method, path, &headers, body).await;
        Answer {
            status,
            headers,
            body,
        }
    }

    async fn command(&self, command: Command) {
        self.master.cluster.command(command).await.unwrap();
    }

    pub(super) async fn connect(&self, url: &str, session: &str, num_executors: u32) {
        let connect = Command::ConnectSlave {
            url: url.to_owned(),
            session: SessionId(session.to_owned()),
            num_executors,
            labels: std::collections::BTreeSet::new(),
            known_as: None,
            finished: Vec::new(),
            seen: Vec::new(),
            fresh: clusterrunner_common::ids::Incarnation("fresh".to_owned()),
            key: None,
        };
        self.command(connect).await;
    }

    pub(super) async fn prepare(&self, build: u64, command: &str, atoms: &[String]) {
        let plan = Plan {
            commit: None,
            job_name: "Sample".to_owned(),
            command: command.to_owned(),
            setup_build: None,
            teardown_build: None,
            max_executors: None,
            max_executors_per_slave: None,
            timeouts: Timeouts::default(),
            atoms: atoms.to_vec(),
            ..Plan::default()
        };
        let build = BuildId(build);
        let plan = Box::new(plan);
        self.command(Command::ReportPrepared { build, plan }).await;
    }

    pub(super) async fn set_up(&self, build: u64, session: &str) {
        let set_up = Command::ReportSetUp {
            slave: SLAVE,
            session: SessionId(session.to_owned()),
            build: BuildId(build),
        };
        self.command(set_up).await;
        self.report_running(BuildId(build)).await;
    }

    /// Reports the first atoms that the slave has as running, as many as it has executors.
    async fn report_running(&self, build: BuildId) {
        let held = self.master.cluster.read(move |cluster| {
            let executors = cluster.slave(SLAVE)?.num_executors;
            let held = &cluster.build(build)?.progress()?.running;
            let held = held
                .iter()
                .map(|(subjob, (_, attempt))| (*subjob, *attempt));
            Some(
                (0..executors)
                    .map(ExecutorIndex)
                    .zip(held)
                    .collect::<Vec<_>>(),
            )
        });
        let running = held.await.unwrap().into_iter().flatten();
        let running = running.map(|(executor_id, (subjob_id, attempt))| RunningAtom {
            build_id: build,
            subjob_id,
            attempt,
            atom_id: AtomId(0),
            executor_id,
            started_at_ms: Timestamp(1_700_000_000_000),
        });
        self.master.running.set(SLAVE, running.collect());
    }

    /// Lays a result down as a slave would have sent it, and reports it.
    pub(super) async fn finish_subjob(&self, build: u64, subjob: u32, exit_code: i32) {
        let (build, subjob) = (BuildId(build), SubjobId(subjob));
        let name = ["a", "b", "c", "d", "e"][subjob.0 as usize];
        let test = format!("{PROJECT}/tests/test_{name}");
        let lines = (1..=3).map(|line| format!("line {line} of {test}\n"));
        let console = format!("start {test}\n{}", lines.collect::<String>());
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (file, content) in [
            ("clusterrunner_command", "the command\n"),
            ("clusterrunner_console_output", console.as_str()),
            ("clusterrunner_exit_code", &format!("{exit_code}\n")),
            ("clusterrunner_time", "2.01\n"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            let path = format!("artifact_{subjob}_0/{file}");
            tar.append_data(&mut header, path, content.as_bytes())
                .unwrap();
        }
        let archive = tar.into_inner().unwrap().finish().unwrap();
        let attempt = Attempt::FIRST;
        let results = &self.master.results;
        let checked = results.check(build, Block::Memory(archive), subjob, 1);
        let (block, result) = checked.unwrap().unwrap();
        let stored = results.append(build, block, vec![(result, attempt)]);
        stored.await.unwrap();
        let finished = Command::ReportFinished {
            hand_out: HandOut {
                slave: SLAVE,
                build,
                subjob,
                attempt,
            },
            executor: Some(ExecutorIndex(0)),
            outcomes: vec![AtomOutcome {
                exit_code,
                duration_ms: 2010,
                trouble: None,
                started_at: None,
                usage: None,
            }],
        };
        self.command(finished).await;
        self.report_running(build).await;
    }

    /// Makes the archives of all results, for real.
    pub(super) async fn archive(&self, build: u64) {
        let build = BuildId(build);
        let subjobs = self.master.cluster.read(move |cluster| {
            let subjobs = cluster.build(build).unwrap().numbered_subjobs();
            subjobs.map(|(id, _)| (id, Attempt::FIRST)).collect()
        });
        let subjobs = subjobs.await.unwrap();
        let archived = Archived {
            failed_attempts: Vec::new(),
            subjobs,
            failures: Vec::new(),
            made: Vec::new(),
            product: None,
        };
        let archiver = Archiver {
            results: self.master.results.clone(),
            snapshots: self.master.snapshots.clone(),
            max_snapshot_bytes: 1,
            space: DiskSpace::new(std::path::Path::new("/"), 0),
            builds: None,
        };
        let done = archiver.archive(build, archived, CancellationToken::new());
        let (done, _) = done.await.unwrap();
        self.command(done).await;
    }

    pub(super) async fn tear_down(&self, build: u64) {
        let (slave, build) = (SLAVE, BuildId(build));
        self.command(Command::ReportTornDown { slave, build }).await;
    }

    /// Submits what the recorded build was asked to do; `false` if that is refused here.
    pub(super) async fn submit_recorded(&self, fixture: &Fixture) -> bool {
        let recorded: Value = serde_json::from_str(&fixture.answer.body).unwrap();
        let mut asked = recorded["build"]["request_params"].clone();
        asked
            .as_object_mut()
            .unwrap()
            .remove("build_project_directory");
        let body = asked.to_string();
        self.master.documented("POST", "/v1/build", &body).await.0 == 202
    }

    /// Lets a build fail in its preparation for the recorded reason. Where the request is refused
    /// at once here, another takes its id.
    pub(super) async fn fail_as_recorded(&self, score: &Score, number: u16) {
        let fixture = score.fixture(number);
        let recorded: Value = serde_json::from_str(&fixture.answer.body).unwrap();
        let id = recorded["build"]["id"].as_u64().unwrap();
        if !self.submit_recorded(&fixture).await {
            self.submit_fillers(id..id + 1).await;
        }
        let failed = Command::ReportPreparationFailed {
            build: BuildId(id),
            reason: recorded["build"]["error_message"]
                .as_str()
                .unwrap()
                .to_owned(),
        };
        self.command(failed).await;
    }

    /// Builds that take the ids of those that are not replayed.
    pub(super) async fn submit_fillers(&self, ids: std::ops::Range<u64>) {
        for id in ids {
            let body = format!(r#"{{"type": "directory", "project_directory": "/filler/{id}"}}"#);
            let (status, answer) = self.master.documented("POST", "/v1/build", &body).await;
            assert_eq!((status, answer["build_id"].as_u64()), (202, Some(id)));
        }
    }

    /// The first slave says that it ends.
    pub(super) async fn lose(&self) {
        let lost = Command::GiveSlaveUp {
            slave: SLAVE,
            reason: "it was stopped".to_owned(),
        };
        self.command(lost).await;
    }
}
