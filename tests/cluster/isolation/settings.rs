//! What a slave demands, what jobs can make of that, and what happens where a machine can not do it.

use super::cells::{CANARY, Place, SECRET, beside, is_possible};
use crate::daemon::own_address;
use crate::farm::{Extra, Farm};
use crate::job::job;
use crate::skipping::{Lacks, skip};
use std::process::Command;

#[tokio::test]
async fn a_job_can_not_loosen_what_its_slave_demands() {
    let demands = "isolation = user\nrun_as = nobody\natom_memory = 64 MiB\nisolation_network = False\n\
                   environment_allow = CANARY_*\n";
    let Some(place) = Place::with(1, demands).await else {
        return;
    };
    let asks = job("id -un; ls /sys/class/net; printenv CANARY_OF_THE_SLAVE")
        .atoms(1)
        .with("network", true)
        .with("memory", "10 GiB");
    let (build, _, consoles) = place.run("none", asks).await;
    build.passes();
    assert!(consoles[0].starts_with("nobody\n"), "{consoles:?}");
    assert!(
        consoles[0].ends_with(&format!("{SECRET}\n")),
        "{consoles:?}"
    );
    let eats = job("python3 -c 'b = bytearray(200 << 20); b[::4096] = b[::4096]'");
    let (_, atoms, _) = place
        .run("none", eats.atoms(1).with("memory", "10 GiB"))
        .await;
    let trouble = atoms[0].trouble.as_deref();
    assert_eq!(trouble, Some("out of memory: 64 MiB limit"));
    assert_eq!(CANARY, "CANARY_OF_THE_SLAVE");
}

#[tokio::test]
async fn what_a_machine_can_not_do_is_not_done_more_loosely() {
    let Some(place) = Place::with(1, "").await else {
        return;
    };
    let marker = beside().join(format!("ran-{}", place.farm.port()));
    let touches = job(format!("touch {}", marker.display())).atoms(1);
    let (build, ..) = place
        .run(
            "user",
            touches.clone().setup(format!("touch {}", marker.display())),
        )
        .await;
    build.errs(&["can not isolate commands at the level user", "`run_as`"]);
    assert!(!marker.exists());
    let unknown = Place::with(1, "run_as = no-such-user-here\n")
        .await
        .unwrap();
    let (build, ..) = unknown.run("user", touches).await;
    build.errs(&["`run_as` names no user of this machine: no-such-user-here"]);
    assert!(!marker.exists());
}

#[tokio::test]
async fn containers_alone_run_where_a_slave_demands_them() {
    let Some(place) = Place::with(1, "isolation = container\n").await else {
        return;
    };
    let build = place.farm.runs(&job("true").atoms(1)).await;
    build.errs(&["isolation = container", "names no \"image\""]);
}

/// What is told where it is the limits alone that a slave can not do.
const CURE: &str = "Without limits it can: set `atom_pids = 0`";

/// What a slave needs that can make no control groups.
pub(super) const NO_LIMITS: &str = "atom_pids = 0\n";

/// A farm whose slave is not root: walls by a user namespace. None, loudly, where this machine does not allow it.
pub(super) async fn without_rights(more: &str) -> Option<Farm> {
    if !is_possible() {
        skip(Lacks::Isolation);
        return None;
    }
    let settings = format!("isolation = user\n{more}");
    let extra = Extra {
        slave: &settings,
        ..Extra::default()
    };
    let mut farm = Farm::in_directory(&beside(), own_address(), &extra);
    let own = |path: &std::path::Path| {
        let mut chown = Command::new("chown");
        let done = chown.args(["-R", "65534:65534"]).arg(path).status();
        assert!(done.unwrap().success());
    };
    farm.start_master().await;
    own(farm.path("").as_path());
    let slave = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "env",
        "CANARY=seen",
    ];
    farm.wrap("slave 0", slave.map(str::to_owned).into());
    farm.start_slave(1);
    farm.wait_for_slaves(1).await;
    Some(farm)
}

#[tokio::test]
async fn a_slave_without_rights() {
    let Some(farm) = without_rights(NO_LIMITS).await else {
        return;
    };
    let secret = farm.path("base/clusterrunner.conf");
    let look = format!(
        "id -u; cat {} 2> /dev/null; touch {}/x 2> /dev/null && echo wrote; cat /proc/[0-9]*/environ 2> /dev/null | grep -a CANARY=; \
         readlink /proc/1/fd/*; \
         ls /proc | grep -c '^[0-9]'; touch $PROJECT_DIR/a $HOME/b /tmp/c && echo own; \
         unshare --user --map-root-user --mount sh -c 'mount -o remount,rw,bind / && touch {}/x' 2> /dev/null && echo root; true",
        secret.display(),
        farm.path("home").display(),
        farm.path("home").display(),
    );
    let build = farm.runs(&job(look).atoms(1)).await.passes();
    let console = farm.consoles(build.id).await.remove(0);
    let mut lines = console.lines();
    assert_eq!(lines.next(), Some("65534"), "{console}");
    // Its first process, its shell, and what that has started.
    let seen: u32 = lines.next().unwrap().parse().unwrap();
    assert!((3..9).contains(&seen), "{console}");
    assert_eq!(lines.collect::<Vec<_>>(), ["own"], "{console}");
    // It can not make control groups here, and says so.
    let limited = job("true").atoms(1).with("memory", "64 MiB");
    let build = farm.runs(&limited).await;
    if !std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        build.errs(&["can not isolate commands", "control group", CURE]);
    }
    farm.wait_for_rest().await;
}

#[tokio::test]
async fn a_slave_says_at_its_start_what_it_can_not_do() {
    let Some(farm) = without_rights("").await else {
        return;
    };
    let told = farm.output("slave 0");
    assert!(
        told.contains("no build can run here") && told.contains(CURE),
        "{told}"
    );
    let build = farm.runs(&job("true").atoms(1)).await;
    build.errs(&["can not isolate commands", CURE]);
    farm.wait_for_rest().await;
}
