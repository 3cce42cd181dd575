//! What `clusterrunner build` shows at a terminal, and where there is none.

use crate::farm::Farm;
use crate::machine::{Ended, Machine};
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::ids::BuildId;
use rustix::process::Signal;
use std::fs;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};

const TERMINAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/terminal.py");

/// Atoms that wait for the file `go`.
const WAITING: &str = "Job:
  commands: ['until test -e \"$PROJECT_DIR/go\"; do sleep 0.02; done']
  atomizers: [{N: 'echo a value that is much longer than a line of a terminal of 40 columns or of 80; echo b'}]
";

/// The same command at a terminal of so many columns.
fn at_terminal(machine: &Machine, columns: u16, arguments: &[&str]) -> Command {
    let build = machine.command(arguments);
    let mut command = Command::new("python3");
    command
        .args([TERMINAL, &format!("job:{columns}")])
        .arg(build.get_program())
        .args(build.get_args())
        .env_clear()
        .envs(
            build
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("TERM", "xterm")
        .current_dir(machine.path("project"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Reads what a program prints until it has printed this, and returns all of it.
fn read_until(program: &mut Child, text: &str) -> String {
    let stdout = program.stdout.as_mut().unwrap();
    let (mut shown, mut some) = (Vec::new(), [0; 4096]);
    loop {
        let length = stdout.read(&mut some).unwrap();
        shown.extend_from_slice(&some[..length]);
        let seen = String::from_utf8_lossy(&shown);
        if seen.contains(text) {
            return seen.into_owned();
        }
        assert_ne!(length, 0, "{text:?} was not shown, but: {seen}");
    }
}

fn end(program: Child) -> Ended {
    program.wait_with_output().unwrap().into()
}

/// The lines that a terminal showed, without what it obeys.
fn lines(shown: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = shown;
    while let Some((before, sequence)) = rest.split_once("\u{1b}[") {
        text.push_str(before);
        let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap();
        rest = &sequence[end + 1..];
    }
    text.push_str(rest);
    text.split(['\r', '\n']).map(str::to_owned).collect()
}

/// The rows of a terminal that a line fills.
fn rows(line: &str, columns: u16) -> Vec<String> {
    let characters: Vec<char> = line.chars().collect();
    let rows = characters.chunks(columns.into());
    rows.map(|row| row.iter().collect()).collect()
}

#[test]
fn the_bar_fits_the_terminal_and_names_what_runs() {
    let machine = Machine::new(WAITING);
    let go = machine.path("project/go");
    for (columns, bar, cut) in [
        (
            80,
            "]  0/2 atoms, 0 failed, ",
            "artifact_0_0  N=\"a value that is much longer than a line of a ter...",
        ),
        (40, "]  0/2, 0 failed", "artifact_0_0  N=\"a value ..."),
    ] {
        let mut build = at_terminal(&machine, columns, &["build", "--no-results"])
            .spawn()
            .unwrap();
        let mut shown = read_until(&mut build, "artifact_0_0");
        fs::write(&go, "").unwrap();
        let ended = end(build);
        shown.push_str(&ended.stdout);
        assert_eq!(ended.code, Some(0), "{shown}");
        // What does not fit begins the next line, so that nothing after it is where it belongs.
        let lines = lines(&shown);
        let rows = lines.iter().flat_map(|line| rows(line, columns));
        let rows: Vec<String> = rows.collect();
        let (mut bars, mut atoms) = (0, 0);
        for row in &rows {
            let atom = row.find("artifact_");
            assert!(atom.is_none_or(|column| column == 12), "{row:?}");
            bars += usize::from(row.contains(bar) && row.find('[') < Some(12));
            atoms += usize::from(row.contains(cut));
        }
        assert!(bars > 0 && atoms > 0, "{rows:#?}");
        fs::remove_file(&go).unwrap();
    }
}

/// The first Ctrl-C at a terminal cancels the build, and nothing of what was drawn stays.
#[test]
fn ctrl_c_at_a_terminal_cancels_the_build() {
    let machine = Machine::new(WAITING);
    let mut build = at_terminal(&machine, 80, &["build", "--no-results"])
        .spawn()
        .unwrap();
    let mut shown = read_until(&mut build, "artifact_0_0");
    crate::processes::signal(build.id(), Signal::TERM);
    let ended = end(build);
    shown.push_str(&ended.stdout);
    assert_eq!(ended.code, Some(4), "{shown}");
    let lines = lines(&shown);
    let at = |text: &str| lines.iter().position(|line| line.contains(text));
    let canceling = at("Canceling build 1.").unwrap();
    let bar = lines
        .iter()
        .rposition(|line| line.contains("atoms, 0 failed"));
    assert!(bar.is_some_and(|bar| bar < canceling), "{lines:#?}");
    assert!(
        at("Build 1 is canceled.").unwrap() > canceling,
        "{lines:#?}"
    );
    let status = machine.run_to(0, &["status", "1"]).stdout;
    assert!(status.starts_with("Build 1: canceled"), "{status}");
}

/// Colours are wanted at a terminal, unless they are not.
#[test]
fn colours_go_to_terminals_that_want_them() {
    let machine = Machine::new("Job:\n  commands: [exit $N]\n  atomizers: [{N: seq 0 2}]\n");
    let line = ["build", "--no-results"];
    let piped = machine.run_to(1, &line);
    for text in [&piped.stdout, &piped.stderr] {
        let is_stray = |character: char| character.is_control() && character != '\n';
        assert!(!text.contains(is_stray), "{text:?}");
    }
    let end_of = "Failed atoms:
  artifact_1_0  exit code 1  N=\"1\"  clusterrunner logs 1 1_0
  artifact_2_0  exit code 2  N=\"2\"  clusterrunner logs 1 2_0
Build 1 failed: 2 of 3 atoms failed, 1 passed in ";
    assert!(piped.stdout.contains(end_of), "{piped:#?}");
    assert_eq!(piped.stdout.matches("Build 1 ").count(), 1, "{piped:#?}");
    let first = machine.run_to(0, &["logs", "1", "1_0"]);
    assert_eq!(first.stdout, "");

    let coloured = |no_color: &str| {
        let mut command = at_terminal(&machine, 80, &line);
        let output = command.env("NO_COLOR", no_color).output().unwrap();
        let ended = Ended::from(output);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let mut sequences = ended.stdout.split("\u{1b}[").skip(1);
        sequences.any(|rest| {
            let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
            rest[end..].starts_with('m')
        })
    };
    assert!(coloured(""), "colours at a terminal");
    assert!(!coloured("1"), "none where NO_COLOR is set");
}

/// Whoever reads the end of the output, or looks later, learns why the build took so long.
#[tokio::test]
async fn a_lost_slave_is_told_by_build_and_by_status() {
    let repository = Repository::empty();
    let (started, release) = (repository.outside("started"), repository.outside("release"));
    let job = format!(
        "Job:\n  commands: [\"touch '{}'\", \"until test -e '{}'; do sleep 0.02; done\"]\n  \
         atomizers: [{{N: seq 1 2}}]\n",
        started.display(),
        release.display()
    );
    repository.commit(&[("clusterrunner.yaml", &job)]);
    let mut farm = Farm::start(&[1]).await;
    let (url, master) = (repository.path().to_str().unwrap(), farm.master_address());
    let mut command = farm.command();
    command.args([
        "build",
        "--no-results",
        "--master-url",
        &master,
        "git",
        "--url",
        url,
    ]);
    let build = tokio::task::spawn_blocking(move || command.output().unwrap());
    wait_for("an atom runs", async || started.exists().then_some(())).await;
    farm.kill_slave(0);
    farm.restart_slave(0, 1);
    fs::write(&release, "").unwrap();
    let ended = Ended::from(build.await.unwrap());
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let warning = format!("slave {} was lost: ", farm.slave_address(0));
    let told = format!("warning: {warning}");
    assert_eq!(ended.stderr.matches(&told).count(), 1, "{ended:#?}");
    assert!(ended.stderr.contains(" run again\n"), "{ended:#?}");
    let verdict = format!(" (1 warning: clusterrunner status 1 -m {master})\n");
    assert!(ended.stdout.ends_with(&verdict), "{ended:#?}");
    let status = farm.user(&["status", "1"]);
    assert!(status.stdout.contains(&warning), "{status:#?}");
}

/// The build goes on, and says why nobody saw its end.
#[tokio::test]
async fn a_build_whose_terminal_is_closed_says_so() {
    let machine = Machine::new(WAITING);
    let mut build = at_terminal(&machine, 80, &["build"]).spawn().unwrap();
    read_until(&mut build, "Build is running.");
    crate::processes::signal(build.id(), Signal::HUP);
    end(build);
    let status = || machine.run(&["status", "1"]).stdout;
    let note = "the terminal of `clusterrunner build` on ";
    wait_for("the build says so", async || {
        status().contains(note).then_some(())
    })
    .await;
    fs::write(machine.path("project/go"), "").unwrap();
    let waited = machine.run_to(0, &["wait", &BuildId(1).to_string()]);
    assert!(waited.stdout.starts_with("Build 1 passed: "), "{waited:#?}");
    machine.run_to(0, &["results", "1", "-o", "out"]);
    assert!(machine.path("project/out/artifact_0_0").is_dir());
}

/// A link that leads out, and a pipe: the atom passes, and its user learns that something is missing.
#[tokio::test]
async fn artifacts_that_are_left_out_are_told() {
    let machine = Machine::new(
        "Job:\n  commands: ['ln -s /etc/passwd $ARTIFACT_DIR/out; mkfifo $ARTIFACT_DIR/pipe']\n  \
         atomizers: [{N: echo 1}]\n",
    );
    machine.run_to(0, &["build", "--no-results"]);
    let status = || machine.run(&["status", "1"]).stdout;
    let told = "2 artifacts were left out: ";
    wait_for("it is told", async || status().contains(told).then_some(())).await;
    for what in [
        "artifact_0_0/pipe (it is no file",
        "artifact_0_0/out (the link leads out",
    ] {
        assert!(status().contains(what), "{}", status());
    }
}

#[test]
fn atoms_that_are_there_twice_are_told() {
    let machine = Machine::new(
        "Job:\n  commands: ['true']\n  atomizers: [{N: 'echo a; echo b; echo a; echo a'}]\n",
    );
    let built = machine.run_to(0, &["build", "--no-results"]);
    let told = "warning: 2 atoms are the same as ones before them, and run again: ";
    assert_eq!(built.stderr.matches(told).count(), 1, "{built:#?}");
}
