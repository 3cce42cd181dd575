//! Events as their readers get them.

use super::*;
use axum::body::BodyDataStream;
use clusterrunner_common::api::RunningAtom;
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, ExecutorIndex, SlaveId, SubjobId};
use clusterrunner_core::Cluster;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::apps::command::{AppCommand, NewAppBuild};
use clusterrunner_core::builds::hand_out::HandOut;
use clusterrunner_core::builds::outcome::AtomOutcome;
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;
use futures_util::StreamExt as _;
use std::time::Duration;
use tokio::time::timeout;

const ID: BuildId = BuildId(1);
const SLAVE: SlaveId = SlaveId(1);

/// Who reads a stream of events.
pub(super) struct Follower {
    stream: BodyDataStream,
    text: String,
}

#[derive(Debug, PartialEq)]
pub(super) struct Told {
    id: u64,
    pub(super) name: String,
    pub(super) data: Value,
}

impl Follower {
    /// The next event; none at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let told = told(block);
                self.text = rest.to_owned();
                if told.is_some() {
                    return told;
                }
                continue;
            }
            let bytes = timeout(Duration::from_secs(20), self.stream.next());
            let bytes = bytes.await.expect("an event should have come")?.unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The next event with this name, and those that came before.
    pub(super) async fn until(&mut self, name: &str) -> Vec<Told> {
        let mut all = Vec::new();
        loop {
            let told = self.next().await;
            all.push(told.unwrap_or_else(|| panic!("no {name} came: {all:?}")));
            if all.last().unwrap().name == name {
                return all;
            }
        }
    }

    async fn rest(&mut self) -> Vec<Told> {
        let mut all = Vec::new();
        while let Some(told) = self.next().await {
            all.push(told);
        }
        all
    }
}

fn told(block: &str) -> Option<Told> {
    let field = |name: &str| {
        let mut lines = block.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    Some(Told {
        name: field("event")?.to_owned(),
        id: field("id").unwrap().parse().unwrap(),
        data: serde_json::from_str(field("data").unwrap()).unwrap(),
    })
}

fn names(told: &[Told]) -> Vec<&str> {
    told.iter().map(|told| told.name.as_str()).collect()
}

impl Master {
    pub(super) async fn follow_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Follower, u16> {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        if status != 200 {
            return Err(status);
        }
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/event-stream"
        );
        Ok(Follower {
            stream: response.into_body().into_data_stream(),
            text: String::new(),
        })
    }

    async fn follow(&self, path: &str, last: Option<u64>) -> Follower {
        let last = last.map(|last| last.to_string());
        let headers = last.as_ref().map(|last| ("last-event-id", last.as_str()));
        let headers = Vec::from_iter(headers);
        self.follow_with(path, &headers).await.unwrap()
    }

    async fn give(&self, command: Command) {
        self.cluster.command(command).await.unwrap();
    }

    /// A build of so many atoms, of which the slave has the first two.
    async fn with_atoms(&self, number: usize) {
        self.connect("a-life", None).await;
        self.documented("POST", "/v1/build", BUILD).await;
        self.become_ready(number).await;
    }

    async fn become_ready(&self, number: usize) {
        let plan = Box::new(Plan {
            atoms: (0..number).map(|n| format!("export N={n};")).collect(),
            ..Plan::default()
        });
        self.give(Command::ReportPrepared { build: ID, plan }).await;
        let session = SessionId("a-life".to_owned());
        self.give(Command::ReportSetUp {
            slave: SLAVE,
            session,
            build: ID,
        })
        .await;
    }

    async fn end_atom(&self, subjob: u32) {
        self.give(Command::ReportFinished {
            hand_out: HandOut {
                slave: SLAVE,
                build: ID,
                subjob: SubjobId(subjob),
                attempt: Attempt(1),
            },
            executor: Some(ExecutorIndex(0)),
            outcomes: vec![AtomOutcome {
                exit_code: 0,
                duration_ms: 1,
                trouble: None,
                started_at: Some(Timestamp(1)),
                usage: None,
            }],
        })
        .await;
    }

    async fn archive(&self) {
        self.give(Command::ReportArchived {
            build: ID,
            template: None,
        })
        .await;
    }
}

