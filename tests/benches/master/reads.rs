//! What single reads take of a large farm: 1,000 slaves, 10,000 builds that wait, and one of 100,000
//! atoms whose subjobs the slaves have.

use crate::http_load::{Load as HttpLoad, drive};
use crate::many_atoms;
use crate::model_slave::{self, Load};
use crate::submits;
use std::time::{Duration, Instant};

const SLAVES: u32 = 1000;
const EXECUTORS: u32 = 10;
const BUILDS: u64 = 10_000;
const ATOMS: u32 = 100_000;

/// Atoms that do not end while this runs.
const ATOM: Duration = Duration::from_secs(3600);

/// How often each is asked for.
const TIMES: usize = 50;

pub(crate) async fn measure() {
    let mut farm = many_atoms::master(3600).await;
    let load = Load::of(&farm, EXECUTORS, Some(ATOM));
    let slaves = model_slave::start_all(&load, farm.address(), SLAVES).await;
    let build = many_atoms::submit(&farm, "true", ATOMS).await;
    let all = u64::from(SLAVES * EXECUTORS);
    while farm
        .client()
        .build(build)
        .await
        .unwrap()
        .num_atoms_in_progress
        < all
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let request = submits::request(&farm);
    let submitting = HttpLoad {
        lasts: Duration::from_millis(500),
        ..submits::LOAD
    };
    let mut submitted = 0.0;
    while submitted < BUILDS as f64 {
        let figures = drive(&load.master, submitting, "202", request.clone()).await;
        submitted += figures.per_second * submitting.lasts.as_secs_f64();
    }
    println!("{SLAVES} slaves, about {submitted:.0} builds that wait, one of {ATOMS} atoms:");
    let client = reqwest::Client::new();
    let first = format!("/v1/build/{build}/subjob/0");
    for path in [
        "/v1/metrics",
        "/v1/slave",
        "/v1",
        "/v1/slave/1000",
        "/slaves?limit=100",
        "/v1/queue",
        "/v1/build",
        "/builds?offset=9900&limit=100",
        &first,
        &format!("/v1/build/{build}/subjob"),
        "/v1/eventlog",
    ] {
        let url = format!("http://{}{path}", load.master);
        let times = match path {
            "/v1/queue" | "/v1/build" => 5,
            path if path.ends_with("subjob") => 5,
            _ => TIMES,
        };
        let (mut took, mut length) = (Vec::new(), 0);
        for _ in 0..times {
            let asked = Instant::now();
            let answer = client.get(&url).send().await.expect("an answer");
            assert!(answer.status().is_success(), "{path}: {answer:?}");
            length = answer.bytes().await.expect("an answer").len();
            took.push(asked.elapsed().as_secs_f64() * 1000.0);
        }
        took.sort_by(f64::total_cmp);
        println!(
            "{path:>32}: median {:.1} ms, at most {:.1} ms, {} KiB",
            took[took.len() / 2],
            took[took.len() - 1],
            length / 1024
        );
    }
    drop(slaves);
    farm.kill_master();
}
