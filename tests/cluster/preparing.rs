//! Projects whose preparing goes badly wrong: it is an error of their build, and the master and other builds go on.

use crate::farm::{Extra, Farm};
use crate::job::job;
use crate::repository::Repository;
use crate::wait::wait_for;
use std::fs::{self, File};

/// A project whose job has one atomizer; `line` makes its command.
fn atomizer(line: impl Fn(&Repository) -> String) -> Repository {
    let repository = Repository::empty();
    repository.commit_job(&job("true").atomizer(line(&repository)));
    repository
}

#[tokio::test]
async fn an_atomizer_that_kills_or_stops_its_parent_fails_its_own_build() {
    let farm = Farm::start(&[2]).await;
    let master = farm.master_process();
    for (line, reasons) in [
        (
            "kill -9 $PPID; sleep 600",
            ["could not be prepared", "signal 9"],
        ),
        (
            "kill -STOP $PPID; sleep 600",
            ["could not be prepared", "SIGSTOP"],
        ),
        (
            "kill -ABRT $PPID; sleep 600",
            ["could not be prepared", "signal 6"],
        ),
    ] {
        let repository = atomizer(|repository| format!("export {}; {line}", repository.marker()));
        farm.run(&repository.request()).await.errs(&reasons);
        repository.wait_until_gone().await;
    }
    farm.works().await;
    assert_eq!(farm.master_process(), master);
}

/// Nobody but the system can keep a user's process from killing the master, which has the same user.
#[tokio::test]
async fn a_build_whose_preparing_kills_the_master_twice_is_not_tried_again() {
    let mut farm = Farm::start(&[2]).await;
    let repository = atomizer(|repository| {
        format!(
            "touch '{}'; sleep 600",
            repository.outside("started").display()
        )
    });
    let started = repository.outside("started");
    let bad = farm.submit(&repository.request()).await;
    let has_started = async || {
        wait_for("its atomizer has started", async || {
            fs::remove_file(&started).ok()
        })
        .await;
    };
    // One that is stopped in order, as often as one likes, speaks against nobody.
    for _ in 0..2 {
        has_started().await;
        farm.stop_master();
        farm.start_master().await;
    }
    for _ in 0..2 {
        has_started().await;
        farm.kill_master();
        farm.start_master().await;
    }
    farm.end_of(bad)
        .await
        .errs(&["died 2 times while it prepared this build"]);
    farm.works().await;
}

#[tokio::test]
async fn a_build_can_be_canceled_whatever_its_preparing_does() {
    let farm = Farm::start(&[1]).await;
    let repository = atomizer(|repository| {
        let started = repository.outside("started");
        format!(
            "trap '' TERM; touch '{}'; while true; do sleep 0.1; done",
            started.display()
        )
    });
    let started = repository.outside("started");
    let build = farm.submit(&repository.request()).await;
    wait_for("its atomizer has started", async || {
        started.exists().then_some(())
    })
    .await;
    farm.client().cancel(build).await.unwrap();
    farm.end_of(build).await.ends_canceled();
    farm.works().await;
}

/// Git needs more memory for it than it may have: its process ends, or git says so.
#[tokio::test]
async fn a_file_that_needs_too_much_memory_fails_its_build() {
    let mut farm = Farm::with(&Extra {
        general: "git_max_memory_bytes = 100000000",
        ..Extra::default()
    });
    farm.start_all(&[1]).await;
    let repository = Repository::of(&job("echo on"));
    // Zeros, which take next to nothing in the repository.
    let file = File::create(repository.path().join("zeros")).unwrap();
    file.set_len(400 << 20).unwrap();
    repository.commit(&[]);
    farm.run(&repository.request()).await.errs(&["emory"]);
    farm.works().await;
}

/// What a child finds odd is in the log of the daemon.
#[tokio::test]
async fn warnings_of_preparing_reach_the_master_s_log() {
    let farm = Farm::start(&[1]).await;
    let repository = Repository::of(&job("echo on"));
    let head = repository.git(&["rev-parse", "HEAD"]);
    let submodule = format!("160000,{head},nowhere");
    repository.git(&["update-index", "--add", "--cacheinfo", &submodule]);
    repository.git(&["commit", "--quiet", "--message=submodule"]);
    farm.run(&repository.request()).await.passes();
    let log = farm.output("master");
    assert!(log.contains("a submodule is not in .gitmodules"), "{log}");
}

#[tokio::test]
async fn limits_of_the_settings_hold_on_the_master_and_on_slaves() {
    let repository = Repository::of(&job("echo on"));
    repository.commit(&[("a/b/c", "")]);
    for setting in [
        "git_max_depth",
        "git_max_entries",
        "git_max_file_bytes",
        "git_max_work_tree_bytes",
    ] {
        let mut farm = Farm::with(&Extra {
            general: &format!("{setting} = 2"),
            ..Extra::default()
        });
        farm.start_all(&[]).await;
        farm.run(&repository.request())
            .await
            .errs(&["refused", setting]);
    }
    let mut farm = Farm::with(&Extra {
        slave: "git_max_depth = 2",
        ..Extra::default()
    });
    farm.start_all(&[1]).await;
    let build = farm.run(&repository.request()).await;
    build.errs(&["No slave could set this build up", "git_max_depth"]);
    farm.works().await;
}
