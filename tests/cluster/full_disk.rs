//! Disks that fill up in mid-build: a tiny file system of its own under the directory of the master
//! or of a slave. It is mounted where only that daemon sees it, so it goes when the daemon goes.

use crate::archives::{Member, tar_of, zip_of};
use crate::farm::{Extra, Farm};
use crate::repository::Repository;
use crate::skipping::{Lacks, skip};
use crate::wait::{measure, wait_for};
use crate::whole_build::{check_results, many_atoms, runs};
use clusterrunner_common::api::BuildStatus;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// 4 MiB are kept back.
const SETTINGS: Extra<'_> = Extra {
    general: "min_free_space = 4194304",
    master: "",
    slave: "",
};

/// A small disk under a directory of a farm, seen from outside through its daemon.
struct SmallDisk {
    inside: PathBuf,
}

/// Whether this machine lets us mount at all; says so if not.
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["--mount", "true"]).output();
    let may = tried.is_ok_and(|tried| tried.status.success());
    if !may {
        skip(Lacks::MountNamespaces);
    }
    may
}

impl SmallDisk {
    /// Has a daemon started with so many MiB for this directory.
    fn under(farm: &mut Farm, daemon: &str, place: PathBuf, mib: u32) -> PathBuf {
        fs::create_dir(&place).unwrap();
        let mount = format!(
            "mount -t tmpfs -o size={mib}m,mode=700 clusterrunner-test \"$0\" && exec \"$@\""
        );
        let place_text = place.to_str().unwrap().to_owned();
        let wrapper = ["unshare", "--mount", "sh", "-c", &mount, &place_text];
        farm.wrap(daemon, wrapper.map(str::to_owned).to_vec());
        place
    }

    fn of(process: u32, place: &Path) -> Self {
        let inside = place.strip_prefix("/").unwrap();
        Self {
            inside: PathBuf::from(format!("/proc/{process}/root")).join(inside),
        }
    }

    fn free(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.inside).unwrap();
        found.f_bavail * found.f_frsize
    }

    /// Uses the space up until so many bytes are left.
    fn fill(&self, left: u64) {
        let mut filler = File::create(self.inside.join("filler")).unwrap();
        let zeros = vec![0; usize::try_from(self.free().saturating_sub(left)).unwrap()];
        if let Err(error) = filler.write_all(&zeros) {
            // The daemon writes too.
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
    }

    fn clear(&self) {
        fs::remove_file(self.inside.join("filler")).unwrap();
    }

    /// Files that are half written, below `results`.
    fn half_written(&self) -> Vec<String> {
        let builds = fs::read_dir(self.inside.join("results")).unwrap().flatten();
        let files = builds.flat_map(|build| fs::read_dir(build.path()).unwrap().flatten());
        let names = files.map(|file| file.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("incoming-")).collect()
    }
}

