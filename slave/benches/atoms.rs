//! What an executor adds to an atom: rounds of trivial atoms, two at a time, once with nothing but
//! their shells started and awaited, and once by the slave's executors, whose results are dropped.
//!
//! `cargo bench -p clusterrunner-slave --bench atoms -- [ROUNDS [ATOMS [COMMAND]]]`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first thing that goes wrong"
)]

use clusterrunner_common::logs::event_log::EventLog;
use clusterrunner_slave::trial::Trial;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

/// On as many executors as the bare shells have threads.
const EXECUTORS: u32 = 2;

/// The unit of times in `/proc`: `USER_HZ`, which is 100 on every Linux that we know.
const TICKS_PER_SECOND: f64 = 100.0;

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
    let (mut ratios, mut costs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (floor, floor_cost) = rate_and_cost(atoms, || bare(atoms, command));
        let (ours, our_cost) = rate_and_cost(atoms, || trial.run(atoms, command).unwrap());
        // The first one only warms everything up.
        if round > 0 {
            println!(
                "{floor:>6.0}/s bare, {ours:>6.0}/s here: ratio {:.3}; processor time of each {floor_cost:.0} us \
                 and {our_cost:.0} us: ratio {:.3}",
                ours / floor,
                floor_cost / our_cost
            );
            ratios.push(ours / floor);
            costs.push(floor_cost / our_cost);
        }
    }
    for (name, ratios) in [("rates", &mut ratios), ("processor times", &mut costs)] {
        ratios.sort_by(f64::total_cmp);
        println!("{name}: median ratio {:.3}", ratios[ratios.len() / 2]);
    }
}

/// Atoms per second, and microseconds of processor time for each: that says more on a machine that does
/// something else as well.
fn rate_and_cost(atoms: u32, run: impl FnOnce()) -> (f64, f64) {
    let (started, used) = (Instant::now(), processor_seconds());
    run();
    let each = f64::from(atoms);
    let cost = (processor_seconds() - used) / each * 1e6;
    (each / started.elapsed().as_secs_f64(), cost)
}

/// Of this process and all that it has waited for.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Fields after the name, which is in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let times = fields.split_whitespace().skip(11).take(4);
    times
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum::<f64>()
        / TICKS_PER_SECOND
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
