//! The column of containers: what their commands may use and see, with the real runtime of this machine.
//!
//! Where no container runs, these tests say `SKIPPED` and why.

use super::cells::Cell::{self, Open, Stopped};
use super::cells::{IN, SECRET, beside};
use crate::containers::{Images, contained};
use crate::farm::Farm;
use crate::job::Job;
use clusterrunner_common::api::BuildView;
use std::fs;

struct Place {
    images: Images,
    farm: Farm,
}

impl Place {
    async fn new() -> Option<Self> {
        let images = Images::new()?;
        let farm = images.farm(&[1]).await;
        fs::write(farm.path("home/.netrc"), SECRET).unwrap();
        Some(Self { images, farm })
    }

    /// What the atoms of a job print in their container.
    async fn prints(&self, job: &Job) -> String {
        let build = self.farm.runs(job).await;
        self.farm.consoles(build.id).await.concat()
    }

    /// The troubles of the atoms of a build.
    async fn troubles(&self, build: &BuildView) -> Vec<Option<String>> {
        let atoms = self.farm.atoms(build.id).await.into_iter();
        atoms.map(|atom| atom.trouble).collect()
    }

    async fn check(&self, attack: &str, expected: Cell) {
        self.check_job(&contained(attack).atoms(1), expected).await;
    }

    async fn check_job(&self, job: &Job, expected: Cell) {
        let console = self.prints(job).await;
        let found = if console.contains(IN) { Open } else { Stopped };
        assert_eq!(found, expected, "{console}");
    }

    async fn stays_alone(self) {
        self.farm.wait_for_rest().await;
        self.images.are_left_alone().await;
    }
}

#[tokio::test]
async fn a_container_has_its_limits() {
    let Some(place) = Place::new().await else {
        return;
    };
    let eats = format!("dd if=/dev/zero of=/dev/null bs=200M count=1 && echo '{IN}'");
    place.check(&eats, Open).await;
    let limited = contained(&eats).atoms(1).with("memory", "64 MiB");
    let build = place.farm.runs(&limited).await.fails(&[(1, 137)]);
    assert_eq!(
        place.troubles(&build).await,
        [Some("out of memory: 64 MiB limit".to_owned())]
    );
    assert!(!place.farm.consoles(build.id).await[0].contains(IN));

    let many =
        format!("i=0; while [ $i -lt 60 ]; do sleep 1 & i=$((i + 1)); done; wait; echo '{IN}'");
    place.check(&many, Open).await;
    let limited = contained(&many).atoms(1).with("pids", 40);
    place.check_job(&limited, Stopped).await;
    // What an atom leaves running counts for the next one in the container, until it ends: nothing of it stays then.
    let alone = "while set -- /proc/[0-9]*; [ $# -gt 6 ]; do :; done";
    let fails = contained(&format!("({many}); {alone}; exit 3"))
        .atoms(2)
        .with("pids", 40);
    let build = place.farm.runs(&fails).await.fails(&[(1, 3), (2, 3)]);
    let told = Some("too many processes: limit 40".to_owned());
    assert_eq!(place.troubles(&build).await, [told.clone(), told]);
    // What was told of one atom is not told of the next.
    let once = contained(&format!(
        "[ -e /tmp/once ] || ({many}); : >/tmp/once; {alone}; exit 3"
    ));
    let build = place.farm.runs(&once.atoms(2).with("pids", 40)).await;
    let troubles = place.troubles(&build).await;
    assert_eq!(troubles.iter().flatten().count(), 1, "{troubles:?}");
    let setup = contained("true").atoms(1).with("memory", "64 MiB");
    let build = place.farm.runs(&setup.setup(&eats)).await;
    build.errs(&["setup_build ", "(out of memory: 64 MiB limit)"]);

    let quota = "for group in $(sed 's/.*://' /proc/self/cgroup); do
        for root in /sys/fs/cgroup /sys/fs/cgroup/cpu; do
            cat $root/cpu.max $root/cpu.cfs_quota_us $root/$group/cpu.max $root/$group/cpu.cfs_quota_us 2> /dev/null
        done; done; true";
    let limited = contained(quota).atoms(1).with("cpus", 0.25);
    let console = place.prints(&limited).await;
    assert!(console.contains("25000"), "{console}");
    let console = place.prints(&contained(quota).atoms(1)).await;
    assert!(!console.contains("25000"), "{console}");
    place.stays_alone().await;
}

#[tokio::test]
async fn the_network_of_a_container() {
    let Some(place) = Place::new().await else {
        return;
    };
    let master = format!(
        "nc -w 5 {} {} < /dev/null && echo '{IN}'; true",
        place.farm.address(),
        place.farm.port()
    );
    // These containers have the network of the machine, as the settings say.
    place.check(&master, Open).await;
    let without = contained(&master).atoms(1).with("network", false);
    place.check_job(&without, Stopped).await;
    let networks = contained("ls /sys/class/net").atoms(1);
    let console = place.prints(&networks.with("network", false)).await;
    assert_eq!(console, "lo\n");
    place.stays_alone().await;
}

#[tokio::test]
async fn what_a_container_sees_of_its_machine() {
    let Some(place) = Place::new().await else {
        return;
    };
    let slave = place.farm.slave_process(0);
    let farm = &place.farm;
    let outside = beside().join(format!("contained-{}", farm.port()));
    let finds = |command: String, text: &str| {
        format!("({command}; true) 2> /dev/null | grep '{text}' > /dev/null && echo '{IN}'; true")
    };
    let cat = |path: std::path::PathBuf| format!("cat {}", path.display());
    for attack in [
        finds(cat(farm.path("base/clusterrunner.conf")), "secret"),
        finds(cat(farm.path("home/.netrc")), SECRET),
        finds("cat /etc/passwd".to_owned(), "root"),
        finds(format!("cat /proc/{slave}/cmdline"), "slave"),
        // Not what this command itself is called.
        finds(
            "cat /proc/*/cmdline | tr '\\0' ' '".to_owned(),
            "[c]lusterrunner slave",
        ),
        format!("kill -0 {slave} 2> /dev/null && echo '{IN}'; true"),
        format!("touch {} && echo '{IN}'; true", outside.display()),
        finds("cat /proc/self/status".to_owned(), "CapEff.*ffff$"),
    ] {
        place.check(&attack, Stopped).await;
    }
    assert!(!outside.exists());
    // Each would find something here.
    let secret = fs::read_to_string(farm.path("base/clusterrunner.conf")).unwrap();
    assert!(secret.contains("secret"));
    // What an atom leaves in /tmp is there for the next one of its build and executor, and for no other build.
    let leaves = format!("[ -e /tmp/left ] && echo '{IN}'; touch /tmp/left");
    place.check_job(&contained(&leaves).atoms(2), Open).await;
    place.check(&leaves, Stopped).await;
    place.stays_alone().await;
}
