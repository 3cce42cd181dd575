//! A slave that is far away: 25 ms each way between it and its master, whoever calls.
//!
//! A slave on a loopback address says that one is where it is; so this runs in a network namespace
//! of its own, which has addresses that are not loopback and yet lead nowhere else.

use crate::farm::{Extra, Farm};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long each byte is on its way.
const DELAY: Duration = Duration::from_millis(25);

/// Where the slave listens, and where it is reached by the slow line.
const SLAVE: &str = "10.200.0.10";
const SLAVE_BY_LINE: &str = "10.200.0.11";

/// Runs this program once more in a network of its own; says why that can not be.
pub(crate) fn run_in_own_network() {
    let script = format!(
        "ip link set lo up && ip address add {SLAVE}/32 dev lo && ip address add {SLAVE_BY_LINE}/32 dev lo && \
         exec \"$0\" --in-own-network"
    );
    let program = std::env::current_exe().expect("this program");
    let status = Command::new("unshare")
        .args(["--net", "sh", "-c", &script])
        .arg(program)
        .status();
    if !status.is_ok_and(|status| status.success()) {
        println!("   slow link: not measured, it needs root, unshare and ip");
    }
}

/// A farm whose only slave is behind the line; the line is there as long as the tasks are.
pub(crate) async fn start(executors: u32) -> (Farm, JoinSet<()>) {
    let extra = Extra {
        general: "log_level = WARNING",
        ..Extra::default()
    };
    let mut farm = Farm::with(&extra);
    farm.start_master().await;
    let mut lines = JoinSet::new();
    let listener = TcpListener::bind((farm.address(), 0)).await;
    let to_master = listener.expect("a line to the master");
    let line_port = to_master.local_addr().expect("an address").port();
    lines.spawn(line(to_master, farm.master_address()));
    let own = fs::read_to_string(farm.path("base/clusterrunner.conf")).expect("settings");
    let (master_port, address) = (
        farm.master_address()
            .rsplit_once(':')
            .map(|(_, port)| port.to_owned())
            .expect("a port"),
        farm.address().to_owned(),
    );
    let settings = own
        .replace(
            &format!("bind_address = {address}"),
            &format!("bind_address = {SLAVE}\nhostname = {SLAVE_BY_LINE}"),
        )
        .replace(
            &format!("master_port = {master_port}"),
            &format!("master_port = {line_port}"),
        );
    let file = farm.path("base/far.conf");
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .and_then(|mut file| file.write_all(settings.as_bytes()));
    written.expect("settings of the slave");
    let slave_port = master_port.parse::<u16>().expect("a port") + 1;
    let to_slave = TcpListener::bind((SLAVE_BY_LINE, slave_port)).await;
    let slave = format!("{SLAVE}:{slave_port}");
    lines.spawn(line(to_slave.expect("a line to the slave"), slave));
    farm.start_slave_with(executors, &file);
    farm.wait_for_slaves(1).await;
    (farm, lines)
}

/// Carries all connections to `to`, each byte late.
async fn line(listener: TcpListener, to: String) {
    let mut connections = JoinSet::new();
    while let Ok((from, _)) = listener.accept().await {
        let to = to.clone();
        connections.spawn(async move {
            let Ok(there) = TcpStream::connect(to).await else {
                return;
            };
            for end in [&from, &there] {
                end.set_nodelay(true).ok();
            }
            let (from_caller, to_caller) = from.into_split();
            let (from_called, to_called) = there.into_split();
            tokio::join!(
                one_way(from_caller, to_called),
                one_way(from_called, to_caller)
            );
        });
    }
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // Unbounded: it holds what comes in 25 ms.
    let (sender, mut arrived) = mpsc::unbounded_channel();
    let reading = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + DELAY;
            if sender.send((due, buffer[..read].to_vec())).is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = arrived.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        to.shutdown().await.ok();
    };
    tokio::join!(reading, writing);
}
