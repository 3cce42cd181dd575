//! Webhooks, as a receiver sees them.

use super::receiver::{Received, Receiver};
use crate::farm::{Extra, Farm};
use crate::repository::Repository;
use crate::wait::wait_for;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clusterrunner_common::api::BuildStatus;
use clusterrunner_common::ids::BuildId;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Stdio};

const JOB: &str = "Job:\n  commands: ['exit $N']\n  atomizers: [{N: seq 0 1}]\n";

/// A farm that tells this receiver.
fn farm(receiver: &Receiver, more: &str) -> Farm {
    // The last section of the settings, so that others may follow.
    let slave = format!("[notify hook]\nurl = {}/hook?a=b\n{more}\n", receiver.url());
    Farm::with(&Extra {
        slave: &slave,
        ..Extra::default()
    })
}

/// What a receiver has taken: the builds and events, in order.
fn taken(receiver: &Receiver) -> Vec<(u64, String)> {
    let received = receiver.received().into_iter();
    let taken = received.filter(|request| request.status == 200);
    taken.map(|request| told(&request)).collect()
}

fn told(request: &Received) -> (u64, String) {
    let body = request.json();
    let event = body["event"].as_str().unwrap().to_owned();
    (body["build"]["id"].as_u64().unwrap(), event)
}

async fn wait_until_told(receiver: &Receiver, build: BuildId, event: &str) {
    wait_for("the receiver is told", async || {
        let wanted = (build.0, event.to_owned());
        taken(receiver).contains(&wanted).then_some(())
    })
    .await;
}

