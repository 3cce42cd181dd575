//! The `clusterrunner` command as its users meet it.

use crate::farm::Farm;
use crate::machine::{Ended, Machine, files_below, interrupt};
use crate::repository::Repository;
use crate::wait::{PATIENCE, is_true_within, wait_for};
use clusterrunner_common::ids::BuildId;
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;

const PASSING: &str = "Unit:
  commands:
    - echo \"this is $N\"
    - echo \"$N\" > \"$ARTIFACT_DIR/made\"
  atomizers:
    - N: printf 'one\\ntwo\\n'
";

const FAILING: &str = "Unit:
  commands:
    - echo \"this is $N\"
    - test \"$N\" = good
  atomizers:
    - N: printf 'good\\nbad\\n'
";

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:#?}"))
}

#[test]
fn from_nothing_to_results_and_back() {
    let machine = Machine::new(PASSING);
    let built = machine.run_to(0, &["build"]);
    assert!(built.stdout.contains("Build id: 1"), "{built:#?}");
    assert!(built.stdout.contains("Build 1 passed"), "{built:#?}");
    let results = machine.path("project/build_results/latest");
    for (atom, value) in [(0, "one"), (1, "two")] {
        let directory = results.join(format!("artifact_{atom}_0"));
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
        assert_eq!(read("made"), format!("{value}\n"));
        assert_eq!(
            read("clusterrunner_console_output"),
            format!("this is {value}\n")
        );
        assert_eq!(read("clusterrunner_exit_code"), "0\n");
    }
    assert!(!results.join("failures.txt").exists());
    let first_results = files_below(&results).len();

    // The secret was made, and is nobody else's to read.
    let settings = machine.path("base/clusterrunner.conf");
    let text = fs::read_to_string(&settings).unwrap();
    let secret = text
        .lines()
        .find_map(|line| line.strip_prefix("secret = "))
        .unwrap();
    assert_eq!(secret.trim_matches(['"', '\'']).len(), 64);
    let mode = fs::metadata(&settings).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // The farm goes on running; the next build keeps what the first one left.
    let running = machine.processes().len();
    machine.write_jobs(FAILING);
    let built = machine.run_to(1, &["build"]);
    assert!(built.stdout.contains("Build id: 2"), "{built:#?}");
    assert!(built.stdout.contains("Build 2 failed"), "{built:#?}");
    assert_eq!(machine.processes().len(), running);
    let failures = fs::read_to_string(results.join("failures.txt")).unwrap();
    assert_eq!(failures, "artifact_1_0");
    let earlier = machine.path("project/build_results/1");
    assert_eq!(files_below(&earlier).len(), first_results);
    let made = fs::read_to_string(earlier.join("artifact_0_0/made")).unwrap();
    assert_eq!(made, "one\n");

    check_reading(&machine);

    // What is logged goes into files that are rotated, and nowhere else.
    let log = |name: &str| fs::read_to_string(machine.path("base/log").join(name)).unwrap();
    assert!(log("clusterrunner_master.log").contains("build 1 finished"));
    assert_eq!([log("local_master.log"), log("local_slave.log")], ["", ""]);

    let stopped = machine.run_to(0, &["stop"]);
    assert_eq!(stopped.stdout.matches("Stopped").count(), 2, "{stopped:#?}");
    assert!(is_true_within(PATIENCE, || machine.processes().is_empty()));
    machine.run_to(5, &["status"]);
    let again = machine.run_to(0, &["stop"]);
    assert!(
        again.stdout.contains("No ClusterRunner is running"),
        "{again:#?}"
    );

    // What was there is there again.
    machine.write_jobs(PASSING);
    let built = machine.run_to(0, &["build"]);
    assert!(built.stdout.contains("Build id: 3"), "{built:#?}");
}

