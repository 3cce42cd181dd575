//! A slave whose way to the master is slow and breaks off at any byte: requests are lost, and so are
//! answers to requests that the master has heard.

use crate::chaos::Dice;
use crate::farm::Farm;
use crate::repository::Repository;
use crate::whole_build::{ATOMS, check_results, many_atoms, runs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// How long every byte is on its way.
const DELAY: Duration = Duration::from_millis(50);

/// No connection to a slave that is called carries more bytes than this in one direction; most break long before.
const LONGEST: u64 = 8_000;

/// Listens in the master's place; ends when it is dropped.
pub(crate) struct BadLine {
    port: u16,
    breaks: Arc<AtomicU32>,
    task: AbortHandle,
}

impl BadLine {
    /// No connection carries more than `longest` bytes in one direction; most break long before.
    pub(crate) async fn new(address: &str, master: String, longest: u64) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let breaks = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&breaks);
        let mut dice = Dice::from_environment();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (slave, _) = listener.accept().await.unwrap();
                let limits = [dice.below(longest), dice.below(longest)];
                let (master, breaks) = (master.clone(), Arc::clone(&counted));
                connections.spawn(async move { carry(slave, &master, limits, &breaks).await });
            }
        });
        Self {
            port,
            breaks,
            task: task.abort_handle(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn breaks(&self) -> u32 {
        self.breaks.load(Ordering::Relaxed)
    }
}

impl Drop for BadLine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries a connection to its end, at the latest until one direction has carried its limit.
async fn carry(slave: TcpStream, master: &str, limits: [u64; 2], breaks: &AtomicU32) {
    let Ok(master) = TcpStream::connect(master).await else {
        return;
    };
    let (from_slave, to_slave) = slave.into_split();
    let (from_master, to_master) = master.into_split();
    let [there, back] = limits;
    // Both sockets are closed where one direction ends.
    tokio::select! {
        () = one_way(from_slave, to_master, there, breaks) => {}
        () = one_way(from_master, to_slave, back, breaks) => {}
    }
}

/// Carries bytes, each late, up to a limit.
async fn one_way(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut limit: u64,
    breaks: &AtomicU32,
) {
    let (sender, mut arrived) = mpsc::unbounded_channel();
    let reading = async move {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let late = Instant::now() + DELAY;
            if sender.send((late, buffer[..read].to_vec())).is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = arrived.recv().await {
            tokio::time::sleep_until(due).await;
            let kept = bytes.len().min(usize::try_from(limit).unwrap());
            if to.write_all(&bytes[..kept]).await.is_err() {
                return;
            }
            limit -= kept as u64;
            if limit == 0 {
                breaks.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}

#[tokio::test]
async fn a_build_ends_right_over_a_line_that_is_slow_and_breaks() {
    let mut farm = Farm::new();
    farm.start_master().await;
    let line = BadLine::new(farm.address(), farm.master_address(), LONGEST).await;
    let by_line = format!("{}:{}", farm.address(), line.port);
    farm.start_slave_with_arguments(3, &["--master-url", &by_line]);
    farm.start_slave(1);
    farm.wait_for_slaves(2).await;
    let log = farm.path("log");
    let repository = Repository::with_jobs(&many_atoms(&log, "0.02"));
    let view = farm.run(&repository.request()).await;
    check_results(&farm, &view).await;
    let breaks = line.breaks();
    println!("the line broke {breaks} times");
    assert!(breaks >= 10, "only {breaks}");
    // A slave that is heard again in time goes on: nothing runs twice because of lost answers.
    let runs = runs(&log);
    assert_eq!(runs.len(), usize::try_from(ATOMS).unwrap());
    assert!(runs.values().all(|runs| *runs == 1), "{runs:?}");
}
