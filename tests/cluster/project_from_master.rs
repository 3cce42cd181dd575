//! Slaves that can not reach a build's repository get it from the master.

use crate::farm::{Extra, Farm};
use crate::repository::Repository;
use crate::wait::wait_for;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Prints what only the right commit has.
const PRINT: &str = "Print:
  commands: [cat version, git rev-list --count HEAD, git describe]
  atomizers: [{N: seq 1 2}]
";

/// Only the master may read the disk.
const NO_ACCESS: &str = "allow_local_sources = False";

/// Text that does not compress to nothing: some 2 MB as git stores it.
fn noise() -> String {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        format!("{:08x}", state >> 32)
    };
    (0..500_000).map(|_| next()).collect()
}

fn project() -> Repository {
    let repository = Repository::empty();
    let noise = noise();
    repository.commit(&[
        ("clusterrunner.yaml", PRINT),
        ("version", "one\n"),
        ("noise", &noise),
    ]);
    repository.git(&["tag", "--annotate", "--message=x", "v1"]);
    repository
}

async fn check(farm: &Farm, repository: &Repository, expected: &str) {
    let view = farm.run(&repository.request()).await.passes();
    for atom in farm.atoms(view.id).await {
        assert_eq!(farm.console(view.id, &atom).await, expected);
    }
}

/// What slaves and master say to each other passes here, and can be held up.
struct Relay {
    port: u16,
    /// Bytes that came from the master.
    passed: Arc<AtomicU64>,
    holding: watch::Sender<bool>,
    _connections: JoinSet<()>,
}

/// Whatever is longer is a project.
const HELD_AFTER: usize = 1 << 20;

impl Relay {
    async fn start(farm: &Farm, holding: bool) -> Self {
        let listener = TcpListener::bind((farm.address(), 0)).await.unwrap();
        let relay = Self {
            port: listener.local_addr().unwrap().port(),
            passed: Arc::default(),
            holding: watch::Sender::new(holding),
            _connections: JoinSet::new(),
        };
        let (passed, holding) = (Arc::clone(&relay.passed), relay.holding.subscribe());
        let master = farm.master_address();
        let mut relay = relay;
        relay._connections.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((slave, _)) = listener.accept().await {
                let (passed, holding) = (Arc::clone(&passed), holding.clone());
                let master = master.clone();
                connections.spawn(async move {
                    // No master at the moment: the slave's connection ends, too.
                    if let Ok(master) = TcpStream::connect(master).await {
                        pass(slave, master, &passed, holding).await;
                    }
                });
            }
        });
        relay
    }

    /// A settings file for slaves that take this way to the master.
    fn settings(&self, farm: &Farm) -> PathBuf {
        let text = fs::read_to_string(farm.path("base/clusterrunner.conf")).unwrap();
        let (before, slave) = text.split_once("[slave]").unwrap();
        let (line, port) = (format!("\nmaster_port = {}\n", farm.port()), self.port);
        assert!(slave.contains(&line), "{slave}");
        let slave = slave.replace(&line, &format!("\nmaster_port = {port}\n"));
        let path = farm.path("base").join(format!("relay-{port}.conf"));
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .unwrap();
        write!(file, "{before}[slave]{slave}").unwrap();
        path
    }

    /// Waits until it holds back the second half of a project.
    async fn has_held(&self) {
        wait_for("half of the pack is there", async || {
            (self.passed() > HELD_AFTER as u64).then_some(())
        })
        .await;
    }

    fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }
}

