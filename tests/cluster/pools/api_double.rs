//! A cluster of Kubernetes that is none: an API server of the wire's form, whose pods are processes of this machine.

use crate::https::certificate;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const PROGRAM: &str = include_str!("api_double.py");

/// The cluster. Its pods end with it.
pub(crate) struct ApiDouble {
    directory: TempDir,
    authority: PathBuf,
    port: u16,
    own_port: u16,
    running: Child,
}

impl ApiDouble {
    /// One whose pods have this address.
    pub(crate) fn start(address: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        let (authority, key) = certificate(place, "api", "127.0.0.1");
        let token = place.join("token");
        fs::write(&token, "first-token\n").unwrap();
        let mut running = Command::new("python3")
            .args(["-c", PROGRAM])
            .args([&authority, &key, &token])
            .args([Path::new(address), place])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ports = String::new();
        let mut output = BufReader::new(running.stdout.take().unwrap());
        output.read_line(&mut ports).unwrap();
        let mut ports = ports.split_whitespace().map(|port| port.parse().unwrap());
        Self {
            authority,
            port: ports.next().unwrap(),
            own_port: ports.next().unwrap(),
            running,
            directory,
        }
    }

    /// How a pool reaches it.
    pub(crate) fn settings(&self) -> String {
        format!(
            "api_server = https://127.0.0.1:{}\ntoken_file = {}\nca_file = {}\nnamespace = farm\n",
            self.port,
            self.directory.path().join("token").display(),
            self.authority.display()
        )
    }

    /// Takes another token from now on.
    pub(crate) fn change_token(&self) {
        fs::write(self.directory.path().join("token"), "another-token\n").unwrap();
    }

    /// The address of its API, and the file of its token.
    pub(crate) fn api(&self) -> (String, PathBuf) {
        let url = format!("https://127.0.0.1:{}", self.port);
        (url, self.directory.path().join("token"))
    }

    async fn post(&self, path: &str, body: &Value) {
        let url = format!("http://127.0.0.1:{}{path}", self.own_port);
        clusterrunner_common::http::install_crypto();
        let client = reqwest::Client::new();
        let answer = client.post(url).body(body.to_string()).send().await;
        assert!(answer.unwrap().status().is_success());
    }

    /// Goes wrong in this way from now on.
    pub(crate) async fn fault(&self, name: &str, value: impl Into<Value>) {
        let value: Value = value.into();
        self.post("/faults", &json!({ name: value })).await;
    }

    /// Ends all pods for lack of memory.
    pub(crate) async fn evict(&self) {
        self.post("/evict", &json!({})).await;
    }

    async fn shown(&self) -> Value {
        let url = format!("http://127.0.0.1:{}/", self.own_port);
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    async fn texts(&self, name: &str) -> Vec<String> {
        let shown = self.shown().await;
        let all = shown[name].as_array().unwrap().iter();
        all.map(|one| one.as_str().unwrap().to_owned()).collect()
    }

    /// The jobs that are not over.
    pub(crate) async fn jobs(&self) -> Vec<String> {
        self.texts("jobs").await
    }

    /// The secrets that are there.
    pub(crate) async fn secrets(&self) -> Vec<String> {
        self.texts("secrets").await
    }

    /// What was asked for: verbs and resources.
    pub(crate) async fn asked(&self) -> Vec<String> {
        self.texts("asked").await
    }

    /// What was made, as it was sent.
    pub(crate) async fn bodies(&self) -> Vec<Value> {
        let shown = self.shown().await;
        shown["bodies"].as_array().unwrap().clone()
    }

    /// How many pods ran.
    pub(crate) async fn started(&self) -> u64 {
        self.shown().await["started"].as_u64().unwrap()
    }
}

impl Drop for ApiDouble {
    fn drop(&mut self) {
        // It ends its pods once nobody writes to it any more.
        drop(self.running.stdin.take());
        self.running.wait().ok();
    }
}
