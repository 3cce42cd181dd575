//! Requests to apps, by their hosts.

use super::{Farm, read_head};
use crate::router::{Hosts, Routes};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{
    Generation, Incarnation, InstanceId, ProjectId, SessionId, SlaveId,
};
use clusterrunner_core::Cluster;
use clusterrunner_core::accounts::owner::Owner;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::apps::command::AppCommand;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::{Event, Fact, InstanceFact};
use clusterrunner_core::instances::facts::Launch;
use clusterrunner_core::instances::instance::Purpose;
use std::collections::{BTreeMap, BTreeSet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A farm with the app `hill`, whose instances run on the slave of this machine.
struct Site {
    cluster: Cluster,
    routes: Routes,
    project: ProjectId,
    last: u64,
}

impl Site {
    fn new() -> Self {
        let hosts = Hosts::new(Some("apps.example"), &["farm.apps.example"]);
        let mut site = Self {
            cluster: Cluster::default(),
            routes: Routes::new(hosts, Timestamp(0)),
            project: ProjectId(0),
            last: 0,
        };
        site.give(Command::ConnectSlave {
            url: "127.0.0.1:1".to_owned(),
            session: SessionId("life".to_owned()),
            num_executors: 1,
            labels: BTreeSet::new(),
            known_as: None,
            finished: Vec::new(),
            seen: Vec::new(),
            fresh: Incarnation("fresh".to_owned()),
            key: None,
        });
        let id = "hill".to_owned();
        site.order(AppCommand::Create { id });
        site.project = site.cluster.app_of_id("hill").unwrap().project;
        site
    }

    fn order(&mut self, command: AppCommand) {
        let by = Actor::SecretHolder;
        self.give(Command::App { by, command });
    }

    fn give(&mut self, command: Command) {
        let events = self.cluster.decide(command, Timestamp(1)).unwrap();
        self.happen(&events);
    }

    fn happen(&mut self, events: &[Event]) {
        for event in events {
            self.cluster.apply(event);
        }
        self.routes.take_in(&self.cluster, events);
    }

    fn tell(&mut self, id: InstanceId, fact: InstanceFact) {
        let (at, by) = (Timestamp(1), Actor::Master);
        let fact = Fact::Instance(id, fact);
        self.happen(&[Event { at, by, fact }]);
    }

    fn launched(&mut self, process: &str) -> InstanceId {
        self.last += 1;
        let launch = Launch {
            key: format!("{:032x}", self.last),
            template: None,
            image: Some("image".to_owned()),
            template_name: "image".to_owned(),
            owner: Owner::ClusterRunner,
            command: Vec::new(),
            environment: BTreeMap::new(),
            max_memory_bytes: None,
            cpu_shares: None,
            cull_after_ms: None,
            tags: BTreeMap::new(),
            purpose: Purpose::App {
                project: self.project,
                release: 1,
                process: process.to_owned(),
                num: 1,
            },
        };
        let id = InstanceId(self.last);
        self.tell(id, InstanceFact::Launched(Box::new(launch)));
        id
    }

    fn up(&mut self, process: &str, port: u16) -> InstanceId {
        let id = self.launched(process);
        let (slave, generation) = (SlaveId(1), Generation(1));
        self.tell(id, InstanceFact::Placed { slave, generation });
        self.tell(
            id,
            InstanceFact::Up {
                port,
                keeps_prefix: false,
                restarts: 0,
            },
        );
        id
    }
}

/// A program that answers with its name, at the port.
async fn program(name: &'static str) -> u16 {
    let program = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = program.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut user, _)) = program.accept().await {
            tokio::spawn(async move {
                while !read_head(&mut user).await.is_empty() {
                    let length = name.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}");
                    user.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    port
}

/// A port at which nothing listens.
async fn closed() -> u16 {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    taken.local_addr().unwrap().port()
}

/// The status and the body of the answer to a GET with this host.
async fn ask(farm: &Farm, host: &str) -> (String, String) {
    let head = format!("GET /a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut stream: TcpStream = farm.asked(&head).await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.to_owned(), body.to_owned())
}

async fn names(farm: &Farm, number: usize) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for _ in 0..number {
        let (status, name) = ask(farm, "hill.apps.example").await;
        assert_eq!(status, "200", "{name}");
        *names.entry(name).or_default() += 1;
    }
    names
}

fn counts(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    let counts = counts.iter();
    counts
        .map(|(name, number)| ((*name).to_owned(), *number))
        .collect()
}

#[tokio::test]
async fn requests_go_to_what_is_up_of_web_in_turn_and_else_to_cmd() {
    let mut site = Site::new();
    let farm = Farm::of(site.routes.clone()).await;
    let absent = ask(&farm, "hill.apps.example").await;
    assert!(absent.0 == "503" && absent.1.contains("scaled to none"));
    let ports = [
        program("cmd").await,
        program("one").await,
        program("two").await,
    ];
    site.up("cmd", ports[0]);
    site.up("worker", closed().await);
    assert_eq!(names(&farm, 2).await, counts(&[("cmd", 2)]));
    let starting = site.launched("web");
    let absent = ask(&farm, "hill.apps.example").await;
    assert!(absent.0 == "503" && absent.1.contains("http-equiv=\"refresh\""));
    let reason = "no such image".to_owned();
    site.tell(starting, InstanceFact::Failed { reason });
    let absent = ask(&farm, "hill.apps.example").await;
    assert!(absent.0 == "503" && absent.1.contains("The app has failed"));
    let one = site.up("web", ports[1]);
    site.up("web", ports[2]);
    assert_eq!(names(&farm, 4).await, counts(&[("one", 2), ("two", 2)]));
    site.tell(one, InstanceFact::Retired);
    assert_eq!(names(&farm, 3).await, counts(&[("two", 3)]));
}

#[tokio::test]
async fn what_takes_no_connection_is_passed_over_and_no_request_fails() {
    let mut site = Site::new();
    let farm = Farm::of(site.routes.clone()).await;
    let (closed, open) = (closed().await, program("open").await);
    site.up("web", closed);
    let (status, page) = ask(&farm, "hill.apps.example").await;
    assert!(
        status == "503" && page.contains("does not answer"),
        "{page}"
    );
    site.up("web", open);
    assert_eq!(names(&farm, 5).await, counts(&[("open", 5)]));
}

#[tokio::test]
async fn hosts_lead_to_apps_and_other_names_to_the_apis() {
    let mut site = Site::new();
    let (project, domain) = (site.project, "shop.example".to_owned());
    site.order(AppCommand::AddDomain { project, domain });
    // A name that the API would not let anybody have does not hide what has it by its id.
    let id = "dale".to_owned();
    site.order(AppCommand::Create { id });
    let domain = "dale.apps.example".to_owned();
    site.order(AppCommand::AddDomain { project, domain });
    let port = program("hill").await;
    site.up("web", port);
    let farm = Farm::of(site.routes.clone()).await;
    for (host, status, text) in [
        ("hill.apps.example", "200", "hill"),
        ("HILL.Apps.Example:43000", "200", "hill"),
        ("shop.example", "200", "hill"),
        ("dale.apps.example", "503", "The app does not run"),
        ("vale.apps.example", "404", "No such app"),
        ("farm.apps.example", "404", "Nothing is here"),
        ("deis.apps.example", "404", "Nothing is here"),
        ("a.hill.apps.example", "404", "Nothing is here"),
        ("apps.example", "404", "Nothing is here"),
        ("127.0.0.1", "404", "Nothing is here"),
    ] {
        let (found, page) = ask(&farm, host).await;
        assert!(found == status && page.contains(text), "{host}: {page}");
    }
    let domain = "shop.example".to_owned();
    site.order(AppCommand::RemoveDomain { project, domain });
    assert_eq!(ask(&farm, "shop.example").await.0, "404");
    site.order(AppCommand::Destroy { project });
    let (status, page) = ask(&farm, "hill.apps.example").await;
    assert!(status == "404" && page.contains("No such app"), "{page}");
}

#[tokio::test]
async fn what_is_retired_is_drained_when_it_has_answered() {
    let mut site = Site::new();
    let program = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let old = site.up("web", program.local_addr().unwrap().port());
    let farm = Farm::of(site.routes.clone()).await;
    let mut user = farm
        .asked("GET / HTTP/1.1\r\nHost: hill.apps.example\r\n\r\n")
        .await;
    let (mut asked, _) = program.accept().await.unwrap();
    let head = read_head(&mut asked).await;
    assert!(
        head.contains("x-forwarded-host: hill.apps.example\r\n"),
        "{head}"
    );
    assert!(site.routes.drained().is_empty());
    site.tell(old, InstanceFact::Retired);
    assert!(site.routes.drained().is_empty());
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    asked.write_all(answer).await.unwrap();
    read_head(&mut user).await;
    user.read_exact(&mut [0; 5]).await.unwrap();
    assert_eq!(site.routes.drained(), [old]);
    site.tell(old, InstanceFact::Stopped);
    assert!(site.routes.drained().is_empty());
}
