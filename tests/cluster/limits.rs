//! Limits in time and size: whatever hangs or floods ends, is told, and takes nothing else with it.

use crate::farm::{Extra, Farm};
use crate::processes;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::{AtomState, BuildResult, BuildStatus};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Output;

/// Starts processes that leave the session and do not end when they are asked to.
const STUBBORN: &str = r#"setsid bash -c 'trap "" TERM; sleep 301 & sleep 302' & (setsid sleep 303 &); trap '' TERM; echo begun; sleep 304; sleep 305"#;

/// The variable that the processes of [`STUBBORN`] are found by.
fn marker(repository: &Repository) -> String {
    format!("MARKER={}/.git/atom", repository.path().display())
}

async fn wait_until_gone(repository: &Repository) {
    let marker = marker(repository);
    wait_for("all processes of the build are gone", async || {
        processes::with_text(&marker).is_empty().then_some(())
    })
    .await;
}

async fn check_next_build(farm: &Farm) {
    let next = Repository::with_jobs("Job:\n  commands: [echo on]\n  atomizers: [{N: seq 1 2}]\n");
    let build = farm.run(&next.request()).await;
    assert_eq!(build.result, Some(BuildResult::NoFailures), "{build:?}");
    farm.wait_for_rest().await;
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
    let job = format!(
        "Job:\n  timeout: 1\n  commands:\n    - |-\n      if [ $N = 2 ]; then export MARKER='{}/.git/atom'; {STUBBORN}; fi; echo done\n  \
         atomizers: [{{N: seq 1 3}}]\n",
        repository.path().display()
    );
    repository.commit(&[("clusterrunner.yaml", &job)]);
    let farm = Farm::start(&[2]).await;
    let build = farm.run(&repository.request()).await;
    assert_eq!(build.status, BuildStatus::Finished, "{build:?}");
    assert_eq!(build.result, Some(BuildResult::Failure));
    let failed = build.failed_atoms.unwrap();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].exit_code, Some(124));
    assert_eq!(failed[0].trouble.as_deref(), Some("timed out after 1 s"));
    let console = farm.console(build.id, &failed[0]).await;
    assert_eq!(console, "begun\nclusterrunner: timed out after 1 s\n");
    for atom in farm.atoms(build.id).await {
        assert_eq!(
            atom.trouble.is_some(),
            atom.exit_code != Some(0),
            "{atom:?}"
        );
    }
    wait_until_gone(&repository).await;
    let shown = status(&farm);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("timed out after 1 s"), "{shown}");
    check_next_build(&farm).await;
}

#[tokio::test]
async fn an_atomizer_or_a_set_up_that_hangs_fails_its_build() {
    for (section, reason) in [
        ("atomizer_timeout", "Atomizer command failed!"),
        ("setup_timeout", "setup_build timed out after 1 s"),
    ] {
        let repository = Repository::empty();
        let slow = format!(
            "export MARKER=\"{}/.git/atom\"; {STUBBORN}",
            repository.path().display()
        );
        let (atomizer, setup) = match section {
            "atomizer_timeout" => (slow.as_str(), "echo"),
            _ => ("seq 1 2", slow.as_str()),
        };
        let job = format!(
            "Job:\n  {section}: 1s\n  setup_build:\n    - |-\n      {setup}\n  commands: [echo never]\n  atomizers:\n    - N: |-\n        {atomizer}\n"
        );
        repository.commit(&[("clusterrunner.yaml", &job)]);
        let farm = Farm::start(&[1]).await;
        let build = farm.run(&repository.request()).await;
        assert_eq!(build.status, BuildStatus::Error, "{build:?}");
        let error = build.error_message.unwrap();
        for part in [reason, "timed out after 1 s", "begun"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        wait_until_gone(&repository).await;
        check_next_build(&farm).await;
    }
}

#[tokio::test]
async fn a_tear_down_that_hangs_is_ended_and_told() {
    let repository = Repository::empty();
    let job = format!(
        "Job:\n  teardown_timeout: 1\n  teardown_build:\n    - |-\n      export MARKER='{}/.git/atom'; {STUBBORN}\n  \
         commands: [echo]\n  atomizers: [{{N: seq 1 2}}]\n",
        repository.path().display()
    );
    repository.commit(&[("clusterrunner.yaml", &job)]);
    let farm = Farm::start(&[1]).await;
    let build = farm.run(&repository.request()).await;
    assert_eq!(build.result, Some(BuildResult::NoFailures), "{build:?}");
    check_next_build(&farm).await;
    wait_until_gone(&repository).await;
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
    let job = format!(
        "Job:\n  commands:\n    - echo first line\n    - until test -e '{}'; do yes 'a line of the flood' | head -c 1000000 || true; done\n    \
         - echo last line\n  atomizers: [{{N: seq 1 1}}]\n",
        stop.display()
    );
    repository.commit(&[("clusterrunner.yaml", &job)]);
    let mut farm = Farm::with(&Extra {
        slave: "max_console_size = 1048576",
        ..Extra::default()
    });
    farm.start_all(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    let atom = wait_for("the atom runs", async || {
        let atoms = farm.atoms(build).await;
        let running = |atom: &&_| -> bool {
            let atom: &clusterrunner_common::api::AtomView = atom;
            atom.state == AtomState::InProgress
        };
        atoms.iter().find(running).cloned()
    })
    .await;
    let consoles = farm.path("base/slave-43001/consoles");
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
    assert!(
        piece(Some(0))
            .await
            .content
            .starts_with("first line\na line of")
    );
    assert!(piece(None).await.content.contains("a line of the flood"));
    let far = piece(Some(1_000_000_000)).await;
    assert_eq!((far.offset_line, far.num_lines), (1_000_000_000, 0));
    wait_for("what is dropped is given back", async || {
        (disk_use(&consoles) < 20 * MAX).then_some(())
    })
    .await;
    fs::write(&stop, "").unwrap();
    let view = farm.end_of(build).await;
    assert_eq!(view.result, Some(BuildResult::NoFailures), "{view:?}");
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
    let repository = Repository::empty();
    let job = format!(
        "Job:\n  commands:\n    - text={}\n    - echo ${{#text}} $N\n  atomizers: [{{N: seq 1 2}}]\n",
        "x".repeat(200_000)
    );
    repository.commit(&[("clusterrunner.yaml", &job)]);
    let farm = Farm::start(&[1]).await;
    let build = farm.run(&repository.request()).await;
    assert_eq!(build.result, Some(BuildResult::NoFailures), "{build:?}");
    let mut consoles = Vec::new();
    for atom in farm.atoms(build.id).await {
        consoles.push(farm.console(build.id, &atom).await);
    }
    assert_eq!(consoles, ["200000 1\n", "200000 2\n"]);
}

#[tokio::test]
async fn an_atomizer_that_floods_ends_the_build_with_an_error() {
    let farm = Farm::start(&[1]).await;
    // To its own end and without one: in both cases a part of the lines must not pass for all.
    for flood in ["yes | head -c 300000000", "yes"] {
        let job = format!("Job:\n  commands: [echo]\n  atomizers: [{{N: \"{flood}\"}}]\n");
        let build = farm.run(&Repository::with_jobs(&job).request()).await;
        assert_eq!(build.status, BuildStatus::Error, "{build:?}");
        let error = build.error_message.unwrap();
        let told = format!("Atomizer command failed! \"{flood}\" printed more than 256 MiB");
        assert!(error.starts_with(&told), "{error}");
    }
    check_next_build(&farm).await;
}
