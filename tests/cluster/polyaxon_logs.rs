//! Logs of builds, as the clients of Polyaxon read and follow them.

use crate::farm::Farm;
use crate::job::job;
use crate::polyaxon::Polyaxon;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::ids::BuildId;
use serde_json::json;
use std::fmt::Display;
use std::fs;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

fn until_there(file: &impl Display) -> String {
    format!("until [ -e '{file}' ]; do sleep 0.02; done")
}

/// The place of a build that was started through ClusterRunner's API.
fn place(repository: &Repository, build: BuildId) -> String {
    let project = repository.path().file_name().unwrap();
    format!("clusterrunner/{}/builds/{build}", project.to_str().unwrap())
}

/// Which statuses come before a build runs, from the first that was seen on.
fn check_statuses(seen: &[String]) {
    let all = ["created", "scheduled", "building", "running"];
    assert!(
        !seen.is_empty() && all.ends_with(&Vec::from_iter(seen.iter().map(String::as_str))),
        "{seen:?}"
    );
}

async fn follows(user: &Polyaxon, path: String, go: &std::path::Path) {
    let mut socket = user.socket(&path).await;
    let mut statuses = Vec::new();
    assert_eq!(socket.lines(&mut statuses).await, ["one"]);
    check_statuses(&statuses);
    fs::write(go, "").unwrap();
    let (lines, end, code) = socket.rest().await;
    assert_eq!((lines, code), (vec!["two".to_owned()], CloseCode::Normal));
    assert_eq!(end, ["succeeded"]);
}

#[tokio::test]
async fn the_first_line_is_seen_before_the_second_is_written() {
    let farm = Farm::start(&[1]).await;
    let user = farm.polyaxon_user("ann").await;
    let repository = Repository::empty();
    for way in ["ws/v1/{build}/logs/", "api/v1/{build}/logs/stream/"] {
        let go = repository.outside(&format!("go {}", way.len()));
        repository.commit_job(
            &job("echo one")
                .then(until_there(&go.display()))
                .then("echo two")
                .atoms(1),
        );
        let id = farm.submit(&repository.request()).await;
        let build = place(&repository, id);
        follows(&user, way.replace("{build}", &build), &go).await;
        assert_eq!(user.log(&build).await, "one\ntwo\n");
    }
}

#[tokio::test]
async fn the_log_so_far_has_whole_lines_of_all_atoms_in_order() {
    let repository = Repository::empty();
    let [first, rest] = ["first", "rest"].map(|name| repository.outside(name));
    let prints = format!(
        "echo begin $N; [ $N != 1 ] || {}; printf 'caf\\303\\251 \\377 %s' $N",
        until_there(&first.display())
    );
    let set_up = job(prints).atoms(3).setup("echo set-up");
    repository.commit_job(&set_up.teardown(until_there(&rest.display())));
    let farm = Farm::start(&[3]).await;
    let user = farm.polyaxon_user("ann").await;
    let id = farm.submit(&repository.request()).await;
    let build = place(&repository, id);
    let of = |number: u32| format!("begin {number}\ncaf\u{e9} \u{fffd} {number}\n");
    let others = of(2) + &of(3);
    wait_for("the log of two atoms that have ended", async || {
        let log = user.log(&build).await;
        (log == format!("set-up\nbegin 1\n{others}")).then_some(())
    })
    .await;
    let mut socket = user
        .socket_as_browsers_do(&format!("ws/v1/{build}/logs"))
        .await;
    let mut statuses = Vec::new();
    assert_eq!(socket.lines(&mut statuses).await, ["set-up"]);
    assert_eq!(socket.lines(&mut statuses).await, ["begin 1"]);
    assert_eq!(statuses, ["running"]);
    fs::write(&first, "").unwrap();
    let (lines, end, _) = socket.rest().await;
    assert_eq!(
        lines.join("\n") + "\n",
        (of(1) + &others)["begin 1\n".len()..]
    );
    assert_eq!(end, ["succeeded"]);
    fs::write(&rest, "").unwrap();
    farm.end_of(id).await.passes();
    farm.wait_for_rest().await;
    assert_eq!(user.log(&build).await, of(1) + &others);
    let socket = user.socket(&format!("api/v1/{build}/logs/stream")).await;
    let (lines, statuses, code) = socket.rest().await;
    assert_eq!(lines.join("\n") + "\n", of(1) + &others);
    assert_eq!(
        (statuses, code),
        (vec!["succeeded".to_owned()], CloseCode::Normal)
    );
}

