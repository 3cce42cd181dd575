//! The set-up of a build, as users see it.

use crate::farm::Farm;
use crate::job::job;
use crate::repository::Repository;
use crate::wait::wait_for;
use clusterrunner_common::api::{BuildOnSlaveState, BuildView};
use std::fmt::Display;
use std::fs;
use std::process::Output;

fn until_there(file: &impl Display) -> String {
    format!("until [ -e '{file}' ]; do sleep 0.02; done")
}

fn client(farm: &Farm, arguments: &[&str]) -> Output {
    let master = farm.master_address();
    let mut command = farm.command();
    command.args(arguments).args(["--master-url", &master]);
    command.output().unwrap()
}

#[tokio::test]
async fn a_set_up_is_seen_while_it_runs() {
    let repository = Repository::empty();
    let [go, end] = ["go", "end"].map(|name| repository.outside(name));
    let set_up = job(until_there(&end.display())).atoms(1);
    let set_up = set_up
        .setup("echo begins")
        .setup(until_there(&go.display()));
    repository.commit_job(&set_up.setup("echo ends"));
    let farm = Farm::start(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    wait_for("the set-up prints", async || {
        let output = farm.client().setup_output(build, None, 10, 0).await.ok()?;
        (output.content == "begins\n").then_some(())
    })
    .await;
    let view = farm.client().build(build).await.unwrap();
    let [slave] = &view.slaves_setting_up[..] else {
        panic!("one slave sets it up: {view:?}");
    };
    assert_eq!(slave.state, BuildOnSlaveState::SettingUp);
    let slaves = farm.client().slaves().await.unwrap();
    assert_eq!(slaves[0].current_build_state, Some(slave.state));
    let shown = client(&farm, &["status", &build.to_string()]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("set-up    runs on slave 1 ("), "{shown}");
    for command in ["slaves", "status"] {
        let shown = String::from_utf8(client(&farm, &[command]).stdout).unwrap();
        assert!(shown.contains("setting up"), "{shown}");
    }

    fs::write(&go, "").unwrap();
    let followed = client(&farm, &["logs", &build.to_string(), "--setup", "--follow"]);
    assert_eq!(
        String::from_utf8(followed.stdout).unwrap(),
        "begins\nends\n"
    );
    let slaves = farm.client().slaves().await.unwrap();
    assert_eq!(
        slaves[0].current_build_state,
        Some(BuildOnSlaveState::Ready)
    );
    fs::write(&end, "").unwrap();
    let view = farm.end_of(build).await.passes();
    assert!(view.slaves_setting_up.is_empty());
    farm.wait_for_rest().await;
    let kept = client(&farm, &["logs", &build.to_string(), "--setup"]);
    assert_eq!(String::from_utf8(kept.stdout).unwrap(), "begins\nends\n");
    let none = client(&farm, &["logs", &build.to_string(), "--teardown"]);
    let told = String::from_utf8(none.stderr).unwrap();
    assert!(
        told.contains("build 1 is over and keeps no output of teardown_build"),
        "{told}"
    );
}

#[tokio::test]
async fn a_master_that_starts_again_repeats_no_set_up() {
    let repository = Repository::empty();
    let [count, end] = ["count", "end"].map(|name| repository.outside(name));
    let counted = job(until_there(&end.display())).atoms(3);
    repository.commit_job(&counted.setup(format!("echo once >>'{}'", count.display())));
    let mut farm = Farm::start(&[1]).await;
    let build = farm.submit(&repository.request()).await;
    let runs = |view: &BuildView| view.num_atoms_in_progress == 1;
    farm.wait_for_build(build, "an atom runs", runs).await;
    farm.stop_master();
    farm.start_master().await;
    fs::write(&end, "").unwrap();
    farm.end_of(build).await.passes();
    assert_eq!(fs::read_to_string(&count).unwrap(), "once\n");
}
