//! How near to the best possible end builds come: the real core hands atoms out to model slaves, beside
//! other ways to do it. Prints the table of `docs/performance.md`; virtual time, so it does not depend on
//! the machine. Ends with 1 where a goal is missed.
//!
//! `cargo bench -p clusterrunner-tests --bench schedule --profile dev`

#![expect(
    clippy::expect_used,
    reason = "a benchmark stops at the first thing that goes wrong"
)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what it is for"
)]

mod farm;
mod others;
mod suites;

use std::process::ExitCode;
use suites::{SUITES, Suite};

const SEEDS: u64 = 60;

/// A way to hand a suite out: when its last atom ends, in milliseconds.
type Way = fn(&Suite) -> u64;

const WAYS: [(&str, Way); 4] = [
    ("longest first", |suite| {
        farm::makespan(suite, &suite.expected())
    }),
    ("the original's groups", others::original),
    ("static split by time", others::static_split),
    ("atomizers' order", |suite| farm::makespan(suite, &[])),
];

fn main() -> ExitCode {
    let names: Vec<&str> = WAYS.iter().map(|(name, _)| *name).collect();
    println!("| suite | {} | goal |", names.join(" | "));
    println!("| --- |{} --- |", " --- |".repeat(WAYS.len()));
    let mut missed = false;
    for (name, goal, make) in SUITES {
        let mut ratios = vec![Vec::new(); WAYS.len()];
        for seed in 1..=SEEDS {
            let suite = make(seed);
            let bound = suite.lower_bound();
            for ((_, way), ratios) in WAYS.iter().zip(&mut ratios) {
                let makespan = way(&suite) as f64;
                ratios.push(makespan / bound);
            }
        }
        let figures: Vec<(f64, f64)> = ratios.into_iter().map(mean_and_p95).collect();
        missed |= figures[0].0 > goal;
        let shown = figures
            .iter()
            .map(|(mean, p95)| format!("{mean:.3} / {p95:.3}"));
        let shown: Vec<String> = shown.collect();
        println!("| {name} | {} | {goal} |", shown.join(" | "));
    }
    if missed {
        eprintln!("longest first is beyond a goal");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn mean_and_p95(mut ratios: Vec<f64>) -> (f64, f64) {
    ratios.sort_by(f64::total_cmp);
    let number = u32::try_from(ratios.len()).expect("a few seeds");
    let mean = ratios.iter().sum::<f64>() / f64::from(number);
    (mean, ratios[(ratios.len() * 95).div_ceil(100) - 1])
}
