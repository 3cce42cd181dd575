//! A master that is killed again and again, in every phase of one build.

use crate::chaos::Dice;
use crate::farm::Farm;
use crate::repository::Repository;
use crate::wait::wait_for;
use crate::whole_build::{ATOMS, check_results, many_atoms, runs};
use clusterrunner_common::ids::BuildId;
use std::fs;
use std::time::{Duration, Instant};

/// Kills while atoms run, and while a result is on its way.
const WHILE_RUNNING: u64 = 14;
const WHILE_UPLOADING: u64 = 4;

struct Kills {
    farm: Farm,
    number: usize,
    slowest: Duration,
}

impl Kills {
    async fn kill(&mut self, when: &str) {
        self.farm.kill_master();
        let started = Instant::now();
        self.farm.start_master().await;
        self.number += 1;
        self.slowest = self.slowest.max(started.elapsed());
        eprintln!("kill {} ({when}): {:.0?}", self.number, started.elapsed());
    }

    fn completed(&self, build: BuildId) -> impl AsyncFn(u64) -> Option<()> + use<> {
        let client = self.farm.client();
        async move |least| {
            let view = client.build(build).await.unwrap();
            (view.num_atoms_completed >= least).then_some(())
        }
    }

    /// How many bytes of results are stored, acknowledged or not.
    fn stored(&self, build: BuildId) -> u64 {
        let blocks = format!("base/master/results/{build}/blocks");
        fs::metadata(self.farm.path(&blocks)).map_or(0, |blocks| blocks.len())
    }

    /// Whether something half written is there.
    fn is_half_written(&self, build: BuildId) -> bool {
        let results = self.farm.path(&format!("base/master/results/{build}"));
        let files = fs::read_dir(results).into_iter().flatten().flatten();
        let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        names.into_iter().any(|name| name.starts_with("incoming-"))
    }
}

#[tokio::test]
async fn a_master_is_killed_at_twenty_points_of_a_build() {
    let repository = Repository::empty();
    let (log, tries) = (repository.outside("runs"), repository.outside("tries"));
    let (release, job) = (
        repository.outside("release"),
        many_atoms(&repository.outside("runs"), "0.05"),
    );
    // The atomizer waits, so that a preparation can be hit.
    let seq = format!(
        "echo x >> '{}'; until test -e '{}'; do sleep 0.02; done; seq",
        tries.display(),
        release.display()
    );
    repository.commit(&[(
        "clusterrunner.yaml",
        &job.replace("N: seq", &format!("N: {seq}")),
    )]);
    let mut dice = Dice::from_environment();
    let mut kills = Kills {
        farm: Farm::start(&[2, 2]).await,
        number: 0,
        slowest: Duration::ZERO,
    };
    let build = kills.farm.submit(&repository.request()).await;
    wait_for("it is prepared", async || tries.exists().then_some(())).await;
    // Once: a second death over its preparing would end the build.
    kills.kill("preparing").await;
    fs::write(&release, "").unwrap();

    let mut uploading = 0;
    for round in 1..=(WHILE_RUNNING + WHILE_UPLOADING) {
        // The end is left for the archives.
        let least = round * 11 - dice.below(8);
        let completed = kills.completed(build);
        wait_for(&format!("{least} results"), async || completed(least).await).await;
        if round % 4 == 0 {
            uploading += 1;
            let before = kills.stored(build);
            wait_for("a result is being stored", async || {
                let is_over = completed(ATOMS.into()).await.is_some();
                (kills.stored(build) > before || is_over).then_some(())
            })
            .await;
            kills.kill("uploading").await;
        } else {
            kills.kill("running").await;
        }
    }
    assert_eq!(uploading, WHILE_UPLOADING);
    let completed = kills.completed(build);
    wait_for("all results", async || completed(ATOMS.into()).await).await;
    kills.kill("archiving").await;
    assert_eq!(kills.number, 20);
    eprintln!(
        "the slowest start until the first answer: {:.0?}",
        kills.slowest
    );

    let view = kills.farm.end_of(build).await;
    check_results(&kills.farm, &view).await;
    assert!(
        runs(&log).values().all(|times| *times == 1),
        "something ran again"
    );
    kills.farm.wait_for_rest().await;
    assert!(!kills.is_half_written(build), "a half result is left");
}
