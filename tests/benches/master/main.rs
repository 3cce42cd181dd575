//! What a master bears: `cargo bench -p clusterrunner-tests --bench master -- [PART ...] [ATOMS ...]`, all
//! parts if none is named. Figures are printed as they come.
//!
//! * `hand-outs`: 1,000 model slaves with 10 executors each take subjobs, run them in no time and send
//!   results, for builds of so many atoms (100000 and 300000 if none are given).
//! * `polls`: 1,000 pollers of one build, beside a bare route that serves the same bytes.
//! * `reads`: what single reads take of a farm with 1,000 slaves, 10,000 builds and 100,000 atoms.
//! * `submits`: 64 clients that submit builds, beside a bare route that checks the same signatures.
//! * `flood`: 50 model slaves upload while strangers read all there is, or ask for it and read nothing.
//! * `uploads`: both once more while 50 model slaves upload about 5,000 results a second.
//!
//! The figure that counts is the master's processor time: the load is made on the same machine, and
//! its own time is told apart. `TMPDIR` says on which file system the master's files are.
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
#[path = "../../cluster/outcome.rs"]
#[expect(dead_code, reason = "made for tests, which use more of it")]
mod outcome;
#[path = "../../cluster/ports.rs"]
mod ports;
#[path = "../../cluster/processes.rs"]
mod processes;
#[path = "../../cluster/program.rs"]
mod program;
#[path = "../farm/usage.rs"]
#[expect(dead_code, reason = "another benchmark uses more of it")]
mod usage;
#[path = "../../cluster/wait.rs"]
#[expect(dead_code, reason = "made for tests, which use more of it")]
mod wait;

mod bare;
mod cost;
mod flood;
mod hand_outs;
mod http_load;
mod many_atoms;
mod model_slave;
mod polls;
mod reads;
mod submits;
mod uploads;
mod wire;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        // What `cargo bench` itself says.
        .filter(|argument| argument != "--bench")
        .collect();
    if let Some(body) = bare::body(&arguments) {
        return bare::serve(body);
    }
    let atoms: Vec<u32> = arguments.iter().filter_map(|n| n.parse().ok()).collect();
    let parts: Vec<&String> = arguments
        .iter()
        .filter(|argument| argument.parse::<u32>().is_err())
        .collect();
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| *wanted == part);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    if is_wanted("hand-outs") {
        runtime.block_on(hand_outs::measure(&atoms));
    }
    if is_wanted("polls") {
        runtime.block_on(polls::measure());
    }
    if is_wanted("reads") {
        runtime.block_on(reads::measure());
    }
    if is_wanted("flood") {
        runtime.block_on(flood::measure());
    }
    if is_wanted("submits") {
        runtime.block_on(submits::measure());
    }
    if is_wanted("uploads") {
        runtime.block_on(uploads::measure());
    }
}