/// The commands that only look, after builds 1 (passed) and 2 (failed).
fn check_reading(machine: &Machine) {
    let status = machine.run_to(0, &["status"]);
    for word in ["passed", "failed", "1 slave"] {
        assert!(status.stdout.contains(word), "{word}: {status:#?}");
    }
    let status = machine.run_to(0, &["status", "2"]);
    assert!(status.stdout.contains("artifact_1_0"), "{status:#?}");
    let status = json_of(&machine.run_to(0, &["status", "2", "--json"]));
    assert_eq!(status["build"]["status"], "FINISHED");
    assert_eq!(status["build"]["result"], "FAILURE");
    let status = json_of(&machine.run_to(0, &["status", "--json"]));
    assert_eq!(status["builds"].as_array().unwrap().len(), 2);
    let slaves = json_of(&machine.run_to(0, &["slaves", "--json"]));
    assert_eq!(slaves["slaves"].as_array().unwrap().len(), 1);
    assert!(machine.run_to(0, &["slaves"]).stdout.contains("alive"));

    let logs = machine.run_to(0, &["logs", "2"]);
    for word in ["N=\"good\"", "N=\"bad\"", "passed", "exit code 1"] {
        assert!(logs.stdout.contains(word), "{word}: {logs:#?}");
    }
    for atom in ["1_0", "1.0", "artifact_1_0"] {
        let logs = machine.run_to(0, &["logs", "2", atom]);
        assert_eq!(logs.stdout, "this is bad\n", "{atom}");
    }
    let followed = machine.run_to(0, &["logs", "1", "1_0", "--follow"]);
    assert_eq!(followed.stdout, "this is two\n");
    // The latest build is that of this project.
    let latest = json_of(&machine.run_to(0, &["status", "latest", "--json"]));
    assert_eq!(latest["build"]["id"], 2);
    let latest = machine.run_to(0, &["logs", "latest", "1_0"]);
    assert_eq!(latest.stdout, "this is bad\n");
    machine.run_to(2, &["logs", "2", "first"]);
    machine.run_to(2, &["status", "99"]);
    machine.run_to(2, &["logs", "2", "7_0"]);
}

#[tokio::test]
async fn following_an_atom_waits_for_the_atomizer() {
    let machine = Machine::new(
        "Unit:\n  commands: [echo this is $N]\n  atomizers: [{N: 'until [ -e go ]; do sleep 0.05; done; echo one'}]\n",
    );
    machine.run_to(0, &["build", "--detach"]);
    let mut follower = machine.start(&["logs", "1", "0_0", "--follow"]);
    let mut said = String::new();
    let told = follower.stderr.as_mut().unwrap();
    BufReader::new(told).read_line(&mut said).unwrap();
    assert!(said.contains("has no atoms yet"), "{said}");
    fs::write(machine.path("project/go"), "").unwrap();
    let ended = Ended::from(follower.wait_with_output().unwrap());
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "this is one\n"));
}

