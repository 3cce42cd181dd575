//! The command `on_finish`.

use crate::farm::{Extra, Farm};
use crate::processes;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::ids::BuildId;
use std::fs;
use std::path::Path;

/// Around a value of the settings that has quotes of its own.
const QUOTES: &str = "\"\"\"";

/// A farm whose command is this.
fn farm(command: &str) -> Farm {
    let master = format!("on_finish = {QUOTES}{command}{QUOTES}\n");
    Farm::with(&Extra {
        master: &master,
        ..Extra::default()
    })
}

/// The lines of a file, when there is one of a build.
async fn lines_with(file: &Path, build: BuildId) -> Vec<String> {
    wait_for("the command has run", async || {
        let text = fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let start = format!("{build} ");
        lines
            .iter()
            .any(|line| line.starts_with(&start))
            .then_some(lines)
    })
    .await
}

#[tokio::test]
async fn the_command_runs_once_for_each_build_also_over_a_restart() {
    let repository =
        Repository::with_jobs("Job:\n  commands: ['exit $N']\n  atomizers: [{N: seq 0 1}]\n");
    let file = repository.outside("finished");
    let mut farm = farm(&format!(
        "echo \"$BUILD_ID $STATUS $RESULT $JOB $BRANCH $NUM_ATOMS_FAILED/$NUM_ATOMS $URL\" >> '{}'; echo said this",
        file.display()
    ));
    farm.start_all(&[1]).await;
    let first = farm.run(&repository.request()).await.id;
    let lines = lines_with(&file, first).await;
    let start = format!("{first} FINISHED FAILURE Job main 1/2 http://");
    let end = format!(":{}/ui/builds/{first}", farm.port());
    assert!(
        lines[0].starts_with(&start) && lines[0].ends_with(&end),
        "{lines:?}"
    );
    wait_for("the log has what the command printed", async || {
        farm.output("master").contains("said this").then_some(())
    })
    .await;

    // A command is begun when the end of the one before is on disk.
    let second = farm.run(&repository.request()).await.id;
    lines_with(&file, second).await;
    farm.kill_master();
    farm.start_master().await;
    farm.wait_for_slaves(1).await;
    let third = farm.run(&repository.request()).await.id;
    let lines = lines_with(&file, third).await;
    let of = |build: BuildId| {
        let start = format!("{build} ");
        lines.iter().filter(|line| line.starts_with(&start)).count()
    };
    assert_eq!((of(first), of(third)), (1, 1), "{lines:?}");
    // The master may have died before that was on disk.
    assert!((1..=2).contains(&of(second)), "{lines:?}");
}

#[tokio::test]
async fn what_a_build_brings_along_is_no_part_of_the_command() {
    let repository = Repository::with_jobs(
        "'$(touch hacked); Job':\n  commands: ['true']\n  atomizers: [{N: echo 1}]\n",
    );
    let file = repository.outside("finished");
    let command = format!(
        "sleep 600 & env | sort > '{0}.new' && mv '{0}.new' '{0}'",
        file.display()
    );
    let mut farm = farm(&command);
    farm.start_all(&[1]).await;
    let build = farm.run(&repository.request()).await;
    assert!(build.error_message.is_none(), "{build:?}");
    let text = wait_for("the command has run", async || {
        fs::read_to_string(&file).ok()
    })
    .await;
    assert!(text.contains("\nJOB=$(touch hacked); Job\n"), "{text}");
    // What it leaves in the background ends with it.
    wait_for("nothing of the command is left", async || {
        let mark = format!("{}:on_finish:", farm.path("base/master").display());
        processes::with_text(&mark).is_empty().then_some(())
    })
    .await;
    assert!(!farm.path("base/master/on_finish/hacked").exists());
    // Nothing of the master's own settings is there, but for the mark of its processes.
    let ours = text
        .lines()
        .filter(|line| line.starts_with("CLUSTERRUNNER_"));
    let ours: Vec<&str> = ours
        .filter(|line| !line.starts_with("CLUSTERRUNNER_PROCESS_MARK="))
        .collect();
    assert_eq!(ours, [""; 0]);
}
