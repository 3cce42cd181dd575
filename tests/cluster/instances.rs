//! Repositories become templates and run as instances, which users reach through the master; nothing of that is lost or
//! doubled when daemons die.

use crate::chaos::Dice;
use crate::farm::{Extra, Farm};
use crate::processes;
use crate::repository::Repository;
use crate::wait::{measure, wait_for};
use clusterrunner_common::api::launching::InstanceStatus;
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

const KEY: &str = "the key of Binder";

/// A program that says who it is, and echoes what comes by a web socket.
pub(crate) const WEB: &str = r#"
import base64, hashlib, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("Upgrade") == "websocket":
            return self.echo()
        body = f"{os.environ['BINDER_ID']} {os.getpid()} {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def echo(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        head = self.rfile.read(2)
        length, mask = head[1] & 127, self.rfile.read(4)
        text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(length)))
        self.wfile.write(bytes([0x81, length]) + text)
        self.close_connection = True

    def log_message(self, form, *rest):
        print(form % rest, flush=True)

print("the program begins", flush=True)
ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// A farm with a project that runs.
struct House {
    farm: Farm,
    project: Repository,
    http: reqwest::Client,
}

/// An instance that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Running {
    key: String,
    /// Without a scheme.
    location: String,
    process: String,
}

impl House {
    async fn with_slaves(slaves: &[u32]) -> Self {
        let master = format!("binder_api_key = '{KEY}'\nallow_local_sources = True\n");
        let extra = Extra {
            master: &master,
            // What a slave that does not come back leaves ends soon.
            slave: "allow_local_sources = True\ninstance_alone_for = 5\n",
            ..Extra::default()
        };
        let mut farm = Farm::with(&extra);
        farm.start_all(slaves).await;
        let project = Repository::empty();
        project.commit(&[("Procfile", "web: exec python3 web.py\n"), ("web.py", WEB)]);
        Self {
            farm,
            project,
            http: reqwest::Client::new(),
        }
    }

