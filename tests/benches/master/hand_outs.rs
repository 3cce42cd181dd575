//! Hand-outs taken and results stored, per second of the master's processor time.

use crate::many_atoms;
use crate::model_slave::{self, Load, Tally};
use crate::usage::Usage;
use std::time::Instant;

const SLAVES: u32 = 1000;
const EXECUTORS: u32 = 10;

/// Runs builds of so many atoms and prints what each took.
pub(crate) async fn measure(sizes: &[u32]) {
    let sizes = match sizes {
        [] => &[100_000, 300_000],
        sizes => sizes,
    };
    for size in sizes {
        run(*size).await;
    }
}

/// One build on a farm of its own, so that the peak of memory is that of this size.
async fn run(atoms: u32) {
    let farm = many_atoms::master(15).await;
    let load = Load::of(&farm, EXECUTORS, None);
    let slaves = model_slave::start_all(&load, farm.address(), SLAVES).await;
    let (master, own) = (farm.master_process(), std::process::id());
    let build = many_atoms::submit(&farm, "true", atoms).await;
    load.until(|tally| tally.handed_out > 0).await;
    let before = (Usage::of(master), Usage::of(own), Instant::now());
    let all = |tally: &Tally| tally.recorded + tally.rejected >= atoms as usize;
    let tally = load.until(all).await;
    let seconds = before.2.elapsed().as_secs_f64();
    let used = Usage::of(master).since(before.0);
    let load_used = Usage::of(own).since(before.1);
    let view = farm.end_of(build).await;
    assert_eq!(view.num_subjobs, u64::from(atoms), "{view:?}");
    let archived = before.2.elapsed().as_secs_f64() - seconds;
    let per_atom = used.seconds() / f64::from(atoms);
    println!(
        "{atoms:>7} atoms, {SLAVES} slaves x {EXECUTORS} executors: {:.0}/s in {seconds:.1} s; the master's \
         {:.1} us of processor time each = {:.0}/s per core",
        f64::from(atoms) / seconds,
        per_atom * 1e6,
        1.0 / per_atom,
    );
    let each = |atoms: usize, calls: usize| atoms as f64 / calls as f64;
    println!(
        "        {} calls with {:.1} subjobs each, {} requests with {:.1} results each, {} rejected",
        tally.calls,
        each(tally.handed_out, tally.calls),
        tally.requests,
        each(tally.recorded, tally.requests),
        tally.rejected,
    );
    println!("        master {used}, load {load_used}; the archive came {archived:.1} s later");
    drop(slaves);
}
