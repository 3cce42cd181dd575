//! What an executor adds to an atom: rounds of trivial atoms, two at a time, once with nothing but
//! their shells started and awaited, and once by the slave's executors, whose results are dropped.
//!
//! `cargo bench -p clusterrunner-slave --bench atoms -- [ROUNDS [ATOMS [COMMAND]]]`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first thing that goes wrong"
)]

use clusterrunner_common::event_log::EventLog;
use clusterrunner_slave::trial::Trial;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

/// On as many executors as the bare shells have threads.
const EXECUTORS: u32 = 2;

fn main() {
    let arguments: Vec<String> = std::env::args().filter(|text| text != "--bench").collect();
    let number = |index: usize, default: u32| {
        let given = arguments.get(index).and_then(|text| text.parse().ok());
        given.unwrap_or(default)
    };
    let (rounds, atoms) = (number(1, 8), number(2, 2000));
    let command = arguments.get(3).map_or("true", String::as_str);
    let directory = tempfile::tempdir().unwrap();
    let mut trial = Trial::start(directory.path(), EXECUTORS, EventLog::in_memory()).unwrap();
    let mut ratios = Vec::new();
    for round in 0..=rounds {
        let floor = per_second(atoms, || bare(atoms, command));
        let ours = per_second(atoms, || trial.run(atoms, command).unwrap());
        // The first one only warms everything up.
        if round > 0 {
            println!(
                "{floor:>6.0}/s bare {ours:>6.0}/s here, ratio {:.3}",
                ours / floor
            );
            ratios.push(ours / floor);
        }
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.3}", ratios[ratios.len() / 2]);
}

fn per_second(atoms: u32, run: impl FnOnce()) -> f64 {
    let started = Instant::now();
    run();
    f64::from(atoms) / started.elapsed().as_secs_f64()
}

fn bare(atoms: u32, command: &str) {
    std::thread::scope(|scope| {
        for _ in 0..EXECUTORS {
            scope.spawn(|| {
                for _ in 0..atoms / EXECUTORS {
                    let status = Command::new("bash")
                        .args(["-c", command])
                        .env_clear()
                        .process_group(0)
                        .stdin(Stdio::null())
                        .stdout(Stdio::null())
                        .stderr(Stdio::null())
                        .status();
                    assert!(status.unwrap().success());
                }
            });
        }
    });
}