#[tokio::test]
async fn ctrl_c_cancels_the_build() {
    let machine = Machine::new(
        "Unit:\n  commands: [touch started, sleep 300]\n  atomizers: [{N: seq 1 2}]\n",
    );
    let build = machine.start(&["build"]);
    let started = machine.path("project/started");
    wait_for("an atom runs", async || started.exists().then_some(())).await;
    interrupt(&build);
    let ended = Ended::from(build.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    let status = json_of(&machine.run_to(0, &["status", "1", "--json"]));
    assert_eq!(status["build"]["status"], "CANCELED");
    wait_for("the atoms are gone", async || {
        let atoms = crate::processes::with_text(machine.path("project").to_str().unwrap());
        atoms.is_empty().then_some(())
    })
    .await;
    assert!(!machine.path("project/build_results").exists());
    // The farm is as good as before.
    machine.write_jobs(PASSING);
    machine.run_to(0, &["build"]);
}

#[test]
fn validate_says_what_is_wrong_and_where() {
    let machine = Machine::new(PASSING);
    let fine = machine.run_to(0, &["validate"]);
    assert!(fine.stdout.contains("fine"), "{fine:#?}");
    machine.write_jobs("Unit:\n  commands: [echo]\n  atomizer: [{N: echo}]\n");
    let wrong = machine.run_to(1, &["validate"]);
    let text = wrong.stdout + &wrong.stderr;
    assert!(text.contains("clusterrunner.yaml:3"), "{text}");
    assert!(text.contains("atomizers"), "{text}");
    machine.run_to(2, &["validate", "no-such-directory"]);
    assert_eq!(machine.processes().len(), 0, "nothing was started for that");
}

#[test]
fn builds_of_one_directory_are_told_of_each_other() {
    let jobs =
        "Unit:\n  commands: ['until [ -e go ]; do sleep 0.01; done']\n  atomizers: [{N: echo 1}]\n";
    let machine = Machine::new(jobs);
    let first = machine.run_to(0, &["build", "--detach"]);
    assert!(!first.stderr.contains("under way"), "{first:#?}");
    let second = machine.run_to(0, &["build", "--detach"]);
    let told = "build 1 is under way in this directory, too";
    assert!(second.stderr.contains(told), "{second:#?}");
    std::fs::write(machine.path("project/go"), "").unwrap();
    machine.run_to(0, &["wait", "1"]);
    machine.run_to(0, &["wait", "2"]);
    let third = machine.run_to(0, &["build"]);
    assert!(!third.stderr.contains("under way"), "{third:#?}");
}

#[test]
fn validate_warns_of_key_files_that_are_missing() {
    let machine = Machine::new(PASSING);
    let job = "Unit:\n  setup_build: [mkdir out]\n  cache: {paths: out, key: [there.txt, mistyped.txt]}\n";
    machine.write_jobs(&format!(
        "{job}  commands: ['true']\n  atomizers: [{{N: echo 1}}]\n"
    ));
    std::fs::write(machine.path("project/there.txt"), "").unwrap();
    let told = machine.run_to(0, &["validate"]).stdout;
    assert!(told.contains("no file mistyped.txt"), "{told}");
    assert!(!told.contains("no file there.txt"), "{told}");
}

#[test]
fn the_program_says_what_it_consists_of() {
    let machine = Machine::new(PASSING);
    let version = env!("CARGO_PKG_VERSION");
    let told = machine.run_to(0, &["version"]).stdout;
    assert_eq!(told, format!("ClusterRunner {version}\n"));
    let told = machine.run_to(0, &["version", "-v"]).stdout;
    assert!(told.contains("\n  hyper 1."), "{told}");
    let bill = machine.run_to(0, &["version", "--sbom"]).stdout;
    let bill: serde_json::Value = serde_json::from_str(&bill).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    assert_eq!(bill["metadata"]["component"]["version"], version);
}

#[test]
fn a_build_that_can_not_begin_ends_with_the_right_code() {
    let machine = Machine::new(PASSING);
    let nobody = ["--master-url", "127.0.0.1:1"];
    for arguments in [
        &["build", "git", "--url", "https://example.org/a.git"][..],
        &["build"],
        &["status"],
        &["slaves"],
        &["logs", "1"],
        &["cancel", "1"],
    ] {
        let ended = machine.run(&[arguments, &nobody[..]].concat());
        assert_eq!(ended.code, Some(5), "{arguments:?}: {ended:#?}");
        assert!(ended.stderr.contains("127.0.0.1:1"), "{ended:#?}");
    }
    machine.run_to(2, &["build", "--no-such-option"]);
    machine.run_to(2, &["build", "git"]);
    machine.run_to(2, &[]);
    fs::remove_file(machine.path("project/clusterrunner.yaml")).unwrap();
    let no_file = machine.run_to(2, &["build"]);
    assert!(
        no_file.stderr.contains("clusterrunner.yaml"),
        "{no_file:#?}"
    );
    assert_eq!(machine.processes().len(), 0, "nothing was started for that");
}

/// All exit codes, against a farm that somebody else runs.
#[tokio::test]
async fn builds_on_a_farm_end_with_the_documented_codes() {
    let repository = Repository::empty();
    repository.commit(&[(
        "clusterrunner.yaml",
        "Pass:\n  commands: [echo \"$N\"]\n  atomizers: [{N: seq 1 3}]\n\
         Fail:\n  commands: ['false']\n  atomizers: [{N: seq 1 3}]\n\
         Wait:\n  commands: [sleep 300]\n  atomizers: [{N: seq 1 3}]\n",
    )]);
    let farm = Farm::start(&[2]).await;
    let desk = farm.path("desk");
    fs::create_dir(&desk).unwrap();
    let (url, master) = (repository.path().to_str().unwrap(), farm.master_address());
    let arguments = |job: &'static str| {
        [
            "build",
            "git",
            "--url",
            url,
            "--master-url",
            &master,
            "-j",
            job,
        ]
        .map(str::to_owned)
    };
    let run = async |job| {
        let mut command = farm.command();
        command.args(arguments(job)).current_dir(&desk);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        Ended::from(output.await.unwrap())
    };
    for (job, code, said) in [
        ("Pass", 0, "passed: 3 atoms"),
        ("Fail", 1, "failed: 3 of 3 atoms"),
        ("None", 3, "\"None\""),
    ] {
        let ended = run(job).await;
        assert_eq!(ended.code, Some(code), "{ended:#?}");
        assert!(ended.stdout.contains(said), "{ended:#?}");
    }
    let failures = fs::read_to_string(desk.join("build_results/latest/failures.txt")).unwrap();
    assert_eq!(failures.split('\n').count(), 3);
    assert!(desk.join("build_results/1").exists());

    // Somebody else cancels it.
    let client = farm.client();
    let (ended, ()) = tokio::join!(run("Wait"), async {
        wait_for("it runs", async || {
            let build = client.build(BuildId(4)).await.ok()?;
            (build.num_atoms_in_progress > 0).then_some(())
        })
        .await;
        client.cancel(BuildId(4)).await.unwrap();
    });
    assert_eq!(ended.code, Some(4), "{ended:#?}");
}

