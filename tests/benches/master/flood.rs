//! Slaves upload results while strangers read all that there is to read: some as fast as they can, others nothing of
//! what they ask for.

use crate::farm::Farm;
use crate::many_atoms;
use crate::model_slave::{self, Load};
use crate::uploads::Rate;
use clusterrunner_common::ids::BuildId;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const SLAVES: u32 = 50;
const ATOM: Duration = Duration::from_millis(10);
const ATOMS: u32 = 400_000;

/// How many read nothing, and how many all.
const SILENT: usize = 300;
const EAGER: usize = 64;

const LASTS: Duration = Duration::from_secs(10);

pub(crate) async fn measure() {
    let mut farm = many_atoms::master(15).await;
    let large = large_archive(&mut farm).await;
    let load = Load::of(&farm, 1, Some(ATOM));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let slaves = runtime.spawn({
        let (load, address) = (load.clone(), farm.address().to_owned());
        async move { model_slave::start_all(&load, &address, SLAVES).await }
    });
    let slaves = slaves.await.expect("slaves");
    let build = many_atoms::submit(&farm, "true", ATOMS).await;
    load.until(|tally| tally.recorded >= 1000).await;
    let paths = [
        format!("/v1/build/{large}/artifacts.zip"),
        format!("/v1/build/{large}/artifacts.tar.gz"),
        format!("/v1/build/{build}/subjob"),
        "/v1/eventlog".to_owned(),
        "/v1/slave".to_owned(),
    ];
    let (process, master) = (farm.master_process(), farm.master_address());
    println!("while {SLAVES} slaves with an executor each upload results of atoms of {ATOM:?}:");
    let uploads = Rate::new(&load);
    tokio::time::sleep(LASTS).await;
    println!("    nobody reads: {uploads}; {}", Held::by(process));

    let uploads = Rate::new(&load);
    let mut silent = Vec::new();
    for number in 0..SILENT {
        let mut stream = TcpStream::connect(&master).await.expect("a connection");
        let request = get(&paths[number % paths.len()]);
        stream.write_all(&request).await.expect("a connection");
        silent.push(stream);
    }
    tokio::time::sleep(LASTS).await;
    println!(
        "    {SILENT} come who read nothing: {uploads}; {}",
        Held::by(process)
    );
    let uploads = Rate::new(&load);
    tokio::time::sleep(LASTS).await;
    println!("    they are there: {uploads}; {}", Held::by(process));

    for path in &paths[3..] {
        let uploads = Rate::new(&load);
        let until = Instant::now() + LASTS;
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..EAGER {
            readers.spawn(read_on(master.clone(), get(path), until));
        }
        let answers: u64 = readers.join_all().await.iter().sum();
        println!(
            "    {EAGER} read {path} as fast as they can: {}/s; {uploads}; {}",
            answers / LASTS.as_secs(),
            Held::by(process)
        );
    }
    drop(silent);
    let uploads = Rate::new(&load);
    tokio::time::sleep(LASTS).await;
    println!("    nobody reads: {uploads}; {}", Held::by(process));
    drop(slaves);
    runtime.shutdown_background();
    farm.kill_master();
}

/// Reads the same again and again; how often.
async fn read_on(master: String, request: Vec<u8>, until: Instant) -> u64 {
    let mut stream = TcpStream::connect(&master).await.expect("a connection");
    let mut buffer = vec![0; 64 << 10];
    let mut number = 0;
    while Instant::now() < until {
        stream.write_all(&request).await.expect("a connection");
        let mut answer = Vec::new();
        while !is_whole(&answer) {
            let read = stream.read(&mut buffer).await.expect("an answer");
            assert!(read > 0, "the connection ended");
            answer.extend_from_slice(&buffer[..read]);
        }
        number += 1;
    }
    number
}

/// Whether an answer has all that its head says.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    match text.split_once("\r\ncontent-length: ") {
        Some((_, rest)) => {
            let length = rest.lines().next().and_then(|text| text.parse().ok());
            answer.len() >= head + 4 + length.unwrap_or(0_usize)
        }
        None => answer.ends_with(b"\r\n0\r\n\r\n"),
    }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: master\r\n\r\n").into_bytes()
}

/// A build that is over, with 256 MiB of artifacts that do not compress.
async fn large_archive(farm: &mut Farm) -> BuildId {
    let slave = farm.start_slave(1);
    let project = farm.path("large");
    std::fs::create_dir(&project).unwrap();
    let job = "Large:\n  commands:\n    - head -c 256M /dev/urandom > \"$ARTIFACT_DIR/large\"\n  atomizers:\n    - N: 'echo 1'\n";
    std::fs::write(project.join("clusterrunner.yaml"), job).unwrap();
    let request = json!({"type": "directory", "project_directory": project});
    let build = farm.run(&request).await;
    farm.stop_slave(slave);
    build.id
}

/// What the master holds.
struct Held {
    memory_mib: u64,
    threads: u64,
}

impl Held {
    fn by(process: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let text = line.and_then(|line| line.split_whitespace().next());
            text.and_then(|text| text.parse::<u64>().ok()).unwrap()
        };
        Self {
            memory_mib: number("VmRSS:") / 1024,
            threads: number("Threads:"),
        }
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} MiB, {} threads", self.memory_mib, self.threads)
    }
}