#[tokio::test]
async fn a_large_log_comes_whole() {
    let farm = Farm::start(&[1]).await;
    let user = farm.polyaxon_user("ann").await;
    let repository = Repository::of(&job("seq 1 300000").atoms(1));
    let build = farm.run(&repository.request()).await.passes();
    let build = place(&repository, build.id);
    let all: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
    assert!(user.log(&build).await == all);
    let socket = user.socket(&format!("ws/v1/{build}/logs")).await;
    let (lines, _, _) = socket.rest().await;
    assert!(lines.join("\n") + "\n" == all);
}

#[tokio::test]
async fn a_build_that_is_stopped_is_followed_to_its_last_line() {
    let farm = Farm::start(&[1]).await;
    let user = farm.polyaxon_user("ann").await;
    let repository = Repository::of(&job("echo one; sleep 600").atoms(1));
    let id = farm.submit(&repository.request()).await;
    let build = place(&repository, id);
    let mut socket = user.socket(&format!("ws/v1/{build}/logs")).await;
    assert_eq!(socket.lines(&mut Vec::new()).await, ["one"]);
    farm.client().cancel(id).await.unwrap();
    let (lines, statuses, code) = socket.rest().await;
    assert_eq!((lines, code), (Vec::new(), CloseCode::Normal));
    assert_eq!(statuses, ["stopped"]);
    wait_for("what it had printed", async || {
        (user.log(&build).await == "one\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_atom_that_is_run_again_is_said_to_begin_anew() {
    let mut farm = Farm::start(&[1]).await;
    let user = farm.polyaxon_user("ann").await;
    let repository = Repository::empty();
    let go = repository.outside("go");
    let prints = job("echo one").then(until_there(&go.display()));
    repository.commit_job(&prints.then("echo two").atoms(1));
    let id = farm.submit(&repository.request()).await;
    let build = place(&repository, id);
    let mut socket = user.socket(&format!("ws/v1/{build}/logs")).await;
    assert_eq!(socket.lines(&mut Vec::new()).await, ["one"]);
    farm.kill_slave(0);
    farm.start_slave(1);
    let mut unknown = Vec::new();
    let told = socket.lines(&mut unknown).await;
    assert!(told[0].contains("subjob 0 begins anew"), "{told:?}");
    assert_eq!(socket.lines(&mut unknown).await, ["one"]);
    fs::write(&go, "").unwrap();
    let (lines, statuses, _) = socket.rest().await;
    assert_eq!(
        (lines, statuses),
        (vec!["two".to_owned()], vec!["succeeded".to_owned()])
    );
    assert_eq!(user.log(&build).await, "one\ntwo\n");
}

#[tokio::test]
async fn a_master_that_stops_closes_web_sockets() {
    let mut farm = Farm::start(&[]).await;
    let user = farm.polyaxon_user("ann").await;
    let repository = Repository::of(&job("echo one").atoms(1));
    let id = farm.submit(&repository.request()).await;
    let path = format!("ws/v1/{}/logs", place(&repository, id));
    let mut socket = user.socket(&path).await;
    let created = json!({"status": "created", "log_lines": null});
    assert_eq!(socket.frame().await, created);
    assert!(farm.stop_master().success());
    let (lines, statuses, code) = socket.rest().await;
    assert_eq!((lines, statuses, code), (vec![], vec![], CloseCode::Away));
}

#[tokio::test]
async fn what_is_not_there_is_told_through_the_socket() {
    let farm = Farm::start(&[]).await;
    let user = farm.polyaxon_user("ann").await;
    let repository = Repository::of(&job("echo one").atoms(1));
    let id = farm.submit(&repository.request()).await;
    let build = place(&repository, id);
    let problem = |sentence| json!({"status": "error", "log_lines": [sentence]});
    let another = place(&repository, BuildId(id.0 + 1));
    for (path, sentence) in [
        (format!("ws/v1/{another}/logs"), "Build was not found"),
        (
            "api/v1/clusterrunner/none/builds/1/logs/stream".to_owned(),
            "Project was not found",
        ),
        (
            format!("api/v1/{build}/resources"),
            "resources are not collected",
        ),
    ] {
        user.socket(&path).await.says_only(problem(sentence)).await;
    }
}
