//! A thousand pollers of a build with 100,000 atoms while it runs, next to a bare route that serves the
//! same bytes.

use crate::farm::{Extra, Farm};
use crate::http_load::{Figures, Load, drive};
use crate::usage::Usage;
use clusterrunner_common::ids::BuildId;
use serde_json::json;
use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const ATOMS: u32 = 100_000;
const POLLERS: usize = 1000;
const ROUNDS: usize = 4;

/// Whoever says so has every answer already: the build changes a hundred times a second.
const KNOWN: &str = "If-None-Match: *\r\n";

/// What makes this program be the bare server.
const BARE: &str = "--bare";

/// What the bare server is to serve, if this program is to be it.
pub(crate) fn bare_body(arguments: &[String]) -> Option<String> {
    match arguments {
        [bare, body] if bare == BARE => Some(body.clone()),
        _ => None,
    }
}

/// Serves `body` and nothing else until its standard input ends, and says where.
pub(crate) fn serve_bare(body: String) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let route = axum::routing::get(move || {
            let body = body.clone();
            async move { ([("content-type", "application/json")], body) }
        });
        let router = axum::Router::new().route("/v1/build/{id}", route);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        let wait = || std::io::stdin().lock().read_line(&mut String::new());
        tokio::task::spawn_blocking(wait).await.unwrap().ok();
        std::process::exit(0);
    });
}

/// The bare server; it ends with this.
struct Bare {
    process: Child,
    address: String,
}

impl Bare {
    fn start(body: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([BARE, body])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bare server");
        let mut address = String::new();
        let output = process.stdout.as_mut().expect("its output");
        BufReader::new(output)
            .read_line(&mut address)
            .expect("its address");
        let address = address.trim().to_owned();
        Self { process, address }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().ok();
    }
}

pub(crate) async fn measure() {
    let extra = Extra {
        general: "log_level = WARNING",
        ..Extra::default()
    };
    let mut farm = Farm::with(&extra);
    farm.start_all(&[2]).await;
    let directory = farm.path("project");
    std::fs::create_dir_all(&directory).expect("a project directory");
    let job =
        format!("polled:\n  commands:\n    - 'sleep 0.02'\n  atomizers:\n    - N: 'seq {ATOMS}'\n");
    std::fs::write(directory.join("clusterrunner.yaml"), job).expect("a project");
    let request = json!({"type": "directory", "project_directory": directory});
    let build = farm.submit(&request).await;
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
    let (_, body) = exchange(&master, &get(build, "")).await;
    let bare = Bare::start(&body);
    println!(
        "{POLLERS} pollers of a build of {ATOMS} atoms while two executors run it, {} bytes",
        body.len()
    );
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let fast = Load {
            connections: POLLERS,
            pause: None,
            lasts: Duration::from_secs(3),
        };
        let (bare_process, ours_process) = (bare.process.id(), farm.master_process());
        let of_bare = poll(bare_process, &bare.address, fast, &get(build, "")).await;
        let ours = poll(ours_process, &master, fast, &get(build, "")).await;
        let conditional = poll(ours_process, &master, fast, &get(build, KNOWN)).await;
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
    let paced = Load {
        connections: POLLERS,
        pause: Some(Duration::from_millis(200)),
        lasts: Duration::from_secs(5),
    };
    println!("at a pace of 5 requests a second each:");
    let of_bare = poll(bare.process.id(), &bare.address, paced, &get(build, "")).await;
    let ours = poll(farm.master_process(), &master, paced, &get(build, "")).await;
    println!("    bare {of_bare}");
    println!("    ours {}", ours.beside(&of_bare));
    drop(bare);
    farm.client()
        .cancel(build)
        .await
        .expect("the end of the build");
    farm.end_of(build).await;
}

/// What came of polling a process, and the processor time that it took for each request. On a machine
/// that does other things too, that says more than the rate.
struct Polled {
    figures: Figures,
    micros: f64,
}

impl Polled {
    fn per_second(&self) -> f64 {
        self.figures.per_second
    }

    fn beside(&self, bare: &Self) -> String {
        let rate = self.per_second() / bare.per_second();
        let time = self.micros / bare.micros;
        format!("{self}: {rate:.2} of the bare route's rate, {time:.2} of its processor time")
    }
}

impl fmt::Display for Polled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:.1} us each", self.figures, self.micros)
    }
}

async fn poll(process: u32, address: &str, load: Load, request: &str) -> Polled {
    let status = if request.contains(KNOWN) {
        "304"
    } else {
        "200"
    };
    let before = Usage::of(process);
    let request: Arc<[u8]> = request.as_bytes().into();
    let figures = drive(address, load, status, move || Arc::clone(&request)).await;
    let used = Usage::of(process).since(before).seconds();
    let requests = figures.per_second * load.lasts.as_secs_f64();
    let micros = used * 1e6 / requests;
    Polled { figures, micros }
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
