//! What tools that were made for the original count on.

use crate::farm::{Extra, Farm};
use crate::machine::Machine;
use crate::repository::Repository;
use clusterrunner_client::client::Archive;
use clusterrunner_common::api::{BuildResult, BuildStatus};
use clusterrunner_common::clock::Timestamp;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
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
