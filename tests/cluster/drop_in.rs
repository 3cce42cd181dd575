//! What tools that were made for the original count on.

use crate::farm::{Extra, Farm};
use crate::machine::{Machine, interrupt};
use crate::raw::Raw;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_client::client::Archive;
use clusterrunner_common::api::{BuildResult, BuildStatus};
use clusterrunner_common::clock::Timestamp;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The head of an answer, byte for byte.
fn raw_head(server: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    let request = format!("{request}\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    answer.split_once("\r\n\r\n").unwrap().0.to_owned()
}

/// The Dashboard's monitor is in PHP, and looks for these exact letters.
#[tokio::test]
async fn header_names_have_capital_letters_on_both_daemons() {
    let mut farm = Farm::with(&Extra {
        general: "cors_allowed_origins_regex = 'http://dash\\.example'",
        ..Extra::default()
    });
    farm.start_all(&[1]).await;
    for server in [farm.master_address(), farm.slave_address(0)] {
        let asked = "GET /v1 HTTP/1.1\r\nOrigin: http://dash.example";
        let head = raw_head(&server, asked);
        for line in [
            "Access-Control-Allow-Origin: http://dash.example",
            "Content-Type: application/json; charset=UTF-8",
        ] {
            assert!(head.lines().any(|found| found == line), "{server}: {head}");
        }
        let lower = |line: &&str| line.starts_with(|first: char| first.is_ascii_lowercase());
        assert_eq!(head.lines().find(lower), None, "{server}: {head}");
        let refused = raw_head(&server, "POST /v1/kill HTTP/1.1\r\nContent-Length: 0");
        assert!(refused.contains("\r\nContent-Length: "), "{refused}");
    }
}

/// Each command asks the terminal for a line. It fails at once where it has none; with one it would be
/// stopped, and the time limits would end the build.
const ASKING: &str = "Job:
  setup_build: ['! read line </dev/tty']
  commands: ['! read line </dev/tty']
  atomizers: [{N: 'read line 2>/dev/null </dev/tty || seq 1 2'}]
  timeout: 20
  setup_timeout: 20
  atomizer_timeout: 20
";

const TERMINAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/terminal.py");

/// The farm's end is a Ctrl-C in both terminals, which must end the daemons as it always did.
async fn check_no_terminal(kind: &str) {
    let repository = Repository::with_jobs(ASKING);
    let mut farm = Farm::new();
    for daemon in ["master", "slave 0"] {
        let wrapper = ["python3", TERMINAL, kind].map(str::to_owned);
        farm.wrap(daemon, wrapper.to_vec());
    }
    farm.start_all(&[1]).await;
    let view = farm.run(&repository.request()).await;
    assert_eq!(
        (view.status, view.result, view.num_atoms),
        (
            BuildStatus::Finished,
            Some(BuildResult::NoFailures),
            Some(2)
        ),
        "{kind}: {view:?}"
    );
    farm.wait_for_rest().await;
}

#[tokio::test]
async fn commands_have_no_terminal_where_daemons_are_jobs_of_a_shell() {
    check_no_terminal("job").await;
}

#[tokio::test]
async fn commands_have_no_terminal_where_it_is_the_daemons_own() {
    check_no_terminal("leader").await;
}

#[test]
fn commands_have_no_terminal_where_build_starts_the_daemons() {
    let machine = Machine::new(ASKING);
    let build = machine.command(&["build"]);
    let mut at_terminal = Command::new("python3");
    at_terminal.args([TERMINAL, "job"]).arg(build.get_program());
    at_terminal.args(build.get_args()).env_clear();
    at_terminal.envs(
        build
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    at_terminal.current_dir(machine.path("project"));
    let output = at_terminal.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// Unpacking gives files the times at which they were made, and the directory around them none.
#[tokio::test]
async fn archives_tell_when_their_files_were_made() {
    let repository = Repository::with_jobs(
        "Job:\n  commands: ['touch -d @951868799 $ARTIFACT_DIR/old', exit $N]\n  atomizers: [{N: seq 0 1}]\n",
    );
    let farm = Farm::start(&[1]).await;
    let before = Timestamp::now().0 / 1000;
    let build = farm.run(&repository.request()).await.id;
    let after = Timestamp::now().0 / 1000;
    let (tar, zip) = (farm.path("artifacts.tar.gz"), farm.path("artifacts.zip"));
    let client = farm.client();
    client.download(build, Archive::TarGz, &tar).await.unwrap();
    client.download(build, Archive::Zip, &zip).await.unwrap();
    let into = |name: &str| {
        let directory = farm.path(name);
        fs::create_dir(&directory).unwrap();
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        fs::File::open(&directory)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        directory
    };
    let unpacked = into("tar");
    let mut command = Command::new("tar");
    command.arg("-xzf").arg(&tar).arg("-C").arg(&unpacked);
    assert!(command.status().unwrap().success());
    assert!(
        seconds(&unpacked) >= before,
        "the archive gave its directory a time"
    );
    let told = "import sys, zipfile, calendar\n\
                for m in zipfile.ZipFile(sys.argv[1]).infolist():\n  \
                print(m.filename, calendar.timegm(m.date_time), int.from_bytes(m.extra[-4:], 'little'))";
    let output = Command::new("python3")
        .arg("-c")
        .arg(told)
        .arg(&zip)
        .output();
    let told = String::from_utf8(output.unwrap().stdout).unwrap();
    let mut files = 0;
    for line in told.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [name, old_form, time] = fields.as_slice() else {
            panic!("{line}");
        };
        let (old_form, time): (u64, u64) = (old_form.parse().unwrap(), time.parse().unwrap());
        assert_eq!(old_form, time & !1, "{line}");
        assert_eq!(seconds(&unpacked.join(name)), time, "{line}");
        if name.ends_with("/old") {
            assert_eq!(time, 951_868_799);
        } else {
            assert!((before..=after).contains(&time), "{line}");
        }
        files += 1;
    }
    assert_eq!(files, 11, "{told}");
}

/// When a file was last changed, in seconds since 1970.
fn seconds(path: &std::path::Path) -> u64 {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_secs()
}

/// The Dashboard draws a row for each executor, from these two events.
#[tokio::test]
async fn events_say_which_executor_ran_a_subjob_and_when() {
    let repository = Repository::with_jobs(
        "Job:\n  commands: [sleep 0.3, 'echo $EXECUTOR_INDEX']\n  atomizers: [{N: seq 1 4}]\n",
    );
    let farm = Farm::start(&[2]).await;
    let build = farm.run(&repository.request()).await.id;
    let read = Raw::json("GET", &farm.master_address(), "/v1/eventlog", &Value::Null);
    let events = read.send(&Vec::new()).await.body["events"].take();
    let of = |tag: &str, subjob: u32| {
        let mut events = events.as_array().unwrap().iter();
        let found = events.find(|e| e["__tag__"] == tag && e["subjob_id"] == subjob);
        found.unwrap().clone()
    };
    for atom in farm.atoms(build).await {
        let subjob = atom.subjob_id.0;
        let executor = farm.console(build, &atom).await;
        let began = of("MASTER_TRIGGERED_SUBJOB", subjob);
        let ended = of("MASTER_RECEIVED_RESULT", subjob);
        for event in [&began, &ended] {
            assert_eq!(event["executor_id"].to_string(), executor.trim(), "{event}");
        }
        // How far apart they are is not told here: the slave says how long ago it began, and the
        // message may be on its way for a while.
        let at = |event: &Value| event["__timestamp__"].as_f64().unwrap();
        assert!(at(&began) < at(&ended), "{began} {ended}");
        assert_eq!(of("SUBJOB_HANDED_OUT", subjob)["attempt"], 1);
    }
}

#[tokio::test]
async fn a_request_of_the_originals_form_is_understood() {
    let farm = Farm::start(&[1]).await;
    // The master's directory is the farm's.
    let project = farm.path("web");
    fs::create_dir(&project).unwrap();
    fs::write(
        project.join("clusterrunner.yaml"),
        "Job:\n  commands: [pwd]\n  atomizers: [{N: echo 1}]\n",
    )
    .unwrap();
    let body = json!({
        "type": "directory", "project_directory": "output/../web", "build_project_directory": "/tmp/x",
    });
    let submit = Raw::json("POST", &farm.master_address(), "/v1/build", &body);
    let answer = submit.send(&submit.body_digest(&farm.secret())).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let warning = answer.body["warnings"][0].as_str().unwrap();
    assert!(warning.contains("build_project_directory"), "{warning}");
    let build = clusterrunner_common::ids::BuildId(answer.body["build_id"].as_u64().unwrap());
    farm.end_of(build).await.passes();
    let atom = farm.atoms(build).await.remove(0);
    let shown = farm.console(build, &atom).await;
    assert_eq!(
        shown.trim(),
        fs::canonicalize(&project).unwrap().to_str().unwrap()
    );
    assert!(farm.output("master").contains("build_project_directory"));
}

#[tokio::test]
async fn build_has_the_originals_exit_codes_where_that_is_wanted() {
    let machine = Machine::new("Job:\n  commands: [exit $N]\n  atomizers: [{N: echo 3}]\n");
    let compat = ["build", "--compat-exit-codes", "--no-results"];
    machine.run_to(1, &compat);
    machine.run_to(
        0,
        &[&compat[..], &["--atoms-override", "[\"export N=0;\"]"]].concat(),
    );
    // An atomizer that fails, and a master that is not there.
    let broken = "Job:\n  commands: ['true']\n  atomizers: [{N: exit 1}]\n";
    machine.write_jobs(broken);
    machine.run_to(3, &["build"]);
    machine.run_to(1, &compat);
    let nowhere = ["--master-url", "127.0.0.1:1", "--patience", "0"];
    machine.run_to(5, &[&["build"][..], &nowhere].concat());
    machine.run_to(1, &[&compat[..], &nowhere].concat());
    // The same by a setting, in the second file.
    let second = machine.path("base/clusterrunner-rust.conf");
    fs::write(second, "[general]\ncompat_exit_codes = True\n").unwrap();
    machine.run_to(1, &["build"]);
    let running = machine.path("project/running");
    machine.write_jobs(&format!(
        "Job:\n  commands: ['touch {}', sleep 60]\n  atomizers: [{{N: echo 1}}]\n",
        running.display()
    ));
    let mut build = machine.start(&["build"]);
    wait_for("the atom runs", async || running.exists().then_some(())).await;
    interrupt(&build);
    let ended = wait_for("build ends", async || build.try_wait().unwrap()).await;
    assert_eq!(ended.code(), Some(0));
}

/// A process that looks like a daemon of the original.
fn original_daemon(machine: &Machine, program: &str, what: &str) -> std::process::Child {
    let script = machine.path(program);
    fs::write(&script, "import signal\nsignal.pause()\n").unwrap();
    let mut command = Command::new("python3");
    command.arg(&script).arg(what).process_group(0);
    let child = command.spawn().unwrap();
    let pid_file = machine.path(&format!("base/.clusterrunner_{what}.pid"));
    fs::write(pid_file, child.id().to_string()).unwrap();
    child
}

#[tokio::test]
async fn stop_ends_the_originals_daemons_of_the_same_base_directory() {
    let machine = Machine::new("");
    let mut master = original_daemon(&machine, "main.py", "master");
    // The process id has gone to a stranger since.
    let mut stranger = original_daemon(&machine, "other.py", "slave");
    let stopped = machine.run_to(0, &["stop"]);
    let words = format!(
        "Stopped the master of the original (process {})",
        master.id()
    );
    assert!(stopped.stdout.contains(&words), "{stopped:?}");
    assert!(!stopped.stdout.contains("slave"), "{stopped:?}");
    wait_for("the master ends", async || master.try_wait().unwrap()).await;
    assert_eq!(stranger.try_wait().unwrap(), None);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    let nothing = machine.run_to(0, &["stop"]);
    assert!(
        nothing.stdout.contains("No ClusterRunner is running"),
        "{nothing:?}"
    );
}
