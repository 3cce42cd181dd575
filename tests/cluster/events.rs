//! Events of a build as a browser reads them, over a restart of the master.

use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use clusterrunner_common::ids::BuildId;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;
use tokio::time::timeout;

/// How long the next event may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The columns of a row that matter here.
const SUBJOB: usize = 0;
const STATE: usize = 4;

/// Who follows a build, and what it knows by then.
struct Follower {
    build: BuildId,
    url: String,
    stream: reqwest::Response,
    text: String,
    last: Option<String>,
    /// The state of each atom.
    known: BTreeMap<u64, String>,
    /// The statuses of the build, as they changed.
    statuses: Vec<String>,
}

impl Follower {
    async fn of(farm: &Farm, build: BuildId) -> Self {
        let url = format!("http://{}/v2/builds/{build}/events", farm.master_address());
        Self {
            build,
            stream: open(&url, None).await,
            url,
            text: String::new(),
            last: None,
            known: BTreeMap::new(),
            statuses: Vec::new(),
        }
    }

    /// Comes back as browsers do.
    async fn again(&mut self) {
        self.text.clear();
        self.stream = open(&self.url, self.last.as_deref()).await;
    }

    /// The next event with its data; none when the stream has ended.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            let Some((block, rest)) = self.text.split_once("\n\n") else {
                let chunk = timeout(PATIENCE, self.stream.chunk()).await;
                let chunk = chunk.expect("an event should have come").ok().flatten()?;
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
                continue;
            };
            let field = |name: &str| {
                let mut lines = block.lines();
                lines
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::to_owned)
            };
            let (name, data, id) = (field("event: "), field("data: "), field("id: "));
            self.text = rest.to_owned();
            if let (Some(name), Some(data)) = (name, data) {
                self.last = id;
                return Some((name, serde_json::from_str(&data).unwrap()));
            }
        }
    }

    /// Takes events in until `is_enough`, and no row twice that says that its atom has ended.
    async fn follow(&mut self, farm: &Farm, is_enough: impl Fn(&Self, &str) -> bool) {
        while let Some((name, data)) = self.next().await {
            match name.as_str() {
                "atoms" => data["rows"].as_array().unwrap().iter().for_each(|row| {
                    let (subjob, state) = of_row(row);
                    let before = self.known.insert(subjob, state.clone());
                    let is_twice = state == "COMPLETED" && before.as_ref() == Some(&state);
                    assert!(!is_twice, "atom {subjob} has ended twice");
                }),
                "build" => {
                    let status = data["build"]["status"].as_str().unwrap().to_owned();
                    if self.statuses.last() != Some(&status) {
                        self.statuses.push(status);
                    }
                }
                "reload" => self.known = self.read(farm).await,
                "begin" | "end" => {}
                other => panic!("nothing tells of {other}"),
            }
            if is_enough(self, &name) {
                return;
            }
        }
        panic!("the stream has ended: {:?}", self.known);
    }

    /// The atoms as the master lists them.
    async fn read(&self, farm: &Farm) -> BTreeMap<u64, String> {
        let path = format!("/v2/builds/{}/atoms", self.build);
        let page: Value = farm.client().read(&path).await.unwrap();
        page["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(of_row)
            .collect()
    }

    fn ended(&self) -> usize {
        let ended = self.known.values();
        ended.filter(|state| *state == "COMPLETED").count()
    }
}

async fn open(url: &str, last: Option<&str>) -> reqwest::Response {
    let mut request = reqwest::Client::new().get(url);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

fn of_row(row: &Value) -> (u64, String) {
    let state = row[STATE].as_str().unwrap();
    (row[SUBJOB].as_u64().unwrap(), state.to_owned())
}

#[tokio::test]
async fn a_build_is_followed_to_its_end_over_a_restart_of_the_master() {
    let repository = Repository::empty();
    let (first, go) = (repository.outside("first"), repository.outside("go"));
    // One atom ends by itself, the others wait.
    let waits = format!(
        "mkdir '{}' 2> /dev/null || until test -e '{}'; do sleep 0.02; done",
        first.display(),
        go.display()
    );
    let job = job(waits).atoms(3).to_string();
    repository.commit(&[("clusterrunner.yaml", &job)]);
    let mut farm = Farm::start(&[1]).await;
    let url = repository.path().to_str().unwrap();
    let build = farm.submit(&json!({"type": "git", "url": url})).await;
    let mut follower = Follower::of(&farm, build).await;
    follower
        .follow(&farm, |follower, _| {
            let states = follower.known.values();
            let runs = states.filter(|state| *state == "IN_PROGRESS").count();
            (follower.ended(), runs) == (1, 1)
        })
        .await;
    farm.kill_master();
    farm.start_master().await;
    follower.again().await;
    fs::write(&go, "").unwrap();
    follower.follow(&farm, |_, name| name == "end").await;
    assert_eq!(
        follower.known,
        follower.read(&farm).await,
        "nothing is missing"
    );
    assert_eq!(follower.ended(), 3);
    let statuses = follower.statuses.iter().map(String::as_str);
    let statuses: Vec<&str> = statuses.skip_while(|status| *status == "QUEUED").collect();
    assert_eq!(statuses, ["BUILDING", "FINISHED"]);
    assert!(follower.next().await.is_none(), "the stream ends");
}
