//! What the master bears, measured over HTTP on the real program.
//!
//! `cargo bench -p clusterrunner-tests --bench master -- [PART ...] [ATOMS ...]` runs these parts, all
//! of them if none is named:
//!
//! * `hand-outs`: 1,000 model slaves with 10 executors each take subjobs, run them in no time and send
//!   results, for builds of so many atoms (100000 and 300000 if none are given).
//!
//! The figure that counts is the master's processor time: the load is made on the same machine, and
//! its own time is told apart. `TMPDIR` says on which file system the master's files are.
#![expect(clippy::print_stdout, reason = "it is what this program is for")]
#![expect(clippy::unwrap_used, reason = "made of the parts of tests")]

#[path = "../../cluster/daemon.rs"]
mod daemon;
#[path = "../../cluster/farm.rs"]
#[expect(dead_code, reason = "made for tests, which use more of it")]
mod farm;
#[path = "../../cluster/processes.rs"]
mod processes;
#[path = "../../cluster/program.rs"]
mod program;
#[path = "../farm/usage.rs"]
mod usage;
#[path = "../../cluster/wait.rs"]
#[expect(dead_code, reason = "made for tests, which use more of it")]
mod wait;

mod hand_outs;
mod model_slave;
mod wire;

const PARTS: [&str; 1] = ["hand-outs"];

fn main() {
    let mut parts = Vec::new();
    let mut sizes = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // What `cargo bench` itself says.
            "--bench" => {}
            part if PARTS.contains(&part) => parts.push(part.to_owned()),
            number => sizes.push(number.parse().expect("a part or a number of atoms")),
        }
    }
    if parts.is_empty() {
        parts = PARTS.map(str::to_owned).to_vec();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for part in parts {
        match part.as_str() {
            "hand-outs" => runtime.block_on(hand_outs::measure(&sizes)),
            other => unreachable!("{other} is in the list of parts"),
        }
    }
}