async fn pass(
    mut slave: TcpStream,
    mut master: TcpStream,
    passed: &AtomicU64,
    mut holding: watch::Receiver<bool>,
) {
    let (mut from_slave, mut to_slave) = slave.split();
    let (mut from_master, mut to_master) = master.split();
    let down = async {
        let (mut buffer, mut total) = (vec![0; 64 << 10], 0);
        loop {
            let length = match from_master.read(&mut buffer).await {
                Ok(length) if length > 0 => length,
                Ok(_) | Err(_) => break,
            };
            total += length;
            passed.fetch_add(length as u64, Ordering::SeqCst);
            if total > HELD_AFTER && *holding.borrow() {
                holding.wait_for(|holding| !holding).await.ok();
                break;
            }
            if to_slave.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    };
    // Whichever ends first ends the connection.
    tokio::select! {
        () = down => {}
        _ended = tokio::io::copy(&mut from_slave, &mut to_master) => {}
    }
}

/// A farm with one slave, which reaches its master by a relay alone.
async fn behind_a_relay(extra: &Extra<'_>, executors: u32, holding: bool) -> (Farm, Relay) {
    let mut farm = Farm::with(extra);
    farm.start_master().await;
    let relay = Relay::start(&farm, holding).await;
    let settings = relay.settings(&farm);
    farm.start_slave_with(executors, &settings);
    farm.wait_for_slaves(1).await;
    (farm, relay)
}

/// And the second time only what is new.
#[tokio::test]
async fn slaves_need_no_access_to_the_repository() {
    let submodule = Repository::with_jobs("unused");
    let repository = project();
    let extra = Extra {
        slave: NO_ACCESS,
        ..Extra::default()
    };
    let (farm, relay) = behind_a_relay(&extra, 2, false).await;
    check(&farm, &repository, "one\n1\nv1\n").await;
    let first = relay.passed();
    assert!(first > 1 << 20, "{first}");

    let path = submodule.path().to_str().unwrap();
    let url = format!("submodule.x.url={path}");
    let (key, value) = url.split_once('=').unwrap();
    repository.git(&["config", "-f", ".gitmodules", "submodule.x.path", "lib/x"]);
    repository.git(&["config", "-f", ".gitmodules", key, value]);
    let link = format!("160000,{},lib/x", submodule.git(&["rev-parse", "HEAD"]));
    repository.git(&["update-index", "--add", "--cacheinfo", &link]);
    let job = PRINT.replace("cat version", "cat lib/x/clusterrunner.yaml; cat version");
    fs::write(repository.path().join("clusterrunner.yaml"), job).unwrap();
    fs::write(repository.path().join("version"), "two\n").unwrap();
    // Not all: the submodule has no work tree here.
    repository.git(&["add", ".gitmodules", "clusterrunner.yaml", "version"]);
    repository.git(&["commit", "--quiet", "--message=change"]);
    repository.git(&["tag", "--annotate", "--message=x", "v2"]);
    check(&farm, &repository, "unusedtwo\n2\nv2\n").await;
    let second = relay.passed() - first;
    assert!(second < 100_000, "{second}");
    farm.wait_for_rest().await;
}

#[tokio::test]
async fn a_master_that_is_killed_in_the_middle_of_a_pack() {
    let repository = project();
    let extra = Extra {
        slave: NO_ACCESS,
        // Long enough for the restart.
        master: "slave_lost_after = 60",
        ..Extra::default()
    };
    let (mut farm, relay) = behind_a_relay(&extra, 1, true).await;
    let build = farm.submit(&repository.request()).await;
    relay.has_held().await;
    farm.kill_master();
    relay.holding.send_replace(false);
    farm.start_master().await;
    farm.end_of(build).await.passes();
    let log = farm.output("slave 0");
    assert!(log.contains("asking the master again"), "{log}");
    for atom in farm.atoms(build).await {
        assert_eq!(farm.console(build, &atom).await, "one\n1\nv1\n");
    }
    farm.wait_for_rest().await;
}

/// The slave's set-up ends while the master holds the pack back.
#[tokio::test]
async fn a_build_that_is_canceled_in_the_middle_of_a_pack() {
    let repository = project();
    let extra = Extra {
        slave: NO_ACCESS,
        ..Extra::default()
    };
    let (farm, relay) = behind_a_relay(&extra, 1, true).await;
    let build = farm.submit(&repository.request()).await;
    relay.has_held().await;
    farm.client().cancel(build).await.unwrap();
    farm.wait_for_rest().await;
    relay.holding.send_replace(false);
    check(&farm, &repository, "one\n1\nv1\n").await;
}

#[tokio::test]
async fn slaves_fetch_for_themselves_where_the_settings_say_so() {
    let repository = project();
    let extra = Extra {
        master: "get_project_from_master = False",
        ..Extra::default()
    };
    let (farm, relay) = behind_a_relay(&extra, 1, false).await;
    check(&farm, &repository, "one\n1\nv1\n").await;
    assert!(relay.passed() < 1 << 20, "{}", relay.passed());
}

/// The master has lost its mirror since it prepared the build.
#[tokio::test]
async fn slaves_fetch_for_themselves_what_the_master_has_no_more() {
    let repository = project();
    let mut farm = Farm::start(&[]).await;
    let client = farm.client();
    let build = farm.submit(&repository.request()).await;
    wait_for("the build is prepared", async || {
        client.build(build).await.unwrap().state_timestamps["prepared"]
    })
    .await;
    fs::remove_dir_all(farm.path("base/master/repos")).unwrap();
    farm.start_slave(1);
    farm.end_of(build).await.passes();
    let log = farm.output("slave 0");
    assert!(log.contains("the master can not give a project"), "{log}");
}
