//! Atoms in forks of a shell.

use super::{Story, wait_for_end_of};
use crate::job::Job;
use serde_json::json;

/// Says which worker is the latest one among the processes above this one that are shells of a worker.
const WHOSE: &str = r#"p=$PPID; worker=none
while [ "$p" -gt 1 ]; do
    ! grep -q __clusterrunner_id "/proc/$p/cmdline" || worker=$p
    p=$(cut -d ' ' -f 4 "/proc/$p/stat")
done
echo "of $worker""#;

#[tokio::test]
async fn a_shell_forks_for_each_atom() {
    let command = "bash whose.sh >> \"$LOG\"; echo \"here is $N\"; test $N != 2 || exit 7";
    let files = [("whose.sh", WHOSE)];
    let story = Story::of(json!("bash"), &files, command, |job| job).await;
    let build = story.run().await.fails(&[(2, 7)]);
    let mut ran = story.log("ran ");
    ran.sort();
    assert_eq!(ran, ["1", "2", "2", "3", "4", "5", "6"]);
    assert_eq!(story.console_of(&build, "5").await, "here is 5\n");
    let console = story.console_of(&build, "2").await;
    assert!(
        console.contains("in the worker with exit code 7"),
        "{console}"
    );
    assert!(console.ends_with("process:\nhere is 2\n"), "{console}");
    let mut of = story.log("of ");
    of.retain(|worker| worker != "none");
    assert_eq!(of.len(), 6, "{of:?}");
    of.dedup();
    assert_eq!(of.len(), 1, "{of:?}");
    wait_for_end_of(&of[0]).await;
}

#[tokio::test]
async fn a_text_that_could_tell_runs_in_a_new_shell() {
    let command = "bash whose.sh >> \"$LOG\"; trap 'echo \"here is $N\"' EXIT";
    let files = [("whose.sh", WHOSE)];
    let story = Story::of(json!("bash"), &files, command, |job| job).await;
    let build = story.run().await.passes();
    assert_eq!(story.log("of "), ["none"; 6]);
    assert_eq!(story.console_of(&build, "5").await, "here is 5\n");
}

#[tokio::test]
async fn where_the_environment_changes_commands_shells_are_new() {
    let begin = "here() { echo \"here is $N\"; }\n";
    let files = [("whose.sh", WHOSE), ("begin.sh", begin)];
    let changed = |whole: Job| {
        let log = whole.field("env")["LOG"].clone();
        whole.with("env", json!({"LOG": log, "BASH_ENV": "./begin.sh"}))
    };
    let command = "bash whose.sh >> \"$LOG\"; here";
    let story = Story::of(json!("bash"), &files, command, changed).await;
    let build = story.run().await.passes();
    assert_eq!(story.log("of "), ["none"; 6]);
    assert_eq!(story.console_of(&build, "5").await, "here is 5\n");
}