const EVENTS: &str = "/v2/builds/1/events";

/// The subjobs of the rows of an event, with their states.
fn rows(told: &Told) -> Vec<(u64, &str)> {
    let rows = told.data["rows"].as_array().unwrap().iter();
    rows.map(|row| (row[0].as_u64().unwrap(), row[4].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn a_build_is_followed_to_its_end() {
    let master = Master::start();
    master.connect("a-life", None).await;
    master.documented("POST", "/v1/build", BUILD).await;
    let mut reader = master.follow(EVENTS, None).await;
    let begun = reader.until("build").await;
    assert_eq!(names(&begun), ["begin", "build"]);
    assert_eq!(begun[1].data["build"]["status"], "QUEUED");
    master.become_ready(2).await;
    let told = reader.until("build").await;
    assert_eq!(rows(&told[0]), [(0, "NOT_STARTED"), (1, "NOT_STARTED")]);
    assert_eq!(told[1].data["build"]["num_subjobs"], 2);
    master.running.set(
        SLAVE,
        vec![RunningAtom {
            build_id: ID,
            subjob_id: SubjobId(1),
            attempt: Attempt(1),
            atom_id: AtomId(0),
            executor_id: ExecutorIndex(0),
            started_at_ms: Timestamp(1),
        }],
    );
    let told = reader.until("atoms").await;
    let started = told.last().unwrap();
    assert_eq!(rows(started), [(1, "IN_PROGRESS")]);
    let (_, page) = master.get("/v2/builds/1/atoms").await;
    assert_eq!(
        page["rows"][1], started.data["rows"][0],
        "as the page has it"
    );
    master.end_atom(1).await;
    master.end_atom(0).await;
    master.archive().await;
    let rest = reader.rest().await;
    assert_eq!(rest.last().unwrap().name, "end");
    let ended: Vec<_> = rest
        .iter()
        .filter(|told| told.name == "atoms")
        .flat_map(rows)
        .collect();
    assert_eq!(ended, [(0, "COMPLETED"), (1, "COMPLETED")]);
    let build = &rest[rest.len() - 2];
    let (_, page) = master.get("/v2/builds/1").await;
    assert_eq!(build.data["build"]["status"], "FINISHED");
    assert_eq!(build.data["build"], page["build"], "as the page has it");
}

#[tokio::test]
async fn a_reader_that_comes_back_gets_what_it_missed_and_nothing_twice() {
    let master = Master::start();
    master.with_atoms(4).await;
    let mut reader = master.follow(EVENTS, None).await;
    let last = reader.until("build").await.last().unwrap().id;
    drop(reader);
    master.end_atom(0).await;
    let mut reader = master.follow(EVENTS, Some(last)).await;
    let told = reader.until("build").await;
    assert_eq!(names(&told), ["atoms", "build"]);
    assert_eq!(rows(&told[0]), [(0, "COMPLETED")]);
    assert_eq!(told[0].id, last, "it does not have all yet");
    let last = told[1].id;
    assert_eq!(last, master.cluster.position());
    master.end_atom(1).await;
    let told = reader.until("build").await;
    assert_eq!(rows(&told[0]), [(1, "COMPLETED")]);
    // The same room tells one who comes later, and both from then on.
    let mut other = master.follow(EVENTS, Some(last)).await;
    let again = other.until("build").await;
    assert_eq!(rows(&again[0]), [(1, "COMPLETED")]);
    master
        .give(Command::CancelBuild {
            by: Actor::SecretHolder,
            build: ID,
        })
        .await;
    for reader in [&mut reader, &mut other] {
        let told = reader.until("build").await;
        assert_eq!(names(&told), ["build"]);
        assert_eq!(told[0].data["build"]["status"], "CANCELED");
    }
    master
        .give(Command::ReportTornDown {
            slave: SLAVE,
            build: ID,
        })
        .await;
    for reader in [&mut reader, &mut other] {
        assert_eq!(reader.rest().await.last().unwrap().name, "end");
    }
}

#[tokio::test]
async fn what_can_not_be_told_is_to_be_read_anew() {
    let master = Master::start();
    master.with_atoms(3_000).await;
    let later = master.cluster.position() + 1_000;
    let mut reader = master.follow(EVENTS, Some(later)).await;
    assert_eq!(names(&reader.until("build").await), ["reload", "build"]);
    // Before the first fact there were none of these atoms.
    let mut reader = master.follow(EVENTS, Some(0)).await;
    assert_eq!(names(&reader.until("build").await), ["reload", "build"]);
    let (status, answer) = master
        .call("GET", EVENTS, &[("last-event-id", "x")], "")
        .await;
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("Last-Event-ID"));
    assert_eq!(
        master.follow_with("/v2/builds/9/events", &[]).await.err(),
        Some(404)
    );
}

#[tokio::test]
async fn the_farm_is_followed() {
    let master = Master::start();
    let mut reader = master.follow("/v2/events", None).await;
    let begun = reader.next().await.unwrap();
    assert_eq!(begun.name, "begin");
    master.with_atoms(2).await;
    let (mut build, mut slave) = (None, None);
    while build.is_none() || slave.is_none() {
        let told = reader.next().await.unwrap();
        match told.name.as_str() {
            "build" => build = Some(told),
            "slave" => slave = Some(told),
            other => panic!("{other}"),
        }
    }
    let (_, page) = master.get("/v2/slaves/1").await;
    assert_eq!(slave.unwrap().data["slave"]["url"], page["slave"]["url"]);
    assert_eq!(build.unwrap().data["build"]["id"], 1);
    // What came after the beginning, to one who has missed it.
    let mut other = master.follow("/v2/events", Some(begun.id)).await;
    let told = other.until("slave").await;
    assert_eq!(names(&told), ["build", "slave"]);
    let (_, page) = master.get("/v2/builds").await;
    assert_eq!(
        told[0].data["build"], page["builds"][0],
        "as the list has it"
    );
    master
        .give(Command::DeleteBuild {
            by: Actor::SecretHolder,
            build: ID,
        })
        .await;
    let told = other.until("build_deleted").await;
    assert_eq!(told.last().unwrap().data, json!({"id": 1}));
}

#[tokio::test]
async fn apps_and_instances_are_told_to_those_who_may_see_them() {
    let master = Master::start();
    let path = "/v2/events";
    let parts = SignedParts {
        method: "GET",
        path_and_query: path,
        receiver: &master.session.0,
        content_digest: &content_digest(b""),
    };
    let signature = parts.sign(&master.secret, Timestamp::now(), random_bytes());
    let signed = [(SIGNATURE_HEADER, signature.as_str())];
    let mut holder = master.follow_with(path, &signed).await.unwrap();
    let mut stranger = master.follow(path, None).await;
    for reader in [&mut holder, &mut stranger] {
        assert_eq!(reader.next().await.unwrap().name, "begin");
    }
    let give = |command| {
        let by = Actor::SecretHolder;
        master.give(Command::App { by, command })
    };
    let id = "shop".to_owned();
    give(AppCommand::Create { id }).await;
    let told = holder.until("app").await;
    assert_eq!(told.last().unwrap().data, json!({"id": "shop"}));
    let look = |cluster: &Cluster| cluster.app_of_id("shop").unwrap().project;
    let project = master.cluster.read(look).await.unwrap();
    let build = Box::new(NewAppBuild {
        image: "registry.example.com/shop:1".to_owned(),
        ..NewAppBuild::default()
    });
    give(AppCommand::Build { project, build }).await;
    let told = holder.until("instance").await;
    let instance = &told.last().unwrap().data["instance"];
    assert_eq!(instance["template"], "registry.example.com/shop:1");
    give(AppCommand::Destroy { project }).await;
    let gone = json!({"id": project.0});
    let told = holder.until("app_deleted").await;
    assert_eq!(told.last().unwrap().data, gone);
    // A stranger hears of none of it.
    master.documented("POST", "/v1/build", BUILD).await;
    assert_eq!(names(&stranger.until("build").await), ["build"]);
}
