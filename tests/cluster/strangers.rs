//! Strangers who hold what they can get hold of: connections, heads, bodies, answers. Builds go on.

use crate::farm::Farm;
use crate::raw::session_of;
use crate::repository::Repository;
use clusterrunner_common::clock::{Timestamp, random_bytes};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Of each kind. Fewer zips than that are sent at a time.
const STRANGERS: usize = 50;

/// More than a master needs for all of them, and a fraction of what they ask for.
const MOST_MEMORY_MIB: u64 = 400;
const MOST_THREADS: u64 = 100;

#[tokio::test]
async fn strangers_keep_nothing_from_a_farm() {
    let farm = Farm::start(&[2]).await;
    let job = "Job:\n  commands: ['head -c 32M /dev/urandom > $ARTIFACT_DIR/large']\n  atomizers: [{N: seq 1 2}]\n";
    let repository = Repository::with_jobs(job);
    farm.run(&repository.request()).await.passes();

    let master = farm.master_address();
    let session = session_of(&master);
    let (mut others, mut readers) = (Vec::new(), Vec::new());
    for _ in 0..STRANGERS {
        others.push(send(&master, "GET / HTTP/1.1\r\nHost"));
        // Well formed, and only to be seen through when the body is there, which never comes.
        let (time, nonce) = (Timestamp::now().0, u128::from_be_bytes(random_bytes()));
        let digest = "0".repeat(128);
        let body = format!(
            "POST /v1/slave HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\nClusterRunner-Signature: \
             v3;t={time};n={nonce:032x};s={session};d={digest}\r\n\r\n"
        );
        others.push(send(&master, &body));
        let tar = "GET /v1/build/1/artifacts.tar.gz HTTP/1.1\r\nHost: a\r\n\r\n";
        others.push(send(&master, tar));
        let zip = tar.replace("tar.gz", "zip");
        readers.push(send(&master, &zip));
    }
    farm.run(&repository.request()).await.passes();
    let status = format!("/proc/{}/status", farm.master_process());
    let status = std::fs::read_to_string(status).unwrap();
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.unwrap().split_whitespace().next().unwrap();
        number.parse::<u64>().unwrap()
    };
    let (memory, threads) = (number("VmRSS:") / 1024, number("Threads:"));
    assert!(memory < MOST_MEMORY_MIB, "{memory} MiB");
    assert!(threads < MOST_THREADS, "{threads} threads");

    let statuses: Vec<_> = readers.iter_mut().map(status_of).collect();
    let refused = statuses.iter().filter(|status| *status == "503").count();
    assert!((1..STRANGERS).contains(&refused), "{statuses:?}");
    drop(readers);
    // Their places are free again.
    crate::wait::wait_for("a zip is given", async || {
        let zip = "GET /v1/build/1/artifacts.zip HTTP/1.1\r\nHost: a\r\n\r\n";
        (status_of(&mut send(&master, zip)) == "200").then_some(())
    })
    .await;
    drop(others);
    farm.wait_for_rest().await;
}

fn send(server: &str, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// The number in the first line of the answer.
fn status_of(stream: &mut TcpStream) -> String {
    let mut line = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut line).unwrap();
    String::from_utf8_lossy(&line[9..]).into_owned()
}
