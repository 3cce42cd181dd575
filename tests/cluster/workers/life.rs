//! Workers while their farm does other things: it fails fast, hunts, bisects, and its slaves die.

use super::{Story, wait_for_end_of, worker};
use crate::farm::{Extra, Farm};
use crate::job::Job;
use crate::processes;
use crate::wait::wait_for;
use clusterrunner_common::api::AtomState;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::work::InWorker;
use serde_json::{Value, json};
use std::fs;

/// Waits in atom 1 until there is a file `LOG.go`.
const FIRST_WAITS: &str = "while [ $N = 1 ] && [ ! -e \"$LOG.go\" ]; do sleep 0.05; done";

fn own() -> (Value, String) {
    (json!({"command": "python3 worker.py"}), worker(""))
}

impl Story {
    /// Atom 1 waits, all others have ended.
    async fn others_have_ended(&self, build: BuildId) {
        wait_for("the first atom", async || {
            self.log("ran ").contains(&"1".to_owned()).then_some(())
        })
        .await;
        wait_for("the end of the other atoms", async || {
            let atoms = self.farm.atoms(build).await;
            let ended = atoms
                .iter()
                .filter(|atom| atom.state == AtomState::Completed);
            (ended.count() == 5).then_some(())
        })
        .await;
    }

    fn go(&self) {
        fs::write(self.repository.outside("log.go"), "").unwrap();
    }
}

#[tokio::test]
async fn a_slave_that_is_killed_leaves_no_idle_worker() {
    let (own, text) = own();
    for (worker, text) in [(own, text), (json!("bash"), String::new())] {
        let files = [("worker.py", text.as_str())];
        let farm = Farm::start(&[2]).await;
        let mut story = Story::on(farm, worker, &files, FIRST_WAITS, |job| job);
        let build = story.farm.submit(&story.repository.request()).await;
        // One executor has the first atom, the other one has none.
        story.others_have_ended(build).await;
        let log = story.repository.outside("log").display().to_string();
        let found = processes::with_text(&log);
        assert!(found.len() >= 3, "no two workers and an atom: {found:?}");
        story.farm.kill_slave(0);
        wait_for("the end of all that it started", async || {
            processes::with_text(&log).is_empty().then_some(())
        })
        .await;
        story.go();
        story.farm.restart_slave(0, 2);
        let build = story.farm.end_of(build).await.passes();
        assert_eq!(build.num_atoms_flaky, Some(0));
        story.leaves_nothing().await;
        let consoles = story.farm.slave_directory(0).join("consoles");
        wait_for("the end of the files of workers", async || {
            let names = fs::read_dir(&consoles).unwrap().flatten();
            let mut names = names.map(|entry| entry.file_name().into_string().unwrap());
            (!names.any(|name| name.starts_with("worker_"))).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_build_that_fails_fast_leaves_no_worker() {
    // What waits on the slave may begin before the build ends: it never ends by itself.
    let command = "[ $N != 2 ] && until [ $N -lt 3 ]; do sleep 0.02; done";
    let story = Story::with("", command, |job| job.with("max_fail", 1)).await;
    let build = story.run().await.fails(&[(2, 1)]);
    assert_eq!(
        (build.num_atoms_completed, build.num_atoms_not_run),
        (2, Some(4))
    );
    story.leaves_nothing().await;
}

#[tokio::test]
async fn hunts_run_without_a_worker() {
    let (own, text) = own();
    let files = [("worker.py", text.as_str())];
    let mut farm = Farm::with(&Extra {
        master: "hunt_flakes = True\n",
        ..Extra::default()
    });
    farm.start_all(&[1, 1]).await;
    let story = Story::on(farm, own, &files, FIRST_WAITS, |job| job);
    let build = story.farm.submit(&story.repository.request()).await;
    wait_for("hunts", async || {
        (story.log("ran ").len() > 8).then_some(())
    })
    .await;
    story.go();
    let build = story.farm.end_of(build).await.passes();
    assert_eq!(build.num_atoms_flaky, Some(0));
    assert_eq!(story.log("warm ").len(), 6);
    for id in story.log("start ") {
        wait_for_end_of(&id).await;
    }
}

#[tokio::test]
async fn bisecting_judges_atoms_without_their_worker() {
    let command = "case $N in 2) touch \"$PROJECT_DIR/left\" ;; 5) [ ! -e left ] ;; esac";
    let story = Story::new("", command).await;
    let build = story.run().await.fails(&[(5, 1)]);
    assert_eq!(story.log("warm ").len(), 6);
    let ended = story
        .farm
        .user(&["bisect", &build.id.to_string(), "4_0", "--trials", "2"]);
    assert!(ended.stdout.contains("  1_0 (N=\"2\")\n"), "{ended:#?}");
    assert_eq!(story.log("warm ").len(), 6);
}

/// Both variables of an atom go to the worker.
#[tokio::test]
async fn atoms_of_several_variables_run_in_a_worker() {
    let test = "import os, unittest\n\nclass T(unittest.TestCase):\n    def test_it(self):\n        \
                print('ran', os.environ['N'], os.environ['M'], file=open(os.environ['LOG'], 'a'))\n";
    let files = [("test_a.py", test)];
    let several = |whole: Job| {
        whole
            .with("commands", json!(["python3 -B -m unittest test_a"]))
            .with(
                "atomizers",
                json!([{"product": {"M": "echo a; echo 'b c'", "N": "seq 2"}}]),
            )
    };
    let story = Story::of(json!("unittest"), &files, "true", several).await;
    let build = story.run().await.passes();
    let atoms = story.farm.atoms(build.id).await;
    assert_eq!(atoms.len(), 4);
    let ran = Some(InWorker::Ran);
    assert!(atoms.iter().all(|atom| atom.worker == ran), "{atoms:#?}");
    let mut ran = story.log("ran ");
    ran.sort();
    assert_eq!(ran, ["1 a", "1 b c", "2 a", "2 b c"]);
}
