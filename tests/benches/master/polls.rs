//! A thousand pollers of a build with 100,000 atoms while it runs, next to a bare route that serves the
//! same bytes.

use crate::bare::Bare;
use crate::cost::Cost;
use crate::farm::{Extra, Farm};
use crate::http_load::Load;
use crate::many_atoms;
use clusterrunner_common::ids::BuildId;
use std::sync::Arc;
use std::time::Duration;

const ATOMS: u32 = 100_000;
const POLLERS: usize = 1000;
const ROUNDS: usize = 4;

/// Whoever says so has every answer already: the build changes a hundred times a second.
const KNOWN: &str = "If-None-Match: *\r\n";

/// As fast as they are answered.
pub(crate) const FAST: Load = Load {
    connections: POLLERS,
    pause: None,
    lasts: Duration::from_secs(3),
};

/// As dashboards and clients do.
pub(crate) const PACED: Load = Load {
    connections: POLLERS,
    pause: Some(Duration::from_millis(200)),
    lasts: Duration::from_secs(5),
};

pub(crate) async fn measure() {
    let extra = Extra {
        general: "log_level = WARNING",
        ..Extra::default()
    };
    let mut farm = Farm::with(&extra);
    farm.start_all(&[2]).await;
    let build = many_atoms::submit(&farm, "sleep 0.02", ATOMS).await;
    while farm
        .client()
        .build(build)
        .await
        .unwrap()
        .num_atoms_completed
        < 50
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let master = farm.master_address();
    let (_, body) = request_and_answer(&master, build).await;
    let bare = Bare::start(&body, farm.secret_text());
    println!(
        "{POLLERS} pollers of a build of {ATOMS} atoms while two executors run it, {} bytes",
        body.len()
    );
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let (bare_process, ours_process) = (bare.process(), farm.master_process());
        let of_bare = poll(bare_process, &bare.address, FAST, &get(build, "")).await;
        let ours = poll(ours_process, &master, FAST, &get(build, "")).await;
        let conditional = poll(ours_process, &master, FAST, &get(build, KNOWN)).await;
        ratios.push(ours.per_second() / of_bare.per_second());
        println!("round {round}: bare                    {of_bare}");
        println!("         ours                    {}", ours.beside(&of_bare));
        let conditional = conditional.beside(&of_bare);
        println!("         ours with If-None-Match {conditional}");
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "median of the rounds: {:.2} of the bare route",
        f64::midpoint(ratios[1], ratios[2])
    );
    println!("at a pace of 5 requests a second each:");
    let of_bare = poll(bare.process(), &bare.address, PACED, &get(build, "")).await;
    let ours = poll(farm.master_process(), &master, PACED, &get(build, "")).await;
    println!("    bare {of_bare}");
    println!("    ours {}", ours.beside(&of_bare));
    drop(bare);
    farm.client()
        .cancel(build)
        .await
        .expect("the end of the build");
    farm.end_of(build).await;
}

async fn poll(process: u32, address: &str, load: Load, request: &str) -> Cost {
    let status = if request.contains(KNOWN) {
        "304"
    } else {
        "200"
    };
    let request: Arc<[u8]> = request.as_bytes().into();
    let request = move || Arc::clone(&request);
    Cost::of(process, address, load, status, request).await
}

/// What polls a build, and the body that comes.
pub(crate) async fn request_and_answer(master: &str, build: BuildId) -> (Arc<[u8]>, String) {
    let get = get(build, "");
    let (_, body) = exchange(master, &get).await;
    (get.into_bytes().into(), body)
}

fn get(build: BuildId, headers: &str) -> String {
    format!("GET /v1/build/{build} HTTP/1.1\r\nHost: master\r\n{headers}\r\n")
}

/// One request on a connection of its own: head and body of the answer.
async fn exchange(address: &str, request: &str) -> (String, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}
