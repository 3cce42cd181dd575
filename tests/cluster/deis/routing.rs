//! Users of an app, who reach it through the master by its host while it changes and daemons die.

use super::{Deis, HOST, House, KEY, template};
use crate::farm::{Extra, Farm};
use crate::processes;
use crate::wait::wait_for;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

/// A program that says what it is, and takes a moment for that.
const WEB: &str = r#"
import os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        time.sleep(0.02)
        body = f"{os.environ['DEIS_RELEASE']} {os.getpid()}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *rest):
        pass

ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// How many users there are at a time.
const USERS: usize = 8;

/// The host of the app.
const APP: &str = "hill.apps.example";

/// Users who ask again and again until they are told to stop.
struct Users {
    asking: JoinSet<()>,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
}

/// What users have seen.
#[derive(Debug, Default)]
struct Seen {
    /// How often each answer came: release and process.
    answers: BTreeMap<String, usize>,
    /// Answers that were not from the program.
    failures: Vec<String>,
    /// Connections and requests that broke off.
    broken_off: usize,
}

impl Users {
    fn of(farm: &Farm) -> Self {
        let mut users = Self {
            asking: JoinSet::new(),
            stop: Arc::default(),
            seen: Arc::default(),
        };
        let url = format!("http://{}/", farm.master_address());
        for _ in 0..USERS {
            let (url, stop, seen) = (url.clone(), users.stop.clone(), users.seen.clone());
            users.asking.spawn(async move {
                let http = reqwest::Client::new();
                while !stop.load(Ordering::Relaxed) {
                    ask(&http, &url, &seen).await;
                }
            });
        }
        users
    }

    /// The answers so far.
    fn answers(&self) -> BTreeMap<String, usize> {
        self.seen.lock().unwrap().answers.clone()
    }

    /// Waits until each user had some answers more, of these releases alone.
    async fn are_served_by(&self, release: &str) {
        let before: usize = self.answers().values().sum();
        wait_for("answers of a release", async || {
            let answers = self.answers();
            let release = format!("{release} ");
            let is_there = answers.keys().any(|answer| answer.starts_with(&release));
            (is_there && answers.values().sum::<usize>() > before + 4 * USERS).then_some(())
        })
        .await;
    }

    async fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(asked) = self.asking.join_next().await {
            asked.unwrap();
        }
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn ask(http: &reqwest::Client, url: &str, seen: &Mutex<Seen>) {
    let answer = async {
        let answer = http.get(url).header("Host", APP).send().await?;
        let status = answer.status();
        Ok::<_, reqwest::Error>((status, answer.text().await?))
    };
    let answer = answer.await;
    let mut seen = seen.lock().unwrap();
    match answer {
        Ok((status, text)) if status.is_success() => *seen.answers.entry(text).or_default() += 1,
        Ok((status, text)) => seen.failures.push(format!("{status}: {text}")),
        Err(_) => seen.broken_off += 1,
    }
}

/// `ann` with the app `hill`, two of whose programs answer users.
async fn site(slaves: usize) -> (House, Deis) {
    let master = format!(
        "binder_api_key = '{KEY}'\nallow_local_sources = True\nregistration = open\ndeploy_wait = 60\n\
         app_domain = apps.example\n"
    );
    let mut farm = Farm::with(&Extra {
        master: &master,
        slave: "allow_local_sources = True\n",
        ..Extra::default()
    });
    farm.start_all(&vec![1; slaves]).await;
    let root = Deis::register(&farm.master_address(), HOST, "root").await;
    let files = [("Procfile", "web: exec python3 web.py\n"), ("web.py", WEB)];
    let template = template(&farm, &files).await;
    let house = House {
        farm,
        template,
        root,
    };
    let ann = house.with_app().await;
    let scale = json!({"web": 2});
    ann.post("/v1/apps/hill/scale", scale, 204).await;
    (house, ann)
}

#[tokio::test]
async fn no_request_fails_while_the_config_of_an_app_changes() {
    let (house, ann) = site(1).await;
    let mark = house.farm.mark();
    let users = Users::of(&house.farm);
    users.are_served_by("v2").await;
    for number in 3..6 {
        let values = json!({"MARK": format!("{mark}-{number}")});
        assert_eq!(ann.set("hill", "values", values).await, number);
        users.are_served_by(&format!("v{number}")).await;
    }
    for number in 3..5 {
        let text = format!("MARK={mark}-{number}");
        wait_for("the end of an older release", async || {
            processes::with_text(&text).is_empty().then_some(())
        })
        .await;
    }
    assert_eq!(ann.ps("hill").await, ["web.1 up (v5)", "web.2 up (v5)"]);
    let seen = users.stop().await;
    assert!(seen.failures.is_empty() && seen.broken_off == 0, "{seen:?}");
    for release in ["v2", "v3", "v4", "v5"] {
        let of_release = seen.answers.keys().filter(|one| one.starts_with(release));
        assert_eq!(of_release.count(), 2, "both are asked: {seen:?}");
    }
}

#[tokio::test]
async fn living_programs_are_reached_while_a_slave_and_the_master_are_killed() {
    let (mut house, _ann) = site(2).await;
    let users = Users::of(&house.farm);
    users.are_served_by("v2").await;
    house.farm.kill_slave(0);
    // The slave is lost some time later, and what it ran is started on the other one.
    wait_for("two programs on the slave that is left", async || {
        let instances = house.farm.client().instances().await.unwrap();
        let instances = serde_json::to_value(instances).unwrap();
        let instances = instances.as_array().unwrap();
        let on_one = instances.iter().filter(|one| one["status"] == "up");
        let slaves: BTreeSet<String> = on_one
            .clone()
            .map(|one| one["slave_id"].to_string())
            .collect();
        (on_one.count() == 2 && slaves.len() == 1 && users.answers().len() >= 3).then_some(())
    })
    .await;
    users.are_served_by("v2").await;
    let before = users.stop().await;
    assert!(
        before.failures.is_empty() && before.broken_off == 0,
        "{before:?}"
    );
    let users = Users::of(&house.farm);
    users.are_served_by("v2").await;
    house.farm.kill_master();
    house.farm.start_master().await;
    users.are_served_by("v2").await;
    let after = users.stop().await;
    assert!(after.failures.is_empty(), "{after:?}");
    let processes: Vec<&String> = after.answers.keys().collect();
    assert_eq!(
        processes.len(),
        2,
        "no program was started again: {after:?}"
    );
    assert!(
        processes
            .iter()
            .all(|one| before.answers.contains_key(*one))
    );
}
