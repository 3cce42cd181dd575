//! What commands may use, and that nothing of them outlives them.

use super::cells::Cell::{Open, Stopped};
use super::cells::{IN, Place};
use crate::job::{Job, job};
use crate::processes;
use crate::wait::wait_for;
use clusterrunner_common::api::AtomView;

/// Needs so many MiB of memory.
fn eats(mebibytes: u32) -> String {
    format!("python3 -c 'b = bytearray({mebibytes} << 20); b[::4096] = b[::4096]; print(\"{IN}\")'")
}

fn troubles(atoms: &[AtomView]) -> Vec<Option<&str>> {
    atoms.iter().map(|atom| atom.trouble.as_deref()).collect()
}

#[tokio::test]
async fn memory_ends_at_its_limit_which_is_told() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    // Where a job says nothing there is no limit.
    place.check(eats(200), [Open, Open, Open]).await;
    for level in ["none", "limits", "user"] {
        let limited = job(eats(200)).atoms(1).with("memory", "64 MiB");
        let (build, atoms, consoles) = place.run(level, limited).await;
        assert_eq!(
            troubles(&atoms),
            [Some("out of memory: 64 MiB limit")],
            "{level}"
        );
        assert!(!consoles[0].contains(IN), "{consoles:?}");
        let last = consoles[0].lines().last();
        assert_eq!(last, Some("clusterrunner: out of memory: 64 MiB limit"));
        assert_eq!(build.num_atoms_in_trouble, 1, "{build:#?}");
        // What needs less does not notice.
        let small = job(eats(10)).atoms(2).with("memory", "64 MiB");
        let (_, atoms, _) = place.run(level, small).await;
        assert_eq!(troubles(&atoms), [None, None], "{level}");
    }
}

#[tokio::test]
async fn the_number_of_processes_ends_at_its_limit_which_is_told() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let many = format!(
        "python3 -c '
import os, signal
children = []
try:
    for _ in range(300):
        child = os.fork()
        if child == 0:
            signal.pause()
        children.append(child)
    print(\"{IN}\")
except OSError as error:
    print(error)
    exitcode = 1
finally:
    for child in children:
        os.kill(child, 9)
if len(children) < 300: raise SystemExit(3)
'"
    );
    // The default of the settings, 2,000, holds at each level but none.
    place.check(&many, [Open, Open, Open]).await;
    for level in ["none", "limits", "user"] {
        let limited = job(&many).atoms(1).with("pids", 100);
        let (_, atoms, consoles) = place.run(level, limited).await;
        assert_eq!(
            troubles(&atoms),
            [Some("too many processes: limit 100")],
            "{level}"
        );
        assert!(!consoles[0].contains(IN), "{consoles:?}");
        let small = job("sleep 0 & sleep 0 & wait").atoms(1).with("pids", 100);
        let (_, atoms, _) = place.run(level, small).await;
        assert_eq!(troubles(&atoms), [None], "{level}");
    }
}

/// What waits for a process that it could not start hits both limits. Set-up and teardown are told of as atoms are.
#[tokio::test]
async fn a_limit_is_told_with_what_came_of_it() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let many = "i=0; while [ $i -lt 60 ]; do sleep 30 & i=$((i + 1)); done";
    let waits = job(format!("trap '' EXIT; ({many}); sleep 30"))
        .atoms(1)
        .with("pids", 30)
        .with("timeout", 2);
    let (build, atoms, _) = place.run("limits", waits).await;
    let told = "timed out after 2 s; too many processes: limit 30";
    assert_eq!(troubles(&atoms), [Some(told)]);
    let failed = build.failed_atoms.as_deref().unwrap();
    assert_eq!(failed[0].trouble.as_deref(), Some(told));

    let limited = |job: Job| job.atoms(1).with("memory", "64 MiB");
    let told = "out of memory: 64 MiB limit";
    let setup = limited(job("true")).setup(eats(200));
    let (build, ..) = place.run("user", setup).await;
    let steps = place.farm.client().steps(build.id).await.unwrap();
    let troubles: Vec<_> = steps.iter().map(|step| step.trouble.as_deref()).collect();
    assert_eq!(troubles.last(), Some(&Some(told)), "{steps:#?}");
    build.errs(&["setup_build ", &format!("({told})")]);

    let teardown = limited(job("true")).teardown(eats(200));
    let (build, ..) = place.run("limits", teardown).await;
    let build = build.passes();
    wait_for("the teardown is told", async || {
        let steps = place.farm.client().steps(build.id).await.unwrap();
        let mut steps = steps.iter();
        steps
            .any(|step| step.trouble.as_deref() == Some(told))
            .then_some(())
    })
    .await;
    place.farm.wait_for_rest().await;
}

