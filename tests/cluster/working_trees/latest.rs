//! Which build of a directory is the newest, where some are sent and others are not.

use super::{Clone, command};
use crate::farm::Farm;
use serde_json::Value;
use std::process::Output;

const JOB: &str = "Test:
  commands: ['test -z \"$BAD\"']
  atomizers: [{N: echo 1}]
";

/// A command of a user in the clone, on the farm.
fn ask(farm: &Farm, clone: &Clone, arguments: &[&str]) -> Output {
    let mut asking = farm.command();
    asking
        .args(arguments)
        .args(["--master-url", &farm.master_address()])
        .env("USER", "ada")
        .current_dir(&clone.path);
    asking.output().unwrap()
}

#[track_caller]
fn check_latest(farm: &Farm, clone: &Clone, expected: u64, code: i32) {
    let shown = ask(farm, clone, &["status", "latest", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["build"]["id"], expected);
    let waited = ask(farm, clone, &["wait", "latest"]);
    assert_eq!(waited.status.code(), Some(code), "{waited:?}");
}

/// Runs a build in the clone, `--send`ing it or not.
#[track_caller]
fn check_build(farm: &Farm, clone: &Clone, (user, more): (&str, &[&str]), code: i32) {
    let line = [&["--no-results"], more].concat();
    let ended = match more.contains(&"--send") {
        true => {
            let rest: Vec<&str> = line.into_iter().filter(|word| *word != "--send").collect();
            let mut sending = command(farm, &clone.path, &rest);
            sending.env("USER", user).output().unwrap()
        }
        false => ask(farm, clone, &[&["build"], &line[..]].concat()),
    };
    assert_eq!(ended.status.code(), Some(code), "{ended:?}");
}

#[tokio::test]
async fn the_latest_build_is_the_newest_also_where_it_was_sent() {
    let farm = Farm::start(&[1]).await;
    let clone = Clone::of(&farm, JOB, &[("code", "as committed\n")]);
    check_build(&farm, &clone, ("ada", &[]), 0);
    // Of the commit, of which nothing is left to be sent.
    check_build(&farm, &clone, ("ada", &["--send", "--env", "BAD=1"]), 1);
    check_latest(&farm, &clone, 2, 1);
    let again = ask(
        &farm,
        &clone,
        &["retry", "latest", "--failed", "--no-results"],
    );
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    check_latest(&farm, &clone, 3, 1);
    check_build(&farm, &clone, ("ada", &[]), 0);
    check_latest(&farm, &clone, 4, 0);

    clone.write("code", "as changed\n");
    check_build(&farm, &clone, ("ada", &["--send", "--env", "BAD=1"]), 1);
    check_latest(&farm, &clone, 5, 1);
    // What failed there is run here.
    check_build(&farm, &clone, ("ada", &["--failed", "--env", "BAD=1"]), 1);
    check_latest(&farm, &clone, 6, 1);
    // What others send says nothing of the files here.
    check_build(&farm, &clone, ("bob", &["--send"]), 0);
    check_latest(&farm, &clone, 6, 1);
    // The repository by its path.
    let path = clone.path.to_str().unwrap();
    check_build(&farm, &clone, ("ada", &["git", "--url", path]), 0);
    check_latest(&farm, &clone, 8, 0);

    // A repository without a remote.
    clone.git(&["remote", "remove", "origin"]);
    check_build(&farm, &clone, ("ada", &["--send", "--env", "BAD=1"]), 1);
    check_latest(&farm, &clone, 9, 1);
    // A directory without a repository.
    std::fs::remove_dir_all(clone.path.join(".git")).unwrap();
    check_build(&farm, &clone, ("ada", &["--send"]), 0);
    check_latest(&farm, &clone, 10, 0);
}
