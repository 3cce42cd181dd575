//! Reads and submits while slaves upload results: model slaves that take time for atoms, so that what
//! they bring is a stream and not all that the machine can do.

use crate::bare::Bare;
use crate::cost::Cost;
use crate::http_load::Load as HttpLoad;
use crate::many_atoms;
use crate::model_slave::{self, Load, Tally};
use crate::{polls, submits};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SLAVES: u32 = 50;
const ATOM: Duration = Duration::from_millis(10);

/// Enough for all that is measured: about 5,000 end in a second.
const ATOMS: u32 = 400_000;

pub(crate) async fn measure() {
    let mut farm = many_atoms::master(15).await;
    let load = Load::of(&farm, 1, Some(ATOM));
    // Apart from this thread, which makes the other load.
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
    let (process, master) = (farm.master_process(), farm.master_address());
    let (get, body) = polls::request_and_answer(&master, build).await;
    let bare = Bare::start(&body, farm.secret_text());
    println!("while {SLAVES} slaves with an executor each upload results of atoms of {ATOM:?}:");
    let uploads = Rate::new(&load);
    let quiet = Duration::from_secs(3);
    tokio::time::sleep(quiet).await;
    println!("    nobody else asks: {uploads}");
    for (what, load_of) in [("at a pace", polls::PACED), ("saturated", polls::FAST)] {
        let get = {
            let get = Arc::clone(&get);
            move || Arc::clone(&get)
        };
        let uploads = Rate::new(&load);
        let of_bare = Cost::of(bare.process(), &bare.address, load_of, "200", get.clone()).await;
        println!("    polls {what}, bare: {of_bare}; {uploads}");
        let uploads = Rate::new(&load);
        let ours = Cost::of(process, &master, load_of, "200", get).await;
        println!(
            "    polls {what}, ours: {}; {uploads}",
            ours.rate_beside(&of_bare)
        );
    }
    let request = submits::request(&farm);
    let paced = HttpLoad {
        pause: Some(Duration::from_millis(64)),
        ..submits::LOAD
    };
    for (what, load_of) in [("1,000 a second", paced), ("saturated", submits::LOAD)] {
        let uploads = Rate::new(&load);
        let (bare_process, address) = (bare.process(), &bare.address);
        let of_bare = Cost::of(bare_process, address, load_of, "202", request.clone()).await;
        println!("    submits {what}, bare: {of_bare}; {uploads}");
        let uploads = Rate::new(&load);
        let ours = Cost::of(process, &master, load_of, "202", request.clone()).await;
        println!(
            "    submits {what}, ours: {}; {uploads}",
            ours.rate_beside(&of_bare)
        );
    }
    let left = farm.client().build(build).await.unwrap();
    assert!(!left.status.is_over(), "uploads ended too early: {left:?}");
    drop(slaves);
    runtime.shutdown_background();
    farm.kill_master();
}

/// How many results are recorded in a second from now on.
pub(crate) struct Rate {
    tally: Arc<Mutex<Tally>>,
    recorded: usize,
    since: Instant,
}

impl Rate {
    pub(crate) fn new(load: &Load) -> Self {
        let recorded = load.tally.lock().unwrap().recorded;
        Self {
            tally: Arc::clone(&load.tally),
            recorded,
            since: Instant::now(),
        }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let recorded = self.tally.lock().unwrap().recorded - self.recorded;
        let rate = recorded as f64 / self.since.elapsed().as_secs_f64();
        write!(f, "{rate:.0} results/s meanwhile")
    }
}
