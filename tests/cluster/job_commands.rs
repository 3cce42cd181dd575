//! The command lists of a job: each command runs, whatever the one before it ends with.

use crate::farm::Farm;
use crate::job::{Job, job};

/// One atom that runs these commands.
fn commands(commands: &[&str]) -> Job {
    let (first, others) = commands.split_first().unwrap();
    let job = job(first).atoms(1);
    others.iter().fold(job, Job::then)
}

#[tokio::test]
async fn no_command_hides_the_next() {
    let farm = Farm::start(&[2]).await;
    for hiding in [
        "echo one # note",
        "# a note",
        "cat <<END\nexit 0\nEND",
        "cat <<-'A' <<B | sort\n\ta # b\n\tA\nb\nB",
        "echo one \\",
        "echo \\&",
        "find . -maxdepth 0 -exec true {} \\;",
    ] {
        let job = commands(&[hiding, "exit 3"]);
        farm.runs(&job).await.fails(&[("1", 3)]);
    }
    // What is no command fails, and does not pass for one.
    let job = commands(&["echo don't", "exit 3", "echo can't"]);
    farm.runs(&job).await.fails(&[("1", 2)]);
}

#[tokio::test]
async fn commands_of_a_list_still_work_together() {
    let farm = Farm::start(&[2]).await;
    let job = commands(&[
        "cd / # the root",
        "export A=1 # a variable",
        "false || cat <<END\n$A in $PWD\nEND",
        "b=2 # not exported",
        "exit $((A + b)) # the end",
        "echo never",
    ]);
    let build = farm.runs(&job).await.fails(&[("1", 3)]);
    assert_eq!(farm.consoles(build.id).await, ["1 in /\n"]);
    let stops = commands(&["false # a note", "echo never"]);
    farm.runs(&stops).await.fails(&[("1", 1)]);
}

#[tokio::test]
async fn set_up_hides_no_command_either() {
    let farm = Farm::start(&[1]).await;
    let set_up = job("true").setup("true # note").setup("exit 3");
    farm.runs(&set_up)
        .await
        .errs(&["setup_build exited with 3"]);
}
