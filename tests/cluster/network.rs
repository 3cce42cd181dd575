//! A farm on a network that can be cut: the master and each slave in a network namespace of their own,
//! with a cable from each slave to a switch in the master's. The namespaces have no names and live as
//! long as their processes, so nothing of them can be left.

use crate::farm::{Extra, Farm};
use crate::repository::Repository;
use crate::skipping::{Lacks, skip};
use crate::wait::wait_for;
use crate::whole_build::{check_results, many_atoms, runs};
use clusterrunner_common::ids::BuildId;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MASTER: &str = "10.200.0.1";

fn slave_address(slave: usize) -> String {
    format!("10.200.0.{}", 10 + slave)
}

/// A namespace, alive until its standard input closes: with us, at the latest.
struct Namespace {
    holder: Child,
}

impl Namespace {
    fn new() -> Option<Self> {
        let own = fs::read_link("/proc/self/ns/net").ok()?;
        let mut holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let path = format!("/proc/{}/ns/net", holder.id());
        let started = Instant::now();
        loop {
            let is_over = holder.try_wait().ok()?.is_some();
            if is_over || started.elapsed() > Duration::from_secs(10) {
                holder.kill().ok();
                holder.wait().ok();
                return None;
            }
            if fs::read_link(&path).is_ok_and(|found| found != own) {
                return Some(Self { holder });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// A program and its arguments, to be run in there.
    fn run(&self, program: &str, arguments: &str) -> bool {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg(program);
        let output = command.args(arguments.split(' ')).output().unwrap();
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            eprintln!("{program} {arguments}: {error}");
        }
        output.status.success()
    }

    fn ip(&self, arguments: &str) {
        assert!(self.run("ip", arguments), "ip {arguments}");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}

/// The master's namespace with the switch, and those of the slaves. It goes after the farm.
struct Network {
    master: Namespace,
    slaves: Vec<Namespace>,
}

impl Network {
    /// `None`, loudly, where this machine does not let us make one. The calling thread is in the master's
    /// namespace from then on, and so is what it starts.
    fn new(num_slaves: usize) -> Option<Self> {
        let Some(master) = Namespace::new() else {
            skip(Lacks::NetworkNamespaces);
            return None;
        };
        master.ip("link set lo up");
        master.ip("link add switch type bridge");
        master.ip("link set switch up");
        master.ip(&format!("addr add {MASTER}/24 dev switch"));
        let slaves = (0..num_slaves).map(|slave| {
            let namespace = Namespace::new().expect("the first could be made");
            let (holder, address) = (namespace.holder.id(), slave_address(slave));
            master.ip(&format!(
                "link add port{slave} type veth peer name cable netns {holder}"
            ));
            master.ip(&format!("link set port{slave} master switch up"));
            namespace.ip("link set lo up");
            namespace.ip(&format!("addr add {address}/24 dev cable"));
            namespace.ip("link set cable up");
            namespace
        });
        let network = Self {
            slaves: slaves.collect(),
            master,
        };
        let namespace = File::open(network.master.path()).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        Some(network)
    }

    fn cut(&self, slave: usize) {
        self.master.ip(&format!("link set port{slave} down"));
    }

    fn mend(&self, slave: usize) {
        self.master.ip(&format!("link set port{slave} up"));
    }
}

/// A build under way on a farm on a network.
struct Scene {
    farm: Farm,
    build: BuildId,
    log: PathBuf,
    repository: Repository,
    network: Network,
}

impl Scene {
    async fn set(num_slaves: usize, pause: &str) -> Option<Self> {
        let network = Network::new(num_slaves)?;
        let repository = Repository::empty();
        let log = repository.outside("runs");
        repository.commit(&[("clusterrunner.yaml", &many_atoms(&log, pause))]);
        let extra = Extra {
            general: "allow_local_sources = True",
            ..Extra::default()
        };
        let mut farm = Farm::at(MASTER.to_owned(), &extra);
        farm.start_master().await;
        for (slave, namespace) in network.slaves.iter().enumerate() {
            let wrapper = ["nsenter".to_owned(), format!("--net={}", namespace.path())];
            farm.wrap(&format!("slave {slave}"), wrapper.to_vec());
            let settings = farm.path(&format!("base/slave{slave}.conf"));
            let own = slave_address(slave);
            let text = fs::read_to_string(farm.path("base/clusterrunner.conf")).unwrap();
            let text = text.replace(
                &format!("bind_address = {MASTER}"),
                &format!("bind_address = {own}\nhostname = {own}"),
            );
            write_private(&settings, &text);
            farm.start_slave_with(2, &settings);
        }
        farm.wait_for_slaves(num_slaves).await;
        let build = farm.submit(&repository.request()).await;
        let scene = Self {
            farm,
            build,
            log,
            repository,
            network,
        };
        wait_for("some atoms have run", async || {
            (runs(&scene.log).len() >= 30).then_some(())
        })
        .await;
        Some(scene)
    }

    /// The build ends with what must come out, all slaves come back, and the farm works on.
    async fn check_end(&self) {
        let mended = Instant::now();
        let view = self.farm.end_of(self.build).await;
        eprintln!("the build ended {:.1?} later", mended.elapsed());
        check_results(&self.farm, &view).await;
        self.farm.wait_for_slaves(self.network.slaves.len()).await;
        let small = json!({"config": {"commands": ["true"], "atomizers": [{"N": "seq 1 20"}]}});
        self.farm
            .run(&self.repository.request_with(small))
            .await
            .passes();
        self.farm.wait_for_rest().await;
        eprintln!("and the next one {:.1?} later", mended.elapsed());
    }

    /// Cuts slaves off for a while, and tells how long it took until all were back.
    async fn cut_for(&self, slaves: &[usize], time: Duration) {
        let cut = Instant::now();
        for slave in slaves {
            self.network.cut(*slave);
        }
        let left = self.network.slaves.len() - slaves.len();
        self.farm.wait_for_slaves(left).await;
        eprintln!("given up {:.1?} after the cut", cut.elapsed());
        // This time is what the test is about.
        tokio::time::sleep(time.saturating_sub(cut.elapsed())).await;
        for slave in slaves {
            self.network.mend(*slave);
        }
        let mended = Instant::now();
        self.farm.wait_for_slaves(self.network.slaves.len()).await;
        eprintln!("all back {:.1?} after it was mended", mended.elapsed());
    }
}

fn write_private(path: &std::path::Path, text: &str) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = File::options();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_slave_is_cut_off_for_5_seconds() {
    let Some(scene) = Scene::set(2, "0.1").await else {
        return;
    };
    scene.cut_for(&[0], Duration::from_secs(5)).await;
    scene.check_end().await;
}

#[tokio::test]
async fn a_slave_is_cut_off_for_40_seconds() {
    let Some(scene) = Scene::set(2, "0.1").await else {
        return;
    };
    scene.cut_for(&[1], Duration::from_secs(40)).await;
    scene.check_end().await;
}

#[tokio::test]
async fn every_slave_is_cut_off() {
    let Some(scene) = Scene::set(2, "0.1").await else {
        return;
    };
    scene.cut_for(&[0, 1], Duration::from_secs(8)).await;
    scene.check_end().await;
}

/// What the slave says arrives, the answers do not.
#[tokio::test]
async fn a_slave_hears_nothing_but_is_heard() {
    let Some(scene) = Scene::set(2, "0.1").await else {
        return;
    };
    let route = format!("blackhole {}/32", slave_address(0));
    scene.network.master.ip(&format!("route add {route}"));
    // There is nothing to wait for: this time, twice what a slave may be silent, is what the test is about.
    tokio::time::sleep(Duration::from_secs(6)).await;
    scene.network.master.ip(&format!("route del {route}"));
    scene.check_end().await;
}

/// Cables that are pulled again and again, for less time than a slave may be silent.
#[tokio::test]
async fn links_flap() {
    let Some(scene) = Scene::set(2, "0.1").await else {
        return;
    };
    let mut dice = crate::chaos::Dice::from_environment();
    for _ in 0..20 {
        let slave = usize::try_from(dice.below(2)).unwrap();
        scene.network.cut(slave);
        // Any moment is as good.
        tokio::time::sleep(Duration::from_millis(50 + dice.below(400))).await;
        scene.network.mend(slave);
        tokio::time::sleep(Duration::from_millis(dice.below(200))).await;
    }
    scene.check_end().await;
}

/// Slow and lossy, both ways, from beginning to end.
#[tokio::test]
async fn the_network_is_slow_and_loses_packets() {
    let Some(scene) = Scene::set(2, "0.05").await else {
        return;
    };
    let netem = "root netem delay 60ms 30ms loss 5%";
    for (slave, namespace) in scene.network.slaves.iter().enumerate() {
        let port = format!("qdisc add dev port{slave} {netem}");
        if !scene.network.master.run("tc", &port) {
            skip(Lacks::Netem);
            break;
        }
        assert!(namespace.run("tc", &format!("qdisc add dev cable {netem}")));
    }
    scene.check_end().await;
}
