//! The master's journal: snapshots in the face of death, and the command that looks after it.

use crate::farm::Farm;
use crate::machine::Ended;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::BuildView;
use clusterrunner_common::ids::BuildId;
use std::fs;
use std::time::{Duration, Instant};

/// Atoms of a build that is big enough to bring a snapshot with it.
const MANY: u64 = 20_000;

fn journal(farm: &Farm, arguments: &[&str]) -> Ended {
    let mut command = farm.command();
    command.arg("journal").args(arguments);
    command.output().unwrap().into()
}

/// A project with many atoms, each with a long beginning.
fn with_atoms(number: u64, length: usize) -> Repository {
    let long = "x".repeat(length);
    Repository::with_jobs(&format!(
        "Job:\n  commands: [echo]\n  atomizers: [{{N: seq -f '{long}%.0f' 1 {number}}}]\n"
    ))
}

async fn prepared(farm: &Farm, build: BuildId, num_atoms: u64) -> BuildView {
    let client = farm.client();
    wait_for("it is prepared", async || {
        let view = client.build(build).await.unwrap();
        (view.num_subjobs == num_atoms).then_some(view)
    })
    .await
}

#[tokio::test]
async fn a_master_is_killed_around_its_snapshots() {
    let repository = with_atoms(MANY, 100);
    let mut farm = Farm::start(&[]).await;
    let mut views: Vec<BuildView> = Vec::new();
    for round in 0..5 {
        let build = farm.submit(&repository.request()).await;
        views.push(prepared(&farm, build, MANY).await);
        // Nothing to wait for: the moment of the death is what the rounds differ in.
        tokio::time::sleep(Duration::from_millis(60 * round)).await;
        farm.kill_master();
        farm.start_master().await;
        for view in &views {
            let after = farm.client().build(view.id).await.unwrap();
            assert_eq!(after, *view);
        }
    }
    let ids: Vec<u64> = views.iter().map(|view| view.id.0).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    farm.kill_master();
    let verified = journal(&farm, &["verify"]);
    assert_eq!(verified.code, Some(0), "{verified:#?}");
}

#[tokio::test]
async fn a_journal_is_verified_exported_and_brought_back() {
    let repository =
        Repository::with_jobs("Job:\n  commands: [echo hello]\n  atomizers: [{N: seq 3}]\n");
    let mut farm = Farm::start(&[1]).await;
    let view = farm.run(&repository.request()).await;
    let atoms = farm.atoms(view.id).await;
    for task in [&["verify"][..], &["export"], &["repair", "--yes"]] {
        let ended = journal(&farm, task);
        assert_eq!(ended.code, Some(5), "{ended:#?}");
        assert!(ended.stderr.contains("is running"), "{ended:#?}");
    }
    farm.stop_slave(0);
    assert!(farm.stop_master().success());
    let verified = journal(&farm, &["verify"]);
    assert_eq!(verified.code, Some(0), "{verified:#?}");
    assert!(
        verified.stdout.contains("Nothing is damaged"),
        "{verified:#?}"
    );
    let exported = journal(&farm, &["export", "-o", "backup.jsonl"]);
    assert_eq!(exported.code, Some(0), "{exported:#?}");
    let printed = journal(&farm, &["export"]);
    let backup = fs::read_to_string(farm.path("backup.jsonl")).unwrap();
    assert_eq!(printed.stdout, backup);
    assert!(backup.lines().count() > 3, "{backup}");
    // Nothing is there any more, and nothing is guessed.
    fs::remove_dir_all(farm.path("base/master/journal")).unwrap();
    let nothing = journal(&farm, &["verify"]);
    assert_eq!(nothing.code, Some(2), "{nothing:#?}");
    let repaired = journal(&farm, &["repair", "--from", "backup.jsonl", "--yes"]);
    assert_eq!(repaired.code, Some(0), "{repaired:#?}");
    farm.start_master().await;
    assert_eq!(farm.client().build(view.id).await.unwrap(), view.0);
    assert_eq!(farm.atoms(view.id).await, atoms);
    assert_eq!(farm.console(view.id, &atoms[0]).await, "hello\n");
}

#[tokio::test]
async fn a_damaged_disk_is_named_and_repaired_only_when_told_to() {
    let repository =
        Repository::with_jobs("Job:\n  commands: [echo]\n  atomizers: [{N: echo 1}]\n");
    let mut farm = Farm::start(&[]).await;
    for _ in 0..10 {
        farm.submit(&repository.request()).await;
    }
    farm.kill_master();
    let db = farm.path("base/master/journal/db");
    let mut bytes = fs::read(&db).unwrap();
    // In the middle of what was written, which is where the text of the ninth request is.
    let text = b"\"build\":[9,{\"queued\"";
    let at = bytes.windows(text.len()).position(|window| window == text);
    bytes[at.unwrap()] ^= 1;
    fs::write(&db, bytes).unwrap();
    let refused: Ended = {
        let mut command = farm.command();
        command.arg("master").output().unwrap().into()
    };
    assert_eq!(refused.code, Some(5), "{refused:#?}");
    assert!(
        refused.stderr.contains("clusterrunner journal"),
        "{refused:#?}"
    );
    let verified = journal(&farm, &["verify"]);
    assert_eq!(verified.code, Some(1), "{verified:#?}");
    assert!(verified.stdout.contains("damaged:"), "{verified:#?}");
    let asked = journal(&farm, &["repair"]);
    assert_eq!(asked.code, Some(1), "{asked:#?}");
    assert!(asked.stdout.contains("Nothing was changed"), "{asked:#?}");
    assert_eq!(
        journal(&farm, &["verify"]).code,
        Some(1),
        "nothing was changed"
    );
    let repaired = journal(&farm, &["repair", "--yes"]);
    assert_eq!(repaired.code, Some(0), "{repaired:#?}");
    assert!(
        repaired.stdout.contains("lost without it:"),
        "{repaired:#?}"
    );
    assert!(
        repaired.stdout.contains("journal.before-repair-"),
        "{repaired:#?}"
    );
    farm.start_master().await;
    let builds = farm.client().builds().await.unwrap();
    assert!((1..10).contains(&builds.len()), "{builds:?}");
    let next = farm.submit(&repository.request()).await;
    assert_eq!(next.0, builds.len() as u64 + 1);
}

/// How long the start takes is printed, for docs/reliability.md: `cargo test -p clusterrunner-tests
/// hundred_thousand -- --nocapture`.
#[tokio::test]
async fn a_master_starts_with_a_hundred_thousand_unfinished_atoms() {
    const ATOMS: u64 = 100_000;
    let repository = with_atoms(ATOMS, 8);
    let mut farm = Farm::start(&[2]).await;
    let build = farm.submit(&repository.request()).await;
    prepared(&farm, build, ATOMS).await;
    let client = farm.client();
    wait_for("some atoms have a result", async || {
        let view = client.build(build).await.unwrap();
        (view.num_atoms_completed >= 100).then_some(())
    })
    .await;
    farm.stop_slave(0);
    let before = client.build(build).await.unwrap();
    for how in ["killed", "stopped"] {
        if how == "killed" {
            farm.kill_master();
        } else {
            assert!(farm.stop_master().success());
        }
        let begin = Instant::now();
        farm.start_master().await;
        println!("{how}: first answer after {:?}", begin.elapsed());
        let after = client.build(build).await.unwrap();
        assert_eq!(after.num_atoms_completed, before.num_atoms_completed);
        assert_eq!(after.num_atoms, Some(ATOMS));
    }
    client.cancel(build).await.unwrap();
}
