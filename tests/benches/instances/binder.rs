//! A farm that is asked through Binder's API.

use crate::farm::{Extra, Farm};
use crate::processes;
use crate::repository::Repository;
use crate::served::PROGRAM;
use crate::wait::wait_for;
use clusterrunner_common::api::launching::InstanceStatus;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

const KEY: &str = "the key of Binder";

/// Pause between two looks for an answer.
const LOOK: Duration = Duration::from_millis(1);

/// A master, a slave, and the project that is launched.
pub(crate) struct Binder {
    pub(crate) farm: Farm,
    project: Repository,
    http: reqwest::Client,
}

impl Binder {
    /// With places for so many instances.
    pub(crate) async fn start(places: usize) -> Self {
        let general = "allow_local_sources = True\n";
        let master = format!("binder_api_key = '{KEY}'\nslave_lost_after = 15\n");
        let slave = format!("max_instances = {places}\n");
        let mut farm = Farm::with(&Extra {
            general,
            master: &master,
            slave: &slave,
        });
        farm.start_all(&[1]).await;
        let project = Repository::empty();
        let program = std::env::current_exe().unwrap();
        let procfile = format!("web: exec '{}' {PROGRAM}\n", program.display());
        project.commit(&[("Procfile", &procfile)]);
        Self {
            farm,
            project,
            http: reqwest::Client::new(),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let url = format!("http://{}{path}", self.farm.master_address());
        let mut request = self.http.request(method, url).header("Authorization", KEY);
        if let Some(body) = body {
            let json = "application/json";
            request = request.header("Content-Type", json).body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Builds the project; the name of its template.
    pub(crate) async fn builds(&self) -> String {
        let body = json!({"repository": self.project.path()});
        let build = self.ask(Method::POST, "/builds/", Some(body)).await;
        let name = build["name"].as_str().unwrap().to_owned();
        let path = format!("/builds/{name}");
        let build = wait_for("the build is over", async || {
            let build = self.ask(Method::GET, &path, None).await;
            (build["status"] != "running").then_some(build)
        })
        .await;
        assert_eq!(build["status"], "completed", "{build}");
        name
    }

    /// Asks for an instance; its id.
    pub(crate) async fn launches(&self, template: &str) -> String {
        let path = format!("/applications/{template}");
        let launched = self.ask(Method::POST, &path, None).await;
        launched["id"].as_str().unwrap().to_owned()
    }

    /// Waits until the instance answers through the master.
    pub(crate) async fn answers(&self, key: &str) {
        let url = format!("http://{}/user/{key}/", self.farm.master_address());
        while self.http.get(&url).send().await.unwrap().status() != StatusCode::OK {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How many instances are up.
    pub(crate) async fn number_of_up(&self) -> usize {
        let instances = self.farm.client().instances().await.unwrap();
        let up = instances
            .iter()
            .filter(|one| one.status == InstanceStatus::Up);
        up.count()
    }

    /// `host:port` of the program of an instance, and its process.
    pub(crate) fn direct(&self, key: &str) -> (String, u32) {
        let found = processes::with_text(&format!("BINDER_ID={key}"));
        let mut ports = found.iter().filter_map(|process| {
            let variables = fs::read(format!("/proc/{}/environ", process.id)).ok()?;
            let mut variables = variables.split(|byte| *byte == 0);
            let port = variables.find_map(|one| one.strip_prefix(b"PORT="))?;
            let port = String::from_utf8(port.to_vec()).ok()?;
            Some((port, process.id))
        });
        let (port, process) = ports.next_back().expect("the program runs");
        (format!("{}:{port}", self.farm.address()), process)
    }

    pub(crate) async fn stops(&self, template: &str, key: &str) {
        let path = format!("/applications/{template}/{key}");
        self.ask(Method::DELETE, &path, None).await;
    }
}
