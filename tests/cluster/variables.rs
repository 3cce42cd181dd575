//! What commands of a build find in their environment.

use crate::farm::Farm;
use crate::job::job;
use crate::machine::{Ended, Machine, files_below};
use crate::repository::Repository;
use clusterrunner_common::ids::BuildId;
use serde_json::json;
use std::fs;

/// Prints the variables that begin with these letters, without what differs from run to run.
fn printing(letters: &str) -> String {
    format!("env | grep -E '^({letters})' | grep -v PROCESS_MARK | sort")
}

#[tokio::test]
async fn all_commands_know_their_build() {
    let job = job(printing("CI=|CLUSTERRUNNER_|GREETING"))
        .setup("test \"$CI $CLUSTERRUNNER_JOB $GREETING\" = 'true Job hello world'")
        .teardown("test \"$CLUSTERRUNNER_BUILD_ID\" = 1 || exit 3")
        .atomizer("echo $CLUSTERRUNNER_BUILD_ID $GREETING")
        .with("env", json!({"GREETING": "hello world"}));
    let repository = Repository::of(&job);
    let commit = repository.git(&["rev-parse", "HEAD"]);
    let farm = Farm::start(&[1]).await;
    let request = repository.request_with(json!({"branch": "main"}));
    let build = farm.run(&request).await.passes();
    let expected = format!(
        "CI=true\nCLUSTERRUNNER_ATTEMPT=1\nCLUSTERRUNNER_BRANCH=main\nCLUSTERRUNNER_BUILD_ID=1\n\
         CLUSTERRUNNER_COMMIT={}\nCLUSTERRUNNER_JOB=Job\nGREETING=hello world\n",
        commit.trim()
    );
    assert_eq!(farm.consoles(build.id).await, [expected]);
    let atom = farm.atoms(build.id).await.remove(0);
    assert_eq!(atom.value.as_deref(), Some("1 hello world"));
    farm.wait_for_rest().await;
    let after = farm.client().build(build.id).await.unwrap();
    assert_eq!(after.warnings, Vec::<String>::new());
}

/// Where the daemons were started long ago, from another shell.
#[test]
fn a_local_build_brings_its_callers_environment() {
    // The value itself stands in no command.
    let check = "test \"$TOKEN$STALE\" = \"hidden-$((3 + 4))\"";
    let job = job(check).atomizer(format!("{check} && echo 1"));
    let job = job.setup(check).teardown(check);
    let machine = Machine::new(&job.to_string());
    let build = |variable: &str, value: &str| -> Ended {
        let mut command = machine.command(&["build"]);
        command.env(variable, value).output().unwrap().into()
    };
    assert_eq!(build("STALE", "other").code, Some(3));
    let ended = build("TOKEN", "hidden-7");
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(!ended.stderr.contains("teardown_build"), "{ended:#?}");

    for arguments in [&["status", "2", "--json"][..], &["status", "2"]] {
        let shown = machine.run_to(0, arguments);
        assert!(!shown.stdout.contains("hidden-7"), "{shown:#?}");
    }
    machine.run_to(0, &["stop"]);
    let exported = machine.run_to(0, &["journal", "export"]);
    assert!(exported.stdout.contains("project_directory"));
    assert!(!exported.stdout.contains("hidden-7"), "{exported:#?}");
    for file in files_below(&machine.path("base")) {
        let text = fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&text);
        let is_journal = file.components().any(|part| part.as_os_str() == "journal");
        assert!(
            is_journal || !text.contains("hidden-7"),
            "{}",
            file.display()
        );
    }
}

#[tokio::test]
async fn variables_of_the_command_line_overrule_those_of_the_job() {
    let job = job(printing("A=|B=|C=|NOT_SENT"))
        .atomizer("echo 1")
        .with("env", json!({"A": "job", "B": "job"}));
    let repository = Repository::of(&job);
    let farm = Farm::start(&[1]).await;
    let request = repository.request();
    let build = ["build", "git", "--url", request["url"].as_str().unwrap()];
    let options = ["--no-results", "--env", "B=hidden-7", "--env", "C"];
    let mut command = farm.command();
    command.args([&build[..], &options].concat());
    command.args(["--master-url", &farm.master_address()]);
    let command = command.env("C", "here").env("NOT_SENT", "x");
    let ended: Ended = command.output().unwrap().into();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let build = BuildId(1);
    assert_eq!(farm.consoles(build).await, ["A=job\nB=hidden-7\nC=here\n"]);
    let view = farm.client().build(build).await.unwrap();
    let shown = serde_json::to_string(&view).unwrap();
    assert!(!shown.contains("hidden"), "{shown}");
}
