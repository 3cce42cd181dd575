//! Limits in time and size: whatever hangs or floods ends, is told, and takes nothing else with it.

use crate::farm::{Extra, Farm};
use crate::job::job;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::AtomState;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Output;

/// Starts processes that leave the session and do not end when they are asked to.
const STUBBORN: &str = r#"setsid bash -c 'trap "" TERM; sleep 301 & sleep 302' & (setsid sleep 303 &); trap '' TERM; echo begun; sleep 304; sleep 305"#;

/// Exports what the processes of [`STUBBORN`] are found by, and starts them.
fn stubborn(repository: &Repository) -> String {
    format!("export {}; {STUBBORN}", repository.marker())
}

fn status(farm: &Farm) -> Output {
    let master = farm.master_address();
    let mut command = farm.command();
    command.args(["status", "1", "--master-url", &master]);
    command.output().unwrap()
}

#[tokio::test]
async fn an_atom_that_hangs_ends_by_its_limit() {
    let repository = Repository::empty();
    let command = format!(
        "if [ $N = 2 ]; then {}; fi; echo done",
        stubborn(&repository)
    );
    repository.commit_job(&job(command).atoms(3).with("timeout", 1));
    let farm = Farm::start(&[2]).await;
    let build = farm.run(&repository.request()).await.fails(&[(2, 124)]);
    let atoms = farm.atoms(build.id).await;
    let trouble: Vec<_> = atoms.iter().map(|atom| atom.trouble.as_deref()).collect();
    assert_eq!(trouble, [None, Some("timed out after 1 s"), None]);
    let consoles = farm.consoles(build.id).await;
    let hanging = "begun\nclusterrunner: timed out after 1 s\n";
    assert_eq!(consoles, ["done\n", hanging, "done\n"]);
    repository.wait_until_gone().await;
    let shown = String::from_utf8(status(&farm).stdout).unwrap();
    assert!(shown.contains("timed out after 1 s"), "{shown}");
    farm.works().await;
}

#[tokio::test]
async fn an_atomizer_or_a_set_up_that_hangs_fails_its_build() {
    for (section, reason) in [
        ("atomizer_timeout", "Atomizer command failed!"),
        ("setup_timeout", "setup_build timed out after 1 s"),
    ] {
        let repository = Repository::empty();
        let job = job("echo never").with(section, "1s");
        repository.commit_job(&match section {
            "atomizer_timeout" => job.atomizer(stubborn(&repository)),
            _ => job.setup(stubborn(&repository)),
        });
        let farm = Farm::start(&[1]).await;
        let build = farm.run(&repository.request()).await;
        build.errs(&[reason, "timed out after 1 s", "begun"]);
        repository.wait_until_gone().await;
        farm.works().await;
    }
}

#[tokio::test]
async fn a_tear_down_that_hangs_is_ended_and_told() {
    let repository = Repository::empty();
    let hanging = job("echo").teardown(stubborn(&repository));
    repository.commit_job(&hanging.with("teardown_timeout", 1));
    let farm = Farm::start(&[1]).await;
    farm.run(&repository.request()).await.passes();
    farm.works().await;
    repository.wait_until_gone().await;
    let log = farm.output("slave 0");
    assert!(log.contains("teardown_build timed out after 1 s"), "{log}");
}

/// Bytes that the files below a directory take of the disk.
fn disk_use(directory: &Path) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        sum += match entry.metadata() {
            Ok(found) if found.is_dir() => disk_use(&entry.path()),
            Ok(found) => found.blocks() * 512,
            Err(_) => 0,
        };
    }
    sum
}

#[tokio::test]
async fn a_flood_of_output_can_be_followed_and_fills_no_disk() {
    const MAX: u64 = 1 << 20;
    let repository = Repository::empty();
    let stop = repository.outside("stop");
    let flood = "yes 'a line of the flood' | head -c 1000000 || true";
    let until = format!("until test -e '{}'; do {flood}; done", stop.display());
    let flooding = job("echo first line").then(until).then("echo last line");
    repository.commit_job(&flooding.atoms(1));
    let mut farm = Farm::with(&Extra {
        slave: "max_console_size = 1048576",
        ..Extra::default()
    });
    farm.start_all(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    let atom = wait_for("the atom runs", async || {
        let mut atoms = farm.atoms(build).await.into_iter();
        atoms.find(|atom| atom.state == AtomState::InProgress)
    })
    .await;
    let consoles = farm.slave_directory(0).join("consoles");
    let console = consoles.join("0.1");
    wait_for("it has printed far more than is kept", async || {
        let length = fs::metadata(&console).map_or(0, |found| found.len());
        (length > 40 * MAX).then_some(())
    })
    .await;
    let client = farm.client();
    let piece = async |offset| {
        let piece = client.console(build, atom.subjob_id, atom.id, 3, offset);
        piece.await.unwrap()
    };
    let first = piece(Some(0)).await.content;
    assert!(first.starts_with("first line\na line of"), "{first}");
    assert!(piece(None).await.content.contains("a line of the flood"));
    let far = piece(Some(1_000_000_000)).await;
    assert_eq!((far.offset_line, far.num_lines), (1_000_000_000, 0));
    wait_for("what is dropped is given back", async || {
        (disk_use(&consoles) < 20 * MAX).then_some(())
    })
    .await;
    fs::write(&stop, "").unwrap();
    farm.end_of(build).await.passes();
    let text = farm.console(build, &atom).await;
    assert!(text.starts_with("first line\na line of the flood\n"));
    assert!(text.ends_with("\nlast line\n"));
    assert!(text.contains("\nclusterrunner: "), "{}", text.len());
    assert!(text.contains(" bytes of output were dropped here (max_console_size is 1048576)\n"));
    assert!(text.len() as u64 <= MAX + 200, "{}", text.len());
    farm.wait_for_rest().await;
}

#[tokio::test]
async fn an_atom_may_be_longer_than_the_system_lets_an_argument_be() {
    let farm = Farm::start(&[1]).await;
    let long = job(format!("text={}", "x".repeat(200_000))).then("echo ${#text} $N");
    let build = farm.runs(&long.atoms(2)).await.passes();
    assert_eq!(farm.consoles(build.id).await, ["200000 1\n", "200000 2\n"]);
}

#[tokio::test]
async fn an_atomizer_that_floods_ends_the_build_with_an_error() {
    let farm = Farm::start(&[1]).await;
    // To its own end and without one: in both cases a part of the lines must not pass for all.
    for flood in ["yes | head -c 300000000", "yes"] {
        let build = farm.runs(&job("echo").atomizer(flood)).await;
        let told = format!("Atomizer command failed! \"{flood}\" printed more than 256 MiB");
        let build = build.errs(&[&told]);
        assert!(build.error_message.as_ref().unwrap().starts_with(&told));
    }
    farm.works().await;
}
