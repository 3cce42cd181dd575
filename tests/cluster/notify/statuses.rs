//! Statuses of commits, on doubles of GitHub, GitLab and Gitea.

use super::receiver::{Received, Receiver};
use crate::farm::{Extra, Farm};
use crate::ports::free_ports;
use crate::repository::Repository;
use crate::wait::{PATIENCE, is_true_within, wait_for};
use clusterrunner_common::ids::BuildId;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const TOKEN: &str = "the token of this test";
const JOB: &str = "Unit:\n  commands: ['exit $N']\n  atomizers: [{N: echo 0}]\n";

/// git's own server, for the repositories in a directory.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn of(directory: &Path, address: &str) -> Self {
        let port = free_ports(address, 1);
        let child = Command::new("git")
            .args([
                "daemon",
                "--reuseaddr",
                "--export-all",
                "--informative-errors",
            ])
            .arg(format!("--listen={address}"))
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", directory.display()))
            .arg(directory)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let address = format!("{address}:{port}");
        let server = Self { child, address };
        assert!(is_true_within(PATIENCE, || TcpStream::connect(
            &server.address
        )
        .is_ok()));
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process that listens is a child of git's.
        let group = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        self.child.wait().ok();
    }
}

/// A farm that tells this double of a server.
fn farm(kind: &str, receiver: &Receiver, more: &str) -> Farm {
    let url = receiver.url();
    let slave =
        format!("[notify forge]\nkind = {kind}\napi_url = {url}/api\ntoken = {TOKEN}\n{more}\n");
    Farm::with(&Extra {
        slave: &slave,
        ..Extra::default()
    })
}

fn state(received: &Received) -> String {
    received.json()["state"].as_str().unwrap().to_owned()
}

async fn wait_for_state(receiver: &Receiver, wanted: &str) -> Vec<Received> {
    wait_for(&format!("the state is {wanted}"), async || {
        let received = receiver.received();
        let is_there = received
            .iter()
            .any(|one| one.status < 300 && state(one) == wanted);
        is_there.then_some(received)
    })
    .await
}

/// A build of this repository through git's server.
async fn submit(farm: &Farm, server: &Server, repository: &Repository) -> BuildId {
    let name = repository.path().file_name().unwrap().to_str().unwrap();
    let url = format!("git://{}/acme/{name}", server.address);
    farm.submit(&json!({"type": "git", "url": url, "branch": "main"}))
        .await
}

/// A repository below `acme`, as servers have them.
struct Hosted {
    repository: Repository,
    above: tempfile::TempDir,
}

impl Hosted {
    fn new(job: &str) -> Self {
        let repository = Repository::with_jobs(job);
        let above = tempfile::tempdir().unwrap();
        let acme = above.path().join("acme");
        std::fs::create_dir(&acme).unwrap();
        let name = repository.path().file_name().unwrap();
        std::os::unix::fs::symlink(repository.path(), acme.join(name)).unwrap();
        Self { repository, above }
    }

    fn name(&self) -> &str {
        self.repository
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
    }

    fn commit(&self) -> String {
        self.repository.git(&["rev-parse", "HEAD"])
    }
}

#[tokio::test]
async fn each_kind_of_server_shows_how_a_build_goes() {
    for (kind, header, token, path) in [
        (
            "github",
            "authorization",
            format!("Bearer {TOKEN}"),
            "repos/acme/",
        ),
        (
            "gitea",
            "authorization",
            format!("token {TOKEN}"),
            "repos/acme/",
        ),
        (
            "gitlab",
            "private-token",
            TOKEN.to_owned(),
            "projects/acme%2F",
        ),
    ] {
        let receiver = Receiver::start().await;
        let hosted = Hosted::new(JOB);
        let mut farm = farm(kind, &receiver, "");
        let server = Server::of(hosted.above.path(), "127.0.0.1");
        farm.start_all(&[1]).await;
        let build = submit(&farm, &server, &hosted.repository).await;
        let over = farm.end_of(build).await;
        assert_eq!(over.num_atoms_failed, 0, "{over:?}");
        let received = wait_for_state(&receiver, "success").await;
        // As many as the receiver was quick enough to be told of.
        let (_, before) = received.split_last().unwrap();
        let is_before = |one: &Received| matches!(&*state(one), "pending" | "running");
        assert!(before.iter().all(is_before), "{received:?}");
        let name = hosted.name();
        let path = format!("/api/{path}{name}/statuses/{}", hosted.commit());
        for one in &received {
            assert_eq!((one.method.as_str(), &*one.path), ("POST", &*path));
            assert_eq!(one.header(header), token);
            let context = match kind {
                "gitlab" => "name",
                _ => "context",
            };
            assert_eq!(one.json()[context], "clusterrunner/Unit");
            let page = format!(":{}/ui/builds/{build}", farm.port());
            assert!(one.json()["target_url"].as_str().unwrap().ends_with(&page));
        }
        assert!(!farm.output("master").contains(TOKEN));
    }
}