#[tokio::test]
async fn the_masters_disk_fills_up() {
    if !may_mount() {
        return;
    }
    let repository = Repository::empty();
    let log = repository.outside("runs");
    repository.commit(&[("clusterrunner.yaml", &many_atoms(&log, "0.02"))]);
    let mut farm = Farm::with(&SETTINGS);
    let place = farm.path("base/master");
    let place = SmallDisk::under(&mut farm, "master", place, 48);
    farm.start_all(&[2, 2]).await;
    let disk = SmallDisk::of(farm.master_process(), &place);
    let build = farm.submit(&repository.request()).await;
    wait_for("some atoms have run", async || {
        (runs(&log).len() >= 30).then_some(())
    })
    .await;
    disk.fill(2 << 20);
    wait_for("results are refused", async || {
        let outputs = [farm.output("slave 0"), farm.output("slave 1")];
        let is_told = |output: &String| output.contains("507") && output.contains("nearly full");
        outputs.iter().all(is_told).then_some(())
    })
    .await;
    let client = farm.client();
    let hasty = farm.client().with_patience(std::time::Duration::ZERO);
    let request = crate::farm::object(&repository.request());
    let refused = hasty.submit_params(&request).await.unwrap_err().to_string();
    for part in [
        "nearly full",
        "1 MiB are free",
        "min_free_space",
        "Remove files",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let metrics = reqwest::get(format!("http://{}/v1/metrics", farm.master_address())).await;
    let metrics = metrics.unwrap().text().await.unwrap();
    assert!(metrics.contains("master_disk_short 1\n"), "{metrics}");
    let view = client.build(build).await.unwrap();
    assert_eq!(view.status, BuildStatus::Building, "{view:?}");
    let ran = runs(&log).len();
    assert!(ran < 200, "all of them ran before the disk was full");
    assert_eq!(disk.half_written(), [""; 0]);

    disk.clear();
    let before = client.build(build).await.unwrap().num_atoms_completed;
    measure("results are taken once there is space", async || {
        let view = client.build(build).await.unwrap();
        (view.num_atoms_completed > before).then_some(())
    })
    .await;
    let view = farm.end_of(build).await;
    check_results(&farm, &view).await;
    assert!(
        runs(&log).values().all(|times| *times == 1),
        "no result was lost"
    );
    assert_eq!(disk.half_written(), [""; 0]);
    let next = farm.run(&repository.request()).await;
    assert_eq!(next.status, BuildStatus::Finished, "{next:?}");
}

/// Where the results have their place, so have the archives of them.
#[tokio::test]
async fn archives_take_no_space_of_their_own() {
    if !may_mount() {
        return;
    }
    let repository = Repository::with_jobs(
        "Job:\n  commands:\n    - head -c 3000000 /dev/urandom > \"$ARTIFACT_DIR/noise\"\n  \
         atomizers: [{N: seq 1 3}]\n",
    );
    let mut farm = Farm::with(&SETTINGS);
    let place = farm.path("base/master");
    let place = SmallDisk::under(&mut farm, "master", place, 64);
    farm.start_all(&[1]).await;
    let disk = SmallDisk::of(farm.master_process(), &place);
    disk.fill(20 << 20);
    let build = farm.submit(&repository.request()).await;
    farm.end_of(build).await.passes();
    assert_eq!(disk.half_written(), [""; 0]);
    assert!(!farm.output("master").contains("waits for space"));
    let zip = zip_of(&farm, build).await;
    let tar = tar_of(&farm, build).await;
    for subjob in 0..3 {
        let noise = &tar[&format!("./artifact_{subjob}_0/noise")];
        assert!(matches!(noise, Member::File(noise) if noise.len() == 3_000_000));
        assert_eq!(zip[&format!("artifact_{subjob}_0/noise")].len(), 3_000_000);
    }
}

/// What a slave can not write is no failed test: it goes to the other, and the slave leaves until there
/// is space.
#[tokio::test]
async fn a_slaves_disk_fills_up() {
    if !may_mount() {
        return;
    }
    let repository = Repository::empty();
    let log = repository.outside("runs");
    repository.commit(&[("clusterrunner.yaml", &many_atoms(&log, "0.05"))]);
    let mut farm = Farm::with(&SETTINGS);
    let place = farm.slave_directory(0);
    let place = SmallDisk::under(&mut farm, "slave 0", place, 32);
    farm.start_all(&[2, 2]).await;
    let disk = SmallDisk::of(farm.slave_process(0), &place);
    let build = farm.submit(&repository.request()).await;
    wait_for("some atoms have run", async || {
        (runs(&log).len() >= 40).then_some(())
    })
    .await;
    disk.fill(0);
    let client = farm.client();
    measure("a slave without space has left", async || {
        let slaves = client.slaves().await.unwrap();
        let alive = slaves.iter().filter(|slave| slave.is_alive).count();
        (alive == 1).then_some(())
    })
    .await;
    let slaves = farm.wait_for_slaves(1).await;
    let alive = slaves.iter().find(|slave| slave.is_alive).unwrap();
    assert_eq!(alive.url, farm.slave_address(1));
    let view = farm.end_of(build).await;
    check_results(&farm, &view).await;
    disk.clear();
    measure("it is back once there is space", async || {
        let slaves = client.slaves().await.unwrap();
        let alive = slaves.iter().filter(|slave| slave.is_alive).count();
        (alive == 2).then_some(())
    })
    .await;
    let view = farm.run(&repository.request()).await;
    check_results(&farm, &view).await;
    farm.wait_for_rest().await;
}