#[tokio::test]
async fn processors_are_shared_out() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let quota = "for group in $(sed 's/.*://' /proc/self/cgroup); do
        for root in /sys/fs/cgroup /sys/fs/cgroup/cpu; do
            cat $root/$group/cpu.max $root/$group/cpu.cfs_quota_us 2> /dev/null
        done; done; true";
    for level in ["limits", "user"] {
        let limited = job(quota).atoms(1).with("cpus", 0.25);
        let (_, _, consoles) = place.run(level, limited).await;
        assert!(consoles[0].contains("25000"), "{level}: {consoles:?}");
        let (_, _, consoles) = place.run(level, job(quota).atoms(1)).await;
        assert!(!consoles[0].contains("25000"), "{level}: {consoles:?}");
    }
}

/// Limits are for those who do not work against them: whoever has the slave's rights may make room for himself.
#[tokio::test]
async fn a_control_group_is_no_prison() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    let leaves = format!(
        "for group in /sys/fs/cgroup/pids /sys/fs/cgroup; do
            (echo 0 > $group/cgroup.procs) 2> /dev/null && echo '{IN}' && break; done; true"
    );
    place.check(leaves, [Open, Open, Stopped]).await;
}

/// A process that left its session and threw its environment away: nothing of ours finds it at the level none.
#[tokio::test]
async fn a_daemon_does_not_outlive_its_atom() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    for (number, (level, lives)) in (0..).zip([("none", true), ("limits", false), ("user", false)])
    {
        let sleep = format!("sleep 98{}{number}", place.farm.port());
        let line = format!("(setsid env -i {sleep} < /dev/null > /dev/null 2>&1 &) ; sleep 0.2");
        let (build, ..) = place.run(level, job(line).atoms(1)).await;
        build.passes();
        place.farm.wait_for_rest().await;
        let text = sleep.replace(' ', "\0");
        if lives {
            assert!(!processes::with_text(&text).is_empty(), "{level}");
            processes::kill_with_text(&text);
        }
        wait_for("nothing is left", async || {
            processes::with_text(&text).is_empty().then_some(())
        })
        .await;
    }
}

/// What a set-up starts is there for the atoms, and goes with the build.
#[tokio::test]
async fn what_a_setup_leaves_running_lasts_as_long_as_its_build() {
    let Some(place) = Place::new(1).await else {
        return;
    };
    for (number, level) in (0..).zip(["limits", "user"]) {
        let sleep = format!("sleep 97{}{number}", place.farm.port());
        let text = sleep.replace(' ', "\0");
        let line = format!("(setsid env -i {sleep} < /dev/null > /dev/null 2>&1 &)");
        let reach = "until [ -e \"$PROJECT_DIR/go\" ]; do sleep 0.05; done";
        let waits = job(reach).atoms(1).setup(line);
        let request = crate::repository::Repository::of(&waits.with("isolation", level));
        let build = place.farm.submit(&request.request()).await;
        wait_for("the atom runs", async || {
            let atoms = place.farm.atoms(build).await;
            let runs = atoms.iter().any(|atom| atom.executor_id.is_some());
            (runs && !processes::with_text(&text).is_empty()).then_some(())
        })
        .await;
        let work = place.farm.slave_directory(0).join("work");
        std::fs::write(work.join(build.to_string()).join("go"), "").unwrap();
        place.farm.end_of(build).await.passes();
        place.farm.wait_for_rest().await;
        wait_for("nothing is left", async || {
            processes::with_text(&text).is_empty().then_some(())
        })
        .await;
    }
}