/// A build rides through a restart of the master.
#[tokio::test]
async fn a_waiting_command_outlives_the_master() {
    let repository = Repository::empty();
    let (started, release) = (repository.outside("started"), repository.outside("release"));
    let job = format!(
        "Job:\n  commands:\n    - touch '{}'\n    - until test -e '{}'; do sleep 0.02; done\n    - echo done\n  \
         atomizers: [{{N: seq 1 2}}]\n",
        started.display(),
        release.display()
    );
    repository.commit(&[("clusterrunner.yaml", &job)]);
    let mut farm = Farm::start(&[1]).await;
    let (url, master) = (repository.path().to_str().unwrap(), farm.master_address());
    let mut command = farm.command();
    command
        .args(["build", "--master-url", &master, "git", "--url", url])
        .current_dir(farm.path("home"));
    let waiting = tokio::task::spawn_blocking(move || command.output().unwrap());
    wait_for("an atom runs", async || started.exists().then_some(())).await;
    farm.kill_master();
    farm.start_master().await;
    fs::write(&release, "").unwrap();
    let ended = Ended::from(waiting.await.unwrap());
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let console = farm.path("home/build_results/latest/artifact_1_0/clusterrunner_console_output");
    assert_eq!(fs::read_to_string(console).unwrap(), "done\n");
}

#[test]
fn a_stop_that_drains_lets_atoms_finish_and_names_what_is_left() {
    let machine = Machine::new(
        "Unit:
  commands:
    - echo begin >> \"$PROJECT_DIR/ran\"
    - until test -e \"$PROJECT_DIR/go\"; do sleep 0.05; done
    - echo end >> \"$PROJECT_DIR/ran\"
  max_executors: 1
  atomizers:
    - N: seq 2
",
    );
    let ran = || fs::read_to_string(machine.path("project/ran")).unwrap_or_default();
    let mut build = machine.start(&["build"]);
    assert!(is_true_within(PATIENCE, || ran() == "begin\n"));
    let stop = machine.start(&["stop", "--drain"]);
    // The slave has heard of it when it takes nothing new.
    assert!(is_true_within(PATIENCE, || {
        let slaves = machine.run(&["slaves"]).stdout;
        slaves.contains("shutting down")
    }));
    fs::write(machine.path("project/go"), "").unwrap();
    let stopped: Ended = stop.wait_with_output().unwrap().into();
    assert_eq!(stopped.code, Some(0), "{stopped:#?}");
    assert_eq!(ran(), "begin\nend\n");
    let left = "Build 1 is not over: it goes on when the master is started again.\n";
    assert!(stopped.stdout.ends_with(left), "{stopped:#?}");
    build.kill().unwrap();
    build.wait().unwrap();
    // The atom that was finished is not run again.
    let next = machine.run_to(0, &["build"]);
    let goes_on = "goes on with what was not over when it was ended: 1.";
    assert!(next.stderr.contains(goes_on), "{next:#?}");
    assert!(is_true_within(PATIENCE, || {
        machine
            .run(&["status", "1"])
            .stdout
            .contains("Build 1: passed")
    }));
    assert_eq!(ran().matches("begin").count(), 4, "two of each build");
}