#[tokio::test]
async fn an_end_is_never_followed_by_what_was_before() {
    let receiver = Receiver::start().await;
    let hosted = Hosted::new(JOB);
    let mut farm = farm("github", &receiver, "");
    let server = Server::of(hosted.above.path(), "127.0.0.1");
    farm.start_all(&[1]).await;
    // The server is away until the build is over, and the master dies meanwhile.
    receiver.answer(&[(502, ""); 1000]);
    let build = submit(&farm, &server, &hosted.repository).await;
    farm.end_of(build).await;
    wait_for("the master has tried", async || {
        (!receiver.received().is_empty()).then_some(())
    })
    .await;
    farm.kill_master();
    receiver.back();
    farm.start_master().await;
    wait_for_state(&receiver, "success").await;
    let received = receiver.received().into_iter();
    let taken = received.filter(|one| one.status == 200);
    let taken: Vec<String> = taken.map(|one| state(&one)).collect();
    // What was under way when the master died may have been taken, too.
    assert!(
        taken.is_sorted() && taken.last().unwrap() == "success",
        "{taken:?}"
    );
}

#[tokio::test]
async fn a_token_is_not_sent_for_repositories_of_other_hosts() {
    let receiver = Receiver::start().await;
    let hosted = Hosted::new(JOB);
    // The repository is on 127.0.0.2, the server of statuses on 127.0.0.1.
    let mut farm = farm("github", &receiver, "");
    let other = Server::of(hosted.above.path(), "127.0.0.2");
    let own = Server::of(hosted.above.path(), "127.0.0.1");
    farm.start_all(&[1]).await;
    let elsewhere = submit(&farm, &other, &hosted.repository).await;
    farm.end_of(elsewhere).await;
    let build = submit(&farm, &own, &hosted.repository).await;
    farm.end_of(build).await;
    let received = wait_for_state(&receiver, "success").await;
    let page = format!("/ui/builds/{build}");
    let is_of_build = |one: &Received| {
        let body: Value = one.json();
        body["target_url"].as_str().unwrap().ends_with(&page)
    };
    assert!(received.iter().all(is_of_build), "{received:?}");
}

/// Two builds of one commit have one status. The older one ends last, in another life of the master, and must not take the
/// status from the newer one.
#[tokio::test]
async fn the_newer_build_of_a_commit_keeps_its_status_over_a_restart() {
    let receiver = Receiver::start().await;
    let gate = tempfile::tempdir().unwrap();
    let open = gate.path().join("open");
    let command = format!(
        r#"[ "$CLUSTERRUNNER_BUILD_ID" != 1 ] || until [ -e '{}' ]; do sleep 0.05; done"#,
        open.display()
    );
    let hosted = Hosted::new(
        &json!({"Unit": {"commands": [command], "atomizers": [{"N": "echo 0"}]}}).to_string(),
    );
    let mut farm = farm("github", &receiver, "");
    let server = Server::of(hosted.above.path(), "127.0.0.1");
    farm.start_all(&[2]).await;
    let older = submit(&farm, &server, &hosted.repository).await;
    wait_for_state(&receiver, "pending").await;
    let newer = submit(&farm, &server, &hosted.repository).await;
    farm.end_of(newer).await;
    wait_for_state(&receiver, "success").await;
    farm.kill_master();
    farm.start_master().await;
    std::fs::write(open, "").unwrap();
    farm.end_of(older).await.passes();
    wait_for("the end of the older build was settled", async || {
        let metrics = reqwest::get(format!("http://{}/metrics", farm.master_address()));
        let metrics = metrics.await.unwrap().text().await.unwrap();
        let skipped = "notifications_total{receiver=\"forge\",outcome=\"skipped\"} 1\n";
        metrics.contains(skipped).then_some(())
    })
    .await;
    let received = receiver.received();
    let last = received.last().unwrap().json();
    let target = last["target_url"].as_str().unwrap();
    assert!(target.ends_with(&format!("/ui/builds/{newer}")), "{last}");
    assert_eq!(last["state"], "success");
}
