//! How fast instances start, and what the master's router costs.
//!
//! `cargo bench -p clusterrunner-tests --bench instances` starts a master and a slave, builds a project whose program is
//! this very benchmark, and measures:
//!
//! * `launch`: from the request for an instance to the first answer through the router, next to the same program started
//!   alone, from its start to its first answer;
//! * `hundred`: 100 instances asked for at once, until each answers, and what they cost while nobody uses them;
//! * `router`: answers of 1 KiB through the router, next to the same program reached directly and through a process that
//!   merely copies bytes, in turns;
//! * `thousand`: what 1,000 instances cost the master, on slaves that are models.
//!
//! `--only PART,...` measures these parts.
#![expect(clippy::print_stdout, reason = "it is what this program is for")]
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "made of the parts of tests"
)]

#[path = "../../cluster/daemon.rs"]
mod daemon;
#[path = "../../cluster/farm/mod.rs"]
#[expect(dead_code, reason = "made for tests, which use more of it")]
mod farm;
#[path = "../master/http_load.rs"]
mod http_load;
#[path = "../../cluster/job.rs"]
#[expect(dead_code, reason = "made for tests, which use it")]
mod job;
#[path = "../farm/numbers.rs"]
mod numbers;
#[path = "../../cluster/outcome.rs"]
#[expect(dead_code, reason = "made for tests, which use more of it")]
mod outcome;
#[path = "../../cluster/ports.rs"]
mod ports;
#[path = "../../cluster/processes.rs"]
mod processes;
#[path = "../../cluster/program.rs"]
mod program;
#[path = "../../cluster/repository.rs"]
#[expect(dead_code, reason = "made for tests, which use more of it")]
mod repository;
#[path = "../farm/usage.rs"]
#[expect(dead_code, reason = "another benchmark uses more of it")]
mod usage;
#[path = "../../cluster/wait.rs"]
#[expect(dead_code, reason = "made for tests, which use more of it")]
mod wait;
#[path = "../master/wire.rs"]
#[expect(dead_code, reason = "another benchmark uses more of it")]
mod wire;

mod binder;
mod copier;
mod model_hosts;
mod served;
mod thousand;

use binder::Binder;
use copier::Copier;
use futures_util::future::join_all;
use http_load::{Figures, Load};
use numbers::{largest, median};
use std::sync::Arc;
use std::time::{Duration, Instant};
use usage::Usage;

/// How many instances are launched one after the other.
const LAUNCHES: usize = 20;

/// How many there are at once.
const AT_ONCE: usize = 100;

/// How long each load lasts, and how often the loads take turns.
const LASTS: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

/// How long instances that nobody uses are watched.
const IDLE: Duration = Duration::from_secs(10);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .first()
        .is_some_and(|first| first == served::PROGRAM)
    {
        return served::serve();
    }
    if let [first, target] = &arguments[..]
        && first == copier::PROGRAM
    {
        return copier::copy(target);
    }
    let only = arguments.iter().position(|argument| argument == "--only");
    let only = only.and_then(|at| arguments.get(at + 1));
    let measures = |part: &str| only.is_none_or(|only| only.split(',').any(|one| one == part));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        if measures("thousand") {
            thousand::thousand().await;
        }
        if only.is_some_and(|only| only == "thousand") {
            return;
        }
        let binder = Binder::start(AT_ONCE).await;
        let template = binder.builds().await;
        if measures("launch") {
            launch(&binder, &template).await;
        }
        if measures("hundred") {
            hundred(&binder, &template).await;
        }
        if measures("router") {
            router(&binder, &template).await;
        }
    });
}

async fn launch(binder: &Binder, template: &str) {
    let (mut launched, mut alone) = (Vec::new(), Vec::new());
    // The first one fetches and unpacks the template.
    for number in 0..=LAUNCHES {
        let began = Instant::now();
        let key = binder.launches(template).await;
        binder.answers(&key).await;
        let took = began.elapsed().as_secs_f64() * 1000.0;
        binder.stops(template, &key).await;
        if number == 0 {
            println!("launch, cold template: {took:.0} ms");
            continue;
        }
        launched.push(took);
        alone.push(served::alone().await);
    }
    println!(
        "launch, warm template: median {:.0} ms, longest {:.0} ms; the program alone: median {:.0} ms",
        median(&launched),
        largest(&launched),
        median(&alone)
    );
}

async fn hundred(binder: &Binder, template: &str) {
    let began = Instant::now();
    let keys = join_all((0..AT_ONCE).map(|_| binder.launches(template))).await;
    join_all(keys.iter().map(|key| binder.answers(key))).await;
    let took = began.elapsed().as_secs_f64();
    println!("{AT_ONCE} instances on one slave: all answer after {took:.2} s");
    let daemons = [
        ("master", binder.farm.master_process()),
        ("slave", binder.farm.slave_process(0)),
    ];
    let before = daemons.map(|(_, process)| Usage::of(process));
    tokio::time::sleep(IDLE).await;
    for ((name, process), before) in daemons.into_iter().zip(before) {
        let now = Usage::of(process);
        let share = now.since(before).seconds() / IDLE.as_secs_f64() * 100.0;
        println!(
            "  {name}, while nobody uses them: {share:.2} % of a core, {:.0} MiB",
            now.memory()
        );
    }
    join_all(keys.iter().map(|key| binder.stops(template, key))).await;
}

async fn router(binder: &Binder, template: &str) {
    let key = binder.launches(template).await;
    binder.answers(&key).await;
    let (direct, program) = binder.direct(&key);
    let master = binder.farm.master_address();
    let copier = Copier::to(&direct);
    let processes = [
        ("load", std::process::id()),
        ("program", program),
        ("master", binder.farm.master_process()),
        ("copier", copier.process()),
    ];
    for connections in [1, 64] {
        let (mut ratios, mut floors, mut added) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let routed_path = format!("/user/{key}/");
            let plain = drive(&direct, "/", connections, &processes).await;
            let routed = drive(&master, &routed_path, connections, &processes).await;
            let copied = drive(&copier.address, "/", connections, &processes).await;
            println!("{connections:>3} connections, direct: {}", plain.1);
            println!("{connections:>3} connections, routed: {}", routed.1);
            println!("{connections:>3} connections, copied: {}", copied.1);
            let (plain, routed) = (plain.0, routed.0);
            floors.push(copied.0.per_second / plain.per_second);
            ratios.push(routed.per_second / plain.per_second);
            added.push(routed.at(500) - plain.at(500));
        }
        println!(
            "{connections:>3} connections: {:.2} of direct ({:.2} where bytes are merely copied), {:.2} ms more at p50 (medians)",
            median(&ratios),
            median(&floors),
            median(&added)
        );
    }
    binder.stops(template, &key).await;
}

/// The figures of a load; and as text, with the processor time that each of the processes took for a request.
async fn drive(
    address: &str,
    path: &str,
    connections: usize,
    processes: &[(&str, u32)],
) -> (Figures, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let request: Arc<[u8]> = request.into_bytes().into();
    let load = Load {
        connections,
        pause: None,
        lasts: LASTS,
    };
    let before: Vec<Usage> = processes.iter().map(|(_, id)| Usage::of(*id)).collect();
    let figures = http_load::drive(address, load, "200", move || Arc::clone(&request)).await;
    let number = figures.per_second * LASTS.as_secs_f64();
    let mut text = format!("{figures}; processor time for each:");
    for ((name, id), before) in processes.iter().zip(before) {
        let each = Usage::of(*id).since(before).seconds() * 1e6 / number;
        text += &format!(" {name} {each:.1} us");
    }
    (figures, text)
}