    /// What Binder's API answers; the master may be on its way.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let url = format!("http://{}{path}", self.farm.master_address());
        let mut request = self.http.request(method, url).header("Authorization", KEY);
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// Starts a build of the project; the name of its template.
    async fn begins_build(&self) -> String {
        let body = json!({"repository": self.project.path(), "force": true});
        let (status, build) = self.ask(Method::POST, "/builds/", Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{build}");
        build["name"].as_str().unwrap().to_owned()
    }

    async fn end_of_build(&self, name: &str) -> Value {
        let path = format!("/builds/{name}");
        let is_over = async || {
            let build = self.get(&path).await;
            (build["status"] != "running").then_some(build)
        };
        wait_for("the build is over", is_over).await
    }

    /// Builds the project; the name of its template.
    async fn builds(&self) -> String {
        let name = self.begins_build().await;
        let build = self.end_of_build(&name).await;
        assert_eq!(build["status"], "completed", "{build}");
        assert_eq!(self.get(&format!("/templates/{name}")).await["name"], *name);
        name
    }

    /// Asks for an instance; its id.
    async fn launches(&self, template: &str) -> String {
        let path = format!("/applications/{template}");
        let (status, launched) = self.ask(Method::POST, &path, None).await;
        assert_eq!(status, StatusCode::OK, "{launched}");
        launched["id"].as_str().unwrap().to_owned()
    }

    /// The instance as soon as its program answers through the master.
    async fn answers(&self, template: &str, key: &str) -> Running {
        let path = format!("/applications/{template}/{key}");
        let location = wait_for("the instance has a location", async || {
            let found = self.get(&path).await;
            assert_ne!(found["status"], "failed", "{found}");
            found["location"].as_str().map(str::to_owned)
        })
        .await;
        let process = wait_for("the instance answers", async || {
            let said = self.said(&location, "/a?b").await?;
            let mut words = said.split(' ');
            assert_eq!(words.next(), Some(key), "another instance answers");
            let process = words.next().unwrap().to_owned();
            assert_eq!(words.next(), Some("/a?b"));
            Some(process)
        })
        .await;
        let key = key.to_owned();
        Running {
            key,
            location,
            process,
        }
    }

    /// The address of the slave that has the instance.
    async fn slave_of(&self, key: &str) -> Option<String> {
        let client = self.farm.client();
        let instances = client.instances().await.unwrap();
        let instance = instances.into_iter().find(|one| one.key == key)?;
        let slaves = client.slaves().await.unwrap();
        let slave = slaves
            .into_iter()
            .find(|slave| Some(slave.id) == instance.slave_id)?;
        Some(slave.url)
    }

    /// What the program says, if it answers.
    async fn said(&self, location: &str, path: &str) -> Option<String> {
        let answer = self.http.get(format!("http://{location}{path}")).send();
        let answer = answer.await.ok()?;
        (answer.status() == StatusCode::OK).then_some(answer.text().await.ok()?)
    }

    async fn stops(&self, template: &str, key: &str) {
        let path = format!("/applications/{template}/{key}");
        let (status, body) = self.ask(Method::DELETE, &path, None).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }

    /// Waits until no process of these instances is there any more.
    async fn is_quiet<'k>(&self, keys: impl IntoIterator<Item = &'k str>) {
        for key in keys {
            let variable = format!("BINDER_ID={key}");
            wait_for("the processes of the instance have ended", async || {
                processes::with_text(&variable).is_empty().then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_repository_is_launched_and_reached_and_stopped() {
    let house = House::with_slaves(&[1]).await;
    let template = house.builds().await;
    let key = house.launches(&template).await;
    let running = house.answers(&template, &key).await;
    let url = format!("ws://{}/socket", running.location);
    let stream = TcpStream::connect(house.farm.master_address())
        .await
        .unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    let echo = socket.next().await.unwrap().unwrap();
    assert_eq!(echo.into_text().unwrap().as_str(), "hello");
    house.stops(&template, &key).await;
    house.is_quiet([&*key]).await;
    let path = format!("/applications/{template}/{key}");
    assert_eq!(house.get(&path).await["status"], "deleted");
    assert_eq!(house.said(&running.location, "/").await, None);
}

#[tokio::test]
async fn instances_outlive_a_master_a_slave_and_its_machine() {
    let mut house = House::with_slaves(&[1, 1, 1]).await;
    let template = house.builds().await;
    let mut all = Vec::new();
    for _ in 0..5 {
        let key = house.launches(&template).await;
        all.push(house.answers(&template, &key).await);
    }
    let processes: BTreeSet<&str> = all.iter().map(|one| one.process.as_str()).collect();
    assert_eq!(processes.len(), 5, "each has a process of its own");

    // The master: nothing is started again.
    house.farm.kill_master();
    house.farm.start_master().await;
    house.farm.wait_for_slaves(3).await;
    for before in &all {
        assert_eq!(house.answers(&template, &before.key).await, *before);
    }

    // A slave's process: what it ran is adopted.
    house.farm.kill_slave(0);
    house.farm.restart_slave(0, 1);
    house.farm.wait_for_slaves(3).await;
    for before in &all {
        assert_eq!(house.answers(&template, &before.key).await, *before);
    }

    // A slave that does not come back: its instances start elsewhere, the others go on.
    house.farm.kill_slave(1);
    let mut moved = 0;
    for before in &all {
        let address = before.location.clone();
        let now = measure("an instance answers from a living slave", async || {
            // Asked first: what still runs on the lost slave answers until the master knows of the loss.
            let slave = house.slave_of(&before.key).await?;
            if slave == house.farm.slave_address(1) {
                return None;
            }
            Some(house.answers(&template, &before.key).await)
        })
        .await;
        assert_eq!(now.location, address, "the location stays");
        moved += usize::from(now.process != before.process);
    }
    assert!((1..=4).contains(&moved), "{moved} instances have moved");

    for one in &all {
        house.stops(&template, &one.key).await;
    }
    house.is_quiet(all.iter().map(|one| &*one.key)).await;
}

#[tokio::test]
async fn twenty_deaths_lose_no_template_and_no_instance() {
    let mut house = House::with_slaves(&[1, 1]).await;
    let mut dice = Dice::from_environment();
    let template = house.builds().await;
    let mut keys = Vec::new();
    let mut builds = 0;
    for death in 0..20 {
        let name = house.begins_build().await;
        assert_eq!(name, template, "one name for one repository");
        builds += 1;
        keys.push(house.launches(&template).await);
        let pause = std::time::Duration::from_millis(dice.below(700));
        tokio::time::sleep(pause).await;
        match dice.below(3) {
            0 => {
                house.farm.kill_master();
                house.farm.start_master().await;
            }
            slave => {
                let slave = usize::try_from(slave - 1).unwrap();
                house.farm.kill_slave(slave);
                house.farm.restart_slave(slave, 1);
            }
        }
        house.farm.wait_for_slaves(2).await;
        if death % 5 == 4 {
            let build = house.end_of_build(&template).await;
            assert_eq!(build["status"], "completed", "{build}");
            for key in keys.drain(..) {
                house.answers(&template, &key).await;
                house.stops(&template, &key).await;
            }
        }
    }
    let listed = house.get("/templates/").await;
    assert_eq!(
        listed.as_array().unwrap().len(),
        1,
        "{builds} builds, one template: {listed}"
    );
    let all = house.get(&format!("/applications/{template}")).await;
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 20);
    assert!(all.iter().all(|one| one["status"] == "deleted"), "{all:?}");
    house
        .is_quiet(all.iter().filter_map(|one| one["id"].as_str()))
        .await;
}

/// A slave tells each instance that it is there, however much that prints: one that hears nothing ends itself.
#[tokio::test]
async fn an_instance_that_prints_all_the_time_is_not_left_alone() {
    let house = House::with_slaves(&[1]).await;
    let web = "web: (i=0; while sleep 0.1; do i=$((i+1)); echo \"tick $i\"; done) & exec python3 web.py\n";
    house.project.commit(&[("Procfile", web)]);
    let template = house.builds().await;
    let key = house.launches(&template).await;
    let running = house.answers(&template, &key).await;
    let client = house.farm.client();
    let id = client.instances().await.unwrap()[0].id;
    // More than ten seconds, with an `instance_alone_for` of five.
    wait_for("the hundredth tick of one process", async || {
        let log = client.instance_log(id, 0, 0).await.unwrap();
        log.content.contains("tick 100\n").then_some(())
    })
    .await;
    assert_eq!(house.answers(&template, &key).await, running);
    house.stops(&template, &key).await;
    house.is_quiet([&*key]).await;
}

#[tokio::test]
async fn all_slaves_fetch_what_is_preloaded() {
    let house = House::with_slaves(&[1, 1, 1]).await;
    let template = house.builds().await;
    let path = format!("/preload/{template}");
    let (status, begun) = house.ask(Method::POST, &path, None).await;
    assert_eq!(
        (status, &begun["template"]),
        (StatusCode::OK, &json!(template))
    );
    wait_for("all slaves have the template", async || {
        let preload = house.get(&path).await;
        (preload["status"] == "completed").then_some(())
    })
    .await;
    let details = house.farm.client().template(&template).await.unwrap();
    let digest = details.template.unwrap().digest;
    let found = files_named(&house.farm.path(""), &format!("{digest}.whole"));
    assert_eq!(found.len(), 3, "{found:?}");
}

#[tokio::test]
async fn a_snapshot_that_is_damaged_on_the_master_is_made_anew() {
    let house = House::with_slaves(&[1]).await;
    let template = house.builds().await;
    let client = house.farm.client();
    let details = async || client.template(&template).await.unwrap().template.unwrap();
    let first = details().await;
    let files = files_named(&house.farm.path(""), &first.digest);
    let [file] = files.as_slice() else {
        panic!("{files:?}");
    };
    let mut content = fs::read(file).unwrap();
    content[100] ^= 1;
    fs::write(file, content).unwrap();
    let key = house.launches(&template).await;
    let instance = wait_for("the instance has failed", async || {
        let instances = client.instances().await.unwrap();
        let instance = instances.into_iter().find(|one| one.key == key)?;
        (instance.status == InstanceStatus::Failed).then_some(instance)
    })
    .await;
    let reason = instance.reason.unwrap();
    assert!(
        reason.contains("damaged on the master: build the template again"),
        "{reason}"
    );
    assert!(details().await.is_damaged);
    let body = json!({"repository": house.project.path()});
    let (status, build) = house.ask(Method::POST, "/builds/", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{build}");
    house.end_of_build(&template).await;
    let second = details().await;
    assert!(second.id != first.id && !second.is_damaged, "{second:?}");
    let key = house.launches(&template).await;
    house.answers(&template, &key).await;
}

/// All files of this name below a directory.
fn files_named(directory: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if entry.file_name() == name {
                found.push(entry.path());
            }
        }
    }
    found
}