/// What Python makes of a text with a key, as base64.
fn python_hmac(key: &str, text: &[u8]) -> String {
    let program = "import base64, hashlib, hmac, sys\n\
                   text = sys.stdin.buffer.read()\n\
                   made = hmac.new(sys.argv[1].encode(), text, hashlib.sha256).digest()\n\
                   print(base64.b64encode(made).decode())";
    let mut python = Command::new("python3")
        .args(["-c", program, key])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), text).unwrap();
    let output = python.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_receiver_is_told_in_order_and_can_check_who_tells_it() {
    const SECRET: &str = "the secret of this receiver";
    let receiver = Receiver::start().await;
    let repository = Repository::with_jobs(JOB);
    let mut farm = farm(&receiver, &format!("secret = {SECRET}\nevents = all"));
    farm.start_all(&[1]).await;
    // The receiver has trouble at first: the same is told again.
    receiver.answer(&[(500, "hush"), (503, "hush")]);
    let build = farm.submit(&repository.request()).await;
    farm.end_of(build).await;
    wait_until_told(&receiver, build, "finished").await;

    let all = [
        "queued",
        "preparing",
        "prepared",
        "building",
        "failing",
        "finished",
    ];
    let expected: Vec<(u64, String)> = all.map(|event| (build.0, event.to_owned())).into();
    assert_eq!(taken(&receiver), expected);
    let received = receiver.received();
    assert_eq!(received.len(), all.len() + 2);
    let first = received[0].header("webhook-id");
    assert!(
        received[..3]
            .iter()
            .all(|request| request.header("webhook-id") == first)
    );
    for request in &received {
        assert_eq!(
            (request.method.as_str(), &*request.path),
            ("POST", "/hook?a=b")
        );
        assert_eq!(request.header("content-type"), "application/json");
        assert!(request.header("user-agent").starts_with("clusterrunner/"));
        let (id, time) = (
            request.header("webhook-id"),
            request.header("webhook-timestamp"),
        );
        let content = [format!("{id}.{time}.").as_bytes(), &request.body].concat();
        let signature = format!("v1,{}", python_hmac(SECRET, &content));
        assert_eq!(request.header("webhook-signature"), signature);
        let of_body = STANDARD.decode(python_hmac(SECRET, &request.body)).unwrap();
        let of_body: String = of_body.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = format!("sha256={of_body}");
        assert_eq!(request.header("x-hub-signature-256"), expected);
        assert_eq!(request.header("x-clusterrunner-event"), told(request).1);
    }
    // The build as the API shows it.
    let last = received.last().unwrap().json();
    let page = format!(":{}/ui/builds/{build}", farm.port());
    assert!(last["url"].as_str().unwrap().ends_with(&page), "{last}");
    assert_eq!(last["build"]["result"], "FAILURE");
    assert_eq!(last["build"]["num_atoms_failed"], 1);
    assert_eq!(last["commit"], repository.git(&["rev-parse", "HEAD"]));
    assert!(!farm.output("master").contains(SECRET));

    wait_for("the metrics say so", async || {
        let metrics = reqwest::get(format!("http://{}/metrics", farm.master_address()));
        let metrics = metrics.await.unwrap().text().await.unwrap();
        let expected = [
            "notifications_total{receiver=\"hook\",outcome=\"sent\"} 6\n",
            "notifications_total{receiver=\"hook\",outcome=\"failed\"} 2\n",
            "notifications_waiting{receiver=\"hook\"} 0\n",
        ];
        let is_said = expected.iter().all(|line| metrics.contains(line));
        is_said.then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_build_is_told_though_master_and_receiver_die() {
    let receiver = Receiver::start().await;
    let repository = Repository::with_jobs(JOB);
    let mut farm = farm(&receiver, "");
    farm.start_all(&[1]).await;
    let first = farm.run(&repository.request()).await.id;
    wait_until_told(&receiver, first, "finished").await;

    // The receiver is away, and the master dies when it has tried.
    receiver.answer(&[(503, ""); 1000]);
    let second = farm.submit(&repository.request()).await;
    farm.end_of(second).await;
    wait_for("the master has tried", async || {
        let received = receiver.received();
        let tried = received.iter().find(|request| request.status == 503)?;
        (told(tried) == (second.0, "building".to_owned())).then_some(())
    })
    .await;
    farm.kill_master();
    receiver.back();
    let before = receiver.received();
    farm.start_master().await;
    wait_until_told(&receiver, second, "finished").await;
    let third = farm.run(&repository.request()).await.id;
    wait_until_told(&receiver, third, "finished").await;

    // In order, and for a receiver that remembers ids each once, also what was under way when the master died.
    let mut ids = BTreeSet::new();
    let received = receiver.received().into_iter();
    let taken = received.filter(|request| request.status == 200);
    let once = taken.filter(|request| ids.insert(request.header("webhook-id").to_owned()));
    let once: Vec<(u64, String)> = once.map(|request| told(&request)).collect();
    let expected = [first, second, third]
        .map(|build| ["building", "finished"].map(|event| (build.0, event.to_owned())));
    assert_eq!(once, expected.concat());
    let again = receiver.received()[before.len()].clone();
    let tried = before.iter().find(|request| request.status == 503).unwrap();
    assert_eq!(told(&again), told(tried));
    assert_eq!(again.header("webhook-id"), tried.header("webhook-id"));
}

#[tokio::test]
async fn a_new_receiver_is_told_nothing_of_the_past() {
    let receiver = Receiver::start().await;
    let repository = Repository::with_jobs(JOB);
    let mut farm = Farm::start(&[1]).await;
    farm.run(&repository.request()).await;
    farm.wait_for_rest().await;
    farm.stop_master();
    farm.add_settings(&format!("[notify hook]\nurl = {}/\n", receiver.url()));
    farm.start_master().await;
    farm.wait_for_slaves(1).await;
    let build = farm.run(&repository.request()).await.id;
    wait_until_told(&receiver, build, "finished").await;
    let builds: Vec<u64> = taken(&receiver).iter().map(|(build, _)| *build).collect();
    assert_eq!(builds, [build.0, build.0]);
}

#[tokio::test]
async fn a_receiver_that_hangs_keeps_up_nobody_else() {
    let (slow, fast) = (
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(),
        Receiver::start().await,
    );
    let repository = Repository::with_jobs(JOB);
    let slow_url = format!("http://{}/", slow.local_addr().unwrap());
    // It takes connections and never answers.
    let mut farm = farm(&fast, &format!("[notify slow]\nurl = {slow_url}"));
    farm.start_all(&[1]).await;
    for _ in 0..3 {
        let build = farm.run(&repository.request()).await.id;
        wait_until_told(&fast, build, "finished").await;
    }
    // The master ends all the same.
    assert!(farm.stop_master().success());
    let body = Value::from(farm.output("master"));
    assert!(!body.to_string().contains("panicked"), "{body}");
}

#[tokio::test]
async fn only_builds_of_wanted_projects_are_told() {
    let receiver = Receiver::start().await;
    let [wanted, other] = [(); 2].map(|()| Repository::with_jobs(JOB));
    let pattern = format!(
        "projects = '{}', github.com/acme/*",
        wanted.path().display()
    );
    let mut farm = farm(&receiver, &pattern);
    farm.start_all(&[1]).await;
    farm.run(&other.request()).await;
    let build = farm.run(&wanted.request()).await.id;
    wait_until_told(&receiver, build, "finished").await;
    assert!(taken(&receiver).iter().all(|(told, _)| *told == build.0));
}

#[tokio::test]
async fn receivers_can_be_tried() {
    let (hook, forge) = (Receiver::start().await, Receiver::start().await);
    let more = format!(
        "secret = the secret of this receiver\n[notify forge]\nkind = github\napi_url = {}/v3\n\
         token = the token of this test",
        forge.url()
    );
    let farm = farm(&hook, &more);
    let run = async |arguments: &[&str], code: i32| {
        let mut command = farm.command();
        command.args(["notify", "test"]).args(arguments);
        // The receivers answer on this thread.
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.unwrap().unwrap();
        let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert_eq!(output.status.code(), Some(code), "{texts:?}");
        texts.concat()
    };
    let text = run(&[], 0).await;
    assert_eq!(text, "hook: ok (status 200)\nforge: ok (status 200)\n");
    let [ping] = &hook.received()[..] else {
        panic!("{:?}", hook.received());
    };
    assert_eq!(ping.json()["event"], "ping");
    assert!(ping.header("webhook-signature").starts_with("v1,"));
    let [question] = &forge.received()[..] else {
        panic!("{:?}", forge.received());
    };
    assert_eq!(
        (question.method.as_str(), &*question.path),
        ("GET", "/v3/user")
    );
    assert_eq!(
        question.header("authorization"),
        "Bearer the token of this test"
    );

    // An answer that repeats the token does not show it.
    forge.answer(&[(401, "bad credentials: the token of this test")]);
    let text = run(&["forge"], 5).await;
    assert_eq!(
        text,
        "forge: error: it answered 401 Unauthorized: bad credentials: ***\n"
    );
    let text = run(&["none"], 2).await;
    assert!(
        text.contains("has no section [notify none]") && text.contains("hook, forge"),
        "{text}"
    );
}

#[tokio::test]
async fn a_master_that_is_killed_again_and_again_loses_no_notice() {
    const ROUNDS: usize = 6;
    let receiver = Receiver::start().await;
    let repository = Repository::with_jobs(JOB);
    let mut farm = farm(&receiver, "events = all");
    farm.start_all(&[2]).await;
    let mut builds = Vec::new();
    for round in 0..ROUNDS {
        // At another point of the builds each time, by what the receiver has heard: of three builds it hears 18 times.
        let heard = receiver.received().len() + 2 * round;
        for _ in 0..3 {
            builds.push(farm.submit(&repository.request()).await);
        }
        wait_for("the receiver has heard more", async || {
            (receiver.received().len() >= heard).then_some(())
        })
        .await;
        farm.kill_master();
        farm.start_master().await;
        farm.wait_for_slaves(1).await;
    }
    // A build that two masters died of while they prepared it is given up.
    let mut given_up = BTreeSet::new();
    for build in &builds {
        let is_given_up = farm.end_of(*build).await.status == BuildStatus::Error;
        let end = if is_given_up { "error" } else { "finished" };
        wait_until_told(&receiver, *build, end).await;
        given_up.extend(is_given_up.then_some(*build));
    }
    // As a receiver that remembers ids takes them.
    let mut ids = BTreeSet::new();
    let received = receiver.received().into_iter();
    let once = received.filter(|request| ids.insert(request.header("webhook-id").to_owned()));
    let once: Vec<(u64, String)> = once.map(|request| told(&request)).collect();
    for build in &builds {
        let of_build = once.iter().filter(|(id, _)| *id == build.0);
        let events: Vec<&str> = of_build.map(|(_, event)| event.as_str()).collect();
        if given_up.contains(build) {
            assert_eq!(events, ["queued", "preparing", "error"], "build {build}");
            continue;
        }
        let all = [
            "queued",
            "preparing",
            "prepared",
            "building",
            "failing",
            "finished",
        ];
        assert_eq!(events, all, "build {build}");
    }
}
