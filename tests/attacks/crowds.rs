//! Many at once who take their time. What others get meanwhile is measured by `tests/measure/loris.py`; here it only has
//! to come.

use super::victim::Victim;
use super::wire::held;
use crate::raw::session_of;
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_common::process::open_files;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// As many as slow loris brings.
const CROWD: usize = 2_000;

const SOME: usize = 200;

#[tokio::test]
async fn a_crowd_keeps_nobody_out() {
    open_files::raise_limit();
    let victim = Victim::new().await;
    suffer!(
        victim,
        slow_heads,
        slow_bodies,
        silent_connections,
        readers_who_do_not_read,
        heads_that_never_end,
    );
    victim.lives().await;
}

/// All that others do: they read, they submit, the slave works.
async fn others_are_served(victim: &Victim) {
    let answer = victim.asks("GET", "/v2/builds", &[], b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    victim.passes(&victim.project.request()).await;
}

/// Sends one more byte on each connection; those that were closed are gone.
async fn one_more_byte(crowd: &mut [TcpStream]) {
    for stream in crowd {
        stream.write_all(b"x").await.ok();
    }
}

async fn slow_heads(victim: &Victim) {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(held(&victim.master(), b"GET / HTTP/1.1\r\nX-a: ").await);
    }
    one_more_byte(&mut crowd).await;
    others_are_served(victim).await;
    one_more_byte(&mut crowd).await;
    others_are_served(victim).await;
}

/// Well formed heads: only with the whole body it would be seen that nobody has signed them.
async fn slow_bodies(victim: &Victim) {
    let session = session_of(&victim.master());
    let mut crowd = Vec::new();
    for number in 0..SOME {
        let (time, nonce) = (Timestamp::now().0, u128::from_be_bytes(random_bytes()));
        let digest = "0".repeat(128);
        let length = [100, 16 << 10, 1 << 20][number % 3];
        let head = format!(
            "POST /v1/slave HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nClusterRunner-Signature: \
             v3;t={time};n={nonce:032x};s={session};d={digest}\r\n\r\n"
        );
        crowd.push(held(&victim.master(), head.as_bytes()).await);
    }
    one_more_byte(&mut crowd).await;
    others_are_served(victim).await;
}

async fn silent_connections(victim: &Victim) {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(held(&victim.master(), b"").await);
    }
    for _ in 0..SOME {
        crowd.push(held(&victim.farm.slave_address(0), b"").await);
    }
    others_are_served(victim).await;
}

/// They ask for the largest answers that there are.
async fn readers_who_do_not_read(victim: &Victim) {
    let mut crowd = Vec::new();
    for path in [
        "/v1/eventlog",
        "/v1/build/1/artifacts.zip",
        "/v2/events",
        "/v2/openapi.json",
        "/ui/assets/main.js",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        for _ in 0..SOME / 2 {
            crowd.push(held(&victim.master(), request.as_bytes()).await);
        }
    }
    others_are_served(victim).await;
}

async fn heads_that_never_end(victim: &Victim) {
    let mut crowd = Vec::new();
    for _ in 0..SOME {
        crowd.push(held(&victim.master(), b"GET / HTTP/1.1\r\nHost: a\r\n").await);
    }
    let more = "X-y: z\r\n".repeat(1_000);
    for stream in &mut crowd {
        // It is closed as soon as the head is longer than any.
        for _ in 0..10 {
            if stream.write_all(more.as_bytes()).await.is_err() {
                break;
            }
        }
    }
    others_are_served(victim).await;
}
